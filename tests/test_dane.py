"""DANE with a real signed zone: Knot signs, Unbound validates, and servers show what they will."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from check_smtp_health.errors import LocalFault, Untrusted
from check_smtp_health.net.certificate import key_information
from check_smtp_health.net.trust import TlsOptions, Trust
from check_smtp_health.policy.dane import Shown, judge
from check_smtp_health.policy.tlsa import Published, Tlsa
from tests import masking, needs, plugin
from tests.plugin import Outcome
from tests.servers import dns, network, postfix
from tests.servers.authority import Authority
from tests.servers.dns import BOGUS, SIGNED, Dns, Zone, tlsa
from tests.servers.loopback import free_port
from tests.servers.name_server import SILENCE, Answer, NameServer
from tests.servers.scripted import Expect, Handshake, ScriptedServer, Sleep, Step

KNOWS_CHAIN = sys.version_info >= (3, 10)

MX = "127.0.0.6"
"""Where one is with a good certificate, too: an MX host at 127.0.0.1 would not be probed."""

GOOD, EXPIRED, OTHER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
"""Where servers are that show a good certificate, an expired one, and one for another name."""

LOGIN = "127.0.0.4"
"""Where a test may run one that shows the good certificate and takes a login."""

PASSWORD = ("-U", "me", "-P", "secret", "-A", "PLAIN")

FINE = (
    "OK - {} answered in # s (slowest: # # s), TLS 1.3, certificate expires in 90 days, #, "
    "DANE 3 1 1"
)

NO_CHAIN = "dane: TLSA records of usage 2 need Python 3.10, which can read the whole chain"
"""What comes of a record that names an authority where Python is older."""


def script(context: ssl.SSLContext) -> tuple[Step, ...]:
    return (
        Handshake(context),
        b"220 mx.test ESMTP\r\n",
        Expect(b"HELO"),
        b"250 mx.test\r\n",
        Expect(b"QUIT"),
        b"221 bye\r\n",
    )


STRANGE = "3 1 1 " + "ab" * 32
"""A record that matches nothing."""


@dataclass(frozen=True)
class World:
    """The resolver, the port of all servers, and what certificate each shows, and its issuer's."""

    dns: Dns
    port: int
    chains: dict[str, list[x509.Certificate]]
    good: ssl.SSLContext

    def run(self, host: str, *arguments: str) -> Outcome:
        outcome = plugin.run(
            *("-H", host, "-p", str(self.port), "--nameserver", self.dns.nameserver),
            *("-F", "me.example", "-t", "5", "--ssl", "--dane"),
            *arguments,
        )
        assert outcome.stderr == ""
        return outcome

    def line(self, outcome: Outcome) -> str:
        """Return the status line with the target, stages, dates and the port masked."""
        line = re.sub(rf"\S+:{self.port}( \[\S+\])?", "{}", outcome.line)
        line = masking.masked(line).replace(f"_{self.port}", "_PORT")
        return line.partition("SMTP ")[2]


KINDS = [f"3 {selector} {matching}" for selector in (0, 1) for matching in (0, 1, 2)]
"""Ways for a record to name the server's own certificate."""

ANCHORS = [f"2 {selector} {matching}" for selector in (0, 1) for matching in (0, 1, 2)]
"""Ways for it to name the authority's."""


def host(kind: str) -> str:
    """Return the name of the host that has such a record."""
    return f"k{kind.replace(' ', '')}.mail.test"


NAMES = [
    *map(host, ANCHORS),
    "expired.mail.test",
    "anchored.mail.test",
    "alias.mail.test",
    "mx.mail.test",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("dane")
    authority = Authority.made(folder, "root").child()
    port = free_port()
    chains, contexts = {}, {}
    with ExitStack() as stack:
        for address, names, days in (
            (GOOD, NAMES, 90),
            (EXPIRED, NAMES, -3),
            (OTHER, ["other.example"], 90),
        ):
            path = authority.written(folder / address, *names, days=days)
            chains[address] = x509.load_pem_x509_certificates(Path(path).read_bytes())
            contexts[address] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path)
            server = ScriptedServer(script(context), address=address, port=port)
            stack.enter_context(server.running())
        server = ScriptedServer(script(contexts[GOOD]), address=MX, port=port)
        stack.enter_context(server.running())
        zones = (
            Zone("mail.test", records(chains, port), SIGNED),
            Zone(
                "plain.test",
                "@ MX 10 mx\n" + served("mx", MX, port, tlsa(chains[GOOD][0], "3 1 1")),
            ),
            Zone("bogus.test", served("mx", GOOD, port, STRANGE), BOGUS),
        )
        yield World(stack.enter_context(dns.running(*zones)), port, chains, contexts[GOOD])


