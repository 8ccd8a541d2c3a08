"""What one session has learned so far, and what all stages do: send a line, judge the reply."""

from __future__ import annotations

from check_smtp_health.errors import (
    EXHAUSTED,
    Disconnected,
    LocalFault,
    Rejected,
    TimedOut,
)
from check_smtp_health.escaping import internal_error
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.operations import Read, Write
from check_smtp_health.report import duration
from check_smtp_health.smtp.session import REPLY_LIMIT, Session, command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from check_smtp_health.config.mailbox_url import Mailbox
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Reason, SessionFault
    from check_smtp_health.masking import Mask
    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.certificate import Handshake
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.net.trust import Trust
    from check_smtp_health.report import Finding, Host, Report
    from check_smtp_health.report.delivery import Delivery
    from check_smtp_health.roundtrip.mailbox import Whole
    from check_smtp_health.roundtrip.matching import MessageQuery
    from check_smtp_health.roundtrip.search import Search
    from check_smtp_health.smtp.sasl import Mechanism
    from check_smtp_health.smtp.session import Reply
    from check_smtp_health.stages.tokens import Tokens

    StageRun = Procedure[None]

READ = Read()
"""The most frequent operation, made once."""

REMEDIES: dict[Reason, str] = {
    "tls spoken": "TLS instead of SMTP, try --ssl",
    "tls too old": "the server's TLS is older than --tls-min",
    "client certificate rejected": "the server rejects the client certificate of --cert",
    "client certificate wanted": "the server wants a client certificate, give --cert and --key",
}
"""Hints for faults from rooms that do not know the options."""

ROOM = 6 * 1024 * 1024
"""Bytes of what servers say that a run keeps, of each of three sorts: replies that are coming,
words that are shown, the transcript. Each is kept in several forms in the end, for an answer."""

LEAST_ROOM = 2 * 1024
"""Bytes of them that each target may use, however many there are: healthy servers need 1 KiB."""

MOST_ROOM = 2 * 1024 * 1024
"""Bytes that one target may use, however few there are: as text, as JSON and as bytes they are many
times as much."""

LEAST_WORDS = 256
"""Bytes of any reply that are kept where there is no more room."""


class Room:
    """What the targets of a run may use of its memory, each as much as any other.

    So what servers say costs the run no more the more of them there are, and a thousand that say
    much leave as much room to the one that is well. ``targets`` is how many are known so far.
    """

    __slots__ = ("targets",)

    def __init__(self) -> None:
        self.targets = 0

    @property
    def share(self) -> int:
        """Bytes that each of them may use."""
        share = ROOM // (self.targets or 1)
        if share > MOST_ROOM:
            return MOST_ROOM
        return share if share > LEAST_ROOM else LEAST_ROOM


class RoundTripTools(NamedTuple):
    """What sending a message takes: ``stamp`` makes a token and a date, ``search`` finds it."""

    stamp: Callable[[], tuple[str, str]]
    search: Search | None = None


class Prepared(NamedTuple):
    """What was made ready for all targets, before any clock ran.

    ``mechanisms`` are the SASL mechanisms that may be used, best first; ``servers`` the name
    servers to ask, where there is something that only they know; ``secrets`` the forms of passwords
    that nobody may be shown, whoever says them; ``tokens`` how to get access tokens.
    """

    trust: Trust | None = None
    mechanisms: tuple[Mechanism, ...] = ()
    servers: Servers | None = None
    roundtrip: RoundTripTools | None = None
    secrets: tuple[bytes, ...] = ()
    tokens: Tokens | None = None


class NextHops:
    """The names of each mail domain that led to a target, as long as nobody has judged them."""

    def __init__(self) -> None:
        self._domains: list[tuple[str, ...]] = []
        self._is_judged = False

    def add(self, names: tuple[str, ...]) -> bool:
        """Take the names of one more domain; return whether that is not too late."""
        self._domains.append(names)
        return not self._is_judged

    def judged(self) -> tuple[tuple[str, ...], ...]:
        """Return the names of each domain, to be judged now."""
        self._is_judged = True
        return tuple(self._domains)


class Target(NamedTuple):
    """Whom to probe. ``server_name`` is sent and verified in TLS, None where there is no name.

    ``addresses`` are known already where only these are to be probed, and ``siblings`` are then the
    others of the same host; ``label`` tells its metrics from those of others, where there are
    others. Whoever named one that ``is_doubted`` may have been forged: it is told no secret.
    ``next_hops`` are the mail domains that it is an MX host of; ``room`` is what it shares with the
    others.
    """

    host: Host
    server_name: str | None
    label: str = ""
    addresses: tuple[Address, ...] = ()
    is_doubted: bool = False
    siblings: tuple[Address, ...] = ()
    next_hops: NextHops | None = None
    room: Room = Room()


class Connection:
    """How far we have come with the server: its addresses, the session on one of them, its TLS.

    ``address`` is the one that answered or was tried last, ``local`` our own end; ``unknown`` is
    why there may be more addresses, where a name server did not say.
    """

    __slots__ = ("_limit", "address", "addresses", "is_up", "local", "session", "tls", "unknown")

    def __init__(self, addresses: tuple[Address, ...], room: int) -> None:
        self._limit = room if room < REPLY_LIMIT else REPLY_LIMIT
        self.addresses = addresses
        self.unknown = ""
        self.address: Address | None = None
        self.local: Address | None = None
        self.is_up = False
        self.session = Session(self._limit)
        self.tls: Handshake | None = None

    def begin(self) -> None:
        """Forget all that was said."""
        self.session = Session(self._limit)


