"""A healthy mail server for a thousand clients at once, at every address of the loopback interface.

In a process of its own, and without threads: whoever measures its clients pays for none of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BACKLOG = 4096


@contextlib.contextmanager
def running() -> Iterator[int]:
    """Have it run until the block ends; yield its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.servers.crowd"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(b"220 mx.example\r\n")
        while (line := await reader.readline()) and not line.startswith(b"QUIT"):
            writer.write(b"250 mx.example\r\n")
        writer.write(b"221 bye\r\n")
    writer.close()


async def _main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("", 0))
    server = await asyncio.start_server(_converse, sock=listener, backlog=BACKLOG)
    print(listener.getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
