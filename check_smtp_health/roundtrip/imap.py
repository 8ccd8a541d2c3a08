"""An account over IMAP (RFC 3501, RFC 9051): the message, once found, is deleted.

A message is touched by its UID alone, and only where its header has been seen.
"""

from __future__ import annotations

from check_smtp_health.escaping import printable
from check_smtp_health.faults import NotNow, Refused
from check_smtp_health.net.operations import Pause
from check_smtp_health.roundtrip.imap_folder import Folder
from check_smtp_health.roundtrip.imap_folders import ALL, BESIDE_LIMIT, TRASH, ImapFolders, having

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from check_smtp_health.net.operations import Procedure, Watch
    from check_smtp_health.net.way import Way
    from check_smtp_health.roundtrip.mailbox import Access
    from check_smtp_health.roundtrip.matching import FoundMessage, MessageQuery

STALE_LIMIT = 100
"""Stale messages looked at in one run; the next one goes on."""

CLEAN_LIMIT = 10.0
"""Seconds per folder that is only cleaned: nobody waits for it, and it may hold years of mail."""

UNEXPUNGED_LIMIT = 100
"""Messages of ours that are flagged as deleted and stay; from so many on the user is told."""


class Imap(ImapFolders):
    """An account, and how what has come into it is deleted again."""

    __slots__ = ("_has_moved",)

    def __init__(self, access: Access, way: Way, watch: Watch) -> None:
        super().__init__(access, way, watch)
        self._has_moved = False

    def clean_up(self, query: MessageQuery, settle: float) -> Procedure[None]:
        """Go through all folders that the run has looked into."""
        yield Pause(settle)
        yield from self._open()
        self.left, self.notes = [], []
        for folder in tuple(self._folders):
            try:
                yield from self._look_into(folder, query)
                yield from self._remove(folder, query, folder.known)
            except Refused as fault:
                self.left.append((f"not deleted from {folder.place}: {fault.problem}", fault.said))
        self.copies = self._copies()

    def finish(self, query: MessageQuery) -> Procedure[None]:
        """Delete copies in other folders, in the trash where we have moved some, and stale ones."""
        cleaned = list(self._folders)
        for place in self.access.clean:
            folder = Folder(place, place.folder)
            if (yield from self._clean_aside(folder, self._cleaned(folder, query), CLEAN_LIMIT)):
                cleaned.append(folder)
        for folder in self._special(TRASH)[:1] if self._has_moved else ():
            yield from self._clean_aside(folder, self._cleaned(folder, query), CLEAN_LIMIT)
        for folder in cleaned:
            yield from self._clean_aside(folder, self._remove_stale(folder, query), BESIDE_LIMIT)
        yield from self._log_out()

    def _remove(self, folder: Folder, query: MessageQuery, uids: list[int]) -> Procedure[None]:
        """Delete these messages, whose headers have been seen."""
        if not uids:
            return
        if not folder.is_writable:
            raise Refused("the folder is read-only")
        if "MOVE" in self._capabilities:
            yield from self._discover()
            # With labels for folders (Gmail, Proton), to delete is to take a label off: it stays
            # in the folder of all mail. Only what is in the trash can be deleted.
            if self._special(ALL) and (yield from self._is_moved(folder, uids)):
                return
        named = _sequence(uids)
        yield from self._ask(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % named, "UID STORE refused")
        if "UIDPLUS" in self._capabilities:
            yield from self._ask(b"UID EXPUNGE " + named, "UID EXPUNGE refused")  # RFC 4315
        elif (yield from self._holds_nothing_else(query, set(uids))):
            yield from self._ask(b"EXPUNGE", "EXPUNGE refused")
        else:
            yield from self._leave_flagged(folder, query)

    def _is_moved(self, folder: Folder, uids: list[int]) -> Procedure[bool]:
        """Move messages from the folder to the trash (RFC 6851), if there is one, and granted."""
        trash = self._special(TRASH) if "MOVE" in self._capabilities else []
        if not trash or trash[0].name == folder.name:
            return False
        line = b"UID MOVE %s %s" % (_sequence(uids), self._named(trash[0]))
        try:
            yield from self._ask(line, "UID MOVE refused")
        except Refused:
            return False
        self._has_moved = True
        return True

    def _clean_aside(
        self, folder: Folder, cleaning: Procedure[None], seconds: float
    ) -> Procedure[bool]:
        """Do what is not judged; return whether it was done. What goes wrong is a note."""
        judged, self.left = self.left, []
        try:
            yield from self._bounded(cleaning, seconds)
            return True
        except (Refused, NotNow) as fault:
            self.left.append((f"not cleaned: {fault.problem}", fault.said))
            return False
        finally:
            for problem, said in self.left:
                words = f": '{printable(said, 200)}'" if said else ""
                self._note(folder, f"{problem}{words}")
            self.left = judged

    def _note(self, folder: Folder, sentence: str) -> None:
        note = f"{folder.place}: {sentence}"
        if note not in self.notes:
            self.notes.append(note)

    def _cleaned(self, folder: Folder, query: MessageQuery) -> Procedure[None]:
        """Delete what is ours from a folder that nobody asked to find it in."""
        yield from self._looked(folder, query)
        yield from self._remove(folder, query, folder.known)
        if folder.known and "UIDPLUS" in self._capabilities:
            left = yield from self._search(b"UID " + _sequence(folder.known))
            staying = [uid for uid in left.newest if uid in folder.known]
            yield from self._discover()
            if staying and not (yield from self._is_moved(folder, staying)):
                self._note(folder, "the server keeps what is deleted there")

    def _remove_stale(self, folder: Folder, query: MessageQuery) -> Procedure[None]:
        """Delete earlier messages that no run waits for any more."""
        newest = self._copies()[0].message
        if self._selected is not folder:
            yield from self._enter(folder)
        found = dict(folder.kin)
        yield from self._aside(self._seek_stale(found, query), BESIDE_LIMIT)
        stale = [
            uid
            for uid, message in found.items()
            if uid not in folder.found and query.is_stale(message, newest)
        ]
        yield from self._remove(folder, query, stale)
        if stale:
            self._note(folder, f"leftovers deleted: {len(stale)}")

    def _seek_stale(self, found: dict[int, FoundMessage], query: MessageQuery) -> Procedure[None]:
        for mark in query.recipient_marks:
            numbers = yield from self._search(b"UNDELETED " + having(query.marks_field, mark))
            for uid in [uid for uid in numbers.newest if uid not in found][:STALE_LIMIT]:
                message = yield from self._header(uid)
                if message is not None:
                    found[uid] = message

    def _holds_nothing_else(self, query: MessageQuery, ours: set[int]) -> Procedure[bool]:
        """Return whether all messages of the folder are this plugin's.

        Without UIDPLUS, EXPUNGE deletes all that is flagged, no matter by whom, even since we
        looked. So it is used only if there is nothing else that could be flagged.
        """
        numbers = yield from self._search(b"ALL")
        if numbers.count > STALE_LIMIT:
            return False
        for uid in numbers.newest:
            message = None if uid in ours else (yield from self._header(uid))
            if message is not None and not query.is_ours(message):
                return False
        return True

    def _leave_flagged(self, folder: Folder, query: MessageQuery) -> Procedure[None]:
        self._note(
            folder,
            "only flagged as deleted: there are other messages, and without UIDPLUS the server "
            "might delete some of them as well",
        )
        numbers = yield from self._search(b"DELETED " + having(query.field, ""))
        if numbers.count >= UNEXPUNGED_LIMIT:
            problem = (
                f"{numbers.count} messages of this plugin in {folder.place} are flagged as "
                "deleted and stay, because the server does not offer UIDPLUS: expunge them with "
                "a mail client"
            )
            self.left.append((problem, b""))


def _sequence(uids: Iterable[int]) -> bytes:
    return ",".join(map(str, uids)).encode()
