"""Runs that are forked: what they execute is in the report, as if each had an interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from coverage import CoverageData

from tests import plugin
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.scripted import Expect, ScriptedServer

SOURCES = Path(__file__).parent.parent

RUN = """\
import sys
from tests import forking, plugin
forking.begin()
print(plugin.run(*sys.argv[1:]).stdout, end="")
"""

SAME = ("cli.py", "stages/transaction.py", "net/aside.py", "judge/check.py", "output/text.py")
"""Files of which the same is executed each time, however fast the server is."""

Arcs = dict[str, set[tuple[int, int]]]


def executed(folder: Path, *command: str) -> tuple[str, Arcs]:
    """Run a command; return what it prints, and what is executed of the plugin."""
    folder.mkdir()
    file = folder / "coverage"
    configuration = str(SOURCES / "pyproject.toml")
    environment = {"COVERAGE_PROCESS_START": configuration, "COVERAGE_FILE": str(file)}
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        cwd=SOURCES,
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    # Not by an object of Coverage: it would take the place of that which measures this process.
    arcs: Arcs = {}
    for path in folder.iterdir():
        data = CoverageData(str(path))
        data.read()
        for name in data.measured_files():
            arcs.setdefault(name, set()).update(data.arcs(name) or ())
    return done.stdout, arcs


def test_all_that_is_executed_is_kept(tmp_path: Path) -> None:
    """Of a process that the plugin starts, too: this answer has to be looked through in one."""
    script = (BANNER, *HELO, Expect(b"NOOP"), b"250 2.0.0 Ok\r\n", *QUIT)
    with ScriptedServer(script).running() as server:
        arguments = (*plugin.at(server.port), "-C", "NOOP", "-R", "[Oo]+k")
        said, arcs = executed(tmp_path / "own", str(plugin.SCRIPT), *arguments)
        assert said.startswith("SMTP OK")
        said, kept = executed(tmp_path / "forked", sys.executable, "-c", RUN, *arguments)
        assert said.startswith("SMTP OK")
    for name in SAME:
        file = str(SOURCES / "check_smtp_health" / name)
        assert arcs[file] - kept.get(file, set()) == set()
