"""A server that follows a script: steps are data, so a misbehaviour reads like a transcript.

A script is a sequence of steps. ``bytes`` are sent; ``Expect`` waits for a command; the others do
what their names say. When the script is done the connection is closed.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True)
class Expect:
    """Wait for one line; it must begin with ``verb``."""

    verb: bytes


@dataclass(frozen=True)
class Message:
    """Wait for all lines up to the one that is a dot alone."""


@dataclass(frozen=True)
class Tagged:
    """Wait for an IMAP command that begins with ``verb`` behind its tag, and send ``reply``.

    The tag takes the place of ``TAG`` in it.
    """

    verb: bytes
    reply: bytes


@dataclass(frozen=True)
class Sleep:
    """Do nothing for some seconds."""

    seconds: float


@dataclass(frozen=True)
class Slowly:
    """Send ``data`` byte by byte, ``pause`` seconds apart, in segments of their own."""

    data: bytes
    pause: float


@dataclass(frozen=True)
class Forever:
    """Send ``data`` again and again until the client has gone."""

    data: bytes
    pause: float = 0.0


@dataclass(frozen=True)
class Hang:
    """Say nothing more until the client has gone."""


@dataclass(frozen=True)
class Swallow:
    """Take whatever comes in one piece, be it lines or not."""


@dataclass(frozen=True)
class Handshake:
    """Take the server's side of a TLS handshake."""

    context: ssl.SSLContext


@dataclass(frozen=True)
class Act:
    """Call ``act`` with the connection, and what is set once the test is over."""

    act: Callable[[socket.socket, threading.Event], None]


@dataclass(frozen=True)
class Reset:
    """Reset the connection instead of closing it."""


Step = Union[
    bytes, Expect, Message, Tagged, Sleep, Slowly, Forever, Hang, Swallow, Handshake, Act, Reset
]

OFTEN = 0.05
"""Seconds between looks at whether the test is over."""


@dataclass
class ScriptedServer:
    """A loopback server with one script for every connection, and what it saw.

    ``later`` is the script for all connections but the first, where it is another one.
    ``moments`` has the monotonic time of each step's end, ``received`` every line or piece that
    came, ``peers`` where the connections came from, ``faults`` what the client did that the script
    did not expect. ``edit`` has the last word on what is sent.
    """

    script: Iterable[Step]
    address: str = "127.0.0.1"
    path: str = ""
    later: Iterable[Step] | None = None
    edit: Callable[[bytes], bytes] = bytes
    received: list[bytes] = field(default_factory=list)
    moments: list[tuple[str, float]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[ScriptedServer]:
        """Serve until the block ends."""
        listener = self._listener()
        over = threading.Event()
        accepting = threading.Thread(target=self._accept, args=(listener, over))
        accepting.start()
        try:
            yield self
        finally:
            over.set()
            # Where that does not wake accept(), it will look for itself.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            listener.close()

    def _listener(self) -> socket.socket:
        if self.path:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(self.path)
        else:
            listener = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.address, self.port))
            self.port = listener.getsockname()[1]
        listener.listen(128)
        listener.settimeout(OFTEN)
        return listener

    def _accept(self, listener: socket.socket, over: threading.Event) -> None:
        serving: list[threading.Thread] = []
        while not over.is_set():
            try:
                connection, peer = listener.accept()
            except socket.timeout:
                continue
            except OSError:
                if over.is_set():
                    break
                raise
            self._note("connected")
            self.connections += 1
            self.peers.append(peer[0] if peer else "")
            script = self.script if self.connections == 1 or self.later is None else self.later
            thread = threading.Thread(target=self._serve, args=(connection, script, over))
            thread.start()
            serving.append(thread)
        for thread in serving:
            thread.join()

    def _serve(
        self, connection: socket.socket, script: Iterable[Step], over: threading.Event
    ) -> None:
        connection.settimeout(OFTEN)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.ExitStack() as stack, contextlib.suppress(ConnectionError, ssl.SSLError):
            stack.enter_context(connection)
            reader = _Lines(connection, over)
            for step in script:
                if over.is_set():
                    return
                if isinstance(step, Handshake):
                    _await_bytes(connection, over)
                    self._note("ClientHello")
                    connection = stack.enter_context(
                        step.context.wrap_socket(
                            connection, server_side=True, do_handshake_on_connect=False
                        )
                    )
                    _shake_hands(connection, over)
                    reader = _Lines(connection, over)
                    self._note("shook hands")
                else:
                    self._take(step, connection, reader, over)

    def _take(
        self, step: Step, connection: socket.socket, reader: _Lines, over: threading.Event
    ) -> None:
        if isinstance(step, bytes):
            self._send(step, connection)
        elif isinstance(step, Expect):
            line = reader.line()
            if not over.is_set():
                self._expect(step.verb, line)
        elif isinstance(step, Message):
            lines = [reader.line()]
            while lines[-1] not in (b".\r\n", b"\n"):
                lines.append(reader.line())
            self.received.append(b"".join(lines))
        elif isinstance(step, Tagged):
            tag, _, command = reader.line().partition(b" ")
            if not over.is_set():
                self._expect(step.verb, command)
                self._send(step.reply.replace(b"TAG", tag), connection)
        elif isinstance(step, Sleep):
            over.wait(step.seconds)
        elif isinstance(step, Slowly):
            for byte in step.data:
                connection.sendall(bytes([byte]))
                over.wait(step.pause)
        elif isinstance(step, Forever):
            while not over.is_set():
                with contextlib.suppress(socket.timeout):
                    connection.sendall(step.data)
                over.wait(step.pause)
        elif isinstance(step, Swallow):
            connection.settimeout(10)
            self.received.append(connection.recv(4096))
            connection.settimeout(OFTEN)
        elif isinstance(step, Act):
            step.act(connection, over)
        elif isinstance(step, Hang):
            while not over.is_set():
                with contextlib.suppress(socket.timeout):
                    if not connection.recv(4096):
                        return
        else:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            raise ConnectionResetError

    def _send(self, data: bytes, connection: socket.socket) -> None:
        self._note(f"sends {data[:20]!r}")
        connection.settimeout(10)
        connection.sendall(self.edit(data))
        connection.settimeout(OFTEN)

    def _expect(self, verb: bytes, line: bytes) -> None:
        self.received.append(line)
        self._note(f"got {line[:20]!r}")
        if not line.startswith(verb):
            self.faults.append(f"expected {verb!r}, got {line!r}")

    def _note(self, what: str) -> None:
        self.moments.append((what, time.monotonic()))


def _await_bytes(connection: socket.socket, over: threading.Event) -> None:
    """Wait until something can be read, or the other side has gone."""
    while not over.is_set():
        with contextlib.suppress(socket.timeout):
            connection.recv(1, socket.MSG_PEEK)
            return


def _shake_hands(connection: ssl.SSLSocket, over: threading.Event) -> None:
    """Wait for the handshake, but not longer than the test does."""
    while not over.is_set():
        with contextlib.suppress(socket.timeout):
            connection.do_handshake()
            return


class _Lines:
    """Reads a connection line by line, giving up when the test is over."""

    def __init__(self, connection: socket.socket, over: threading.Event) -> None:
        self._connection = connection
        self._over = over
        self._buffer = b""

    def line(self) -> bytes:
        while b"\n" not in self._buffer and not self._over.is_set():
            try:
                data = self._connection.recv(65536)
            except socket.timeout:
                continue
            if not data:
                raise ConnectionResetError("the client has gone")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"
