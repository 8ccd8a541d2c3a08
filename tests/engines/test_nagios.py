"""Nagios takes our commands, and stores of each run exactly what the plugin printed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.engines.nagios import COMMANDS, Nagios, Result
from tests.servers.authority import NAME, Authority
from tests.servers.roundtrip import SENDING, WHOLE, named
from tests.servers.scripted import Expect, Handshake, ScriptedServer

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from tests.servers.scripted import Step

SMTP = (
    b"220 mx.example ESMTP\r\n",
    Expect(b"EHLO"),
    b"250-mx.example\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)

LMTP = (
    b"220 mx.example LMTP\r\n",
    Expect(b"LHLO"),
    b"250 mx.example\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)


RCPT = (
    b"220 mx.example ESMTP\r\n",
    Expect(b"HELO"),
    b"250 mx.example\r\n",
    Expect(b"MAIL FROM:<>\r\n"),
    b"250 ok\r\n",
    Expect(b"RCPT TO:<a@mx.example>\r\n"),
    b"250 ok\r\n",
    Expect(b"RSET\r\n"),
    b"250 ok\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)


def submission(certificate: ssl.SSLContext) -> tuple[Step, ...]:
    """Return what a server for port 587 does."""
    return (
        b"220 mx.example ESMTP\r\n",
        Expect(b"EHLO"),
        b"250-mx.example\r\n250 STARTTLS\r\n",
        Expect(b"STARTTLS"),
        b"220 go ahead\r\n",
        Handshake(certificate),
        Expect(b"EHLO"),
        *LOGIN,
    )


def submissions(certificate: ssl.SSLContext) -> tuple[Step, ...]:
    """Return what a server for port 465 does."""
    return (Handshake(certificate), b"220 mx.example ESMTP\r\n", Expect(b"EHLO"), *LOGIN)


# What PLAIN makes of monitor and s3cret.
LOGIN = (
    b"250-mx.example\r\n250 AUTH PLAIN\r\n",
    Expect(b"AUTH PLAIN AG1vbml0b3IAczNjcmV0\r\n"),
    b"235 2.7.0 Accepted\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)


WITHOUT_ARGUMENTS = {
    "check_smtp_health": (2, "SMTP CRITICAL - 127.0.0.1:25 connect: connection refused"),
    "check_smtp_health_submission": (
        2,
        "SMTP CRITICAL - 127.0.0.1:587 connect: connection refused",
    ),
    "check_smtp_health_submissions": (
        2,
        "SMTP CRITICAL - 127.0.0.1:465 connect: connection refused",
    ),
    "check_smtp_health_recipient": (3, "SMTP UNKNOWN - --rcpt: '' is not a mail address"),
    "check_smtp_health_relay": (3, "SMTP UNKNOWN - --no-relay: '' is not a mail address"),
    "check_smtp_health_roundtrip": (3, "SMTP UNKNOWN - --rcpt: '' is not a mail address"),
    "check_smtp_health_mx": (
        3,
        "SMTP UNKNOWN - -H: '' is not a host name, IP address or socket path",
    ),
    "check_smtp_health_lmtp": (
        3,
        "SMTP UNKNOWN - -H: '' is not a host name, IP address or socket path",
    ),
}
"""What comes of each command that is given no argument: a check, or what is missing."""


class Ran(NamedTuple):
    """Each service's result, and where the servers were."""

    results: dict[str, Result]
    port: int
    socket: str
    submission: ScriptedServer
    submissions: ScriptedServer
    rcpt: ScriptedServer
    sending: ScriptedServer
    box: ScriptedServer


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run the daemon until every service has been checked."""
    folder = tmp_path_factory.mktemp("nagios")
    socket = str(folder / "lmtp.socket")
    lmtp = ScriptedServer(LMTP, path=socket)
    authority = Authority.made(folder, "authority")
    password = folder / "password"
    password.write_text("s3cret\n")
    password.chmod(0o640)
    certificate = authority.serving(days=59)
    there = authority.serving("127.0.0.1")
    trusted = f"--ca-file {authority.path}"
    login = f"-U monitor --authpass-file {password} {trusted}"
    with (
        ScriptedServer(SMTP).running() as smtp,
        ScriptedServer(submission(certificate)).running() as starttls,
        ScriptedServer(submissions(certificate)).running() as implicit,
        ScriptedServer(RCPT).running() as rcpt,
        lmtp.running(),
        ScriptedServer(SENDING).running() as sending,
        ScriptedServer((Handshake(there), *WHOLE), edit=named(sending)).running() as box,
        # Two runs at once would be too much for a script.
        ScriptedServer(SENDING).running() as former,
        ScriptedServer((Handshake(there), *WHOLE), edit=named(former)).running() as former_box,
    ):
        mailbox = f"imaps://me@127.0.0.1:{box.port}"
        services = {
            "brief": f"check_smtp_health!-5:!60,banner=-1:30!-p {smtp.port} --require SIZE",
            "verbose": f"check_smtp_health!-5:!60!-p {smtp.port} --require SIZE -v",
            "lacking": f"check_smtp_health!~:60!60!-p {smtp.port} --require CHUNKING",
            "lmtp": f"check_smtp_health_lmtp!{socket}!-F probe.example",
            "submission": f"check_smtp_health_submission!{NAME}!{login} -p {starttls.port}",
            "submissions": f"check_smtp_health_submissions!{NAME}!{login} -p {implicit.port}",
            "recipient": f"check_smtp_health_recipient!a@mx.example!-p {rcpt.port}",
            "relay": f"check_smtp_health_relay!a@mx.example!-p {rcpt.port}",
            "roundtrip": f"check_smtp_health_roundtrip!a@x!{mailbox}"
            f"!--mailbox-pass-file {password} {trusted} -p {sending.port}",
            **{name: name for name in WITHOUT_ARGUMENTS},
            "former lmtp": f"check_lmtp_health!{socket}!-F probe.example",
            "former submission": f"check_submission_health!{NAME}!monitor!{password}"
            f"!{trusted} -p {starttls.port}",
            "former submissions": f"check_submissions_health!{NAME}!monitor!{password}"
            f"!{trusted} -p {implicit.port}",
            "former recipient": f"check_recipient_health!a@mx.example!-p {rcpt.port}",
            "former relay": f"check_relay_health!a@mx.example!-p {rcpt.port}",
            "former roundtrip": f"check_roundtrip_health!a@x!imaps://me@127.0.0.1:{former_box.port}"
            f"!{password}!{trusted} -p {former.port}",
        }
        with Nagios(folder, services).running() as daemon:
            results = {name: service.result for name, service in daemon.checked().items()}
    return Ran(results, smtp.port, socket, starttls, implicit, rcpt, sending, box)


def test_commands_are_valid(tmp_path: Path) -> None:
    nagios = Nagios(tmp_path, {"smtp": "check_smtp_health!1!5"})
    assert nagios.validate() == (0, ["Total Errors:   0"])


@pytest.mark.parametrize("command", WITHOUT_ARGUMENTS)
def test_missing_arguments(ran: Ran, command: str) -> None:
    result = ran.results[command]
    said = result.output.partition(" (after")[0]
    assert (result.state, said) == WITHOUT_ARGUMENTS[command]


@pytest.mark.parametrize(
    "name", ["lmtp", "submission", "submissions", "recipient", "relay", "roundtrip"]
)
def test_a_former_name_still_works(ran: Ran, name: str) -> None:
    former, now = ran.results[f"former {name}"], ran.results[name]
    output = re.sub(r"127\.0\.0\.1:\d+", "#", former.output)
    assert former._replace(output=output) == now._replace(
        output=re.sub(r"127\.0\.0\.1:\d+", "#", now.output)
    )


def test_each_command_but_the_first_has_a_former_name() -> None:
    lines = dict(
        re.findall(r"^  command_name +(.*)\n  command_line +(.*)$", COMMANDS.read_text(), re.M)
    )
    former = {name for name in lines if not name.startswith("check_smtp_health")}
    assert len(former) == len(WITHOUT_ARGUMENTS) - 1
    assert set(lines) - former == set(WITHOUT_ARGUMENTS)
    assert lines["check_mail_domain_health"] == lines["check_smtp_health_mx"]


def test_brief(ran: Ran) -> None:
    assert ran.results["brief"] == Result(
        0,
        f"SMTP OK - 127.0.0.1:{ran.port} answered in # s (slowest: # # s)",
        "",
        "time=#s;-5:;60;0;10 connect=#s;;;0 banner=#s;;-1:30;0 helo=#s;;;0 quit=#s;;;0",
    )


def test_verbose(ran: Ran) -> None:
    assert ran.results["verbose"] == Result(
        0,
        f"SMTP OK - 127.0.0.1:{ran.port} answered in # s (slowest: # # s)",
        r"connect # s █ [OK]\n"
        r"banner # s █ [OK]\n"
        r"helo # s █ [OK]\n"
        r"quit # s █ [OK]\n",
        "time=#s;-5:;60;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0",
    )


def test_lacking(ran: Ran) -> None:
    assert ran.results["lacking"] == Result(
        2,
        f"SMTP CRITICAL - 127.0.0.1:{ran.port} helo: CHUNKING is not offered",
        "",
        "time=#s;~:60;60;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0",
    )


def test_lmtp(ran: Ran) -> None:
    assert ran.results["lmtp"] == Result(
        0,
        f"SMTP OK - {ran.socket} answered in # s (slowest: # # s)",
        "",
        "time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0",
    )


def test_submission(ran: Ran) -> None:
    assert ran.results["submission"] == Result(
        0,
        f"SMTP OK - 127.0.0.1:{ran.submission.port} answered in # s (slowest: # # s), TLS 1.3, "
        "certificate expires in 59 days, #, logged in by PLAIN",
        "",
        "time=#s;;;0;10 connect=#s;;;0 tls=#s;;;0 banner=#s;;;0 helo=#s;;;0 starttls=#s;;;0 "
        "auth=#s;;;0 quit=#s;;;0 certificate_days=59;14:;3:",
    )
    assert ran.submission.faults == []


def test_submissions(ran: Ran) -> None:
    assert ran.results["submissions"] == Result(
        0,
        f"SMTP OK - 127.0.0.1:{ran.submissions.port} answered in # s (slowest: # # s), TLS 1.3, "
        "certificate expires in 59 days, #, logged in by PLAIN",
        "",
        "time=#s;;;0;10 connect=#s;;;0 tls=#s;;;0 banner=#s;;;0 helo=#s;;;0 "
        "auth=#s;;;0 quit=#s;;;0 certificate_days=59;14:;3:",
    )
    assert ran.submissions.faults == []


def test_recipient(ran: Ran) -> None:
    assert ran.results["recipient"] == Result(
        0,
        f"SMTP OK - 127.0.0.1:{ran.rcpt.port} answered in # s (slowest: # # s), "
        "1 recipient accepted",
        "",
        "time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 mail=#s;;;0 rcpt=#s;;;0 "
        "quit=#s;;;0",
    )
    assert ran.rcpt.faults == []


def test_relay(ran: Ran) -> None:
    assert ran.results["relay"] == Result(
        2,
        f"SMTP CRITICAL - 127.0.0.1:{ran.rcpt.port} relay: accepts a@mx.example, an open relay: "
        "250 ok (after # s)",
        "",
        "time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 mail=#s;;;0 quit=#s;;;0",
    )


def test_round_trip(ran: Ran) -> None:
    assert (ran.sending.faults, ran.box.faults) == ([], [])
    assert ran.results["roundtrip"] == Result(
        0,
        f"SMTP OK - 127.0.0.1:{ran.sending.port} answered in # s (slowest: # # s), "
        "1 recipient accepted, delivered to INBOX after # s",
        "",
        "time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 mail=#s;;;0 rcpt=#s;;;0 "
        "data=#s;;;0 quit=#s;;;0 delivery=#s;;;0",
    )
