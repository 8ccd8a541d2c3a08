"""An account over IMAP (RFC 3501, RFC 9051): is the message there, and out with it.

The server's search is a shortcut only: where it finds nothing, the newest headers are fetched and
compared here. A message is touched by its UID alone, and only where its header has been seen.
"""

from __future__ import annotations

import re

from check_smtp_health import __version__
from check_smtp_health.config.mailbox_url import folder_of, imap_name
from check_smtp_health.errors import (
    Disconnected,
    LocalFault,
    NotNow,
    NotOffered,
    Refused,
    SessionFault,
    Violation,
)
from check_smtp_health.escaping import octets, printable
from check_smtp_health.net.operations import Close, Pause
from check_smtp_health.roundtrip.mailbox import FAREWELL_LIMIT, Copy, Reader, command
from check_smtp_health.roundtrip.matching import FoundMessage
from check_smtp_health.roundtrip.responses import Numbers, ResponseParser, quoted, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from check_smtp_health.config.mailbox_url import Mailbox
    from check_smtp_health.net.operations import Procedure, Watch
    from check_smtp_health.roundtrip.mailbox import Access, Way
    from check_smtp_health.roundtrip.matching import MessageQuery
    from check_smtp_health.roundtrip.responses import Response

    Take = Callable[[Response], None]
    _T = TypeVar("_T")

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

# What is "not now" rather than "no": the codes of RFC 5530 section 3, and RFC 9051's LIMIT.
NOT_NOW = {b"UNAVAILABLE", b"INUSE", b"LIMIT", b"SERVERBUG"}

# Microsoft's word for it, which has no code: the session is of no use any more, the next one is.
NOT_CONNECTED = b"user is authenticated but not connected"

# RFC 9051 appendix E: what a server that speaks this version can do without naming it.
_REV2 = {"UIDPLUS", "SASL-IR", "SPECIAL-USE", "LIST-EXTENDED"}

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


