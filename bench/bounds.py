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
SWEPT = "a run of check_smtp, in checks of a file that take as long"
SWEPT_FORMAT = "the same, with results for an engine, in the dearest format"
SWEPT_JSON = "the same, with all that JSON has, the transcript among it"
LATE_SWEPT = "how late 100 checks at the same time hear of an answer, in ms, in the median"
SWEPT_TLS = "a run of check_smtp -S -D, in checks of a file with -S that take as long"
SWEPT_MEMORY = "memory of each check of a file, in KiB"
A_MINUTE = "checks of a file that one processor does in a minute"
LATE = "how late many sessions at the same time hear of an answer, in ms, in the median"
ERROR = "error of the time of a stage, in ms, in the best quarter of the runs"

LEAST = {SWEPT: 8, SWEPT_FORMAT: 6.5, SWEPT_JSON: 5.5, SWEPT_TLS: 3, A_MINUTE: 5000}

BOUNDS = {
    PLAIN: 1.10,
    STARTTLS: 1.35,
    MEMORY: 30,
    # A tenth on a quiet machine. A thousand sessions take turns, so that it also depends on who
    # else uses the processor's cache.
    FURTHER: 0.13,
    FURTHER_MEMORY: 100,
    SWEPT_MEMORY: 64,
    # What lies between the two ends of a loopback connection. A machine that is busy with something
    # else adds to most runs; a plugin that timed the wrong thing would be wrong in all.
    ERROR: 0.5,
    LATE: 2,
    LATE_SWEPT: 0.3,
}


def beyond(found: Mapping[str, float]) -> list[str]:
    """Return a sentence for each measurement that is beyond its bound."""
    return [
        f"{what}: {value:.3g}, but at {'least' if what in LEAST else 'most'} {bound:g}"
        for what, value in found.items()
        for bound in (LEAST.get(what) or BOUNDS[what],)
        if (value < bound if what in LEAST else value > bound)
    ]
