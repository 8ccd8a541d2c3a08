"""An Icinga master and a satellite, as docs/engines.md has them, watch a mail server fall."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trustme

from tests.documented import ENGINES, section
from tests.engines.icinga import COMMANDS, Icinga, Result, result
from tests.plugin import SCRIPT
from tests.servers import dovecot, postfix
from tests.servers.authority import Authority
from tests.servers.loopback import free_port

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

MASTER = "master.example.org"
SATELLITE = "satellite.example.org"
NODES = (MASTER, SATELLITE)

SERVICES = {
    "mx.example.org!smtp": MASTER,
    "mx.example.org!smtp-from-outside": SATELLITE,
    "mx.example.org!login": SATELLITE,
    "mail.example.org!smtp": SATELLITE,
}
"""The page's services, and one of ours, with who runs them."""

HOSTS = ("mx.example.org", "mail.example.org")
PASSWORD = "s3cret, $HOME, \u00fc"

NODE = """
include <itl>
include <plugins>
include "zones.conf"
object CheckerComponent "checker" { }
object ApiListener "api" {
	bind_host = "127.0.0.1"
	bind_port = ListenPort
	accept_config = true
	accept_commands = true
}
object ApiUser "test" {
	password = "test"
	permissions = [ "objects/query/*", "actions/reschedule-check" ]
}
"""

TEMPLATES = """
template Host "generic-host" {
	check_command = "dummy"
}
template Service "generic-service" {
	max_check_attempts = 2
	check_interval = 1h
	retry_interval = 1h
}
"""
"""The first failure is soft, the second is hard; nothing is checked but on demand."""

LOGIN = """
object Service "login" {
	import "generic-service"
	host_name = "%s"
	check_command = "smtp_health"
	command_endpoint = "%s"
	vars.smtp_health_starttls = true
	vars.smtp_health_sni = "$host.name$"
	vars.smtp_health_authuser = "%s"
	vars.smtp_health_authpass = "%s"
}
"""

DEADLINE = 60
"""Seconds until something that was asked for must have come about; it takes a few at most."""

PATIENCE = 3
"""Seconds after which what a node was asked is taken for lost."""


class Service(NamedTuple):
    """What the master's API says of a service after a check."""

    state: int
    is_hard: bool
    attempt: int
    source: str
    result: Result


class Moment(NamedTuple):
    """All services at some moment, by name: what, since when it is hard, and the results whole."""

    services: dict[str, Service]
    hard_since: dict[str, float]
    stored: str


class Seen(NamedTuple):
    """What came of it all: healthy, stopped, checked once more, and then refusing."""

    port: int
    healthy: Moment
    first: Moment
    second: Moment
    refusing: Moment
    logs: str


def configuration(port: int, ports: dict[str, int]) -> dict[str, str]:
    """Return the page's files, by name, on loopback and with these ports."""

    def on_loopback(content: str) -> str:
        for node in NODES:
            content = re.sub(
                rf'(object Endpoint "{node}" {{\n)  host = .*',
                rf'\1  host = "127.0.0.1"\n  port = "{ports[node]}"',
                content,
            )
        where = f'  address = "127.0.0.1"\n  vars.smtp_health_port = {port}'
        return re.sub("  address = .*", where, content)

    text = section(ENGINES, "More than one machine")
    blocks = re.findall(r"`([\w./-]+\.conf)`[^`]*\n\n```icinga2\n([^`]*)```$", text, re.MULTILINE)
    return {name: on_loopback(content) for name, content in blocks}


