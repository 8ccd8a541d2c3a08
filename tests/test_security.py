"""What SECURITY.md promises: nothing gets through us to a reader, a server, or a neighbour."""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import json
import re
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scramp.core
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.config import getopt, option_table
from check_smtp_health.errors import UsageFault
from check_smtp_health.net.certificate import read_certificate
from check_smtp_health.net.operations import Write
from check_smtp_health.probing import targets
from check_smtp_health.probing.probe import ProbePlan
from check_smtp_health.stages import NAMES
from fuzz.target import Server, Source, certificate, session
from tests import command_line, harmless, needs, plugin
from tests.servers.catalogue import BANNER, EHLO, HELO, QUIT
from tests.servers.catalogue.login import PASSWORD, USER
from tests.servers.liar import Lie, answered, label, lying, record
from tests.servers.loopback import free_port
from tests.servers.moody import MoodyServer, Proper
from tests.servers.name_server import Answer, NameServer
from tests.servers.network import private
from tests.servers.scripted import Expect, Hang, Message, ScriptedServer, Sleep, Step
from tests.servers.signer import CHAIN, ODD, Signer

ROOT = Path(__file__).parents[1]

EVIL = "|time=9;1;2 [CRITICAL] <script>'\"\0\a\x1b[31m\x7f\x85\u202e\u2028\u200b\ufeff\r\t%s{0}"
"""What a page, a terminal, a reader from right to left or perfdata could take for its own."""

RAW = EVIL.encode() + b"\xff\xc3"

SHOWN = "\\x7ctime=9;1;2 (CRITICAL ) (script)'\"\\x00\\x07\\x1b(31m\\x7f\\x85\\u202e\\u2028\\u200b"
"""The beginning of what must become of it."""

Script = tuple[Step, ...]


def both(server: ScriptedServer, *arguments: str, **how: Any) -> tuple[str, dict[str, Any]]:
    """Run the plugin with all that it can tell, as text and JSON; hold both to being harmless."""
    answers = []
    for more in (("-vvv",), ("--output-format", "json")):
        with server.running():
            where = ("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-t", "2")
            done = plugin.run(*where, *arguments, *more, **how)
        assert done.stderr == ""
        answers.append(done)
    text, document = answers
    harmless.check_text(text.stdout, text.code, verbose=True)
    return text.stdout, harmless.check_json(document.stdout, document.code)


# What a server says


def said(before: Script, code: str, *arguments: str) -> tuple[Script, tuple[str, ...]]:
    """Return a script that ends in a reply of two lines full of evil, and the options for it."""
    reply = code.encode() + b"-" + RAW + b"\r\n" + code.encode() + b" " + RAW * 20 + b"\r\n"
    return (*before, reply, *QUIT), arguments


GREETED = (BANNER, *HELO)
OFFER = (BANNER, EHLO, b"250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")
BEGUN = (*GREETED, Expect(b"MAIL"), b"250 ok\r\n")
TAKEN = (*BEGUN, Expect(b"RCPT"), b"250 ok\r\n")
LOGIN = ("-U", USER, "-A", "PLAIN", "--auth-insecure")

SAID: dict[str, tuple[Script, tuple[str, ...]]] = {
    "banner": said((), "554"),
    "helo": said((BANNER, HELO[0]), "550"),
    "starttls": said((*OFFER, Expect(b"STARTTLS")), "454", "-S"),
    "auth": said((*OFFER, Expect(b"AUTH")), "535", *LOGIN),
    "mail": said((*GREETED, Expect(b"MAIL")), "550", "-f", ""),
    "rcpt": said((*BEGUN, Expect(b"RCPT")), "550", "--rcpt", "a@x"),
    "relay": said((*BEGUN, Expect(b"RCPT")), "250", "--no-relay", "a@y"),
    "command": said((*GREETED, Expect(b"NOOP")), "250", "-C", "NOOP", "-R", "lacking"),
    "data": said((*TAKEN, Expect(b"DATA")), "554", "--rcpt", "a@x", "--deliver"),
    "the message": said(
        (*TAKEN, Expect(b"DATA"), b"354 go\r\n", Message()), "554", "--rcpt", "a@x", "--deliver"
    ),
    "quit": said((*GREETED, QUIT[0]), "500"),
    "a mechanism": ((BANNER, EHLO, b"250-mx\r\n250 AUTH " + RAW + b"\r\n", *QUIT), LOGIN),
    "a challenge": ((*OFFER, Expect(b"AUTH"), b"334 " + RAW + b"\r\n", Hang()), LOGIN),
    "no reply": ((RAW + b"\r\n", Hang()), ()),
    "half a reply": ((b"220-" + RAW,), ()),
    "two replies": ((BANNER, HELO[0], b"250 a\r\n250 " + RAW + b"\r\n", Hang()), ()),
    "plaintext behind STARTTLS": (
        (*OFFER, Expect(b"STARTTLS"), b"220 go\r\n" + RAW, Hang()),
        ("-S",),
    ),
}


