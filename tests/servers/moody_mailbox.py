"""A mailbox that answers as IMAP or POP3 has it, but for the commands at which it has a mood.

In it are somebody's letter and the message, which has a copy in another folder.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.servers.moody import Leave, Mood, Proper
from tests.servers.scripted import Expect, ScriptedServer, Step

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable, Iterator

THEIRS, OURS = 3, 7
"""The numbers of the two messages, in IMAP their UIDs."""

LETTER = b"From: <a@x>\r\nSubject: s3cret letter\r\n\r\n"

CAPABILITIES = b"IMAP4rev1 AUTH=PLAIN ID UIDPLUS MOVE SPECIAL-USE"

FOLDERS = (
    *(b'(\\Junk) "/" Junk', b'(\\Trash) "/" "Trash"', b'(\\HasNoChildren) "/" {4}\r\nSent'),
    b'(\\All) "/" All',
)


@dataclass
class MoodyMailbox(ScriptedServer):
    """A mailbox whose ``moods`` are by verb, ``greeting`` among them; ``header`` is the message's.

    With ``archives`` it names a folder for all mail, so that the client moves messages.
    """

    script: Iterable[Step] = ()
    protocol: str = "imap"
    moods: Mapping[str, Mood] = field(default_factory=dict)
    header: Callable[[], bytes] = bytes
    archives: bool = False
    is_gone: bool = False

    def _serve(
        self, connection: socket.socket, script: Iterable[Step], over: threading.Event
    ) -> None:
        with contextlib.suppress(OSError, ValueError):  # a client may be gone at any moment
            super()._serve(connection, self._steps(), over)

    def _steps(self) -> Iterator[Step]:
        is_imap = self.protocol == "imap"
        moment, reply = "greeting", b"* OK hi\r\n" if is_imap else b"+OK hi\r\n"
        while True:
            for act in self.moods.get(moment, (Proper(),)):
                if isinstance(act, Leave):
                    return
                yield act.of(reply) if isinstance(act, Proper) else act
            if moment in ("LOGOUT", "QUIT"):
                return
            yield Expect(b"")
            moment, reply = (self._imap if is_imap else self._pop3)(self.received[-1])
            if moment == "AUTHENTICATE":
                yield b"+ \r\n"
                yield Expect(b"")

    def _imap(self, line: bytes) -> tuple[str, bytes]:
        tag, _, command = line.rstrip(b"\r\n").partition(b" ")
        verb = command.removeprefix(b"UID ").partition(b" ")[0].decode("latin-1")
        said = {
            "CAPABILITY": b"* CAPABILITY %s\r\n" % CAPABILITIES,
            "SELECT": b"* 2 EXISTS\r\n* OK [UIDNEXT 8] x\r\n* OK [UIDVALIDITY 1] x\r\n",
            "SEARCH": b"* SEARCH%s\r\n" % (b"" if b"UNDELETED" in command else b" %d" % OURS),
            "NOOP": b"* 2 EXISTS\r\n",
            "LIST": b"".join(
                b"* LIST %s\r\n" % one for one in FOLDERS[: None if self.archives else -1]
            ),
            "FETCH": self._fetched(command),
            "LOGOUT": b"* BYE\r\n",
        }.get(verb, b"")
        return verb, said + tag + b" OK done\r\n"

    def _fetched(self, command: bytes) -> bytes:
        words = command.split()
        numbers = words[1] if words[0] == b"FETCH" else words[2] if len(words) > 2 else b""
        texts = {THEIRS: LETTER, OURS: self.header()}
        return b"".join(
            b"* %d FETCH (UID %d BODY[HEADER]<0> {%d}\r\n%s)\r\n" % (at, uid, len(text), text)
            for at, (uid, text) in enumerate(texts.items(), 1)
            if b":" in numbers or numbers == b"%d" % uid
        )

    def _pop3(self, line: bytes) -> tuple[str, bytes]:
        words = line.split()
        verb = words[0].decode("latin-1").upper() if words else ""
        texts = {b"%d" % THEIRS: LETTER, b"%d" % OURS: self.header()}
        if self.is_gone:
            texts.popitem()
        self.is_gone |= verb == "DELE"
        listings = {
            "CAPA": (b"TOP", b"UIDL", b"USER"),
            "LIST": tuple(number + b" 900" for number in texts),
            "UIDL": tuple(number + b" id" + number for number in texts),
            "TOP": (texts.get(words[1] if len(words) > 1 else b"", b"").rstrip(b"\r\n"),),
        }
        if verb not in listings:
            return verb, b"+OK\r\n"
        return verb, b"".join(one + b"\r\n" for one in (b"+OK", *listings[verb], b"."))


_DELETING = (
    re.compile(rb"UID (?:STORE|EXPUNGE|MOVE) (?:\d+,)*%d\b" % THEIRS),
    re.compile(rb"\A\S+ EXPUNGE"),
    re.compile(rb"DELE %d\b" % THEIRS),
)


def deletes_others(line: bytes) -> bool:
    """Whether a command would cost somebody else's letter, or could."""
    return any(pattern.search(line) for pattern in _DELETING)
