"""The name of a server's address: is there one, does it lead back, does the server say it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import needs, plugin
from tests.plugin import Outcome
from tests.servers.loopback import has_ipv6
from tests.servers.name_server import SILENCE, Answer, NameServer, fails, records
from tests.servers.scripted import Expect, ScriptedServer

POINTER = "1.0.0.127.in-addr.arpa"


def script(banner: bytes, helo: bytes) -> tuple[bytes | Expect, ...]:
    return (
        b"220" + banner + b"\r\n",
        Expect(b"HELO me.example\r\n"),
        b"250" + helo + b"\r\n",
        Expect(b"QUIT\r\n"),
        b"221 bye\r\n",
    )


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(
        script(b" mx.test ESMTP", b"-mx.test Hello\r\n250 SIZE")
    ).running() as running:
        yield running


def run(
    server: ScriptedServer,
    answers: dict[tuple[str, str], Answer],
    *arguments: str,
    deadline: str = "5",
) -> Outcome:
    with NameServer(answers).running() as names:
        outcome = plugin.run(
            *("-H", server.address, "-p", str(server.port), "-F", "me.example", "-t", deadline),
            *("--nameserver", names.nameserver, "--reverse", "-v"),
            *arguments,
        )
    assert (server.faults, outcome.stderr) == ([], "")
    return outcome


def said(outcome: Outcome) -> list[str]:
    """Return what is said of the name, the state of each first."""
    rows = [line.split(None, 1) for line in outcome.stdout.splitlines()]
    return [row[1] for row in rows if row[0] == "reverse"]


def names(*targets: str, **addresses: str) -> dict[tuple[str, str], Answer]:
    """Return the names of the address, and the addresses of these names."""
    answers = {(f"{name}.test", "A"): records(f"A {one}") for name, one in addresses.items()}
    return {(POINTER, "PTR"): records(*(f"PTR {one}." for one in targets)), **answers}


def test_all_agree(server: ScriptedServer) -> None:
    outcome = run(server, names("MX.test", mx="127.0.0.1"))
    assert (outcome.code, said(outcome)) == (0, ["[OK] 127.0.0.1 is mx.test"])
    assert outcome.line == (
        f"SMTP OK - 127.0.0.1:{server.port} answered in # s (slowest: # # s), "
        "name server agrees (reverse)"
    )


def test_one_of_several_names_is_enough(server: ScriptedServer) -> None:
    outcome = run(server, names("a.test", "mx.test", a="192.0.2.1", mx="127.0.0.1"))
    assert (outcome.code, said(outcome)) == (0, ["[OK] 127.0.0.1 is a.test, mx.test"])


def test_a_delegated_name_is_followed(server: ScriptedServer) -> None:
    """RFC 2317: the address is an alias in a zone of its owner."""
    alias = records("CNAME 1.0-3.test.", "1.0-3.test: PTR mx.test.")
    outcome = run(server, {**names("x.test", mx="127.0.0.1"), (POINTER, "PTR"): alias})
    assert (outcome.code, said(outcome)) == (0, ["[OK] 127.0.0.1 is mx.test"])


@pytest.mark.parametrize(
    ("answers", "problems"),
    [
        ({}, ["127.0.0.1 has no PTR record"]),
        (names("mx.test"), ["mx.test does not lead back to 127.0.0.1"]),
        (names("mx.test", mx="192.0.2.1"), ["mx.test does not lead back to 127.0.0.1"]),
        (
            names("host.test", "b.test", "c.test", "d.test", host="127.0.0.1"),
            [
                "banner says 'mx.test', the PTR record b.test, c.test, d.test and 1 more",
                "helo says 'mx.test', the PTR record b.test, c.test, d.test and 1 more",
            ],
        ),
        (
            names("a.test", "b.test"),
            [
                "a.test, b.test do not lead back to 127.0.0.1",
                "banner says 'mx.test', the PTR record a.test, b.test",
                "helo says 'mx.test', the PTR record a.test, b.test",
            ],
        ),
    ],
)
def test_disagreement(
    server: ScriptedServer, answers: dict[tuple[str, str], Answer], problems: list[str]
) -> None:
    outcome = run(server, answers)
    warnings = [line.partition(" ")[2] for line in said(outcome) if line.startswith("[WARNING]")]
    assert (outcome.code, warnings) == (1, problems)
    assert outcome.line == (
        f"SMTP WARNING - 127.0.0.1:{server.port} "
        + ", also ".join(f"reverse: {problem}" for problem in problems)
    )


@pytest.mark.parametrize(
    ("banner", "helo", "problems"),
    [
        (b"-other.test ESMTP\r\n220 mx.test", b" mx.test", ["banner says 'other.test'"]),
        (b" mx.test", b" other.test Hello", ["helo says 'other.test'"]),
        (b" mx.test", b" other.test, pleased to meet you", ["helo says 'other.test'"]),
        (b" mx.test", b" me.example.org", ["helo says 'me.example.org'"]),
        (b"", b" mx.test", ["banner says no name"]),
        (b" m\xff|x<\x1b> y", b" mx.TEST.", ["banner says 'm\ufffd\\x7cx(\\x1b)'"]),
    ],
)
def test_each_name_is_a_finding_of_its_own(banner: bytes, helo: bytes, problems: list[str]) -> None:
    with ScriptedServer(script(banner, helo)).running() as server:
        outcome = run(server, names("mx.test", mx="127.0.0.1"))
    assert (outcome.code, [line for line in said(outcome) if not line.startswith("[OK]")]) == (
        1,
        [f"[WARNING] {problem}, the PTR record mx.test" for problem in problems],
    )


def test_a_banner_that_a_firewall_masks() -> None:
    with ScriptedServer(script(b" " + b"*" * 40, b" mx.test")).running() as server:
        outcome = run(server, names("mx.test", mx="127.0.0.1"))
    assert outcome.code == 1
    assert [line for line in said(outcome) if not line.startswith("[OK]")] == [
        "[WARNING] a firewall masks the banner, and the server's name in it"
    ]
    assert "cause: keywords masked" in outcome.line


def test_what_a_server_did_not_say_is_no_finding() -> None:
    with ScriptedServer((b"554 mx.test\r\n", Expect(b"QUIT"), b"221 bye\r\n")).running() as server:
        outcome = run(server, names("mx.test", mx="127.0.0.1"))
    assert (outcome.code, said(outcome)) == (2, ["[OK] 127.0.0.1 is mx.test"])


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({(POINTER, "PTR"): fails("SERVFAIL")}, f"PTR of {POINTER}: SERVFAIL from 127.0.0.1"),
        ({(POINTER, "PTR"): SILENCE}, f"PTR of {POINTER}: no answer within 0.5 s"),
        (
            {**names("mx.test"), ("mx.test", "A"): fails("REFUSED")},
            "A of mx.test: REFUSED from 127.0.0.1",
        ),
    ],
)
def test_no_answer_is_unknown(
    server: ScriptedServer, answers: dict[tuple[str, str], Answer], problem: str
) -> None:
    outcome = run(server, answers, deadline="0.5")
    assert (outcome.code, outcome.line) == (
        3,
        f"SMTP UNKNOWN - 127.0.0.1:{server.port} reverse: {problem}",
    )


def test_no_answer_about_one_of_two_names_is_none(server: ScriptedServer) -> None:
    answers = {**names("a.test", "mx.test", mx="127.0.0.1"), ("a.test", "A"): SILENCE}
    outcome = run(server, {**answers, ("a.test", "A"): fails("SERVFAIL")})
    assert (outcome.code, said(outcome)) == (0, ["[OK] 127.0.0.1 is a.test, mx.test"])


def test_ipv6() -> None:
    if not has_ipv6():
        needs.leave_out("needs IPv6")
    pointer = "1" + ".0" * 31 + ".ip6.arpa"
    answers = {
        (pointer, "PTR"): records("PTR mx.test."),
        ("mx.test", "AAAA"): records("AAAA 0:0:0:0:0:0:0:1"),
    }
    with ScriptedServer(script(b" mx.test", b" mx.test"), address="::1").running() as server:
        outcome = run(server, answers)
    assert (outcome.code, said(outcome)) == (0, ["[OK] ::1 is mx.test"])