@pytest.mark.parametrize("what", SAID)
def test_what_a_server_says(what: str) -> None:
    script, arguments = SAID[what]
    environment = {"CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD}
    text, document = both(ScriptedServer(script), *arguments, environment=environment)
    assert SHOWN[:20] in text.replace("\ufffd", "")
    assert SHOWN[:20] in json.dumps(document["targets"]).replace("\\\\", "\\")


def test_every_stage_that_a_server_has_words_in_is_tried() -> None:
    # What an endpoint of tokens says is in test_real_oauth.
    assert set(NAMES) - set(SAID) == {"token", "resolve", "connect", "tls", "delivery"}


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(("--rcpt", "a|b@x"), "a\\x7cb@x"), (("-f", "", "-C", "NOOP a|b=1"), "NOOP a\\x7cb=1")],
)
def test_our_own_words_hold_no_bar_either(arguments: tuple[str, ...], what: str) -> None:
    script = (*BEGUN, Expect(b""), b"421 bye\r\n")
    with ScriptedServer(script).running() as server:
        done = plugin.run("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", *arguments)
    harmless.check_text(done.stdout, done.code)
    assert done.line.endswith(f" 421 bye ({what}) (after # s)")


# What a certificate says


UNVERIFIED = ("--no-verify",)

CERTIFICATES: dict[str, tuple[str, tuple[bytes, ...], dict[str, int], tuple[str, ...], str]] = {
    "issuer": ("mx", (b"mx.example",), {}, (), f"tls: certificate issuer unknown: CA{SHOWN[:40]}"),
    "names": ("mx", (RAW[:-2],) * 9, {}, ("trusted",), f"tls: certificate is for {SHOWN[:40]}"),
    "names, unverified": ("mx", (RAW,) * 9, {}, UNVERIFIED, "SMTP OK - "),
    "subject": (EVIL, (b"mx.example",), {}, UNVERIFIED, f"certificate: {SHOWN}"),
    "overlong": ("x" * 9999, (b"y" * 9999,), {}, UNVERIFIED, f"certificate: {'x' * 253}...\n"),
    "not UTF-8, and right": ("mx", (b"mx.example", RAW), {}, ("trusted",), "SMTP OK - "),
    "not UTF-8": (
        "mx",
        (RAW,),
        {},
        ("trusted",),
        "tls: certificate is for no name, not mx.example",
    ),
    "number 0": ("mx", (b"mx.example",), {"serial": 0}, UNVERIFIED, "SMTP OK - "),
    "malformed, expired": (
        "mx",
        (RAW,),
        {"days": -3},
        UNVERIFIED,
        "certificate: expired 3 days ago",
    ),
}


@pytest.mark.parametrize("what", CERTIFICATES)
def test_what_a_certificate_says(tmp_path: Path, what: str) -> None:
    subject, names, how, trust, shown = CERTIFICATES[what]
    signer = Signer(tmp_path, f"CA{EVIL}")
    if trust == ("trusted",):
        trust = ("--ca-file", signer.path)
    server = MoodyServer(context=signer.serving(subject, *names, **how), implicit=True)
    text, document = both(server, "--ssl", "--sni", "mx.example", *trust)
    assert shown in text
    assert (document["targets"][0]["tls"] or {"certificate": None})["certificate"] is not None


CANNOT_TELL = "certificate: its dates cannot be read, cause: certificate"

