"""A token that nobody guesses, and the date: what makes a message unlike any other."""

from __future__ import annotations

import os
import time

# strftime would have them in the language of the environment.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def stamp() -> tuple[str, str]:
    """Return a new token and the date; the date is in UTC (RFC 5322 section 3.3)."""
    now = time.gmtime()
    day = f"{_DAYS[now.tm_wday]}, {now.tm_mday} {_MONTHS[now.tm_mon - 1]} {now.tm_year}"
    clock = f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
    return os.urandom(16).hex(), f"{day} {clock} +0000"
