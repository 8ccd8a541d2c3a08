"""Command lines of check_smtp, in every way to write them, mean the same to both programs."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from check_smtp_health.config import getopt
from tests import needs, plugin
from tests.servers.authority import Authority
from tests.servers.loopback import free_port, has_ipv6
from tests.servers.scripted import Expect, Handshake, Hang, ScriptedServer, Sleep, Step

SHORT = "hVv46LrtpfecwHCRsSDFAUPq"
"""Every letter that check_smtp 2.3.3 or 3.0 knows."""

LONG = (
    *("hostname", "expect", "critical", "warning", "timeout", "port", "from", "fqdn"),
    *("authtype", "authuser", "authpass", "command", "response", "verbose", "version"),
    *("use-ipv4", "use-ipv6", "help", "lmtp", "ssl", "tls", "starttls", "sni", "certificate"),
    *("ignore-quit-failure", "proxy", "ignore-certificate-expiration", "output-format"),
    "extra-opts",
)
"""Every long option of theirs."""

NEW = ("r", "s", "ssl", "tls", "sni", "proxy", "ignore-certificate-expiration", "output-format")
"""What check_smtp has had since 2.4 or 3.0 only."""

BANNER = b"220 mail.example.org ESMTP\r\n"
EXTENSIONS = b"250-mail.example.org\r\n250-STARTTLS\r\n250 AUTH LOGIN\r\n"
BYE = b"221 2.0.0 Bye\r\n"

HELO = b"HELO probe.example\r\n"
EHLO = b"EHLO probe.example\r\n"
QUIT = b"QUIT\r\n"
MAIL = b"MAIL FROM:<me@example.org>\r\n"
VRFY = b"VRFY me\r\n"
NOOP = b"NOOP\r\n"

ANYTHING = Expect(b"")
"""Both programs' next line; what it was is asserted afterwards."""

HELOED = (BANNER, ANYTHING, b"250 mail.example.org\r\n")
HEALTHY = (*HELOED, ANYTHING, BYE)
MAILED = (*HELOED, ANYTHING, b"250 2.1.0 Ok\r\n", ANYTHING, BYE, ANYTHING, BYE)
COMMANDED = (*HELOED, ANYTHING, b"252 2.0.0 Try\r\n", ANYTHING, b"250 2.0.0 Ok\r\n", ANYTHING, BYE)
SLOW = (Sleep(0.15), *HEALTHY)

NAME = ("-F", "probe.example")
LOGIN = (b"AUTH LOGIN\r\n", b"bW9uaXRvcg==\r\n", b"czNjcmV0\r\n")


@dataclass(frozen=True)
class Certified:
    """The server's side of a handshake, with a certificate that has so many days left."""

    days: int = 90


@dataclass(frozen=True)
class Case:
    """A command line, what the server does, the exit code, and the lines that the server gets.

    HOST and PORT stand for the server's, INI for an options file that has them too.
    """

    arguments: tuple[str, ...]
    script: tuple[Step | Certified, ...]
    code: int
    received: tuple[bytes, ...]
    address: str = "127.0.0.1"

    def __str__(self) -> str:
        return " ".join(self.arguments)


def upgraded(days: int = 90, *then: Step) -> tuple[Step | Certified, ...]:
    """Return a server that does STARTTLS and then that."""
    began = (BANNER, ANYTHING, EXTENSIONS, ANYTHING, b"220 2.0.0 Ready\r\n", Certified(days))
    return (*began, ANYTHING, EXTENSIONS, *then, ANYTHING, BYE)


def login(reply: bytes) -> tuple[Step, ...]:
    """Return the server's side of AUTH LOGIN with that end."""
    return (
        *(ANYTHING, b"334 VXNlcm5hbWU6\r\n", ANYTHING, b"334 UGFzc3dvcmQ6\r\n"),
        *(ANYTHING, reply),
    )


def words(line: str) -> tuple[str, ...]:
    """Return the words of a command line in which nothing is quoted."""
    return tuple(line.split(" "))


STARTTLS = b"STARTTLS\r\n"
UPGRADED = (EHLO, STARTTLS, EHLO, QUIT)

HOW_TO_REACH_IT = tuple(
    Case((*words(line), *NAME), HEALTHY, 0, (HELO, QUIT))
    for line in (
        "-H HOST -p PORT",
        "-HHOST -pPORT",
        "--hostname HOST --port PORT",
        "--hostname=HOST --port=PORT",
        "-pPORT -H HOST",
        "-4 -H HOST -p PORT",
        "-4qvHHOST -pPORT",
        "--use-ipv4 --hostname=HOST --port PORT",
        "-4p PORT -H localhost",
        "--extra-opts=mail@INI",
        "--extra-opts mail@INI -v",
    )
)