FINE = "answered in # s (slowest: # # s), TLS 1.3, certificate expires in 90 days, #"

MISDATED = "tls: certificate format error in certificate's notAfter field, cause: certificate"

ODDITIES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(ODD, (FINE, CANNOT_TELL)),
    "a directory name": (FINE, FINE),
    "a common name that is a SEQUENCE": (FINE, FINE),
    "an address of three bytes": (FINE, FINE),
    CHAIN: (FINE, FINE),
    **dict.fromkeys(
        ("a date that is none", "a date in words", "a date without a zone"), (MISDATED, CANNOT_TELL)
    ),
    "a date in the year 0": (CANNOT_TELL, CANNOT_TELL),
    "an end in the year 0": ("tls: certificate expired, cause: certificate", CANNOT_TELL),
}
"""What is said of each odd certificate that OpenSSL has verified, and that nobody has."""


def told(server: ScriptedServer, *arguments: str, **how: Any) -> tuple[int, str]:
    """Check a server with TLS from the first byte; return code and masked line, told harmlessly."""
    with server.running():
        where = ("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-t", "5")
        done = plugin.run(*where, "--ssl", "--sni", "mx.example", *arguments, **how)
    assert done.stderr == ""
    harmless.check_text(done.stdout, done.code)
    line = done.line.partition(f" 127.0.0.1:{server.port} ")[2]
    line = re.sub(r"\d{4}-\d\d-\d\d", "#", line.replace(" (after # s)", ""))
    return done.code, re.sub("slowest: [a-z]+", "slowest: banner", line)


@pytest.mark.parametrize("kind", ODDITIES)
def test_what_cannot_be_read_is_not_judged(tmp_path: Path, kind: str) -> None:
    signer = Signer(tmp_path, "CA")
    try:
        context = signer.odd(kind, "mx.example")
    except ssl.SSLError:
        needs.leave_out(f"needs an OpenSSL that has servers show certificates with {kind}")
    server = MoodyServer(context=context, implicit=True)
    verified, unverified = ODDITIES[kind]
    for arguments, line in (("--ca-file", signer.path), verified), (("--no-verify",), unverified):
        code = 0 if line == FINE else 2
        assert told(server, *arguments) == (code, line), arguments


def test_dates_that_do_not_matter_need_not_be_read(tmp_path: Path) -> None:
    server = MoodyServer(
        context=Signer(tmp_path, "CA").odd("version 4", "mx.example"), implicit=True
    )
    assert told(server, "--no-verify", "--ignore-certificate-expiration") == (
        0,
        FINE.partition(", certificate")[0],
    )


def test_dates_that_only_a_package_could_read(tmp_path: Path) -> None:
    """The server is trusted, and it is our trouble that its days left are not known."""
    (tmp_path / "cryptography.py").write_text("raise ImportError('not here')")
    signer = Signer(tmp_path, "CA")
    server = MoodyServer(context=signer.serving("mx", b"mx.example", b"\xff"), implicit=True)
    without = {"PYTHONPATH": str(tmp_path)}
    assert told(server, "--ca-file", signer.path) == (0, FINE)
    assert told(server, "--ca-file", signer.path, environment=without) == (
        3,
        "certificate: its dates cannot be read without the package cryptography",
    )


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("a directory name", f"{FINE}, DANE 3 0 1"),
        ("version 4", CANNOT_TELL),
        ("a date in the year 0", CANNOT_TELL),
        ("a date in words", CANNOT_TELL),
    ],
)
def test_tlsa_records_vouch_for_no_certificate_that_cannot_be_read(
    tmp_path: Path, kind: str, line: str
) -> None:
    signer = Signer(tmp_path, "CA")
    server = MoodyServer(context=signer.odd(kind, "mx.example"), implicit=True)
    digest = hashlib.sha256(signer.shown).hexdigest()
    server.port = free_port()
    answers = {
        ("mx.example", "A"): Answer(("A 127.0.0.1",), is_secure=True),
        ("mx.example", "AAAA"): Answer(is_secure=True),
        (f"_{server.port}._tcp.mx.example", "TLSA"): Answer(
            (f"TLSA 3 0 1 {digest}",), is_secure=True
        ),
    }
    with NameServer(answers).running() as names:
        code, said = told(server, "--dane", "--nameserver", names.nameserver)
    assert (code, said) == (0 if line.startswith(FINE) else 2, line)


