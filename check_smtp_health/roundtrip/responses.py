"""IMAP's responses (RFC 3501 sections 7 and 9): bytes in any pieces in, values out.

What a server sends may come in any order, and has no end where the server is hostile. So a response
is given out as soon as it is complete, and of a list of numbers, which may have a million, only the
newest are kept. Each limit counts what was read since the last command.
"""

from __future__ import annotations

import re

from check_smtp_health.errors import Violation
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Union

    Value = Union[bytes, None, list["Value"]]

LINE_LIMIT = 64 * 1024
"""Bytes of one response without its literals and numbers: RFC 7162 section 4 says 8,192."""

LITERAL_LIMIT = 64 * 1024
"""Bytes kept of one literal: nothing longer is asked for."""

DIGITS = 10
"""Digits of a number, which has 32 bits (RFC 3501 section 9)."""

LITERALS_LIMIT = 10
"""Literals of one response. No more than three are asked for, and a folder's name may be one."""

REPLY_LIMIT = 16 * 1024 * 1024
"""Bytes that may follow a command: the UIDs of 100,000 messages have 1 MB."""

ITEMS_LIMIT = 500 * 1000
"""Numbers that may follow a command, each of which takes some time."""

RESPONSES_LIMIT = 50 * 1000
"""Responses that may, which take more."""

NEWEST = 200
"""Numbers kept of a list, the highest ones: more messages than are looked at in one run."""

TOKENS_LIMIT = 2000
"""Words of a response that is looked into. A FETCH has ten, a folder's flags are some dozen."""

DEPTH_LIMIT = 20
"""Lists within lists."""

SAID_LIMIT = 512
"""Bytes kept of a response's own words."""

