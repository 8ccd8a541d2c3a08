"""Where the processor time of one run goes, and that of the imports it is compared with.

Up to the last import, each part is the difference between a program that does it and one that stops
before it. The rest is timed within the plugin itself, when everything has been imported. Each is
the minimum of some runs: in anything else a small difference would be lost.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from bench import measure

if TYPE_CHECKING:
    from collections.abc import Sequence

START = "import gc, os; gc.disable()"
END = "os._exit(0)"

USUAL = {
    "site and its .pth files": "",
    "re": "import re",
    "traceback": "import traceback",
    "logging": "import logging",
    "json": "import json",
    "tempfile": "import tempfile",
    "nagiosplugin itself": "import nagiosplugin",
    "argparse": "import argparse",
    "socket": "import socket",
}
"""What nagiosplugin, argparse and socket import, in an order in which each finds its own ready."""

IMPORTS = {
    "site and its .pth files": "",
    "re, for pip's script": "import re",
    "signal, socket, threading": "import signal, socket, threading",
    "our modules": (
        "from check_smtp_health import cli, output; from check_smtp_health.probing import targets; "
        "from check_smtp_health.config import build, credentials, getopt; "
        "from check_smtp_health.stages import connection, greeting"
    ),
    "nagiosplugin": "import check_smtp_health.judge.nagios",
    "our evaluation": "from check_smtp_health.judge import check, text",
}
"""What a run imports, part by part."""

TLS_IMPORTS = {"ssl, our tls": "from check_smtp_health.net import trust"}
"""What a run with TLS imports on top."""

RUN = """
import sys, time
def marked(check):
    def run(*arguments):
        marks.append(time.process_time())
        reports = check(*arguments)
        marks.append(time.process_time())
        return reports
    return run
def leave(code):
    print(*marks, time.process_time(), file=sys.__stderr__)
    end(code)
targets.probe_all, end, os._exit = marked(targets.probe_all), os._exit, leave
marks = [time.process_time()]
cli.main()
"""
RUNS = ("options, files", "session", "evaluation, output")
"""The rest of a run, between the marks that the script above sets."""


def usual(python: str, rounds: int) -> dict[str, float]:
    """Return the seconds of processor time that each part of the usual imports takes."""
    return _imports(python, USUAL, rounds)


def parts(python: str, arguments: Sequence[str], rounds: int) -> dict[str, float]:
    """Return the seconds of processor time that each part of a run with these arguments takes."""
    imports = {**IMPORTS, **(TLS_IMPORTS if "-S" in arguments else {})}
    took = _imports(python, imports, rounds)
    command = (python, "-c", "\n".join((START, *imports.values(), RUN)), *arguments)
    marks = [_marks(command) for _ in range(rounds)]
    for number, name in enumerate(RUNS):
        took[name] = min(times[number + 1] - times[number] for times in marks)
    return took


def _imports(python: str, imports: dict[str, str], rounds: int) -> dict[str, float]:
    texts = [START, *imports.values()]
    scripts = ["\n".join((*texts[: number + 1], END)) for number in range(len(texts))]
    bare, *several = measure.measured(
        [(python, "-I", "-S", "-c", scripts[0]), *((python, "-c", one) for one in scripts[1:])],
        rounds,
    )
    ends = [min(runs.processor) for runs in (bare, *several)]
    took = {"the interpreter": ends[0]}
    took.update(zip(imports, (end - before for before, end in zip(ends, ends[1:]))))
    return took


def _marks(command: Sequence[str]) -> list[float]:
    done = subprocess.run(
        command, capture_output=True, text=True, env=measure.ENVIRONMENT, check=True
    )
    return [float(word) for word in done.stderr.split()]
