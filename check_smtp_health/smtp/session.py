"""One SMTP session's memory: what may be sent, what the server offers, what came too early."""

from __future__ import annotations

from check_smtp_health.errors import Disconnected, Rejected, Violation
from check_smtp_health.smtp.reply import Reply, ReplyParser

COMMAND_LIMIT = 512
"""Octets of a command line, its CRLF included (RFC 5321 section 4.5.3.1.4)."""

Keywords = dict[str, tuple[str, ...]]
"""EHLO keywords in upper case, each with its parameters as the server wrote them."""


class Session:
    """From connection to QUIT. Commands go out as bytes, one at a time; replies come back.

    ``further`` is the number of replies that are due behind the next one.
    """

    __slots__ = ("_farewell", "_parser", "further", "keywords")

    def __init__(self) -> None:
        self._parser = ReplyParser()
        self._farewell: Reply | None = None
        self.further = 0
        self.keywords: Keywords = {}

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
        reply = self._parser.next_reply()
        if reply is not None and self.further:
            self.further -= 1
        elif reply is not None and self._parser.unread:
            self._judge_further(reply, self._parser.unread)
        return reply

    def _judge_further(self, reply: Reply, data: bytes) -> None:
        # We never pipeline, so nothing may follow. Taken for the reply to the next command, it
        # would shift every later pair of command and reply by one.
        if reply.code == 421:
            # The server has taken its leave; that Postfix sends its banner behind it means nothing.
            self._parser = ReplyParser()
            return
        if not b"421".startswith(data[:3]):
            raise Violation("more than the one reply that was due", data)
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
        """Take the EHLO keywords from the reply; its first line is the server's name."""
        self.keywords = parse_keywords(reply)


def command(verb: str, argument: str = "") -> bytes:
    """Return a command line as bytes.

    Raises:
        ValueError: a control character, which could smuggle in a second command, or a line over
            the limit. ``settings`` has refused both before; this is the last fence.
    """
    line = f"{verb} {argument}" if argument else verb
    data = line.encode("utf-8") + b"\r\n"
    if not line.isprintable() or len(data) > COMMAND_LIMIT:
        raise ValueError(f"not a command line: {line!r}")
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
            name, equals, attached = words[0].upper().partition("=")
            parameters = (attached, *words[1:]) if equals else tuple(words[1:])
            keywords[name] = keywords.get(name, ()) + parameters
    return keywords
