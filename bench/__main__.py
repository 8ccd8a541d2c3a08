"""``make bench``: measure the tables of ``docs/performance.md`` here, and check the bounds."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import accuracy, anatomy, bounds, crowd, measure, sweep
from bench.contestants import CHECK_SMTP, OURS, contestants
from bench.server import running
from tests.servers.authority import Authority

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contestants import Contestant
    from bench.measure import Runs
    from bench.server import Running

ROUNDS = 40

CHECKS = 2000 / 60
"""Checks a second of a busy satellite."""

COSTS = (
    *("question", "program", "ratio", "processor", "quartiles", "wall", "modules"),
    *("instructions", "memory", "2,000 a minute", "exit"),
)
USUAL = ("part of the imports", "processor", "")
PARTS = ("part of a run", "plain", "", "STARTTLS", "")
CROWDS = ("targets of a run", "each further one", "", "memory")
SWEEPS = ("checks of a file", "how many", "each, all of it", "", "memory")
ERRORS = ("stage", "median", "95 % below")


def main() -> int:
    """Measure and print; return the exit code, which is 1 where something is beyond its bound."""
    found: dict[str, float] = {}
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} processors ({platform.machine()}).",
        f"{ROUNDS} runs of each in turn, medians; ratio and quartiles are of the processor time.",
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(folder) as server:
            several = contestants(folder, server)
            found.update(_print_costs(several))
            found.update(_print_crowds(several))
            found.update(_print_sweeps(several, folder, server))
            python = several[0].command[0]
            ours = [one.command for one in several if one.name == OURS]
            _print_parts(python, *(command[1:] for command in ours[:2]))
        found.update(_print_errors(ours[0][0], folder))
    broken = bounds.beyond(found)
    print("", *broken, sep="\n")
    return 1 if broken else 0


def _print_costs(several: Sequence[Contestant]) -> dict[str, float]:
    _print_head(COSTS)
    found = measure.measured([one.command for one in several], ROUNDS)
    unit = statistics.median(found[0].processor)
    for one, runs in zip(several, found):
        _print_row(_cost(one, runs, unit))
    ours = {one.question: runs for one, runs in zip(several, found) if one.name == OURS}
    return {
        bounds.PLAIN: statistics.median(ours["plain"].processor) / unit,
        bounds.STARTTLS: statistics.median(ours["STARTTLS"].processor) / unit,
        bounds.MEMORY: max(runs.peak for runs in ours.values()),
    }


def _cost(one: Contestant, runs: Runs, unit: float) -> tuple[str, ...]:
    processor = statistics.median(runs.processor)
    low, _, high = statistics.quantiles(runs.processor, n=4)
    modules = measure.modules(one.command)
    instructions = measure.instructions(one.command, runs.code)
    return (
        one.question,
        one.name,
        f"{processor / unit:.2f}",
        f"{processor * 1e3:.1f} ms",
        f"{low / unit:.2f} to {high / unit:.2f}",
        f"{statistics.median(runs.wall) * 1e3:.1f} ms",
        "-" if modules is None else str(modules),
        "not available" if instructions is None else f"{instructions / 1e6:.0f} M",
        f"{runs.peak:.0f} MiB" if runs.peak > runs.floor else f"< {runs.floor:.0f} MiB",
        f"{processor * CHECKS:.2f} processors",
        str(runs.code),
    )


def _print_crowds(several: Sequence[Contestant]) -> dict[str, float]:
    if not Path(CHECK_SMTP).exists():
        return {}
    _print_head(CROWDS)
    (ours,) = (one.command[0] for one in several if (one.question, one.name) == ("plain", OURS))
    found = list(crowd.further(ours, 11))
    for one in found:
        ratio = f"{one.ratio:.3f} of a run of check_smtp"
        cost = f"{one.processor * 1e3:.2f} ms"
        _print_row((str(one.targets), cost, ratio, f"{one.memory:.0f} KiB"))
    return {
        bounds.FURTHER: min(one.ratio for one in found),
        bounds.FURTHER_MEMORY: max(one.memory for one in found),
    }


def _print_sweeps(several: Sequence[Contestant], folder: Path, server: Running) -> dict[str, float]:
    if not Path(CHECK_SMTP).exists():
        return {}
    _print_head(SWEEPS)
    (ours,) = (one.command[0] for one in several if (one.question, one.name) == ("plain", OURS))
    found = list(sweep.costs(ours, folder, server))
    for one in found:
        ratio = f"1/{one.ratio:.1f} of a run of check_smtp"
        cost = f"{one.processor * 1e3:.2f} ms"
        _print_row((one.what, f"{one.checks:,}", cost, ratio, f"{one.memory:.0f} KiB"))
    plain, *formats, many, tls = found
    return {
        bounds.SWEPT: min(plain.ratio, many.ratio),
        bounds.SWEPT_FORMAT: min(one.ratio for one in formats if one.what != "json"),
        bounds.SWEPT_JSON: min(one.ratio for one in formats if one.what == "json"),
        bounds.SWEPT_TLS: tls.ratio,
        bounds.SWEPT_MEMORY: max(one.memory for one in found),
        bounds.A_MINUTE: 60 / max(one.processor for one in found),
    }


def _print_parts(python: str, plain: Sequence[str], tls: Sequence[str]) -> None:
    _print_head(USUAL)
    usual = anatomy.usual(python, ROUNDS)
    for part in usual:
        _print_row((part, *_share(part, usual)))
    _print_head(PARTS)
    took, with_tls = (anatomy.parts(python, arguments, ROUNDS) for arguments in (plain, tls))
    for part in with_tls:
        _print_row((part, *_share(part, took), *_share(part, with_tls)))


def _share(part: str, took: dict[str, float]) -> tuple[str, str]:
    if part not in took:
        return "", ""
    return f"{took[part] * 1e3:.1f} ms", f"{took[part] / sum(took.values()):.0%}"


def _print_errors(command: str, folder: Path) -> dict[str, float]:
    _print_head(ERRORS)
    authority = Authority.made(folder, "accuracy")
    found = accuracy.errors((command,), authority, ROUNDS)
    for stage, seconds in found.items():
        most = statistics.quantiles(seconds, n=20)[-1]
        _print_row((stage, f"{statistics.median(seconds) * 1e3:.2f} ms", f"{most * 1e3:.2f} ms"))
    late = accuracy.lateness()
    most = statistics.quantiles(late, n=20)[-1]
    _print_row(("200 sessions", f"{statistics.median(late) * 1e3:.2f} ms", f"{most * 1e3:.2f} ms"))
    swept = accuracy.lateness(100, as_checks=True)
    most_swept = f"{statistics.quantiles(swept, n=20)[-1] * 1e3:.2f} ms"
    _print_row(("100 checks", f"{statistics.median(swept) * 1e3:.2f} ms", most_swept))
    return {
        bounds.LATE_SWEPT: 1e3 * statistics.median(swept),
        bounds.ERROR: 1e3 * max(statistics.quantiles(one, n=4)[0] for one in found.values()),
        bounds.LATE: 1e3 * statistics.median(late),
    }


def _print_head(cells: Sequence[str]) -> None:
    print()
    _print_row(cells)
    _print_row(["---"] * len(cells))


def _print_row(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


sys.exit(main())
