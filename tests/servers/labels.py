"""A mailbox whose folders are labels, as those of Gmail and Proton: IMAP over messages in memory.

A message that is deleted from a folder stays in that of all mail; from there, too, it goes only by
way of the trash. Without ``archives`` it is a mailbox like others.
"""

from __future__ import annotations

import contextlib
import re
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

ALL, TRASH, JUNK = "[G]/All Mail", "[G]/Trash", "[G]/Spam"

CAPABILITIES = "IMAP4rev1 AUTH=PLAIN UIDPLUS MOVE SPECIAL-USE"


@dataclass
class Labels:
    """Folders of messages by UID. ``uses`` are the special ones that LIST names.

    ``refused`` has what is said to a command, or to one with that first word, instead of doing it;
    an empty text is never said, so that the client waits.
    """

    capabilities: str = CAPABILITIES
    uses: dict[str, str] = field(
        default_factory=lambda: {ALL: "\\All", TRASH: "\\Trash", JUNK: "\\Junk"}
    )
    archives: bool = True
    refused: dict[str, str] = field(default_factory=dict)
    folders: dict[str, dict[int, bytes]] = field(
        default_factory=lambda: {name: {} for name in ("INBOX", ALL, TRASH, JUNK, "Sent")}
    )
    flagged: dict[str, set[int]] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    _uid: int = 0

    def put(self, message: bytes, *names: str) -> None:
        """Put a message into folders; where they are labels, into that of all mail as well."""
        for name in names or ("INBOX", *[ALL] * self.archives):
            self._uid += 7
            self.folders[name][self._uid] = message

    def take(self, name: str, uid: int, target: str = "") -> None:
        """Move a message out of a folder, or delete it."""
        message = self.folders[name][uid]
        if target:
            self.put(message, target)
        if name != TRASH and self.archives and not target:
            if name == ALL:
                return
        elif self.archives and target == TRASH:
            for others in self.folders.values():
                for other in [one for one, text in others.items() if text == message]:
                    if others is not self.folders[TRASH]:
                        del others[other]
            return
        del self.folders[name][uid]

    @contextlib.contextmanager
    def running(self) -> Iterator[Labels]:
        """Serve until the block ends."""
        labels = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True  # or the kernel has the second of two lines wait

            def handle(self) -> None:
                labels.connections += 1
                with contextlib.suppress(OSError):
                    _Session(labels, self).serve()

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        with Server(("127.0.0.1", 0), Handler) as server:
            self.port = server.server_address[1]
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


class _Session:
    def __init__(self, labels: Labels, handler: socketserver.StreamRequestHandler) -> None:
        self._labels = labels
        self._in, self._out = handler.rfile, handler.wfile
        self._folder = ""

    def _say(self, *lines: bytes | str) -> None:
        data = [one.encode() if isinstance(one, str) else one for one in lines]
        self._out.write(b"".join(one + b"\r\n" for one in data))

    def serve(self) -> None:
        self._say("* OK hi")
        while line := self._in.readline().decode().rstrip("\r\n"):
            tag, _, command = line.partition(" ")
            self._labels.commands.append(command)
            if not self._answers(tag, command):
                return

    def _answers(self, tag: str, command: str) -> bool:
        """Answer a command; return whether the session goes on."""
        verb, _, rest = command.removeprefix("UID ").partition(" ")
        if verb == "AUTHENTICATE":
            self._say("+ ")
            self._in.readline()
        name = rest.strip('"')
        refused = self._labels.refused
        said = refused.get(verb, refused.get(f"{verb} {name.partition(' ')[0]}"))
        if said is not None:
            if said:
                self._say(f"{tag} {said}")
            else:
                time.sleep(30)
            return bool(said)
        if verb == "SELECT" and name not in self._labels.folders:
            self._say(f"{tag} NO [NONEXISTENT] Unknown Mailbox: {name}")
            return True
        getattr(self, f"_{verb.lower()}", lambda rest: None)(rest)
        self._say(f"{tag} OK done")
        return verb != "LOGOUT"

    @property
    def _messages(self) -> dict[int, bytes]:
        return self._labels.folders[self._folder]

    def _capability(self, rest: str) -> None:
        self._say(f"* CAPABILITY {self._labels.capabilities}")

    def _list(self, rest: str) -> None:
        for name in self._labels.folders:
            use = self._labels.uses.get(name, "")
            self._say(f'* LIST (\\HasNoChildren {use}) "/" "{name}"')

    def _select(self, rest: str) -> None:
        self._folder = rest.strip('"')
        uids = list(self._messages)
        self._say(f"* {len(uids)} EXISTS", f"* OK [UIDNEXT {max(uids, default=0) + 1}] x")
        self._say("* OK [UIDVALIDITY 1] x")

    def _noop(self, rest: str) -> None:
        self._say(f"* {len(self._messages)} EXISTS")

    def _search(self, rest: str) -> None:
        flagged = self._labels.flagged.get(self._folder, set())
        found = []
        words = re.findall(r"HEADER \S+ (\S+)", rest)
        wanted = re.search(r"UID ([\d,]+)(?!\S)", rest)
        for uid, message in self._messages.items():
            is_meant = not words or any(word.strip('"').encode() in message for word in words)
            if wanted and str(uid) not in wanted[1].split(","):
                is_meant = False
            if "UNDELETED" in rest and uid in flagged:
                is_meant = False
            found += [uid] * is_meant
        self._say("* SEARCH" + "".join(f" {uid}" for uid in found))

    def _fetch(self, rest: str) -> None:
        which, _, items = rest.partition(" ")
        low, _, high = which.partition(":")
        for number, (uid, message) in enumerate(self._messages.items(), 1):
            header, _, text = message.partition(b"\r\n\r\n")
            is_by_number = bool(high)
            if int(low) <= number <= int(high or 0) if is_by_number else uid == int(low):
                part = ("TEXT", text) if "TEXT" in items else ("HEADER", header + b"\r\n\r\n")
                self._say(
                    f"* {number} FETCH (UID {uid} BODY[{part[0]}]<0> {{{len(part[1])}}}",
                    part[1] + b")",
                )

    def _store(self, rest: str) -> None:
        self._labels.flagged.setdefault(self._folder, set()).update(_uids(rest))

    def _expunge(self, rest: str) -> None:
        for uid in _uids(rest) if rest else list(self._messages):
            if uid in self._labels.flagged.get(self._folder, ()) and uid in self._messages:
                self._labels.take(self._folder, uid)

    def _move(self, rest: str) -> None:
        for uid in _uids(rest):
            if uid in self._messages:
                self._labels.take(self._folder, uid, rest.partition(" ")[2].strip('"'))


def _uids(rest: str) -> list[int]:
    return list(map(int, rest.split(maxsplit=1)[0].split(",")))
