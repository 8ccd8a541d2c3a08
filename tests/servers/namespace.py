"""A network namespace: interfaces, routes and ports that nobody else on this machine sees."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests import needs

_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of sched.h; Python has names for this only since 3.12."""

_LIBC = ctypes.CDLL(None, use_errno=True)

_OWN = "/proc/thread-self/ns/net"


class Namespace:
    """One without a name: it ends with the last process, socket or interface that is in it."""

    def __init__(self) -> None:
        needs.root()
        before = os.open(_OWN, os.O_RDONLY)
        try:
            _check(_LIBC.unshare(_NEW_NETWORK))
            self._descriptor = os.open(_OWN, os.O_RDONLY)
            enter(before)
        finally:
            os.close(before)
        self.ip("link set lo up")

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command to run it in here."""
        path = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        return (needs.program("nsenter"), f"--net={path}")

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
            enter(self._descriptor)
            yield
        finally:
            enter(before)
            os.close(before)

    def close(self) -> None:
        """Leave it to its fate."""
        os.close(self._descriptor)


def enter(descriptor: int) -> None:
    """Have this thread enter the namespace of that file, of whatever kind it is."""
    _check(_LIBC.setns(descriptor, 0))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
