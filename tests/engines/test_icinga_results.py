"""Icinga 2 takes results by its API and by its command pipe; without them, services go stale."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trustme

from tests import plugin
from tests.engines.icinga import COMMANDS, DEADLINE, LIBRARY, NODE, Icinga
from tests.hostile import SAID, SHOWN
from tests.masking import masked
from tests.servers.scripted import Expect, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

SWEEP = COMMANDS.with_name("icinga2-sweep.conf")

OBJECTS = f"""
include "{SWEEP}"

object ExternalCommandListener "command" {{ command_path = CommandPipe }}

object ApiUser "smtp-health" {{
	password = "s3cret: ü"
	permissions = [ "actions/process-check-result" ]
}}

object ApiUser "nobody" {{
	password = "nothing"
	permissions = [ "objects/query/*" ]
}}

object Host "mx" {{
	check_command = "dummy"
	vars.smtp_health_services = [ "by API", "by pipe", "stale" ]
}}

apply Service for (name in host.vars.smtp_health_services) {{
	import "smtp-health-passive"
	if (name == "stale") {{
		check_interval = 2s
		retry_interval = 2s
	}}
}}
"""

OK = (
    *(b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"250 mx.example\r\n"),
    *(Expect(b"QUIT"), b"221 bye\r\n"),
)
REFUSED = (
    *(b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"550 " + SAID + b"\r\n"),
    *(Expect(b"QUIT"), b"221 bye\r\n"),
)

PERFDATA = ["time=#s;5;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0", "quit=#s;;;0"]
"""Of a check for which all is well."""


class Node(NamedTuple):
    """A running Icinga, and the files with which its API is used."""

    icinga: Icinga
    pipe: Path
    password: Path
    authority: Path

    def submit(self, script: Any, *arguments: str, user: str = "smtp-health") -> plugin.Outcome:
        """Check a server and submit the result by the API."""
        return self.check(
            script,
            *("--output-format", "icinga2", "--output-host", "mx"),
            *("--output-to", f"https://{user}@localhost:{self.icinga.port}"),
            *("--output-pass-file", str(self.password)),
            *("--output-ca-file", str(self.authority)),
            *arguments,
        )

    def check(self, script: Any, *arguments: str) -> plugin.Outcome:
        """Check a server."""
        with ScriptedServer(script).running() as server:
            return plugin.run(*plugin.at(server.port), "-w", "5", *arguments)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("icinga")
    pipe = folder / "icinga2.cmd"
    icinga = Icinga(folder, LIBRARY + NODE + OBJECTS, CommandPipe=str(pipe))
    authority = trustme.CA()
    icinga.certify(authority)
    password = folder / "password"
    password.write_text("s3cret: ü\n")
    password.chmod(0o600)
    with icinga.running():
        made = Node(icinga, pipe, password, folder / "data" / "certs" / "ca.crt")
        # The first result of the one that nobody submits says that the API is up, too.
        icinga.wait("stale", lambda result: True)
        yield made


def submitted(result: dict[str, Any]) -> bool:
    return not result["active"]


def test_result_by_api(node: Node) -> None:
    before = time.time()
    outcome = node.submit(OK, "--output-service", "by API", "-v")
    result = node.icinga.wait("by API", submitted)
    assert (outcome.code, outcome.stderr) == (0, "")
    status, *rows, perfdata = outcome.stdout.splitlines()
    assert result["output"] == "\n".join((status, *rows))
    assert result["performance_data"] == perfdata.removeprefix("| ").split()
    assert list(map(masked, result["performance_data"])) == PERFDATA
    assert result["state"] == 0
    assert result["check_source"] == os.uname().nodename
    times = [before, result["execution_start"], result["execution_end"], time.time()]
    assert times == sorted(times)


def test_server_s_words_by_api(node: Node) -> None:
    outcome = node.submit(REFUSED, "--output-service", "by API")
    result = node.icinga.wait("by API", lambda result: result["state"] == 2)
    assert outcome.code == 2
    assert result["output"] == outcome.stdout.partition(" | ")[0]
    assert masked(result["output"]).partition(" helo: ")[2] == f"550 {SHOWN} (after # s)"


@pytest.mark.parametrize(
    ("arguments", "user", "problem"),
    [
        (("--output-service", "x"), "smtp-health", "404, no such service, or no permission: mx!x"),
        (("--output-service", "by API"), "nobody%40x", "401, user or password is wrong"),
    ],
)
def test_refused_by_api(node: Node, arguments: tuple[str, ...], user: str, problem: str) -> None:
    outcome = node.submit(OK, *arguments, user=user)
    where = f"localhost:{node.icinga.port}"
    assert outcome.code == 2
    assert outcome.line.startswith(
        f"SMTP CRITICAL - output: 1 result lost, {where}: {problem}, also 127.0.0.1:"
    )
    assert outcome.labels == "time connect banner helo quit"


def test_user_without_permission(node: Node, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("nothing")
    password.chmod(0o600)
    given = ("--output-service", "by API", "--output-pass-file", str(password))
    outcome = node.submit(OK, *given, user="nobody")
    assert outcome.code == 2
    assert "404, no such service, or no permission: mx!by API, also" in outcome.line


def test_unknown_authority(node: Node, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    outcome = node.submit(OK, "--output-service", "by API", "--output-ca-file", str(other))
    assert outcome.code == 2
    assert f"localhost:{node.icinga.port}: certificate unknown issuer, also" in outcome.line


def test_result_by_pipe(node: Node) -> None:
    outcome = node.check(
        REFUSED,
        *("--output-format", "nagios", "--output-host", "mx", "--output-service", "by pipe"),
        *("--output-to", str(node.pipe), "-v"),
    )
    result = node.icinga.wait("by pipe", submitted)
    status, *rows, perfdata = outcome.stdout.splitlines()
    text = "\n".join((status, *rows)).replace(r"\\", r"\x5c" + "\\")  # two are one to Nagios
    assert result["output"] == text
    assert result["performance_data"] == perfdata.removeprefix("| ").split()
    assert result["state"] == outcome.code == 2


def test_what_is_not_submitted_goes_stale(node: Node) -> None:
    end = time.monotonic() + DEADLINE
    # A check of its own that began after ours makes Icinga drop the older result, and say nothing.
    while not (came := node.icinga.service("stale")["last_state_ok"]) and time.monotonic() < end:
        assert node.submit(OK, "--output-service", "stale").code == 0
    assert came
    result = node.icinga.wait("stale", lambda result: result["execution_end"] > came)
    assert (result["active"], result["state"], result["output"]) == (
        True,
        3,
        "SMTP UNKNOWN - no result has been submitted for too long",
    )
