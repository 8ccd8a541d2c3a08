"""DANE as Postfix does it: each row is compared with ``posttls-finger -l dane``, in the same world.

In a network of its own, Knot signs, Unbound validates, and servers listen on port 25. Both programs
ask the same resolver, and see the same certificates.
"""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests import needs, plugin
from tests.servers import dns, network, setns
from tests.servers.authority import Authority, self_signed
from tests.servers.dns import BOGUS, LAME, SIGNED, Zone, tlsa
from tests.servers.namespace import Namespace
from tests.servers.scripted import Expect, Handshake, ScriptedServer, Step

KNOWS_CHAIN = sys.version_info >= (3, 10)

HOST, OLD, OTHER, DOMAIN, TARGET, ALONE, DIRECT, SELF, NICK = (
    f"127.0.0.{number}" for number in range(2, 11)
)
"""Where servers are, an MX host at 127.0.0.1 would not be probed. Which certificates they show,
``world`` has."""

VERIFIED, UNTRUSTED, KEPT = "Verified", "Untrusted", "TLSA lookup error"
"""What Postfix says: it trusts the server, does not, or keeps the mail back."""

FINE = ""

NOTHING = "the certificate matches no TLSA record at _25._tcp.{0}.mail.test: {1}"
STRONG = NOTHING.replace("{1}", "3 1 2 #") + " (where there is SHA-512, senders ignore SHA-256)"
USELESS = "no TLSA record at _25._tcp.{0}.mail.test can be used for mail: {1}"
NONE = "no TLSA record at _25._tcp.{0}.mail.test"
NAMED = "TLSA {1}: the certificate is for other.example, not {0}.mail.test or {0}.dom.test"
KEPT_BACK = "senders hold the mail back"
FAILED = (
    "TLSA of _25._tcp.{0}.mail.test: SERVFAIL from 127.0.0.1, although the host has addresses: "
    f"{KEPT_BACK}"
)
BROKEN = f"DNSSEC is broken at _25._tcp.{{0}}.mail.test: {KEPT_BACK}"
INSECURE = "the addresses of {0}.plain.test are not DNSSEC-secure, so no TLSA record counts"

AB_256, AB_512 = "ab" * 32, "ab" * 64


@dataclass(frozen=True)
class Row:
    """A domain ``NAME.dom.test`` and its MX host, ``NAME.mail.test`` where it is not given.

    ``address`` is that host's, or what it is an alias of. ``records`` are its own: a kind as in
    ``3 1 1``, and whose certificate it is of, or its data. ``verdict`` is Postfix's; ``said`` what
    we say of DANE, ``{0}`` being the name, ``{1}`` the records.
    """

    name: str
    address: str
    records: tuple[str, ...]
    verdict: str
    said: str = FINE
    mx: str = ""


