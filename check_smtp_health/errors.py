"""Everything that stops a check, as a tree whose branches say who is to blame.

``UsageFault`` and ``LocalFault`` are ours (state UNKNOWN); a ``PeerFault`` is the server's. The
``kind`` of a fault is what ``judge.states`` maps to a state. Stages raise, ``probing.probe`` alone
catches. Control never depends on the words of a fault: it has a type, a ``kind`` and a ``reason``.
"""

from __future__ import annotations

import errno

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar, Literal

    Kind = Literal[
        "backscatter",
        "bounced",
        "disconnected",
        "duplicated",
        "forbidden",
        "handshake_failed",
        "insecure",
        "interrupted",
        "listed",
        "local",
        "misconfigured",
        "misplaced",
        "no_policy",
        "not_offered",
        "noted",
        "open_relay",
        "rejected",
        "timed_out",
        "transient",
        "unanswered",
        "unauthenticated",
        "unauthorised",
        "uncovered",
        "undeleted",
        "undelivered",
        "unmatched",
        "unproven",
        "unreachable",
        "unresolvable",
        "untrusted",
        "violation",
    ]
    Why = Literal[
        "bad authority",
        "expired",
        "malformed",
        "not yet valid",
        "other",
        "self-signed",
        "unknown issuer",
        "weak authority",
        "weak key",
        "wrong name",
        "wrong purpose",
    ]
    Reason = Literal[
        "",
        "client certificate rejected",
        "client certificate wanted",
        "codes differ",
        "controls silent",
        "masked",
        "mechanism",
        "more replies",
        "name unknown",
        "no route",
        "nothing shared",
        "null mx",
        "other ports only",
        "partly refused",
        "prohibited",
        "proxy answered",
        "refused",
        "reset",
        "tls spoken",
        "tls too old",
        "unanswered",
        "various",
    ]

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""This machine has run out of something: no bug, and nobody else's fault."""


class CheckFault(Exception):
    """Base class of everything that stops a check."""


class UsageFault(CheckFault):
    """The command line, a file or an environment variable asks for something impossible.

    ``option`` is the option's long name without dashes, or empty where no option is to blame.
    """

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(option, problem)
        self.option = option
        self.problem = problem


class SessionFault(CheckFault):
    """Something stopped a session.

    ``problem`` is our sentence, ``said`` what the server said. ``subject`` is what the problem is
    about, where that is not the session's own server. ``reason`` is set where the remedy or the
    cause depends on it, for whoever knows the options, and for ``judge.causes``.
    """

    kind: ClassVar[Kind]

    def __init__(
        self, problem: str, said: bytes = b"", *, subject: str = "", reason: Reason = ""
    ) -> None:
        super().__init__(problem, said)
        self.problem = problem
        self.said = said
        self.subject = subject
        self.reason = reason

    @property
    def sentence(self) -> str:
        """The problem, and before it what it is about."""
        return f"{self.subject}: {self.problem}" if self.subject else self.problem


class LocalFault(SessionFault):
    """This machine cannot do its part: no file descriptor, a source address that is not here."""

    kind = "local"


class Interrupted(SessionFault):
    """A signal asked this process to end."""

    kind = "interrupted"


class PeerFault(SessionFault):
    """The server, or the way to it, is to blame."""


class Unresolvable(PeerFault):
    """The host name leads to no address."""

    kind = "unresolvable"


class Misdirected(PeerFault):
    """An MX host leads back to the client, or to nobody: it must not be probed."""

    kind = "misconfigured"


class Unreachable(PeerFault):
    """No connection: refused, no route."""

    kind = "unreachable"


class Busy(Unreachable):
    """A Unix socket whose backlog is full: it may be free in a moment."""


class TimedOut(PeerFault):
    """No (complete) answer in time; ``seconds`` is the time that there was."""

    kind = "timed_out"

    def __init__(self, seconds: float, unfinished: bytes = b"") -> None:
        """Take the part of an answer that had come in time, if any."""
        adjective = "complete " if unfinished else ""
        shown = max(round(seconds, 3), 0.001)  # "within 0 s" would say nothing
        super().__init__(f"no {adjective}answer within {shown:g} s", unfinished)
        self.seconds = seconds


class Expired(TimedOut):
    """The deadline of the whole run has passed: nothing further will be answered."""


class Disconnected(PeerFault):
    """The connection was closed or reset by the other side."""

    kind = "disconnected"


class Violation(PeerFault):
    """What came is not the protocol that was expected (RFC 5321, 3501, 1939)."""

    kind = "violation"


class Unasked(Violation):
    """More than one reply came to one command; ``first`` is the one before what was ``said``."""

    def __init__(self, first: bytes, said: bytes) -> None:
        super().__init__("unexpected extra reply", said, reason="more replies")
        self.first = first


class Rejected(PeerFault):
    """A well-formed reply whose ``code`` was not the one required."""

    kind = "rejected"

    def __init__(self, problem: str, said: bytes, code: int) -> None:
        super().__init__(problem, said)
        self.code = code


class Untrusted(PeerFault):
    """The certificate was rejected. Code decides by ``why``; people read ``words``."""

    kind = "untrusted"

    def __init__(self, problem: str, why: Why, words: str = "") -> None:
        super().__init__(problem)
        self.why = why
        self.words = words or why


class NotOffered(PeerFault):
    """The EHLO reply lacks an extension that the run needs."""

    kind = "not_offered"


UNANSWERED: tuple[Reason, ...] = ("no route", "prohibited", "unanswered", "various")
"""Reasons for a failure to resolve or to connect where nobody answered."""


def is_unanswered(kind: Kind, reason: Reason) -> bool:
    """Whether resolving or connecting has failed without an answer; a refusal is one."""
    return reason in UNANSWERED or (kind == "timed_out" and not reason)


def deciding(faults: Sequence[SessionFault]) -> SessionFault:
    """Return the fault that decides where all addresses failed, the last of the weightiest.

    What a peer did outweighs what this machine could not do.
    """
    return sorted(faults, key=lambda one: isinstance(one, PeerFault))[-1]
