"""Whether an MX host would pass by the rules of senders that use MTA-STS (RFC 8461 section 4.1).

They verify its certificate with the public authorities, for its own name, whatever else a run uses:
TLSA records that vouch for it, ``--no-verify``, another ``--sni``. Where the session's handshake
was held to the same, it has said so already; else there is a further one.
"""

from __future__ import annotations

from check_smtp_health.errors import (
    LocalFault,
    NotOffered,
    PeerFault,
    TimedOut,
    Untrusted,
    Violation,
)
from check_smtp_health.faults import HandshakeFailed
from check_smtp_health.net import dns
from check_smtp_health.policy import mx, unchecked
from check_smtp_health.report import Finding, PolicyResult
from check_smtp_health.stages.encryption import look, made, tls_options, without_checking, wrong
from check_smtp_health.stages.state import Prepared, ProbeState, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import SessionFault
    from check_smtp_health.net.certificate import Handshake
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.net.trust import TlsOptions, Trust
    from check_smtp_health.report import Host

NAME = "mta-sts"


def prepare(values: Sequence[str], settings: Settings, servers: Servers) -> Trust | None:
    """Return what senders trust, None where no MX set leads to the targets.

    Raises:
        UsageFault: a file cannot be used.
    """
    return made(as_senders(tls_options(settings))) if settings.endpoint.mx else None


def as_senders(options: TlsOptions) -> TlsOptions:
    """Return what senders ask of TLS (RFC 8461 section 4.1)."""
    return options._replace(verify=True, judge_expiry=True, minimum="1.2", needs_san=True)


def check(trust: Trust | None, state: ProbeState) -> Procedure[PolicyResult | None]:
    """Say whether a host of the MX set would pass; of other targets no sender asks it."""
    settings, name = state.settings, state.target.host.dns_name
    if trust is None or state.connection.address is None or is_known(settings, name):
        return None
    findings, tls = yield from _seen(trust, state, name)
    # Where TLSA records vouch for the certificate, its dates count here only.
    return PolicyResult(NAME, findings, certificates=() if tls is None else tls.certificates())


def is_known(settings: Settings, name: str) -> bool:
    """Whether a session's own handshake with that host is what a sender's would be."""
    options = tls_options(settings)._replace(needs_san=True)  # see ``encryption.trust``
    return (
        options == as_senders(options)
        and not settings.policies.asks("dane")
        and settings.tls.sni in (None, name)
    )


def look_up(
    trust: Trust, host: Host, settings: Settings, servers: Servers
) -> Procedure[tuple[Finding, ...]]:
    """Return what is wrong with an MX host that the run does not probe."""
    name, endpoint = host.dns_name, settings.endpoint
    state = ProbeState(Target(host, name), settings, Prepared())
    found: tuple[Finding, ...] = ()
    try:
        addresses, _ = yield from dns.resolve(servers, name, endpoint.port, endpoint.family)
    except PeerFault as fault:
        return (_unanswered(fault),)
    bad = mx.astray(addresses)
    if bad:
        return (_finding(mx.misdirected(host, bad)),)
    for address in addresses:
        state.connection.address = address
        found, _ = yield from _seen(trust, state, name)
        if not any(one.kind == "unanswered" for one in found):
            break
    return found


def _seen(
    trust: Trust, state: ProbeState, name: str
) -> Procedure[tuple[tuple[Finding, ...], Handshake | None]]:
    """Shake hands as a sender does, and return what is wrong, or what was agreed on."""
    try:
        return (), (yield from look(state, trust, name))
    except Untrusted as fault:
        seen = yield from without_checking(state, trust, name, fault)
        problem = wrong(state, fault, seen, name)
        return (Finding(fault.kind, problem, reason=fault.reason),), None
    except (HandshakeFailed, NotOffered, Violation, TimedOut) as fault:
        return (_finding(fault),), None
    except (PeerFault, LocalFault) as fault:
        return (_unanswered(fault),), None


def _finding(fault: PeerFault) -> Finding:
    return Finding(fault.kind, fault.sentence, fault.said, fault.reason)


def _unanswered(fault: SessionFault) -> Finding:
    return unchecked("its certificate could not be checked as senders do", fault)
