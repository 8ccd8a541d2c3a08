"""What is made only once, and how much of it is kept."""

from __future__ import annotations

import subprocess
import sys

MAKING = """
from check_smtp_health import loading
made = []
loading.shared(made.append, 0)
loading.shared(made.append, 0)
loading.remember()
for _ in range(2):
    for number in range(loading.REMEMBERED + 2):
        loading.shared(made.append, number)
print(len(made) - loading.REMEMBERED)
"""
"""Makes things in a process of its own, where nobody else finds what it has made."""


def test_no_more_is_kept_than_that() -> None:
    done = subprocess.run([sys.executable, "-c", MAKING], capture_output=True, check=False)
    # Two before it is to be remembered, and two each time for which there is no room.
    assert (done.returncode, done.stdout, done.stderr) == (0, b"6\n", b"")