ROWS = (
    # Usage 3: neither name nor date counts.
    Row("ee", HOST, ("3 1 1 leaf",), VERIFIED),
    Row("ee-name", OTHER, ("3 0 2 other",), VERIFIED),
    Row("ee-date", OLD, ("3 1 1 old",), VERIFIED),
    Row("ee-whole", HOST, ("3 0 0 leaf",), VERIFIED),
    Row("ee-key", HOST, ("3 1 0 leaf",), VERIFIED),
    Row("ee-self", SELF, ("3 1 1 self",), VERIFIED),
    Row("ee-none", HOST, (f"3 1 1 {AB_256}",), UNTRUSTED, NOTHING),
    Row("ee-issuer", HOST, ("3 1 1 issuer",), UNTRUSTED, NOTHING),
    # Usage 2: something above the certificate, which the server shows,
    Row("ta", HOST, ("2 1 1 issuer",), VERIFIED),
    Row("ta-whole", HOST, ("2 0 0 issuer",), VERIFIED),
    Row("ta-key", HOST, ("2 1 0 issuer",), VERIFIED),
    # or which the record has as a whole,
    Row("root-whole", HOST, ("2 0 0 root",), VERIFIED),
    Row("root-key", HOST, ("2 1 0 root",), VERIFIED),
    Row("alone-whole", ALONE, ("2 0 0 issuer",), VERIFIED),
    Row("alone-key", ALONE, ("2 1 0 issuer",), VERIFIED),
    Row("direct-key", DIRECT, ("2 1 0 root",), VERIFIED),
    Row("foreign-whole", HOST, ("2 0 0 self",), UNTRUSTED, "TLSA {1}: certificate unknown issuer"),
    Row("foreign-key", HOST, ("2 1 0 self",), UNTRUSTED, NOTHING),
    # not just by its digest,
    Row("root-hash", HOST, ("2 1 1 root",), UNTRUSTED, NOTHING),
    Row("root-hash-2", HOST, ("2 0 2 root",), UNTRUSTED, NOTHING),
    Row("alone-hash", ALONE, ("2 1 1 issuer",), UNTRUSTED, NOTHING),
    # and not the certificate itself.
    Row("leaf-hash", HOST, ("2 1 1 leaf",), UNTRUSTED, NOTHING),
    Row("leaf-whole", HOST, ("2 0 0 leaf",), UNTRUSTED, NOTHING),
    Row("leaf-key", HOST, ("2 1 0 leaf",), UNTRUSTED, NOTHING),
    Row("self-hash", SELF, ("2 1 1 self",), UNTRUSTED, NOTHING),
    Row("self-whole", SELF, ("2 0 0 self",), UNTRUSTED, NOTHING),
    Row("self-key", SELF, ("2 1 0 self",), VERIFIED),
    # Its name is the host's or the domain's, and its date counts.
    Row("domain", DOMAIN, ("2 1 1 issuer",), VERIFIED),
    Row("domain-whole", DOMAIN, ("2 0 0 root",), VERIFIED),
    Row("domain-key", DOMAIN, ("2 1 0 root",), VERIFIED),
    Row("name", OTHER, ("2 1 1 issuer",), UNTRUSTED, NAMED),
    Row("name-whole", OTHER, ("2 0 0 root",), UNTRUSTED, NAMED),
    Row("name-key", OTHER, ("2 1 0 root",), UNTRUSTED, NAMED),
    Row("date", OLD, ("2 1 1 issuer",), UNTRUSTED, "TLSA {1}: certificate expired"),
    Row("date-key", OLD, ("2 1 0 root",), UNTRUSTED, "TLSA {1}: certificate expired"),
    # One record of several is enough,
    Row("one", HOST, (f"3 1 1 {AB_256}", "3 1 1 leaf"), VERIFIED),
    Row("one-ta", HOST, (f"3 1 1 {AB_256}", "2 1 1 issuer"), VERIFIED),
    Row("one-ee", OTHER, ("2 1 1 issuer", "3 1 1 other"), VERIFIED),
    # but where there is a strong digest, a weak one does not count,
    Row("weak", HOST, ("3 1 1 leaf", f"3 1 2 {AB_512}"), UNTRUSTED, STRONG),
    Row("weak-ta", HOST, ("2 0 1 issuer", f"2 0 2 {AB_512}"), UNTRUSTED,
        NOTHING.replace("{1}", "2 0 2 #")),
    Row("weak-other", HOST, ("3 0 1 leaf", f"3 1 2 {AB_512}"), VERIFIED),
    Row("weak-usage", HOST, ("3 1 1 leaf", f"2 1 2 {AB_512}"), VERIFIED),
    Row("weak-whole", HOST, ("3 1 0 leaf", f"3 1 2 {AB_512}"), VERIFIED),
    Row("weak-ta-whole", HOST, ("2 0 0 root", f"2 0 2 {AB_512}"), VERIFIED),
    Row("weak-only", HOST, ("3 1 1 leaf", "3 1 2 abab"), VERIFIED),
    # and these are none.
    Row("pkix", HOST, ("0 1 1 issuer", "1 1 1 leaf"), UNTRUSTED, USELESS),
    Row("odd", HOST, ("3 7 1 leaf", "3 1 9 leaf", "4 1 1 leaf"), UNTRUSTED, USELESS),
    Row("short", HOST, ("3 1 1 abab",), UNTRUSTED, USELESS),
    Row("garbled", HOST, ("2 0 0 3003abab", "2 1 0 3003abab", "3 0 0 00"), UNTRUSTED, USELESS),
    Row("none", HOST, (), UNTRUSTED, NONE),
    # Aliases: what they lead to comes first, where that is secure, and then the name itself.
    Row("alias", "target", (f"3 1 1 {AB_256}",), VERIFIED),
    Row("alias-own", "none", ("3 1 1 leaf",), VERIFIED),
    Row("alias-twice", "alias", (), VERIFIED),
    Row("alias-amid", "alias-own", (), UNTRUSTED, NONE),
    Row("alias-useless", "useless", ("3 1 1 leaf",), UNTRUSTED,
        "no TLSA record at _25._tcp.useless.mail.test can be used for mail: 1 1 1 #"),
    Row("alias-ta", "anchored", (), VERIFIED),
    Row("alias-ta-own", "bare", ("2 1 1 issuer",), UNTRUSTED,
        NAMED.replace("other.example", "target.mail.test, anchored.mail.test")),
    Row("alias-sni", "sni", (), VERIFIED),
    Row("alias-out", "out.plain.test.", ("3 1 1 leaf",), VERIFIED),
    Row("alias-out-none", "out.plain.test.", (), UNTRUSTED, NONE),
    Row("alias-lame", "lame", ("3 1 1 leaf",), KEPT, FAILED.replace("{0}", "lame")),
    Row("tlsa-alias", HOST, ("CNAME _dane",), VERIFIED),
    Row("tlsa-alias-out", HOST, ("CNAME _dane.plain.test.",), UNTRUSTED,
        "the TLSA records at _25._tcp.{0}.mail.test are not DNSSEC-secure"),
    # The domain may be an alias, too; both its names count.
    Row("nick", NICK, ("2 1 1 issuer",), VERIFIED),
    Row("real", NICK, ("2 0 0 root",), VERIFIED),
    # Hosts in a zone that is not signed, with records in one that is: nobody asks for these.
    Row("unsigned", "", (), UNTRUSTED, INSECURE, mx="unsigned.plain.test."),
    Row("unsigned-alias", "", (), UNTRUSTED, INSECURE, mx="unsigned-alias.plain.test."),
    # Questions without an answer.
    Row("lame", HOST, (), KEPT, FAILED),
    Row("bogus", HOST, (), KEPT, BROKEN),
)  # fmt: skip

