"""What a session may ask of the world, and what comes of it. Values only.

A session is a generator: it yields an operation and is sent its ``Outcome``.
"""

from __future__ import annotations

from check_smtp_health.errors import PeerFault, SessionFault
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from typing import Any, TypeVar, Union

    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.trust import Trust

    Operation = Union[
        "Connect", "Read", "Write", "StartTls", "Call", "Pause", "Close", "Together", "Within"
    ]
    _T = TypeVar("_T")
    TimedProcedure = Generator[Operation, "Outcome", _T]
    Procedure = Generator[Operation, Any, _T]


class Connect(NamedTuple):
    """Open the session's connection. The outcome's value is the local ``Address``.

    ``share`` is the part of the time left that this one attempt may use. With ``datagrams`` it is
    UDP: each ``Write`` sends one, each ``Read`` takes one. ``is_session`` says that SMTP is going
    to be spoken: among many checks, it waits for its turn.
    """

    address: Address
    source: str | None = None
    share: float = 1.0
    limit: float | None = None
    datagrams: bool = False
    is_session: bool = False


class Read(NamedTuple):
    """Wait for bytes; ``b""`` is the connection's end. ``limit`` in seconds.

    ``is_private`` says that it is somebody's mail, of which the transcript has the length only.
    """

    limit: float | None = None
    is_private: bool = False


class Write(NamedTuple):
    """Send all of ``data``; ``shown`` takes its place in the transcript where it holds a secret."""

    data: bytes
    shown: bytes | None = None
    limit: float | None = None


class StartTls(NamedTuple):
    """Turn the connection into TLS; the outcome's value is a ``certificate.Handshake``.

    ``trust`` is a ``tls.Trust``; ``name`` is sent (SNI) and verified, where it is one.
    """

    trust: Trust
    name: str | None = None
    limit: float | None = None


class Call(NamedTuple):
    """Have ``function(*arguments)`` run where it may block; its value is the outcome's."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    limit: float | None = None


class Pause(NamedTuple):
    """Do nothing for ``limit`` seconds.

    One that ``is_idle`` ends as soon as nobody else is served.
    """

    limit: float
    is_idle: bool = False


class Close(NamedTuple):
    """Close the connection, if there is one."""


class Together(NamedTuple):
    """Have other procedures served at the same time, each with a connection of its own.

    The outcome's value is the list of what they returned, in their order; of one that a
    ``SessionFault`` ended, the fault. It has no limit: they are held to the deadline themselves,
    or to an earlier one, after a ``share`` of the time left.
    """

    procedures: Sequence[TimedProcedure[Any]]
    share: float = 1.0


class Within(NamedTuple):
    """As ``Together``, but for ``seconds`` from now, whatever is left until the run's deadline.

    What these procedures have served in turn is held to that limit, too. A signal still ends them.
    """

    seconds: float
    procedures: Sequence[TimedProcedure[Any]]


class Timestamped(NamedTuple):
    """What a procedure served by ``Together`` or ``Within`` may return, to be ``value`` there.

    For that outcome, the procedure ended at ``moment``, whatever it has done since.
    """

    value: Any
    moment: float


class Outcome(NamedTuple):
    """What came of an operation, and the moments it began and ended (monotonic, in seconds).

    ``value`` is an exception where there is no other: a ``SessionFault``, or a bug in what a
    ``Call`` ran. The moments are taken by the driver, before anybody looks at what came.
    """

    value: Any
    began: float
    ended: float

    @property
    def fault(self) -> BaseException | None:
        """The exception, where there was one."""
        return self.value if isinstance(self.value, BaseException) else None


class Watch:
    """Reads the time off the outcomes of a procedure: when it began, and how late it is now."""

    __slots__ = ("began", "now")

    def __init__(self) -> None:
        self.began: float | None = None
        self.now = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the procedure's first operation began."""
        return 0.0 if self.began is None else self.now - self.began

    def note(self, outcome: Outcome) -> None:
        """Take the moments of an outcome."""
        if self.began is None:
            self.began = outcome.began
        self.now = outcome.ended


def untimed(procedure: Procedure[_T], watch: Watch | None = None) -> TimedProcedure[_T]:
    """Serve a procedure that needs no outcomes: it is sent values only, and thrown the faults.

    Where it needs moments after all, it reads them off the ``watch``.
    """
    try:
        operation = next(procedure)
        while True:
            outcome = yield operation
            if watch is not None:
                watch.note(outcome)
            fault = outcome.fault
            operation = procedure.send(outcome.value) if fault is None else procedure.throw(fault)
    except StopIteration as stop:
        value: _T = stop.value
        return value


def together(procedures: Iterable[Procedure[Any]]) -> Procedure[list[Any]]:
    """Return what each procedure returns, or the fault of whoever was asked.

    Raises:
        SessionFault: it is not they who are to blame: a signal came, for example.
    """
    results: list[Any] = yield Together([untimed(one) for one in procedures])
    for result in results:
        if isinstance(result, SessionFault) and not isinstance(result, PeerFault):
            raise result
    return results
