"""Whether TLSA records match the certificate that a server shows (RFC 7672, RFC 6698)."""

from __future__ import annotations

import functools
import hashlib

from check_smtp_health.config import hosts
from check_smtp_health.errors import LocalFault, PeerFault, Untrusted, UsageFault
from check_smtp_health.faults import NoPolicy, NotValidating
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.certificate import host_names, is_for, key_information
from check_smtp_health.net.dns import ask
from check_smtp_health.net.operations import together
from check_smtp_health.policy.tlsa import Published, Tlsa, look_up, need_validation
from check_smtp_health.report import Finding, PolicyResult
from check_smtp_health.stages.encryption import listed, look_again, verify_again

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.certificate import Handshake
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.policy.mx import MxSet
    from check_smtp_health.report import Host
    from check_smtp_health.stages.state import ProbeState

    Verify = Callable[[bytes], Procedure[None]]

TRUST_ANCHOR, END_ENTITY = 2, 3
"""The usages that a mail server's record may have (RFC 7672 section 3.1)."""

WHOLE, KEY = 0, 1
"""The selectors: the certificate, or its SubjectPublicKeyInfo alone (RFC 6698 section 2.1.2)."""

_DIGESTS = {1: "sha256", 2: "sha512"}


class Shown(NamedTuple):
    """A certificate that a server showed (DER), and its key information, where that is readable."""

    der: bytes
    key: bytes | None


def prepare(values: Sequence[str], settings: Settings, servers: Servers) -> Servers:
    """Return whom to ask.

    Raises:
        UsageFault: there is no TLS, no name to ask about, or no resolver that can be trusted.
    """
    tls = settings.tls
    if not tls.mode:
        raise UsageFault("dane", "needs TLS, add -S or --ssl")
    if not tls.verify:
        raise UsageFault("dane", "cannot be combined with --no-verify")
    if tls.sni is None:
        for host in settings.endpoint.hosts:
            if host.kind != "name":
                problem = f"{hosts.not_a_domain(host)}, add --sni NAME"
                raise UsageFault("dane", problem)
    if not servers.are_trusted:
        others = ", ".join(address.host for address in servers.addresses)
        raise UsageFault(
            "dane",
            f"needs a resolver that you trust for DNSSEC, on this host or given with --nameserver; "
            f"/etc/resolv.conf has {others}",
        )
    return servers


def check(servers: Servers, state: ProbeState) -> Procedure[PolicyResult | None]:
    """Hold the certificates that the server showed against its TLSA records."""
    result = yield from hold(servers, state, "the certificate")
    # Where all certificates are looked at, each is said to match what it matches.
    return result._replace(notes=()) if state.settings.policies.asks("all-certificates") else result


def hold(servers: Servers, state: ProbeState, subject: str) -> Procedure[PolicyResult]:
    """Hold a certificate that the server showed, named ``subject``, against its TLSA records."""
    host, endpoint, target = state.target.host, state.settings.endpoint, state.target
    name = host.dns_name if host.kind == "name" else target.server_name
    assert name is not None
    # That a secure MX set led here shows that somebody validates.
    validates = target.next_hops is not None and not target.is_doubted
    try:
        published = yield from look_up(
            servers, name, endpoint.port, endpoint.family, validates=validates
        )
    except NotValidating as fault:
        if target.is_doubted:
            return PolicyResult("dane", notes=(fault.sentence,))  # said of the domain already
        raise
    tls = state.connection.tls
    if tls is None:
        # There was no handshake, which its stage tells.
        return PolicyResult("dane", notes=tuple(f"TLSA {record}" for record in published.records))
    # Section 8.1: senders ask for the certificate of the name that the records are under.
    sni = state.settings.tls.sni or published.name
    if plain_name(sni) != plain_name(target.server_name or "") and state.settings.login is None:
        (again,) = yield from together([look_again(state, sni)])
        tls = tls if isinstance(again, PeerFault) else again
    chain = [Shown(der, key_information(der)) for der in tls.chain or (tls.certificate,)]
    domains = target.next_hops.judged() if target.next_hops is not None else ((),)
    names = [(published.name, *names) for names in domains]
    wanted = _Wanted(chain[0].der, sni, names, subject)
    verify = functools.partial(_verify, state, wanted)
    return (yield from judge(published, chain, verify, subject, is_whole=bool(tls.chain)))


class _Wanted(NamedTuple):
    """What the server's certificate must be when it is verified again.

    ``shown`` is the one that it has shown (DER), ``sni`` the name to ask for, ``names`` those of
    each domain, of which it must be for one, and ``subject`` what a sentence calls it.
    """

    shown: bytes
    sni: str
    names: Sequence[Sequence[str]]
    subject: str


def _verify(state: ProbeState, wanted: _Wanted, anchors: bytes) -> Procedure[None]:
    """Have the server's certificate verified again, for a name of each domain (section 3.2.2).

    Raises:
        Untrusted: it was rejected.
        SessionFault: there was no second handshake.
    """
    again: Handshake = yield from verify_again(state, anchors, wanted.sni)
    if state.settings.login is not None and again.chain[:1] != (wanted.shown,):
        # The password goes to whoever showed the first one.
        raise Untrusted("the server showed another certificate when asked again", "other")
    own = host_names(again)
    for several in wanted.names:
        if any(is_for(own, name) for name in several):
            continue
        names = " or ".join(dict.fromkeys(map(plain_name, several)))
        problem = f"{wanted.subject} is for {listed(own)}, not {names}"
        raise Untrusted(problem, "wrong name")


