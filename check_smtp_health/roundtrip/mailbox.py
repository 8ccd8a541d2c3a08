"""What readers of mailboxes have in common, over IMAP or POP3.

All of them are procedures: they yield operations, and read the time from a ``Watch``. A session
that ends early, or a temporary refusal, is not an answer: the question is asked again until there
is one; ``Patience`` says when.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from check_smtp_health.errors import Disconnected, LocalFault, SessionFault, Unreachable
from check_smtp_health.escaping import has_controls
from check_smtp_health.faults import Injected, NotNow, NotTls
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.operations import (
    Close,
    Pause,
    Read,
    StartTls,
    Watch,
    Write,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from check_smtp_health.config.accounts import Secret
    from check_smtp_health.config.mailbox_url import Mailbox
    from check_smtp_health.net.certificate import Handshake
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.net.trust import Trust
    from check_smtp_health.net.way import Way
    from check_smtp_health.roundtrip.matching import FoundMessage, MessageQuery
    from check_smtp_health.smtp.sasl import Mechanism

    _T = TypeVar("_T")

WHOLE_LIMIT = 1024 * 1024
"""Bytes of a message that is fetched whole: ours has 1 KB, and what is added on the way 20."""

PATIENCE = 0.5
"""Seconds before something that was refused for now is asked again, the first time."""

PATIENCE_GROWTH = 2.0
"""Factor by which that grows: where something is overloaded, one more client must not add to it."""

PATIENCE_LONGEST = 10.0
"""Seconds that it grows to: the default limit leaves room for some of these."""

NOT_NOW = re.compile(
    rb"user is authenticated but not connected|request is throttled"
    rb"|too many (?:open|simultaneous) connections",
    re.IGNORECASE,
)
"""What is "not now" without a code, in words of Microsoft, Cyrus and Google: the next session may
be of use."""

FAREWELL_LIMIT = 1.0
"""Seconds that logging out may take, as with SMTP's QUIT: the reply is not worth waiting for."""


class Access(NamedTuple):
    """An account, and what it takes to get in. The first of its folders is where mail belongs.

    From the folders in ``clean``, copies are deleted, and nothing in them is judged. With
    ``fetches_whole`` the message is wanted with all that is in it. One of the ``mechanisms`` is to
    be used, best first, where there are any.
    """

    mailboxes: tuple[Mailbox, ...]
    password: Secret
    trust: Trust
    may_show_password: bool
    clean: tuple[Mailbox, ...] = ()
    fetches_whole: bool = False
    mechanisms: tuple[Mechanism, ...] = ()


class Copy(NamedTuple):
    """The message, in one of the places where it was found."""

    place: Mailbox
    message: FoundMessage


class Whole(NamedTuple):
    """A message as it lies in its mailbox, raw; ``problem`` says why it is not all there."""

    data: bytes
    problem: str = ""


class Patience:
    """When to ask again; ``fault`` is what there is to wait out, None where nothing is."""

    __slots__ = ("_seconds", "fault")

    def __init__(self) -> None:
        self.fault: NotNow | None = None
        self._seconds = PATIENCE

    def wait(self, fault: SessionFault, least: float = 0.0) -> Procedure[None]:
        """Pause, each time longer, and for so many seconds at least."""
        self.fault = NotNow(fault.problem, fault.said)
        seconds, self._seconds = self._seconds, self._seconds * PATIENCE_GROWTH
        self._seconds = min(self._seconds, PATIENCE_LONGEST)
        yield Pause(max(seconds, least))

    def is_rewarded(self) -> None:
        """Note that the last request was granted."""
        self.fault = None
        self._seconds = PATIENCE


