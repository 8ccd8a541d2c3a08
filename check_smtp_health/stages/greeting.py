"""HELO, EHLO, LHLO: the server accepts us as a client, and says what it offers."""

from __future__ import annotations

from check_smtp_health.errors import Disconnected, Rejected, TimedOut, Unasked, Violation
from check_smtp_health.escaping import octets, quoted
from check_smtp_health.net.operations import Read
from check_smtp_health.report import Finding
from check_smtp_health.stages.connection import PROXY_ANSWERED
from check_smtp_health.stages.state import ask, first_word, require_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.errors import Reason
    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.smtp.session import Reply
    from check_smtp_health.stages.state import ProbeState, StageRun

# RFC 5321 section 4.2.4: what a server without EHLO answers to it.
_EHLO_UNKNOWN = (500, 502, 504)

PROXY_PATIENCE = 0.5
"""Seconds for the reply to our greeting, behind one that may be to the PROXY header."""

UNCLEAR = "(to our greeting, or to the PROXY header: then leave out -r)"

# What a server answers to a line that is no command, or to the QUIT in a header of version 2.
_COMMAND_UNKNOWN = (221, 500, 501, 502, 503, 504)


def helo(state: ProbeState) -> StageRun:
    """Greet; what must and must not be offered is judged later, by the last greeting."""
    reply = yield from _hello(state)
    if state.lacking is not None:
        _look_here_too(state, state.lacking, reply)
    _take(state, reply)
    if not _another_follows(state):
        state.find(*offers(state))


def greet(state: ProbeState) -> StageRun:
    """Say HELO, EHLO or LHLO, and take what the server says of itself."""
    _take(state, (yield from _hello(state)))


def _hello(state: ProbeState) -> Procedure[Reply]:
    """Return the reply to EHLO, to HELO where EHLO was only a choice and is unknown there."""
    greeting, name = state.settings.greeting, own_name(state)
    answer = _answer if state.settings.endpoint.proxy else ask
    reply = yield from answer(state, greeting.verb, name)
    is_unknown = greeting.verb == "EHLO" and reply.code in _EHLO_UNKNOWN
    if is_unknown and not greeting.needs_extensions:
        reply = yield from answer(state, "HELO", name)
    return reply


def _answer(state: ProbeState, verb: str, name: str) -> Procedure[Reply]:
    """Greet, and return the reply to that, not to a PROXY header that was taken for a command.

    Raises:
        Violation: the header got a reply. All that follow would be taken for the wrong command's.
        Rejected: which of the two got the one reply that came, cannot be said.
    """
    try:
        reply = yield from ask(state, verb, name)
    except Unasked as fault:
        raise Violation(PROXY_ANSWERED, fault.first, reason="proxy answered") from fault
    if reply.code in _COMMAND_UNKNOWN and state.connection.tls is None:
        try:
            more = yield Read(PROXY_PATIENCE, False)
        except (TimedOut, Disconnected):
            more = b""
        if more:
            raise Violation(PROXY_ANSWERED, reply.raw, reason="proxy answered")
        raise Rejected(UNCLEAR, reply.raw, reply.code)
    return reply


def _take(state: ProbeState, reply: Reply) -> None:
    if not reply.is_positive:
        from check_smtp_health.stages.keywords import masked_by

        raise Rejected(
            greeting_hint(state, reply) or masked_by(state).strip(), reply.raw, reply.code
        )
    require_code(reply, 250)
    state.names["helo"] = first_word(state, reply)
    state.connection.session.learn(reply)


def _look_here_too(state: ProbeState, banner: Reply, reply: Reply) -> None:
    """Look for the text that the banner lacks, as check_smtp does in the first reply to HELO."""
    state.lacking = None
    expect = state.settings.greeting.expect
    if not reply.has(octets(expect.text)):
        from check_smtp_health.stages.keywords import masked_by

        masked = masked_by(state)
        problem = f"neither this reply nor the banner contains {quoted(expect.text)}{masked}"
        reason: Reason = "masked" if masked else ""
        state.find(Finding("unmatched", problem, banner.raw, reason))


def greeting_hint(state: ProbeState, reply: Reply, *repeated: str) -> str:
    """Return what may help where it is our name in HELO that a server refuses; empty elsewhere.

    ``repeated`` is what the server may only be repeating.
    """
    from check_smtp_health.smtp.refusal import about

    name = own_name(state)
    if about(reply, *repeated, name) != "greeting":
        return ""
    return f"(we said {state.settings.greeting.verb} {name}, try -F)"


def own_name(state: ProbeState) -> str:
    """Return what this host calls itself."""
    return state.settings.greeting.fqdn or _address_literal(state.connection.local)


def _another_follows(state: ProbeState) -> bool:
    return state.settings.tls.mode == "starttls" and state.connection.tls is None


def offers(state: ProbeState) -> list[Finding]:
    """Return which ``--require`` keywords are missing and which ``--forbid`` ones are offered."""
    session, greeting = state.connection.session, state.settings.greeting
    missing = []
    for word in greeting.require:
        if not session.offers(*word):
            from check_smtp_health.stages.keywords import not_offered

            fault = not_offered(state, str(word))
            missing.append(Finding("not_offered", fault.problem, reason=fault.reason))
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
