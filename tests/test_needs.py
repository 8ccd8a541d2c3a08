"""Tests that are left out are named in one line, and are failures where CI is ``true``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """\
import pytest
from tests import needs

def test_runs():
    assert needs.program("sh")

@pytest.mark.parametrize("name", ["one", "two"])
def test_needs_a_program(name):
    needs.program("no-such-program")

def test_needs_something_else():
    needs.leave_out("needs luck")
"""


@pytest.mark.parametrize(
    ("ci", "end"),
    [
        (
            "",
            "3 tests left out: needs no-such-program (2), needs luck (1)\n"
            "1 passed, 3 skipped in # s\n",
        ),
        (
            "true",
            "FAILED test_of_needs.py::test_needs_a_program[one] - Failed: needs no-such-program\n"
            "FAILED test_of_needs.py::test_needs_a_program[two] - Failed: needs no-such-program\n"
            "FAILED test_of_needs.py::test_needs_something_else - Failed: needs luck\n"
            "3 failed, 1 passed in # s\n",
        ),
    ],
    ids=["elsewhere", "in CI"],
)
def test_what_was_left_out(tmp_path: Path, ci: str, end: str) -> None:
    (tmp_path / "test_of_needs.py").write_text(TESTS)
    uncovered = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**uncovered, "CI": ci, "PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    *rest, last = done.stdout.splitlines(keepends=True)
    lines = [*rest, f"{last.partition(' in ')[0]} in # s\n"]
    assert "".join(lines[-end.count("\n") :]) == end
