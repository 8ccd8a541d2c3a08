"""MTA-STS: the record, the policy file, and what it says of the MX set; TLSRPT."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.faults import NoPolicy
from check_smtp_health.policy import mta_sts
from check_smtp_health.policy.mta_sts import Policy
from check_smtp_health.report import Finding
from tests import masking, needs, plugin
from tests.plugin import Outcome
from tests.servers.authority import Authority, after
from tests.servers.catalogue import BANNER, EHLO, QUIT
from tests.servers.name_server import SILENCE, Answer, NameServer, fails, records
from tests.servers.scripted import (
    Expect,
    Forever,
    Handshake,
    Hang,
    ScriptedServer,
    Sleep,
    Step,
    Swallow,
)

POLICY = (
    b"version: STSv1\r\nmode: enforce\r\nmx: mx.mail.test\r\nmx: *.pool.test\r\nmax_age: 604800\r\n"
)

RECORD = 'TXT "v=STSv1; id=20260101T00"'

HTTPS, SMTP = "127.0.0.43", "127.0.0.44"
"""Where the policy is served, on port 443."""


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        (POLICY, Policy("enforce", 604800, ("mx.mail.test", "*.pool.test"))),
        (
            POLICY.replace(b"\r\n", b"\n"),
            Policy("enforce", 604800, ("mx.mail.test", "*.pool.test")),
        ),
        (
            b"max_age:0 \n\nmx:MX.test.\nversion:STSv1\nnew_1: a: b\nmode:testing",
            Policy("testing", 0, ("mx.test",)),
        ),
        (b"version: STSv1\nmode: none\nmax_age: 31557600\n", Policy("none", 31557600, ())),
        (
            b"version: STSv1\nmode: none\nmode: enforce\nmax_age: 1\nmax_age: no\n",
            Policy("none", 1, ()),
        ),
    ],
)
def test_policy(text: bytes, policy: Policy) -> None:
    assert mta_sts.parsed(text) == policy


@pytest.mark.parametrize(
    ("text", "problem", "said"),
    [
        (b"", "the policy's version is not STSv1", b""),
        (POLICY.replace(b"STSv1", b"STSv2"), "the policy's version is not STSv1", b"STSv2"),
        (
            POLICY.replace(b"enforce", b"Enforce"),
            "the policy's mode is not enforce, testing or none",
            b"Enforce",
        ),
        (
            POLICY.replace(b"604800", b"31557601"),
            "the policy's max_age is not 0 to 31557600",
            b"31557601",
        ),
        (POLICY.replace(b"604800", b"-1"), "the policy's max_age is not 0 to 31557600", b"-1"),
        (
            POLICY.replace(b"max_age", b"max-age"),
            "the policy's max_age is not 0 to 31557600",
            b"",
        ),
        (b"version: STSv1\nmode: enforce\nmax_age: 1", "the policy has no mx", b""),
        (
            POLICY.replace(b"*.pool", b"mx.*.pool"),
            "the policy has an mx that is not a host name",
            b"mx.*.pool.test",
        ),
        (
            POLICY.replace(b"mx.mail.test", b"*"),
            "the policy has an mx that is not a host name",
            b"*",
        ),
        (
            b"<html>\nnot found",
            "the policy has a line that is not 'key: value'",
            b"<html>",
        ),
    ],
)
def test_malformed_policy(text: bytes, problem: str, said: bytes) -> None:
    with pytest.raises(NoPolicy) as raised:
        mta_sts.parsed(text)
    assert (raised.value.problem, raised.value.said) == (problem, said)


def test_a_line_of_any_length_is_read_in_no_time() -> None:
    with pytest.raises(NoPolicy):
        mta_sts.parsed(b"key" + b" " * 64_000 + b"\nmx: " + b"a." * 32_000 + b"*")


@given(st.binary() | st.binary().map(lambda tail: POLICY + tail))
def test_any_text_is_a_policy_or_none(text: bytes) -> None:
    try:
        policy = mta_sts.parsed(text)
    except NoPolicy:
        return
    assert policy.mode in ("enforce", "testing", "none")


@given(st.lists(st.binary() | st.binary().map(lambda tail: b"v=STSv1;" + tail)))
def test_any_text_is_a_record_or_none(found: list[bytes]) -> None:
    mta_sts.reporting(found)
    try:
        identity = mta_sts.policy_id(found, "mail.test")
    except NoPolicy:
        return
    assert identity.isalnum()


@pytest.mark.parametrize(
    ("pattern", "host", "is_covered"),
    [
        ("mx.test", "mx.test", True),
        ("mx.test", "MX.test.", True),
        ("mx.test", "a.mx.test", False),
        ("*.test", "mx.test", True),
        ("*.test", "a.mx.test", False),
        ("*.mx.test", "mx.test", False),
        ("*.mx.test", "amx.test", False),
    ],
)
def test_pattern(pattern: str, host: str, is_covered: bool) -> None:
    """RFC 8461 section 4.1: a star stands for one label, the first."""
    assert mta_sts.is_covered(host, frozenset([pattern])) is is_covered


@pytest.mark.parametrize(
    "text",
    [b"v=STSv1; id=abc123", b"v=STSv1;id=abc123;", b"v=STSv1 ;x=y; id=abc123; id=other"],
)
def test_record(text: bytes) -> None:
    assert mta_sts.policy_id([b"something else", text], "mail.test") == "abc123"


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ([], "no MTA-STS record at _mta-sts.mail.test"),
        ([b"v=spf1 -all"], "no MTA-STS record at _mta-sts.mail.test"),
        ([b"v=STSv10; id=1"], "no MTA-STS record at _mta-sts.mail.test"),
        ([b"v=STSv1; id=1", b"v=STSv1; id=2"], "2 MTA-STS records at _mta-sts.mail.test"),
        ([b"v=STSv1;"], "the MTA-STS record at _mta-sts.mail.test has no valid id"),
        ([b"v=STSv1; id=a-b"], "the MTA-STS record at _mta-sts.mail.test has no valid id"),
        ([b"v=STSv1; id=" + b"x" * 33], "the MTA-STS record at _mta-sts.mail.test has no valid id"),
    ],
)
def test_bad_record(texts: Sequence[bytes], problem: str) -> None:
    with pytest.raises(NoPolicy) as raised:
        mta_sts.policy_id(texts, "mail.test")
    assert raised.value.problem == problem


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([b"v=TLSRPTv1; rua=mailto:tls@mail.test"], "TLSRPT to mailto:tls@mail.test"),
        (
            [b"x", b"v=TLSRPTv1;rua=https://a.test,mailto:b@c"],
            "TLSRPT to https://a.test,mailto:b@c",
        ),
        ([], "no TLSRPT record"),
        ([b"v=TLSRPTv1; rua=a", b"v=TLSRPTv1; rua=b"], "2 TLSRPT records, so none counts"),
        ([b"v=TLSRPTv1; rua="], "TLSRPT record without rua: 'v=TLSRPTv1; rua='"),
        ([b"v=TLSRPTv1; rua=<a|b>\n"], "TLSRPT to (a\\x7cb)"),
    ],
)
def test_reporting(texts: Sequence[bytes], said: str) -> None:
    assert mta_sts.reporting(texts) == said


RUA = "the rua of the TLSRPT record is not mailto: or https:"


@pytest.mark.parametrize(
    ("texts", "wrong"),
    [
        ([b"v=TLSRPTv1; rua=mailto:tls@mail.test"], None),
        ([b"v=TLSRPTv1;rua=https://a.test/x?y , MAILTO:b@c;"], None),
        ([b"v=TLSRPTv1; rua=tls@mail.test"], b"tls@mail.test"),
        ([b"v=TLSRPTv1; rua=http://a.test/"], b"http://a.test/"),
        ([b"v=TLSRPTv1; rua=mailto:a@b,c@d"], b"c@d"),
        ([b"v=TLSRPTv1; rua=mailto:"], b"mailto:"),
        ([b"v=TLSRPTv1; rua=mailto://a@b@c"], b"mailto://a@b@c"),
        ([b"v=TLSRPTv1; rua=https:a.test"], b"https:a.test"),
        ([b"v=TLSRPTv1; rua=https:///x"], b"https:///x"),
        ([b"v=TLSRPTv1; rua="], b""),
        # None counts, so that none is wrong.
        ([b"v=TLSRPTv1; rua=a", b"v=TLSRPTv1; rua=b"], None),
        ([b"v=TLSRPTv1; x=y"], None),
        ([b"v=TLSRPTv2; rua=a"], None),
        ([], None),
    ],
)
def test_where_reports_go(texts: Sequence[bytes], wrong: bytes | None) -> None:
    findings = [] if wrong is None else [Finding("misconfigured", RUA, wrong)]
    assert mta_sts.misdirected(texts) == findings


@dataclass(frozen=True)
class World:
    """A mail server, who vouches for policy hosts, what these show, and what they were asked."""

    smtp: ScriptedServer
    authority: Authority
    good: ssl.SSLContext
    requests: list[bytes]

    def run(
        self,
        *steps: Step,
        answers: dict[tuple[str, str], Answer] | None = None,
        certificate: ssl.SSLContext | None = None,
        arguments: tuple[str, ...] = ("--mx", "-v"),
        deadline: str = "5",
    ) -> Outcome:
        """Run the plugin against a domain whose policy host takes these steps."""
        script = (Handshake(certificate or self.good), Swallow(), *steps)
        server = ScriptedServer(script, address=HTTPS, port=443, received=self.requests)
        known = {
            ("mail.test", "MX"): records("MX 10 mx.mail.test.", "MX 20 b.pool.test."),
            ("mail.test", "A"): records(f"A {SMTP}"),
            ("mx.mail.test", "A"): records(f"A {SMTP}"),
            ("b.pool.test", "A"): records(f"A {SMTP}"),
            ("_mta-sts.mail.test", "TXT"): records(RECORD),
            ("_smtp._tls.mail.test", "TXT"): records('TXT "v=TLSRPTv1; rua=mailto:t@mail.test"'),
            ("mta-sts.mail.test", "A"): records(f"A {HTTPS}"),
        }
        with server.running(), NameServer({**known, **(answers or {})}).running() as names:
            outcome = plugin.run(
                *("-H", "mail.test", "-p", str(self.smtp.port), "-F", "me.example"),
                *("-t", deadline, "--nameserver", names.nameserver, "--mta-sts", "-S"),
                *("--ca-file", self.authority.path, *arguments),
            )
        assert outcome.stderr == ""
        return outcome


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    needs.root()  # for the port of HTTPS
    authority = Authority.made(tmp_path_factory.mktemp("mta-sts"), "ours")
    names = ("mail.test", "mx.mail.test", "b.pool.test")
    offer = (BANNER, EHLO, b"250-mx.mail.test\r\n250 STARTTLS\r\n", Expect(b"STARTTLS"))
    again = (Handshake(authority.serving(*names)), EHLO, b"250 mx.mail.test\r\n", *QUIT)
    with ScriptedServer((*offer, b"220 go\r\n", *again), address=SMTP).running() as server:
        yield World(server, authority, authority.serving("mta-sts.mail.test"), [])


def page(body: bytes = POLICY, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    """Return an HTTP response."""
    lines = lines or (b"Content-Type: text/plain", b"Content-Length: %d" % len(body))
    return b"\r\n".join((b"HTTP/1.1 " + status, *lines, b"", body))


def said(outcome: Outcome) -> list[str]:
    """Return what is said of the policy, the state of each first."""
    rows = [line.split(None, 1) for line in outcome.stdout.splitlines()]
    return [row[1] for row in rows if row[0] == "mta-sts"]


NOTES = [
    "[OK] policy 20260101T00, mode enforce, max_age 604800",
    "[OK] mx mx.mail.test",
    "[OK] mx *.pool.test",
    "[OK] TLSRPT to mailto:t@mail.test",
]


def test_all_agree(world: World) -> None:
    world.requests.clear()
    outcome = world.run(page())
    assert (outcome.code, said(outcome)) == (0, NOTES)
    assert re.sub(r"slowest: .* \(.*\)", "slowest: #", outcome.line) == (
        "SMTP OK - mail.test: 2 of 2 healthy, slowest: #, first certificate expires in 90 days, "
        f"{after(90):%Y-%m-%d}, MTA-STS enforce"
    )
    assert world.requests == [
        b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.mail.test\r\n"
        b"User-Agent: check_smtp_health\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
    ]


PARTS = (b"Content-Type: text/plain; charset=utf-8", b"Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    "steps",
    [
        (page(), Hang()),
        (page(POLICY, b"content-type: TEXT/PLAIN"),),
        (
            page(b"1e\r\n" + POLICY[:30] + b"\r\n", *PARTS),
            Sleep(0.1),
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(POLICY) - 30, POLICY[30:]),
        ),
        (page()[:40], Sleep(0.05), page()[40:100], Sleep(0.05), page()[100:]),
    ],
    ids=["stays", "no length", "chunked", "in pieces"],
)
def test_a_response_of_any_form(world: World, steps: tuple[Step, ...]) -> None:
    outcome = world.run(*steps)
    assert (outcome.code, said(outcome)) == (0, NOTES)


@pytest.mark.parametrize("mode", ["testing", "none"])
def test_a_policy_that_enforces_nothing_is_named(world: World, mode: str) -> None:
    outcome = world.run(page(POLICY.replace(b"enforce", mode.encode())), arguments=("--mx",))
    assert (outcome.code, outcome.line[:36]) == (0, "SMTP OK - mail.test: 2 of 2 healthy,")
    assert outcome.line.endswith(f", {after(90):%Y-%m-%d}, also mail.test mta-sts: mode {mode}")


@pytest.mark.parametrize(
    ("texts", "code", "note"),
    [
        (["v=TLSRPTv1; rua=tls@<a.test>"], 1, f"[WARNING] {RUA}: 'tls@(a.test)'"),
        (["v=TLSRPTv1; rua=http://a.test/"], 1, f"[WARNING] {RUA}: 'http://a.test/'"),
        (["v=TLSRPTv1; rua=a", "v=TLSRPTv1; rua=b"], 0, "[OK] 2 TLSRPT records, so none counts"),
    ],
)
def test_reports_that_go_nowhere(world: World, texts: list[str], code: int, note: str) -> None:
    answer = records(*(f'TXT "{text}"' for text in texts))
    outcome = world.run(page(), answers={("_smtp._tls.mail.test", "TXT"): answer})
    assert (outcome.code, note in said(outcome)) == (code, True)
    if code:
        assert outcome.line == (
            f"SMTP WARNING - mail.test mta-sts: {note.partition(' ')[2]}, 2 of 2 healthy"
        )


def test_the_source_and_the_family_are_those_of_the_run(world: World) -> None:
    """Of everything that is connected to or asked: the domain, its hosts and the policy's."""
    server = ScriptedServer((Handshake(world.good), Swallow(), page()), address=HTTPS, port=443)
    answers = {
        ("mail.test", "MX"): records("MX 10 mx.mail.test."),
        ("mx.mail.test", "A"): records(f"A {SMTP}"),
        ("_mta-sts.mail.test", "TXT"): records(RECORD),
        ("mta-sts.mail.test", "A"): records(f"A {HTTPS}"),
    }
    with server.running(), NameServer(answers).running() as names:
        outcome = plugin.run(
            *("-H", "mail.test", "-p", str(world.smtp.port), "-F", "me.example", "--mx"),
            *("--mta-sts", "--nameserver", names.nameserver, "--source", "127.0.0.9"),
            *("-S", "--ca-file", world.authority.path),
        )
    assert (outcome.code, outcome.stderr) == (0, "")
    assert (server.peers, world.smtp.peers[-1]) == (["127.0.0.9"], "127.0.0.9")
    assert names.peers == {"127.0.0.9"}
    assert not [kind for _, _, kind in names.asked if kind == "AAAA"]


