"""A mailbox's login by a SASL mechanism, the same for IMAP (RFC 9051 6.2.2) and POP3 (RFC 5034)."""

from __future__ import annotations

from check_smtp_health.errors import NotOffered, Violation
from check_smtp_health.escaping import printable
from check_smtp_health.smtp import sasl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.smtp.sasl import Exchange, Mechanism

MECHANISMS_LIMIT = 6
"""Mechanisms that a sentence names; a server offers four or five."""

BY_TOKEN = {one.name for one in sasl.MECHANISMS if one.proof == "token"}
"""Mechanisms that take no password."""

HOW = "--mailbox-oauth, or ;AUTH={} in the URL"
"""What would help where a token is wanted."""


def mechanisms(name: str, *, by_token: bool) -> tuple[Mechanism, ...]:
    """Return the mechanisms that a mailbox is to be logged in to by, best first.

    ``name`` is the one that its URL asks for. There are none for a password: any will do.
    """
    named = sasl.named(name)
    if named is not None:
        return (named,)
    return tuple(one for one in sasl.MECHANISMS if by_token and one.proof == "token")


def chosen(offered: Sequence[str], wanted: Sequence[Mechanism]) -> Mechanism:
    """Return the best of the wanted mechanisms.

    Raises:
        NotOffered: none of them is offered.
    """
    mechanism = sasl.best(offered, wanted)
    if mechanism is None:
        names = " or ".join(one.name for one in wanted)
        only = f", only {listed(offered)}" if offered else ""
        raise NotOffered(f"{names} is not offered{only}")
    return mechanism


class Authentication:
    """One login; ``why`` is what the server has said of why it refuses, in a challenge."""

    __slots__ = ("_exchange", "_password", "_user", "_waiting", "mechanism", "why")

    def __init__(self, mechanism: Mechanism, user: str, password: str) -> None:
        self.mechanism = mechanism
        self.why = ""
        self._user = user
        self._password = password
        self._exchange: Exchange
        self._waiting: bytes | None = None

    def begin(self, room: int) -> bytes:
        """Begin, or begin anew; return what follows the mechanism's name in the command.

        What is longer than ``room`` bytes waits until the server asks for it.
        """
        self.why = ""
        self._exchange = self.mechanism.run(self._user, self._password)
        initial = sasl.encode(sasl.respond(self._exchange, None) or b"")
        fits = len(initial) < room
        self._waiting = None if fits else initial
        return b" " + initial if fits else b""

    def answer(self, challenge: bytes) -> bytes | None:
        """Return the line for a challenge, as it came; None where there is nothing more to say."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            return waiting
        if self.mechanism.proof == "token":
            self.why = sasl.refusal(challenge)
        response = sasl.respond(self._exchange, b"")
        return None if response is None else sasl.encode(response)

    def need_no_reason(self, reply: bytes) -> None:
        """Require that a server that lets us in has not said why it would not.

        Raises:
            Violation: it has.
        """
        if self.why:
            raise Violation(f"success after the reason of a refusal ({self.why})", reply)


def refusal(mechanism: str, others: Sequence[str] = (), why: str = "") -> str:
    """Return what is said of a login that was refused; ``others`` are offered as well.

    ``why`` is what the server said of that, before it refused.
    """
    reason = f"; {why}" if why else ""
    if not others:
        return f"login refused ({mechanism}{reason})"
    verb = "is" if len(others) == 1 else "are"
    taking = [name for name in others if name in BY_TOKEN]
    how = f": {HOW.format(taking[-1])}" if taking else ""
    return f"login refused ({mechanism}{reason}; {listed(others)} {verb} offered, too{how})"


def unable(mechanisms: Sequence[str]) -> NotOffered:
    """Return the fault for a mailbox that takes no password; ``mechanisms`` are offered instead."""
    if not mechanisms:
        return NotOffered("no login is offered")
    is_one = len(mechanisms) == 1
    problem = f"only {listed(mechanisms)} {'is' if is_one else 'are'} offered"
    if set(mechanisms) <= BY_TOKEN:
        how = HOW.format(mechanisms[-1])
        what = f"which need{'s' * is_one} an access token instead of a password ({how})"
    else:
        what = f"and this plugin cannot use {'it' if is_one else 'them'} with a password"
    return NotOffered(f"{problem}, {what}")


def listed(mechanisms: Sequence[str]) -> str:
    """Return the mechanisms that a server offers, as a sentence names them."""
    *first, last = [printable(name, 40) for name in mechanisms[:MECHANISMS_LIMIT]]
    return f"{', '.join(first)} and {last}" if first else last
