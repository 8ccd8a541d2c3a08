"""An account over IMAP (RFC 3501, RFC 9051): is the message there, and out with it.

The server's search is a shortcut only: where it finds nothing, the newest headers are fetched and
compared here. A message is touched by its UID alone, and only where its header has been seen.
"""

from __future__ import annotations

import re

from check_smtp_health.config.mailbox_url import folder_of, imap_name
from check_smtp_health.errors import Refused
from check_smtp_health.escaping import octets, printable
from check_smtp_health.net.operations import Pause
from check_smtp_health.roundtrip.imap_session import ImapSession
from check_smtp_health.roundtrip.mailbox import Copy
from check_smtp_health.roundtrip.matching import FoundMessage
from check_smtp_health.roundtrip.responses import Numbers, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.mailbox_url import Mailbox
    from check_smtp_health.net.operations import Procedure, Watch
    from check_smtp_health.net.way import Way
    from check_smtp_health.roundtrip.mailbox import Access
    from check_smtp_health.roundtrip.matching import MessageQuery
    from check_smtp_health.roundtrip.responses import Response

HEADER_LIMIT = 64 * 1024
"""Bytes fetched of one header: 100 hops and their signatures have less."""

COPIES_LIMIT = 20
"""Messages whose header is fetched in one look, the newest."""

STALE_LIMIT = 100
"""Stale messages looked at in one run; the next one goes on."""

STATUS_LIMIT = 4096
"""Bytes fetched of a delivery status notification's machine-readable part."""

JUNK_LIMIT = 2
"""Folders for junk that are looked into without being asked for; servers have one."""

UNEXPUNGED_LIMIT = 100
"""Messages of ours that are flagged as deleted, and stay, from which on somebody has to know."""

_HEADER = b"(UID INTERNALDATE BODY.PEEK[HEADER]<0.%d>)" % HEADER_LIMIT


class _Folder:
    """A folder, and what is known of the messages in it, by their UIDs.

    The next search begins at ``first``; ``following`` is what the next message had, when the folder
    was selected, 0 where the server does not say. ``exists`` is how many messages there are,
    ``scanned`` how many of them were there when the newest headers were last looked at.
    """

    __slots__ = (
        *("exists", "first", "following", "found", "is_extra", "is_writable", "kin", "name"),
        *("notifications", "place", "scanned", "seen", "validity"),
    )

    def __init__(self, place: Mailbox, name: str, *, is_extra: bool = False) -> None:
        self.place = place
        self.name = name
        self.is_extra = is_extra  # nobody asked for it
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


