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
from check_smtp_health.net.wishes import Call, Write
from check_smtp_health.smtp.session import COMMAND_LIMIT
from check_smtp_health.stages.visit import due, send
from check_smtp_health.text import printable, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from check_smtp_health.net.wishes import Wish
    from check_smtp_health.settings import Settings
    from check_smtp_health.smtp.reply import Reply
    from check_smtp_health.stages.visit import Run, Visit

HIDDEN = b"***"

# RFC 4954 section 6: what else than a wrong password a refusal can mean.
_HINTS = {
    530: "the server wants TLS first, try -S",
    534: "the server wants another mechanism, try -A",
    538: "the server wants TLS for this mechanism, try -S",
}


def mechanisms(settings: Settings) -> tuple[str, ...]:
    """Return the mechanisms that this run may use, best first.

    Raises:
        UsageFault: the one asked for is unknown, would show the password, or lacks its package.
    """
    # All imports happen here, so that none falls into the timed stage.
    import base64  # noqa: F401
    import hmac  # noqa: F401

    from check_smtp_health.smtp import sasl

    asked = settings.mechanism
    if asked is None:
        absent = () if _is_there("scramp") else ("SCRAM-SHA-256",)
        return tuple(name for name in sasl.MECHANISMS if name not in (*absent, *sasl.ONLY_IF_ASKED))
    if asked not in sasl.MECHANISMS:
        raise UsageFault("authtype", f"{quoted(asked)} is not one of {', '.join(sasl.MECHANISMS)}")
    if asked in sasl.CLEAR and not settings.may_show_password:
        raise UsageFault(
            "authtype",
            f"{asked} without TLS would show the password, use -S, --ssl or --auth-insecure",
        )
    if asked == "SCRAM-SHA-256" and not _is_there("scramp"):
        raise UsageFault(
            "authtype",
            "SCRAM-SHA-256 needs the package scramp: pip install 'check-smtp-health[scram]'",
        )
    return (asked,)


def _is_there(package: str) -> bool:
    try:
        __import__(package)
    except ImportError:
        return False
    return True


def auth(visit: Visit) -> Run:
    """Log in. What goes wrong in here unforeseen is told without its words."""
    try:
        yield from _login(visit)
    except CheckFault:
        raise
    except Exception as error:
        bug = type(error).__name__
    else:
        return
    # Not within the except clause: that exception's text, or its frames, may hold the password.
    raise AssertionError(f"{bug} in the login")


def _login(visit: Visit) -> Run:
    from check_smtp_health.smtp import sasl

    settings, session = visit.settings, visit.session
    assert settings.user is not None
    assert settings.password is not None
    if not session.offers("AUTH"):
        hint = ", try -S" if not settings.tls and session.offers("STARTTLS") else ""
        raise NotOffered(f"AUTH is not offered{hint}")
    offered = session.keywords["AUTH"]
    name = sasl.best(offered, visit.kit.mechanisms)
    if name is None:
        wanted = settings.mechanism or "a mechanism to be chosen without -A"
        raise NotOffered(f"{wanted} is not offered, only {printable(' '.join(offered))}")
    if name in sasl.CLEAR and not settings.may_show_password:
        raise LocalFault(
            f"{name} without TLS would show the password, use -S, --ssl or --auth-insecure"
        )
    password = settings.password.reveal()
    visit.secrets += [sasl.octets(password), sasl.encode(sasl.octets(password))]
    reply = yield from _exchange(visit, name, sasl.MECHANISMS[name](settings.user, password))
    if reply.code in _HINTS:
        raise Rejected(f"({_HINTS[reply.code]})", reply.raw, reply.code)
    due(reply, 235)


def _exchange(visit: Visit, name: str, mechanism: Any) -> Generator[Wish, Any, Reply]:
    from check_smtp_health.smtp import sasl

    initial = yield from _computed(name, mechanism, None)
    line = f"AUTH {name}".encode()
    # RFC 4954 section 4: what does not fit into a command line waits for the first challenge.
    waits = initial is not None and len(line) + len(sasl.encode(initial)) + 3 > COMMAND_LIMIT
    if initial is not None and not waits:
        # An empty initial response is "=", so that it is not none.
        reply = yield from _answer(visit, line + b" ", sasl.encode(initial) or b"=")
        responses = 1
    else:
        reply = yield from send(visit, Write(line + b"\r\n"))
        responses = 0
    # No mechanism has an answer to more than a few challenges, so this ends.
    while reply.code == 334:
        challenge = sasl.decode(b"".join(reply.texts))
        # With SCRAM's challenges a guessed password could be tried at home.
        visit.secrets += [text for text in reply.texts if text]
        response = initial if waits else (yield from _computed(name, mechanism, challenge))
        if response is None:
            # Section 4: "*" cancels; the reply to it is of no interest any more.
            yield Write(b"*\r\n")
            raise Violation("more challenges than the mechanism has answers", reply.raw)
        waits = False
        reply = yield from _answer(visit, b"", sasl.encode(response))
        responses += 1
    if reply.code == 235 and responses < sasl.RESPONSES[name]:
        # Whoever says yes to anybody is no proof that the password is right.
        raise Violation("a yes before the login was complete", reply.raw)
    return reply


def _computed(
    name: str, mechanism: Any, challenge: bytes | None
) -> Generator[Wish, Any, bytes | None]:
    """Return the response to a challenge; a long computation the deadline can leave behind."""
    from check_smtp_health.smtp import sasl

    if name in sasl.SLOW:
        response: bytes | None = yield Call(sasl.respond, (mechanism, challenge))
        return response
    return sasl.respond(mechanism, challenge)


def _answer(visit: Visit, before: bytes, response: bytes) -> Generator[Wish, Any, Reply]:
    if response:
        visit.secrets.append(response)
    shown = before + HIDDEN + b"\r\n"
    return (yield from send(visit, Write(before + response + b"\r\n", shown=shown)))
