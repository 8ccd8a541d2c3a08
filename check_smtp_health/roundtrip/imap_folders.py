"""The folders of an account over IMAP (RFC 3501, RFC 9051), and the search for a message in them.

The server's search is a shortcut only: where it finds nothing, the newest headers are fetched and
compared here.
"""

from __future__ import annotations

import re

from check_smtp_health.config.mailbox_url import folder_of, imap_name
from check_smtp_health.escaping import octets, printable
from check_smtp_health.faults import Refused
from check_smtp_health.roundtrip.imap_folder import Folder
from check_smtp_health.roundtrip.imap_session import ImapSession, Spoilt
from check_smtp_health.roundtrip.mailbox import WHOLE_LIMIT, Copy, Whole, too_long
from check_smtp_health.roundtrip.matching import FoundMessage
from check_smtp_health.roundtrip.responses import Numbers, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.net.operations import Procedure, Watch
    from check_smtp_health.net.way import Way
    from check_smtp_health.roundtrip.mailbox import Access
    from check_smtp_health.roundtrip.matching import MessageQuery
    from check_smtp_health.roundtrip.responses import Response

HEADER_LIMIT = 64 * 1024
"""Bytes fetched of one header: 100 hops and their signatures have less."""

COPIES_LIMIT = 20
"""Messages whose header is fetched in one look, the newest."""

PIECE = 64 * 1024
"""Bytes of a message that are fetched at a time where all of them are wanted."""

STATUS_LIMIT = 4096
"""Bytes fetched of a delivery status notification's machine-readable part."""

JUNK_LIMIT = 2
"""Folders for junk that are looked into without being asked for; servers have one."""

BESIDE_LIMIT = 5.0
"""Seconds for a look into one of these, or for stale messages in a folder."""

RECENT = 1000
"""Messages among which the server searches at first, the newest: ours has only just been sent."""

JUNK, TRASH, ALL = "\\JUNK", "\\TRASH", "\\ALL"
"""Special uses of folders (RFC 6154), in upper case."""

_HEADER = b"(UID INTERNALDATE BODY.PEEK[HEADER]<0.%d>)" % HEADER_LIMIT