def served(name: str, address: str, port: int, *records: str) -> str:
    """Return the lines of a zone for a host, with its TLSA records."""
    tlsas = "".join(f"_{port}._tcp.{name} TLSA {record}\n" for record in records)
    return f"{name} A {address}\n{tlsas}"


def records(chains: dict[str, list[x509.Certificate]], port: int) -> str:
    """Return the lines of the signed zone."""
    leaf, issuer = chains[GOOD]
    expired, other = chains[EXPIRED][0], chains[OTHER][0]
    rows = {
        **{host(kind): (GOOD, tlsa(leaf, kind)) for kind in KINDS},
        **{host(kind): (GOOD, tlsa(issuer, kind)) for kind in ANCHORS},
        "old": (EXPIRED, tlsa(expired, "3 1 1")),
        "named": (OTHER, tlsa(other, "3 1 1")),
        "roll": (GOOD, STRANGE, tlsa(leaf, "3 1 1"), tlsa(leaf, "1 0 1"), "2 1 1 " + "cd" * 32),
        "strange": (GOOD, STRANGE, "3 0 1 " + "12" * 32),
        "pkix": (GOOD, tlsa(leaf, "1 1 1"), tlsa(issuer, "0 1 1")),
        "odd": (GOOD, tlsa(leaf, "3 7 1"), tlsa(leaf, "3 1 9")),
        "issued": (GOOD, tlsa(leaf, "2 1 1")),
        "none": (GOOD,),
        "expired": (EXPIRED, tlsa(issuer, "2 0 1")),
        "foreign": (OTHER, tlsa(issuer, "2 0 1")),
        "down": ("127.0.0.9", STRANGE),
        "trusted": (LOGIN, tlsa(leaf, "3 1 1")),
        "anchored": (LOGIN, tlsa(issuer, "2 0 1")),
        "robber": (LOGIN, STRANGE),
        "unsaid": (LOGIN,),
    }
    lines = [served(name.partition(".")[0], row[0], port, *row[1:]) for name, row in rows.items()]
    return "".join(
        [
            *lines,
            f"alias CNAME {host('3 1 1')}.\n",
            f"_{port}._tcp.alias TLSA {STRANGE}\n",
            f"fallback CNAME none\n_{port}._tcp.fallback TLSA {tlsa(leaf, '3 1 1')}\n",
            f"away CNAME mx.plain.test.\n_{port}._tcp.away TLSA {tlsa(leaf, '3 1 1')}\n",
        ]
    )


def test_a_record_names_the_certificate(world: World) -> None:
    first, *others = KINDS
    outcome = world.run(host(first), *(word for one in others for word in ("-H", host(one))), "-v")
    assert (outcome.code, outcome.line[:24]) == (0, "SMTP OK - 6 of 6 healthy")
    found = re.findall(r"^dane +\[OK\] TLSA (. . .) \w+(?:\.\.\.)? matches$", outcome.stdout, re.M)
    assert found == KINDS


def test_a_record_names_the_authority(world: World) -> None:
    first, *others = ANCHORS
    outcome = world.run(host(first), *(word for one in others for word in ("-H", host(one))), "-v")
    if KNOWS_CHAIN:
        assert (outcome.code, outcome.line[:24]) == (0, "SMTP OK - 6 of 6 healthy")
        found = re.findall(r"^dane +\[OK\] TLSA (. . .) .* matches$", outcome.stdout, re.M)
        assert found == ANCHORS
    else:  # but of the two that hold the authority's certificate or key itself
        assert (outcome.code, outcome.line.count(NO_CHAIN)) == (3, 4)
        assert ", 2 of 6 healthy" in outcome.line


