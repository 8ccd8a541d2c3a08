"""STARTTLS, the handshake, and what is to be said of the certificate."""

from __future__ import annotations

from check_smtp_health.errors import (
    HandshakeFailed,
    NotOffered,
    Rejected,
    SessionFault,
    Untrusted,
    UsageFault,
    Violation,
)
from check_smtp_health.net.wishes import Connect, StartTls
from check_smtp_health.smtp.session import Session
from check_smtp_health.stages.connection import proxy_header
from check_smtp_health.stages.greeting import greet
from check_smtp_health.stages.visit import Visit, ask, due, listen
from check_smtp_health.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from check_smtp_health.net.certificate import Agreed
    from check_smtp_health.net.tls import Trust
    from check_smtp_health.net.wishes import Wish
    from check_smtp_health.observation import Certificate
    from check_smtp_health.settings import Settings
    from check_smtp_health.stages.visit import Run

NAMES_SHOWN = 3
"""Names of a certificate in a status line; a hosting company's may have hundreds."""


def trust(settings: Settings) -> Trust:
    """Return what to trust, with all files read.

    Raises:
        UsageFault: a file cannot be used, or the extra ``tls`` is needed and missing.
    """
    from check_smtp_health.net.tls import Trust

    if settings.policies.dane or (not settings.verify and settings.judge_expiry):
        # OpenSSL hands over no certificate that it has not verified.
        option, instead = "no-verify", " (or --ignore-certificate-expiration)"
        if settings.policies.dane:
            option, instead = "dane", ""
        try:
            import cryptography.x509  # noqa: F401
        except ImportError as error:
            raise UsageFault(
                option,
                "needs the package cryptography to read the certificate: "
                f"pip install 'check-smtp-health[tls]'{instead}",
            ) from error
    # Records vouch for the certificate then, and they are looked at once it has been shown.
    return Trust(settings._replace(verify=settings.verify and not settings.policies.dane))


def web_trust(settings: Settings) -> Trust:
    """Return what to trust when a policy is fetched: never nothing, and shown nothing of ours.

    Raises:
        UsageFault: a file cannot be used.
    """
    from check_smtp_health.net.tls import Trust

    return Trust(
        settings._replace(
            verify=True, judge_expiry=True, tls_min="1.2", certfile=None, keyfile=None
        )
    )


def starttls(visit: Visit) -> Run:
    """Ask for TLS and hold the server to silence until it has begun (RFC 3207 section 4)."""
    if not visit.session.offers("STARTTLS"):
        raise NotOffered("STARTTLS is not offered")
    try:
        reply = yield from ask(visit, "STARTTLS")
    except Violation as fault:
        raise _injected(fault.said) from fault
    except Rejected as fault:
        # 421 behind a 220: the farewell that a server may send at any time is plaintext, too.
        raise _injected(fault.said) from fault
    due(reply, 220)
    if visit.session.unread:
        raise _injected(visit.session.unread)


def _injected(said: bytes) -> Violation:
    # Read as replies after the handshake, it would be somebody else's word taken for the
    # server's (CVE-2021-22947, NO STARTTLS).
    return Violation("plaintext behind the reply, injected", said)


def handshake(visit: Visit) -> Run:
    """Shake hands; the certificate is verified meanwhile."""
    settings = visit.settings
    assert visit.kit.trust is not None
    try:
        visit.tls = yield StartTls(visit.kit.trust, visit.target.server_name)
    except HandshakeFailed as fault:
        if "does not speak TLS" not in fault.problem:
            raise
        if settings.tls == "implicit":
            raise HandshakeFailed(f"{fault.problem}, try -S") from fault
        raise Violation("plaintext in place of the handshake, injected") from fault
    # RFC 3207 section 4.2: nothing that was learned before TLS counts.
    visit.session = Session()


def explain(visit: Visit, fault: Untrusted) -> Generator[Wish, Any, Untrusted]:
    """Connect again, minding nothing, and return the fault with what the certificate says."""
    assert visit.kit.trust is not None
    try:
        visit.tls = yield from _look(
            visit, visit.kit.trust.despite(fault.reason), visit.target.server_name
        )
    except SessionFault:
        pass  # the reason alone must do
    certificate = visit.tls.facts().certificate if visit.tls is not None else None
    return Untrusted(_sentence(visit, fault, certificate), fault.reason)


def verify_again(visit: Visit, anchor: bytes, name: str) -> Generator[Wish, Any, None]:
    """Connect and shake hands again, trusting one certificate alone.

    Raises:
        Untrusted: the server's certificate was rejected.
        SessionFault: there was no second handshake.
    """
    assert visit.kit.trust is not None
    yield from _look(visit, visit.kit.trust.anchored(anchor), name)


def _look(visit: Visit, trust: Trust, name: str | None) -> Generator[Wish, Any, Agreed]:
    settings = visit.settings
    assert visit.address is not None
    again = Visit(visit.target, settings, visit.kit)
    again.local = yield Connect(visit.address, settings.source)
    if settings.proxy:
        yield proxy_header(settings.proxy, again.local, visit.address)
    if settings.tls == "starttls":
        yield from listen(again)
        yield from greet(again)
        yield from starttls(again)
    agreed: Agreed = yield StartTls(trust, name)
    again.session = Session()
    try:
        if settings.tls == "implicit":
            yield from listen(again)
        yield from ask(again, "QUIT")
    except SessionFault:
        pass  # leaving politely is all that was left to do
    return agreed


def _sentence(visit: Visit, fault: Untrusted, certificate: Certificate | None) -> str:
    if certificate is None:
        return f"certificate {fault.reason}{_remedy(fault.reason)}"
    problems = {
        "self-signed": "self-signed",
        "unknown issuer": f"issuer unknown: {printable(certificate.issuer, 80)}",
        "wrong name": f"is for {_names(certificate)}, not {visit.target.server_name}",
        "expired": certificate.expiry,
        "not yet valid": f"is {certificate.beginning}",
    }
    problem = problems.get(fault.reason, fault.reason)
    if fault.reason in ("expired", "not yet valid"):
        if not (certificate.is_expired or certificate.is_early):
            return f"certificate chain {fault.reason}, although its last certificate is valid"
    elif certificate.is_expired:
        problem += f" (and {certificate.expiry})"
    return f"certificate {problem}{_remedy(fault.reason)}"


def _remedy(reason: str) -> str:
    if reason in ("expired", "not yet valid"):
        return ""
    option = "--sni" if reason == "wrong name" else "--ca-file"
    return f", try {option} or --no-verify"


def _names(certificate: Certificate) -> str:
    names = [printable(name, 80) for name in certificate.names[:NAMES_SHOWN]]
    more = len(certificate.names) - len(names)
    return ", ".join(names or ["no name"]) + (f" and {more} more" if more else "")
