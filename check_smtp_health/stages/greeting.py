"""HELO, EHLO, LHLO: the server takes us as a client, and says what it offers."""

from __future__ import annotations

from check_smtp_health.report import Finding
from check_smtp_health.stages.state import ask, is_masked, require_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.net.addresses import Address
    from check_smtp_health.stages.state import ProbeState, StageRun

# RFC 5321 section 4.2.4: what a server without EHLO answers to it.
_EHLO_UNKNOWN = (500, 502, 504)


def helo(state: ProbeState) -> StageRun:
    """Greet; what must and must not be offered is judged later, by the last greeting."""
    yield from greet(state)
    if not _another_follows(state):
        state.findings += offers(state)


def greet(state: ProbeState) -> StageRun:
    """Say HELO, EHLO or LHLO; HELO too where EHLO was only a choice and is unknown there."""
    greeting = state.settings.greeting
    name = own_name(state)
    reply = yield from ask(state, greeting.verb, name)
    is_unknown = greeting.verb == "EHLO" and reply.code in _EHLO_UNKNOWN
    if is_unknown and not greeting.needs_extensions:
        reply = yield from ask(state, "HELO", name)
    require_code(reply, 250)
    state.names["helo"] = reply.texts[0]
    state.connection.session.learn(reply)


def own_name(state: ProbeState) -> str:
    """Return what this host calls itself."""
    return state.settings.greeting.fqdn or _address_literal(state.connection.local)


def _another_follows(state: ProbeState) -> bool:
    return state.settings.tls.mode == "starttls" and state.connection.tls is None


def offers(state: ProbeState) -> list[Finding]:
    """Return what is missing of ``--require`` and what is there of ``--forbid``."""
    session, greeting = state.connection.session, state.settings.greeting
    missing = [
        Finding(
            "not_offered", f"{word} is not offered", reason="masked" if is_masked(state) else ""
        )
        for word in greeting.require
        if not session.offers(*word)
    ]
    unwanted = [
        Finding("forbidden", f"{word} is offered")
        for word in greeting.forbid
        if session.offers(*word)
    ]
    return missing + unwanted


def _address_literal(local: Address | None) -> str:
    """Return what a host without a name says (RFC 5321 sections 4.1.3 and 4.1.4)."""
    if local is None or not isinstance(local.sockaddr, tuple):
        return "localhost"
    host = local.host.partition("%")[0]
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"
