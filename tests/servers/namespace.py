"""A network namespace: interfaces, routes and ports that nobody else on this machine sees."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests import needs
from tests.servers import setns

_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of sched.h."""

_OWN = "/proc/thread-self/ns/net"


class Namespace:
    """One without a name: it ends with the last process, socket or interface that is in it."""

    def __init__(self) -> None:
        needs.root()
        before = os.open(_OWN, os.O_RDONLY)
        try:
            setns.check(setns.LIBC.unshare(_NEW_NETWORK))
            self._descriptor = os.open(_OWN, os.O_RDONLY)
            setns.enter(before)
        finally:
            os.close(before)
        self.ip("link set lo up")

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command to run it in here."""
        path = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        return (needs.program(setns.NSENTER), f"--net={path}")

    def ip(self, *commands: str) -> None:
        """Run commands of ``ip`` in here."""
        subprocess.run(
            [*self.prefix, needs.program("ip"), "-batch", "-"],
            input="\n".join(commands),
            text=True,
            check=True,
        )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread, and those that it starts, open their sockets in here."""
        before = os.open(_OWN, os.O_RDONLY)
        try:
            setns.enter(self._descriptor)
            yield
        finally:
            setns.enter(before)
            os.close(before)

    def close(self) -> None:
        """Leave it to its fate."""
        os.close(self._descriptor)