class Imap(ImapSession):
    """An account: its folders, those for junk as well, and what is in them."""

    __slots__ = ("_cannot_search", "_folders", "_has_discovered", "_selected")

    def __init__(self, access: Access, way: Way, watch: Watch) -> None:
        super().__init__(access, way, watch)
        self._folders = [_Folder(one, one.folder) for one in access.mailboxes]
        self._has_discovered = False
        self._cannot_search = False

    def forget(self) -> None:
        """Forget the session, which has ended."""
        super().forget()
        self._selected: _Folder | None = None

    def _heed(self, response: Response) -> None:
        if self._selected is not None:
            self._selected.note(response)

    def look(self, query: MessageQuery) -> Procedure[list[Copy]]:
        """Look where the mail belongs first, and into each other folder only where it is not."""
        yield from self._open()
        for folder in tuple(self._folders):
            yield from self._look_into(folder, query)
            if folder.found:
                break
        else:
            if not self._has_discovered:
                yield from self._discover()
                for folder in [one for one in self._folders if one.is_extra]:
                    yield from self._look_into(folder, query)
        return self._copies()

    def bounce(self, query: MessageQuery) -> Procedure[bytes | None]:
        """Read the notifications among the new messages; one that quotes the token is meant."""
        for folder in self._folders:
            while folder.notifications:
                reading = self._reason(folder, folder.notifications.pop(), query)
                said = yield from self._aside(reading)
                if said is not None:
                    return said
        return None

    def clean_up(self, query: MessageQuery, settle: float) -> Procedure[None]:
        """Go through all folders that the run has looked into."""
        yield Pause(settle)
        yield from self._open()
        newest = self._copies()[0].message
        self.left, self.notes = [], []
        for folder in tuple(self._folders):
            try:
                yield from self._look_into(folder, query)
                yield from self._clean(folder, query, newest)
            except Refused as fault:
                self.left.append((f"not deleted from {folder.place}: {fault.problem}", fault.said))
        self.copies = self._copies()
        yield from self._log_out()

    def _copies(self) -> list[Copy]:
        return [
            Copy(folder.place, message)
            for folder in self._folders
            for message in folder.found.values()
        ]

    # Folders and what is in them.

    def _enter(self, folder: _Folder) -> Procedure[None]:
        """Select the folder; where it is selected, hear what is new."""
        if self._selected is folder:
            yield from self._ask(b"NOOP", "NOOP refused")
            return
        self._selected = None
        before, folder.following, folder.exists = folder.following, 0, 0

        def take(response: Response) -> None:
            folder.note(response)
            code, value = response.code
            if code == b"UIDVALIDITY" and value != folder.validity:
                exists = folder.exists
                folder.forget()
                folder.exists, folder.validity = exists, value
            elif code == b"UIDNEXT" and re.fullmatch(rb"[1-9]\d{0,9}", value):
                folder.following = int(value)

        line = b"SELECT " + self._named(folder)
        folder.note((yield from self._ask(line, "folder refused", take)))
        self._selected = folder
        if not folder.following or folder.following != before:
            folder.scanned = 0  # something is new; whatever was deleted meanwhile was not told

    def _named(self, folder: _Folder) -> bytes:
        if "IMAP4REV2" in self._capabilities and "IMAP4REV1" not in self._capabilities:
            escaped = re.sub(r'(["\\])', r"\\\1", folder.name)  # RFC 9051 section 5.1: UTF-8
            return b'"' + octets(escaped) + b'"'
        return imap_name(folder.name).encode("ascii")

    def _look_into(self, folder: _Folder, query: MessageQuery) -> Procedure[None]:
        if not folder.is_extra:
            yield from self._looked(folder, query)
        elif not (yield from self._aside(self._looked(folder, query))):
            self._folders.remove(folder)

    def _looked(self, folder: _Folder, query: MessageQuery) -> Procedure[bool]:
        """Have the server search, and where it finds nothing, look at the newest headers."""
        yield from self._enter(folder)
        yield from self._search_for(folder, query)
        if not folder.found:
            yield from self._scan(folder, query)
        return True

    def _search_for(self, folder: _Folder, query: MessageQuery) -> Procedure[None]:
        if self._cannot_search:
            return
        # All of it the first time, and from then on what has come since.
        criteria = b"UID %d:* " % folder.first + _having(query.field, query.value)
        try:
            numbers = yield from self._search(criteria)
        except Refused:
            self._cannot_search = True  # a shortcut less
            return
        folder.first = max(1, folder.following)
        for uid in [uid for uid in numbers.newest if uid not in folder.seen][:COPIES_LIMIT]:
            message = yield from self._header(uid)
            folder.seen.add(uid)
            if message is not None and query.is_it(message):
                folder.found[uid] = message

    def _scan(self, folder: _Folder, query: MessageQuery) -> Procedure[None]:
        """Look at the newest headers, as far as they have not been looked at."""
        low, high = max(folder.scanned + 1, folder.exists - COPIES_LIMIT + 1), folder.exists
        if low > high:
            return

        def take(response: Response) -> None:
            uid, message = _message(response)
            if message is None or uid in folder.seen:
                return
            folder.seen.add(uid)
            if query.is_it(message):
                folder.found[uid] = message
            elif query.is_notification(message):
                folder.notifications.append(uid)
            elif query.concerns(message):
                folder.kin[uid] = message

        line = b"FETCH %d:%d %s" % (low, high, _HEADER)
        try:
            yield from self._ask(line, "FETCH refused", take, is_private=True)
        except Refused:
            return  # somebody has just deleted one of them; the next look is at them again
        folder.scanned = high

    def _discover(self) -> Procedure[None]:
        """Add the folders for junk (RFC 6154), where the server says which they are."""
        self._has_discovered = True
        if "SPECIAL-USE" not in self._capabilities:
            return
        known = {folder.name for folder in self._folders}

        def take(response: Response) -> None:
            name = _junk(response)
            extra = sum(folder.is_extra for folder in self._folders)
            if name is not None and name not in known and extra < JUNK_LIMIT:
                known.add(name)
                place = self.home._replace(folder=printable(name, 80))
                self._folders.append(_Folder(place, name, is_extra=True))

        is_short = "LIST-EXTENDED" in self._capabilities  # RFC 6154 section 5.1
        line = b'LIST (SPECIAL-USE) "" "*"' if is_short else b'LIST "" "*"'
        yield from self._aside(self._ask(line, "LIST refused", take))

    def _reason(self, folder: _Folder, uid: int, query: MessageQuery) -> Procedure[bytes | None]:
        yield from self._enter(folder)
        items = b"(UID BODY.PEEK[2]<0.%d> BODY.PEEK[TEXT]<0.%d>)" % (STATUS_LIMIT, HEADER_LIMIT)
        parts = yield from self._fetch(uid, items)
        if query.value.encode() not in parts.get(b"BODY[TEXT]", b""):
            return None
        return query.reason(parts.get(b"BODY[2]", b""))

    # Deletion.

    def _clean(self, folder: _Folder, query: MessageQuery, newest: FoundMessage) -> Procedure[None]:
        stale = yield from self._stale(folder, query, newest)
        uids = [uid for uid in folder.found if uid in folder.seen] + stale
        if not uids:
            return
        if not folder.is_writable:
            raise Refused("the folder is read-only")
        named = ",".join(map(str, uids)).encode()
        yield from self._ask(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % named, "UID STORE refused")
        if "UIDPLUS" in self._capabilities:
            yield from self._ask(b"UID EXPUNGE " + named, "UID EXPUNGE refused")  # RFC 4315
        elif (yield from self._holds_nothing_else(query, set(uids))):
            yield from self._ask(b"EXPUNGE", "EXPUNGE refused")
        else:
            yield from self._leave_flagged(folder, query)
        if stale:
            self.notes.append(f"{folder.place}: {len(stale)} stale deleted")

    def _stale(
        self, folder: _Folder, query: MessageQuery, newest: FoundMessage
    ) -> Procedure[list[int]]:
        """Return earlier messages that nobody waits for any more."""
        found = dict(folder.kin)
        for mark in query.recipient_marks:
            try:
                numbers = yield from self._search(b"UNDELETED " + _having(query.marks_field, mark))
            except Refused:
                break
            for uid in [uid for uid in numbers.newest if uid not in found][:STALE_LIMIT]:
                message = yield from self._header(uid)
                if message is not None:
                    found[uid] = message
        return [
            uid
            for uid, message in found.items()
            if uid not in folder.found and query.is_stale(message, newest)
        ]

    def _holds_nothing_else(self, query: MessageQuery, ours: set[int]) -> Procedure[bool]:
        """Return whether all messages of the folder are this plugin's.

        Without UIDPLUS, EXPUNGE takes all that is flagged, whoever has flagged it, and be it since
        we looked. So it is given only where there is nothing that anybody else could flag.
        """
        numbers = yield from self._search(b"ALL")
        if numbers.count > STALE_LIMIT:
            return False
        for uid in numbers.newest:
            message = None if uid in ours else (yield from self._header(uid))
            if message is not None and not query.is_ours(message):
                return False
        return True

    def _leave_flagged(self, folder: _Folder, query: MessageQuery) -> Procedure[None]:
        self.notes.append(
            f"{folder.place}: only flagged as deleted: there are other messages, and without "
            "UIDPLUS the server might delete some of them as well"
        )
        numbers = yield from self._search(b"DELETED " + _having(query.field, ""))
        if numbers.count >= UNEXPUNGED_LIMIT:
            problem = (
                f"{numbers.count} messages of this plugin in {folder.place} are flagged as "
                "deleted and stay, because the server does not offer UIDPLUS: expunge them with "
                "a mail client"
            )
            self.left.append((problem, b""))

    def _search(self, criteria: bytes) -> Procedure[Numbers]:
        found: list[Numbers] = []

        def take(response: Response) -> None:
            if response.numbers is not None:
                found.append(response.numbers)

        yield from self._ask(b"UID SEARCH " + criteria, "UID SEARCH refused", take)
        return found[0] if found else Numbers()

    def _header(self, uid: int) -> Procedure[FoundMessage | None]:
        """Return the message with that UID, None where it has gone."""
        parts = yield from self._fetch(uid, _HEADER)
        return _found(uid, parts)

    def _fetch(self, uid: int, items: bytes) -> Procedure[dict[bytes, bytes]]:
        """Return what is asked for of the message with that UID, and of no other."""
        found: dict[bytes, bytes] = {}

        def take(response: Response) -> None:
            if response.name == b"FETCH":
                parts = response.attributes()
                if parts.get(b"UID") == b"%d" % uid:
                    found.update(parts)

        line = b"UID FETCH %d %s" % (uid, items)
        yield from self._ask(line, "UID FETCH refused", take, is_private=True)
        return found


