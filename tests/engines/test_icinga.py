"""Icinga 2 knows every option, and stores of each run exactly what the plugin printed."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from check_smtp_health.config.option_table import OPTIONS, Option
from tests.engines.icinga import (
    COMMANDS,
    LIBRARY,
    NODE,
    VARIABLES,
    Icinga,
    Result,
    checked,
    result,
)
from tests.plugin import SCRIPT
from tests.servers.roundtrip import PASSWORD as MAILBOX_PASSWORD
from tests.servers.roundtrip import SENDING, WHOLE, named
from tests.servers.scripted import Expect, ScriptedServer

NOT_FOR_SERVICES = (
    *("help", "version", "explain", "print-definition", "ignore-quit-failure", "output-format"),
    *("output-to", "output-pass-file", "output-ca-file", "output-host", "output-service"),
    *("checks", "at-once", "spread"),
)

IN_ENVIRONMENT = {
    "authpass": "CHECK_SMTP_HEALTH_AUTHPASS",
    "mailboxpass": "CHECK_SMTP_HEALTH_MAILBOXPASS",
    "dnsblkey": "CHECK_SMTP_HEALTH_DNSBLKEY",
}
"""What is no argument: Icinga stores and shows those, and so does the process list."""

PASSWORD = "s3cret, $HOME, \u00fc"

SERVICES = """
object Host "mail" {
	check_command = "dummy"
	address = "127.0.0.1"
	address6 = "::1"
}

template Service "smtp" {
	host_name = "mail"
	check_command = "smtp_health"
	check_interval = 1s
	vars.smtp_health_port = ServerPort
	vars.smtp_health_fqdn = "probe.example"
}

object Service "brief" {
	import "smtp"
	vars.smtp_health_warning = "-5:"
	vars.smtp_health_critical = [ "60", "banner=-1:30" ]
	vars.smtp_health_require = [ "SIZE", "AUTH=PLAIN" ]
}

object Service "verbose" {
	import "smtp"
	vars.smtp_health_warning = "-5:"
	vars.smtp_health_require = [ "SIZE", "AUTH=PLAIN" ]
	vars.smtp_health_verbose = true
}

for (level in [ "0", "1", "2", "3" ]) {
	object Service "verbose-" + level use (level) {
		import "smtp"
		vars.smtp_health_verbose = number(level)
	}
}

object Service "lacking" {
	import "smtp"
	vars.smtp_health_require = [ "SIZE", "CHUNKING" ]
	vars.smtp_health_verbose = false
}

object Service "over-ipv6" {
	import "smtp"
	vars.smtp_health_ipv6 = true
}

object Service "login" {
	import "smtp"
	vars.smtp_health_port = LoginPort
	vars.smtp_health_authuser = "monitor"
	vars.smtp_health_authpass = Password
	vars.smtp_health_auth_insecure = true
	vars.smtp_health_verbose = true
}

object Service "roundtrip" {
	host_name = "mail"
	check_command = "smtp_health_roundtrip"
	check_interval = 1s
	vars.smtp_health_port = SendingPort
	vars.smtp_health_fqdn = "probe.example"
	vars.smtp_health_rcpt = [ "a@x" ]
	vars.smtp_health_mailbox = [ "imap://me@127.0.0.1:" + MailboxPort ]
	vars.smtp_health_mailboxpass = MailboxPassword
	vars.smtp_health_auth_insecure = true
	vars.smtp_health_delivery_timeout = 5
}

template Service "by default" {
	host_name = "mail"
	check_interval = 1s
	vars.smtp_health_fqdn = "probe.example"
	vars.smtp_health_authuser = "monitor"
	vars.smtp_health_authpass = Password
}

object Service "submission" {
	import "by default"
	check_command = "smtp_health_submission"
}

object Service "submissions" {
	import "by default"
	check_command = "smtp_health_submissions"
}