class Cluster:
    """The two daemons, and a way to have everything checked once."""

    def __init__(self, daemons: dict[Icinga, subprocess.Popen[bytes]]) -> None:
        self.daemons = daemons
        self.master = next(iter(daemons))

    def settle(self) -> Moment:
        """Check until all is well: the satellite starts anew for the configuration it is given.

        What it is asked meanwhile is lost, or answered by UNKNOWN.
        """
        begun = asked = 0.0

        def is_settled() -> bool:
            nonlocal begun, asked
            services = self.master.query("services")
            is_answered = asked > 0 and is_checked(services, begun)
            if is_answered and all(service["state"] == 0 for service in services):
                return True
            if is_answered or time.monotonic() > asked + PATIENCE:
                begun, asked = time.time(), time.monotonic()
                self.force_checks()
            return False

        self.wait(is_settled)
        return self.check()

    def check(self) -> Moment:
        """Have every service checked once, and return what came of it."""
        begun = time.time()
        found: list[dict[str, Any]] = []

        def is_done() -> bool:
            found[:] = self.master.query("services")
            return is_checked(found, begun)

        self.force_checks()
        self.wait(is_done)
        return Moment(
            {service["__name"]: of(service) for service in found},
            {service["__name"]: service["last_hard_state_change"] for service in found},
            json.dumps([service["last_check_result"] for service in found]),
        )

    def force_checks(self) -> None:
        """Ask each node: one that has just started may not be told by another when to check."""
        for node in self.daemons:
            node.force_checks()

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait for something to be so, which an API that does not answer is not."""
        end = time.monotonic() + DEADLINE
        while True:
            with contextlib.suppress(OSError):
                if condition():
                    return
            dead = [node for node, daemon in self.daemons.items() if daemon.poll() is not None]
            if dead or time.monotonic() > end:
                pytest.fail("\n".join(node.log.read_text() for node in self.daemons))
            time.sleep(0.1)


def is_checked(services: list[dict[str, Any]], since: float) -> bool:
    """Return whether each of these has been checked since that time."""
    last = [service["last_check_result"] for service in services]
    return all(stored and stored["execution_start"] > since for stored in last)


def of(service: dict[str, Any]) -> Service:
    """Return what matters of a service."""
    last = service["last_check_result"]
    return Service(
        int(service["state"]),
        service["state_type"] == 1,
        int(service["check_attempt"]),
        last["check_source"],
        result(last),
    )


@contextlib.contextmanager
def cluster(folder: Path, mail: int, environment: dict[str, str]) -> Iterator[Cluster]:
    """Run master and satellite until the block ends."""
    ports = {name: free_port() for name in NODES}
    nodes = {}
    for name in NODES:
        (folder / name).mkdir()
        nodes[name] = Icinga(
            folder / name,
            NODE,
            environment,
            NodeName=name,
            ZoneName=name.partition(".")[0],
            ListenPort=str(ports[name]),
        )
    master, satellite = nodes.values()
    files = configuration(mail, ports)
    for node in nodes.values():
        (node.folder / "zones.conf").write_text(files["zones.conf"])
    for name in ("master", "satellite", "global-templates"):
        (master.zones / name).mkdir()
    for name, content in files.items():
        if name != "zones.conf":
            (master.zones.parent / name).write_text(content)
    shutil.copy(COMMANDS, master.zones / "global-templates")
    (master.zones / "global-templates" / "templates.conf").write_text(TEMPLATES)
    password = PASSWORD.replace("$", "$$")
    (master.zones / "master" / "login.conf").write_text(
        LOGIN % (HOSTS[0], SATELLITE, dovecot.USER, password)
    )
    vouching = trustme.CA()
    for node in nodes.values():
        node.certify(vouching)
    with satellite.running() as second, master.running() as first:
        yield Cluster({master: first, satellite: second})


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Run it all once."""
    folder = tmp_path_factory.mktemp("zones")
    authority = Authority.made(folder, "authority")
    certificate = authority.written(folder / "mail.pem", *HOSTS, days=59)
    tls = {"smtpd_tls_cert_file": certificate, "smtpd_tls_security_level": "may"}
    refusal = {"smtpd_client_restrictions": "reject", "smtpd_delay_reject": "no"}
    with contextlib.ExitStack() as stack:
        sasl = stack.enter_context(dovecot.running(PASSWORD, certificate, free_port()))
        auth = {
            "smtpd_sasl_auth_enable": "yes",
            "smtpd_sasl_type": "dovecot",
            "smtpd_sasl_path": sasl.sasl,
        }
        server = stack.enter_context(contextlib.ExitStack())
        mail = server.enter_context(postfix.running(**tls, **auth))
        environment = {"SSL_CERT_FILE": authority.path}
        icinga = stack.enter_context(cluster(folder, mail.port, environment))
        healthy = icinga.settle()
        server.close()
        first, second = icinga.check(), icinga.check()
        with postfix.running(postfix.SERVICES, mail.port, **refusal):
            refusing = icinga.check()
        logs = "".join(node.log.read_text() for node in icinga.daemons)
    return Seen(mail.port, healthy, first, second, refusing, logs)


def due(seen: Seen, code: int, text: str, *stages: str, is_hard: bool) -> dict[str, Service]:
    """Return what is due of each service where these stages completed."""
    services = {}
    state = ("OK", "WARNING", "CRITICAL")[code]
    for name, source in SERVICES.items():
        host, _, service = name.partition("!")
        user = ["--authuser", dovecot.USER] if service == "login" else []
        port = ("--port", str(seen.port))
        metrics = [f"{stage}=#s;;;0" for stage in stages]
        said = text
        if code == 0:
            if user:
                said += ", logged in by PLAIN"
                metrics.insert(-1, "auth=#s;;;0")
            metrics.append("certificate_days=59;14:;3:")
        services[name] = Service(
            code,
            is_hard,
            1,
            source,
            Result(
                [
                    *(str(SCRIPT), *user, "--hostname", "127.0.0.1", *port),
                    *("--sni", host, "--starttls"),
                ],
                code,
                f"SMTP {state} - 127.0.0.1:{seen.port} {said} ",
                ["time=#s;;;0;10", *metrics],
            ),
        )
    return services


def test_healthy(seen: Seen) -> None:
    assert seen.healthy.services == due(
        seen,
        0,
        "answered in # s (slowest: # # s), TLS 1.3, certificate expires in 59 days, #",
        *("connect", "tls", "banner", "helo", "starttls", "quit"),
        is_hard=True,
    )


def test_stopped(seen: Seen) -> None:
    refused = "connect: connection refused (after # s), cause: refused"
    assert seen.first.services == due(seen, 2, refused, is_hard=False)
    assert seen.second.services == due(seen, 2, refused, is_hard=True)


def test_refusing(seen: Seen) -> None:
    denied = "banner: 554 5.7.1 (unknown(127.0.0.1)): Client host rejected: Access denied"
    assert seen.refusing.services == due(
        seen, 2, f"{denied} (after # s)", "connect", "quit", is_hard=True
    )


def test_the_state_becomes_hard_once(seen: Seen) -> None:
    assert seen.first.hard_since == seen.healthy.hard_since
    later = {
        name: since > seen.first.hard_since[name] for name, since in seen.second.hard_since.items()
    }
    assert later == dict.fromkeys(SERVICES, True)
    assert seen.refusing.hard_since == seen.second.hard_since


def test_the_password_is_not_in_what_is_kept_of_a_check(seen: Seen) -> None:
    moments = (seen.healthy, seen.first, seen.second, seen.refusing)
    assert "s3cret" not in "".join(moment.stored for moment in moments) + seen.logs