def test_own_records_need_neither_name_nor_date(world: World) -> None:
    named, old = world.run("named.mail.test"), world.run("old.mail.test")
    assert (named.code, world.line(named)) == (0, FINE)
    assert (old.code, world.line(old)) == (
        0,
        FINE.replace("expires in 90 days", "expired 3 days ago"),
    )
    assert old.perfdata.endswith(" certificate_days=-3;14:;3:")


def test_one_record_that_matches_is_enough(world: World) -> None:
    outcome = world.run("roll.mail.test", "-v")
    assert (outcome.code, world.line(outcome)) == (0, FINE)
    own = tlsa(world.chains[GOOD][0], "3 1 1")[6:22]
    usage_1 = tlsa(world.chains[GOOD][0], "1 0 1")[6:22]
    assert [line for line in outcome.stdout.splitlines() if line.startswith("dane ")] == [
        f"dane     [OK] TLSA 1 0 1 {usage_1}... cannot be used for mail",
        "dane     [OK] TLSA 2 1 1 cdcdcdcdcdcdcdcd... matches nothing",
        *sorted(
            [
                "dane     [OK] TLSA 3 1 1 abababababababab... matches nothing",
                f"dane     [OK] TLSA 3 1 1 {own}... matches",
            ]
        ),
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "strange",
            "the certificate matches no TLSA record at _PORT._tcp.strange.mail.test: "
            "3 0 1 1212121212121212..., 3 1 1 abababababababab...",
        ),
        ("none", "no TLSA record at _PORT._tcp.none.mail.test"),
        ("pkix", "no TLSA record at _PORT._tcp.pkix.mail.test can be used for mail: *"),
        ("odd", "no TLSA record at _PORT._tcp.odd.mail.test can be used for mail: *"),
    ],
)
def test_nothing_vouches_for_the_certificate(world: World, name: str, problem: str) -> None:
    outcome = world.run(f"{name}.mail.test")
    said, star, _ = problem.partition("*")
    line = world.line(outcome)
    assert outcome.code == 2
    whole = f"CRITICAL - {{}} dane: {said}"
    assert line.startswith(whole) if star else line == f"{whole} [127.0.0.1]"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "expired",
            "TLSA 2 0 1 #: certificate expired, cause: certificate, also certificate: "
            "expired 3 days ago, # [127.0.0.2]",
        ),
        (
            "foreign",
            "TLSA 2 0 1 #: the certificate is for other.example, not foreign.mail.test, "
            "cause: certificate [127.0.0.3]",
        ),
        (
            "issued",
            "the certificate matches no TLSA record at _PORT._tcp.issued.mail.test: 2 1 1 # "
            "[127.0.0.1]",
        ),
    ],
)
def test_an_authority_vouches_for_names_and_dates(world: World, name: str, problem: str) -> None:
    outcome = world.run(f"{name}.mail.test")
    line = re.sub(r"[0-9a-f]{16}\.\.\.", "#", world.line(outcome))
    if KNOWS_CHAIN:
        assert (outcome.code, line) == (2, f"CRITICAL - {{}} dane: {problem}")
    else:
        assert NO_CHAIN in line


def greeted(world: World, *steps: Step) -> tuple[Step, ...]:
    """Return the session of a server that offers a login."""
    offer = (Expect(b"EHLO"), b"250-mx.test\r\n250 AUTH PLAIN\r\n")
    bye = (Expect(b"QUIT"), b"221 bye\r\n")
    return (Handshake(world.good), b"220 mx.test ESMTP\r\n", *offer, *steps, *bye)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "robber",
            "the certificate matches no TLSA record at _PORT._tcp.robber.mail.test: "
            "3 1 1 abababababababab...",
        ),
        ("unsaid", "no TLSA record at _PORT._tcp.unsaid.mail.test"),
    ],
)
def test_no_password_is_shown_to_whom_no_record_names(world: World, name: str, said: str) -> None:
    with ScriptedServer(greeted(world), address=LOGIN, port=world.port).running() as server:
        outcome = world.run(f"{name}.mail.test", *PASSWORD)
    assert server.faults == []
    assert (outcome.code, world.line(outcome)) == (
        2,
        f"CRITICAL - {{}} dane: {said}, so auth was not tried [{LOGIN}]",
    )
    assert "auth" not in outcome.times()


