"""A test that needs something is left out where that is missing, and fails where nothing may be."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

FOLDERS = ("/usr/sbin", "/usr/lib/nagios/plugins")
"""Where programs are that a PATH may lack."""


def program(name: str) -> str:
    """Return the path of a program, or leave the test out; fail where CI is ``true``."""
    path = found(name)
    if path is None:
        leave_out(f"needs {name}")
    return path


def found(name: str) -> str | None:
    """Return the path of a program, None where it is not here."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(FOLDERS))


def root() -> None:
    """Leave the test out where it does not run as root; fail where CI is ``true``."""
    if os.geteuid() != 0:
        leave_out("needs root")


def leave_out(why: str) -> NoReturn:
    """Leave the test out, saying why; fail where CI is ``true``."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
