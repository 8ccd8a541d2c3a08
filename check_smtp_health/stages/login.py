"""AUTH (RFC 4954): one attempt, with the strongest mechanism that both sides support."""

from __future__ import annotations

import re

from check_smtp_health.errors import (
    CheckFault,
    LocalFault,
    NotOffered,
    PeerFault,
    Rejected,
    TimedOut,
    UsageFault,
    Violation,
)
from check_smtp_health.escaping import printable, quoted
from check_smtp_health.net.operations import Call, Write
from check_smtp_health.smtp import sasl
from check_smtp_health.smtp.session import COMMAND_LIMIT
from check_smtp_health.stages.state import Held, require_code, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.config.accounts import Login
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import SessionFault
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.smtp.sasl import Exchange, Mechanism
    from check_smtp_health.smtp.session import Reply
    from check_smtp_health.stages.state import ProbeState, StageRun

HIDDEN = b"***"

_TLS_WANTED = {
    530: "the server wants TLS first",
    538: "the server wants TLS for this mechanism",
}
"""RFC 4954 section 6: what these codes mean where there is no TLS."""

_ACCOUNTS = (
    (rb"app(?:lication)?[ -]?(?:specific )?password", "an application-specific password is needed"),
    (rb"web browser", "the account wants a login in a web browser first"),
)
"""What large providers say about an account, whatever the mechanism, and what that means."""

_UNKNOWN_OR_WEAK = (504, 534)
"""RFC 4954 sections 4 and 6: the server does not know the mechanism, or it is too weak for it."""


def mechanisms(settings: Settings) -> tuple[Mechanism, ...]:
    """Return the mechanisms that this run may use, best first.

    In TLS those come first that every server can do: many offer CRAM-MD5 without the passwords for
    it.

    Raises:
        UsageFault: the one asked for is unknown, would show the password, or lacks its package.
    """
    assert settings.login is not None
    name = settings.login.mechanism
    if settings.login.oauth is not None and not settings.login.may_show_password:
        raise UsageFault(
            "oauth",
            "without TLS the access token would be shown, use -S, --ssl or --auth-insecure",
        )
    if name is None:
        proof = "password" if settings.login.oauth is None else "token"
        usable = [one for one in sasl.MECHANISMS if one.proof == proof and _is_usable(one)]
        if settings.tls.mode:
            usable.sort(key=lambda one: not one.is_clear)
        return tuple(usable)
    asked = sasl.named(name)
    if asked is None:
        known = ", ".join(one.name for one in sasl.MECHANISMS)
        raise UsageFault("authtype", f"{quoted(name)} is not one of {known}")
    if settings.login.oauth is not None and asked.proof != "token":
        takers = " and ".join(one.name for one in sasl.MECHANISMS if one.proof == "token")
        raise UsageFault("authtype", f"{name} takes no access token (--oauth), {takers} do")
    if asked.is_clear and not settings.login.may_show_password:
        raise UsageFault(
            "authtype",
            f"{name} without TLS would expose the password, use -S, --ssl or --auth-insecure",
        )
    if not _is_usable(asked):
        raise UsageFault("authtype", _lacking(asked))
    return (asked,)


def _lacking(mechanism: Mechanism) -> str:
    """Return what has to be installed for a mechanism that is not usable."""
    assert mechanism.package is not None
    from check_smtp_health.config.remedies import missing

    return f"{mechanism.name} {missing(mechanism.package)}"


def _is_usable(mechanism: Mechanism) -> bool:
    """Whether the package is there that the mechanism needs."""
    if mechanism.package is None:
        return True
    try:
        __import__(mechanism.package)
    except ImportError:
        return False
    return True


def auth(state: ProbeState) -> StageRun:
    """Log in. Unexpected exceptions are reported by type only: their text may hold the password."""
    try:
        yield from _login(state)
    except CheckFault:
        raise
    except Exception as error:
        bug = type(error).__name__
    else:
        return
    # Not within the except clause: that exception's text, or its frames, may hold the password.
    raise AssertionError(f"{bug} in the login")


def _login(state: ProbeState) -> StageRun:
    login = state.settings.login
    assert login is not None
    mechanism = _chosen(state, login)
    exchange = mechanism.run(login.user, login.password.reveal())
    try:
        reply, why = yield from _exchange(state, mechanism, exchange)
        if not reply.is_positive:
            problem = f"({why})" if why else _hint(state, mechanism, reply)
            raise Rejected(problem, reply.raw, reply.code)
        require_code(reply, 235)
        if why:
            raise Violation(f"success after the reason of a refusal ({why})", reply.raw)
    except PeerFault as fault:
        fault.subject = mechanism.name
        raise
    state.held.append(Held(f"logged in by {mechanism.name}"))


def _chosen(state: ProbeState, login: Login) -> Mechanism:
    """Return the mechanism to log in with.

    Raises:
        NotOffered: there is none that both sides support.
        LocalFault: something is missing on this host.
    """
    settings, session = state.settings, state.connection.session
    if not session.offers("AUTH"):
        hint = ", try -S" if not settings.tls.mode and session.offers("STARTTLS") else ""
        from check_smtp_health.stages.keywords import not_offered

        raise not_offered(state, "AUTH", hint)
    # Each once: many servers have a second line in an old form.
    offered = list({name.upper(): name for name in session.keywords["AUTH"]}.values())
    if not offered:
        raise NotOffered("AUTH is offered without any mechanism", reason="mechanism")
    mechanism = sasl.best(offered, state.prepared.mechanisms)
    if mechanism is None:
        raise _none_of(state, login, offered)
    if mechanism.is_clear and not login.may_show_password:
        raise LocalFault(
            f"{mechanism.name} without TLS would expose the password, "
            "use -S, --ssl or --auth-insecure"
        )
    return mechanism


