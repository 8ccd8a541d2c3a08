"""SMTP (RFC 5321): replies from bytes, commands to bytes, and what one session has to remember.

Bytes in, replies out, or a ``Violation``: nothing is repaired.
"""

from __future__ import annotations

from check_smtp_health.errors import Disconnected, Rejected, Unasked, Violation
from check_smtp_health.namedtuple import NamedTuple

COMMAND_LIMIT = 512
"""Octets of a command line, its CRLF included (RFC 5321 section 4.5.3.1.4)."""

LINE_LIMIT = 2048
"""Octets of one line. RFC 5321 section 4.5.3.1.5 says 512; Postfix reads 2,048 before it cuts."""

CHALLENGE_LIMIT = 12294
"""Octets of a line that has a challenge, its code and CRLF included: the challenge has as many as
RFC 4954 section 4 lets a client send."""

LINES_LIMIT = 256
"""Lines of one reply: no server offers that many extensions; an endless reply must end here."""

REPLY_LIMIT = 64 * 1024
"""Octets of one reply, for the same reason."""

_TLS_CONTENT_TYPES = range(20, 24)
"""First octet of a TLS record; the second is 3, the version (RFC 8446 section 5.1)."""

_SEPARATORS = (b" ", b"-", b"")
"""What stands between the code and the text of a line."""

LINE_COST = 64
"""Octets of a reply that each of its lines counts for, beside its own, where room is short."""

Keywords = dict[str, tuple[str, ...]]
"""EHLO keywords in upper case, each with its parameters as the server wrote them."""


def is_transient(code: int) -> bool:
    """Whether a reply code is 4yz (RFC 5321 section 4.2.1)."""
    return 400 <= code < 500


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

    def has(self, text: bytes) -> bool:
        """Whether the reply contains a text, as it came or as one reads it."""
        return text in self.raw or text in b"\n".join(self.lines)

    @property
    def is_positive(self) -> bool:
        """Whether the code is 2yz or 3yz."""
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        """Whether the code is 4yz: "not now", rather than "no"."""
        return is_transient(self.code)


