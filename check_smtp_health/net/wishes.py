"""What a session may ask of the world, and the answer it gets. Values only.

A session is a generator: it yields a wish and is sent an ``Answer``.
"""

from __future__ import annotations

from check_smtp_health.values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from typing import Any, TypeVar, Union

    from check_smtp_health.net.tls import Trust

    Wish = Union["Connect", "Read", "Write", "StartTls", "Call", "Pause", "Close", "Together"]
    _T = TypeVar("_T")
    Dialogue = Generator[Wish, "Answer", _T]
    Run = Generator[Wish, Any, _T]


class Address(NamedTuple):
    """Where to connect: a socket family and its address, as ``socket`` takes them."""

    family: int
    sockaddr: Any

    @property
    def host(self) -> str:
        """The IP address (with its scope, where it has one), or the path of a Unix socket."""
        return self.sockaddr if isinstance(self.sockaddr, str) else self.sockaddr[0]


class Connect(NamedTuple):
    """Open the session's connection. The answer's value is the local ``Address``.

    ``share`` is the part of the time left that this one attempt may use. With ``datagrams`` it is
    UDP: each ``Write`` sends one, each ``Read`` takes one.
    """

    address: Address
    source: str | None = None
    share: float = 1.0
    limit: float | None = None
    datagrams: bool = False


class Read(NamedTuple):
    """Wait for bytes; ``b""`` is the connection's end. ``limit`` in seconds."""

    limit: float | None = None


class Write(NamedTuple):
    """Send all of ``data``; ``shown`` takes its place in the transcript where it holds a secret."""

    data: bytes
    shown: bytes | None = None
    limit: float | None = None


class StartTls(NamedTuple):
    """Turn the connection into TLS; the answer's value is a ``certificate.Agreed``.

    ``trust`` is a ``tls.Trust``; ``name`` is sent (SNI) and verified, where it is one.
    """

    trust: Trust
    name: str | None = None
    limit: float | None = None


class Call(NamedTuple):
    """Have ``function(*arguments)`` run where it may block; its value is the answer's value.

    One that ``outlives`` the run's deadline has its ``limit`` alone.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    limit: float | None = None
    outlives: bool = False


class Dated(NamedTuple):
    """What a ``Call`` may return where its value is older than the moment it returns."""

    value: Any
    moment: float


class Pause(NamedTuple):
    """Do nothing for ``limit`` seconds."""

    limit: float


class Close(NamedTuple):
    """Close the connection, if there is one."""


class Together(NamedTuple):
    """Have other dialogues served at the same time, each with a connection of its own.

    The answer's value is the list of what they returned, in their order; of one that a
    ``SessionFault`` ended, the fault. It has no limit: they are held to the deadline themselves.
    """

    dialogues: Sequence[Dialogue[Any]]


class Answer(NamedTuple):
    """A wish's outcome, and the moments it was taken up and completed (monotonic, in seconds).

    ``value`` is an exception where it could not be had: a ``SessionFault``, or a bug in what a
    ``Call`` ran. The moments are taken by the driver, before anybody looks at what came.
    """

    value: Any
    began: float
    ended: float

    @property
    def fault(self) -> BaseException | None:
        """The exception, where there was one."""
        return self.value if isinstance(self.value, BaseException) else None


def answered(run: Run[_T]) -> Dialogue[_T]:
    """Serve a run that wants no moments: it is sent the values alone, and thrown the faults."""
    try:
        wish = next(run)
        while True:
            answer = yield wish
            fault = answer.fault
            wish = run.send(answer.value) if fault is None else run.throw(fault)
    except StopIteration as stop:
        value: _T = stop.value
        return value
