"""What a parser takes of memory while there is no end of what comes."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

from check_smtp_health.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 3000
"""After which there is no limit."""

WATCHED = 400_000
"""Octets that are watched. To trace memory takes far longer than to parse, and a parser that keeps
what it has read, or any part of it, does so from the first."""

PEAK_LIMIT = 300_000
"""Octets of memory: fewer than would be kept of those that are watched."""


def flooded(step: Callable[[], None], size: int) -> Violation | None:
    """Repeat a step that feeds so many octets; return the violation that ends it."""
    tracemalloc.start()
    try:
        for number in range(STEPS):
            if number * size > WATCHED:
                _end_tracing()
            step()
    except Violation as violation:
        return violation
    finally:
        _end_tracing()
    return None


def _end_tracing() -> None:
    if tracemalloc.is_tracing():
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < PEAK_LIMIT
