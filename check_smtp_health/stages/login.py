"""AUTH (RFC 4954): one attempt, with the best mechanism that both sides have."""

from __future__ import annotations

from check_smtp_health.errors import (
    CheckFault,
    LocalFault,
    NotOffered,
    Rejected,
    UsageFault,
    Violation,
)
from check_smtp_health.escaping import printable, quoted
from check_smtp_health.net.operations import Call, Write
from check_smtp_health.smtp import sasl
from check_smtp_health.smtp.session import COMMAND_LIMIT
from check_smtp_health.stages.state import not_offered, require_code, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.smtp.sasl import Exchange, Mechanism
    from check_smtp_health.smtp.session import Reply
    from check_smtp_health.stages.state import ProbeState, StageRun

HIDDEN = b"***"

# RFC 4954 section 6: what else than a wrong password a refusal can mean.
_HINTS = {534: "the server wants another mechanism, try -A"}
_HINTS_IN_CLEAR = {
    530: "the server wants TLS first, try -S",
    538: "the server wants TLS for this mechanism, try -S",
}


def mechanisms(settings: Settings) -> tuple[Mechanism, ...]:
    """Return the mechanisms that this run may use, best first.

    Raises:
        UsageFault: the one asked for is unknown, would show the password, or lacks its package.
    """
    assert settings.login is not None
    name = settings.login.mechanism
    if name is None:
        return tuple(one for one in sasl.MECHANISMS if not one.takes_token and _is_usable(one))
    asked = sasl.named(name)
    if asked is None:
        known = ", ".join(one.name for one in sasl.MECHANISMS)
        raise UsageFault("authtype", f"{quoted(name)} is not one of {known}")
    if asked.is_clear and not settings.login.may_show_password:
        raise UsageFault(
            "authtype",
            f"{name} without TLS would show the password, use -S, --ssl or --auth-insecure",
        )
    if asked.package is not None and not _is_usable(asked):
        package, extra = asked.package
        raise UsageFault(
            "authtype",
            f"{name} needs the package {package}: pip install 'check-smtp-health[{extra}]'",
        )
    return (asked,)


def _is_usable(mechanism: Mechanism) -> bool:
    """Whether the package is there that the mechanism needs."""
    if mechanism.package is None:
        return True
    try:
        __import__(mechanism.package[0])
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
    settings, session = state.settings, state.connection.session
    login = settings.login
    assert login is not None
    if not session.offers("AUTH"):
        hint = ", try -S" if not settings.tls.mode and session.offers("STARTTLS") else ""
        raise not_offered(state, f"AUTH is not offered{hint}")
    offered = session.keywords["AUTH"]
    mechanism = sasl.best(offered, state.prepared.mechanisms)
    if mechanism is None:
        wanted = login.mechanism or "a mechanism to be chosen without -A"
        words = printable(state.mask.applied(" ".join(offered)))
        raise NotOffered(f"{wanted} is not offered, only {words}", reason="mechanism")
    if mechanism.is_clear and not login.may_show_password:
        raise LocalFault(
            f"{mechanism.name} without TLS would show the password, "
            "use -S, --ssl or --auth-insecure"
        )
    exchange = mechanism.run(login.user, login.password.reveal())
    reply = yield from _exchange(state, mechanism, exchange)
    hints = _HINTS if settings.tls.mode else {**_HINTS, **_HINTS_IN_CLEAR}
    if reply.code in hints:
        raise Rejected(f"({hints[reply.code]})", reply.raw, reply.code)
    require_code(reply, 235)
    state.held.append(f"logged in by {mechanism.name}")


def _exchange(state: ProbeState, mechanism: Mechanism, exchange: Exchange) -> Procedure[Reply]:
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
        challenge = sasl.decode(b"".join(reply.texts))
        # With SCRAM's challenges a guessed password could be tried at home.
        state.mask.add(*reply.texts)
        response = initial if waits else (yield from _computed(mechanism, exchange, challenge))
        if response is None:
            # Section 4: "*" cancels; the reply to it is of no interest any more.
            yield Write(b"*\r\n")
            raise Violation("more challenges than the mechanism has answers", reply.raw)
        waits = False
        reply = yield from _respond(state, b"", sasl.encode(response))
        responses += 1
    if reply.code == 235 and responses < mechanism.responses:
        # A server that accepts anybody does not prove that the password is right.
        raise Violation("a yes before the login was complete", reply.raw)
    return reply


def _computed(
    mechanism: Mechanism, exchange: Exchange, challenge: bytes | None
) -> Procedure[bytes | None]:
    """Return the response to a challenge; the deadline can leave a long computation behind."""
    if mechanism.is_slow:
        response: bytes | None = yield Call(sasl.respond, (exchange, challenge))
        return response
    return sasl.respond(exchange, challenge)


def _respond(state: ProbeState, before: bytes, response: bytes) -> Procedure[Reply]:
    state.mask.add(response)
    shown = before + HIDDEN + b"\r\n"
    return (yield from send(state, Write(before + response + b"\r\n", shown=shown)))
