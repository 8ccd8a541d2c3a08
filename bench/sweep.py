"""Many checks of one file: what each costs, everything counted, beside a run of check_smtp each."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from bench import measure
from bench.contestants import CHECK_SMTP
from bench.server import NAME
from tests.servers import crowd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bench.server import Running

COUNT = 1000

MANY = 10_000

FORMATS = ("nagios", "nsca", "checkmk", "openmetrics", "icinga2", "json")

ROUNDS = 5


class Cost(NamedTuple):
    """What each check of a file takes: seconds, how often that goes into a run of the peer, KiB."""

    what: str
    checks: int
    processor: float
    ratio: float
    memory: float


def costs(ours: str, folder: Path, server: Running) -> Iterator[Cost]:
    """Measure files of many checks, in each format, and the peer, in turn."""
    with crowd.running() as port:
        asked: tuple[str, ...] = ("-F", "mon.example", "-t", "60", "-p", str(port))
        peer = (CHECK_SMTP, "-H", "127.0.0.1", "-p", str(port))
        plain = _command(ours, folder / "plain", COUNT, asked)
        formats = {
            name: (*plain, "--output-format", name, "--output-to", str(folder / name))
            for name in FORMATS
        }
        one = _command(ours, folder / "one", 1, asked)
        yield from _costs(COUNT, one, {"plain": plain, **formats}, peer)
        many = _command(ours, folder / "many", MANY, asked)
        yield from _costs(MANY, one, {"plain": many}, peer)
    asked = ("-S", "--sni", NAME, "--ca-file", server.authority, "-t", "60", "-p", str(server.port))
    with_tls = (CHECK_SMTP, "-H", "127.0.0.1", "-S", "-D", "14,3", "-p", str(server.port))
    tls = _command(ours, folder / "tls", COUNT, asked)
    one = _command(ours, folder / "one-tls", 1, asked)
    yield from _costs(COUNT, one, {"-S, certificate": tls}, with_tls)


def _costs(
    count: int,
    one: Sequence[str],
    commands: Mapping[str, Sequence[str]],
    peer: Sequence[str],
) -> Iterator[Cost]:
    rounds = max(1, ROUNDS * COUNT // count)
    alone, *several, other = measure.measured([one, *commands.values(), peer], rounds)
    for name, runs in zip(commands, several):
        each = statistics.median(runs.processor) / count
        ratio = statistics.median(other.processor) / each
        memory = (runs.peak - alone.peak) * 1024 / (count - 1)
        yield Cost(name, count, each, ratio, memory)


def _command(ours: str, path: Path, count: int, options: Sequence[str]) -> tuple[str, ...]:
    """Write a file of so many checks, each of an address of its own; return what runs it."""
    lines = (
        f"mx{number}.example;SMTP;-H 127.{1 + number // 250}.0.{1 + number % 250} "
        + " ".join(options)
        for number in range(count)
    )
    path.write_text("\n".join(lines))
    return (ours, "--checks", str(path))