@pytest.mark.parametrize(
    ("name", "record", "connections"),
    [
        ("trusted", "3 1 1", 1),
        # Older Pythons cannot tell the whole chain, which this record is about.
        *([("anchored", "2 0 1", 2)] if KNOWS_CHAIN else []),
    ],
)
def test_a_password_is_shown_to_whom_a_record_names(
    world: World, name: str, record: str, connections: int
) -> None:
    """It is looked up once: what has vouched before the login is not asked again."""
    steps = (Expect(b"AUTH PLAIN AG1lAHNlY3JldA==\r\n"), b"235 in\r\n")
    again = (
        Sleep(0.5),
        Handshake(world.good),
        b"220 mx.test ESMTP\r\n",
        Expect(b"QUIT"),
        b"221 bye\r\n",
    )
    listening = ScriptedServer(greeted(world, *steps), address=LOGIN, port=world.port, later=again)
    with listening.running() as server:
        outcome = world.run(f"{name}.mail.test", *PASSWORD, "-vv")
    assert (server.faults, server.connections) == ([], connections)
    line = FINE.replace("3 1 1", f"{record}, logged in by PLAIN")
    assert (outcome.code, world.line(outcome)) == (0, line)
    assert outcome.stdout.count(f"TLSA {record}") == 1
    # What is asked of others meanwhile is no time of this server's.
    times = outcome.times()
    whole = times.pop("time")
    assert whole == pytest.approx(sum(times.values()), abs=0.2)
    moments = re.findall(r"^ *(\d+\.\d+) [*CS]: ", outcome.stdout, re.MULTILINE)
    assert max(map(float, moments)) == pytest.approx(whole, abs=0.01)


@pytest.mark.skipif(not KNOWS_CHAIN, reason="records of usage 2 need Python 3.10")
def test_no_password_is_shown_to_whom_another_one_vouches_for(world: World, tmp_path: Path) -> None:
    """Whoever stands in the middle may show an authority's certificate, and then step aside."""
    chain = tmp_path / "chain.pem"
    Authority.made(tmp_path, "forger").written(chain, "anchored.mail.test")
    issuer = world.chains[GOOD][1].public_bytes(Encoding.PEM)
    chain.write_bytes(chain.read_bytes() + issuer)
    forged = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    forged.load_cert_chain(chain)
    shown = (Handshake(forged), *greeted(world)[1:])
    again = (Handshake(world.good), *greeted(world)[1:2], Expect(b"QUIT"), b"221 bye\r\n")
    listening = ScriptedServer(shown, address=LOGIN, port=world.port, later=again)
    with listening.running() as server:
        outcome = world.run("anchored.mail.test", *PASSWORD)
    assert (server.faults, server.connections) == ([], 2)
    line = re.sub(r"[0-9a-f]{16}\.\.\.", "#", world.line(outcome))
    assert (outcome.code, line) == (
        2,
        "CRITICAL - {} dane: TLSA 2 0 1 #: the server showed another certificate when asked "
        "again, so auth was not tried, cause: certificate [127.0.0.4]",
    )


ROBBED = "dane: the MX set of dom.test is not DNSSEC-secure, so no TLSA record counts"
FORGED = "dane: the addresses of mx.test are not DNSSEC-secure, so no TLSA record counts"


