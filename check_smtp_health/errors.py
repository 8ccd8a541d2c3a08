"""Everything that stops a check, as a tree whose branches say who is to blame.

``UsageFault`` and ``LocalFault`` are ours (state UNKNOWN); a ``PeerFault`` is the server's, and
its ``kind`` is what ``evaluation`` maps to a state. Stages raise, ``probe`` alone catches.
"""

from __future__ import annotations


class CheckFault(Exception):
    """Root of the tree."""


class UsageFault(CheckFault):
    """The command line, a file or an environment variable asks for something impossible.

    ``option`` is the option's long name without dashes, or empty where no option is to blame.
    """

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(option, problem)
        self.option = option
        self.problem = problem


class SessionFault(CheckFault):
    """Something stopped a session. ``problem`` is our sentence, ``said`` what the server said."""

    kind = ""

    def __init__(self, problem: str, said: bytes = b"") -> None:
        super().__init__(problem, said)
        self.problem = problem
        self.said = said


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


class Unreachable(PeerFault):
    """No connection: refused, no route."""

    kind = "unreachable"


class Busy(Unreachable):
    """A Unix socket whose backlog is full: it may be free in a moment."""


class TimedOut(PeerFault):
    """No (complete) answer in time."""

    kind = "timed_out"


class Expired(TimedOut):
    """The deadline of the whole run has passed, so that nothing further can be had."""


class Unanswered(PeerFault):
    """No name server answers a question about the server, or all refuse to."""

    kind = "unanswered"


class NoPolicy(PeerFault):
    """There is no policy of the kind that was asked for, or none that anybody could follow."""

    kind = "no_policy"


class Insecure(PeerFault):
    """DNSSEC does not vouch for records that count only if it does."""

    kind = "insecure"


class Disconnected(PeerFault):
    """The connection was closed or reset by the other side."""

    kind = "disconnected"


class Violation(PeerFault):
    """What came is not SMTP as RFC 5321 has it."""

    kind = "violation"


class Rejected(PeerFault):
    """A well-formed reply whose ``code`` was not the one due."""

    kind = "rejected"

    def __init__(self, problem: str, said: bytes, code: int) -> None:
        super().__init__(problem, said)
        self.code = code


class Refused(PeerFault):
    """A mailbox's no, which has no code: to a login, a folder, a command."""

    kind = "rejected"


class Undelivered(PeerFault):
    """The message was accepted, but is not in its mailbox in time."""

    kind = "undelivered"


class Bounced(PeerFault):
    """A notification came back: the message was accepted, but could not be delivered."""

    kind = "bounced"


class HandshakeFailed(PeerFault):
    """TLS could not be agreed on."""

    kind = "handshake_failed"


class Untrusted(PeerFault):
    """The certificate was rejected; ``reason`` is why, in two words at most."""

    kind = "untrusted"

    def __init__(self, problem: str, reason: str) -> None:
        super().__init__(problem)
        self.reason = reason


class NotOffered(PeerFault):
    """The EHLO reply lacks an extension that the run needs."""

    kind = "not_offered"
