"""A mailbox over POP3 (RFC 1939, RFC 2449): finds the message and deletes it.

What came is only seen in a session that began later, so each look is one. A message is deleted by
its number in the very session in which its header was seen.
"""

from __future__ import annotations

import collections
import re

from check_smtp_health.errors import NotOffered, PeerFault, SessionFault, Violation
from check_smtp_health.escaping import octets
from check_smtp_health.faults import NotNow, Refused
from check_smtp_health.net.operations import Pause
from check_smtp_health.roundtrip.authentication import Authentication, chosen, refusal, unable
from check_smtp_health.roundtrip.lines import LINE_LIMIT, LineParser
from check_smtp_health.roundtrip.mailbox import (
    FAREWELL_LIMIT,
    NOT_NOW,
    WHOLE_LIMIT,
    Copy,
    Reader,
    Whole,
    command,
    too_long,
)
from check_smtp_health.roundtrip.matching import FoundMessage
from check_smtp_health.smtp import sasl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from check_smtp_health.net.operations import Procedure, Watch
    from check_smtp_health.net.way import Way
    from check_smtp_health.roundtrip.mailbox import Access
    from check_smtp_health.roundtrip.matching import MessageQuery
    from check_smtp_health.smtp.sasl import Mechanism

HEADERS_LIMIT = 200
"""Headers asked for in one session, from the newest on; the next look goes on before these."""

CANDIDATES_LIMIT = 1000
"""Messages of a likely size among which the message is looked for, the newest."""

TRACE_LIMIT = 64 * 1024
"""Bytes that the servers on the way may have added."""

RETR_LIMIT = 16 * 1024
"""The same where a message can only be had whole."""

BODY_LIMIT = 2000
"""Lines asked for of a message that may have ours attached."""

HEADER_LIMIT = 64 * 1024
"""Bytes kept of one header."""

COMMAND_LIMIT = 255
"""Bytes of a command (RFC 5034 section 4); a longer response waits until it is asked for."""

# What is "not now" rather than "no": RFC 2449 section 8.1 and RFC 3206 section 4.
_NOT_NOW = re.compile(rb"-ERR \[(?:IN-USE|LOGIN-DELAY|SYS/TEMP)\]", re.IGNORECASE)

_WRONG = re.compile(rb"-ERR \[AUTH\]", re.IGNORECASE)
"""The user or password itself (RFC 3206 section 5)."""

_IN_USE = re.compile(rb"-ERR \[IN-USE\]", re.IGNORECASE)
_LOGIN_DELAY = re.compile(rb"-ERR \[LOGIN-DELAY\]", re.IGNORECASE)

_PAIR = re.compile(rb"([1-9]\d{0,9}) +(\S{1,70})")
"""A message's number, and what LIST or UIDL says of it: 70 octets at most (RFC 1939 section 7)."""


