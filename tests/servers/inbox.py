"""A mailbox that behaves as it is told: IMAP and POP3 for one message, of which a server was sent.

Unlike a script it answers what it is asked, in whatever order, and counts across connections.
"""

from __future__ import annotations

import contextlib
import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.servers.scripted import ScriptedServer

Refusals = dict[str, list[str]]


@dataclass
class Inbox:
    """What a mailbox is to do. The message in it is the one that ``smtp`` has taken.

    ``refusals`` has, for a command, the replies to it that come before it is granted; a reply
    that is empty ends the connection instead, and the last one lasts where ``lasts`` is so.
    ``search`` replaces the reply to a search by header; the message ``comes_after`` some seconds.
    ``delay`` is the least number of seconds between two logins, counted from the last one
    (``late`` is what is said to those who come too early). What lies in it is the message as it
    was ``changed`` on its way; ``withheld`` are replies, as in ``refusals``, to whoever wants it
    whole.
    """

    smtp: ScriptedServer
    protocol: str = "imap"
    capabilities: str = "IMAP4rev1 AUTH=PLAIN UIDPLUS"
    folder: str = "INBOX"
    refusals: Refusals = field(default_factory=dict)
    lasts: bool = False
    search: tuple[str, ...] | None = None
    comes_after: float = 0.0
    delay: float = 0.0
    late: str = ""
    needs_id: bool = False
    drops_fields: bool = False
    foreign: bytes = b""
    changed: Callable[[bytes], bytes] = bytes
    withheld: list[str] = field(default_factory=list)
    address: str = "127.0.0.1"
    port: int = 0
    commands: list[str] = field(default_factory=list)
    logins: list[float] = field(default_factory=list)
    is_deleted: bool = False
    is_flagged: bool = False
    came: float = 0.0
    seen: dict[bytes, bytes] = field(default_factory=dict)

    @contextlib.contextmanager
    def running(self) -> Iterator[Inbox]:
        """Serve until the block ends."""
        inbox = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True  # or the kernel has the second of two lines wait

            def handle(self) -> None:
                session = _Imap(inbox, self) if inbox.protocol == "imap" else _Pop3(inbox, self)
                with contextlib.suppress(OSError):
                    session.serve()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        with Server((self.address, 0), Handler) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()

    def header(self) -> bytes | None:
        """Return the message's header, None while it is not there."""
        message = self.message()
        return None if message is None else message.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def message(self) -> bytes | None:
        """Return the message, None while it is not there."""
        sent = [one for one in self.smtp.received if b"Message-ID" in one]
        if not sent or self.is_deleted:
            return None
        self.came = self.came or time.monotonic() + self.comes_after
        if time.monotonic() < self.came:
            return None
        message = sent[-1].removesuffix(b".\r\n")
        if self.drops_fields:
            message = re.sub(rb"X-Check[^\r]*\r\n(?: [^\r]*\r\n)*", b"", message)
        if message not in self.seen:  # to sign one takes a while
            self.seen[message] = self.changed(message)
        return self.seen[message]

    def refusal(self, command: str) -> str | None:
        """Return what comes instead of what was asked for, None where it is granted."""
        said = self.withheld if command == "whole" else self.refusals.get(command, [])
        if not said:
            return None
        return said[0] if self.lasts else said.pop(0)


class _Session:
    def __init__(self, inbox: Inbox, handler: socketserver.StreamRequestHandler) -> None:
        self.inbox = inbox
        self._in, self._out = handler.rfile, handler.wfile

    def line(self) -> str:
        line = self._in.readline()
        if not line:
            raise ConnectionResetError
        return line.decode().rstrip("\r\n")

    def say(self, *lines: str | bytes) -> None:
        data = [one.encode() if isinstance(one, str) else one for one in lines]
        self._out.write(b"\r\n".join(data) + b"\r\n")

    def is_early(self) -> bool:
        now, before = time.monotonic(), self.inbox.logins[-1:] or [0.0]
        self.inbox.logins.append(now)
        return now - before[0] < self.inbox.delay


