"""SCRAM works with the oldest scramp that setup.cfg allows, and with the newest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import needs

ROOT = Path(__file__).parents[1]

VERSIONS = ("1.4.0",) if sys.version_info < (3, 11) else ("1.4.0", "1.5.0")
"""Those that tests/install-scramp installs."""


@pytest.mark.usefixtures("uncovered")
@pytest.mark.parametrize("version", VERSIONS)
def test_scram_with_another_scramp(version: str) -> None:
    folder = Path(sys.prefix, f"scramp-{version}")
    if not folder.exists():
        needs.leave_out(f"needs scramp {version}, which tests/install-scramp installs")
    program = "import sys, pytest, scramp; print(scramp.__file__); sys.exit(pytest.main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "-q", "-k", "scram or compute", "tests/test_sasl.py"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=False,
    )
    first, *_, last = done.stdout.splitlines()
    assert (done.returncode, Path(first).parent) == (0, folder / "scramp"), done.stdout
    assert re.match(r"2\d passed, \d+ deselected in ", last)


def test_the_oldest_is_the_one_that_is_asked_for() -> None:
    setup = (ROOT / "setup.cfg").read_text()
    assert f"scramp>={VERSIONS[0].removesuffix('.0')}\n" in setup
