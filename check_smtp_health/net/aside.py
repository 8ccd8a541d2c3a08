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
    from collections.abc import Sequence
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
    try:
        child = os.fork()
    except OSError as error:
        raise LocalFault("this host cannot start another process") from error
    if child == 0:
        _answer(pattern, texts)
    _, status = os.waitpid(child, 0)
    return {0: True, 1: False}.get(status >> 8) if status & 0x7F == 0 else None


def _answer(pattern: Pattern[bytes], texts: Sequence[bytes]) -> None:
    code = 2
    try:
        os.closerange(0, FILES_LIMIT)
        resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_LIMIT, PROCESSOR_LIMIT))
        code = 0 if any(pattern.search(text) for text in texts) else 1
    finally:
        os._exit(code)
