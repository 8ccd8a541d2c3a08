"""Scripted servers side by side: at several addresses of the loopback interface, on one port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.loopback import free_port
from tests.servers.scripted import ScriptedServer, Sleep, Step

HEALTHY = (Sleep(0.03), BANNER, *HELO, *QUIT)
REFUSES = (BANNER, HELO[0], b"550 5.7.1 no\r\n", *QUIT)

GOOD, BAD, DEAD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@contextlib.contextmanager
def serving(**scripts: tuple[Step, ...]) -> Iterator[int]:
    """Serve a script at each of these addresses, ``_4`` being 127.0.0.4; yield the port."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        for name, script in scripts.items():
            address = f"127.0.0.{name[1:]}"
            stack.enter_context(ScriptedServer(script, address=address, port=port).running())
        yield port
