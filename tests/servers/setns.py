"""Entering namespaces: what the process that forks runs needs of it, which loads little."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIBC = ctypes.CDLL(None, use_errno=True)
"""Python has names for what is called here only since 3.12."""

KINDS = {"net": "--net", "uts": "--uts", "mnt": "--mount"}
"""The kinds of namespaces that tests make: files below /proc/PROCESS/ns, options of nsenter."""


NSENTER = "nsenter"


def check(result: int) -> None:
    """Raise what a function of the C library says by its result."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def enter(descriptor: int) -> None:
    """Have this thread enter the namespace of that file, of whatever kind it is."""
    check(LIBC.setns(descriptor, 0))


@contextlib.contextmanager
def standing(prefix: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Have a process stand where a command leads; yield a command that leads there at less cost."""
    with subprocess.Popen([*prefix, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as there:
        assert there.stdin
        assert there.stdout
        there.stdin.write(b"\n")
        there.stdin.flush()
        assert there.stdout.readline() == b"\n"
        files = (f"{option}=/proc/{there.pid}/ns/{kind}" for kind, option in KINDS.items())
        yield (NSENTER, *files)


@contextlib.contextmanager
def opened(prefix: Sequence[str]) -> Iterator[list[int]]:
    """Open the namespaces where a command leads."""
    with contextlib.ExitStack() as stack:
        if os.path.basename(prefix[0]) != NSENTER or not all("=" in part for part in prefix[1:]):
            prefix = stack.enter_context(standing(prefix))
        files = [os.open(part.partition("=")[2], os.O_RDONLY) for part in prefix[1:]]
        for file in files:
            stack.callback(os.close, file)
        yield files