class _Imap(_Session):
    def serve(self) -> None:
        self.say("* OK hi")
        folder = ""
        is_known = not self.inbox.needs_id
        while True:
            tag, _, command = self.line().partition(" ")
            words = command.split()
            verb = words[1] if words[0] == "UID" else words[0]
            self.inbox.commands.append(command)
            if verb == "AUTHENTICATE":
                self.say("+ ")
                self.line()
            said = self.inbox.refusal("whole" if "BODY.PEEK[]" in command else verb)
            if said == "":
                return
            if said is not None:
                self.say(f"{tag} {said}")
                continue
            if verb == "SELECT" and not is_known:
                self.say(f"{tag} NO SELECT Unsafe Login. Please contact the postmaster")
                continue
            is_known = is_known or verb == "ID"
            header = self.inbox.header()
            is_here = header is not None and folder == self.inbox.folder
            if verb == "CAPABILITY":
                self.say(f"* CAPABILITY {self.inbox.capabilities}")
            elif verb == "SELECT":
                folder = words[1].strip('"')
                is_here = header is not None and folder == self.inbox.folder
                self.say(f"* {int(is_here)} EXISTS", f"* OK [UIDNEXT {4 + is_here}] x")
                self.say("* OK [UIDVALIDITY 1] x")
            elif verb == "LIST":
                self.say('* LIST (\\HasNoChildren \\Junk) "/" "[X]/Spam"')
                self.say('* LIST (\\Sent) "/" Sent')
            elif verb == "NOOP" and is_here:
                self.say("* 1 EXISTS")
            elif verb == "SEARCH":
                if self._searched(tag, command, is_here=is_here):
                    continue
            elif verb == "FETCH" and "BODY.PEEK[]" in command:
                first, size = map(int, re.findall(r"\d+", command.partition("[]")[2]))
                piece = (self.inbox.message() or b"")[first : first + size]
                self.say(b"* 1 FETCH (UID 4 BODY[]<%d> {%d}" % (first, len(piece)), piece + b")")
            elif verb == "FETCH" and is_here and header is not None:
                self.say(b"* 1 FETCH (UID 4 BODY[HEADER]<0> {%d}" % len(header), header + b")")
            elif verb == "STORE":
                self.inbox.is_flagged = "4" in words[2]
            elif verb == "EXPUNGE":
                self.inbox.is_deleted = self.inbox.is_flagged
            self.say(f"{tag} OK done")
            if verb == "LOGOUT":
                return

    def _searched(self, tag: str, command: str, *, is_here: bool) -> bool:
        """Answer a search; return whether that was all."""
        if "HEADER X-" in command and self.inbox.search is not None:
            self.say(*(one.replace("TAG", tag) for one in self.inbox.search))
            return True
        is_meant = is_here and "UNDELETED" not in command
        self.say("* SEARCH 4" if is_meant else "* SEARCH")
        return False


class _Pop3(_Session):
    def serve(self) -> None:
        self.say("+OK hi")
        header = self.inbox.header()
        doomed = False
        while True:
            command = self.line()
            self.inbox.commands.append(command)
            verb = command.split()[0]
            said = self.inbox.refusal("whole" if verb == "RETR" else verb)
            if said == "":
                return
            if said is not None:
                self.say(said)
                continue
            if verb == "PASS" and self.is_early():
                self.say(self.inbox.late)
                continue
            if verb == "CAPA":
                self.say("+OK", *self.inbox.capabilities.split(","), ".")
            elif verb == "LIST":
                self.say("+OK", *("2 900",) * bool(self.inbox.foreign))
                self.say(*("1 900",) * (header is not None), ".")
            elif verb == "UIDL":
                self.say("+OK", "1 one", "2 two", ".")
            elif verb == "TOP" and command.split()[1] == "2":
                self.say("+OK", self.inbox.foreign, ".")
            elif verb == "TOP":
                self.say("+OK", (header or b"") + b".")
            elif verb == "RETR":
                self.say("+OK", re.sub(rb"(?m)^\.", b"..", self.inbox.message() or b"") + b".")
            else:
                doomed = doomed or verb == "DELE"
                self.inbox.is_deleted |= doomed and verb == "QUIT"
                self.say("+OK")
            if verb == "QUIT":
                return
