"""May mail leave as a domain: its SPF, DMARC and DKIM records, each as it should be and broken."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import (
    generate_private_key as generate_elliptic_key,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from check_smtp_health.faults import DnsUnanswered
from check_smtp_health.net.dns import Servers
from check_smtp_health.policy import spf as evaluation
from check_smtp_health.policy.sender import ROUNDS_LIMIT, check, evaluated, senders
from check_smtp_health.report import Finding, PolicyResult
from tests import plugin
from tests.plugin import Outcome
from tests.servers.name_server import SILENCE, Answer, NameServer, fails, records
from tests.servers.scripted import Expect, ScriptedServer

SCRIPT = (
    b"220 mx.test ESMTP\r\n",
    Expect(b"HELO me.example\r\n"),
    b"250 mx.test\r\n",
    Expect(b"QUIT\r\n"),
    b"221 bye\r\n",
)

Zone = Mapping[tuple[str, str], Answer]


def text(*strings: str) -> Answer:
    """Answer with a TXT record each."""
    return records(*(f'TXT "{one}"' for one in strings))


SPF = {("a.test", "TXT"): text("v=spf1 ip4:192.0.2.0/28 -all", "another=1")}
DMARC = {("_dmarc.a.test", "TXT"): text("v=DMARC1; p=reject; rua=mailto:dmarc@a.test")}
GOOD: Zone = {**SPF, **DMARC}


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(SCRIPT).running() as running:
        yield running


def run(server: ScriptedServer, zone: Zone, *arguments: str) -> Outcome:
    with NameServer(dict(zone)).running() as names:
        outcome = plugin.run(
            *plugin.at(server.port), "-t", "5", "--nameserver", names.nameserver, *arguments
        )
    assert (server.faults, outcome.stderr) == ([], "")
    return outcome


def answer(server: ScriptedServer, zone: Zone, *arguments: str) -> tuple[int, str]:
    """Return the exit code, and what the status line says of the domain."""
    outcome = run(server, zone, *arguments)
    where = f"127.0.0.1:{server.port} "
    line = outcome.line.partition(where)[2]
    ok = "answered in # s (slowest: "
    return outcome.code, line.partition("), ")[2] if line.startswith(ok) else line


def spf(*terms: str, **others: str) -> Zone:
    """Return a record of a.test with these terms, and those of others."""
    return {
        **DMARC,
        ("a.test", "TXT"): text(f"v=spf1 {' '.join(terms)}"),
        **{(f"{name}.test", "TXT"): text(f"v=spf1 {said}") for name, said in others.items()},
    }


def dmarc(*said: str, where: str = "a.test") -> Zone:
    return {**SPF, (f"_dmarc.{where}", "TXT"): text(*said)}


ROWS = (
    ("all is well", GOOD, "a.test/192.0.2.9", 0, "SPF authorises 192.0.2.9, DMARC reject"),
    ("no address", GOOD, "a.test", 0, "SPF published, DMARC reject"),
    (
        "another spelling",
        GOOD,
        "A.Test./[::ffff:192.0.2.1]",
        0,
        "SPF authorises 192.0.2.1, DMARC reject",
    ),
    ("no SPF", DMARC, "a.test/192.0.2.9", 2, "sender: SPF: a.test has no SPF record"),
    (
        "another address",
        GOOD,
        "a.test/192.0.2.99",
        2,
        "sender: SPF of a.test does not authorise 192.0.2.99: fail by '-all' of a.test",
    ),
    (
        "IPv6 forgotten",
        GOOD,
        "a.test/2001:db8::9",
        2,
        "sender: SPF of a.test does not authorise 2001:db8::9: fail by '-all' of a.test",
    ),
    (
        "an include",
        spf("include:b.test", "-all", b="ip4:192.0.2.9 -all"),
        "a.test/192.0.2.9",
        0,
        "SPF authorises 192.0.2.9, DMARC reject",
    ),
    (
        "an include without record",
        spf("include:b.test", "-all"),
        "a.test",
        2,
        "sender: SPF: a.test: include:b.test has no SPF record",
    ),
    (
        "two records",
        {**DMARC, ("a.test", "TXT"): text("v=spf1 -all", "v=spf1 ~all")},
        "a.test",
        2,
        "sender: SPF: a.test has 2 SPF records",
    ),
    (
        "a typing error",
        spf("ipv4:192.0.2.9", "-all"),
        "a.test",
        2,
        "sender: SPF: SPF of a.test: 'ipv4:192.0.2.9' is not an SPF mechanism",
    ),
    (
        "eleven look-ups",
        spf(*["include:b.test"] * 11, "-all", b="-all"),
        "a.test",
        2,
        "sender: SPF of a.test needs 11 look-ups, more than 10",
    ),
    (
        "a loop",
        spf("include:a.test", "-all"),
        "a.test",
        2,
        "sender: SPF of a.test needs 31 look-ups, more than 10",
    ),
    (
        "three that find nothing",
        spf("a:x.test", "a:y.test", "mx:z.test", "-all"),
        "a.test",
        2,
        "sender: SPF of a.test: 3 look-ups find nothing, more than 2",
    ),
    *(
        (
            f"everybody, by {' '.join(terms)}",
            spf(*terms, "-all", b="ip4:0.0.0.0/0 -all"),
            "a.test",
            1,
            f"sender: SPF of a.test authorises everybody ('{terms[-1]}')",
        )
        for terms in (
            ("ip4:0.0.0.0/0",),
            ("ip6:::/0",),
            ("ip4:0.0.0.0/1", "ip4:128.0.0.0/1"),
            ("include:b.test",),
        )
    ),
    ("everybody", spf("+all"), "a.test", 1, "sender: SPF of a.test authorises everybody ('+all')"),
    (
        "nobody knows",
        spf("?all"),
        "a.test",
        1,
        "sender: SPF of a.test says nothing about other senders ('?all')",
    ),
    (
        "no all",
        spf("ip4:192.0.2.9"),
        "a.test",
        1,
        "sender: SPF of a.test says nothing about other senders (no 'all')",
    ),
    (
        "ptr",
        spf("ptr", "-all"),
        "a.test",
        0,
        "SPF published, DMARC reject, also sender: SPF of a.test uses ptr, which is slow and "
        "unreliable",
    ),
    ("no DMARC", SPF, "a.test", 2, "sender: a.test has no DMARC record"),
    (
        "two of DMARC",
        dmarc("v=DMARC1; p=none", "v=DMARC1; p=reject"),
        "a.test",
        2,
        "sender: a.test has several DMARC records, so none counts",
    ),
    (
        "policy none",
        dmarc("v=DMARC1; p=none; rua=mailto:x@a.test"),
        "a.test",
        0,
        "SPF published, DMARC none, also sender: DMARC of a.test has policy none",
    ),
    (
        "no reports",
        dmarc("v=DMARC1;p=quarantine"),
        "a.test",
        0,
        "SPF published, DMARC quarantine, also sender: DMARC of a.test asks for no reports (rua)",
    ),
    (
        "in testing, with what no longer counts",
        dmarc("v=DMARC1; p=reject; t=y; pct=50; rua=mailto:x@a.test"),
        "a.test",
        0,
        "SPF published, DMARC reject, also sender: DMARC of a.test is in test mode (t=y), also "
        "sender: DMARC of a.test has pct, without meaning since RFC 9989",
    ),
    (
        "no policy",
        dmarc("v=DMARC1; rua=mailto:x@a.test"),
        "a.test",
        1,
        "sender: DMARC of a.test has no valid p, which means none, also sender: DMARC of a.test "
        "has policy none",
    ),
    (
        "nothing but a name",
        dmarc("v=DMARC1; p=quarantined"),
        "a.test",
        2,
        "sender: DMARC of a.test has no valid p, so it does not count: 'quarantined'",
    ),
    (
        "no policy, and nobody to report to",
        dmarc("v=DMARC1; p=rejct; rua=foo"),
        "a.test",
        2,
        "sender: DMARC of a.test has no valid p, so it does not count: 'rejct'",
    ),
    (
        "two policies in one record",
        dmarc("v=DMARC1; p=reject; p=none"),
        "a.test",
        2,
        "sender: DMARC of a.test has p= twice, so it is invalid: 'v=DMARC1; p=reject; p=none'",
    ),
    (
        "a report address that is none",
        dmarc("v=DMARC1; p=reject; rua=x@a.test"),
        "a.test",
        1,
        "sender: DMARC of a.test: rua is not a mailto: URI: 'x@a.test'",
    ),
    (
        "a wrong sp",
        dmarc("v=DMARC1; p=reject; sp=all; rua=mailto:x@a.test!10m"),
        "a.test",
        1,
        "sender: DMARC of a.test has no valid sp, which means none: 'all', also sender: DMARC of "
        "a.test has policy none",
    ),
    (
        "a wrong np, and nobody to tell",
        dmarc("v=DMARC1; p=reject; np=all"),
        "a.test",
        2,
        "sender: DMARC of a.test has no valid np, so it does not count: 'all'",
    ),
    (
        "reports to somebody who does not know",
        dmarc("v=DMARC1; p=reject; rua=mailto:x@r.example"),
        "a.test",
        1,
        "sender: r.example has not agreed to get DMARC reports about a.test",
    ),
    (
        "reports to somebody who does",
        {
            **dmarc("v=DMARC1; p=reject; rua=mailto:x@r.example"),
            ("a.test._report._dmarc.r.example", "TXT"): text("v=DMARC1"),
        },
        "a.test",
        0,
        "SPF published, DMARC reject",
    ),
    (
        "the record of the organization",
        {
            **dmarc("v=DMARC1; p=reject; sp=quarantine; rua=mailto:x@b.a.test"),
            ("c.b.a.test", "TXT"): text("v=spf1 -all"),
        },
        "c.b.a.test",
        0,
        "SPF published, DMARC quarantine",
    ),
    (
        "the record of a public suffix",
        {
            **dmarc(
                "v=DMARC1; p=none; sp=reject; psd=y; rua=mailto:x@registry.example", where="test"
            ),
            ("c.a.test", "TXT"): text("v=spf1 -all"),
        },
        "c.a.test",
        0,
        "SPF published, DMARC reject",
    ),
    (
        "an organization of its own",
        dmarc("v=DMARC1; p=reject; psd=n; rua=mailto:x@a.test"),
        "a.test",
        0,
        "SPF published, DMARC reject",
    ),
    (
        "a suffix of seven labels, whose next level a walk leaves out",
        {
            **dmarc("v=DMARC1; p=quarantine; psd=y", where="g.f.e.d.c.b.test"),
            ("j.i.h.g.f.e.d.c.b.test", "TXT"): text("v=spf1 -all"),
        },
        "j.i.h.g.f.e.d.c.b.test",
        0,
        "SPF published, DMARC quarantine",
    ),
    (
        "SERVFAIL above the record",
        {**GOOD, ("_dmarc.test", "TXT"): fails("SERVFAIL")},
        "a.test",
        0,
        "SPF published, DMARC reject",
    ),
    (
        "SERVFAIL for DMARC",
        {**SPF, ("_dmarc.a.test", "TXT"): fails("SERVFAIL")},
        "a.test",
        3,
        "sender: TXT of _dmarc.a.test: SERVFAIL from 127.0.0.1",
    ),
    (
        "SERVFAIL for what only an address asks",
        {
            **spf("exists:%{i}.b.test", "-all"),
            ("192.0.2.9.b.test", "A"): fails("SERVFAIL"),
        },
        "a.test/192.0.2.9",
        3,
        "sender: SPF for 192.0.2.9: A of 192.0.2.9.b.test: SERVFAIL from 127.0.0.1",
    ),
    (
        "nothing about an address",
        spf("ip4:192.0.2.1"),
        "a.test/192.0.2.9",
        2,
        "sender: SPF of a.test does not authorise 192.0.2.9: neutral, since no term matches, also "
        "sender: SPF of a.test says nothing about other senders (no 'all')",
    ),
    (
        "eleven look-ups, and an address",
        spf(*["include:b.test"] * 11, "-all", b="-all"),
        "a.test/192.0.2.9",
        2,
        "sender: SPF of a.test needs 11 look-ups, more than 10, also sender: SPF of a.test does "
        "not authorise 192.0.2.9: permerror, more than 10 look-ups",
    ),
    (
        "SERVFAIL",
        {**GOOD, ("a.test", "TXT"): fails("SERVFAIL")},
        "a.test",
        3,
        "sender: SPF: TXT of a.test: SERVFAIL from 127.0.0.1",
    ),
    (
        "SERVFAIL in an include",
        {**spf("include:b.test", "-all"), ("b.test", "TXT"): fails("SERVFAIL")},
        "a.test",
        3,
        "sender: SPF: TXT of b.test: SERVFAIL from 127.0.0.1",
    ),
)


@pytest.mark.parametrize(
    ("zone", "sender", "code", "said"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_sender(server: ScriptedServer, zone: Zone, sender: str, code: int, said: str) -> None:
    assert answer(server, zone, "--sender", sender) == (code, said)


def rsa(bits: int) -> str:
    """Return the public half of a key, as a record has it."""
    public = RSAPublicNumbers(65537, (1 << bits) - 1).public_key()  # whose other half nobody knows
    data = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(data).decode()


STRONG, OLD = rsa(2048), rsa(1024)
ED25519 = base64.b64encode(bytes(range(32))).decode()


ELLIPTIC = base64.b64encode(
    generate_elliptic_key(SECP256R1())
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()

UNHEARD_OF = "MAswBQYDKgMEAwIAAA=="
"""A key of the kind 1.2.3.4."""


KEYS = (
    (
        "with a tag twice",
        f"v=DKIM1; k=rsa; k=rsa; p={STRONG}",
        2,
        "dkim: the record at s1._domainkey.a.test has k= twice, so it is invalid",
    ),
    (
        "with its version at the end",
        "p=AAAA; v=DKIM1",
        2,
        "dkim: the record at s1._domainkey.a.test does not begin with v=: 'p=AAAA; v=DKIM1'",
    ),
    (
        "of an elliptic curve",
        f"p={ELLIPTIC}",
        2,
        f"dkim: the key at s1._domainkey.a.test cannot be read: '{ELLIPTIC}'",
    ),
    (
        "too short for Ed25519",
        "k=ed25519; p=AAAA",
        2,
        "dkim: the key at s1._domainkey.a.test cannot be read: 'AAAA'",
    ),
    (
        "of a kind that nobody knows",
        f"p={UNHEARD_OF}",
        2,
        f"dkim: the key at s1._domainkey.a.test cannot be read: '{UNHEARD_OF}'",
    ),
    ("strong", f"v=DKIM1; k=rsa; p={STRONG}", 0, "DKIM 2048 bits"),
    ("the least that a record says", f"p={STRONG}", 0, "DKIM 2048 bits"),
    ("Ed25519", f"v=DKIM1; k=ed25519; p={ED25519}", 0, "DKIM 256 bits"),
    (
        "old",
        f"v=DKIM1; p={OLD}",
        1,
        "dkim: the key at s1._domainkey.a.test has 1024 bits, fewer than 2048",
    ),
    ("revoked", "v=DKIM1; p=", 2, "dkim: the key at s1._domainkey.a.test is revoked"),
    (
        "of another time",
        "v=DKIM2; p=x",
        2,
        "dkim: the record at s1._domainkey.a.test is not a DKIM key: 'v=DKIM2; p=x'",
    ),
    (
        "unknown",
        "k=dsa; p=AAAA",
        2,
        "dkim: the key at s1._domainkey.a.test is of an unknown kind: 'dsa'",
    ),
    ("broken", "p=AAAA", 2, "dkim: the key at s1._domainkey.a.test cannot be read: 'AAAA'"),
    ("not base64", "p=A*AA", 2, "dkim: the key at s1._domainkey.a.test cannot be read: 'A*AA'"),
    (
        "Ed25519 said to be RSA",
        f"p={ED25519}",
        2,
        f"dkim: the key at s1._domainkey.a.test cannot be read: '{ED25519}'",
    ),
    (
        "for sha1",
        f"h=sha1; p={STRONG}",
        2,
        "dkim: the key at s1._domainkey.a.test does not allow sha256, which signatures use: 'sha1'",
    ),
    (
        "not for mail",
        f"s=tlsrpt; p={STRONG}",
        2,
        "dkim: the key at s1._domainkey.a.test is not for mail: 'tlsrpt'",
    ),
    (
        "in testing",
        f"t=y:s; p={STRONG}",
        0,
        "DKIM 2048 bits, also dkim: the key at s1._domainkey.a.test is in test mode (t=y)",
    ),
)


def key(said: str) -> Zone:
    """Return a record of a key, in strings of 200 octets."""
    strings = " ".join(f'"{said[at : at + 200]}"' for at in range(0, max(len(said), 1), 200))
    return {**GOOD, ("s1._domainkey.a.test", "TXT"): records(f"TXT {strings}")}


DKIM = ("--sender", "a.test", "--dkim", "s1")


@pytest.mark.parametrize(
    ("record", "code", "said"), [row[1:] for row in KEYS], ids=[row[0] for row in KEYS]
)
def test_dkim(server: ScriptedServer, record: str, code: int, said: str) -> None:
    right = f"SPF published, DMARC reject, {said}" if code == 0 else said
    assert answer(server, key(record), *DKIM) == (code, right)


def test_two_keys_at_one_name(server: ScriptedServer) -> None:
    """Receivers may take either, so that half of the mail may fail (RFC 6376 section 3.6.2.2)."""
    one = key(f"p={STRONG}")["s1._domainkey.a.test", "TXT"].records
    other = key(f"k=rsa; p={STRONG}")["s1._domainkey.a.test", "TXT"].records
    zone = {**GOOD, ("s1._domainkey.a.test", "TXT"): records(*one, *other)}
    said = "dkim: s1._domainkey.a.test has 2 records, and receivers may use any of them"
    assert answer(server, zone, *DKIM) == (1, said)


def test_nobody_says_what_spf_a_domain_has(server: ScriptedServer) -> None:
    zone = {**GOOD, ("a.test", "TXT"): fails("SERVFAIL")}
    said = "sender: SPF: TXT of a.test: SERVFAIL from 127.0.0.1"
    assert answer(server, zone, "--sender", "a.test") == (3, said)


def test_an_evaluation_without_end() -> None:
    """What would take thousands of addresses to ask about is asked here without a network."""
    nobody = Servers((), are_trusted=True)
    silence = DnsUnanswered("no answer")

    def never(answers: Mapping[evaluation.Question, evaluation.Answer]) -> list[evaluation.Outcome]:
        missing = ((f"{len(answers)}.test", "TXT"),)
        return [evaluation.Outcome("neutral", "", "", "", 0, 0, (), missing)]

    asking = evaluated(nobody, "a.test", never)
    next(asking)
    for _ in range(ROUNDS_LIMIT - 1):
        asking.send([silence])
    with pytest.raises(DnsUnanswered) as endless:
        asking.send([silence])
    assert endless.value.sentence == "SPF of a.test asks for more than 64 names"
    (domain,) = senders(["a.test"])
    checking = check((nobody, domain), None)
    next(checking)
    with pytest.raises(StopIteration) as result:
        checking.send([endless.value, silence])
    assert result.value.value == PolicyResult(
        "sender",
        (
            Finding("unanswered", "SPF of a.test asks for more than 64 names"),
            Finding("unanswered", "no answer"),
        ),
    )


def test_a_key_that_is_missing_and_one_elsewhere(server: ScriptedServer) -> None:
    zone = {
        **GOOD,
        ("s1._domainkey.a.test", "TXT"): records("CNAME k.b.test.", f'k.b.test: TXT "p={OLD}"'),
        ("s3._domainkey.b.test", "TXT"): SILENCE,
    }
    assert answer(server, zone, *DKIM, "--dkim", "s2:A.test", "--dkim", "s3:b.test", "-t", "1") == (
        2,
        "dkim: there is no key at s2._domainkey.a.test, also dkim: the key at s1._domainkey.a.test "
        "has 1024 bits, fewer than 2048, also dkim: TXT of s3._domainkey.b.test: no answer within "
        "1 s",
    )


def test_all_that_is_known(server: ScriptedServer) -> None:
    zone = {**spf("include:b.test", "a", "-all", b="ip4:192.0.2.9 -all")}
    zone[("a.test", "A")] = records("A 192.0.2.25")
    zone[("s1._domainkey.a.test", "TXT")] = text(f"p={ED25519}".replace("p=", "k=ed25519; p="))
    outcome = run(server, zone, "-v", *DKIM)
    lines = outcome.stdout.splitlines()
    assert [line for line in lines if line.startswith(("sender", "dkim"))] == [
        "sender   [OK] SPF a.test, after 0 look-ups: v=spf1 include:b.test a -all",
        "sender   [OK] SPF + b.test, after 1 look-up: v=spf1 ip4:192.0.2.9 -all",
        "sender   [OK] SPF needs 2 look-ups, 0 find nothing",
        "sender   [OK] DMARC of a.test: v=DMARC1; p=reject; rua=mailto:dmarc@a.test",
        f"dkim     [OK] s1._domainkey.a.test: k=ed25519; p={ED25519}",
    ]
    assert outcome.perfdata.split()[-2:] == ["spf_lookups=2;;;0", "dkim_bits=256;;;0"]


def test_several_domains_of_one_server(server: ScriptedServer) -> None:
    zone = {
        **GOOD,
        ("b.test", "TXT"): text("v=spf1 +all"),
        ("_dmarc.b.test", "TXT"): text("v=DMARC1;p=none"),
    }
    outcome = run(server, zone, "--sender", "a.test/192.0.2.1", "--sender", "b.test")
    assert (outcome.code, outcome.line) == (
        1,
        f"SMTP WARNING - 127.0.0.1:{server.port} sender: SPF of b.test authorises everybody "
        "('+all'), also sender: DMARC of b.test has policy none, also sender: DMARC of b.test "
        "asks for no reports (rua)",
    )
    assert outcome.perfdata.split()[-2:] == [
        "'a.test::spf_lookups'=0;;;0",
        "'b.test::spf_lookups'=0;;;0",
    ]


def test_a_domain_beside_several_servers(server: ScriptedServer) -> None:
    with ScriptedServer(SCRIPT, address="127.0.0.2", port=server.port).running():
        well = run(server, GOOD, "-H", "127.0.0.2", "--sender", "a.test")
        ill = run(server, SPF, "-H", "127.0.0.2", "--sender", "a.test")
    assert re.sub(r"127\.0\.0\.[12]", "#", well.line) == (
        f"SMTP OK - 2 of 2 healthy, slowest: #:{server.port} # s (# # s), "
        "SPF published, DMARC reject"
    )
    assert "'a.test::spf_lookups'=0;;;0" in well.perfdata.split()
    assert (ill.code, ill.line) == (
        2,
        "SMTP CRITICAL - a.test sender: a.test has no DMARC record, 2 of 2 healthy",
    )


def test_the_domain_whose_mx_set_is_probed(server: ScriptedServer) -> None:
    """What is published about it stands with its own report."""
    zone = {
        **GOOD,
        ("a.test", "MX"): records("MX 10 mx.test."),
        ("mx.test", "A"): records("A 127.0.0.2"),
    }
    with (
        ScriptedServer(SCRIPT, address="127.0.0.2").running() as mx,
        NameServer(zone).running() as names,
    ):
        done = plugin.run(
            *("-H", "a.test", "--mx", "-p", str(mx.port), "-F", "me.example", "-t", "3", "-4"),
            *("--nameserver", names.nameserver, "--sender", "a.test"),
        )
    assert done.line == (
        f"SMTP OK - a.test: 1 of 1 healthy, slowest: mx.test:{mx.port} [127.0.0.2] # s (# # s), "
        "SPF published, DMARC reject"
    )
    assert "'a.test::spf_lookups'=0;;;0" in done.perfdata.split()


def test_a_package_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "cryptography.py").write_text("raise ImportError('not here')")
    done = plugin.run(
        *("-H", "127.0.0.1", *DKIM, "--nameserver", "127.0.0.1"),
        environment={"PYTHONPATH": str(tmp_path)},
    )
    assert (done.code, done.stdout) == (
        3,
        "SMTP UNKNOWN - --dkim: needs the library cryptography: "
        "install python3-cryptography, or cryptography with pip\n",
    )


BROKEN = """
def load_der_public_key(data):
    raise RuntimeError("not today")
