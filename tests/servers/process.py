"""A server in a process of its own, for one test: started, waited for, ended with the block."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PATIENCE = 10
"""Seconds that a server gets for anything; it needs some milliseconds."""


@contextlib.contextmanager
def started(
    command: Sequence[str], output: Path, is_up: Callable[[], object]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends, which begins once it is up; ``output`` takes its words."""
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=output.parent
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{command[0]} does not come up:\n{output.read_text()}")
            time.sleep(0.01)
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)
