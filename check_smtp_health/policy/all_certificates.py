"""Whether each of a server's certificates is good; a client is shown only one of them.

A server with an RSA and an ECDSA certificate chooses by what the client can do. So it is asked
again, for either: in TLS 1.2, whose ciphers say which they are for; those of TLS 1.3 do not.
"""

from __future__ import annotations

import functools

from check_smtp_health.errors import LocalFault, PeerFault, Untrusted
from check_smtp_health.faults import HandshakeFailed
from check_smtp_health.loading import load
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.trust import KEYS
from check_smtp_health.policy import prepared, result, unchecked
from check_smtp_health.report import Finding, PolicyResult
from check_smtp_health.stages.encryption import look, without_checking, wrong
from check_smtp_health.stages.state import ProbeState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.certificate import Handshake
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.policy import Policy
    from check_smtp_health.report.tls import Certificate, Key

NAME = "all-certificates"


class Seen(NamedTuple):
    """A certificate with a key of that kind: what there is to say of it."""

    kind: Key
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] = ()


def prepare(values: Sequence[str], settings: Settings, servers: Servers | None) -> Policy | None:
    """Return what TLSA records are asked with, where they are asked."""
    if not settings.policies.asks("dane"):
        return None
    return prepared("dane", settings, servers)


def check(dane: Policy | None, state: ProbeState) -> Procedure[PolicyResult | None]:
    """Check the certificate of either kind; having only one is not a fault."""
    if state.connection.address is None or state.connection.tls is None:
        return None
    seen: list[Seen] = []
    missing: list[Key] = []
    for kind in KEYS:
        try:
            seen.append((yield from _seen(kind, dane, state)))
        except HandshakeFailed as fault:
            if fault.reason == "nothing shared":
                missing.append(kind)
                continue
            if fault.reason != "tls too old":
                raise
            problem = "with TLS 1.3 only, there is no way to ask for the other certificate"
            return PolicyResult(NAME, (Finding("local", problem),))
    findings = [finding for one in seen for finding in one.findings]
    if missing and seen:
        findings.append(Finding("noted", f"there is no {missing[0]} certificate"))
    elif missing:
        findings.append(Finding("handshake_failed", "the server shows no certificate in TLS 1.2"))
    return PolicyResult(
        NAME,
        tuple(findings),
        tuple(note for one in seen for note in one.notes),
        certificates=tuple(found for one in seen for found in one.certificates),
        held="" if findings else f"{' and '.join(KEYS)} certificate",
    )


def _seen(kind: Key, dane: Policy | None, state: ProbeState) -> Procedure[Seen]:
    """Shake hands for a certificate of that kind, and check all that the run asks.

    Raises:
        HandshakeFailed: the server has none.
    """
    assert state.prepared.trust is not None
    trust, name = state.prepared.trust.limited_to(kind), state.target.server_name
    try:
        tls: Handshake = yield from look(state, trust, name)
    except Untrusted as fault:
        shown = yield from without_checking(state, trust, name, fault)
        problem = wrong(state, fault, shown, name, key=kind)
        return Seen(kind, (Finding(fault.kind, problem),))
    except HandshakeFailed:
        raise
    except (PeerFault, LocalFault) as fault:
        return Seen(kind, (unchecked(f"the {kind} certificate could not be checked", fault),))
    records = (yield from _records(kind, dane, state, tls)) if dane is not None else None
    facts = tls.facts()
    findings = () if records is None else records.findings
    expiry = ("it cannot be read",) if facts.certificate is None else (facts.certificate.expiry,)
    said = (*expiry, *(() if records is None else records.notes))
    own = state.connection.tls
    # The session's own is judged already, and one that TLSA records vouch for may expire.
    is_new = own is None or not tls.chain or own.chain[:1] != tls.chain[:1]
    is_pinned = records is not None and records.is_pinned
    return Seen(
        kind,
        tuple(one._replace(problem=f"dane: {one.problem}") for one in findings),
        tuple(f"{kind} certificate: {one}" for one in said),
        tls.certificates(key=kind) if is_new and not is_pinned else (),
    )


def _records(
    kind: Key, dane: Policy, state: ProbeState, tls: Handshake
) -> Procedure[PolicyResult | None]:
    """Return what TLSA records say of the certificate, as if the session had been shown it."""
    assert state.prepared.trust is not None
    limited = state.prepared._replace(trust=state.prepared.trust.limited_to(kind))
    other = ProbeState(state.target, state.settings, limited)
    other.connection.address, other.connection.tls = state.connection.address, tls
    hold = functools.partial(load("policy.dane:hold"), subject=f"the {kind} certificate")
    told: PolicyResult | None
    told = yield from result(dane._replace(check=hold), other, state.settings)
    return told
