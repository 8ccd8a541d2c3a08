"""MAIL, RCPT, relay test and own commands: what servers do, what is said, and nothing delivered."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from check_smtp_health.net.addresses import Address
from check_smtp_health.stages.connection import PROXY_SIGNATURE, proxy_header
from tests import plugin
from tests.plugin import check
from tests.servers.catalogue import BANNER, EHLO, HELO, QUIT
from tests.servers.scripted import Expect, Hang, ScriptedServer, Sleep, Step, Swallow

OK = b"250 2.0.0 ok\r\n"
RSET = (Expect(b"RSET\r\n"), OK)
GREETED = (Sleep(0.05), BANNER, *HELO)
NULL = (*GREETED, Expect(b"MAIL FROM:<>\r\n"), OK)
HELOED = "time connect banner helo"

Script = tuple[Step, ...]


def rcpt(address: str, reply: str) -> Script:
    """Return the steps that answer RCPT for an address."""
    return (Expect(f"RCPT TO:<{address}>\r\n".encode()), f"{reply}\r\n".encode())


def extended(*keywords: str) -> Script:
    """Return the steps up to an EHLO reply that offers the keywords."""
    lines = "".join(f"250-{word}\r\n" for word in keywords)
    return (Sleep(0.05), BANNER, EHLO, f"250-mx.example\r\n{lines}250 HELP\r\n".encode())


HEALTHY = "SMTP OK - answered in # s (slowest: # # s)"


@pytest.mark.parametrize(
    ("arguments", "script", "stages", "held"),
    [
        (("-f", "a@b.example"), (*GREETED, Expect(b"MAIL FROM:<a@b.example>\r\n"), OK), "mail", ""),
        (
            ("-f", "$x@b.example$"),
            (*GREETED, Expect(b"MAIL FROM:<$x@b.example$>\r\n"), OK),
            "mail",
            "",
        ),
        (
            ("-f", "<a@b.example>"),
            (*GREETED, Expect(b"MAIL FROM:<a@b.example>\r\n"), OK),
            "mail",
            "",
        ),
        (
            ("-f", '"a b"@c.example'),
            (*GREETED, Expect(b'MAIL FROM:<"a b"@c.example>\r\n'), OK),
            "mail",
            "",
        ),
        (("-f", ""), NULL, "mail", ""),
        (("-f", "<>"), NULL, "mail", ""),
        (
            ("--size", "1000000"),
            (*extended("SIZE 0"), Expect(b"MAIL FROM:<> SIZE=1000000\r\n"), OK),
            "mail",
            "",
        ),
        (
            ("-f", "\u00e4@b.example"),
            (
                *extended("SMTPUTF8"),
                Expect("MAIL FROM:<\u00e4@b.example> SMTPUTF8\r\n".encode()),
                OK,
            ),
            "mail",
            "",
        ),
        (
            ("--rcpt", "a@x", "--rcpt", "b@x", "--rcpt", "c@x"),
            (*NULL, *rcpt("a@x", "250 ok"), *rcpt("b@x", "251 there"), *rcpt("c@x", "252 well")),
            "mail rcpt",
            ", 3 recipients accepted",
        ),
        (
            ("--no-relay", "a@x", "--no-relay", "b%c@x"),
            (
                *NULL,
                *rcpt("a@x", "554 5.7.1 Relaying denied"),
                *rcpt("b%c@x", "550 relay not permitted"),
            ),
            "mail relay",
            ", relaying refused",
        ),
        (
            ("--rcpt", "a@x", "--no-relay", "b@y", "-C", "NOOP"),
            (*NULL, *rcpt("a@x", "250 ok"), *rcpt("b@y", "551 not local"), Expect(b"NOOP\r\n"), OK),
            "mail rcpt relay command",
            ", 1 recipient accepted, relaying refused",
        ),
        # As check_smtp users have it: RCPT as a command, within the transaction.
        (
            ("-f", "a@x", "-C", "RCPT TO:<b@x>", "-R", "250"),
            (*GREETED, Expect(b"MAIL FROM:<a@x>\r\n"), OK, *rcpt("b@x", "250 ok")),
            "mail command",
            "",
        ),
    ],
)
def test_all_is_well(arguments: tuple[str, ...], script: Script, stages: str, held: str) -> None:
    assert check((*script, *RSET, *QUIT), *arguments) == (
        0,
        f"{HEALTHY}{held}",
        f"{HELOED} {stages} quit",
    )


def test_a_login_by_commands_is_not_shown() -> None:
    login = (*GREETED, Expect(b"AUTH PLAIN AG1lAHNlY3JldA==\r\n"), b"535 AG1lAHNlY3JldA==?\r\n")
    steps = (Expect(b"AUTH LOGIN\r\n"), b"334 \r\n", Expect(b"c2VjcmV0\r\n"), b"535 no\r\n", *QUIT)
    commands = ("-C", "AUTH PLAIN AG1lAHNlY3JldA==", "-C", "AUTH LOGIN", "-C", "c2VjcmV0")
    with ScriptedServer((*login, *steps)).running() as server:
        where = ("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example")
        done = plugin.run(*where, *commands, "-vvv")
    assert (done.code, done.stderr, server.faults) == (2, "", [])
    assert done.line.partition(" command")[2] == (
        ": AUTH PLAIN ***: 535 ***? (after # s), also command: ***: 535 no (after # s)"
    )
    assert "AG1l" not in done.stdout
    assert "c2Vj" not in done.stdout


V4 = [Address(socket.AF_INET, (f"192.0.2.{n}", n)) for n in (1, 2)]
V6 = [Address(socket.AF_INET6, (f"2001:db8::{n}", n, 0, 0)) for n in (1, 2)]
UNIX = Address(socket.AF_UNIX, "/run/lmtp")


@pytest.mark.parametrize(
    ("version", "source", "destination", "header"),
    [
        ("v1", *V4, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        ("v1", *V6, b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"),
        ("v1", UNIX, UNIX, b"PROXY UNKNOWN\r\n"),
        (
            "v2",
            *V4,
            PROXY_SIGNATURE + b"\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02",
        ),
        (
            "v2",
            *V6,
            PROXY_SIGNATURE
            + b"\x21\x21\x00\x24"
            + bytes.fromhex("20010db8000000000000000000000001")
            + bytes.fromhex("20010db8000000000000000000000002")
            + b"\x00\x01\x00\x02",
        ),
        ("v2", UNIX, UNIX, PROXY_SIGNATURE + b"\x20\x00\x00\x00"),
    ],
)
def test_proxy_header(version: str, source: Address, destination: Address, header: bytes) -> None:
    operation = proxy_header(version, source, destination)
    assert (operation.data, operation.shown) == (header, f"(PROXY header, {version})".encode())


@pytest.mark.parametrize(
    ("arguments", "header"),
    [
        (("-r",), b"PROXY TCP4 127.0.0.1 127.0.0.1 "),
        (("--proxy", "v1"), b"PROXY TCP4 127.0.0.1 127.0.0.1 "),
        (("--proxy=v2",), PROXY_SIGNATURE + b"\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01"),
    ],
)
def test_proxy_comes_first(arguments: tuple[str, ...], header: bytes) -> None:
    script = (Swallow(), Sleep(0.05), BANNER, *HELO, *QUIT)
    with ScriptedServer(script).running() as server:
        done = plugin.run("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", *arguments)
    assert (done.code, done.stderr, server.faults) == (0, "", [])
    assert server.received[0][: len(header)] == header


def test_proxy_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "lmtp.socket")
    script = (
        *(Expect(b"PROXY UNKNOWN\r\n"), BANNER, Expect(b"LHLO me.example\r\n"), OK),
        *(Expect(b"MAIL FROM:<>\r\n"), OK, *rcpt("a@x", "250 ok"), *RSET, *QUIT),
    )
    with ScriptedServer(script, path=path).running() as server:
        done = plugin.run("-H", path, "-L", "-r", "--rcpt", "a@x", "-F", "me.example")
    assert (done.code, done.stderr, server.faults) == (0, "", [])


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a?a)*$", "a*" * 30 + "$", "(a?){40}!$"])
def test_an_expression_that_takes_for_ever(pattern: str) -> None:
    """That is our own inability, not the server's fault, and nobody else has to wait for it."""
    reply = b"250 " + b"a" * 60 + b"?\r\n"
    script = (Sleep(0.05), *GREETED, Expect(b"NOOP"), reply, *QUIT)
    done = plugin.check(script, "-C", "NOOP", "-R", pattern, "-t", "20")
    assert (done.code, done.labels) == (3, "time connect banner helo quit")
    assert done.line.startswith(f"SMTP UNKNOWN - command: matching '{pattern}' takes too long: ")


