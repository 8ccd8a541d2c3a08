"""A Debian without Python, fresh in memory, in which packages are installed and run.

It is unpacked in a mount namespace, and gone with the process that holds this; the network is ours.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

ARCHIVE = Path("/var/cache/check_smtp_health-tests/root.tar")

HOLD = """
mount -t tmpfs root "$1"
tar -xf "$2" -C "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
echo ready
read -r _
"""

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}


class FreshRoot:
    """A running one: ``path`` leads into it from outside."""

    def __init__(self, holder: int, folder: Path) -> None:
        self._holder = holder
        self._folder = folder
        self.path = Path(f"/proc/{holder}/root{folder}")

    def attempt(
        self, *command: str, user: str = "root", typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, with that on its standard input."""
        inside = (
            "nsenter",
            "--mount",
            "--root",
            f"--target={self._holder}",
            "chroot",
            f"--userspec={user}",
        )
        return subprocess.run(
            [*inside, str(self._folder), *command],
            input=typed,
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            timeout=30,
            check=False,
        )

    def run(self, *command: str, user: str = "root", typed: str = "") -> str:
        """Run a command that must succeed, and return its output."""
        done = self.attempt(*command, user=user, typed=typed)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def fresh_root(folder: Path) -> Iterator[FreshRoot]:
    """Have one mounted at ``folder``, seen by nobody else."""
    needs.root()
    if not ARCHIVE.exists():
        needs.leave_out(f"needs {ARCHIVE}")
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec", HOLD, "sh", str(folder), str(ARCHIVE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"ready\n"
        yield FreshRoot(holder.pid, folder)