class ReplyParser:
    """Takes bytes in any pieces and gives the replies they make.

    The result never depends on where the pieces were cut, and memory stays bounded: once a limit
    is passed, ``next_reply`` raises and must not be called again.

    ``limit`` is that of a reply, in octets, which leaves room for fewer lines where it is low.
    """

    __slots__ = ("_buffer", "_limit", "_lines", "_size")

    def __init__(self, limit: int = REPLY_LIMIT) -> None:
        self._buffer = b""
        self._lines: list[bytes] = []
        self._size = 0
        self._limit = limit

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
            Violation: what came is not a reply, has different codes, or exceeds a limit.
        """
        while self._buffer:
            data = self._buffer
            # A TLS record need not end in a newline: do not wait for one.
            if data[1:2] == b"\x03" and data[0] in _TLS_CONTENT_TYPES:
                raise Violation("TLS instead of SMTP", data[:2], reason="tls spoken")
            limit = CHALLENGE_LIMIT if data.startswith(b"334 ") else LINE_LIMIT
            end = data.find(b"\n", 0, limit)
            if end < 0:
                if len(data) >= limit:
                    raise Violation(f"a line longer than {limit} bytes", data[:LINE_LIMIT])
                return None
            self._buffer = data[end + 1 :]
            reply = self._take(data[:end].removesuffix(b"\r"))
            if reply is not None:
                return reply
        return None

    def _take(self, line: bytes) -> Reply | None:
        code, separator, lines = line[:3], line[3:4], self._lines
        # RFC 5321 section 4.2: the first digit is 2 to 5, "-" says that more lines follow, and
        # the space may be missing where there is no text. Second digits above 5 are in use (571).
        if not (len(code) == 3 and code.isdigit() and separator in _SEPARATORS):
            raise Violation("not an SMTP reply" if line else "an empty line, not a reply", line)
        if not b"200" <= code < b"600":
            raise Violation("not an SMTP reply code", line)
        if not lines and separator != b"-":  # as most replies are
            return Reply._make((int(code), (line,)))
        first = lines[0] if lines else line
        if code != first[:3]:
            said = b"\n".join((*lines, line))
            raise Violation("different codes in one reply", said, reason="codes differ")
        lines.append(line)
        self._size += len(line)
        if separator != b"-":
            self._lines = []
            self._size = 0
            return Reply._make((int(code), tuple(lines)))
        most = min(LINES_LIMIT, self._limit // LINE_COST)
        if len(lines) >= most:
            raise Violation(f"a reply of more than {most} lines", first)
        if self._size > self._limit:
            raise Violation(f"a reply longer than {self._limit} bytes", first)
        return None


class Session:
    """From connection to QUIT. Commands go out as bytes, one at a time; replies come back.

    ``extra_replies_expected`` counts the replies that must follow the next one (LMTP); ``limit``
    is that of each, in octets.
    """

    __slots__ = ("_farewell", "_greeting", "_parser", "extra_replies_expected")

    def __init__(self, limit: int = REPLY_LIMIT) -> None:
        self._parser = ReplyParser(limit)
        self._farewell: Reply | None = None
        self._greeting: Reply | None = None
        self.extra_replies_expected = 0

    @property
    def keywords(self) -> Keywords:
        """The keywords of the last EHLO reply, read anew: as values they take far more room."""
        return {} if self._greeting is None else parse_keywords(self._greeting)

    def receive(self, data: bytes) -> None:
        """Take what the server sent."""
        self._parser.feed(data)

    @property
    def unread(self) -> bytes:
        """What has come of the reply that is still incomplete."""
        return self._parser.unread

    def next_reply(self) -> Reply | None:
        """Return the reply to the last command, or None while it is incomplete.

        Once it is complete, ``unread`` is what a server sent behind it although nobody asked:
        nothing, or part of a 421.

        Raises:
            Violation: not a reply, or more than one although only one command was sent.
            Rejected: more than one, and the further one is 421, which a server may send at any
                time before it closes (RFC 5321 section 3.8).
        """
        if self._farewell is not None:
            farewell, self._farewell = self._farewell, None
            return farewell
        parser = self._parser
        reply = parser.next_reply()
        if reply is None:
            return None
        if self.extra_replies_expected:
            self.extra_replies_expected -= 1
        elif parser.unread:
            self._judge_extra(reply, parser.unread)
        return reply

    def _judge_extra(self, reply: Reply, data: bytes) -> None:
        # We never pipeline, so nothing may follow. Taken for the reply to the next command, it
        # would shift every later pair of command and reply by one.
        if reply.code == 421:
            # The server has taken its leave; that Postfix sends its banner behind it means nothing.
            self._parser = ReplyParser()
            return
        if not b"421".startswith(data[:3]):
            raise Unasked(reply.raw, data)
        farewell = self._parser.next_reply()
        if farewell is not None and reply.is_positive:
            raise Rejected("", farewell.raw, farewell.code)
        # Behind a refusal, which tells more, it is what the server answers to whatever comes next.
        self._farewell = farewell

    def closed(self) -> Disconnected:
        """Return the fault for a connection that ended while a reply was due."""
        if self.unread:
            return Disconnected("connection closed in the middle of a reply", self.unread)
        return Disconnected("connection closed by the server")

    def offers(self, keyword: str, parameter: str | None = None) -> bool:
        """Whether the last EHLO reply has ``keyword``, with ``parameter`` if one is given.

        Neither is case-sensitive (RFC 5321 section 4.1.1.1).
        """
        parameters = self.keywords.get(keyword.upper())
        if parameters is None or parameter is None:
            return parameters is not None
        return parameter.upper() in (known.upper() for known in parameters)

    def learn(self, reply: Reply) -> None:
        """Take the reply to EHLO; its first line is the server's name, keywords follow."""
        self._greeting = reply


def command(verb: str, argument: str = "") -> bytes:
    """Return a command line as bytes.

    Raises:
        ValueError: a control character, which could smuggle in a second command, or a line over
            the limit. ``config`` has refused both before; this is the last fence.
    """
    line = f"{verb} {argument}" if argument else verb
    data = line.encode("utf-8") + b"\r\n"
    if not line.isprintable() or len(data) > COMMAND_LIMIT:
        raise ValueError("not a command line")  # without its words: it may hold a secret
    return data


def dotted(message: bytes) -> bytes:
    """Return a message of whole lines as it is sent, with its end (RFC 5321 section 4.5.2)."""
    return (
        b"".join(
            b"." + line if line.startswith(b".") else line
            for line in message.splitlines(keepends=True)
        )
        + b".\r\n"
    )


def parse_keywords(reply: Reply) -> Keywords:
    """Return the keywords of an EHLO reply; those that come twice are united.

    The form ``AUTH=LOGIN PLAIN``, from before RFC 2554, counts as ``AUTH LOGIN PLAIN``.
    """
    keywords: Keywords = {}
    for text in reply.texts[1:]:
        words = text.decode("ascii", "replace").split()
        if words:
            name, _, attached = words[0].upper().partition("=")
            parameters = (attached, *words[1:]) if attached else tuple(words[1:])
            keywords[name] = keywords.get(name, ()) + parameters
    return keywords
