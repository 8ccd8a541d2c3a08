"""Nagios takes our commands, and stores of each run exactly what the plugin printed."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests import needs
from tests.plugin import SCRIPT
from tests.servers.authority import NAME, Authority
from tests.servers.roundtrip import SENDING, WHOLE, named
from tests.servers.scripted import Expect, Handshake, ScriptedServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from tests.servers.scripted import Step

COMMANDS = Path(__file__).parents[2] / "contrib" / "nagios-commands.cfg"

MAIN = """
cfg_file={commands}
cfg_file={folder}/objects.cfg
resource_file={folder}/resource.cfg
log_file={folder}/nagios.log
status_file={folder}/status.dat
object_cache_file={folder}/objects.cache
precached_object_file={folder}/objects.precache
lock_file={folder}/nagios.pid
command_file={folder}/nagios.cmd
query_socket={folder}/nagios.qh
temp_file={folder}/nagios.tmp
temp_path={folder}
check_result_path={folder}
state_retention_file={folder}/retention.dat
log_archive_path={folder}
nagios_user={user}
nagios_group={group}
service_inter_check_delay_method=n
status_update_interval=1
check_for_updates=0
use_syslog=0
"""

OBJECTS = """
define timeperiod {
  timeperiod_name  always
  alias            always
  sunday           00:00-24:00
  monday           00:00-24:00
  tuesday          00:00-24:00
  wednesday        00:00-24:00
  thursday         00:00-24:00
  friday           00:00-24:00
  saturday         00:00-24:00
}
define command {
  command_name  nothing
  command_line  /bin/true
}
define contact {
  contact_name                   nobody
  host_notification_period       always
  service_notification_period    always
  host_notification_commands     nothing
  service_notification_commands  nothing
}
define host {
  host_name           mail
  address             127.0.0.1
  check_period        always
  max_check_attempts  1
  contacts            nobody
}
"""

SERVICE = """
define service {{
  host_name            mail
  service_description  {name}
  check_command        {command}
  check_period         always
  max_check_attempts   1
  contacts             nobody
}}
"""

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

OUTPUT = "output.txt"

DEADLINE = 60
"""Seconds until the daemon must have run every check; it takes one or two."""


class Result(NamedTuple):
    """What Nagios keeps of one run, every measured time as ``#``."""

    state: int
    output: str
    long_output: str
    performance_data: str


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
    login = f"{NAME}!monitor!{password}!--ca-file {authority.path}"
    with (
        ScriptedServer(SMTP).running() as smtp,
        ScriptedServer(submission(certificate)).running() as starttls,
        ScriptedServer(submissions(certificate)).running() as implicit,
        ScriptedServer(RCPT).running() as rcpt,
        lmtp.running(),
        ScriptedServer(SENDING).running() as sending,
        ScriptedServer((Handshake(there), *WHOLE), edit=named(sending)).running() as box,
    ):
        mailbox = f"a@x!imaps://me@127.0.0.1:{box.port}!{password}!--ca-file {authority.path}"
        services = {
            "brief": f"check_smtp_health!-5:!60,banner=-1:30!-p {smtp.port} --require SIZE",
            "verbose": f"check_smtp_health!-5:!60!-p {smtp.port} --require SIZE -v",
            "lacking": f"check_smtp_health!~:60!60!-p {smtp.port} --require CHUNKING",
            "lmtp": f"check_lmtp_health!{socket}!-F probe.example",
            "submission": f"check_submission_health!{login} -p {starttls.port}",
            "submissions": f"check_submissions_health!{login} -p {implicit.port}",
            "recipient": f"check_recipient_health!a@mx.example!-p {rcpt.port}",
            "relay": f"check_relay_health!a@mx.example!-p {rcpt.port}",
            "roundtrip": f"check_roundtrip_health!{mailbox} -p {sending.port}",
        }
        main = _configure(folder, services)
        with _running(main) as daemon:
            results = _results(daemon, folder, len(services))
    return Ran(results, smtp.port, socket, starttls, implicit, rcpt, sending, box)