def test_a_host_that_is_not_covered(world: World) -> None:
    outcome = world.run(page(POLICY.replace(b"mx.mail", b"old.mail")), arguments=("--mx",))
    assert (outcome.code, outcome.line) == (
        2,
        "SMTP CRITICAL - mail.test mta-sts: the policy does not cover mx.mail.test, 2 of 2 healthy",
    )


def test_a_host_that_is_its_own_domain(world: World) -> None:
    policy = POLICY.replace(b"mx.mail.test", b"mail.test")
    outcome = world.run(page(policy), answers={("mail.test", "MX"): Answer()}, arguments=())
    assert outcome.code == 0
    assert masking.masked(outcome.line) == (
        f"SMTP OK - mail.test:{world.smtp.port} [{SMTP}] answered in # s (slowest: # # s), "
        "TLS 1.3, certificate expires in 90 days, #, MTA-STS enforce"
    )


def test_the_mx_set_is_looked_up_where_it_is_not_known(world: World) -> None:
    outcome = world.run(page(POLICY.replace(b"*.pool", b"pool")), arguments=())
    assert (outcome.code, outcome.line) == (
        2,
        f"SMTP CRITICAL - mail.test:{world.smtp.port} mta-sts: the policy does not cover "
        f"b.pool.test [{SMTP}]",
    )


