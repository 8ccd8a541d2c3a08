"""A mailbox over POP3 (poplib): is the message there, and out with it.

What came is only seen in a session that began later, so each look is one. A message is deleted by
its number in the very session in which its header was seen.
"""

from __future__ import annotations

import contextlib
import poplib

from check_smtp_health.errors import (
    LocalFault,
    NotOffered,
    Refused,
    SessionFault,
    Violation,
)
from check_smtp_health.roundtrip.mailbox import Reader
from check_smtp_health.roundtrip.matching import FoundMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from check_smtp_health.net.wire import Wire
    from check_smtp_health.roundtrip.mailbox import Access
    from check_smtp_health.roundtrip.matching import MessageQuery

HEADERS_LIMIT = 200
"""Headers asked for in one session, from the newest on; the next look goes on before these."""

TRACE_LIMIT = 64 * 1024
"""Bytes that the servers on the way may have added."""

RETR_LIMIT = 16 * 1024
"""The same where a message can only be had whole."""

SIZE_DIGITS = 20
"""Digits of a size; a number of many takes long to read."""

HEADER_LIMIT = 64 * 1024
"""Bytes kept of one header."""

_REFUSALS = {"user": "login refused", "pass_": "login refused", "_shortcmd": "STLS refused"}


class _Client(poplib.POP3):
    """poplib over a wire of ours."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        super().__init__("")

    def _create_socket(self, timeout: object) -> Any:
        return self._wire


class Pop3(Reader):
    """A mailbox; the session of the last look stays open until the next, or until the end.

    ``_known`` are the unique ids of what has been looked at and is of no interest, ``_headers``
    what is, in this session.
    """

    __slots__ = ("_client", "_has_top", "_headers", "_known")

    first_pause = 0.5
    longest_pause = 5.0

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._client: Any = None
        self._has_top = True
        self._known: set[bytes] = set()
        self._headers: list[FoundMessage] = []

    def look(self, query: MessageQuery) -> list[FoundMessage]:
        """Begin a session and look at the headers that are new."""
        self.close()
        try:
            self._open()
        except _InUse as fault:
            self.locked = fault.said
            return []
        self.locked = b""
        return [copy for copy in self._read(query) if query.is_it(copy)]

    def bounce(self, query: MessageQuery) -> bytes | None:
        """Return nothing: what is in a message cannot be asked here."""
        return None

    def stale(self, query: MessageQuery, newest: FoundMessage) -> list[FoundMessage]:
        """Return those that the last look has met."""
        return [copy for copy in self._headers if query.is_stale(copy, newest)]

    def remove(self, copies: list[FoundMessage]) -> str:
        """Delete these and end the session."""
        for copy in copies:
            self._ask("dele", copy.number)
        # Only now are they deleted (RFC 1939 section 6).
        self._ask("quit")
        self._client = None
        return "" if self._has_top else "read whole, for the server lacks TOP"

    def close(self) -> None:
        """End the session."""
        if self._client is not None:
            with contextlib.suppress(SessionFault):
                self._ask("quit")
            self._client = None
        self.drop()

    def _open(self) -> None:
        wire = self.connect()
        with self._understood("session refused"):
            self._client = _Client(wire)
        if not self.mailbox.has_tls:
            self._upgrade(wire)
        user, password = self.mailbox.user, self.access.password.reveal()
        self._ask("user", user)
        self._ask("pass_", password)

    def _upgrade(self, wire: Wire) -> None:
        try:
            capabilities = self._ask("capa")
        except Refused:
            capabilities = {}
        if "STLS" not in capabilities:
            if self.access.may_show_password:
                return
            raise NotOffered("no STLS, it is not offered")
        # Not poplib's stls(), which would take what stands behind the reply for the server's.
        self._ask("_shortcmd", "STLS")
        wire.start_tls(self.access.trust, self.mailbox.host.dns_name, is_upgrade=True)

    def _read(self, query: MessageQuery) -> list[FoundMessage]:
        """Return what may be the message or its kin, newest first, as far as this session looks."""
        ids = dict(self._numbers("uidl", is_needed=False))
        read = 0
        self._headers = []
        for number, size in reversed(self._numbers("list")):
            more = int(size) - query.size if size.isdigit() and len(size) < SIZE_DIGITS else 0
            # It only grew on the way; by no half is it shorter where a line's end counts as one.
            if not -query.size / 2 < more < TRACE_LIMIT or ids.get(number) in self._known:
                continue
            if read == HEADERS_LIMIT:
                break
            read += 1
            found = [copy for copy in self._header(number, more) if query.concerns(copy)]
            self._headers += found
            if not found and number in ids:
                self._known.add(ids[number])
        return self._headers

    def _numbers(self, method: str, *, is_needed: bool = True) -> list[tuple[str, bytes]]:
        """Return the messages' numbers, each with what LIST or UIDL says of it."""
        try:
            _, lines, _ = self._ask(method)
        except Refused:
            if is_needed:
                raise
            return []
        words = [line.split() for line in lines]
        return [
            (pair[0].decode(), pair[1]) for pair in words if len(pair) > 1 and pair[0].isdigit()
        ]

    def _header(self, number: str, more: int) -> list[FoundMessage]:
        """Return the message with that number, or none where it cannot be had cheaply."""
        if self._has_top:
            with contextlib.suppress(Refused):
                return [_copy(number, self._ask("top", number, 0))]
        if more >= RETR_LIMIT:
            return []
        with contextlib.suppress(Refused):  # somebody else has just deleted it
            whole = _copy(number, self._ask("retr", number))
            self._has_top = False
            return [whole]
        return []

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Give a command and return what poplib makes of the reply.

        Raises:
            Refused: the server says no.
        """
        refusal = _REFUSALS.get(method, f"{method.upper()} refused")
        with self._understood(refusal):
            return getattr(self._client, method)(*arguments)

    @contextlib.contextmanager
    def _understood(self, refusal: str) -> Iterator[None]:
        try:
            yield
        except poplib.error_proto as error:
            if not self.last.startswith(b"-ERR"):
                raise Violation("not POP3", self.last) from error
            if b"[IN-USE]" in self.last[:64].upper():
                raise _InUse(refusal, self.last) from error
            raise Refused(refusal, self.last) from error
        except UnicodeEncodeError as error:
            raise LocalFault("the password is not UTF-8, which POP3 needs") from error
        except (ValueError, LookupError) as error:
            # What poplib stumbles over in a reply that it did not expect.
            raise Violation("not POP3", self.last) from error


class _InUse(Refused):
    """Somebody else has the mailbox open (RFC 2449 section 8.1.1): it may be free in a moment."""


def _copy(number: str, reply: tuple[bytes, list[bytes], int]) -> FoundMessage:
    return FoundMessage(number, b"\n".join(reply[1])[:HEADER_LIMIT])
