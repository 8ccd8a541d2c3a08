"""What a mailbox is to those who look into it, be it a folder of IMAP or all there is to POP3."""

from __future__ import annotations

from abc import ABC, abstractmethod

from check_smtp_health.net import resolver
from check_smtp_health.net.wire import Wire
from check_smtp_health.values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.mailbox_url import Mailbox
    from check_smtp_health.net.deadline import Deadline
    from check_smtp_health.net.tls import Trust
    from check_smtp_health.sought import Copy, Sought


class Access(NamedTuple):
    """Where a mailbox is, and what it takes to get in."""

    mailbox: Mailbox
    password: str
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
        addresses = resolver.addresses(mailbox.ascii, mailbox.port, None)
        self.wire = wire = Wire(addresses, self.access.deadline)
        if mailbox.has_tls:
            wire.start_tls(self.access.trust, mailbox.ascii, is_upgrade=False)
        return wire

    @property
    def last(self) -> bytes:
        """The last line that came."""
        return self.wire.last if self.wire is not None else b""

    @abstractmethod
    def look(self, sought: Sought) -> list[Copy]:
        """Return the copies of the message that are there."""

    @abstractmethod
    def bounce(self, sought: Sought) -> bytes | None:
        """Return what a delivery status notification says of the message, where one came back."""

    @abstractmethod
    def stale(self, sought: Sought, newest: Copy) -> list[Copy]:
        """Return the messages of earlier runs that nobody waits for any more."""

    @abstractmethod
    def remove(self, copies: list[Copy]) -> str:
        """Delete these, of what was returned; return what is to be said of it, or nothing."""

    @abstractmethod
    def close(self) -> None:
        """Take leave."""

    def drop(self) -> None:
        """Let the connection go without a word."""
        if self.wire is not None:
            self.wire.close()


def octets(text: str) -> bytes:
    """Return the text as the bytes that it came from, be they UTF-8 or not."""
    return text.encode("utf-8", "surrogateescape")
