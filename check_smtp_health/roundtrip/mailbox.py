"""What a mailbox is to those who look into it, be it a folder of IMAP or all there is to POP3."""

from __future__ import annotations

from abc import ABC, abstractmethod

from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import addresses
from check_smtp_health.net.wire import Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.mailbox_url import Mailbox
    from check_smtp_health.config.settings import Secret
    from check_smtp_health.net.driver import Deadline
    from check_smtp_health.net.tls import Trust
    from check_smtp_health.roundtrip.matching import FoundMessage, MessageQuery


class Access(NamedTuple):
    """Where a mailbox is, and what it takes to get in."""

    mailbox: Mailbox
    password: Secret
    trust: Trust
    may_show_password: bool
    deadline: Deadline


class Reader(ABC):
    """Looks into one mailbox; everything blocks, and keeps the deadline.

    ``locked`` is what the server said where the last look was not let in for now.
    """

    __slots__ = ("access", "locked", "mailbox", "wire")

    first_pause = 0.1
    """Seconds between the first two looks."""

    longest_pause = 1.0
    """Seconds between two looks at most."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.mailbox = access.mailbox
        self.wire: Wire | None = None
        self.locked = b""

    def connect(self) -> Wire:
        """Return a new connection, with TLS where that begins with the first byte."""
        mailbox = self.mailbox
        found = addresses.resolve(mailbox.host.dns_name, mailbox.port, None)
        self.wire = wire = Wire(found, self.access.deadline)
        if mailbox.has_tls:
            wire.start_tls(self.access.trust, mailbox.host.dns_name, is_upgrade=False)
        return wire

    @property
    def last(self) -> bytes:
        """The last line that came."""
        return self.wire.last if self.wire is not None else b""

    @abstractmethod
    def look(self, query: MessageQuery) -> list[FoundMessage]:
        """Return the copies of the message that are there."""

    @abstractmethod
    def bounce(self, query: MessageQuery) -> bytes | None:
        """Return what a delivery status notification says of the message, where one came back."""

    @abstractmethod
    def stale(self, query: MessageQuery, newest: FoundMessage) -> list[FoundMessage]:
        """Return the messages of earlier runs that nobody waits for any more."""

    @abstractmethod
    def remove(self, copies: list[FoundMessage]) -> str:
        """Delete these, of what was returned; return what is to be said of it, or nothing."""

    @abstractmethod
    def close(self) -> None:
        """Log out."""

    def drop(self) -> None:
        """Close the connection without logging out."""
        if self.wire is not None:
            self.wire.close()
