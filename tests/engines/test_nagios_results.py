"""Nagios takes results by its command file, and from NSCA-ng; without them, services go stale."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests import needs, plugin
from tests.engines.nagios import COMMANDS, Nagios, Result, Running
from tests.hostile import SAID, SHOWN
from tests.masking import masked
from tests.servers.loopback import free_port
from tests.servers.scripted import Expect, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SWEEP = COMMANDS.with_name("nagios-sweep.cfg")

SERVICE = """
define service {{
  use                  smtp-health-passive
  host_name            mail
  service_description  {name}
  freshness_threshold  {threshold}
  check_period         always
  max_check_attempts   1
  contacts             nobody
}}
"""

SERVER = """
command_file = "{commands}"
listen = "127.0.0.1:{port}"
authorize "plugin" {{
  password = "s3cret"
  hosts = "mail"
  services = ".*"
}}
"""

CLIENT = """
identity = "plugin"
password = "s3cret"
server = "127.0.0.1"
port = {port}
"""

OK = (
    *(b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"250 mx.example\r\n"),
    *(Expect(b"QUIT"), b"221 bye\r\n"),
)
REFUSED = (
    *(b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"550 " + SAID + b"\r\n"),
    *(Expect(b"QUIT"), b"221 bye\r\n"),
)


@pytest.fixture(scope="module")
def nagios(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("nagios")
    names = {"by file": 720, "by NSCA": 720, "another": 720, "stale": 2}
    services = [SERVICE.format(name=name, threshold=seconds) for name, seconds in names.items()]
    made = Nagios(folder, {}, objects=SWEEP.read_text() + "".join(services))
    assert made.validate() == (0, ["Total Errors:   0"])
    with made.running() as running:
        # The first result of the one that nobody submits says that commands are taken, too.
        running.result("stale", lambda result: result.state == 3)
        yield running


def check(script: Any, service: str, *arguments: str) -> plugin.Outcome:
    """Check a server for a service of Nagios's."""
    names = ("--output-host", "mail", "--output-service", service)
    with ScriptedServer(script).running() as server:
        return plugin.run(*plugin.at(server.port), "-w", "5", *names, *arguments)


def shown(outcome: plugin.Outcome) -> Result:
    """Return what Nagios keeps of a result with this text."""
    status, *rows, perfdata = outcome.stdout.splitlines()
    return Result(
        outcome.code,
        masked(status).replace(";", ":"),  # as of any plugin
        masked("\\n".join(row.replace("\\", "\\\\") for row in rows)),  # as status.dat has it
        masked(perfdata.removeprefix("| ")),
    )


@pytest.mark.parametrize("script", [REFUSED, OK])
def test_result_by_command_file(nagios: Running, script: Any) -> None:
    to = ("--output-format", "nagios", "--output-to", str(nagios.command_file), "-v")
    outcome = check(script, "by file", *to)
    # To Nagios two backslashes are one, to Icinga two, so that none are sent.
    text = outcome.stdout.replace(r"\\", r"\x5c" + "\\")
    wanted = shown(dataclasses.replace(outcome, stdout=text))
    assert nagios.result("by file", lambda result: result.state == outcome.code) == wanted


@pytest.fixture(scope="module")
def send_nsca(nagios: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Run a daemon that passes results on to Nagios, and give the command that sends them."""
    folder = tmp_path_factory.mktemp("nsca")
    port = free_port()
    (folder / "server.cfg").write_text(SERVER.format(commands=nagios.command_file, port=port))
    (folder / "client.cfg").write_text(CLIENT.format(port=port))
    client = [needs.program("send_nsca"), "-c", str(folder / "client.cfg")]
    with subprocess.Popen(
        [needs.program("nsca-ng"), "-F", "-S", "-c", str(folder / "server.cfg")],
        stderr=subprocess.DEVNULL,
        env={"PATH": os.defpath},
    ) as daemon:
        try:
            yield client
        finally:
            daemon.terminate()


def sent(command: list[str], results: bytes) -> None:
    """Send results as soon as the daemon is there."""
    end = time.monotonic() + 10
    while subprocess.run(command, input=results, capture_output=True, check=False).returncode:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_results_by_nsca(nagios: Running, send_nsca: list[str], tmp_path: Path) -> None:
    """As one document of two results, which a separator parts."""
    outcomes = []
    documents = []
    for service, script in (("by NSCA", REFUSED), ("another", OK)):
        path = tmp_path / service
        given = ("--output-format", "nsca", "--output-to", str(path), "-v")
        outcomes.append(check(script, service, *given))
        documents.append(path.read_bytes())
    sent(send_nsca, b"\x17".join(documents))
    for service, outcome in zip(("by NSCA", "another"), outcomes):
        found = nagios.result(service, lambda result: result.output.startswith("SMTP"))
        assert found == shown(outcome)
    assert SHOWN in outcomes[0].stdout


def test_what_is_not_submitted_goes_stale(nagios: Running) -> None:
    to = ("--output-format", "nagios", "--output-to", str(nagios.command_file))
    check(OK, "stale", *to)
    nagios.result("stale", lambda result: result.state == 0)
    assert nagios.result("stale", lambda result: result.state != 0) == Result(
        3, "SMTP UNKNOWN - no result has been submitted for too long", "", ""
    )