class Transaction:
    """A mail transaction: ``accepted`` are the recipients that the server takes.

    ``is_tainted`` says that it may hold others. ``sent`` is the message that was handed over,
    ``receipt`` the reply to it.
    """

    __slots__ = ("accepted", "is_open", "is_tainted", "receipt", "sent")

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.is_open = False
        self.is_tainted = False
        self.sent: MessageQuery | None = None
        self.receipt = b""


class Held(NamedTuple):
    """What a stage has seen to hold, in a few words; ``is_timed``: and how long that took."""

    text: str
    is_timed: bool = False

    def said(self, seconds: float) -> str:
        """Return it as an OK says it, of a stage that took these seconds."""
        return f"{self.text} after {duration(seconds)}" if self.is_timed else self.text


class ProbeState:
    """What one probe has learned so far. The only thing that stages change.

    ``findings``, ``notes`` and ``held`` are those of the stage under way, see ``report``: they
    outlive a fault that ends it. ``mask`` hides secrets where the server repeats them; ``names``
    has the text of the banner and of the reply to HELO, which begin with the server's name for
    itself; ``lacking`` is a banner without the text that it must have, unless the reply to HELO has
    it; ``delivery`` is what is known of the message's way; ``room`` is the target's share of it.
    ``came`` is there along with ``delivery`` only: the message itself, by the mailbox that it was
    in, where it is wanted.
    """

    came: tuple[tuple[Mailbox, Whole], ...]

    __slots__ = (
        "_mask",
        "_room",
        "came",
        "connection",
        "delivery",
        "findings",
        "held",
        "lacking",
        "names",
        "notes",
        "prepared",
        "room",
        "settings",
        "target",
        "transaction",
    )

    def __init__(self, target: Target, settings: Settings, prepared: Prepared) -> None:
        self.target = target
        self.settings = settings
        self.prepared = prepared
        self.room = room = target.room.share
        self.connection = Connection(target.addresses, room)
        self._room = room
        self.transaction = Transaction()
        self.findings: list[Finding] = []
        self.held: list[Held] = []
        self.notes: tuple[Finding, ...] = ()
        self.names: dict[str, bytes] = {}
        self.lacking: Reply | None = None
        self._mask: Mask | None = None
        self.delivery: Delivery | None = None

    @property
    def mask(self) -> Mask:
        """What hides the secrets of the run; most have none, and never load it."""
        if self._mask is None:
            from check_smtp_health.masking import Mask

            self._mask = Mask(self.prepared.secrets)
        return self._mask

    def kept(self, said: bytes) -> bytes:
        """Return what is kept of a server's words, to be shown: all, where there is room for it.

        Secrets are masked first: half of one would not be recognised.
        """
        if len(said) > LEAST_WORDS:
            if self._mask is not None or self.prepared.secrets:
                said = self.mask.applied(said)
            said = said[: max(LEAST_WORDS, self._room // 2)]
            self._room -= len(said)
        return said

    def find(self, *findings: Finding) -> None:
        """Note findings of the stage under way."""
        self.findings += [one._replace(said=self.kept(one.said)) for one in findings]

    def masked(self, report: Report) -> Report:
        """Return a report in which nothing that other people said holds a secret."""
        if self._mask is None and not self.prepared.secrets:
            return report
        return self.mask.over(report)


def own_fault(bug: Exception, settings: Settings) -> LocalFault:
    """Return what a bug is where there are several targets: a fault of ours, in one of them.

    What is known of the others must not be lost.

    Raises:
        Exception: there is one target only, or no memory left to go on with: it is the bug.
    """
    if isinstance(bug, MemoryError) or not settings.endpoint.has_several:
        raise bug
    if isinstance(bug, OSError) and bug.errno in EXHAUSTED:
        return LocalFault(str(bug.strerror).lower())
    return LocalFault(internal_error(bug))


def ask(state: ProbeState, verb: str, argument: str = "") -> Procedure[Reply]:
    """Send a command and return the reply to it."""
    return send(state, Write._make((command(verb, argument), None, None)))


def send(state: ProbeState, line: Write) -> Procedure[Reply]:
    """Send a line and return the reply to it."""
    try:
        yield line
    except Disconnected:
        pass  # what the server said before it left is more telling: read it
    return (yield from listen(state))


def listen(state: ProbeState, data: bytes | None = None) -> Procedure[Reply]:
    """Return the next reply, which begins with ``data`` where somebody has read that already."""
    session = state.connection.session
    while True:
        if data is not None:
            if not data:
                raise session.closed()
            session.receive(data)
        reply = session.next_reply()
        if reply is not None:
            return reply
        try:
            data = yield READ
        except TimedOut as fault:
            if session.unread:
                raise type(fault)(fault.seconds, session.unread) from fault
            raise
        except Disconnected as fault:
            fault.said = session.unread
            raise


def first_word(state: ProbeState, reply: Reply) -> bytes:
    """Return what a reply begins with, which may be the name that the server has for itself."""
    text = reply.lines[0][4:]
    return text if len(text) <= LEAST_WORDS else state.kept((*text.split(None, 1), b"")[0])


def require_code(reply: Reply, code: int) -> None:
    """Require that a reply has this code.

    Raises:
        Rejected: it has a different one.
    """
    if reply.code != code:
        # A refusal explains itself; an unexpected code does not.
        problem = f"instead of {code}" if reply.is_positive else ""
        raise Rejected(problem, reply.raw, reply.code)


def sentence(fault: SessionFault) -> str:
    """Return what a fault says, with the options that would help where that is certain."""
    problem = REMEDIES.get(fault.reason, fault.problem)
    return f"{fault.subject}: {problem}" if fault.subject else problem
