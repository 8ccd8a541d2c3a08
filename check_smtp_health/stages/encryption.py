"""STARTTLS, the handshake, and what is to be said of the certificate."""

from __future__ import annotations

from check_smtp_health.config import files
from check_smtp_health.errors import (
    HandshakeFailed,
    Injected,
    NotTls,
    Rejected,
    SessionFault,
    Untrusted,
    UnusableFile,
    UsageFault,
    Violation,
)
from check_smtp_health.escaping import printable
from check_smtp_health.net.operations import Connect, StartTls
from check_smtp_health.net.trust import TlsOptions, Trust
from check_smtp_health.stages.connection import proxy_header
from check_smtp_health.stages.greeting import greet
from check_smtp_health.stages.state import ProbeState, ask, listen, not_offered, require_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Why
    from check_smtp_health.net.certificate import Handshake
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.report import Certificate
    from check_smtp_health.stages.state import StageRun

NAMES_SHOWN = 3
"""Names of a certificate in a status line; a hosting company's may have hundreds."""


_OPTIONS = {"ca_file": "ca-file", "ca_path": "ca-path", "certfile": "cert", "keyfile": "key"}


def trust(settings: Settings) -> Trust:
    """Return what to trust, with all files read.

    Raises:
        UsageFault: a file cannot be used, or the extra ``tls`` is needed and missing.
    """
    tls, has_dane = settings.tls, settings.policies.asks("dane")
    if has_dane or (not tls.verify and tls.judge_expiry):
        # OpenSSL hands over no certificate that it has not verified.
        option, instead = "no-verify", " (or --ignore-certificate-expiration)"
        if has_dane:
            option, instead = "dane", ""
        try:
            import cryptography.x509  # noqa: F401
        except ImportError as error:
            raise UsageFault(
                option,
                "needs the package cryptography to read the certificate: "
                f"pip install 'check-smtp-health[tls]'{instead}",
            ) from error
    options = tls_options(settings)
    # TLSA records vouch for the certificate, and they are looked at once it has been shown.
    return made(options._replace(verify=options.verify and not has_dane, tells_chain=has_dane))


def tls_options(settings: Settings) -> TlsOptions:
    """Return what the command line asks of TLS."""
    tls = settings.tls
    return TlsOptions(
        verify=tls.verify,
        ca_file=tls.ca_file,
        ca_path=tls.ca_path,
        certfile=tls.certfile,
        keyfile=tls.keyfile,
        minimum=tls.minimum,
        judge_expiry=tls.judge_expiry,
    )


def made(options: TlsOptions) -> Trust:
    """Return the trust that the options describe.

    Raises:
        UsageFault: a file cannot be used.
    """
    for field, option in _OPTIONS.items():
        path = getattr(options, field)
        if path is not None and field != "ca_path":
            files.need_regular(option, path)
    try:
        return Trust(options)
    except UnusableFile as fault:
        raise UsageFault(_OPTIONS[fault.field], fault.problem) from fault


def starttls(state: ProbeState) -> StageRun:
    """Ask for TLS and hold the server to silence until it has begun (RFC 3207 section 4)."""
    if not state.connection.session.offers("STARTTLS"):
        raise not_offered(state, "STARTTLS")
    try:
        reply = yield from ask(state, "STARTTLS")
    except Violation as fault:
        raise Injected("behind the reply", fault.said) from fault
    except Rejected as fault:
        # 421 behind a 220: the farewell that a server may send at any time is plaintext, too.
        raise Injected("behind the reply", fault.said) from fault
    require_code(reply, 220)
    if state.connection.session.unread:
        raise Injected("behind the reply", state.connection.session.unread)


def handshake(state: ProbeState) -> StageRun:
    """Shake hands; the certificate is verified meanwhile."""
    assert state.prepared.trust is not None
    try:
        state.connection.tls = yield StartTls(state.prepared.trust, state.target.server_name)
    except NotTls as fault:
        if state.settings.tls.mode == "implicit":
            raise HandshakeFailed(f"{fault.problem}, try -S") from fault
        raise Injected("in place of the handshake") from fault
    # RFC 3207 section 4.2: nothing that was learned before TLS counts.
    state.connection.begin()


def explain(state: ProbeState, fault: Untrusted) -> Procedure[Untrusted]:
    """Connect again, ignoring all of it, and return the fault with what the certificate says."""
    assert state.prepared.trust is not None
    certificate = None
    try:
        state.connection.tls = yield from _look(
            state, state.prepared.trust.without_checking(fault.why), state.target.server_name
        )
        certificate = state.mask.over(state.connection.tls.facts().certificate)
    except SessionFault:
        pass  # the reason alone must do
    return Untrusted(_sentence(state, fault, certificate), fault.why, fault.words)


def verify_again(state: ProbeState, anchors: bytes, name: str) -> Procedure[Handshake]:
    """Connect and shake hands again, trusting only certificates (DER) of the caller's.

    ``name`` is sent, and not verified.

    Raises:
        Untrusted: the server's certificate was rejected.
        SessionFault: there was no second handshake.
    """
    assert state.prepared.trust is not None
    return _look(state, state.prepared.trust.anchored(anchors), name)


def look_again(state: ProbeState, name: str) -> Procedure[Handshake]:
    """Connect and shake hands again, asking for the certificate of another name.

    Raises:
        SessionFault: there was no second handshake.
    """
    assert state.prepared.trust is not None
    return _look(state, state.prepared.trust, name)


def _look(state: ProbeState, trust: Trust, name: str | None) -> Procedure[Handshake]:
    settings, address = state.settings, state.connection.address
    assert address is not None
    again = ProbeState(state.target, settings, state.prepared)
    connection = again.connection
    connection.local = yield Connect(address, settings.endpoint.source)
    if settings.endpoint.proxy:
        yield proxy_header(settings.endpoint.proxy, connection.local, address)
    if settings.tls.mode == "starttls":
        yield from listen(again)
        yield from greet(again)
        yield from starttls(again)
    agreed: Handshake = yield StartTls(trust, name)
    connection.begin()
    try:
        if settings.tls.mode == "implicit":
            yield from listen(again)
        yield from ask(again, "QUIT")
    except SessionFault:
        pass  # leaving politely is all that was left to do
    return agreed


def _sentence(state: ProbeState, fault: Untrusted, certificate: Certificate | None) -> str:
    if certificate is None:
        return f"certificate {fault.words}{_remedy(fault.why)}"
    problems: dict[Why, str] = {
        "self-signed": "self-signed",
        "unknown issuer": f"issuer unknown: {printable(certificate.issuer, 80)}",
        "wrong name": f"is for {listed(certificate.names)}, not {state.target.server_name}",
        "expired": certificate.expiry,
        "not yet valid": f"is {certificate.beginning}",
    }
    problem = problems.get(fault.why, fault.words)
    if fault.why in ("expired", "not yet valid"):
        if not (certificate.is_expired or certificate.is_early):
            return f"certificate chain {fault.why}, although its last certificate is valid"
    elif certificate.is_expired:
        problem += f" (and {certificate.expiry})"
    return f"certificate {problem}{_remedy(fault.why)}"


def _remedy(why: Why) -> str:
    if why in ("expired", "not yet valid"):
        return ""
    option = "--sni" if why == "wrong name" else "--ca-file"
    return f", try {option} or --no-verify"


def listed(all_names: Sequence[str]) -> str:
    """Return the first names of a certificate, and how many more there are."""
    names = [printable(name, 80) for name in all_names[:NAMES_SHOWN]]
    more = len(all_names) - len(names)
    return ", ".join(names or ["no name"]) + (f" and {more} more" if more else "")