def _configure(folder: Path, services: dict[str, str]) -> Path:
    """Write a core's whole configuration; it runs as whoever runs the tests."""
    main = folder / "nagios.cfg"
    main.write_text(
        MAIN.format(
            commands=COMMANDS,
            folder=folder,
            user=pwd.getpwuid(os.getuid()).pw_name,
            group=grp.getgrgid(os.getgid()).gr_name,
        )
    )
    (folder / "resource.cfg").write_text(f"$USER1$={SCRIPT.parent}\n")
    (folder / "objects.cfg").write_text(
        OBJECTS
        + "".join(SERVICE.format(name=name, command=line) for name, line in services.items())
    )
    return main


@contextlib.contextmanager
def _running(main: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        main.with_name(OUTPUT).open("wb") as output,
        subprocess.Popen(
            [needs.program("nagios4"), str(main)],
            stdout=output,
            stderr=output,
            env={"PATH": os.defpath},
        ) as daemon,
    ):
        try:
            yield daemon
        finally:
            daemon.terminate()


def _results(daemon: subprocess.Popen[bytes], folder: Path, services: int) -> dict[str, Result]:
    file = folder / "status.dat"
    status = ""
    end = time.monotonic() + DEADLINE
    while status.count("has_been_checked=1") < services:
        if daemon.poll() is not None or time.monotonic() > end:
            pytest.fail((folder / OUTPUT).read_text())
        time.sleep(0.1)
        status = file.read_text(encoding="utf-8") if file.exists() else ""
    blocks = re.findall(r"^servicestatus \{\n(.*?)^\t\}", status, re.MULTILINE | re.DOTALL)
    return dict(map(_result, blocks))


def _result(block: str) -> tuple[str, Result]:
    values = dict(re.findall(r"^\t(\w+)=(.*)$", block, re.MULTILINE))
    return values["service_description"], Result(
        int(values["current_state"]),
        _timeless(values["plugin_output"]),
        _timeless(values["long_plugin_output"]),
        _timeless(values["performance_data"]),
    )


def _timeless(text: str) -> str:
    text = re.sub(r"\d+\.\d{6}s", "#s", text)
    text = re.sub(r"\d+\.\d{3,6} s( *█+)?", "# s", text)
    text = re.sub(r"\d{4}-\d\d-\d\d", "DATE", text)
    return re.sub(r"slowest: \w+", "slowest: #", text)


def test_commands_are_valid(tmp_path: Path) -> None:
    program = needs.program("nagios4")
    main = _configure(tmp_path, {"smtp": "check_smtp_health!1!5"})
    done = subprocess.run([program, "-v", main], capture_output=True, text=True, check=False)
    complaints = re.findall(r"^(?:Error|Total Errors):.*", done.stdout, re.MULTILINE)
    assert (done.returncode, complaints) == (0, ["Total Errors:   0"])


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
        r"[OK]       connect   # s\n"
        r"[OK]       banner    # s\n"
        r"[OK]       helo      # s\n"
        r"[OK]       quit      # s\n",
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
        "certificate expires in 59 days, DATE",
        "",
        "time=#s;;;0;10 connect=#s;;;0 tls=#s;;;0 banner=#s;;;0 helo=#s;;;0 starttls=#s;;;0 "
        "auth=#s;;;0 quit=#s;;;0 certificate_days=59;14:;3:",
    )
    assert ran.submission.faults == []


def test_submissions(ran: Ran) -> None:
    assert ran.results["submissions"] == Result(
        0,
        f"SMTP OK - 127.0.0.1:{ran.submissions.port} answered in # s (slowest: # # s), TLS 1.3, "
        "certificate expires in 59 days, DATE",
        "",
        "time=#s;;;0;10 connect=#s;;;0 tls=#s;;;0 banner=#s;;;0 helo=#s;;;0 "
        "auth=#s;;;0 quit=#s;;;0 certificate_days=59;14:;3:",
    )
    assert ran.submissions.faults == []


def test_recipient(ran: Ran) -> None:
    assert ran.results["recipient"] == Result(
        0,
        f"SMTP OK - 127.0.0.1:{ran.rcpt.port} answered in # s (slowest: # # s)",
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
        "delivered in # s",
        "",
        "time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 mail=#s;;;0 rcpt=#s;;;0 "
        "data=#s;;;0 quit=#s;;;0 delivery=#s;;;0",
    )
