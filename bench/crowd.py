"""Many targets in one run: what each additional one costs, compared with a run of check_smtp."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from bench import measure
from bench.contestants import CHECK_SMTP
from tests.servers import crowd

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNTS = (200, 1000)
"""Targets of a run. Each has an address of its own, behind all of which is the same server."""


class Further(NamedTuple):
    """What each target but the first costs in a run of ``targets``; seconds, peer runs, KiB."""

    targets: int
    processor: float
    ratio: float
    memory: float


def hosts(count: int) -> tuple[str, ...]:
    """Return the options that name so many targets."""
    numbers = ((1 + number // 250, 1 + number % 250) for number in range(count))
    return tuple(word for high, low in numbers for word in ("-H", f"127.0.{high}.{low}"))


def further(ours: str, rounds: int) -> Iterator[Further]:
    """Measure runs of one, of many and of the peer, in turn."""
    with crowd.running() as port:
        end = ("-F", "mon.example", "-t", "60", "-p", str(port))
        commands = [(ours, *hosts(count), *end) for count in (1, *COUNTS)]
        peer = (CHECK_SMTP, "-H", "127.0.0.1", "-p", str(port))
        alone, *crowds, other = measure.measured([*commands, peer], rounds)
    for count, runs in zip(COUNTS, crowds):
        seconds = statistics.median(runs.processor) - statistics.median(alone.processor)
        each = seconds / (count - 1)
        memory = (runs.peak - alone.peak) * 1024 / (count - 1)
        yield Further(count, each, each / statistics.median(other.processor), memory)