STATUS = (b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH")
"""Responses that end in text for people (RFC 3501 section 7.1), in which nothing is a literal."""

_LITERAL = re.compile(rb"\{(\d+)\+?\}\Z")
_CODE = re.compile(rb"\[([A-Za-z0-9/-]+)(?: ([^\]]*))?\]")
_NUMBERS = re.compile(rb"\* E?SEARCH(?= |\r?\n)", re.IGNORECASE)
_COUNT = re.compile(rb"\d{1,10}")
_NAME = re.compile(rb"[A-Z][A-Z0-9.-]*")
_RANGE = re.compile(rb"(\d{1,10}):(\d{1,10})")
_TOKEN = re.compile(
    rb'(?P<space> +)|(?P<open>\()|(?P<close>\))|"(?P<quoted>(?:[^"\\]|\\.)*)"'
    rb'|(?P<atom>(?:[^ ()\[\]"]|\[[^\]]*\])+)'
)
_LARGEST = 2**32 - 1


class Numbers:
    """The numbers of SEARCH or ESEARCH: how many there are, and the ``NEWEST`` highest."""

    __slots__ = ("_kept", "count")

    def __init__(self) -> None:
        self.count = 0
        self._kept: set[int] = set()

    def add(self, numbers: Sequence[int]) -> None:
        """Take more numbers, or a range of them."""
        self.count += len(numbers)
        newest = numbers[-NEWEST:] if isinstance(numbers, range) else numbers
        self._kept.update(newest)
        if len(self._kept) > 10 * NEWEST:
            self._kept = set(self.newest)

    @property
    def newest(self) -> list[int]:
        """The highest numbers, falling."""
        return sorted(self._kept, reverse=True)[:NEWEST]


class Response(NamedTuple):
    """A complete response. ``tag`` is ``*``, ``+`` or a command's; ``name`` is in upper case.

    ``number`` is a message's number in its folder, or how many there are. ``pieces`` are what
    follows the name: text, a literal, text, and so on. ``line`` is how it began, as it came.
    """

    tag: bytes
    name: bytes
    number: int
    pieces: tuple[bytes, ...]
    line: bytes
    numbers: Numbers | None = None

    @property
    def said(self) -> bytes:
        """The server's own words: the line without its tag."""
        return self.line.partition(b" ")[2]

    @property
    def code(self) -> tuple[bytes, bytes]:
        """The response code in brackets (section 7.1) in upper case, and what it says."""
        match = _CODE.match(self.pieces[0]) if self.name in STATUS else None
        return (match[1].upper(), match[2] or b"") if match else (b"", b"")

    def values(self) -> list[Value]:
        """Return what follows the name: atoms and strings, None for NIL, lists.

        Raises:
            Violation: the brackets do not match, or there is no end of words.
        """
        found: list[Value] = []
        open_lists = [found]
        for is_literal, token in self._tokens():
            if is_literal:
                open_lists[-1].append(token)
            elif token == b"(" and len(open_lists) < DEPTH_LIMIT:
                inner: list[Value] = []
                open_lists[-1].append(inner)
                open_lists.append(inner)
            elif token == b")" and len(open_lists) > 1:
                open_lists.pop()
            elif token in (b"(", b")"):
                raise self.nonsense()
            else:
                open_lists[-1].append(None if token.upper() == b"NIL" else token)
        if len(open_lists) > 1:
            raise self.nonsense()
        return found

    def attributes(self) -> dict[bytes, bytes]:
        """Return what a FETCH response tells of a message, by names in upper case.

        A partial ``BODY[HEADER]<0>`` goes by ``BODY[HEADER]``; what is not a string is left out.
        """
        values = self.values()
        listed = values[0] if values and isinstance(values[0], list) else []
        pairs = zip(listed[::2], listed[1::2])
        return {
            re.sub(rb"<\d+>\Z", b"", name).upper(): value
            for name, value in pairs
            if isinstance(name, bytes) and isinstance(value, bytes)
        }

    def nonsense(self) -> Violation:
        """Return the fault for a line that is not a response."""
        return Violation("not IMAP", self.line)

    def _tokens(self) -> Iterator[tuple[bool, bytes]]:
        """Give each string, as True and its bytes, and each atom and bracket, as False."""
        count = 0
        for index, piece in enumerate(self.pieces):
            if index % 2:
                yield True, piece
                continue
            position = 0
            while position < len(piece):
                match = _TOKEN.match(piece, position)
                count += 1
                if match is None or count > TOKENS_LIMIT:
                    raise self.nonsense()
                position = match.end()
                if match["quoted"] is not None:
                    yield True, re.sub(rb"\\(.)", rb"\1", match["quoted"])
                elif match["space"] is None:
                    yield False, match[0]


class ResponseParser:
    """Takes bytes in any pieces and gives the responses they make.

    The result never depends on where the pieces were cut, and memory stays bounded: once a limit
    is passed, ``next_response`` raises and must not be called again. ``last`` is how the newest
    line began.
    """

    __slots__ = (
        *("_buffer", "_items", "_literal", "_missing", "_numbers", "_pieces", "_responses"),
        *("_size", "last"),
    )

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pieces: list[bytes] = []  # of the response that is incomplete
        self._literal = bytearray()
        self._missing = 0  # bytes of that literal
        self._numbers: Numbers | None = None
        self._items = self._responses = self._size = 0
        self.last = b""

    def expect(self) -> None:
        """Begin to count anew: a command is sent."""
        self._items = self._responses = self._size = 0

    def feed(self, data: bytes) -> None:
        """Take more bytes."""
        self._buffer += data

    @property
    def unread(self) -> bytes:
        """What has come beyond the last complete response, or how it begins."""
        return b"".join((*self._pieces, bytes(self._buffer[:SAID_LIMIT])))[:SAID_LIMIT]

    def next_response(self) -> Response | None:
        """Return the next complete response, or None while one is still incomplete.

        Raises:
            Violation: what came is not a response, or exceeds a limit.
        """
        while self._buffer:
            if self._missing:
                self._take_literal()
                continue
            if self._numbers is None and not self._pieces and _NUMBERS.match(self._buffer):
                self._numbers = Numbers()
            if self._numbers is not None:
                if not self._take_numbers(self._numbers):
                    return None
            else:
                end = self._buffer.find(b"\n", 0, LINE_LIMIT)
                if end < 0:
                    self._need_end()
                    return None
                self._take_line(bytes(self._take(end + 1)))
            if len(self._pieces) % 2 and not self._missing:
                return self._response()
        return None

    def _take(self, size: int) -> bytearray:
        data = self._buffer[:size]
        del self._buffer[:size]
        self._size += size
        if self._size > REPLY_LIMIT:
            raise Violation(f"a reply longer than {REPLY_LIMIT} bytes", self.last)
        return data

    def _need_end(self) -> None:
        if len(self._buffer) >= LINE_LIMIT:
            start = b"".join(self._pieces) or bytes(self._buffer[:SAID_LIMIT])
            raise Violation(f"a line longer than {LINE_LIMIT} bytes", start[:SAID_LIMIT])

    def _take_literal(self) -> None:
        data = self._take(min(self._missing, len(self._buffer)))
        self._missing -= len(data)
        self._literal += data[: LITERAL_LIMIT - len(self._literal)]
        if not self._missing:
            self._pieces.append(bytes(self._literal))
            self._literal.clear()

    def _take_line(self, line: bytes) -> None:
        """Take a line, up to a literal where it ends in one (section 4.3)."""
        line = line[:-2] if line.endswith(b"\r\n") else line[:-1]
        if not self._pieces:
            self.last = line[:SAID_LIMIT]
        literal = _LITERAL.search(line)
        words = (self._pieces[0] if self._pieces else line).split(b" ", 2)
        if literal is None or (len(words) > 1 and words[1].upper() in STATUS):
            self._pieces.append(line)
            return
        # Converting a number of many digits would take long.
        if len(literal[1]) > DIGITS or int(literal[1]) > REPLY_LIMIT:
            raise Violation("a literal that is too long", line[:SAID_LIMIT])
        self._pieces.append(line[: literal.start()])
        self._missing = int(literal[1])
        if not self._missing:
            self._pieces.append(b"")
        if len(self._pieces) > 2 * LITERALS_LIMIT:
            raise Violation(f"a response with more than {LITERALS_LIMIT} literals", self.last)

    def _take_numbers(self, numbers: Numbers) -> bool:
        """Take as many numbers as have come whole; return whether the line is complete."""
        end = self._buffer.find(b"\n")
        whole = end if end >= 0 else max(self._buffer.rfind(b" "), self._buffer.rfind(b","))
        if whole < 0:
            self._need_end()
            return False
        data = bytes(self._take(whole + 1))
        words = data.replace(b",", b" ").split()
        if not self._pieces:
            self._pieces.append(b" ".join(words[:2]))
            self.last = self._pieces[0]
            del words[:2]
        for match in map(_RANGE.fullmatch, words) if b":" in data else ():
            if match:
                low, high = sorted((_number(match[1]), _number(match[2])))
                numbers.add(range(low, high + 1) if low and high else ())
                self._items += min(high - low, NEWEST)
        numbers.add([number for number in map(_number, words) if number])
        self._items += len(words)
        if self._items > ITEMS_LIMIT:
            raise Violation(f"a reply of more than {ITEMS_LIMIT} numbers", self.last)
        if _LITERAL.search(data.rstrip(b"\r\n")) and end >= 0:
            raise Violation("not IMAP", self.last)
        return end >= 0

    def _response(self) -> Response:
        first, *others = self._pieces
        numbers = self._numbers
        line = self.last
        self._pieces, self._numbers = [], None
        self._responses += 1
        if self._responses > RESPONSES_LIMIT:
            raise Violation(f"a reply of more than {RESPONSES_LIMIT} responses", line)
        tag, _, rest = first.partition(b" ")
        if tag == b"+":  # a continuation request (section 7.5)
            return Response(tag, b"", 0, (rest, *others), line)
        number = 0
        name, _, text = rest.partition(b" ")
        if tag == b"*" and _COUNT.fullmatch(name):
            number = int(name)
            name, _, text = text.partition(b" ")
        name = name.upper()
        response = Response(tag, name, number, (text, *others), line, numbers)
        is_known = _NAME.fullmatch(name) if tag == b"*" else name in STATUS[:3]
        if not (tag and is_known):
            raise response.nonsense()
        return response


def _number(word: bytes) -> int:
    """Return a message's number (section 9, nz-number), 0 if the word is not one."""
    number = int(word) if word.isdigit() and len(word) <= DIGITS else 0
    return number if number <= _LARGEST else 0


def quoted(text: str) -> bytes:
    """Return a string as it goes over the wire (section 4.3).

    Raises:
        ValueError: it holds what no quoted string can.
    """
    if not (text.isascii() and text.isprintable()):
        raise ValueError("not a quoted string")
    return b'"' + re.sub(r'(["\\])', r"\\\1", text).encode("ascii") + b'"'


def words(values: Iterable[Value]) -> tuple[str, ...]:
    """Return atoms, such as capabilities or flags, as text in upper case."""
    return tuple(
        value.decode("ascii", "replace").upper() for value in values if isinstance(value, bytes)
    )
