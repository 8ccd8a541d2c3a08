"""Runs the plugin as an engine does: the console script, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests import forking
from tests.masking import timeless, unraced
from tests.servers.scripted import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.servers.scripted import Step

SCRIPT = Path(sys.executable).parent / "check_smtp_health"

ENTERING = ("nsenter", "unshare")
"""Commands to run it by that do no more than to enter namespaces."""

SLACK = 5.0
"""Seconds that a run may go over its deadline, start of the interpreter included.

Many, for the machine may be busy. It is for runs that do not end: one that is later than
``cli.GRACE`` is ended by a signal, and says so.
"""


@dataclass(frozen=True)
class Outcome:
    """What an engine sees of one run."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def line(self) -> str:
        """The first line without perfdata, every measured time and the slowest stage as ``#``."""
        return unraced(self.line_with_slowest)

    @property
    def line_with_slowest(self) -> str:
        """The same with the name of the slowest stage, for servers that see to which it is."""
        return timeless(self.stdout.split("\n")[0].partition(" | ")[0])

    @property
    def perfdata(self) -> str:
        """The perfdata, every measured time as ``#``."""
        return timeless(self.stdout.partition("| ")[2].rstrip("\n"))

    @property
    def labels(self) -> str:
        """The labels of the perfdata, in one line."""
        return " ".join(item.partition("=")[0] for item in self.perfdata.split())

    def times(self) -> dict[str, float]:
        """Return the measured times by label, in seconds."""
        return {
            label: float(value)
            for label, value in re.findall(r"(\w+)=(\d+\.\d{6})s", self.stdout.rpartition("| ")[2])
        }

    def times_of(self, target: str) -> dict[str, float]:
        """Return the measured times of one of several targets, by label, in seconds."""
        found = re.findall(r"'([^':]+)(?::\d+)?::(\w+)'=(\d+\.\d{6})s", self.stdout)
        return {label: float(value) for name, label, value in found if name == target}


def run(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    prefix: tuple[str, ...] = (),
    timeout: float = 30,
) -> Outcome:
    """Run the plugin with these arguments.

    The environment is added to our own; ``prefix`` is a command that runs the plugin in turn, which
    is not covered unless that command is one of ``ENTERING``.
    """
    # A proxy of this machine's knows nothing of hosts that only a test knows.
    own = {name: value for name, value in os.environ.items() if name.lower() != "https_proxy"}
    environment = {**own, **(environment or {})}
    began = time.monotonic()
    enters = not prefix or os.path.basename(prefix[0]) in ENTERING
    if not enters:
        environment.pop("COVERAGE_PROCESS_START", None)
    if forking.is_possible(environment):
        done = forking.run(str(SCRIPT), arguments, environment, timeout, prefix)
    else:
        done = subprocess.run(
            [*prefix, str(SCRIPT), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            env=environment,
            check=False,
        )
    seconds = time.monotonic() - began
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode(), seconds)


def at(port: int) -> tuple[str, ...]:
    """Return the options that name a server of ours, and a client whose name is always the same."""
    return ("-H", "127.0.0.1", "-p", str(port), "-F", "me.example")


class Checked(NamedTuple):
    """What came of a check: exit code, masked status line without the target, perfdata labels."""

    code: int
    line: str
    labels: str


def check(
    script: Iterable[Step], *arguments: str, environment: Mapping[str, str] | None = None
) -> Checked:
    """Check a server with this script, within a second.

    It must do what its script expects; standard error must be empty, and there must be one line
    unless more are asked for.
    """
    with ScriptedServer(script).running() as server:
        done = run(*at(server.port), "-t", "1", *arguments, environment=environment)
    assert (done.stderr, server.faults) == ("", [])
    assert "-vvv" in arguments or done.stdout.count("\n") == 1
    assert done.seconds < 1 + SLACK
    return Checked(done.code, done.line.replace(f" 127.0.0.1:{server.port}", ""), done.labels)


def metrics(label: str, *stages: str) -> str:
    """Return the perfdata of one of several targets, each time as ``#``, at a deadline of 1 s."""
    return " ".join(
        f"'{label}::{stage}'=#s;;;0{';1' if stage == 'time' else ''}" for stage in stages
    )


def measuring(peak: Path) -> tuple[str, ...]:
    """Return what to put before a command so that its peak of memory, in KiB, is in that file."""
    measure = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[2:]); "
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss; "
        "open(sys.argv[1], 'w').write(str(peak)); sys.exit(code)"
    )
    return (sys.executable, "-I", "-S", "-c", measure, str(peak))