AT_THE_END = tuple(
    Case((*NAME, *words(line)), HEALTHY, 0, (HELO, QUIT))
    for line in ("-p PORT HOST", "-pPORT -- HOST", "-qp PORT HOST", "-4 --port=PORT HOST")
)

GREETINGS = (
    *(
        Case((*NAME, *words(f"{flag} -p PORT HOST")), HEALTHY, 0, (b"LHLO probe.example\r\n", QUIT))
        for flag in ("-L", "--lmtp", "-vL", "-4Lq")
    ),
    *(
        Case(words(f"{given} -p PORT HOST"), HEALTHY, 0, (HELO, QUIT))
        for given in ("-Fprobe.example", "--fqdn=probe.example", "--fqdn probe.example")
    ),
)

HARMLESS = tuple(
    Case((*NAME, *words(f"{flags} -p PORT HOST")), HEALTHY, 0, (HELO, QUIT))
    for flags in (
        *("-v", "--verbose", "-vvv", "-q", "--ignore-quit-failure", "-qv", "-t5", "-t 5"),
        *("--timeout=5", "--timeout 5", "-qvt5", "-w 5 -c 10", "-w5 -c10", "-w0.5 -c1.5"),
        *("--warning=5 --critical 10", "--warning 5 --critical=10", "-w .5 -c 5."),
        *("-e 220", "-e220", "--expect=220", "-e ESMTP", "--expect ESMTP", "-vemail"),
    )
)

TRANSACTIONS = tuple(
    Case((*NAME, *words(f"{sender} -p PORT HOST")), MAILED, 0, (HELO, MAIL, QUIT))
    for sender in (
        "-f me@example.org",
        "-fme@example.org",
        "-f <me@example.org>",
        "--from=me@example.org",
        "--from me@example.org",
        "-vqfme@example.org",
    )
)

NULL_SENDERS = tuple(
    Case((*NAME, *sender, *words("-p PORT HOST")), MAILED, 0, (HELO, b"MAIL FROM:<>\r\n", QUIT))
    for sender in (("-f", ""), ("-f", "<>"), ("-f<>",), ("--from=",), ("--from", "<>"))
)

COMMANDS = tuple(
    Case((*NAME, *given, *words("-p PORT HOST")), COMMANDED, code, (HELO, VRFY, NOOP, QUIT))
    for given, code in (
        (("-C", "VRFY me", "-C", "NOOP"), 0),
        (("-CVRFY me", "-CNOOP"), 0),
        (("--command=VRFY me", "--command", "NOOP"), 0),
        (("-C", "VRFY me", "-R", "252", "-C", "NOOP", "-R", "250"), 0),
        (("-R", "252", "-C", "VRFY me", "-C", "NOOP", "-R", "250"), 0),
        (("-C", "VRFY me", "-C", "NOOP", "-R", "252 2.0.0 Try"), 0),
        (("-qCVRFY me", "-R252", "-CNOOP", "-R2.0.0 Ok"), 0),
        (("--command", "VRFY me", "--response=252", "-C", "NOOP", "--response", "Ok"), 0),
        (("-C", "VRFY me", "-R", "252", "-C", "NOOP", "-R", "Okay"), 1),
    )
)

LIMITS = tuple(
    Case((*NAME, *words(f"{limits} -p PORT HOST")), SLOW, code, (HELO, QUIT))
    for limits, code in (
        ("-w0.1", 1),
        ("-w 0.1 -c 5", 1),
        ("-w.1", 1),
        ("-w0.05 -c0.1", 2),
        ("-c 0.1", 2),
        ("--critical=0.1 --warning=5", 2),
        ("--warning 0.1 --critical 5", 1),
    )
)

TIMEOUTS = (
    Case((*NAME, *words("-t1 -p PORT HOST")), (Hang(),), 2, ()),
    Case((*NAME, *words("--timeout=1 -p PORT HOST")), (*HELOED[:2], Hang()), 2, (HELO,)),
)