@given(st.data())
def test_a_malformed_certificate_is_read_as_far_as_it_goes(data: st.DataObject) -> None:
    der = certificate()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(der)))
        der = der[:at] + data.draw(st.binary(max_size=3)) + der[at + data.draw(st.integers(0, 3)) :]
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # that none gets onto standard error, test_process tells
        read = read_certificate(der)
    assert read is None or isinstance(read.days, int)


# What a name server says

ASKED = b"\xc0\x0c"
"""A pointer to the name that was asked for (section 4.1.4)."""

LOCALHOST = socket.inet_aton("127.0.0.1")

NO_ADDRESS = "resolve: the name has no address (for IPv4) (after # s), cause: unresolvable"

REFUSED = ", ".join(["127.9.#.# connection refused"] * 4)

LIES: dict[str, tuple[Lie, str]] = {
    "an alias full of evil": (
        lambda question: answered(
            question, record(ASKED, 5, label(RAW[:63])), record(label(RAW[:63]), 1, LOCALHOST)
        ),
        "[127.0.0.1] answered in # s (slowest: # # s)",
    ),
    "an alias of itself": (
        lambda question: answered(question, record(ASKED, 5, ASKED)),
        NO_ADDRESS,
    ),
    "a pointer to itself": (
        lambda question: answered(question, record(bytes([192, len(question)]), 1, LOCALHOST)),
        NO_ADDRESS,
    ),
    "an address of three bytes": (
        lambda question: answered(question, record(ASKED, 1, b"\1\2\3")),
        NO_ADDRESS,
    ),
    "1,000 addresses": (
        lambda question: answered(
            question, *(record(ASKED, 1, bytes([127, 9, n // 250, n % 250])) for n in range(1000))
        ),
        f"connect: {REFUSED} and 996 more (after # s), cause: refused",
    ),
    "nonsense": (
        lambda question: question[:2] + b"\x81\x80" + RAW * 5,
        "resolve: no answer within 1 s, cause: unresolvable",
    ),
    "half an answer": (
        lambda question: answered(question, record(ASKED, 1, LOCALHOST))[:-3],
        NO_ADDRESS,
    ),
    "more by TCP, where nobody listens": (
        lambda question: answered(question, flags=0x8380),
        "resolve: the name servers gave no answer (temporary failure) (after # s), "
        "cause: unresolvable",
    ),
}


TIMEOUTS = {"1,000 addresses": 9}
"""Seconds where all answer, which takes a busy machine longer."""


@pytest.mark.parametrize("what", LIES)
def test_what_a_name_server_says(tmp_path: Path, what: str) -> None:
    prefix = private(tmp_path, resolver="127.0.0.53")
    timeout = TIMEOUTS.get(what, 1)
    lie, line = LIES[what]
    slowly = MoodyServer(moods={"banner": (Sleep(0.05), Proper())})
    with lying(lie), slowly.running() as server:
        done = plugin.run(
            *("-H", "mx.example", "-4", "-p", str(server.port), "-F", "me.example"),
            *("-t", str(timeout)),
            prefix=prefix,
        )
    harmless.check_text(done.stdout, done.code)
    shown = re.sub(r"127\.9\.\d+\.\d+", "127.9.#.#", done.line)
    state = "OK" if done.code == 0 else "CRITICAL"
    assert (shown, done.stderr) == (f"SMTP {state} - mx.example:{server.port} {line}", "")
    assert done.seconds < timeout + plugin.SLACK


# What the user says


PAYLOADS = (
    *("x\r\nRSET\r\n", "x\nRSET", "x\rRSET", "x\0RSET", "x\x1b[31m", "x\x85y", "x\u2028y", "\r\n"),
    *("a@x>\r\nRSET", "250 x\r\nRSET", "1\r\nRSET", "SIZE\r\nRSET", "AUTH=x\r\nRSET", "\udcff\r\n"),
    *("127.0.0.1\r\nRSET", "::1%\r\nRSET", "/x\r\nRSET", "v1\r\nRSET", "PLAIN\r\nRSET", "me\tx"),
)

MAILBOX = ("--rcpt", "a@x", "--deliver", "--mailbox", "imaps://me@127.0.0.1:1", "-f", "")

COMPANIONS: dict[str, tuple[str, ...]] = {
    "response": ("-C", "NOOP"),
    "authtype": ("-U", USER, "--auth-insecure"),
    "authuser": ("-A", "PLAIN", "--auth-insecure"),
    "authpass": ("-U", USER, "-A", "XOAUTH2", "--auth-insecure"),
    **dict.fromkeys(("authpass-file", "oauth"), ("-U", USER)),
    **dict.fromkeys(
        (
            *("mailbox-pass-file", "mailbox-oauth", "clean", "delivery-timeout"),
            "require-auth-results",
        ),
        MAILBOX,
    ),
    "mailbox": ("--rcpt", "a@x", "--deliver"),
    "key": ("-S", "--cert", "/nonexistent"),
    **dict.fromkeys(("sni", "ca-file", "ca-path", "cert", "tls-min"), ("-S", "--no-verify")),
}
"""What an option needs beside it to be of use; most need nothing."""

VALUED = [option.name for option in option_table.OPTIONS if option.value]


def words(name: str, payload: str) -> list[str]:
    """Return a command line with that value of that option."""
    host = () if name == "hostname" else ("-H", "127.0.0.1")
    return [*host, "-F", "me.example", *COMPANIONS.get(name, ()), f"--{name}={payload}"]


@pytest.mark.parametrize("name", VALUED)
def test_no_option_gets_a_second_line_to_the_server(name: str) -> None:
    with MoodyServer().running() as server:
        where = () if name == "port" else ("-p", str(server.port))
        done = plugin.run(
            *(*where, *words(name, PAYLOADS[0]), "-t", "1"),
            environment={} if name == "authpass" else {"CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD},
        )
    assert (done.stderr, done.stdout.count("\n")) == ("", 1)
    assert [line for line in server.received if b"RSET" in line or line.strip() == b""] == []
    assert done.code == 3 or server.received[-1] == b"QUIT\r\n"
    if done.code == 3:
        assert server.connections == 0


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_whatever_is_in_an_option_each_command_stays_a_line(
    payload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Thousands of rounds, which for one password and one salt come to the same each time.
    monkeypatch.setattr("scramp.core.hi", functools.cache(scramp.core.hi))
    for name in VALUED:
        try:
            line = words(name, payload)
            password = getopt.read(line).last("authpass") or PASSWORD
            plan = targets.prepare(command_line.settings(*line, password=password))
        except UsageFault:
            continue
        for sent in lines_sent(plan):
            assert sent.endswith(b"\r\n"), name
            assert not set(sent[:-2]) & set(b"\r\n\0"), name


def lines_sent(plan: ProbePlan) -> Iterator[bytes]:
    """Give what a run sends to a server that is content with everything."""
    server, procedure, outcome = Server(Source(b"")), session(plan), None
    with contextlib.suppress(StopIteration):
        while True:
            operation = procedure.send(outcome)
            if isinstance(operation, Write):
                yield operation.data
            outcome = server.outcome(operation)


# What SECURITY.md says


def promises() -> list[list[str]]:
    """Return the cells of every table of SECURITY.md, their heads left out."""
    text = (ROOT / "SECURITY.md").read_text()
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in row] for row in rows]
    return [row for row, after_it in zip(cells, [*cells[1:], [""]]) if not is_rule(row, after_it)]


def is_rule(row: list[str], after_it: list[str]) -> bool:
    """Whether a row is the rule below a table's head, or the head."""
    return any(set(cells[0]) == {"-"} for cells in (row, after_it))


def test_each_promise_has_a_test_that_is_there() -> None:
    proofs = [re.findall(r"`(tests/\w+\.py::\w+)`", row[-1]) for row in promises()]
    assert len(proofs) > 20
    assert [row for row, tests in zip(promises(), proofs) if len(row) != 3 or not tests] == []
    named = {test for tests in proofs for test in tests}
    there = {
        f"{file}::{node.name}"
        for file in {test.partition("::")[0] for test in named}
        for node in ast.parse((ROOT / file).read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    assert sorted(named - there) == []
