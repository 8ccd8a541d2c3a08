"""The lines of a POP3 reply (RFC 1939 section 3), from its bytes: so much as is needed of each."""

from __future__ import annotations

import re
from itertools import islice

from check_smtp_health.errors import Violation

LINE_LIMIT = 2048
"""Bytes kept of one line. RFC 2449 section 4 allows 512 of a reply; of a message it may be any."""

REPLY_LIMIT = 16 * 1024 * 1024
"""Bytes that may follow a command: UIDL of 100,000 messages has 8 MB at most."""

LINES_LIMIT = 500 * 1000
"""Lines of the same, each of which takes some time."""


class LineParser:
    """Takes bytes in any pieces and gives the lines they make, cut to ``LINE_LIMIT``.

    The result never depends on where the pieces were cut. ``last`` is how the last line of a reply
    began.
    """

    __slots__ = ("_buffer", "_count", "_size", "last")

    def __init__(self) -> None:
        self._buffer = b""
        self._count = self._size = 0
        self.last = b""

    def expect(self) -> None:
        """Begin to count anew: a command is sent."""
        self._count = self._size = 0

    @property
    def unread(self) -> bytes:
        """What has come and was not taken yet."""
        return self._buffer

    def feed(self, data: bytes) -> None:
        """Take more bytes.

        Raises:
            Violation: there are too many.
        """
        self._size += len(data)
        if self._size > REPLY_LIMIT:
            raise Violation(f"a reply longer than {REPLY_LIMIT} bytes", self.last)
        self._buffer += data
        if b"\n" not in self._buffer:
            self._buffer = self._buffer[: LINE_LIMIT + 1]

    def status(self, *, is_asked: bool = False) -> bytes | None:
        """Return the first line of a reply, or None while it is incomplete.

        While one logs in, one ``is_asked``: it may be a challenge (RFC 5034 section 4).

        Raises:
            Violation: it is not a POP3 reply, or too long.
        """
        line, end, rest = self._buffer.partition(b"\n")
        if len(line) > LINE_LIMIT:
            raise Violation(f"a line longer than {LINE_LIMIT} bytes", line)
        if not end:
            return None
        self._buffer = rest
        self.last = line.rstrip(b"\r")
        first = rb"(?:\+OK|-ERR|\+)(?: |\Z)" if is_asked else rb"(?:\+OK|-ERR)(?: |\Z)"
        if not re.match(first, self.last):
            raise Violation("not POP3", self.last)
        return self.last

    def lines(self) -> tuple[list[bytes], bool]:
        """Return the lines of a longer reply that have come, and whether it ends there.

        The dot is taken off those that begin with one (RFC 1939 section 3).

        Raises:
            Violation: there are too many.
        """
        lines = self._buffer.split(b"\n")
        rest = lines.pop()
        end = min((lines.index(dot) for dot in (b".", b".\r") if dot in lines), default=len(lines))
        found = [
            line.removesuffix(b"\r").removeprefix(b".")[:LINE_LIMIT] for line in islice(lines, end)
        ]
        if end < len(lines):
            self._buffer = b"\n".join((*lines[end + 1 :], rest))
            return found, True
        self._buffer = rest[: LINE_LIMIT + 1]
        self._count += len(found)
        if self._count > LINES_LIMIT:
            raise Violation(f"a reply of more than {LINES_LIMIT} lines", self.last)
        return found, False