MORE = f"""\
target A {TARGET}
_25._tcp.target TLSA {{target}}
anchored A {TARGET}
_25._tcp.anchored TLSA {{issuer}}
bare A {TARGET}
sni A {TARGET}
_25._tcp.sni TLSA {{leaf}}
useless A {HOST}
_25._tcp.useless TLSA 1 1 1 {AB_256}
_dane TLSA {{leaf}}
_25._tcp.bogus NS ns
_25._tcp.lame NS ns
"""
"""What else is in the signed zone: above all what aliases lead to."""

PLAIN = f"""\
out A {HOST}
unsigned A {HOST}
unsigned-alias CNAME ee.mail.test.
_dane TLSA {{leaf}}
"""
"""What is in the one that is not signed."""

ALIASES = {"nick": "nick CNAME called\ncalled", "real": "real CNAME named\nnamed"}
"""Domains that are aliases, up to where their MX record goes on."""


@dataclass(frozen=True)
class World:
    """What to put before a command that is to see this network, and its environment."""

    prefix: tuple[str, ...]
    environment: dict[str, str]

    def verdict(self, row: Row) -> str:
        """Return what Postfix says of a row."""
        command = [needs.program("posttls-finger"), "-c", "-l", "dane", "-o", "inet_protocols=ipv4"]
        done = subprocess.run(
            [*self.prefix, *command, f"{row.name}.dom.test"],
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment},
            check=False,
        )
        output = done.stdout + done.stderr
        found = re.search(r"(\w+) TLS connection established|(TLSA lookup error) for", output)
        assert found, output
        return found[1] or found[2]

    def said(self, row: Row) -> str:
        """Return what we say of DANE, where something is wrong with it."""
        done = plugin.run(
            *("-H", f"{row.name}.dom.test", "--mx", "-S", "--dane", "--nameserver", "127.0.0.1"),
            *("-F", "me.example", "-v"),
            prefix=self.prefix,
        )
        assert done.stderr == ""
        said = re.findall(r"^dane +\[CRITICAL\] (.*)$", done.stdout, re.M)
        is_alias = "is an alias (CNAME)" in done.line
        assert done.code == (2 if said else 1 if is_alias else 0), done
        return re.sub(r"\b(\d \d \d) [0-9a-f]+(?:\.\.\.)?", r"\1 #", ", ".join(said))