"""


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ((), "SMTP UNKNOWN - internal error: RuntimeError at serialization.py:3: not today"),
        (
            ("-H", "127.0.0.2"),
            "SMTP UNKNOWN - a.test dkim: internal error: RuntimeError at serialization.py:3: not "
            "today, 2 of 2 healthy",
        ),
    ],
    ids=["one server", "two"],
)
def test_a_package_with_a_bug(
    server: ScriptedServer, tmp_path: Path, hosts: tuple[str, ...], said: str
) -> None:
    """Where there are several servers, what is known of them is told all the same."""
    folder = tmp_path / "cryptography" / "hazmat" / "primitives"
    for name, text in (
        ("../../exceptions", "UnsupportedAlgorithm = ValueError"),
        ("asymmetric/rsa", "class RSAPublicKey: pass"),
        ("serialization", BROKEN),
    ):
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    (folder.parent / "__init__.py").touch()
    with (
        ScriptedServer(SCRIPT, address="127.0.0.2", port=server.port).running(),
        NameServer(dict(key(f"p={STRONG}"))).running() as names,
    ):
        done = plugin.run(
            *(*plugin.at(server.port), *hosts, "-t", "5", "--nameserver", names.nameserver, *DKIM),
            environment={"PYTHONPATH": str(tmp_path)},
        )
    assert (done.code, done.line, done.stderr) == (3, said, "")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--sender", ""), "--sender: '' is not DOMAIN[/ADDRESS]"),
        (("--sender", "192.0.2.1"), "--sender: '192.0.2.1' is not DOMAIN[/ADDRESS]"),
        (("--sender", "a.test/b.test"), "--sender: 'b.test' is not an IP address"),
        (("--sender", "a.test/192.0.2.0/24"), "--sender: '192.0.2.0/24' is not an IP address"),
        (("--sender", "me@a.test"), "--sender: 'me@a.test' is not DOMAIN[/ADDRESS]"),
        (("--dkim", "s1"), "--dkim: needs --sender DOMAIN"),
        (("--sender", "a.test", "--dkim", "s1:"), "--dkim: 's1:' is not SELECTOR[:DOMAIN]"),
        (("--sender", "a.test", "--dkim", "s 1"), "--dkim: 's 1' is not SELECTOR[:DOMAIN]"),
        (
            ("--sender", "a.test", "--sender", "b.test", "--dkim", "s1"),
            "--dkim: 's1' needs a domain, SELECTOR:DOMAIN",
        ),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], problem: str) -> None:
    outcome = plugin.run("-H", "127.0.0.1", *arguments)
    assert (outcome.code, outcome.stdout) == (3, f"SMTP UNKNOWN - {problem}\n")
