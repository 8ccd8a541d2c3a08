"""A folder over IMAP, and what is known of the messages in it (RFC 3501 sections 2.3.1 and 7.3)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.mailbox_url import Mailbox
    from check_smtp_health.roundtrip.matching import FoundMessage, MessageQuery
    from check_smtp_health.roundtrip.responses import Response


class Folder:
    """A folder, and what is known of the messages in it, by their UIDs.

    The next search begins at ``first``; ``following`` is what the next message had, when the folder
    was selected, 0 where the server does not say. ``exists`` is how many messages there are,
    ``scanned`` how many of them were there when the newest headers were last looked at.
    ``containers`` may have the message attached.
    """

    __slots__ = (
        *("containers", "exists", "first", "following", "found", "is_extra", "is_writable"),
        *("kin", "name", "notifications", "place", "scanned", "seen", "validity"),
    )

    def __init__(self, place: Mailbox, name: str) -> None:
        self.place = place
        self.name = name
        self.is_extra = False  # nobody asked for it
        self.is_writable = True
        self.validity = b""
        self.found: dict[int, FoundMessage] = {}
        self.forget()

    def forget(self) -> None:
        """Forget UIDs that do not stand for the same messages any more (section 2.3.1.1)."""
        self.first = 1
        self.exists = self.following = self.scanned = 0
        self.seen: set[int] = set()
        self.kin: dict[int, FoundMessage] = {}
        self.notifications: list[int] = []
        self.containers: dict[int, FoundMessage] = {}

    @property
    def known(self) -> list[int]:
        """The message and its copies, as far as their UIDs still stand for them."""
        return [uid for uid in self.found if uid in self.seen]

    def sort(self, uid: int, message: FoundMessage, query: MessageQuery) -> None:
        """Note what a message is to the query, by its header."""
        if query.is_sought(message):
            self.found[uid] = message
        elif query.is_notification(message):
            self.notifications.append(uid)
        elif query.concerns(message):
            self.kin[uid] = message
        elif query.may_enclose(message):
            self.containers[uid] = message

    def note(self, response: Response) -> None:
        """Take what a server may say at any time (section 7.3)."""
        if response.name == b"EXISTS":
            self.exists = response.number
        elif response.name == b"EXPUNGE":
            self.exists = max(0, self.exists - 1)
            if response.number <= self.scanned:
                self.scanned -= 1
        elif response.code[0] == b"READ-ONLY":
            self.is_writable = False
