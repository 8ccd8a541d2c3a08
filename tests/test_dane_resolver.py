"""DANE by a resolver that does not validate: that is our trouble, not the server's."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests import plugin
from tests.plugin import Outcome
from tests.servers import dns, network
from tests.servers.authority import Authority
from tests.servers.dns import SIGNED, Zone, tlsa
from tests.servers.name_server import Answer, NameServer, fails
from tests.servers.namespace import Namespace
from tests.servers.scripted import Expect, Handshake, ScriptedServer, Step

RESOLVER = "127.0.0.60"

MX = "127.0.0.2"
"""Where the mail server is: an MX host at 127.0.0.1 would not be probed."""

BLIND = "the resolver 127.0.0.1 does not validate DNSSEC (no AD, not even for the root)"


@dataclass(frozen=True)
class World:
    """A mail server, mx.mail.test, and the TLSA record of its certificate."""

    port: int
    record: str

    def check(self, host: str, nameserver: str, *arguments: str) -> tuple[int, str]:
        """Return exit code and status line, the port masked."""
        return self.masked(plugin.run(*self.command(host), "--nameserver", nameserver, *arguments))

    def command(self, host: str) -> tuple[str, ...]:
        """Return the options that all have in common."""
        return ("-H", host, "-p", str(self.port), "-F", "me.example", "--ssl", "--dane")

    def masked(self, outcome: Outcome) -> tuple[int, str]:
        """Return what is asserted of an outcome."""
        assert outcome.stderr == ""
        return outcome.code, outcome.line.replace(f":{self.port}", "").replace(
            f"_{self.port}", "_25"
        )

    @property
    def zones(self) -> tuple[Zone, ...]:
        """A signed zone, all of which is right."""
        records = f"@ MX 10 mx\nmx A {MX}\n_{self.port}._tcp.mx TLSA {self.record}\n"
        return (Zone("mail.test", records, SIGNED),)

    def answers(self, *secure: str) -> dict[tuple[str, str], Answer]:
        """Return what a scripted resolver says; what it calls secure are records of these types."""
        known = {
            ("mail.test", "MX"): "MX 10 mx.mail.test.",
            ("mx.mail.test", "A"): f"A {MX}",
            (f"_{self.port}._tcp.mx.mail.test", "TLSA"): f"TLSA {self.record}",
        }
        return {key: Answer((text,), is_secure=key[1] in secure) for key, text in known.items()}


def script(context: ssl.SSLContext) -> tuple[Step, ...]:
    """Return the session of a healthy server."""
    hello = (b"220 mx.test ESMTP\r\n", Expect(b"HELO"), b"250 mx.test\r\n")
    return (Handshake(context), *hello, Expect(b"QUIT"), b"221 bye\r\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("blind")
    path = Authority.made(folder, "root").written(folder / "leaf", "mx.mail.test")
    (leaf,) = x509.load_pem_x509_certificates(Path(path).read_bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with ScriptedServer(script(context), address=MX).running() as server:
        yield World(server.port, tlsa(leaf, "3 1 1"))


def test_a_resolver_that_does_not_validate(world: World) -> None:
    with dns.running(*world.zones, validates=False) as names:
        assert world.check("mx.mail.test", names.nameserver) == (
            3,
            f"SMTP UNKNOWN - mx.mail.test dane: {BLIND} [{MX}]",
        )
        # Of a domain it is said once.
        assert world.check("mail.test", names.nameserver, "--mx") == (
            3,
            f"SMTP UNKNOWN - mail.test dane: {BLIND}, 1 of 1 healthy",
        )


def test_the_system_s_resolver_does_not_validate(world: World, tmp_path: Path) -> None:
    """It is the one that is named, and none of its answers is taken for secure."""
    namespace = Namespace()
    with ExitStack() as stack:
        stack.callback(namespace.close)
        with namespace.entered():
            answers = world.answers() | {(".", "SOA"): Answer(("SOA a. b. 1 2 3 4 5",))}
            resolver = NameServer(answers, address=RESOLVER, port=53)
            stack.enter_context(resolver.running())
        outcome = plugin.run(
            *world.command("mx.mail.test"),
            prefix=(*namespace.prefix, *network.private(tmp_path, resolver=RESOLVER)),
        )
    # There is no server in that network, which is told besides.
    assert world.masked(outcome) == (
        2,
        "SMTP CRITICAL - mx.mail.test connect: connection refused (after # s), cause: refused, "
        f"also dane: {BLIND.replace('127.0.0.1', RESOLVER)} [{MX}]",
    )


LOOSE_MX = "the MX set of mail.test is not DNSSEC-secure, so no TLSA record counts"
LOOSE = "the TLSA records at _25._tcp.mx.mail.test are not DNSSEC-secure"
LOOSE_A = "the addresses of mx.mail.test are not DNSSEC-secure, so no TLSA record counts"


@pytest.mark.parametrize(
    ("secure", "root", "code", "said"),
    [
        ((), None, 3, f"UNKNOWN - mail.test dane: {BLIND}, 1 of 1 healthy"),
        # One secure answer is proof that the resolver validates,
        (
            ("MX",),
            None,
            2,
            f"CRITICAL - mx.mail.test dane: {LOOSE} [{MX}], 0 of 1 healthy",
        ),
        (
            ("MX", "TLSA"),
            None,
            2,
            f"CRITICAL - mx.mail.test dane: {LOOSE_A} [{MX}], 0 of 1 healthy",
        ),
        (("A", "TLSA"), None, 2, f"CRITICAL - mail.test dane: {LOOSE_MX}, 1 of 1 healthy"),
        # and where nobody knows the root there is none against it.
        (
            (),
            fails("SERVFAIL"),
            2,
            f"CRITICAL - mail.test dane: {LOOSE_MX}, also mx.mail.test dane: {LOOSE} [{MX}], "
            "0 of 1 healthy",
        ),
    ],
)
def test_what_is_not_secure(
    world: World, secure: tuple[str, ...], root: Answer | None, code: int, said: str
) -> None:
    answers = world.answers(*secure)
    if root is not None:
        answers[".", "SOA"] = root
    with NameServer(answers).running() as resolver:
        assert world.check("mail.test", resolver.nameserver, "--mx") == (code, f"SMTP {said}")


FAILS = fails("SERVFAIL")
ALIAS = Answer(("CNAME real.mail.test.", f"real.mail.test: A {MX}"))


@pytest.mark.parametrize(
    ("host", "code", "said"),
    [
        (
            {"A": FAILS, "AAAA": FAILS},
            2,
            "CRITICAL - mx.mail.test resolve: AAAA of mx.mail.test: SERVFAIL from 127.0.0.1 "
            "(after # s), cause: unresolvable, also dane: AAAA of mx.mail.test: SERVFAIL from "
            "127.0.0.1",
        ),
        (
            {"A": ALIAS, "CNAME": FAILS},
            3,
            f"UNKNOWN - mx.mail.test dane: CNAME of mx.mail.test: SERVFAIL from 127.0.0.1 [{MX}]",
        ),
        ({"A": ALIAS, "CNAME": Answer()}, 2, f"CRITICAL - mx.mail.test dane: {LOOSE_A} [{MX}]"),
    ],
    ids=["no address", "no word on the alias", "an alias that is not secure"],
)
def test_what_is_not_known_of_the_host(
    world: World, host: dict[str, Answer], code: int, said: str
) -> None:
    """Which records count depends on how its addresses are known."""
    answers = {("mx.mail.test", kind): answer for kind, answer in host.items()}
    with NameServer({**world.answers("TLSA"), **answers}).running() as resolver:
        assert world.check("mx.mail.test", resolver.nameserver) == (code, f"SMTP {said}")