@pytest.mark.parametrize(
    ("host", "changed", "said"),
    [
        ("mx.test", {}, ""),
        ("mx.test", {"A": Answer((f"A {LOGIN}",))}, f"{FORGED}, so auth was not tried"),
        ("dom.test", {"MX": Answer(("MX 10 mx.test.",))}, ROBBED),
        ("mx.test", {"TLSA": SILENCE}, "dane: TLSA of _PORT._tcp.mx.test: no answer within # s, "
         "so auth was not tried"),
    ],
)  # fmt: skip
def test_what_may_be_forged_is_told_no_password(
    world: World, host: str, changed: dict[str, Answer], said: str
) -> None:
    """Other questions are asked all the same, and have half of the time left."""
    secure = {
        "A": Answer((f"A {LOGIN}",), is_secure=True),
        "AAAA": Answer(is_secure=True),
        "MX": Answer(("MX 10 mx.test.",), is_secure=True),
        "TLSA": Answer((f"TLSA {tlsa(world.chains[GOOD][0], '3 1 1')}",), is_secure=True),
    } | changed
    names = {"MX": "dom.test", "TLSA": f"_{world.port}._tcp.mx.test"}
    answers = {(names.get(kind, "mx.test"), kind): answer for kind, answer in secure.items()}
    listed = ("4.0.0.127.list.test", "A"), ("2.0.0.127.list.test", "A")
    answers |= dict.fromkeys(listed, Answer(("A 127.0.0.2",)))
    steps = (Expect(b"AUTH PLAIN"), b"235 in\r\n") if not said else ()
    script = greeted(world, *steps)
    server = ScriptedServer(script, address=LOGIN, port=world.port)
    with server.running(), NameServer(answers).running() as resolver:
        outcome = plugin.run(
            *("-H", host, "-p", str(world.port), "--nameserver", resolver.nameserver),
            *("-F", "me.example", "-t", "2", "--ssl", "--dane", *PASSWORD),
            *("--dnsbl", "list.test", *(("--mx",) if host == "dom.test" else ())),
        )
    assert (server.faults, server.connections) == ([], 1)
    listing = "dnsbl: 127.0.0.4 is listed in list.test (127.0.0.2)"
    assert (outcome.code, outcome.line.count(listing)) == (2, 1)
    line = outcome.line.replace(f"_{world.port}", "_PORT")
    assert said in re.sub(r"within [0-9.]+ s", "within # s", line)


def test_expiry_can_be_ignored(world: World) -> None:
    outcome = world.run("expired.mail.test", "--ignore-certificate-expiration", "-v")
    assert outcome.code == (0 if KNOWS_CHAIN else 3)


@pytest.mark.parametrize("name", ["alias", "fallback", "away"])
def test_records_of_an_alias(world: World, name: str) -> None:
    """RFC 7672 section 2.2.2: what a secure alias leads to comes first, then the name itself."""
    outcome = world.run(f"{name}.mail.test")
    assert (outcome.code, world.line(outcome)) == (0, FINE)


def test_a_zone_that_is_not_signed(world: World) -> None:
    outcome = world.run("mx.plain.test")
    assert (outcome.code, world.line(outcome)) == (
        2,
        "CRITICAL - {} dane: the TLSA records at _PORT._tcp.mx.plain.test are not DNSSEC-secure "
        "[127.0.0.6]",
    )


def test_an_mx_set_that_is_not_secure(world: World) -> None:
    outcome = world.run("plain.test", "--mx")
    assert (outcome.code, world.line(outcome)) == (
        2,
        "CRITICAL - plain.test dane: the MX set of plain.test is not DNSSEC-secure, so no "
        "TLSA record counts, also {} dane: the TLSA records at _PORT._tcp.mx.plain.test are not "
        "DNSSEC-secure [127.0.0.6], 0 of 1 healthy",
    )


def test_a_zone_whose_signatures_are_broken(world: World) -> None:
    outcome = world.run("127.0.0.1", "--sni", "mx.bogus.test")
    assert (outcome.code, world.line(outcome)) == (
        2,
        "CRITICAL - {} dane: DNSSEC is broken at _PORT._tcp.mx.bogus.test: senders hold the mail "
        "back",
    )


def test_a_server_that_is_down(world: World) -> None:
    outcome = world.run("down.mail.test", "-v")
    assert (outcome.code, world.line(outcome)) == (
        2,
        "CRITICAL - {} connect: connection refused (after # s), cause: refused [127.0.0.9]",
    )
    assert "\ndane     [OK] TLSA 3 1 1 abababababababab...\n" in outcome.stdout


def test_nobody_answers(world: World) -> None:
    outcome = plugin.run(
        *("-H", "127.0.0.1", "-p", str(world.port), "--ssl", "--dane", "--sni", "mx.mail.test"),
        *("--nameserver", f"127.0.0.1:{free_port()}", "-t", "3"),
    )
    assert (outcome.code, world.line(outcome)) == (
        3,
        "UNKNOWN - {} dane: TLSA of _PORT._tcp.mx.mail.test: 127.0.0.1: connection refused",
    )