class Reader(ABC):
    """Looks into one account.

    ``interval`` is how many seconds have to pass between two logins. ``times`` are the moments at
    which the last session was begun, connected and logged in, and the message was seen. ``notes``
    and ``left`` are what there is to say of the clean-up: sentences; and problems, each with the
    server's words. ``tls`` is what the last handshake agreed on.
    """

    __slots__ = (
        *("access", "copies", "home", "interval", "left", "notes", "patience", "times", "tls"),
        *("watch", "way"),
    )

    first_pause = 0.1
    """Seconds between the first two looks."""

    longest_pause = 1.0
    """Seconds between two looks at most."""

    def __init__(self, access: Access, way: Way, watch: Watch) -> None:
        self.access = access
        self.way = way
        self.watch = watch
        self.home = access.mailboxes[0]
        self.patience = Patience()
        self.interval = 0.0
        self.copies: list[Copy] = []
        self.notes: list[str] = []
        self.left: list[tuple[str, bytes]] = []
        self.times: dict[str, float] = {}
        self.tls: Handshake | None = None

    @property
    @abstractmethod
    def last(self) -> bytes:
        """The last line that came."""

    @property
    def delay(self) -> float:
        """Seconds until the next look may be."""
        return 0.0

    @abstractmethod
    def look(self, query: MessageQuery) -> Procedure[list[Copy]]:
        """Return the copies of the message that are there."""

    @abstractmethod
    def bounce(self, query: MessageQuery) -> Procedure[bytes | None]:
        """Return what a delivery status notification says of the message, where one came back."""

    @abstractmethod
    def whole(self, query: MessageQuery) -> Procedure[Whole]:
        """Return the message that was found, as far as ``WHOLE_LIMIT`` allows."""

    @abstractmethod
    def clean_up(self, query: MessageQuery, settle: float) -> Procedure[None]:
        """Look a last time, ``settle`` seconds later, and delete what is ours.

        ``copies`` are all that were found in the end. If this fails, it may be tried again.
        """

    def finish(self, query: MessageQuery) -> Procedure[None]:
        """Clean up, which has no effect on the state, and log out."""
        del query
        yield from ()

    @abstractmethod
    def forget(self) -> None:
        """Forget the session, which has ended."""

    def patiently(self, procedure: Callable[[], Procedure[_T]]) -> Procedure[_T]:
        """Return what the procedure returns, tried again until it is not just refused for now."""
        while True:
            try:
                result = yield from procedure()
            except (NotNow, Disconnected) as fault:
                refusal: SessionFault = fault
            except Unreachable as fault:
                # It was there before, so that it is being restarted.
                if "connected" not in self.times:
                    raise
                refusal = fault
            else:
                self.patience.is_rewarded()
                return result
            yield from self.drop()
            yield from self.patience.wait(refusal, self.delay)

    def drop(self) -> Procedure[None]:
        """Close the connection without logging out."""
        yield Close()
        self.forget()

    def connect(self) -> Procedure[None]:
        """Connect, with TLS where that begins with the first byte."""
        self.times["began"] = self.watch.now
        home = self.home
        yield from self.way.connect(home.host, home.port)
        if home.has_tls:
            self.tls = yield StartTls(self.access.trust, self._name)

    def upgrade(self, unread: bytes) -> Procedure[None]:
        """Begin TLS, the server having said yes; ``unread`` is what it said beyond that.

        Raises:
            Injected: plaintext came where TLS was due, somebody else's (NO STARTTLS).
        """
        if unread:
            raise Injected("after STARTTLS", unread)
        try:
            self.tls = yield StartTls(self.access.trust, self._name)
        except NotTls as fault:
            raise Injected("instead of the TLS handshake") from fault

    @property
    def _name(self) -> str:
        return self.home.host.dns_name.partition("%")[0]

    def send(self, line: Write) -> Procedure[None]:
        """Send a line, even where nobody is there any more to read it."""
        try:
            yield line
        except Disconnected:
            pass  # what the server said before it left is more telling: read it

    def receive(self, limit: float | None = None, *, is_private: bool = False) -> Procedure[bytes]:
        """Return what comes next.

        Raises:
            Disconnected: nothing more comes.
        """
        try:
            data: bytes = yield Read(limit, is_private)
        except Disconnected as fault:
            fault.said = self.last
            raise
        if not data:
            raise Disconnected("connection closed by the server", self.last)
        return data


def too_long(data: bytes) -> Whole:
    """Return what has been fetched of a message that is longer than any is fetched."""
    return Whole(data, f"it has more than {WHOLE_LIMIT // 1024} KiB")


def command(words: bytes, shown: bytes | None = None) -> Write:
    """Return the operation that sends a command line.

    Raises:
        LocalFault: a control character, which could smuggle in a second command. ``build`` and
            ``mailbox_url`` have refused it before; this is the last fence.
    """
    if has_controls(words):
        raise LocalFault("a user, password or folder with a control character cannot be sent")
    return Write(words + b"\r\n", None if shown is None else shown + b"\r\n")
