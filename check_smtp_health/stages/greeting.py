"""HELO, EHLO, LHLO: the server takes us as a client, and says what it offers."""

from __future__ import annotations

from check_smtp_health.observation import Finding
from check_smtp_health.stages.visit import ask, due

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.net.wishes import Address
    from check_smtp_health.stages.visit import Run, Visit

# RFC 5321 section 4.2.4: what a server without EHLO answers to it.
_EHLO_UNKNOWN = (500, 502, 504)


def helo(visit: Visit) -> Run:
    """Greet; what must and must not be offered is judged later, by the last greeting."""
    yield from greet(visit)
    if not _another_follows(visit):
        visit.findings += offers(visit)


def greet(visit: Visit) -> Run:
    """Say HELO, EHLO or LHLO; HELO too where EHLO was only a choice and is unknown there."""
    settings = visit.settings
    name = own_name(visit)
    reply = yield from ask(visit, settings.greeting, name)
    is_unknown = settings.greeting == "EHLO" and reply.code in _EHLO_UNKNOWN
    if is_unknown and not settings.needs_extensions:
        reply = yield from ask(visit, "HELO", name)
    due(reply, 250)
    visit.names["helo"] = reply.texts[0]
    visit.session.learn(reply)


def own_name(visit: Visit) -> str:
    """Return what this host calls itself."""
    return visit.settings.fqdn or _address_literal(visit.local)


def _another_follows(visit: Visit) -> bool:
    return visit.settings.tls == "starttls" and visit.tls is None


def offers(visit: Visit) -> list[Finding]:
    """Return what is missing of ``--require`` and what is there of ``--forbid``."""
    session, settings = visit.session, visit.settings
    missing = [
        Finding("not_offered", f"{word} is not offered")
        for word in settings.require
        if not session.offers(*word)
    ]
    unwanted = [
        Finding("forbidden", f"{word} is offered")
        for word in settings.forbid
        if session.offers(*word)
    ]
    return missing + unwanted


def _address_literal(local: Address | None) -> str:
    """Return what a host without a name says (RFC 5321 sections 4.1.3 and 4.1.4)."""
    if local is None or not isinstance(local.sockaddr, tuple):
        return "localhost"
    host = local.host.partition("%")[0]
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"
