"""What a command costs: processor time, wall time, memory, modules, instructions."""

from __future__ import annotations

import functools
import json
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LAUNCH = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")))

ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""What every command finds, and nothing else: the order of sets would blur the instructions."""

PERF = ("perf", "stat", "-x", ",", "-e", "instructions:u")
CACHEGRIND = (
    *("valgrind", "--tool=cachegrind", "--cache-sim=no"),
    "--cachegrind-out-file=/dev/null",
)


@dataclass(frozen=True)
class Runs:
    """What the runs of one command took: seconds run by run, median MiB, and their exit code.

    ``floor`` are the MiB that could not have been told from less.
    """

    processor: list[float]
    wall: list[float]
    peak: float
    floor: float
    code: int


def measured(commands: Sequence[Sequence[str]], rounds: int) -> list[Runs]:
    """Run the commands in turn, once to warm up and ``rounds`` times to measure.

    Raises:
        RuntimeError: a command ended in different ways.
    """
    done = subprocess.run(
        [*LAUNCH, str(rounds + 1)],
        input=json.dumps(commands),
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        check=True,
    )
    told = json.loads(done.stdout)
    found = []
    for command, runs in zip(commands, told["runs"]):
        processor, wall, peak, codes = map(list, zip(*runs[1:]))
        if len(set(codes)) > 1:
            raise RuntimeError(f"{' '.join(command)} ended with {codes}")
        median = statistics.median(peak) / 1024
        found.append(Runs(processor, wall, median, told["floor"] / 1024, codes[0]))
    return found


def modules(command: Sequence[str]) -> int | None:
    """Return how many modules a Python program imports; None for another program."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "PYTHONPROFILEIMPORTTIME": "1"},
        check=False,
    )
    return done.stderr.count("import time:") - 1 if "import time:" in done.stderr else None


def instructions(command: Sequence[str], code: int) -> int | None:
    """Return the instructions that a command takes in user mode.

    None where nothing counts them, or where the command does not end with ``code`` while it is
    counted.
    """
    counter = _counter()
    return None if counter is None else _counted(counter, command, code)


@functools.lru_cache(maxsize=1)
def _counter() -> tuple[str, ...] | None:
    """Return the command that counts instructions here: a virtual machine seldom lets perf."""
    for counter in (PERF, CACHEGRIND):
        if shutil.which(counter[0]) and _counted(counter, ("/bin/true",), 0):
            return counter
    return None


def _counted(counter: tuple[str, ...], command: Sequence[str], code: int) -> int | None:
    done = subprocess.run(
        [shutil.which(counter[0]) or "", *counter[1:], *command],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    found = re.search(r"^(\d+),|I +refs: +([\d,]+)$", done.stderr, re.MULTILINE)
    if found is None or done.returncode != code:
        return None
    return int((found[1] or found[2]).replace(",", ""))