object Service "transaction" {
	import "smtp"
	vars.smtp_health_port = TransactionPort
	vars.smtp_health_proxy = "v1"
	vars.smtp_health_from = "<>"
	vars.smtp_health_size = 1000
	vars.smtp_health_rcpt = [ "a@mx.example", "b@mx.example" ]
	vars.smtp_health_no_relay = [ "c@there.example" ]
	vars.smtp_health_command = [ "VRFY a", "NOOP" ]
	vars.smtp_health_response = [ "252", "250" ]
}
"""

SMTP = (
    b"220 mx.example ESMTP\r\n",
    Expect(b"EHLO"),
    b"250-mx.example\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)

LOGIN = (
    b"220 mx.example ESMTP\r\n",
    Expect(b"EHLO"),
    b"250-mx.example\r\n250 AUTH PLAIN\r\n",
    Expect(b"AUTH PLAIN "),
    b"235 2.7.0 Accepted\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)

TRANSACTION = (
    Expect(b"PROXY TCP4 127.0.0.1 127.0.0.1 "),
    b"220 mx.example ESMTP\r\n",
    Expect(b"EHLO"),
    b"250-mx.example\r\n250 SIZE 1000\r\n",
    Expect(b"MAIL FROM:<> SIZE=1000\r\n"),
    b"250 ok\r\n",
    Expect(b"RCPT TO:<a@mx.example>\r\n"),
    b"250 ok\r\n",
    Expect(b"RCPT TO:<b@mx.example>\r\n"),
    b"550 unknown\r\n",
    Expect(b"RCPT TO:<c@there.example>\r\n"),
    b"250 ok\r\n",
    Expect(b"VRFY a\r\n"),
    b"252 perhaps\r\n",
    Expect(b"NOOP\r\n"),
    b"250 ok\r\n",
    Expect(b"RSET\r\n"),
    b"250 ok\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)


class Seen(NamedTuple):
    """What the daemon knew: the CheckCommands, each service's first result; and the servers.

    ``stored`` is the whole of each result, ``log`` what the daemon said meanwhile.
    """

    command: dict[str, Any]
    roundtrip: dict[str, Any]
    results: dict[str, Result]
    stored: dict[str, str]
    log: str
    port: int
    login: ScriptedServer
    transaction: ScriptedServer
    sending: ScriptedServer
    box: ScriptedServer


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Run every service once."""
    with (
        ScriptedServer(SMTP).running() as server,
        ScriptedServer(LOGIN).running() as login,
        ScriptedServer(TRANSACTION).running() as transaction,
        ScriptedServer(SENDING).running() as sending,
        ScriptedServer(WHOLE, edit=named(sending)).running() as box,
    ):
        icinga = Icinga(
            tmp_path_factory.mktemp("icinga"),
            LIBRARY + NODE + SERVICES,
            ServerPort=str(server.port),
            LoginPort=str(login.port),
            TransactionPort=str(transaction.port),
            SendingPort=str(sending.port),
            MailboxPort=str(box.port),
            MailboxPassword=MAILBOX_PASSWORD,
            Password=PASSWORD.replace("$", "$$"),
        )
        with icinga.running() as daemon:
            services = checked(icinga, daemon)
            (command,) = icinga.query("checkcommands/smtp_health")
            (roundtrip,) = icinga.query("checkcommands/smtp_health_roundtrip")
    return Seen(
        command,
        roundtrip,
        {service["name"]: result(service["last_check_result"]) for service in services},
        {service["name"]: json.dumps(service["last_check_result"]) for service in services},
        icinga.log.read_text(),
        server.port,
        login,
        transaction,
        sending,
        box,
    )


def test_arguments_are_the_option_table(seen: Seen) -> None:
    arguments = {
        flag: {key: value for key, value in argument.items() if key != "description"}
        for flag, argument in seen.command["arguments"].items()
        if "key" not in argument
    }
    assert arguments == {
        f"--{option.name}": _argument(option)
        for option in OPTIONS
        if option.name not in (*NOT_FOR_SERVICES, *IN_ENVIRONMENT)
    }
    assert seen.command["env"] == {
        variable: f"$smtp_health_{name}$" for name, variable in IN_ENVIRONMENT.items()
    }


