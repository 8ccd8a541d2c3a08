"""Real DNS for one test: Knot has the zones and signs them, Unbound resolves and validates."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests import needs
from tests.servers.loopback import free_port
from tests.servers.process import started

SIGNED, UNSIGNED, BOGUS, LAME = "signed", "unsigned", "bogus", "lame"

_HAS_KEY = (SIGNED, BOGUS)

HEAD = """\
$TTL 60
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
"""
"""What every zone begins with."""

KNOT = """\
server:
    listen: 127.0.0.1@{port}
    rundir: {directory}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: warning
database:
    storage: {directory}/keys
policy:
  - id: quick
    algorithm: ecdsap256sha256
    single-type-signing: on
template:
  - id: default
    storage: {directory}
    file: zone-%s
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
zone:
"""

UNBOUND = """\
server:
    interface: 127.0.0.1
    port: {port}
    username: ""
    chroot: ""
    directory: {directory}
    pidfile: ""
    use-syslog: no
    logfile: ""
    do-daemonize: no
    do-ip6: no
    do-not-query-localhost: no
    module-config: "{modules}"
    trust-anchor-signaling: no
    # The clock of a test machine may be anywhere.
    val-override-date: "-1"
    harden-large-queries: no
    # It would answer for these by itself.
    unblock-lan-zones: yes
    local-zone: test. nodefault
    local-zone: 127.in-addr.arpa. nodefault
remote-control:
    control-enable: no
"""


@dataclass(frozen=True)
class Zone:
    """A zone and its records, as a master file has them; a name without final dot is below it.

    ``kind`` is ``SIGNED``; ``UNSIGNED``; ``BOGUS``: signed, but by a key that does not fit the
    trust anchor, as when a key was changed and its parent not told; or ``LAME``: its server has
    no zone, and answers SERVFAIL.
    """

    name: str
    records: str
    kind: str = UNSIGNED


@dataclass(frozen=True)
class Dns:
    """The resolver as ``--nameserver`` takes it, and the port of the server behind it."""

    nameserver: str
    port: int
    authority_port: int


@contextlib.contextmanager
def running(*given: Zone, port: int = 0, validates: bool = True) -> Iterator[Dns]:
    """Serve these zones and the root, and a resolver that trusts the keys of the signed ones.

    One that does not validate asks and is told the same, but says of no answer that it is secure.
    """
    knotd, unbound = needs.program("knotd"), needs.program("unbound")
    zones = (_root(given), *given)
    with tempfile.TemporaryDirectory(prefix="dns-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        served = Dns("", port or free_port(), free_port())
        _configure_knot(directory, zones, served.authority_port)
        command = [knotd, "-c", str(directory / "knot.conf")]
        stack.enter_context(
            started(
                command,
                directory / "knot.log",
                lambda: all(
                    _answers(served.authority_port, zone.name)
                    for zone in zones
                    if zone.kind != LAME
                ),
            )
        )
        _configure_unbound(directory, zones, served, validates=validates)
        command = [unbound, "-d", "-c", str(directory / "unbound.conf")]
        stack.enter_context(
            started(
                command,
                directory / "unbound.log",
                lambda: _answers(served.port, "localhost"),
            )
        )
        yield Dns(f"127.0.0.1:{served.port}", served.port, served.authority_port)


def _root(zones: tuple[Zone, ...]) -> Zone:
    """Return the root, which is signed, and says which zones are not."""
    unsigned = [zone.name for zone in zones if zone.kind == UNSIGNED]
    return Zone(".", "".join(f"{name}. NS ns.{name}.\n" for name in unsigned), SIGNED)


def _configure_knot(directory: Path, zones: tuple[Zone, ...], port: int) -> None:
    (directory / "keys").mkdir()
    lines = [KNOT.format(port=port, directory=directory)]
    for zone in zones:
        if zone.kind != LAME:
            (directory / f"zone-{zone.name}").write_text(HEAD + zone.records)
        lines.append(f"  - domain: {zone.name}\n    file: zone-{zone.name}\n")
        if zone.kind in _HAS_KEY:
            lines.append("    dnssec-signing: on\n    dnssec-policy: quick\n")
    (directory / "knot.conf").write_text("".join(lines))


def _configure_unbound(
    directory: Path, zones: tuple[Zone, ...], served: Dns, *, validates: bool
) -> None:
    anchors = [
        f"    trust-anchor: '{_anchor(zone, served)}'\n" for zone in zones if zone.kind in _HAS_KEY
    ]
    stubs = [
        f"stub-zone:\n    name: '{zone.name}'\n    stub-addr: 127.0.0.1@{served.authority_port}\n"
        for zone in zones
    ]
    head, remote, tail = UNBOUND.partition("remote-control:")
    modules = "validator iterator" if validates else "iterator"
    text = head.format(port=served.port, directory=directory, modules=modules)
    (directory / "unbound.conf").write_text("".join([text, *anchors, remote, tail, *stubs]))


def _anchor(zone: Zone, served: Dns) -> str:
    if zone.kind == BOGUS:
        return f"{zone.name}. DS 1 13 2 {'00' * 32}"
    question = dns.message.make_query(zone.name, "DNSKEY")
    reply = dns.query.tcp(question, "127.0.0.1", 5, served.authority_port)
    return reply.answer[0].to_text().replace(" IN ", " ")


def tlsa(certificate: x509.Certificate, kind: str) -> str:
    """Return a TLSA record for a certificate; ``kind`` as in ``3 1 1``."""
    _, selector, matching = kind.split()
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    data = key if selector == "1" else certificate.public_bytes(Encoding.DER)
    digests = {"0": data, "1": hashlib.sha256(data).digest(), "2": hashlib.sha512(data).digest()}
    return f"{kind} {digests.get(matching, data).hex()}"


def _answers(port: int, name: str) -> bool:
    question = dns.message.make_query(name, "SOA")
    try:
        reply = dns.query.udp(question, "127.0.0.1", 0.2, port)
    except (dns.exception.DNSException, OSError):
        return False
    return reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