def script(context: ssl.SSLContext) -> tuple[Step, ...]:
    """Return the session of a server, as both programs have it."""
    return (
        b"220 mx.test ESMTP\r\n",
        Expect(b"EHLO"),
        b"250-mx.test\r\n250 STARTTLS\r\n",
        Expect(b"STARTTLS"),
        b"220 go\r\n",
        Handshake(context),
        Expect(b"EHLO"),
        b"250 mx.test\r\n",
        Expect(b"QUIT"),
        b"221 bye\r\n",
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    needs.program("posttls-finger")
    folder = tmp_path_factory.mktemp("as-postfix")
    namespace = Namespace()
    with ExitStack() as stack:
        stack.callback(namespace.close)
        certificates, servers = shown(folder)
        zones = (
            Zone("mail.test", hosts(certificates), SIGNED),
            Zone("dom.test", "".join(map(domain, ROWS)), SIGNED),
            Zone("plain.test", filled(PLAIN, certificates)),
            Zone("_25._tcp.unsigned.plain.test", filled("@ TLSA {leaf}\n", certificates), SIGNED),
            Zone("_25._tcp.bogus.mail.test", f"@ TLSA 3 1 1 {AB_256}\n", BOGUS),
            Zone("_25._tcp.lame.mail.test", "", LAME),
        )
        with namespace.entered():
            for address, context in servers.items():
                server = ScriptedServer(script(context), address=address, port=25)
                stack.enter_context(server.running())
            stack.enter_context(dns.running(*zones, port=53))
        (folder / "main.cf").write_text("compatibility_level = 3.6\n")
        prefix = (*namespace.prefix, *network.private(folder, resolver="127.0.0.1"))
        prefix = stack.enter_context(setns.standing(prefix))
        yield World(prefix, {"MAIL_CONFIG": str(folder)})


def shown(folder: Path) -> tuple[dict[str, x509.Certificate], dict[str, ssl.SSLContext]]:
    """Return certificates by name, and what the servers show by address."""
    root = Authority.made(folder, "root")
    issuer = root.child()
    contexts = {
        HOST: issuer.written(folder / "leaf", "*.mail.test"),
        OLD: issuer.written(folder / "old", "*.mail.test", days=-3),
        OTHER: issuer.written(folder / "other", "other.example"),
        DOMAIN: issuer.written(folder / "domain", "*.dom.test"),
        TARGET: issuer.written(folder / "target", "target.mail.test", "anchored.mail.test"),
        DIRECT: root.written(folder / "direct", "*.mail.test"),
        NICK: issuer.written(folder / "nick", "nick.dom.test", "named.dom.test"),
    }
    servers = {address: serving(path) for address, path in contexts.items()}
    servers[SELF] = self_signed(folder, "*.mail.test")
    whole = (folder / "leaf").read_bytes()
    # The key, the certificate, and no more.
    (folder / "alone").write_bytes(whole[: whole.rindex(b"-----BEGIN CERTIFICATE")])
    servers[ALONE] = serving(folder / "alone")

    def by_name(connection: ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        if name == "sni.mail.test":
            connection.context = servers[HOST]

    servers[TARGET].sni_callback = by_name  # type: ignore[assignment]
    certificates = {
        name: x509.load_pem_x509_certificates((folder / file).read_bytes())[0]
        for name, file in (
            *((name, name) for name in ("leaf", "old", "other", "target")),
            *(("root", "root.pem"), ("self", "self-signed.pem")),
        )
    }
    certificates["issuer"] = x509.load_pem_x509_certificates(whole)[1]
    return certificates, servers


def serving(path: str | Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def filled(lines: str, certificates: dict[str, x509.Certificate]) -> str:
    """Return lines of a zone, with the record in place of a certificate's name in braces."""
    kinds = {name: "2 1 1" if name in ("issuer", "root") else "3 1 1" for name in certificates}
    return lines.format(**{name: tlsa(one, kinds[name]) for name, one in certificates.items()})


def hosts(certificates: dict[str, x509.Certificate]) -> str:
    """Return the lines of the signed zone."""
    lines = [filled(MORE, certificates)]
    for row in ROWS:
        if row.address:
            kind = "A" if row.address[0].isdigit() else "CNAME"
            lines.append(f"{row.name} {kind} {row.address}\n")
        for record in row.records:
            kind, _, of = record.rpartition(" ")
            data = record if kind == "CNAME" else f"TLSA {record}"
            if of in certificates:
                data = f"TLSA {tlsa(certificates[of], kind)}"
            lines.append(f"_25._tcp.{row.name} {data}\n")
    return "".join(lines)


def domain(row: Row) -> str:
    """Return the lines of a domain."""
    return f"{ALIASES.get(row.name, row.name)} MX 10 {row.mx or f'{row.name}.mail.test.'}\n"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row(world: World, row: Row) -> None:
    """Postfix trusts the server exactly where we find nothing wrong."""
    assert world.verdict(row) == row.verdict
    assert (row.verdict == VERIFIED) == (row.said == FINE)
    if KNOWS_CHAIN or not any(record.startswith("2") for record in row.records):
        kinds = sorted(record[:5] for record in row.records)
        assert world.said(row) == row.said.format(row.name, ", ".join(f"{one} #" for one in kinds))