TLS = tuple(
    Case((*NAME, *words(f"{flags} -p PORT HOST")), upgraded(days), code, UPGRADED)
    for flags, days, code in (
        ("-S", 90, 0),
        ("--starttls", 90, 0),
        ("-Sv", 90, 0),
        ("-vqS -t5", 90, 0),
        ("-S -D 14", 90, 0),
        ("-SD14", 90, 0),
        ("-D 14", 90, 0),
        ("-D14,7", 90, 0),
        ("-D14,7", 10, 1),
        ("-D14,7", 5, 2),
        ("-S --certificate=14,7", 10, 1),
        ("--certificate 30 -S", 10, 1),
        ("-S --certificate 14,7", 5, 2),
    )
)

LOGINS = tuple(
    Case(
        (*NAME, *words(f"{given} -p PORT HOST")),
        upgraded(90, *login(reply)),
        code,
        (*UPGRADED[:-1], *LOGIN, QUIT),
    )
    for given, reply, code in (
        ("-S -A LOGIN -U monitor -P s3cret", b"235 2.7.0 Accepted\r\n", 0),
        ("-SALOGIN -Umonitor -Ps3cret", b"235 2.7.0 Accepted\r\n", 0),
        ("-S --authtype=LOGIN --authuser monitor --authpass=s3cret", b"235 Yes\r\n", 0),
        ("--starttls --authtype LOGIN --authuser=monitor --authpass s3cret", b"235 Yes\r\n", 0),
        ("-S -A LOGIN -U monitor -P s3cret", b"535 5.7.8 No\r\n", 2),
    )
)

ABBREVIATIONS = tuple(
    Case((*NAME, *words(line)), HEALTHY, 0, (HELO, QUIT))
    for line in (
        *(
            "--host HOST --po PORT",
            "--host=HOST --warn 5 --crit 10 --po=PORT",
            "--time=5 -p PORT HOST",
        ),
        *(
            "--exp ESMTP -p PORT HOST",
            "--use-ipv4 --ignore-q --po PORT HOST",
            "--verb -p PORT HOST",
        ),
    )
)

EXPECTED = (
    *(
        Case((*NAME, "-e", text, *words("-p PORT HOST")), HEALTHY, code, received)
        for text, code, received in (
            *(("250", 0, (HELO, QUIT)), ("250 mail.example.org", 0, (HELO, QUIT))),
            ("", 0, (HELO, QUIT)),
        )
    ),
    *(
        Case((*NAME, "-S", "-e", text, *words("-p PORT HOST")), upgraded(90), 0, UPGRADED)
        for text in ("250-STARTTLS", "AUTH LOGIN", "250 AUTH")
    ),
)
"""The reply to HELO or EHLO counts as well as the banner, that before TLS."""

SAME = (
    *ABBREVIATIONS,
    *EXPECTED,
    *(*HOW_TO_REACH_IT, *AT_THE_END, *GREETINGS, *HARMLESS, *TRANSACTIONS, *NULL_SENDERS),
    *(*COMMANDS, *LIMITS, *TIMEOUTS, *TLS, *LOGINS),
)
"""What both programs can do."""

IMPLICIT = (Certified(), *HEALTHY)
SOON = (Certified(1), *HEALTHY)
PROXY = re.compile(rb"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n")

LATER = (
    *(
        Case((*NAME, *words(f"{flags} -p PORT HOST")), IMPLICIT, 0, (HELO, QUIT))
        for flags in (
            *("-s", "--ssl", "--tls", "-vs", "-sD14,7", "--sni -s", "-s --sni -t5", "-s --sni"),
            *("--output-format multi-line -s", "--ssl --output-format=multi-line"),
        )
    ),
    *(
        Case((*NAME, *words(f"{flags} -p PORT HOST")), SOON, 0, (HELO, QUIT))
        for flags in (
            "-s --ignore-certificate-expiration",
            "-s -D 14,7 --ignore-certificate-expiration",
        )
    ),
)
"""What only check_smtp 2.4 and later can do; the header of ``--proxy`` is tested by itself."""


@pytest.fixture(scope="module")
def check_smtp() -> str:
    """The path of check_smtp, of the version that is to be agreed with."""
    path = needs.program("check_smtp")
    version = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stdout
    if not version.startswith("check_smtp v2.3"):
        needs.leave_out("needs check_smtp 2.3")
    return path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "Private CA")


@dataclass(frozen=True)
class Run:
    """An exit code, what was printed, and the lines that the server got."""

    code: int
    stdout: str
    received: list[bytes]


