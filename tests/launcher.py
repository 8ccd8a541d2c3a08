"""Starts the plugin from a process so small that its peak memory is the plugin's own.

A process inherits the peak of the one that it was forked from, and pytest's is far higher.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST = 20.0
"""Seconds after which a run is ended, so that a test fails instead of hanging."""


@dataclass(frozen=True)
class Run:
    """What came of one run: as the engine sees it, how long it took, and its peak memory in KiB.

    ``seconds`` are without those for which the machine had no processor left for it: it ``waited``.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float
    waited: float
    peak: int


class Launcher:
    """A process that starts others, one after another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *command: str, environment: Mapping[str, str]) -> Run:
        """Run a command; the environment is added to that of the launcher."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, {**environment}]) + "\n")
        self._process.stdin.flush()
        return Run(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def launcher() -> Iterator[Launcher]:
    """Start a launcher, and end it after the block."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Launcher(process)


def main() -> None:
    """Read commands from standard input and write what came of them.

    The tests that run at the same time have a say in how long things may take; these wait for them.
    """
    os.nice(10)
    os.environ.pop("COVERAGE_PROCESS_START", None)
    for line in sys.stdin:
        command, environment = json.loads(line)
        print(json.dumps(_measured(command, environment)), flush=True)


def _measured(command: list[str], environment: dict[str, str]) -> dict[str, Any]:
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    limit = threading.Timer(LONGEST, process.kill)
    limit.start()
    with process.stdout, process.stderr:
        stdout, stderr = process.stdout.read(), process.stderr.read()
    waited = _waited(process.pid)
    seconds = time.monotonic() - began - waited
    _, status, usage = os.wait4(process.pid, 0)
    limit.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "code": process.returncode,
        "stdout": stdout.decode("utf-8", "backslashreplace"),
        "stderr": stderr.decode("utf-8", "backslashreplace"),
        "seconds": seconds,
        "waited": waited,
        "peak": usage.ru_maxrss,
    }


def _waited(process: int) -> float:
    """Return the seconds for which a process was ready to run, and others ran."""
    with open(f"/proc/{process}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[1]) / 1e9


if __name__ == "__main__":
    main()