def _having(field: str, value: str) -> bytes:
    return b"HEADER %s %s" % (field.encode(), value.encode() or b'""')


def _message(response: Response) -> tuple[int, FoundMessage | None]:
    """Return a message by a FETCH response, None where that is about something else."""
    if response.name != b"FETCH":
        return 0, None
    parts = response.attributes()
    digits = parts.get(b"UID", b"")
    if not re.fullmatch(rb"[1-9]\d{0,9}", digits):
        return 0, None
    return int(digits), _found(int(digits), parts)


def _found(uid: int, parts: dict[bytes, bytes]) -> FoundMessage | None:
    header = parts.get(b"BODY[HEADER]")
    if header is None:
        return None
    date = parts.get(b"INTERNALDATE", b"")[:64].decode("ascii", "replace")
    arrived = date.replace("-", " ", 2).strip()
    return FoundMessage(str(uid), header[:HEADER_LIMIT], arrived)


def _junk(response: Response) -> str | None:
    """Return the name of a folder for junk, by a LIST response (section 7.2.2)."""
    if response.name != b"LIST":
        return None
    flags, *others = response.values() or [None]
    if not isinstance(flags, list) or "\\JUNK" not in words(flags) or len(others) != 2:
        return None
    name = others[1]
    return folder_of(name) if isinstance(name, bytes) else None
