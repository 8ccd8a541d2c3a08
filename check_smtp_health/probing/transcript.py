"""The transcript of a session: what was sent and received, and when. Loaded where it is shown.

A line that comes in pieces is kept together, and what is private is counted instead of kept.
"""

from __future__ import annotations

from check_smtp_health.errors import SessionFault
from check_smtp_health.net.operations import Connect, Read, StartTls, Write
from check_smtp_health.report import Exchange
from check_smtp_health.smtp.session import LINE_COST
from check_smtp_health.stages.state import sentence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from check_smtp_health.net.operations import Operation, Outcome, TimedProcedure, Within

    _T = TypeVar("_T")


class Transcript:
    """What one connection has carried, on the time axis that begins at ``origin``.

    That is None until the first operation, with which it begins. ``room`` is how many bytes are
    left, less than 0 once something did not fit: it ends there.
    """

    __slots__ = ("_hidden", "exchanges", "origin", "room")

    def __init__(self, room: int, origin: float | None = None) -> None:
        self.origin = origin
        self.exchanges: list[Exchange] = []
        self.room = room
        self._hidden = 0

    def overheard(self, operation: Within) -> TimedProcedure[Any]:
        """Have procedures served, and add what each sends and receives, one after the other."""
        room = self.room // max(1, len(operation.procedures))
        heard = [Transcript(room, 0.0) for _ in operation.procedures]
        procedures = [one.overhear(each) for one, each in zip(heard, operation.procedures)]
        outcome = yield operation._replace(procedures=procedures)
        if self.origin is None:
            self.origin = outcome.began
        for one in heard:
            for moment, sender, data in one.exchanges:
                self._add(moment - self.origin, sender, data)
        return outcome

    def overhear(self, procedure: TimedProcedure[_T]) -> TimedProcedure[_T]:
        """Serve a procedure, and note what is said."""
        try:
            operation = next(procedure)
            while True:
                outcome = yield operation
                self.note(operation, outcome)
                operation = procedure.send(outcome)
        except StopIteration as stop:
            value: _T = stop.value
            return value

    def note(self, operation: Operation, outcome: Outcome) -> None:
        """Note what an operation has come to."""
        value, began, ended = outcome
        if self.origin is None:
            self.origin = began
        moment = ended - self.origin
        if isinstance(value, BaseException):
            if isinstance(value, SessionFault):
                self._add(moment, "*", sentence(value).encode())
        elif isinstance(operation, Read):
            if not value:
                self._add(moment, "*", b"connection closed")
            elif operation.is_private:
                self._hide(moment, len(value))
            else:
                self._note_received(moment, value)
        elif isinstance(operation, Write):
            self._add(moment, "C", operation.shown or operation.data)
        elif isinstance(operation, Connect):
            self._add(moment, "*", f"connected to {operation.address.host}".encode())
        elif isinstance(operation, StartTls):
            self._add(moment, "*", f"{value.version} begins".encode())

    def _add(self, moment: float, sender: str, data: bytes) -> None:
        self._hidden = 0
        if self.room < 0:
            return
        self.room -= _cost(data)
        if self.room < 0:
            sender, data = "*", b"what follows is not kept: there is no room left"
        self.exchanges.append(Exchange._make((moment, sender, data)))

    def _take_back(self) -> None:
        """Forget the last exchange."""
        self.room += _cost(self.exchanges.pop().data)

    def _hide(self, moment: float, size: int) -> None:
        """Note how much came, instead of what."""
        hidden = self._hidden + size
        if self._hidden and self.room >= 0:
            self._take_back()
        self._add(moment, "*", f"{hidden} bytes, not shown".encode())
        self._hidden = hidden

    def _note_received(self, moment: float, data: bytes) -> None:
        """Keep a line together that came in pieces; it bears the moment of the last one."""
        if self.exchanges and self.exchanges[-1].sender == "S":
            before = self.exchanges[-1]
            lines, newline, rest = before.data.rpartition(b"\n")
            if rest:
                self._take_back()
                if newline:
                    self._add(before.moment, "S", lines + newline)
                data = rest + data
        self._add(moment, "S", data)


def _cost(data: bytes) -> int:
    """Return how much room an exchange takes, with all that is made of its lines."""
    return len(data) + LINE_COST * (1 + data.count(b"\n"))
