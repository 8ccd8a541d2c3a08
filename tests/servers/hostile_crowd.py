"""A mail server at every address of the loopback interface that says as much as it may.

Only at ``HEALTHY`` it is well. In a process of its own, as ``crowd``.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

BACKLOG = 4096

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
"""What comes line by line, so that each is read on its own."""

NAMES = (*MOODS, *ENDS, DRIPS)


@contextlib.contextmanager
def running(mood: str, size: int) -> Iterator[int]:
    """Have it run until the block ends; yield its port. A reply has ``size`` bytes at most."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.hostile_crowd", mood, str(size)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # asyncio tells of each client that leaves
    )
    with process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


class _Server:
    def __init__(self, mood: str, size: int) -> None:
        self._mood = mood
        self._size = size
        said = MOODS.get(mood, {})
        codes = {b"": b"220", b"QUIT": b"221"}
        self._replies = {verb: _reply(codes.get(verb, b"250"), size, said[verb]) for verb in said}
        self._usual = {
            verb: codes.get(verb, b"250") + b" mx.example\r\n"
            for verb in (b"", b"HELO", b"EHLO", b"NOOP", b"QUIT")
        }

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        is_hostile = writer.get_extra_info("sockname")[0] != HEALTHY
        with contextlib.suppress(ConnectionError):
            if is_hostile and self._mood in ENDS:
                writer.write(ENDS[self._mood](self._size))
                await reader.read()
            elif is_hostile and self._mood == DRIPS:
                for line in _reply(b"220", self._size, b"x" * 50).splitlines(keepends=True):
                    writer.write(line)
                    await asyncio.sleep(0.1)
                await reader.read()
            else:
                await self._talk(reader, writer, self._replies if is_hostile else {})
        writer.close()

    async def _talk(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        replies: dict[bytes, bytes],
    ) -> None:
        verb = b""
        while True:
            writer.write(replies.get(verb, self._usual.get(verb, b"250 mx.example\r\n")))
            if verb == b"QUIT":
                return
            line = await reader.readline()
            if not line:
                return
            verb = line[:4].upper()


async def _main(mood: str, size: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("", 0))
    server = await asyncio.start_server(
        _Server(mood, size).converse, sock=listener, backlog=BACKLOG
    )
    print(listener.getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
