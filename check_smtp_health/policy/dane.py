"""Whether TLSA records vouch for the certificate that a server shows (RFC 7672, RFC 6698)."""

from __future__ import annotations

import functools
import hashlib

from check_smtp_health.errors import (
    DnsUnanswered,
    Insecure,
    LocalFault,
    NoPolicy,
    PeerFault,
    UsageFault,
)
from check_smtp_health.escaping import printable, quoted
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.certificate import key_information
from check_smtp_health.net.dns import ask, together
from check_smtp_health.report import Finding, PolicyResult
from check_smtp_health.stages.encryption import verify_again

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Union

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.dns import Records, Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.policy.mx import MxSet
    from check_smtp_health.report import Host
    from check_smtp_health.stages.state import ProbeState

    Answer = Union[Records, PeerFault]
    Verify = Callable[[bytes, str], Procedure[None]]

TRUST_ANCHOR, END_ENTITY = 2, 3
"""The usages that a mail server's record may have (RFC 7672 section 3.1)."""

WHOLE, KEY = 0, 1
"""The selectors: the certificate, or its SubjectPublicKeyInfo alone (RFC 6698 section 2.1.2)."""

_DIGESTS = {1: "sha256", 2: "sha512"}

DIGITS_SHOWN = 16


class Tlsa(NamedTuple):
    """A TLSA record (RFC 6698 section 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        digits = self.data.hex()
        dots = "..." if len(digits) > DIGITS_SHOWN else ""
        return f"{self.usage} {self.selector} {self.matching} {digits[:DIGITS_SHOWN]}{dots}"


class Published(NamedTuple):
    """The TLSA records of a server, and the name that they are under, ``_25._tcp`` left out."""

    name: str
    port: int
    records: tuple[Tlsa, ...]

    @property
    def owner(self) -> str:
        """The name that they are under, whole."""
        return _owner(self.port, self.name)


class Shown(NamedTuple):
    """A certificate that a server showed (DER), and its key information, where that is readable."""

    der: bytes
    key: bytes | None


def prepare(values: Sequence[str], settings: Settings, servers: Servers) -> Servers:
    """Return whom to ask.

    Raises:
        UsageFault: there is no TLS, no name to ask about, or no resolver whose word counts.
    """
    tls = settings.tls
    if not tls.mode:
        raise UsageFault("dane", "needs TLS, add -S or --ssl")
    if not tls.verify:
        raise UsageFault("dane", "cannot be combined with --no-verify")
    if tls.sni is None:
        for host in settings.endpoint.hosts:
            if host.kind != "name":
                problem = f"{quoted(host.given)} is not a name that DNS knows, add --sni NAME"
                raise UsageFault("dane", problem)
    if not servers.are_trusted:
        others = ", ".join(address.host for address in servers.addresses)
        raise UsageFault(
            "dane",
            f"needs a resolver whose word on DNSSEC counts, on this host or by --nameserver; "
            f"/etc/resolv.conf has {others}",
        )
    return servers


def check(servers: Servers, state: ProbeState) -> Procedure[PolicyResult | None]:
    """Hold the certificates that the server showed against its TLSA records."""
    host = state.target.host
    name = host.dns_name if host.kind == "name" else state.target.server_name
    assert name is not None
    published = yield from look_up(servers, name, state.settings.endpoint.port)
    tls = state.connection.tls
    if tls is None:
        # There was no handshake, which its stage tells.
        return PolicyResult("dane", notes=tuple(f"TLSA {record}" for record in published.records))
    chain = [Shown(der, key_information(der)) for der in tls.chain or (tls.certificate,)]
    verify = functools.partial(verify_again, state)
    result = yield from judge(published, chain, verify, is_whole=bool(tls.chain))
    # Where all certificates are looked at, each is said to match what it matches.
    return result._replace(notes=()) if state.settings.tls.all_certificates else result


def look_up(servers: Servers, host: str, port: int) -> Procedure[Published]:
    """Return the TLSA records of a server, of those of its name and its alias that count.

    Raises:
        NoPolicy: there is none.
        Insecure: DNSSEC does not vouch for them.
        DnsUnanswered: nobody tells.
    """
    own, *addresses = yield from together(
        [
            ask(servers, _owner(port, host), "TLSA"),
            ask(servers, host, "A"),
            ask(servers, host, "AAAA"),
        ]
    )
    alias = _alias(host, addresses)
    if alias:
        # RFC 7672 section 2.2.2: the name that the alias leads to comes first.
        (other,) = yield from together([ask(servers, _owner(port, alias), "TLSA")])
        if isinstance(other, PeerFault) or other.values:
            return (yield from _accepted(servers, other, alias, port))
    published = yield from _accepted(servers, own, host, port)
    yield from _need_secure(servers, host, addresses)
    return published


def of_domain(domain: Host, found: MxSet) -> PolicyResult:
    """Say whether senders use TLSA records at all (RFC 7672 section 2.2.1)."""
    if found.is_secure:
        return PolicyResult("dane", notes=("the MX set is DNSSEC-secure",))
    problem = f"the MX set of {domain.given} is not DNSSEC-secure, so that no TLSA record counts"
    return PolicyResult("dane", (Finding("insecure", problem),))


def _owner(port: int, name: str) -> str:
    return f"_{port}._tcp.{name}"


def _alias(host: str, addresses: Sequence[Answer]) -> str:
    """Return the name that the host is a secure alias of, if it is one."""
    for answer in addresses:
        if not isinstance(answer, PeerFault) and answer.is_secure and answer.values:
            name = plain_name(answer.canonical)
            return "" if name == plain_name(host) else name
    return ""


def _need_secure(servers: Servers, host: str, addresses: Sequence[Answer]) -> Procedure[None]:
    """See to it that the addresses are secure, or that an alias at the name is (section 2.2.2).

    Raises:
        Insecure: neither is, so that no sender looks at the TLSA records.
        DnsUnanswered: nobody tells.
    """
    known = [one for one in addresses if not isinstance(one, PeerFault)]
    if not known:
        assert isinstance(addresses[0], PeerFault)
        raise addresses[0]
    doubtful = [one for one in known if one.values and not one.is_secure]
    if not doubtful:
        return
    if any(plain_name(one.canonical) != plain_name(host) for one in doubtful):
        (alias,) = yield from together([ask(servers, host, "CNAME")])
        if isinstance(alias, PeerFault):
            raise alias
        if alias.is_secure:
            return
    raise Insecure(
        f"the addresses of {printable(host)} are not DNSSEC-secure, so that no TLSA record counts"
    )


def _accepted(servers: Servers, answer: Answer, name: str, port: int) -> Procedure[Published]:
    owner = _owner(port, name)
    if isinstance(answer, DnsUnanswered):
        # A resolver that validates withholds what is forged; asked not to, it tells.
        (unchecked,) = yield from together([ask(servers, owner, "TLSA", unchecked=True)])
        if not isinstance(unchecked, PeerFault):
            raise Insecure(f"DNSSEC is broken at {printable(owner)}: senders keep the mail back")
    if isinstance(answer, PeerFault):
        raise answer
    if not answer.values:
        raise NoPolicy(f"no TLSA record at {printable(owner)}")
    if not answer.is_secure:
        raise Insecure(f"the TLSA records at {printable(owner)} are not DNSSEC-secure")
    records = [Tlsa(one.usage, one.selector, one.mtype, one.cert) for one in answer.values]
    return Published(name, port, tuple(sorted(records)))


def judge(
    published: Published, chain: Sequence[Shown], verify: Verify, *, is_whole: bool
) -> Procedure[PolicyResult]:
    """Hold the chain that a server showed, its own certificate first, against the records.

    ``verify`` has the server's certificate verified again, with the certificate that it is given
    (DER) as the only trust anchor, for a name, and raises where it is rejected; ``is_whole`` says
    that the chain is complete.

    Raises:
        NoPolicy: no record is of a kind that mail clients mind.
        LocalFault: the chain is needed and not known.
    """
    usable = [one for one in published.records if _is_usable(one)]
    if not usable:
        listed = ", ".join(map(str, published.records))
        raise NoPolicy(f"no TLSA record at {published.owner} can be used for mail: {listed}")
    findings: list[Finding] = []
    matched: list[Tlsa] = []
    for record in usable:
        anchors = _matching(record, chain)
        if anchors and record.usage == END_ENTITY:
            matched.append(record)
        elif anchors:
            (fault,) = yield from together([verify(anchors[0].der, published.name)])
            if fault is None:
                matched.append(record)
            else:
                findings.append(Finding(fault.kind, f"TLSA {record}: {fault.problem}"))
    notes = tuple(_note(record, usable, matched) for record in published.records)
    if matched:
        is_pinned = any(record.usage == END_ENTITY for record in matched)
        held = f"DANE {matched[0].usage} {matched[0].selector} {matched[0].matching}"
        return PolicyResult("dane", (), notes, is_pinned=is_pinned, held=held)
    if not (findings or is_whole) and any(one.usage == TRUST_ANCHOR for one in usable):
        raise LocalFault("TLSA records of usage 2 need Python 3.10, which can tell the whole chain")
    if not findings:
        listed = ", ".join(map(str, usable))
        problem = f"the certificate matches no TLSA record at {published.owner}: {listed}"
        if any(shown.key is None for shown in chain):
            problem += " (a certificate that the server shows cannot be read)"
        findings.append(Finding("uncovered", problem))
    return PolicyResult("dane", tuple(findings), notes)


def _is_usable(record: Tlsa) -> bool:
    return (
        record.usage in (TRUST_ANCHOR, END_ENTITY)
        and record.selector in (WHOLE, KEY)
        and record.matching in (0, *_DIGESTS)
    )


def _matching(record: Tlsa, chain: Sequence[Shown]) -> list[Shown]:
    """Return those of the certificates that a record may stand for and does."""
    candidates = chain[:1] if record.usage == END_ENTITY else chain[1:]
    return [one for one in candidates if _matches(record, one)]


def _matches(record: Tlsa, shown: Shown) -> bool:
    data = shown.der if record.selector == WHOLE else shown.key
    if data is None:
        return False  # what cannot be read cannot be judged
    digest = _DIGESTS.get(record.matching)
    return record.data == (hashlib.new(digest, data).digest() if digest else data)


def _note(record: Tlsa, usable: Sequence[Tlsa], matched: Sequence[Tlsa]) -> str:
    if record in matched:
        return f"TLSA {record} matches"
    return f"TLSA {record} {'matches nothing' if record in usable else 'cannot be used for mail'}"