def of_domain(servers: Servers, domain: Host, found: MxSet) -> Procedure[PolicyResult]:
    """Say whether senders use TLSA records at all (RFC 7672 section 2.2.1)."""
    if found.is_secure:
        return PolicyResult("dane", notes=("the MX set is DNSSEC-secure",))
    problem = f"the MX set of {domain.given} is not DNSSEC-secure, so no TLSA record counts"
    finding = Finding("insecure", problem)
    answers = yield from together([ask(servers, host.ascii, "A") for host in found.hosts[:1]])
    try:
        yield from need_validation(servers, answers)
    except NotValidating as fault:
        finding = Finding(fault.kind, fault.sentence)
    return PolicyResult("dane", (finding,))


def judge(
    published: Published,
    chain: Sequence[Shown],
    verify: Verify,
    subject: str = "the certificate",
    *,
    is_whole: bool,
) -> Procedure[PolicyResult]:
    """Hold the chain that a server showed, its own certificate first, against the records.

    ``verify`` has the server's certificate verified again, with the certificates that it is given
    (DER, one after the other) as the only trust anchors, and raises where it is rejected;
    ``is_whole`` says that the chain is complete.

    Raises:
        NoPolicy: no record is of a kind that mail clients mind.
        LocalFault: the chain is needed and not known.
    """
    usable = [one for one in published.records if _is_usable(one)]
    if not usable:
        shown = ", ".join(map(str, published.records))
        raise NoPolicy(f"no TLSA record at {published.owner} can be used for mail: {shown}")
    counting = [one for one in usable if one.matching in (0, _strongest(one, usable))]
    findings: list[Finding] = []
    matched: list[Tlsa] = []
    rejected: dict[bytes, PeerFault | None] = {}  # by anchors, which are tried once
    for record in counting:
        if record.usage == END_ENTITY:
            if _matches(record, chain[0]):
                matched.append(record)
            continue
        anchors = b"".join(_anchors(record, chain))
        if anchors and anchors not in rejected:
            (rejected[anchors],) = yield from together([verify(anchors)])
        fault = rejected.get(anchors)
        if fault is not None:
            findings.append(Finding(fault.kind, f"TLSA {record}: {fault.problem}"))
        elif anchors:
            matched.append(record)
    notes = tuple(_note(record, usable, counting, matched) for record in published.records)
    if matched:
        is_pinned = any(record.usage == END_ENTITY for record in matched)
        held = f"DANE {matched[0].usage} {matched[0].selector} {matched[0].matching}"
        return PolicyResult("dane", (), notes, is_pinned=is_pinned, held=held)
    if not (findings or is_whole) and any(one.usage == TRUST_ANCHOR for one in counting):
        raise LocalFault("TLSA records of usage 2 need Python 3.10, which can read the whole chain")
    if not findings:
        shown = ", ".join(map(str, counting))
        problem = f"{subject} matches no TLSA record at {published.owner}: {shown}"
        if any(one.key is None for one in chain):
            problem += " (a certificate that the server shows cannot be read)"
        elif any(_matches(one, chain[0]) for one in usable if one.usage == END_ENTITY):
            problem += " (where there is SHA-512, senders ignore SHA-256)"
        findings.append(Finding("uncovered", problem))
    return PolicyResult("dane", tuple(findings), notes)


def _is_usable(record: Tlsa) -> bool:
    """Whether OpenSSL would take it (``SSL_dane_tlsa_add``), and so a sender."""
    if record.usage not in (TRUST_ANCHOR, END_ENTITY) or record.selector not in (WHOLE, KEY):
        return False
    if record.matching == 0:
        from check_smtp_health.net.anchor import is_certificate, is_key

        return is_certificate(record.data) if record.selector == WHOLE else is_key(record.data)
    digest = _DIGESTS.get(record.matching)
    return digest is not None and len(record.data) == hashlib.new(digest).digest_size


def _strongest(record: Tlsa, usable: Sequence[Tlsa]) -> int:
    """Return the strongest digest beside a record: none else counts (RFC 7671 section 9)."""
    place = record[:2]
    return max(one.matching for one in usable if one[:2] == place)


def _anchors(record: Tlsa, chain: Sequence[Shown]) -> list[bytes]:
    """Return the certificates that a record makes trust anchors.

    The server shows it, or it is in the record: as a whole, or its key alone, with which
    something that the server shows has been signed. The server's own certificate is not one.
    """
    anchors = [one.der for one in chain[1:] if _matches(record, one)]
    if anchors or record.matching != 0:
        return anchors
    if record.selector == WHOLE:
        return [record.data] if record.data != chain[0].der else []
    from check_smtp_health.net.anchor import anchors_of_key

    return [der for one in chain for der in anchors_of_key(record.data, one.der)]


def _matches(record: Tlsa, shown: Shown) -> bool:
    data = shown.der if record.selector == WHOLE else shown.key
    if data is None:
        return False  # what cannot be read cannot be judged
    digest = _DIGESTS.get(record.matching)
    return record.data == (hashlib.new(digest, data).digest() if digest else data)


def _note(
    record: Tlsa, usable: Sequence[Tlsa], counting: Sequence[Tlsa], matched: Sequence[Tlsa]
) -> str:
    if record in matched:
        return f"TLSA {record} matches"
    if record in counting:
        return f"TLSA {record} matches nothing"
    why = "does not count beside SHA-512" if record in usable else "cannot be used for mail"
    return f"TLSA {record} {why}"
