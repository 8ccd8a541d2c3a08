"""A mail server at every address of the loopback interface that says as much as it may.

Only at ``HEALTHY`` it is well. In a process of its own, as ``crowd``. What a client costs here is
taken from the processor that the plugin is to serve thousands with, so there is one loop, and no
more than that; nor is its process covered.
"""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

BACKLOG = 4096

PIECE = 128
"""Octets of what is sent at once where it drips."""

PAUSE = 0.1
"""Seconds between two of them."""

HEALTHY = "127.0.0.1"


def _reply(code: bytes, size: int, line: bytes) -> bytes:
    """Return a reply of about that size, of lines such as that one."""
    whole = code + b"-" + line[: size - 100] + b"\r\n"
    return whole * min((size - 50) // len(whole), size // 64 - 2, 250) + code + b" mx.example\r\n"


LONG = b"x" * 2030
SHORT = b"x" * 250
WORDS = b"X" + b" y" * 990
HARD = "\u202e|<[OK]".encode() * 200

MOODS: dict[str, dict[bytes, bytes]] = {
    "well": {},
    "long replies": {b"": LONG, b"HELO": LONG, b"EHLO": LONG, b"NOOP": LONG, b"QUIT": LONG},
    "many lines": {b"": SHORT, b"HELO": SHORT, b"EHLO": SHORT, b"NOOP": SHORT, b"QUIT": SHORT},
    "keywords": {b"EHLO": WORDS},
    "words to escape": {b"": HARD, b"EHLO": HARD, b"NOOP": HARD, b"QUIT": HARD},
}
"""What the lines of the reply to each command are, that to connecting first; others are short."""

ENDS: dict[str, Callable[[int], bytes]] = {
    "refusals": lambda size: _reply(b"554", size, LONG),
    "refusals to escape": lambda size: _reply(b"554", size, HARD),
    "replies without a last line": lambda size: _reply(b"220", size, SHORT).rpartition(b"220 ")[0],
    "replies without end": lambda size: _reply(b"220", size, LONG).rpartition(b"220 ")[0] * 100,
    "lines without end": lambda size: b"220 " + b"x" * 2040,
    "no replies": lambda size: b"x\r\n" * 5000,
}
"""What comes in place of a banner, and nothing after it."""

DRIPS = "drips"
"""What comes in small pieces, wherever they cut a line, so that each is read on its own."""

NAMES = (*MOODS, *ENDS, DRIPS)


@contextlib.contextmanager
def running(mood: str, size: int) -> Iterator[int]:
    """Have it run until the block ends; yield its port. A reply has ``size`` bytes at most."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mood, str(size)],
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


class _Client:
    """A connection, what it is to be sent next, and what has come of its command."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.is_hostile = connection.getsockname()[0] != HEALTHY
        self.left = b""
        self.line = b""
        self.is_ended = False


class _Server:
    def __init__(self, mood: str, size: int) -> None:
        self._mood = mood
        said = MOODS.get(mood, {})
        codes = {b"": b"220", b"QUIT": b"221"}
        self._replies = {verb: _reply(codes.get(verb, b"250"), size, said[verb]) for verb in said}
        self._usual = {
            verb: codes.get(verb, b"250") + b" mx.example\r\n"
            for verb in (b"", b"HELO", b"EHLO", b"NOOP", b"QUIT")
        }
        self._end = ENDS[mood](size) if mood in ENDS else b""
        if mood == DRIPS:
            self._end = _reply(b"220", size, b"x" * 50)
        self._selector = selectors.DefaultSelector()
        self._dripping: set[_Client] = set()
        self._drips = 0.0

    def serve(self, listener: socket.socket) -> None:
        """Serve clients until the process is ended."""
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, events in self._selector.select(PAUSE / 2 if self._dripping else None):
                if key.data is None:
                    self._accept(listener)
                    continue
                try:
                    self._go_on(key.data, events)
                except ConnectionError:
                    self._leave(key.data)
            if time.monotonic() > self._drips:
                self._drip()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client = _Client(connection)
                self._selector.register(connection, selectors.EVENT_READ, client)
                try:
                    self._begin(client)
                except ConnectionError:
                    self._leave(client)

    def _begin(self, client: _Client) -> None:
        if not (client.is_hostile and self._end):
            self._send(client, self._reply_to(client, b""))
        elif self._mood == DRIPS:
            client.left, client.is_ended = self._end, True
            self._dripping.add(client)
        else:
            client.is_ended = True
            self._send(client, self._end)

    def _go_on(self, client: _Client, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send(client, client.left)
        if not events & selectors.EVENT_READ:
            return
        data = client.connection.recv(4096)
        if not data:
            self._leave(client)
            return
        client.line += data
        if client.is_ended or not client.line.endswith(b"\n"):
            return
        verb, client.line = client.line[:4].upper(), b""
        self._send(client, self._reply_to(client, verb))
        if verb == b"QUIT" and not client.left:
            self._leave(client)

    def _reply_to(self, client: _Client, verb: bytes) -> bytes:
        replies = self._replies if client.is_hostile else {}
        return replies.get(verb, self._usual.get(verb, b"250 mx.example\r\n"))

    def _send(self, client: _Client, data: bytes) -> None:
        """Send what can be sent at once, and the rest later."""
        is_waiting = bool(client.left)
        try:
            client.left = data[client.connection.send(data) :]
        except BlockingIOError:
            client.left = data
        if bool(client.left) != is_waiting:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.left else 0)
            self._selector.modify(client.connection, events, client)

    def _drip(self) -> None:
        self._drips = time.monotonic() + PAUSE
        for client in tuple(self._dripping):
            piece, client.left = client.left[:PIECE], client.left[PIECE:]
            if not client.left:
                self._dripping.discard(client)
            with contextlib.suppress(ConnectionError):
                client.connection.send(piece)

    def _leave(self, client: _Client) -> None:
        self._dripping.discard(client)
        self._selector.unregister(client.connection)
        client.connection.close()


def _main(mood: str, size: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("", 0))
    listener.listen(BACKLOG)
    print(listener.getsockname()[1], flush=True)
    _Server(mood, size).serve(listener)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
