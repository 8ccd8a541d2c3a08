"""Runs the plugin as an engine does: the console script, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(sys.executable).parent / "check_smtp_health"

SLACK = 0.5
"""Seconds that a run may go over its deadline, start of the interpreter included."""


@dataclass(frozen=True)
class Outcome:
    """What an engine sees of one run."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def line(self) -> str:
        """The first line without perfdata, every measured time as ``#``."""
        return re.sub(r"\d+\.\d{3} s", "# s", self.stdout.split("\n")[0].partition(" | ")[0])

    @property
    def perfdata(self) -> str:
        """The perfdata, every measured time as ``#``."""
        return re.sub(r"=\d+\.\d{6}s", "=#s", self.stdout.partition("| ")[2].rstrip("\n"))

    def times(self) -> dict[str, float]:
        """Return the measured times by label, in seconds."""
        return {
            label: float(value)
            for label, value in re.findall(r"(\w+)=(\d+\.\d{6})s", self.stdout.rpartition("| ")[2])
        }


def run(
    *arguments: str,
    environment: dict[str, str] | None = None,
    prefix: tuple[str, ...] = (),
    timeout: float = 30,
) -> Outcome:
    """Run the plugin with these arguments.

    The environment is added to our own; ``prefix`` is a command that runs the plugin in turn.
    """
    began = time.monotonic()
    done = subprocess.run(
        [*prefix, str(SCRIPT), *arguments],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    seconds = time.monotonic() - began
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode(), seconds)


def measuring(peak: Path) -> tuple[str, ...]:
    """Return what to put before a command so that its peak of memory, in KiB, is in that file."""
    measure = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[2:]); "
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss; "
        "open(sys.argv[1], 'w').write(str(peak)); sys.exit(code)"
    )
    return (sys.executable, "-c", measure, str(peak))
