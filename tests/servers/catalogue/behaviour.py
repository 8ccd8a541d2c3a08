"""What a row of the catalogue is, and short ways to write one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.servers.certificates import ServerStep
from tests.servers.network import Network
from tests.servers.scripted import Expect, Sleep

NAME = "mail.example.org"
"""The server's, as certificates have it."""

TIMEOUT = 1
"""Seconds of a row's deadline, unless it has another."""

TARGET = "127.0.0.1:25"
"""Whatever the port."""

BANNER = b"220 mx.example ESMTP\r\n"
HELO = (Expect(b"HELO me.example\r\n"), b"250 mx.example\r\n")
EHLO = Expect(b"EHLO me.example\r\n")
QUIT = (Expect(b"QUIT\r\n"), b"221 bye\r\n")

TURNED_AWAY = (Expect(b""), b"221 bye\r\n")
"""Behind a banner of 554 we say QUIT, but check_smtp HELO."""

PAUSE = Sleep(0.2)
"""What it comes before is the slowest stage beyond doubt."""

CONNECTED = "time connect"
GREETED = "time connect banner"
HELOED = "time connect banner helo"
DONE = "time connect banner helo quit"


@dataclass(frozen=True)
class Answer:
    """A state and a first line without perfdata; times and dates are ``#``, the port is 25."""

    state: str
    line: str


@dataclass(frozen=True)
class Question:
    """What a program is asked, as options, beside address, name and deadline.

    ``theirs`` are those of check_smtp where they differ. Where it has none that would do,
    ``unasked`` says what it lacks.
    """

    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] | None = None
    unasked: str = ""

    @property
    def for_check_smtp(self) -> tuple[str, ...]:
        """Its options."""
        return self.ours if self.theirs is None else self.theirs


WELL = Question()
"""Is the server well?"""


@dataclass(frozen=True, eq=False)
class Behaviour:
    """A row: what the server does, and what the plugin must say of it.

    ``said`` is what follows state and target in the status line, with ``# s`` for a measured time
    and ``#`` for a date; ``labels`` are those of the perfdata, in their order. A ``quick`` row is
    answered well before the deadline, another at it. ``host`` is what the programs are given, and
    ``network`` the way there, where that is not loopback; ``times`` are seconds that a stage takes,
    at least and at most.
    """

    name: str
    script: tuple[ServerStep, ...]
    state: str
    said: str
    labels: str
    asks: Question = WELL
    quick: bool = True
    target: str = TARGET
    timeout: int = TIMEOUT
    host: str = ""
    network: Network | None = None
    times: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def due(self) -> Answer:
        """What the plugin must answer."""
        line = " ".join(filter(None, (f"SMTP {self.state} -", self.target, self.said)))
        return Answer(self.state, line)


def ok(
    name: str,
    *script: ServerStep,
    asks: Question = WELL,
    slowest: str = "banner",
    labels: str = DONE,
    besides: str = "",
    quick: bool = True,
) -> Behaviour:
    """Return the row of a server that is well; ``besides`` is what else was seen to hold."""
    said = f"answered in # s (slowest: {slowest} # s){besides}"
    return Behaviour(name, script, "OK", said, labels, asks, quick)


def warning(
    name: str, said: str, labels: str, *script: ServerStep, asks: Question = WELL
) -> Behaviour:
    """Return the row of a server that is worth a look."""
    return Behaviour(name, script, "WARNING", said, labels, asks)


def critical(
    name: str, said: str, labels: str, *script: ServerStep, asks: Question = WELL
) -> Behaviour:
    """Return the row of a server that fails, and is known to at once."""
    return Behaviour(name, script, "CRITICAL", said, labels, asks)


def hangs(
    name: str, said: str, labels: str, *script: ServerStep, asks: Question = WELL
) -> Behaviour:
    """Return the row of a server that fails by the deadline."""
    return Behaviour(name, script, "CRITICAL", said, labels, asks, quick=False)