@contextlib.contextmanager
def serving(case: Case, authority: Authority) -> Iterator[ScriptedServer]:
    """Run the server of a case, with certificates that are for its address."""
    script = tuple(
        Handshake(authority.serving(case.address, "localhost", days=step.days))
        if isinstance(step, Certified)
        else step
        for step in case.script
    )
    with ScriptedServer(script, address=case.address).running() as server:
        yield server


def run(program: str, case: Case, authority: Authority, folder: Path) -> Run:
    """Run a program against a server of its own."""
    with serving(case, authority) as server:
        ini = folder / "plugins.ini"
        ini.write_text(f"[mail]\nhostname={server.address}\nport={server.port}\n")
        given = [
            word.replace("HOST", server.address)
            .replace("PORT", str(server.port))
            .replace("INI", str(ini))
            for word in case.arguments
        ]
        done = execute(program, given, authority)
    # Only we take back what was begun.
    received = [line for line in server.received if line != b"RSET\r\n"]
    return Run(done.returncode, done.stdout, received)


def run_both(check_smtp: str, case: Case, authority: Authority, folder: Path) -> tuple[Run, Run]:
    """Run check_smtp and the plugin side by side."""

    def one(program: str) -> Run:
        own = folder / Path(program).name
        own.mkdir()
        return run(program, case, authority, own)

    with ThreadPoolExecutor() as pool:
        theirs, ours = pool.map(one, (check_smtp, str(plugin.SCRIPT)))
    return theirs, ours


def execute(
    program: str, arguments: list[str], authority: Authority
) -> subprocess.CompletedProcess[str]:
    environment = {"SSL_CERT_FILE": authority.path}
    if program == str(plugin.SCRIPT):
        done = plugin.run(*arguments, environment=environment)
        return subprocess.CompletedProcess(arguments, done.code, done.stdout, done.stderr)
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment, "LC_ALL": "C.UTF-8"},
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("case", SAME, ids=str)
def test_both_do_the_same(
    case: Case, check_smtp: str, authority: Authority, tmp_path: Path
) -> None:
    theirs, ours = run_both(check_smtp, case, authority, tmp_path)
    assert (theirs.code, theirs.received) == (case.code, list(case.received))
    assert (ours.code, ours.received) == (case.code, list(case.received))


@pytest.mark.parametrize("case", LATER, ids=str)
def test_what_later_versions_can_do(case: Case, authority: Authority, tmp_path: Path) -> None:
    ours = run(str(plugin.SCRIPT), case, authority, tmp_path)
    assert (ours.code, ours.received) == (case.code, list(case.received))


def test_sni_takes_no_host_away(authority: Authority, tmp_path: Path) -> None:
    case = Case((*NAME, *words("-s -p PORT --sni HOST")), IMPLICIT, 0, (HELO, QUIT))
    ours = run(str(plugin.SCRIPT), case, authority, tmp_path)
    assert (ours.code, ours.received) == (case.code, list(case.received))


@pytest.mark.parametrize("flags", ["-r", "--proxy", "-vr", "-rq", "-4r -t5", "--proxy -L"])
def test_proxy(flags: str, authority: Authority, tmp_path: Path) -> None:
    case = Case((*NAME, *words(f"{flags} -p PORT HOST")), (ANYTHING, *HEALTHY), 0, ())
    ours = run(str(plugin.SCRIPT), case, authority, tmp_path)
    header, greeting, quitting = ours.received
    assert (ours.code, quitting) == (0, QUIT)
    assert greeting == (b"LHLO probe.example\r\n" if "-L" in flags else HELO)
    assert PROXY.fullmatch(header)


@pytest.mark.parametrize("flags", ["-6", "--use-ipv6", ""])
def test_ipv6(flags: str, check_smtp: str, authority: Authority, tmp_path: Path) -> None:
    if not has_ipv6():
        needs.leave_out("needs IPv6")
    arguments = (*NAME, *flags.split(), *words("-p PORT HOST"))
    case = Case(arguments, HEALTHY, 0, (HELO, QUIT), "::1")
    for seen in run_both(check_smtp, case, authority, tmp_path):
        assert (seen.code, seen.received) == (0, [HELO, QUIT])


@pytest.mark.parametrize("flag", ["-H", ""])
def test_unix_socket(flag: str, check_smtp: str, tmp_path: Path, authority: Authority) -> None:
    path = str(tmp_path / "socket")
    with ScriptedServer(HEALTHY, path=path).running() as server:
        given = [*NAME, *flag.split(), path]
        # Their help says that they can, but 2.3 takes it for a name and says that it is none.
        assert execute(check_smtp, given, authority).returncode == 3
        done = execute(str(plugin.SCRIPT), given, authority)
    assert (done.returncode, server.received) == (0, [HELO, QUIT])


