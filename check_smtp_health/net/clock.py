"""The time of day, for whoever is told when something was; durations are the driver's."""

from __future__ import annotations

import time


def monotonic() -> float:
    """Return the seconds on a clock that nobody sets, for durations."""
    return time.monotonic()


def now() -> float:
    """Return the seconds since 1970 began, by this machine's clock."""
    return time.time()
