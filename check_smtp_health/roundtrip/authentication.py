"""A mailbox's login by a SASL mechanism, the same for IMAP (RFC 9051 6.2.2) and POP3 (RFC 5034)."""

from __future__ import annotations

from check_smtp_health.smtp import sasl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.smtp.sasl import Exchange, Mechanism

PLAIN = "PLAIN"


def mechanisms(name: str, *, by_token: bool) -> tuple[Mechanism, ...]:
    """Return the mechanisms that a mailbox is to be logged in to by, best first.

    ``name`` is the one that its URL asks for. None are for a password, in whatever way is offered.
    """
    named = sasl.named(name)
    if named is not None:
        return (named,)
    return tuple(one for one in sasl.MECHANISMS if by_token and one.proof == "token")


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


def lacking(wanted: Sequence[Mechanism], others: str) -> str:
    """Return what is said where none of the wanted mechanisms is offered, but ``others`` are."""
    names = " or ".join(one.name for one in wanted)
    only = f", only {others}" if others else ""
    return f"{names} is not offered{only}"