class Pop3(Reader):
    """A mailbox. The session in which the message was found stays open, to delete it.

    ``_known`` are the unique ids of what has been looked at and is of no interest, ``_headers``
    what is, in this session; ``_ids`` has the unique ids of these, by their numbers.
    """

    __slots__ = ("_has_top", "_headers", "_ids", "_known", "_parser", "_tried")

    first_pause = 0.5
    longest_pause = 5.0

    def __init__(self, access: Access, way: Way, watch: Watch) -> None:
        super().__init__(access, way, watch)
        self._has_top = True
        self._tried: float | None = None  # when the last login was
        self._known: set[bytes] = set()
        self.forget()

    def forget(self) -> None:
        """Forget the session, which has ended."""
        self._parser = LineParser()
        self._headers: list[FoundMessage] = []
        self._ids: dict[str, bytes] = {}

    @property
    def last(self) -> bytes:
        """The last line that came."""
        return self._parser.last

    @property
    def delay(self) -> float:
        """Seconds until the server lets us in again (LOGIN-DELAY, RFC 2449 section 6.5)."""
        return 0.0 if self._tried is None else self._tried + self.interval - self.watch.now

    def look(self, query: MessageQuery) -> Procedure[list[Copy]]:
        """Have a session, and keep it where the message is found."""
        yield from self._log_in()
        yield from self._read(query)
        copies = [Copy(self.home, one) for one in self._headers if query.is_sought(one)]
        if copies:
            self.copies = copies
        else:
            yield from self._quit()
        return copies

    def bounce(self, query: MessageQuery) -> Procedure[bytes | None]:
        """Return nothing: what is in a message cannot be asked here."""
        yield from ()
        return None

    def whole(self, query: MessageQuery) -> Procedure[Whole]:
        """Fetch the message in the session that has found it."""
        sought = next(one for one in self._headers if query.is_sought(one))
        data = bytearray()
        longest = 0

        def take(line: bytes) -> None:
            nonlocal longest
            longest = max(longest, len(line))
            if len(data) <= WHOLE_LIMIT:
                data.extend(line + b"\r\n")

        line = b"RETR " + sought.number.encode()
        yield from self._ask(line, "RETR refused", take, is_private=True)
        if len(data) > WHOLE_LIMIT:
            return too_long(bytes(data))
        is_cut = longest >= LINE_LIMIT
        return Whole(bytes(data), f"a line has {LINE_LIMIT} bytes or more" if is_cut else "")

    def clean_up(self, query: MessageQuery, settle: float) -> Procedure[None]:
        """Delete what this session has found; have another for what came since."""
        if not self._headers:  # the session has ended, and its numbers with it
            yield from self._log_in()
            yield from self._read(query)
        yield from self._delete(query, self.copies[0].message)
        if self.interval:
            return  # another session would have to wait, and what we came for is done
        yield Pause(settle)
        first = self.copies
        try:
            again = yield from self.look(query)
        except PeerFault:
            return  # it is not granted at once, and what we came for is done
        if again:
            self.copies = [*first, *again]
            yield from self._delete(query, again[0].message)

    def _delete(self, query: MessageQuery, newest: FoundMessage) -> Procedure[None]:
        stale = [one for one in self._headers if query.is_stale(one, newest)]
        doomed = [one for one in self._headers if query.is_sought(one)] + stale
        if not doomed:
            yield from self._quit()
            return
        for message in doomed:
            yield from self._ask(b"DELE " + message.number.encode(), "DELE refused")
        # Only now are they deleted (RFC 1939 section 6).
        yield from self._ask(b"QUIT", "QUIT refused")
        # A server that goes on to list one of them has no second one (section 7).
        self._known.update(self._ids[one.number] for one in doomed if one.number in self._ids)
        yield from self.drop()
        if stale:
            self.notes.append(f"{self.home}: leftovers deleted: {len(stale)}")
        if not self._has_top:
            self.notes = [f"{self.home}: read whole, because the server does not offer TOP"]

    # The session.

    def _log_in(self) -> Procedure[None]:
        yield from self.connect()
        self._judge((yield from self._status()), "session refused")
        capabilities = yield from self._capabilities()
        if not self.home.has_tls:
            if "STLS" in capabilities:
                yield from self._ask(b"STLS", "STLS refused")
                yield from self.upgrade(self._parser.unread)
                # RFC 2595 section 4: nothing counts that was said before.
                self._parser = LineParser()
                capabilities = yield from self._capabilities()
            elif not self.access.may_show_password:
                raise NotOffered("no STLS, it is not offered")
        self.times["connected"] = self.watch.now
        for argument in capabilities.get("LOGIN-DELAY", ())[:1]:
            if re.fullmatch(r"\d{1,6}", argument):
                self.interval = max(self.interval, float(argument))
        before, self._tried = self._tried, self.watch.now
        try:
            yield from self._admitted(capabilities)
        except NotNow as fault:
            if not _LOGIN_DELAY.match(fault.said):
                self._tried = before
            if _IN_USE.match(fault.said):
                fault.problem = "locked"
            raise
        waited_for = self.patience.fault
        is_locked = waited_for is not None and _IN_USE.match(waited_for.said)
        if is_locked and before is not None:
            # So long it took to be let in again: it will take no less the next time.
            self.interval = max(self.interval, self._tried - before)
        self.times["logged in"] = self._tried = self.watch.now

    def _admitted(self, capabilities: dict[str, tuple[str, ...]]) -> Procedure[None]:
        """Give user and password, in the way that is offered (RFC 2449 section 6.3, RFC 5034)."""
        mechanisms = sorted(set(capabilities.get("SASL", ())))
        mechanism = self._mechanism(mechanisms, has_user="USER" in capabilities)
        if mechanism is None:
            yield from self._admitted_as_user(mechanisms)
            return
        login = Authentication(mechanism, self.home.user, self.access.password.reveal())
        try:
            yield from self._authenticated(login)
        except (Refused, NotNow) as fault:
            fault.problem = refusal(mechanism.name, self._others(fault, mechanisms), login.why)
            raise
        login.need_no_reason(self.last)

    def _mechanism(self, offered: list[str], *, has_user: bool) -> Mechanism | None:
        """Return the mechanism to log in by, None for the commands USER and PASS.

        Raises:
            NotOffered: the server does not let us in by what we have.
        """
        wanted = self.access.mechanisms
        if wanted:
            return chosen(offered, wanted)
        # A server that names neither may well know USER.
        if has_user or not offered:
            return None
        if "PLAIN" not in offered:
            raise unable(offered)
        return sasl.named("PLAIN")

    def _admitted_as_user(self, mechanisms: list[str]) -> Procedure[None]:
        problem = refusal("USER")
        secret = octets(self.access.password.reveal())
        try:
            yield from self._ask(b"USER " + octets(self.home.user), problem)
            yield from self._ask(b"PASS " + secret, problem, shown=b"PASS ***")
        except Refused as fault:
            fault.problem = refusal("USER", self._others(fault, mechanisms))
            raise

    def _others(self, fault: SessionFault, mechanisms: list[str]) -> list[str]:
        """Return what else is offered, where the password may be right and the mechanism wrong."""
        if self.access.mechanisms or isinstance(fault, NotNow) or _WRONG.match(fault.said):
            return []
        return [name for name in mechanisms if name not in ("PLAIN", "LOGIN")]

    def _authenticated(self, login: Authentication) -> Procedure[None]:
        """Log in by AUTH; what a server wants to know it asks for by a line that begins with +."""
        line = b"AUTH " + login.mechanism.name.encode()
        initial = login.begin(COMMAND_LIMIT - len(line) - 3)
        yield from self.send(command(line + initial, line + b" ***" if initial else line))
        self._parser.expect()
        problem = refusal(login.mechanism.name)
        while True:
            status = yield from self._status(is_asked=True)
            if not status.startswith(b"+") or status.startswith(b"+OK"):
                self._judge(status, problem)
                return
            answer = login.answer(status[2:])
            if answer is None:
                raise Violation("more challenges than the mechanism has answers", status)
            yield from self.send(command(answer, b"***"))

    def _capabilities(self) -> Procedure[dict[str, tuple[str, ...]]]:
        found: dict[str, tuple[str, ...]] = {}

        def take(line: bytes) -> None:
            name, *arguments = line.decode("ascii", "replace").upper().split() or [""]
            found[name] = tuple(arguments)

        try:
            yield from self._ask(b"CAPA", "CAPA refused", take)
        except Refused:
            pass  # RFC 2449 is not known here
        return found

    def _quit(self) -> Procedure[None]:
        try:
            yield from self._ask(b"QUIT", "QUIT refused", limit=FAREWELL_LIMIT)
        except SessionFault:
            pass  # nothing was to be deleted
        yield from self.drop()

    # Messages.

    def _read(self, query: MessageQuery) -> Procedure[None]:
        """Look at what may be the message or a leftover, newest first, as far as a session goes."""
        # Its number, and how much longer it is than what was sent: it only grew on the way, and by
        # no half is it shorter where a line's end counts as one.
        # An answer may well be shorter.
        least = -query.size if query.takes_replies else -query.size / 2
        likely: collections.deque[tuple[bytes, int]] = collections.deque(maxlen=CANDIDATES_LIMIT)
        ids: dict[bytes, bytes] = {}

        def take_size(number: bytes, size: bytes) -> None:
            more = int(size) - query.size if re.fullmatch(rb"\d{1,12}", size) else 0
            if least < more < TRACE_LIMIT:
                likely.append((number, more))

        def take_id(number: bytes, unique: bytes) -> None:
            if number in numbers:
                ids[number] = unique

        yield from self._ask(b"LIST", "LIST refused", _paired(take_size))
        numbers = {number for number, _ in likely}
        if numbers:
            try:
                yield from self._ask(b"UIDL", "UIDL refused", _paired(take_id))
            except Refused:
                pass  # optional (RFC 1939 section 7): all are looked at again each time
        unknown = [one for one in reversed(likely) if ids.get(one[0]) not in self._known]
        self._headers = []
        for number, more in unknown[:HEADERS_LIMIT]:
            found = yield from self._header(number, more)
            if found is not None and query.may_enclose(found):
                found = yield from self._opened(found, query)
            if found is not None and (query.concerns(found) or query.is_answer(found)):
                self._headers.append(found)
                if number in ids:
                    self._ids[number.decode()] = ids[number]
            elif number in ids:
                self._known.add(ids[number])

    def _opened(self, message: FoundMessage, query: MessageQuery) -> Procedure[FoundMessage]:
        """Return the message, with the knowledge of whether it has ours attached."""
        lines: list[bytes] = []
        if not self._has_top:
            lines = message.header.split(b"\n")  # it has been read whole
        else:
            line = b"TOP %s %d" % (message.number.encode(), BODY_LIMIT)
            yield from self._is_shown(line, _up_to(HEADER_LIMIT, lines))
        _, _, body = b"\n".join(lines).partition(b"\n\n")
        return message._replace(encloses_it=query.encloses(message, body))

    def _header(self, number: bytes, more: int) -> Procedure[FoundMessage | None]:
        """Return the message with that number, None where it cannot be had cheaply."""
        lines: list[bytes] = []
        take = _up_to(HEADER_LIMIT, lines)
        if self._has_top and (yield from self._is_shown(b"TOP %s 0" % number, take)):
            return FoundMessage(number.decode(), b"\n".join(lines))
        if more >= RETR_LIMIT or not (yield from self._is_shown(b"RETR " + number, take)):
            return None
        self._has_top = False
        return FoundMessage(number.decode(), b"\n".join(lines))

    def _is_shown(self, line: bytes, take: Callable[[bytes], None]) -> Procedure[bool]:
        try:
            yield from self._ask(line, "message refused", take, is_private=True)
        except Refused:
            return (
                False  # another client has just deleted it, or the server does not know the command
            )
        return True

    # Commands.

    def _ask(  # noqa: PLR0913
        self,
        line: bytes,
        problem: str,
        take: Callable[[bytes], None] | None = None,
        *,
        shown: bytes | None = None,
        limit: float | None = None,
        is_private: bool = False,
    ) -> Procedure[None]:
        """Give a command; ``take`` is given each line of a reply of several.

        Raises:
            Refused: the server says no.
            NotNow: it says "not now".
        """
        self._parser.expect()
        yield from self.send(command(line, shown))
        self._judge((yield from self._status(limit, is_private=is_private)), problem)
        is_over = False
        while take is not None and not is_over:
            lines, is_over = self._parser.lines()
            for one in lines:
                take(one)
            if not is_over:
                self._parser.feed((yield from self.receive(limit, is_private=is_private)))

    def _status(
        self, limit: float | None = None, *, is_private: bool = False, is_asked: bool = False
    ) -> Procedure[bytes]:
        while (line := self._parser.status(is_asked=is_asked)) is None:
            self._parser.feed((yield from self.receive(limit, is_private=is_private)))
        return line

    def _judge(self, line: bytes, problem: str) -> None:
        if line.startswith(b"+OK"):
            return
        if _NOT_NOW.match(line) or NOT_NOW.search(line):
            raise NotNow(problem, line)
        raise Refused(problem, line)


def _paired(take: Callable[[bytes, bytes], None]) -> Callable[[bytes], None]:
    """Return a function that takes a line of a listing (RFC 1939 section 5)."""

    def take_line(line: bytes) -> None:
        pair = _PAIR.match(line)
        if pair:
            take(pair[1], pair[2])

    return take_line


def _up_to(room: int, lines: list[bytes]) -> Callable[[bytes], None]:
    """Return a function that keeps lines as long as there is room for them."""

    def take(line: bytes) -> None:
        nonlocal room
        room -= len(line) + 1
        if room >= 0:
            lines.append(line)

    return take