FETCHED = "no policy from mta-sts.mail.test: "


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        (
            (page(status=b"404 Not <Found>"),),
            FETCHED + "the answer is not 200: '404 Not (Found)'",
        ),
        (
            (page(b"", b"Location: https://www.mail.test/", status=b"301 Moved"),),
            FETCHED + "the answer is not 200, and redirects must not be followed: '301 Moved'",
        ),
        ((page(POLICY, b"Content-Type: text/html"),), "the policy is not text/plain but text/html"),
        ((page(POLICY, b"Server: x"),), "the policy is not text/plain but untyped"),
        (
            (b"220 mx.mail.test ESMTP\r\n\r\n",),
            FETCHED + "no HTTP response: '220 mx.mail.test ESMTP'",
        ),
        ((), FETCHED + "no HTTP response"),
        ((page()[:-9],), FETCHED + "the response is incomplete"),
        ((page(b"zz\r\n", *PARTS),), FETCHED + "the response is incomplete"),
        (
            (page(b"", b"Content-Type: text/plain"), Forever(b"x: y\n" * 1000)),
            FETCHED + "more than 64 KiB",
        ),
        (
            (page(b"<b>|\x1b[1m"),),
            "the policy has a line that is not 'key: value': '(b)\\x7c\\x1b(1m'",
        ),
    ],
    ids=[
        "404",
        "301",
        "HTML",
        "untyped",
        "SMTP",
        "nothing",
        "short",
        "chunk",
        "endless",
        "hostile",
    ],
)
def test_no_policy(world: World, steps: tuple[Step, ...], problem: str) -> None:
    outcome = world.run(*steps)
    assert (outcome.code, said(outcome)) == (2, [f"[CRITICAL] {problem}"])
    assert outcome.line == f"SMTP CRITICAL - mail.test mta-sts: {problem}, 2 of 2 healthy"


