"""Nagios, directly and by way of NRPE, watches a mail server fall."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests import needs
from tests.engines.nagios import Nagios, Result, Service
from tests.plugin import SCRIPT
from tests.servers import postfix
from tests.servers.authority import Authority
from tests.servers.loopback import free_port, is_listening

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKS = Path(__file__).parents[2] / "contrib" / "nrpe.cfg"

NAME = "mx.example.org"

NRPE = """
pid_file={folder}/nrpe.pid
log_file={folder}/nrpe.log
server_address=127.0.0.1
server_port={port}
nrpe_user=nagios
nrpe_group=nagios
allowed_hosts=127.0.0.1
dont_blame_nrpe=0
command_timeout=20
include={checks}
"""

CHECK_NRPE = """
define command {{
  command_name  check_nrpe
  command_line  {program} -H '$HOSTADDRESS$' -p {port} -c '$ARG1$'
}}
"""

# NRPE refuses to be root, but the plugin and its files may be in a folder of root's.
AS_NAGIOS = (
    *("setpriv", "--reuid=nagios", "--regid=nagios", "--clear-groups"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
)

PATIENCE = 10
"""Seconds that NRPE gets to listen; it needs some milliseconds."""


class Seen(NamedTuple):
    """What Nagios said while the server was healthy, stopped, still stopped, and then refusing."""

    port: int
    healthy: dict[str, Service]
    first: dict[str, Service]
    second: dict[str, Service]
    refusing: dict[str, Service]


@contextlib.contextmanager
def nrpe(folder: Path, options: str) -> Iterator[int]:
    """Run NRPE with our checks, ``options`` in place of the host's name; yield its port."""
    port = free_port()
    checks = CHECKS.read_text().replace("/usr/lib/nagios/plugins/check_smtp_health", str(SCRIPT))
    (folder / "checks.cfg").write_text(checks.replace(f"-H {NAME}", options))
    main = folder / "nrpe.cfg"
    main.write_text(
        NRPE.format(
            folder=folder,
            port=port,
            checks=folder / "checks.cfg",
        )
    )
    needs.root()
    log = folder / "nrpe.log"
    with subprocess.Popen(
        [*AS_NAGIOS, needs.program("nrpe"), "-c", str(main), "-f"],
        env={"PATH": os.defpath},
    ) as daemon:
        try:
            end = time.monotonic() + PATIENCE
            while not is_listening(port):
                if daemon.poll() is not None or time.monotonic() > end:
                    pytest.fail(log.read_text() if log.exists() else "NRPE does not start")
                time.sleep(0.02)
            yield port
        finally:
            daemon.terminate()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Run it all once."""
    folder = tmp_path_factory.mktemp("outage")
    authority = Authority.made(folder, "authority")
    certificate = authority.written(folder / "mail.pem", NAME, days=59)
    healthy = {"smtpd_tls_cert_file": certificate, "smtpd_tls_security_level": "may"}
    refusing = {"smtpd_client_restrictions": "reject", "smtpd_delay_reject": "no"}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.ExitStack())
        port = server.enter_context(postfix.running(**healthy)).port
        options = f"-p {port} --sni {NAME} --ca-file {authority.path}"
        agent = stack.enter_context(nrpe(folder, f"-H 127.0.0.1 {options}"))
        program = needs.program("check_nrpe")
        nagios = Nagios(
            folder,
            {
                "direct": f"check_smtp_health!1!5!-t 8 -S {options}",
                "by NRPE": "check_nrpe!check_smtp_health",
            },
            attempts=2,
            objects=CHECK_NRPE.format(program=program, port=agent),
        )
        running = stack.enter_context(nagios.running())
        running.checked()
        moments = [running.check()]
        server.close()
        moments += [running.check(), running.check()]
        with postfix.running(postfix.SERVICES, port, **refusing):
            moments.append(running.check())
    return Seen(port, *moments)


def due(seen: Seen, state: int, text: str, *stages: str, days: str = "") -> dict[str, Result]:
    """Return what is due where these stages completed: NRPE changes nothing."""
    word = ("OK", "WARNING", "CRITICAL")[state]
    times = [f"{stage}=#s;;;0" for stage in stages]
    result = Result(
        state,
        f"SMTP {word} - 127.0.0.1:{seen.port} {text}",
        "",
        " ".join(["time=#s;1;5;0;8", *times, *([f"certificate_days={days}"] if days else [])]),
    )
    return {"direct": result, "by NRPE": result}


def results(services: dict[str, Service]) -> dict[str, Result]:
    """Return the last result of each service."""
    return {name: service.result for name, service in services.items()}


def test_healthy(seen: Seen) -> None:
    assert results(seen.healthy) == due(
        seen,
        0,
        "answered in # s (slowest: # # s), TLS 1.3, certificate expires in 59 days, #",
        *("connect", "tls", "banner", "helo", "starttls", "quit"),
        days="59;14:;3:",
    )


def test_stopped(seen: Seen) -> None:
    refused = due(seen, 2, "connect: connection refused (after # s), cause: refused")
    assert (results(seen.first), results(seen.second)) == (refused, refused)


def test_refusing(seen: Seen) -> None:
    denied = "banner: 554 5.7.1 (unknown(127.0.0.1)): Client host rejected: Access denied"
    assert results(seen.refusing) == due(seen, 2, f"{denied} (after # s)", "connect", "quit")


@pytest.mark.parametrize("name", ["direct", "by NRPE"])
def test_the_state_becomes_hard_once(seen: Seen, name: str) -> None:
    healthy, first, second, refusing = (moment[name] for moment in seen[1:])
    assert [healthy.is_hard, first.is_hard, second.is_hard, refusing.is_hard] == [
        True,
        False,
        True,
        True,
    ]
    assert first.hard_since == healthy.hard_since < second.hard_since == refusing.hard_since
    assert [healthy.attempt, first.attempt, second.attempt] == [1, 1, 2]