def test_expired(check_smtp: str, authority: Authority, tmp_path: Path) -> None:
    case = Case(words("-S -D14,7 -p PORT HOST"), upgraded(-3), 2, ())
    theirs, ours = run_both(check_smtp, case, authority, tmp_path)
    assert (theirs.code, ours.code) == (2, 2)


@pytest.mark.parametrize("arguments", [(), ("-w", "5"), ("-L",), ("-S",), ("-C", "NOOP")])
def test_refused(arguments: tuple[str, ...], check_smtp: str, authority: Authority) -> None:
    given = [*arguments, "-H", "127.0.0.1", "-p", str(free_port())]
    for program in (check_smtp, str(plugin.SCRIPT)):
        assert execute(program, given, authority).returncode == 2


def test_a_refusal_that_is_expected(check_smtp: str, authority: Authority, tmp_path: Path) -> None:
    # We leave at once, where check_smtp goes on to be refused.
    script = (b"554 5.7.1 No service\r\n", ANYTHING, b"503 5.5.1 Error\r\n", ANYTHING, BYE)
    case = Case((*NAME, *words("-e 554 -p PORT HOST")), script, 0, ())
    theirs, ours = run_both(check_smtp, case, authority, tmp_path)
    assert (theirs.code, theirs.received) == (0, [HELO, QUIT])
    assert (ours.code, ours.received) == (0, [QUIT])


def test_an_empty_range_is_none(check_smtp: str, authority: Authority, tmp_path: Path) -> None:
    """Nagios passes missing arguments so; check_smtp takes it for a mistake."""
    case = Case((*NAME, "-w", "", "-c", "", *words("-p PORT HOST")), HEALTHY, 0, ())
    theirs, ours = run_both(check_smtp, case, authority, tmp_path)
    assert (theirs.code, ours.code, ours.received) == (3, 0, [HELO, QUIT])


def test_a_text_that_is_not_in_the_banner(
    check_smtp: str, authority: Authority, tmp_path: Path
) -> None:
    case = Case((*NAME, *words("-e Exim -p PORT HOST")), HEALTHY, 1, ())
    theirs, ours = run_both(check_smtp, case, authority, tmp_path)
    assert (theirs.code, ours.code) == (1, 1)


def test_the_time_has_the_same_label(check_smtp: str, authority: Authority, tmp_path: Path) -> None:
    case = Case(words("-H HOST -p PORT -w 5 -c 10"), HEALTHY, 0, ())
    theirs, ours = run_both(check_smtp, case, authority, tmp_path)
    assert re.sub(r"[\d.]+(?=s;)", "#", theirs.stdout.partition("|")[2], count=1) == (
        "time=#s;5.000000;10.000000;0.000000\n"
    )
    first, *_ = ours.stdout.partition("| ")[2].split()
    assert re.sub(r"[\d.]+(?=s;)", "#", first, count=1) == "time=#s;5;10;0;10"


@pytest.mark.parametrize("flag", ["-V", "--version", "-h", "--help"])
def test_help_and_version_are_never_green(flag: str, check_smtp: str, authority: Authority) -> None:
    for program in (check_smtp, str(plugin.SCRIPT)):
        assert execute(program, [flag], authority).returncode == 3


def test_every_option_of_theirs_is_tested() -> None:
    used = {
        flag
        for case in (*SAME, *LATER)
        for word in case.arguments
        for flag in ([word[2:].partition("=")[0]] if word.startswith("--") else _letters(word))
    }
    elsewhere = {"h", "V", "r", "6", "help", "version", "proxy", "use-ipv6"}
    assert {*SHORT, *LONG} - used == elsewhere


def _letters(word: str) -> list[str]:
    """Return the flags of a cluster, up to the one that takes the rest as its value."""
    letters: list[str] = []
    for letter in word[1:] if word.startswith("-") else "":
        letters.append(letter)
        if getopt.find(f"-{letter}").value:
            break
    return letters


def test_every_option_of_theirs_is_in_their_help(check_smtp: str, authority: Authority) -> None:
    text = execute(check_smtp, ["-h"], authority).stdout
    listed = set(re.findall(r"^ (?:-(\w), )?--([\w-]+)", text, re.MULTILINE))
    flags = {flag for pair in listed for flag in pair if flag}
    assert flags == {*SHORT, *LONG} - set(NEW)
