"""One moment in time that ends everything."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline:
    """``seconds`` from now, on a clock that nobody sets (``time.monotonic``)."""

    __slots__ = ("clock", "expires", "seconds")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.clock = clock
        self.expires = clock() + seconds

    def remaining(self) -> float:
        """Return the seconds left, 0.0 where there are none."""
        return max(0.0, self.expires - self.clock())
