"""A mail server that answers at once, in a process of its own, whose time is not counted.

Given a folder, it writes the certificate of its authority there and prints two ports: that of the
server, and that of a server that refuses every session. It ends when its standard input ends.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.authority import Authority

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

ADDRESS = "127.0.0.1"
NAME = "mx.example"
BACKLOG = 1024
OFFER = b"250-mx.example\r\n250-SIZE 10240000\r\n250-AUTH LOGIN\r\n250 STARTTLS\r\n"
REPLIES = {
    b"EHLO": OFFER,
    b"STARTTLS": b"220 2.0.0 Ready\r\n",
    b"AUTH": b"235 2.7.0 Welcome\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
OK = b"250 2.0.0 Ok\r\n"


@dataclass(frozen=True)
class Running:
    """Where the server is to be found."""

    port: int
    refusing_port: int
    authority: str


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Running]:
    """Have the server run until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.server", str(folder)],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        port, refusing_port = map(int, process.stdout.readline().split())
        yield Running(port, refusing_port, str(folder / "authority.pem"))


def main() -> None:
    """Serve until standard input ends."""
    authority = Authority.made(Path(sys.argv[1]), "authority")
    context = authority.serving(ADDRESS, NAME)
    ports = [_serve(lambda connection: _converse(connection, context)), _serve(_refuse)]
    print(*ports, flush=True)
    sys.stdin.read()


def _serve(answer: Callable[[socket.socket], None]) -> int:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("", 0))  # every address of the loopback interface
    listener.listen(BACKLOG)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def _converse(connection: socket.socket, context: ssl.SSLContext) -> None:
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        stack.enter_context(connection)
        connection.sendall(b"220 mx.example ESMTP\r\n")
        lines = connection.makefile("rb")
        while line := lines.readline():
            verb, *words = line.upper().split()
            if verb == b"AUTH":
                for _ in range(3 - len(words)):
                    connection.sendall(b"334 \r\n")
                    lines.readline()
            connection.sendall(REPLIES.get(verb, OK))
            if verb == b"STARTTLS":
                connection = stack.enter_context(context.wrap_socket(connection, server_side=True))
                lines = connection.makefile("rb")
            elif verb == b"QUIT":
                return


def _refuse(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        connection.sendall(b"554 5.7.1 No service for you\r\n")
        connection.recv(1024)


if __name__ == "__main__":
    main()