class Imap(Reader):
    """An account, in one session as long as that lasts."""

    __slots__ = (
        *("_capabilities", "_farewell", "_folders", "_has_discovered", "_is_open", "_parser"),
        *("_cannot_search", "_is_patient", "_selected", "_tag"),
    )

    def __init__(self, access: Access, way: Way, watch: Watch) -> None:
        super().__init__(access, way, watch)
        self._folders = [_Folder(one, one.folder) for one in access.mailboxes]
        self._has_discovered = False
        self._cannot_search = False
        self._is_patient = True
        self._tag = 0
        self.forget()

    def forget(self) -> None:
        """Forget the session, which has ended."""
        self._parser = ResponseParser()
        self._capabilities: frozenset[str] = frozenset()
        self._selected: _Folder | None = None
        self._farewell = b""
        self._is_open = False

    @property
    def last(self) -> bytes:
        """The last line that came."""
        return self._parser.last

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

    def _aside(self, procedure: Procedure[_T]) -> Procedure[_T | None]:
        """Ask what does not decide, and so is not worth any patience; None where it is refused."""
        self._is_patient = False
        try:
            return (yield from procedure)
        except (Refused, NotNow):
            return None
        finally:
            self._is_patient = True

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
        try:
            # CLOSE would expunge whatever is flagged (section 6.4.2); LOGOUT does not.
            yield from self._ask(b"LOGOUT", "LOGOUT refused", limit=FAREWELL_LIMIT)
        except SessionFault:
            pass  # all is done
        yield Close()

    def _copies(self) -> list[Copy]:
        return [
            Copy(folder.place, message)
            for folder in self._folders
            for message in folder.found.values()
        ]

    # The session.

    def _open(self) -> Procedure[None]:
        if self._is_open:
            return
        yield from self.connect()
        is_known = yield from self._greeted()
        if not self.home.has_tls:
            yield from self._upgrade(is_known=is_known)
        self.times["connected"] = self.watch.now
        if not is_known:
            yield from self._log_in()
        self.times["logged in"] = self.watch.now
        if "ID" in self._capabilities:
            # RFC 2971; some open no folder for a client that has not said what it is.
            line = b'ID ("name" "check_smtp_health" "version" %s)' % quoted(__version__)
            yield from self._aside(self._ask(line, "ID refused"))
        self._is_open = True

    def _greeted(self) -> Procedure[bool]:
        """Wait for the greeting (section 7.1.5); return whether the session begins logged in."""
        while (greeting := self._parser.next_response()) is None:
            self._parser.feed((yield from self.receive()))
        if greeting.tag != b"*" or greeting.name not in (b"OK", b"PREAUTH", b"BYE"):
            raise greeting.nonsense()
        if greeting.name == b"BYE":
            raise Disconnected("the server ends the session", greeting.said)
        yield from self._learn(greeting)
        return greeting.name == b"PREAUTH"

    def _upgrade(self, *, is_known: bool) -> Procedure[None]:
        if is_known or "STARTTLS" not in self._capabilities:
            if self.access.may_show_password:
                return
            # There is no STARTTLS once one is logged in (section 6.2.1), so that PREAUTH is as good
            # a way to prevent it as leaving it out.
            why = "the session begins logged in (PREAUTH)" if is_known else "it is not offered"
            raise NotOffered(f"no STARTTLS, {why}")
        yield from self._ask(b"STARTTLS", "STARTTLS refused")
        yield from self.upgrade(self._parser.unread)
        # Section 6.2.1: nothing counts that was said before.
        self._parser = ResponseParser()
        yield from self._learn()

    def _learn(self, reply: Response | None = None) -> Procedure[None]:
        """Take the capabilities that a reply bears (section 7.1), or ask for them."""
        code, found = reply.code if reply is not None else (b"", b"")
        names = words(found.split()) if code == b"CAPABILITY" else ()

        def take(response: Response) -> None:
            nonlocal names
            if response.name == b"CAPABILITY":
                names = words(response.values())

        if not names:
            yield from self._ask(b"CAPABILITY", "session refused", take)
        if not any(name.startswith("IMAP4") for name in names):
            raise Violation("not IMAP", self.last)
        implied = _REV2 if "IMAP4REV2" in names else set()
        self._capabilities = frozenset(names) | implied

    def _log_in(self) -> Procedure[None]:
        user, password = self.home.user, self.access.password.reveal()
        if "AUTH=PLAIN" in self._capabilities:
            reply = yield from self._log_in_by_plain(octets(f"\0{user}\0{password}"))
        elif "LOGINDISABLED" in self._capabilities:
            raise NotOffered("neither LOGIN nor AUTH=PLAIN is offered")
        else:
            try:
                line = b"LOGIN %s " % quoted(user)
                secret = quoted(password)
            except ValueError:
                raise LocalFault(
                    "LOGIN cannot send this user or password, and AUTH=PLAIN is missing"
                ) from None
            reply = yield from self._ask(line + secret, "login refused", shown=line + b"***")
        yield from self._learn(reply)

    def _log_in_by_plain(self, response: bytes) -> Procedure[Response]:
        import base64

        encoded, line = base64.b64encode(response), b"AUTHENTICATE PLAIN"
        others = sorted(
            name[5:] for name in self._capabilities if re.match("AUTH=(?!PLAIN|LOGIN)", name)
        )
        try:
            if "SASL-IR" in self._capabilities:  # RFC 4959
                return (
                    yield from self._ask(
                        line + b" " + encoded, "login refused", shown=line + b" ***"
                    )
                )
            return (yield from self._ask(line, "login refused", answer=encoded))
        except Refused as fault:
            if others and b"[AUTHENTICATIONFAILED]" not in fault.said.upper():
                # The password may be right, and the mechanism what is not wanted.
                known = printable(", ".join(others), 80)
                fault.problem = f"login refused (by PLAIN; {known} is offered, too)"
            raise

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
                "deleted and stay, for the server lacks UIDPLUS: expunge them by a mail client"
            )
            self.left.append((problem, b""))

    # Commands.

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

    def _ask(  # noqa: PLR0913
        self,
        line: bytes,
        refusal: str,
        take: Take | None = None,
        *,
        shown: bytes | None = None,
        answer: bytes | None = None,
        limit: float | None = None,
        is_private: bool = False,
    ) -> Procedure[Response]:
        """Give a command, as often as it is refused for now only; return the reply to it.

        ``take`` is given all that comes before. ``answer`` is a secret that the server asks for,
        and ``shown`` what takes the line's place in the transcript.

        Raises:
            Refused: the server says no.
            NotNow: it says "not now", and that it takes a new session to ask again.
        """
        has_waited = False
        while True:
            self._tag += 1
            tag = b"a%d" % self._tag
            self._parser.expect()
            masked = None if shown is None else tag + b" " + shown
            yield from self.send(command(tag + b" " + line, masked))
            reply = yield from self._reply(tag, take, answer, limit, is_private=is_private)
            if reply.name == b"OK":
                if has_waited:
                    self.patience.is_rewarded()
                return reply
            if NOT_CONNECTED in reply.said.lower():
                raise NotNow(refusal, reply.said)
            if reply.code[0] not in NOT_NOW:
                raise Refused(refusal, reply.said)
            fault = NotNow(refusal, reply.said)
            if not self._is_patient:
                raise fault
            yield from self.patience.wait(fault)
            has_waited = True

    def _reply(
        self,
        tag: bytes,
        take: Take | None,
        answer: bytes | None,
        limit: float | None,
        *,
        is_private: bool,
    ) -> Procedure[Response]:
        while True:
            response = self._parser.next_response()
            if response is None:
                try:
                    data = yield from self.receive(limit, is_private=is_private)
                except Disconnected as fault:
                    if self._farewell:
                        problem = "the server ends the session"
                        raise Disconnected(problem, self._farewell) from fault
                    raise
                self._parser.feed(data)
            elif response.tag == tag:
                return response
            elif response.tag == b"+":
                if answer is None:
                    raise response.nonsense()
                yield from self.send(command(answer, b"***"))
                answer = None
            elif response.tag != b"*":
                raise response.nonsense()
            else:
                if response.name == b"BYE":
                    self._farewell = response.said
                if self._selected is not None:
                    self._selected.note(response)
                if take is not None:
                    take(response)


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