def test_descriptions_are_sentences_that_stand_alone(seen: Seen) -> None:
    """Icinga Director shows one below each field; what is the default is in the help, too."""
    descriptions = {
        flag[2:]: argument["description"]
        for flag, argument in seen.command["arguments"].items()
        if "key" not in argument
    }
    for name, description in descriptions.items():
        assert re.fullmatch(r"[A-Z].*\.", description), name
        assert not re.search(r"--\w|\blikewise\b|(?<!@)\bHOST\b", description), name
    for option in OPTIONS:
        for default in re.findall(r"\(default: ([\w.:,]*\w)(?=[,;)])", option.help):
            assert default in descriptions.get(option.name, default), option.name


def _argument(option: Option) -> dict[str, Any]:
    variable = VARIABLES.get(option.name, option.name.replace("-", "_"))
    argument: dict[str, Any] = {"value" if option.value else "set_if": f"$smtp_health_{variable}$"}
    if option.value and option.repeatable:
        argument["repeat_key"] = True
    if option.name == "hostname":
        argument["required"] = True
    return argument


def test_example_is_valid(tmp_path: Path) -> None:
    comment = COMMANDS.read_text().partition(" */")[0]
    example = "".join(re.findall(r"^ \*\t(.*\n)", comment, re.MULTILINE))
    host = """
object Host "mail" {
	check_command = "dummy"
	vars.mail_server = true
}
"""
    assert "apply Service" in example
    assert Icinga(tmp_path, LIBRARY + host + example).validate() == (
        0,
        "information/cli: Finished validating the configuration file(s).",
    )


def test_brief(seen: Seen) -> None:
    assert seen.results["brief"] == Result(
        [
            *(str(SCRIPT), "--critical", "60", "--critical", "banner=-1:30"),
            *("--fqdn", "probe.example", "--hostname", "127.0.0.1", "--port", str(seen.port)),
            *("--require", "SIZE", "--require", "AUTH=PLAIN", "--warning", "-5:"),
        ],
        0,
        f"SMTP OK - 127.0.0.1:{seen.port} answered in # s (slowest: # # s) ",
        [
            *("time=#s;-5:;60;0;10", "connect=#s;;;0", "banner=#s;;-1:30;0"),
            *("helo=#s;;;0", "quit=#s;;;0"),
        ],
    )


def test_verbose(seen: Seen) -> None:
    assert seen.results["verbose"] == Result(
        [
            *(str(SCRIPT), "--fqdn", "probe.example"),
            *("--hostname", "127.0.0.1", "--port", str(seen.port)),
            *("--require", "SIZE", "--require", "AUTH=PLAIN", "--verbose", "--warning", "-5:"),
        ],
        0,
        f"SMTP OK - 127.0.0.1:{seen.port} answered in # s (slowest: # # s)\n"
        "connect # s █ [OK]\n"
        "banner # s █ [OK]\n"
        "helo # s █ [OK]\n"
        "quit # s █ [OK]\n",
        ["time=#s;-5:;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0", "quit=#s;;;0"],
    )


@pytest.mark.parametrize("level", range(4))
def test_verbose_as_a_number(seen: Seen, level: int) -> None:
    assert seen.results[f"verbose-{level}"].command == [
        *(str(SCRIPT), "--fqdn", "probe.example", "--hostname", "127.0.0.1"),
        *("--port", str(seen.port), *["--verbose"] * level),
    ]


def test_lacking(seen: Seen) -> None:
    assert seen.results["lacking"] == Result(
        [
            *(str(SCRIPT), "--fqdn", "probe.example"),
            *("--hostname", "127.0.0.1", "--port", str(seen.port)),
            *("--require", "SIZE", "--require", "CHUNKING"),
        ],
        2,
        f"SMTP CRITICAL - 127.0.0.1:{seen.port} helo: CHUNKING is not offered ",
        ["time=#s;;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0", "quit=#s;;;0"],
    )


def test_ipv6_chooses_the_address(seen: Seen) -> None:
    assert seen.results["over-ipv6"].command == [
        *(str(SCRIPT), "--fqdn", "probe.example"),
        *("--hostname", "::1", "--port", str(seen.port), "--use-ipv6"),
    ]