def test_an_expression_that_takes_longer_than_there_is_time() -> None:
    reply = b"250 " + b"a" * 60 + b"!\r\n"
    script = (*GREETED, Expect(b"NOOP"), reply, Hang())
    done = plugin.check(script, "-C", "NOOP", "-R", "(a+)+$", "-t", "0.5")
    assert done.code == 3
    assert done.line.startswith("SMTP UNKNOWN - command: matching '(a+)+$' takes too long: ")


@pytest.mark.parametrize(
    ("pattern", "code"), [("2.0.0 (Ok|Fine)", 0), ("^2.*k$", 0), ("^2.*q+", 1)]
)
def test_an_expression(pattern: str, code: int) -> None:
    script = (Sleep(0.05), *GREETED, Expect(b"NOOP"), b"250 2.0.0 Ok\r\n", *QUIT)
    assert plugin.check(script, "-C", "NOOP", "-R", pattern).code == code


def test_goodbye_to_a_command_is_no_yes() -> None:
    """With 221 a server closes the connection (RFC 5321 section 4.2.3): Postfix does at VRFY."""
    goodbye = b"221 2.7.0 Error: I can break rules, too. Goodbye.\r\n"
    done = check((*GREETED, Expect(b"VRFY me\r\n"), goodbye), "-C", "VRFY me")
    assert done == (
        2,
        "SMTP CRITICAL - command: 221 2.7.0 Error: I can break rules, too. Goodbye. (VRFY me) "
        "(after # s)",
        f"{HELOED} quit",
    )
    done = check((*GREETED, Expect(b"QUIT\r\n"), b"221 bye\r\n"), "-C", "QUIT")
    assert done[0] == 0


def test_who_has_logged_in_may_relay() -> None:
    """That is no open relay, and whoever asks for both still is to know that it was accepted."""
    script = (
        *extended("AUTH PLAIN"),
        *(Expect(b"AUTH PLAIN "), b"235 in\r\n", Expect(b"MAIL FROM:<>\r\n"), OK),
        *(*rcpt("a@y.example", "250 ok"), *RSET, *QUIT),
    )
    done = check(
        *(script, "-U", "me", "--auth-insecure", "-A", "PLAIN", "--no-relay", "a@y.example"),
        environment={"CHECK_SMTP_HEALTH_AUTHPASS": "s3cret"},
    )
    assert done == (
        2,
        "SMTP CRITICAL - relay: accepts a@y.example after a login: 250 ok (after # s)",
        f"{HELOED} auth mail quit",
    )


def test_a_limit_for_a_farewell_that_never_comes() -> None:
    """A failed QUIT changes no state; how long it has been waited for, somebody wants judged."""
    script = (*GREETED, Expect(b"QUIT\r\n"), Hang())
    assert check(script)[0] == 0
    code, line, _ = check(script, "-c", "quit=0.1")
    assert (code, line) == (2, "SMTP CRITICAL - quit took # s (limit 0.1 s)")
