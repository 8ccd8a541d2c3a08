"""The bounds beyond which ``make bench`` fails. Run it before a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAIN = "processor time of a plain check, as a multiple of the usual imports"
STARTTLS = "processor time of a check with STARTTLS, as a multiple of the usual imports"
MEMORY = "memory of a check, in MiB"
FURTHER = "processor time of each further target, in runs of check_smtp"
FURTHER_MEMORY = "memory of each further target, in KiB"
LATE = "how late many sessions at the same time hear of an answer, in ms, in the median"
ERROR = "error of the time of a stage, in ms, in the best quarter of the runs"

BOUNDS = {
    PLAIN: 1.10,
    STARTTLS: 1.35,
    MEMORY: 30,
    # A tenth on a quiet machine. A thousand sessions take turns, so that it also depends on who
    # else uses the processor's cache.
    FURTHER: 0.13,
    FURTHER_MEMORY: 100,
    # What lies between the two ends of a loopback connection. A machine that is busy with something
    # else adds to most runs; a plugin that timed the wrong thing would be wrong in all.
    ERROR: 0.5,
    LATE: 2,
}


def beyond(found: Mapping[str, float]) -> list[str]:
    """Return a sentence for each measurement that is beyond its bound."""
    return [
        f"{what}: {value:.3g}, but at most {BOUNDS[what]:g}"
        for what, value in found.items()
        if value > BOUNDS[what]
    ]
