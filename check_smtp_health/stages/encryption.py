"""STARTTLS, the handshake, and what the status line says about the certificate."""

from __future__ import annotations

from check_smtp_health.config import files
from check_smtp_health.errors import Rejected, SessionFault, Untrusted, UsageFault, Violation
from check_smtp_health.escaping import printable
from check_smtp_health.faults import HandshakeFailed, Injected, NotTls, UnusableFile
from check_smtp_health.loading import shared
from check_smtp_health.net.certificate import key_bits
from check_smtp_health.net.operations import Connect, StartTls
from check_smtp_health.net.trust import TlsOptions, Trust
from check_smtp_health.report import first_of
from check_smtp_health.stages.connection import proxy_header
from check_smtp_health.stages.greeting import greet
from check_smtp_health.stages.state import (
    ProbeState,
    ask,
    listen,
    require_code,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.config.settings import Settings, Tls
    from check_smtp_health.errors import Why
    from check_smtp_health.net.certificate import Handshake
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.report.tls import Certificate, Key, TlsFacts
    from check_smtp_health.stages.state import StageRun

NAMES_SHOWN = 3
"""Names of a certificate in a status line; a hosting company's may have hundreds."""


_REMEDIES: dict[Why, str] = {
    "self-signed": ", try --ca-file or --no-verify",
    "unknown issuer": ", try --ca-file or --no-verify",
    "wrong name": ", try --sni or --no-verify",
}
"""What the user of the check can do; for other reasons the server must be changed."""

_PROBLEMS: dict[Why, str] = {
    "bad authority": "issuer is not an authority",
    "weak authority": "has an issuer whose key is too small",
    "weak key": "has a key that is too small",
    "wrong purpose": "is not a certificate for servers",
}
"""Reasons in words that say more."""

_OPTIONS = {"ca_file": "ca-file", "ca_path": "ca-path", "certfile": "cert", "keyfile": "key"}


def trust(settings: Settings) -> Trust:
    """Return what to trust, with all files read.

    Raises:
        UsageFault: a file cannot be used, or the extra ``tls`` is needed and missing.
    """
    has_dane, options = settings.policies.asks("dane"), tls_options(settings)
    if has_dane:
        _need_reader("dane", "")
    need_reader_of(options)
    # TLSA records vouch for the certificate, and they are looked at once it has been shown.
    return made(
        options._replace(
            verify=options.verify and not has_dane,
            tells_chain=options.tells_chain or has_dane,
            needs_san=settings.policies.asks("mta-sts"),
        )
    )


def need_reader_of(options: TlsOptions) -> None:
    """Check that the dates of certificates can be read where they are not verified.

    Raises:
        UsageFault: the extra ``tls`` is missing.
    """
    if not options.verify and options.judge_expiry:
        _need_reader("no-verify", ", or use --ignore-certificate-expiration")


def _need_reader(option: str, instead: str) -> None:
    # OpenSSL hands over no certificate that it has not verified.
    try:
        import cryptography.x509  # noqa: F401
    except ImportError as error:
        from check_smtp_health.config.remedies import missing

        need = missing("cryptography", " to read the certificate")
        raise UsageFault(option, f"{need}{instead}") from error


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
        tells_chain=tls.judge_expiry,
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
        return shared(Trust, options)
    except UnusableFile as fault:
        raise UsageFault(_OPTIONS[fault.field], fault.problem) from fault


def starttls(state: ProbeState) -> StageRun:
    """Ask for TLS and hold the server to silence until it has begun (RFC 3207 section 4)."""
    if not state.connection.session.offers("STARTTLS"):
        from check_smtp_health.stages.keywords import not_offered

        raise not_offered(state, "STARTTLS")
    try:
        reply = yield from ask(state, "STARTTLS")
    except Violation as fault:
        raise Injected("after STARTTLS", fault.said) from fault
    except Rejected as fault:
        # 421 behind a 220: the farewell that a server may send at any time is plaintext, too.
        raise Injected("after STARTTLS", fault.said) from fault
    require_code(reply, 220)
    if state.connection.session.unread:
        raise Injected("after STARTTLS", state.connection.session.unread)


def handshake(state: ProbeState) -> StageRun:
    """Shake hands; the certificate is verified meanwhile."""
    assert state.prepared.trust is not None
    try:
        state.connection.tls = yield StartTls(state.prepared.trust, state.target.server_name)
    except NotTls as fault:
        if state.settings.tls.mode != "implicit":
            raise Injected("instead of the TLS handshake") from fault
        if fault.said[:3] == b"220":
            raise HandshakeFailed(f"{fault.problem}, try -S") from fault
        raise
    except HandshakeFailed as fault:
        if fault.reason == "name unknown":
            other = "another --sni" if state.target.server_name else "--sni NAME"
            fault.problem += f", try {other}"
        raise
    # RFC 3207 section 4.2: nothing that was learned before TLS counts.
    state.connection.begin()


def explain(state: ProbeState, fault: Untrusted) -> Procedure[Untrusted]:
    """Connect again, ignoring all of it, and return the fault with what the certificate says."""
    assert state.prepared.trust is not None
    name = state.target.server_name
    seen = yield from without_checking(state, state.prepared.trust, name, fault)
    state.connection.tls = seen or state.connection.tls
    problem = wrong(state, fault, seen, name) + _REMEDIES.get(fault.why, "")
    return Untrusted(problem, fault.why, fault.words)


def without_checking(
    state: ProbeState, trust: Trust, name: str | None, fault: Untrusted
) -> Procedure[Handshake | None]:
    """Connect again, without checking what a certificate was rejected for.

    Return None where that does not work: then the reason alone must do.
    """
    try:
        return (yield from look(state, trust.without_checking(fault.why), name))
    except SessionFault:
        return None


def verify_again(state: ProbeState, anchors: bytes, name: str) -> Procedure[Handshake]:
    """Connect and shake hands again, trusting only certificates (DER) of the caller's.

    ``name`` is sent, and not verified.

    Raises:
        Untrusted: the server's certificate was rejected.
        SessionFault: there was no second handshake.
    """
    assert state.prepared.trust is not None
    return look(state, state.prepared.trust.anchored(anchors), name)


def look_again(state: ProbeState, name: str) -> Procedure[Handshake]:
    """Connect and shake hands again, asking for the certificate of another name.

    Raises:
        SessionFault: there was no second handshake.
    """
    assert state.prepared.trust is not None
    return look(state, state.prepared.trust, name)


def look(state: ProbeState, trust: Trust, name: str | None) -> Procedure[Handshake]:
    """Connect and shake hands again, for another opinion of the certificate.

    Whether a certificate is trusted is decided within a handshake: Python's ``ssl`` cannot be asked
    about one that it has been shown, and ``cryptography`` can only in versions that half of the
    distributions do not have, by rules of its own. So each trust costs a connection.

    Raises:
        Untrusted: the server's certificate was rejected.
        SessionFault: there was no second handshake.
    """
    settings, address = state.settings, state.connection.address
    assert address is not None
    again = ProbeState(state.target, settings, state.prepared)
    connection = again.connection
    connection.local = yield Connect(address, settings.endpoint.source, is_session=True)
    if settings.endpoint.proxy:
        yield proxy_header(settings.endpoint.proxy, connection.local, address)
    if settings.tls.mode == "starttls":
        require_code((yield from listen(again)), settings.greeting.expect.code)
        yield from greet(again)
        yield from starttls(again)
    agreed: Handshake = yield StartTls(trust, name)
    connection.begin()
    try:
        if settings.tls.mode == "implicit":
            yield from listen(again)
        yield from ask(again, "QUIT")
    except SessionFault:
        pass  # nothing was left to do but to close the connection
    return agreed


def wrong(
    state: ProbeState,
    fault: Untrusted,
    seen: Handshake | None,
    name: str | None,
    *,
    key: Key = "",
) -> str:
    """Return why a certificate was rejected, as a sentence that says what it is instead.

    ``key`` is the kind of its key where the server has one of each kind.
    """
    subject = f"the {key} certificate" if key else "certificate"
    facts = state.mask.over(seen.facts()) if seen is not None else None
    if facts is None or facts.certificate is None:
        return f"{subject} {_PROBLEMS.get(fault.why, fault.words)}"
    certificate = facts.certificate
    if fault.why in ("expired", "not yet valid"):
        return _out_of_date(state, fault, facts, key)
    assert seen is not None
    problems: dict[Why, str] = {
        "self-signed": "self-signed",
        "unknown issuer": f"issuer unknown: {printable(certificate.issuer, 80)}",
        "bad authority": f"issuer is not an authority: {printable(certificate.issuer, 80)}",
        "wrong name": f"is for {listed(certificate.names)}, not {name}",
        "weak key": _PROBLEMS["weak key"] + _bits(seen.chain[:1] or (seen.certificate,)),
        "weak authority": _PROBLEMS["weak authority"] + _bits(seen.chain[1:]),
    }
    problem = problems.get(fault.why, _PROBLEMS.get(fault.why, fault.words))
    if certificate.is_expired:
        problem += f" (and {certificate.expiry})"
    return f"{subject} {problem}"


def _out_of_date(state: ProbeState, fault: Untrusted, facts: TlsFacts, key: Key) -> str:
    """Return which certificate of a chain is out of date, and by how much."""
    assert facts.certificate is not None
    for one in (facts.certificate, *facts.issuers):
        name = named(one._replace(key=key), state.settings.tls)
        if one.is_expired:
            return f"{name} {one.expiry}"
        if one.is_early:
            return f"{name} is {one.beginning}"
    chain = f"chain of the {key} certificate" if key else "certificate chain"
    return f"{chain} {fault.why}, although its last certificate is valid"


def named(certificate: Certificate, tls: Tls) -> str:
    """Return which certificate it is: the server's own needs no more words."""
    if not certificate.role:
        if certificate.key:
            return f"the {certificate.key} certificate"
        return f"the certificate of {certificate.host}" if certificate.host else "certificate"
    name = f"{certificate.role} {printable(certificate.subject, 80)}"
    if certificate.origin:
        options = {"--ca-file": tls.ca_file, "--ca-path": tls.ca_path}
        given = [option for option, value in options.items() if value]
        name += f" (from {' or '.join(given) or 'the system'})"
    if certificate.key:
        return f"{name} of the {certificate.key} certificate"
    return f"{name} of {certificate.host}" if certificate.host else name


def _bits(chain: Sequence[bytes]) -> str:
    """Return the size of the smallest key in certificates."""
    sizes = [bits for bits in map(key_bits, chain) if bits is not None]
    return f" ({min(sizes)} bits)" if sizes else ""


def listed(all_names: Sequence[str]) -> str:
    """Return the first names of a certificate, and how many more there are."""
    return first_of(all_names, NAMES_SHOWN, lambda name: printable(name, 80)) or "no name"