def test_an_answer_from_afar_proves_nothing(world: World, tmp_path: Path) -> None:
    outcome = plugin.run(
        *("-H", "mx.mail.test", "-p", str(world.port), "--ssl", "--dane"),
        prefix=network.private(tmp_path, resolver="192.0.2.53"),
    )
    assert (outcome.code, outcome.stdout, outcome.stderr) == (
        3,
        "SMTP UNKNOWN - --dane: needs a resolver that you trust for DNSSEC, on this host or given "
        "with --nameserver; /etc/resolv.conf has 192.0.2.53\n",
        "",
    )


def test_postfix_behind_starttls(tmp_path: Path) -> None:
    """The whole way that a sender goes: MX, DNSSEC, STARTTLS, and names that agree."""
    authority = Authority.made(tmp_path, "root")
    path = authority.written(tmp_path / "mail.pem", postfix.NAME)
    (certificate,) = x509.load_pem_x509_certificates(Path(path).read_bytes())
    settings = {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": path}
    with postfix.running(**settings) as server:
        domain = (
            "@ MX 10 mail\nmail A 127.0.0.2\n"
            f"_{server.port}._tcp.mail TLSA {tlsa(certificate, '3 1 1')}\n"
        )
        reverse = "2.0.0 PTR mail.example.org.\n"
        zero = ".0" * 19
        blocked = (
            "2.0.0.127 A 127.0.0.2\n9.2.0.192 A 127.0.0.4\n9.2.0.192 TXT spam\n"
            f"2.0.0.0.0.0.f.7.f.f.f.f{zero}.0 A 127.0.0.2\n"
            f"8.0.0.0{zero}.0.8.b.d.0.1.0.0.2 A 127.0.0.3\n"
        )
        with dns.running(
            Zone("example.org", domain, SIGNED),
            Zone("127.in-addr.arpa", reverse),
            Zone("bl.test", blocked),
        ) as names:
            outcome = plugin.run(
                *("-H", "example.org", "--mx", "-p", str(server.port), "-S", "--dane"),
                *("--reverse", "--nameserver", names.nameserver, "-4", "-v", "-c", "dnsbl=2"),
                *("--dnsbl", "bl.test/192.0.2.9", "--dnsbl", "bl.test/192.0.2.1"),
                *("--dnsbl", "bl.test/2001:db8::8"),
            )
    own = tlsa(certificate, "3 1 1")[6:22]
    assert (outcome.code, outcome.stderr) == (0, "")
    rows = [line for line in outcome.stdout.splitlines() if re.match("dane|dnsbl|reverse", line)]
    assert rows == [
        "dane     [OK] the MX set is DNSSEC-secure",
        "dnsbl    [OK] 192.0.2.9 is listed in bl.test (127.0.0.4): 'spam'",
        "dnsbl    [OK] 2001:db8::8 is listed in bl.test (127.0.0.3)",
        "dnsbl    [OK] 192.0.2.1 is not listed in bl.test",
        "dnsbl    [OK] 192.0.2.9 is not a public address, few lists know it",
        "dnsbl    [OK] 192.0.2.1 is not a public address, few lists know it",
        "dnsbl    [OK] 2001:db8::8 is not a public address, few lists know it",
        "reverse  [OK] 127.0.0.2 is mail.example.org",
        f"dane     [OK] TLSA 3 1 1 {own}... matches",
    ]


def test_a_record_of_an_authority_where_the_chain_is_not_known(world: World) -> None:
    leaf, issuer = (one.public_bytes(Encoding.DER) for one in world.chains[GOOD])
    anchor = Tlsa(2, 0, 1, hashlib.sha256(issuer).digest())

    def never(anchors: bytes) -> NoReturn:
        raise AssertionError(anchors)

    published = Published("mx.test", 25, (anchor,))
    shown = Shown(leaf, key_information(leaf))
    with pytest.raises(LocalFault) as raised:
        next(judge(published, [shown], never, is_whole=False))
    assert raised.value.problem == NO_CHAIN.partition(": ")[2]


def test_each_authority_is_tried_once(world: World) -> None:
    """A zone may have hundreds of records of one, and each trial is a connection to the server."""
    leaf, issuer = (one.public_bytes(Encoding.DER) for one in world.chains[GOOD])
    digests = (issuer, hashlib.sha256(issuer).digest(), hashlib.sha512(issuer).digest())
    records = tuple(Tlsa(2, 0, matching, data) for matching, data in enumerate(digests))
    tried = []

    def verify(der: bytes) -> Iterator[NoReturn]:
        tried.append(der)
        return iter(())

    judging = judge(
        Published("mx.test", 25, records),
        [Shown(leaf, None), Shown(issuer, None)],
        verify,  # type: ignore[arg-type]
        is_whole=True,
    )
    next(judging)
    with pytest.raises(StopIteration) as stopped:
        judging.send([Untrusted("certificate unknown issuer", "unknown issuer")])
    assert tried == [issuer]
    # Where there is SHA-512, SHA-256 counts for nothing.
    assert len(stopped.value.value.findings) == 2


def test_an_authority_s_certificate_that_cannot_be_read() -> None:
    with pytest.raises(Untrusted, match="the authority's certificate cannot be read"):
        Trust(TlsOptions(verify=False)).anchored(b"x")


@pytest.mark.parametrize("algorithm", ["RSA-PSS", "ED25519"])
def test_a_key_is_read_as_it_stands_there(tmp_path: Path, algorithm: str) -> None:
    """OpenSSL compares it byte by byte."""
    openssl, path = needs.program("openssl"), tmp_path / "leaf.pem"
    made = ("req", "-x509", "-newkey", algorithm, "-nodes", "-subj", "/CN=mx.test")
    subprocess.run(
        [openssl, *made, "-keyout", str(tmp_path / "key"), "-out", str(path)],
        check=True,
        capture_output=True,
    )
    read = [openssl, "x509", "-in", str(path), "-noout", "-pubkey"]
    key = subprocess.run(read, check=True, capture_output=True, text=True).stdout
    lines = [line for line in key.splitlines() if "-----" not in line]
    der = ssl.PEM_cert_to_DER_cert(path.read_text())
    assert key_information(der) == base64.b64decode("".join(lines))


def test_no_record_matches_a_key_that_cannot_be_read() -> None:
    def never(anchors: bytes) -> NoReturn:
        raise AssertionError(anchors)

    record = Tlsa(3, 1, 1, hashlib.sha256(b"").digest())
    assert key_information(b"x") is None
    with pytest.raises(StopIteration) as stopped:
        next(judge(Published("mx.test", 25, (record,)), [Shown(b"x", None)], never, is_whole=True))
    (finding,) = stopped.value.value.findings
    assert (finding.kind, finding.problem) == (
        "uncovered",
        f"the certificate matches no TLSA record at _25._tcp.mx.test: {record} "
        "(a certificate that the server shows cannot be read)",
    )


@pytest.mark.parametrize(
    ("package", "options", "problem"),
    [
        (
            "cryptography",
            ("--dane", "-S"),
            "--dane: needs the library cryptography to read the "
            "certificate: install python3-cryptography, or cryptography with pip",
        ),
        (
            "dns",
            ("--dane", "-S"),
            "--dane: needs the library dnspython: install python3-dnspython, or dnspython with pip",
        ),
        (
            "dns",
            ("--reverse", "--mta-sts"),
            "--reverse: needs the library dnspython: "
            "install python3-dnspython, or dnspython with pip",
        ),
        (
            "dns",
            ("--dnsbl", "bl.test"),
            "--dnsbl: needs the library dnspython: "
            "install python3-dnspython, or dnspython with pip",
        ),
        (
            "dns",
            ("--mta-sts",),
            "--mta-sts: needs the library dnspython: "
            "install python3-dnspython, or dnspython with pip",
        ),
    ],
)
def test_a_package_that_is_missing(
    tmp_path: Path, package: str, options: tuple[str, ...], problem: str
) -> None:
    (tmp_path / f"{package}.py").write_text("raise ImportError('not here')")
    outcome = plugin.run("-H", "mx.test", *options, environment={"PYTHONPATH": str(tmp_path)})
    assert (outcome.code, outcome.stdout, outcome.stderr) == (3, f"SMTP UNKNOWN - {problem}\n", "")