def test_the_certificate_is_verified(world: World, tmp_path: Path) -> None:
    stranger = Authority.made(tmp_path, "theirs")
    for certificate, problem in (
        (stranger.serving("mta-sts.mail.test"), "certificate unknown issuer"),
        (world.authority.serving("www.mail.test"), "certificate wrong name"),
        (world.authority.serving("mta-sts.mail.test", days=-3), "certificate expired"),
    ):
        outcome = world.run(
            page(), certificate=certificate, arguments=("--mx", "-v", "--no-verify")
        )
        assert (outcome.code, said(outcome)) == (2, [f"[CRITICAL] {FETCHED}{problem}"])


def test_the_deadline_holds(world: World) -> None:
    outcome = world.run(page()[:50], Hang(), deadline="1:unknown")
    problem = f"{FETCHED}no answer within 1 s"
    assert (outcome.code, said(outcome)) == (3, [f"[UNKNOWN] {problem}"])
    assert outcome.seconds < 1 + plugin.SLACK


@pytest.mark.parametrize(
    ("answers", "code", "problems"),
    [
        (
            {("_mta-sts.mail.test", "TXT"): Answer()},
            2,
            ["[CRITICAL] no MTA-STS record at _mta-sts.mail.test"],
        ),
        (
            {("_mta-sts.mail.test", "TXT"): records('TXT "<v=STSv1>"')},
            2,
            ["[CRITICAL] no MTA-STS record at _mta-sts.mail.test: '(v=STSv1)'"],
        ),
        (
            {("_mta-sts.mail.test", "TXT"): fails("REFUSED")},
            3,
            ["[UNKNOWN] TXT of _mta-sts.mail.test: REFUSED from 127.0.0.1"],
        ),
        (
            {("_smtp._tls.mail.test", "TXT"): fails("SERVFAIL")},
            0,
            [
                *NOTES[:3],
                "[OK] TLSRPT unknown: TXT of _smtp._tls.mail.test: SERVFAIL from 127.0.0.1",
            ],
        ),
        (
            {("mta-sts.mail.test", "A"): Answer()},
            2,
            [f"[CRITICAL] {FETCHED}no such host name"],
        ),
        (
            {("mta-sts.mail.test", "A"): records("A 127.0.0.99")},
            2,
            [f"[CRITICAL] {FETCHED}127.0.0.99: connection refused"],
        ),
        (
            {("mta-sts.mail.test", "A"): records("A 127.0.0.99", f"A {HTTPS}")},
            0,
            NOTES,
        ),
    ],
)
def test_what_dns_says(
    world: World, answers: dict[tuple[str, str], Answer], code: int, problems: list[str]
) -> None:
    outcome = world.run(page(), answers=answers)
    assert (outcome.code, said(outcome)) == (code, problems)


def test_a_domain_without_mail_has_no_mx_set_to_cover(world: World) -> None:
    outcome = world.run(page(), answers={("mail.test", "MX"): records("MX 0 .")}, arguments=("-v",))
    assert (outcome.code, said(outcome)) == (2, ["[CRITICAL] the domain accepts no mail (null MX)"])
    assert "(null MX), cause: not accepting [" in outcome.line


def test_the_resolver_does_not_answer(world: World) -> None:
    silent = {("_mta-sts.mail.test", "TXT"): SILENCE}
    outcome = world.run(page(), answers=silent, deadline="0.5")
    assert (outcome.code, said(outcome)) == (
        3,
        ["[UNKNOWN] TXT of _mta-sts.mail.test: no answer within 0.5 s"],
    )
