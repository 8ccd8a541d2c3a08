"""Replies (RFC 5321 section 4.2): bytes in, replies out, or a Violation. Nothing is repaired."""

from __future__ import annotations

from check_smtp_health.errors import Violation
from check_smtp_health.values import NamedTuple

LINE_LIMIT = 2048
"""Octets of one line. RFC 5321 section 4.5.3.1.5 says 512; Postfix reads 2,048 before it cuts."""

LINES_LIMIT = 256
"""Lines of one reply: no server offers that many extensions; an endless reply must end here."""

REPLY_LIMIT = 64 * 1024
"""Octets of one reply, for the same reason."""

_TLS_CONTENT_TYPES = range(20, 24)
"""First octet of a TLS record; the second is 3, the version (RFC 8446 section 5.1)."""


class Reply(NamedTuple):
    """A complete reply: its code, and its lines as they came, without line ends."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def raw(self) -> bytes:
        """The reply as one reads it: its code once, then the text of all its lines."""
        return (b"%d " % self.code + b"\n".join(self.texts)).rstrip()

    @property
    def texts(self) -> tuple[bytes, ...]:
        """The text of each line, without code and separator."""
        return tuple([line[4:] for line in self.lines])

    @property
    def is_positive(self) -> bool:
        """Whether the code is 2yz or 3yz."""
        return self.code < 400


class ReplyParser:
    """Takes bytes in any pieces and gives the replies they make.

    The result never depends on where the pieces were cut, and memory stays bounded: once a limit
    is passed, ``next_reply`` raises and must not be called again.
    """

    __slots__ = ("_buffer", "_lines", "_size")

    def __init__(self) -> None:
        self._buffer = b""
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take more bytes."""
        self._buffer += data

    @property
    def unread(self) -> bytes:
        """What has come and makes no complete reply yet, lines included."""
        if not (self._buffer or self._lines):
            return b""
        return b"".join(line + b"\n" for line in self._lines) + self._buffer[:LINE_LIMIT]

    def next_reply(self) -> Reply | None:
        """Return the next complete reply, or None while one is still incomplete.

        Raises:
            Violation: what came is no reply, differs in codes, or passes a limit.
        """
        while self._buffer:
            data = self._buffer
            # A TLS record need not end in a newline: do not wait for one.
            if data[1:2] == b"\x03" and data[0] in _TLS_CONTENT_TYPES:
                raise Violation("TLS instead of SMTP, try --ssl", data[:2])
            end = data.find(b"\n", 0, LINE_LIMIT)
            if end < 0:
                if len(data) >= LINE_LIMIT:
                    raise Violation(f"a line longer than {LINE_LIMIT} bytes", data[:LINE_LIMIT])
                return None
            self._buffer = data[end + 1 :]
            reply = self._take(data[: end - 1 if data[end - 1 : end] == b"\r" else end])
            if reply is not None:
                return reply
        return None

    def _take(self, line: bytes) -> Reply | None:
        code = line[:3]
        # RFC 5321 section 4.2: the first digit is 2 to 5, "-" says that more lines follow, and
        # the space may be missing where there is no text. Second digits above 5 are in use (571).
        if not (len(code) == 3 and code.isdigit() and line[3:4] in (b"", b" ", b"-")):
            raise Violation("not an SMTP reply" if line else "an empty line, not a reply", line)
        if code[:1] not in b"2345":
            raise Violation("not a reply code of SMTP", line)
        first = self._lines[0] if self._lines else line
        if code != first[:3]:
            raise Violation("differing codes in one reply", b"\n".join((*self._lines, line)))
        self._lines.append(line)
        self._size += len(line)
        if line[3:4] != b"-":
            reply = Reply(int(code), tuple(self._lines))
            self._lines = []
            self._size = 0
            return reply
        if len(self._lines) >= LINES_LIMIT:
            raise Violation(f"a reply of more than {LINES_LIMIT} lines", first)
        if self._size > REPLY_LIMIT:
            raise Violation(f"a reply longer than {REPLY_LIMIT} bytes", first)
        return None