def test_a_password_reaches_the_plugin_and_nobody_else(seen: Seen) -> None:
    assert seen.results["login"] == Result(
        [
            *(str(SCRIPT), "--auth-insecure", "--authuser", "monitor", "--fqdn", "probe.example"),
            *("--hostname", "127.0.0.1", "--port", str(seen.login.port), "--verbose"),
        ],
        0,
        f"SMTP OK - 127.0.0.1:{seen.login.port} answered in # s (slowest: # # s), "
        "logged in by PLAIN\n"
        "connect # s █ [OK]\n"
        "banner # s █ [OK]\n"
        "helo # s █ [OK]\n"
        "auth # s █ [OK]\n"
        "quit # s █ [OK]\n",
        [
            *("time=#s;;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0"),
            *("auth=#s;;;0", "quit=#s;;;0"),
        ],
    )
    response = base64.b64encode(f"\0monitor\0{PASSWORD}".encode())
    assert b"AUTH PLAIN " + response + b"\r\n" in seen.login.received
    assert "s3cret" not in seen.stored["login"]
    assert "s3cret" not in seen.log


@pytest.mark.parametrize(
    ("service", "defaults"),
    [
        ("submission", ("--port", "587", "--starttls")),
        ("submissions", ("--port", "465", "--ssl")),
    ],
)
def test_other_commands_have_other_defaults(
    seen: Seen, service: str, defaults: tuple[str, ...]
) -> None:
    assert seen.results[service].command == [
        *(str(SCRIPT), "--authuser", "monitor", "--fqdn", "probe.example"),
        *("--hostname", "127.0.0.1", *defaults),
    ]


def test_a_transaction(seen: Seen) -> None:
    assert seen.transaction.faults == []
    assert seen.results["transaction"] == Result(
        [
            *(str(SCRIPT), "--command", "VRFY a", "--command", "NOOP", "--fqdn", "probe.example"),
            *("--from", "<>", "--hostname", "127.0.0.1", "--no-relay", "c@there.example"),
            *("--port", str(seen.transaction.port), "--proxy", "v1"),
            *("--rcpt", "a@mx.example", "--rcpt", "b@mx.example"),
            *("--response", "252", "--response", "250", "--size", "1000"),
        ],
        2,
        f"SMTP CRITICAL - 127.0.0.1:{seen.transaction.port} "
        "rcpt: b@mx.example: 550 unknown (after # s), "
        "also relay: accepts c@there.example, an open relay: 250 ok (after # s) ",
        [
            *("time=#s;;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0"),
            *("mail=#s;;;0", "command=#s;;;0", "quit=#s;;;0"),
        ],
    )


def test_a_round_trip(seen: Seen) -> None:
    # The daemon may have been ended in the middle of another run.
    faults = seen.sending.faults + seen.box.faults
    assert [fault for fault in faults if not fault.endswith("got b''")] == []
    # Longer than both of the plugin's own limits, which a minute, Icinga's default, would not be.
    assert (seen.command["timeout"], seen.roundtrip["timeout"]) == (60, 120)
    assert seen.roundtrip["arguments"] == seen.command["arguments"]
    assert seen.roundtrip["env"] == seen.command["env"]
    assert seen.results["roundtrip"] == Result(
        [
            *(str(SCRIPT), "--auth-insecure", "--deliver", "--delivery-timeout", "5"),
            *("--fqdn", "probe.example", "--hostname", "127.0.0.1"),
            *("--mailbox", f"imap://me@127.0.0.1:{seen.box.port}"),
            *("--port", str(seen.sending.port), "--rcpt", "a@x"),
        ],
        0,
        f"SMTP OK - 127.0.0.1:{seen.sending.port} answered in # s (slowest: # # s), "
        "1 recipient accepted, delivered to INBOX after # s ",
        [
            *("time=#s;;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0"),
            *("mail=#s;;;0", "rcpt=#s;;;0", "data=#s;;;0", "quit=#s;;;0", "delivery=#s;;;0"),
        ],
    )
    assert MAILBOX_PASSWORD not in seen.stored["roundtrip"] + seen.log