class ImapFolders(ImapSession):
    """An account: its folders, those for junk as well, and what is in them.

    ``_uses`` are the names of folders by their special use, None as long as nobody has asked. To
    delete is left to the subclass.
    """

    __slots__ = ("_cannot_search", "_folders", "_selected", "_uses")

    def __init__(self, access: Access, way: Way, watch: Watch) -> None:
        self._folders = [Folder(one, one.folder) for one in access.mailboxes]
        super().__init__(access, way, watch)
        self._uses: dict[str, list[str]] | None = None
        self._cannot_search = False

    def forget(self) -> None:
        """Forget the session, which has ended."""
        super().forget()
        self._selected: Folder | None = None
        for folder in self._folders:
            if not folder.validity:  # section 6.3.1: nothing says that numbers outlive a session
                folder.forget()

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
            if self._uses is None:
                yield from self._discover()
                junk = self._junk()
                self._folders += junk
                for folder in junk:
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

    def whole(self, query: MessageQuery) -> Procedure[Whole]:
        """Fetch the message piece by piece, the last of which is not full."""
        yield from self._open()
        folder = next(one for one in self._folders if one.found)
        if self._selected is not folder:
            yield from self._enter(folder)
        if not folder.known:  # its numbers do not hold any more
            yield from self._looked(folder, query)
        data = b""
        for uid in folder.known[:1]:
            while len(data) < WHOLE_LIMIT:
                items = b"(UID BODY.PEEK[]<%d.%d>)" % (len(data), PIECE)
                piece = (yield from self._fetch(uid, items)).get(b"BODY[]", b"")
                data += piece
                if len(piece) < PIECE:
                    return Whole(data, "" if data else "it has gone")
            return too_long(data)
        return Whole(b"", "it has gone")

    def _copies(self) -> list[Copy]:
        return [
            Copy(folder.place, message)
            for folder in self._folders
            for message in folder.found.values()
        ]

    def _enter(self, folder: Folder) -> Procedure[None]:
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
        if folder.first == 1:
            folder.first = max(1, folder.following - RECENT)
        if not folder.following or folder.following != before:
            folder.scanned = 0  # something is new; whatever was deleted meanwhile was not told

    def _named(self, folder: Folder) -> bytes:
        if "IMAP4REV2" in self._capabilities and "IMAP4REV1" not in self._capabilities:
            escaped = re.sub(r'(["\\])', r"\\\1", folder.name)  # RFC 9051 section 5.1: UTF-8
            return b'"' + octets(escaped) + b'"'
        return imap_name(folder.name).encode("ascii")

    def _look_into(self, folder: Folder, query: MessageQuery) -> Procedure[None]:
        if not folder.is_extra:
            yield from self._looked(folder, query)
            return
        try:
            is_there = yield from self._aside(self._looked(folder, query), BESIDE_LIMIT)
        except Spoilt:
            self._folders.remove(folder)
            raise
        if not is_there:
            self._folders.remove(folder)
        elif folder.found:
            folder.is_extra = False  # what happens there counts, like in those asked for

    def _looked(self, folder: Folder, query: MessageQuery) -> Procedure[bool]:
        """Have the server search, and where it finds nothing, look at the newest headers."""
        yield from self._enter(folder)
        yield from self._search_for(folder, query)
        if not folder.known:
            yield from self._scan(folder, query)
        while folder.containers:
            uid, message = next(iter(folder.containers.items()))
            if (yield from self._encloses(uid, message, query)):
                folder.found[uid] = message._replace(encloses_it=True)
            del folder.containers[uid]
        if folder.known:  # what had another number before is not there twice
            folder.found = {uid: folder.found[uid] for uid in folder.known}
        return True

    def _search_for(self, folder: Folder, query: MessageQuery) -> Procedure[None]:
        if self._cannot_search:
            return
        key = having(query.field, query.value)
        for field in ("In-Reply-To", "References") if query.takes_replies else ():
            key = b"OR %s %s" % (key, having(field, query.value))
        # What has come lately the first time, and from then on what has come since.
        criteria = b"UID %d:* %s" % (folder.first, key)
        try:
            numbers = yield from self._search(criteria)
        except Refused:
            self._cannot_search = True  # a shortcut less
            return
        folder.first = max(1, folder.following)
        for uid in [uid for uid in numbers.newest if uid not in folder.seen][:COPIES_LIMIT]:
            message = yield from self._header(uid)
            if message is not None:  # else it has gone, or is only about to come
                folder.seen.add(uid)
                folder.sort(uid, message, query)

    def _scan(self, folder: Folder, query: MessageQuery) -> Procedure[None]:
        """Look at the newest headers, as far as they have not been looked at."""
        low, high = max(folder.scanned + 1, folder.exists - COPIES_LIMIT + 1), folder.exists
        if low > high:
            return

        def take(response: Response) -> None:
            uid, message = _message(response)
            if message is None or uid in folder.seen:
                return
            folder.seen.add(uid)
            folder.sort(uid, message, query)

        line = b"FETCH %d:%d %s" % (low, high, _HEADER)
        try:
            yield from self._ask(line, "FETCH refused", take, is_private=True)
        except Refused:
            return  # somebody has just deleted one of them; the next look is at them again
        folder.scanned = high

    def _discover(self) -> Procedure[None]:
        """Ask which folders have a special use (RFC 6154), where the server can say so."""
        if self._uses is not None:
            return
        uses: dict[str, list[str]] = {}
        self._uses = uses
        if "SPECIAL-USE" not in self._capabilities:
            return

        def take(response: Response) -> None:
            name, flags = _listed(response)
            for use in (JUNK, TRASH, ALL):
                names = uses.setdefault(use, [])
                if name is not None and use in flags and len(names) < JUNK_LIMIT:
                    names.append(name)

        is_short = "LIST-EXTENDED" in self._capabilities  # RFC 6154 section 5.1
        line = b'LIST (SPECIAL-USE) "" "*"' if is_short else b'LIST "" "*"'
        yield from self._aside(self._ask(line, "LIST refused", take))

    def _special(self, use: str) -> list[Folder]:
        """Return the folders of a special use."""
        names = (self._uses or {}).get(use, ())
        place = self.home
        return [Folder(place._replace(folder=printable(one, 80)), one) for one in names]

    def _junk(self) -> list[Folder]:
        """Return the folders for junk, without those that somebody has asked for."""
        known = {folder.name for folder in self._folders}
        junk = [one for one in self._special(JUNK) if one.name not in known]
        for folder in junk:
            folder.is_extra = True
        return junk

    def _encloses(self, uid: int, message: FoundMessage, query: MessageQuery) -> Procedure[bool]:
        items = b"(UID BODY.PEEK[TEXT]<0.%d>)" % HEADER_LIMIT
        parts = yield from self._fetch(uid, items)
        return query.encloses(message, parts.get(b"BODY[TEXT]", b""))

    def _reason(self, folder: Folder, uid: int, query: MessageQuery) -> Procedure[bytes | None]:
        yield from self._enter(folder)
        items = b"(UID BODY.PEEK[2]<0.%d> BODY.PEEK[TEXT]<0.%d>)" % (STATUS_LIMIT, HEADER_LIMIT)
        parts = yield from self._fetch(uid, items)
        if query.value.encode() not in parts.get(b"BODY[TEXT]", b""):
            return None
        return query.reason(parts.get(b"BODY[2]", b""))

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


def having(field: str, value: str) -> bytes:
    """Return the search key for messages that have this value in a field of their header."""
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


def _listed(response: Response) -> tuple[str | None, tuple[str, ...]]:
    """Return a folder's name and flags, by a LIST response (section 7.2.2)."""
    if response.name != b"LIST":
        return None, ()
    flags, *others = response.values() or [None]
    if not isinstance(flags, list) or len(others) < 2:
        return None, ()
    name = others[1]
    return (folder_of(name) if isinstance(name, bytes) else None), words(flags)
