"""Computations that may never end, in a process of their own that the kernel ends.

Python holds on to its interpreter while it matches an expression: in a thread that would stop the
whole run. Loaded only by runs that need it.
"""

from __future__ import annotations

import os
import resource

from check_smtp_health.errors import LocalFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from re import Pattern

PROCESSOR_LIMIT = 1
"""Seconds of processor time for one question; a sane expression takes a thousandth of that."""

FILES_LIMIT = 4096
"""File descriptors that are closed there, the engine's pipe above all, which it waits for."""


def matches(pattern: Pattern[bytes], texts: Sequence[bytes]) -> bool | None:
    """Whether an expression matches any of the texts; None where that takes too long. Blocks.

    Raises:
        LocalFault: no process can be started.
    """
    found = computed(
        lambda: b"yes" if any(pattern.search(text) for text in texts) else b"no", PROCESSOR_LIMIT
    )
    return None if found is None else found == b"yes"


def computed(function: Callable[[], bytes], seconds: int) -> bytes | None:
    """Return what a function returns. Blocks.

    None is returned where that takes more than so many seconds of processor time, or fails.

    Raises:
        LocalFault: no process can be started.
    """
    try:
        readable, writable = os.pipe()
        child = os.fork()
    except OSError as error:
        raise LocalFault("this host cannot start another process") from error
    if child == 0:
        _answer(function, seconds, writable)
    os.close(writable)
    with open(readable, "rb") as answer:
        said = answer.read()
    _, status = os.waitpid(child, 0)
    return said if status == 0 else None


def _answer(function: Callable[[], bytes], seconds: int, writable: int) -> None:
    code = 1
    try:
        os.closerange(0, writable)
        os.closerange(writable + 1, FILES_LIMIT)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        with open(writable, "wb") as answer:
            answer.write(function())
        code = 0
    finally:
        os._exit(code)