def _none_of(state: ProbeState, login: Login, offered: Sequence[str]) -> SessionFault:
    """Return the fault for a server whose mechanisms are all unusable, and what would help."""
    words = printable(state.mask.applied(" ".join(offered)))
    if login.mechanism is not None:
        problem = f"{login.mechanism} is not offered, only {words}"
        return NotOffered(problem, reason="mechanism")
    if login.oauth is not None:
        problem = f"no mechanism for an access token is offered, only {words}"
        return NotOffered(problem, reason="mechanism")
    only = f"the server offers only {words}"
    known = [one for one in sasl.MECHANISMS if one.name in map(str.upper, offered)]
    for one in known:
        if one.proof == "password" and not _is_usable(one):
            return LocalFault(f"{only}, and {_lacking(one)}")
    for one in known:
        if one.proof == "token":
            return NotOffered(
                f"{only}, and {one.name} needs an access token "
                f"(--oauth, or -A {one.name} with the token as password)",
                reason="mechanism",
            )
    for one in known:
        if one.proof == "certificate":
            return NotOffered(
                f"{only}, and {one.name} needs a client certificate (-A {one.name} and --cert)",
                reason="mechanism",
            )
    return NotOffered(f"{only}, none of which this plugin supports", reason="mechanism")


def _hint(state: ProbeState, mechanism: Mechanism, reply: Reply) -> str:
    """Return what else than a wrong password a refusal means, and what would help."""
    for words, meaning in _ACCOUNTS:
        if re.search(words, reply.raw, re.IGNORECASE):
            return f"({meaning})"
    if reply.code in _TLS_WANTED:
        if state.settings.tls.mode:
            return ""
        hint = ", try -S" if state.connection.session.offers("STARTTLS") else ""
        return f"({_TLS_WANTED[reply.code]}{hint})"
    other = _another(state, mechanism, reply.code)
    return f", try -A {other.name}" if other is not None else ""


def _another(state: ProbeState, refused: Mechanism, code: int) -> Mechanism | None:
    """Return a mechanism that may do where one was refused that may not be to blame itself.

    A password is right or wrong by PLAIN; for the others the server must have stored it in a form
    that it often has not.
    """
    login = state.settings.login
    assert login is not None
    if refused.proof != "password" or code == 421:
        return None
    others = [
        one
        for one in sasl.MECHANISMS
        if one != refused
        and one.proof == "password"
        and (login.may_show_password or not one.is_clear)
        and _is_usable(one)
    ]
    if code not in _UNKNOWN_OR_WEAK:
        others = [one for one in others if one.is_clear and not refused.is_clear]
    return sasl.best(state.connection.session.keywords["AUTH"], others)


def _exchange(
    state: ProbeState, mechanism: Mechanism, exchange: Exchange
) -> Procedure[tuple[Reply, str]]:
    """Return the reply to a login, and what the server said before it of why it refuses."""
    why = ""
    initial = yield from _computed(mechanism, exchange, None)
    line = f"AUTH {mechanism.name}".encode()
    # RFC 4954 section 4: what does not fit into a command line waits for the first challenge.
    waits = initial is not None and len(line) + len(sasl.encode(initial)) + 3 > COMMAND_LIMIT
    if initial is not None and not waits:
        # An empty initial response is "=", so that it is not none.
        reply = yield from _respond(state, line + b" ", sasl.encode(initial) or b"=")
        responses = 1
    else:
        reply = yield from send(state, Write(line + b"\r\n"))
        responses = 0
    # No mechanism has a response to more than a few challenges, so this ends.
    while reply.code == 334:
        challenge = b""
        if mechanism.heeds_challenges:
            challenge = sasl.decode(b"".join(reply.texts))
            # With SCRAM's challenges a guessed password could be tried at home.
            state.mask.add(*reply.texts)
        if mechanism.proof == "token" and not waits:
            why = state.mask.applied(sasl.refusal(b"".join(reply.texts)))
        response = initial if waits else (yield from _computed(mechanism, exchange, challenge))
        if response is None:
            # Section 4: "*" cancels; the reply to it is of no interest any more.
            yield Write(b"*\r\n")
            raise Violation("more challenges than the mechanism has answers", reply.raw)
        waits = False
        reply = yield from _respond(state, b"", sasl.encode(response))
        responses += 1
    if reply.code == 235 and responses < mechanism.responses:
        # A server that accepts everybody does not prove that the password is right.
        raise Violation("success before the login was complete", reply.raw)
    return reply, why


def _computed(
    mechanism: Mechanism, exchange: Exchange, challenge: bytes | None
) -> Procedure[bytes | None]:
    """Return the response to a challenge; the deadline can leave a long computation behind.

    Raises:
        TimedOut: there was not enough time; the server has answered, so it is not silent.
    """
    if not mechanism.is_slow:
        return sasl.respond(exchange, challenge)
    response: bytes | None
    try:
        response = yield Call(sasl.respond, (exchange, challenge))
    except TimedOut as fault:
        fault.problem = "the server asks for more computing than there is time for"
        fault.reason = "various"
        raise
    return response


def _respond(state: ProbeState, before: bytes, response: bytes) -> Procedure[Reply]:
    state.mask.add(response)
    shown = before + HIDDEN + b"\r\n"
    return (yield from send(state, Write(before + response + b"\r\n", shown=shown)))
