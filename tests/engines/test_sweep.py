"""Definitions for a sweep work: an engine runs one process, and each service gets its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trustme

from tests.engines.icinga import COMMANDS, LIBRARY, NODE, Icinga
from tests.engines.nagios import Nagios
from tests.servers.loopback import free_port
from tests.servers.scripted import Expect, ScriptedServer

if TYPE_CHECKING:
    from pathlib import Path

OK = (
    *(b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"250 mx.example\r\n"),
    *(Expect(b"QUIT"), b"221 bye\r\n"),
)
REFUSED = (
    *(b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"550 no\r\n"),
    *(Expect(b"QUIT"), b"221 bye\r\n"),
)

OBJECTS = f"""
include "{COMMANDS.with_name("icinga2-sweep.conf")}"

object ApiUser "smtp-health" {{
	password = "s3cret"
	permissions = [ "actions/process-check-result" ]
}}

object Host "mail" {{
	check_command = "dummy"
	vars.smtp_health_services = [ "good", "bad" ]
}}

apply Service for (name in host.vars.smtp_health_services) {{
	import "smtp-health-passive"
}}

object Service "smtp-sweep" {{
	host_name = "mail"
	check_command = "smtp_health_sweep"
	check_interval = 1s

	vars.smtp_health_checks = Checks
	vars.smtp_health_at_once = 10
	vars.smtp_health_spread = 1
	vars.smtp_health_output_to = "https://smtp-health@localhost:" + Port
	vars.smtp_health_output_pass_file = PasswordFile
	vars.smtp_health_output_ca_file = AuthorityFile
}}
"""

PASSIVE = """
define service {{
  use                  smtp-health-passive
  host_name            mail
  service_description  {}
  check_period         always
  max_check_attempts   1
  contacts             nobody
}}
"""


def checks(folder: Path, *ports: int) -> Path:
    """Write what the sweep is to do."""
    path = folder / "checks"
    lines = (
        f"mail;{name};-H 127.0.0.1 -p {port} -F me.example\n"
        for name, port in zip(("good", "bad"), ports)
    )
    path.write_text("".join(lines))
    return path


def test_icinga(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    password.chmod(0o600)
    port = free_port()
    with ScriptedServer(OK).running() as good, ScriptedServer(REFUSED).running() as bad:
        icinga = Icinga(
            tmp_path,
            LIBRARY + NODE.replace("bind_port = 0", f"bind_port = {port}") + OBJECTS,
            Checks=str(checks(tmp_path, good.port, bad.port)),
            Port=str(port),
            PasswordFile=str(password),
            AuthorityFile=str(tmp_path / "data" / "certs" / "ca.crt"),
        )
        icinga.certify(trustme.CA())
        with icinga.running():
            icinga.wait("smtp-sweep", lambda result: result["exit_status"] == 2)
            found = icinga.wait("bad", passive), icinga.wait("good", passive)
    assert [result["state"] for result in found] == [2, 0]
    assert found[0]["output"].partition(" helo: ")[2].startswith("550 no")


def passive(result: dict[str, Any]) -> bool:
    return not result["active"]


def test_nagios(tmp_path: Path) -> None:
    objects = COMMANDS.with_name("nagios-sweep.cfg").read_text()
    objects += PASSIVE.format("good") + PASSIVE.format("bad")
    with ScriptedServer(OK).running() as good, ScriptedServer(REFUSED).running() as bad:
        path = checks(tmp_path, good.port, bad.port)
        sweep = {"sweep": f"check_smtp_health_sweep!{path}!--spread 1"}
        with Nagios(tmp_path, sweep, objects=objects).running() as running:
            whole = running.result("sweep", lambda result: "SMTP" in result.output)
            found = [running.result(name, lambda _: True) for name in ("good", "bad")]
    assert whole.output.startswith("SMTP CRITICAL - 1 of 2 checks OK, 1 CRITICAL: mail bad")
    assert [result.state for result in found] == [0, 2]
