"""A PostgreSQL of its own for some tests: on a Unix socket, in a folder that is gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests import needs
from tests.servers.process import started

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "postgres"
"""Who it runs as where we are root, which it refuses to be."""

USER = "test"

FAST = ("listen_addresses=", "fsync=off", "full_page_writes=off", "synchronous_commit=off")
"""Nobody comes by network, and nothing has to outlive a crash."""


class PostgreSQL:
    """A running server; ``folder`` is where its socket is, and anybody in there is ``USER``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, database: str, template: str = "template1") -> None:
        """Create a database, as a copy of another."""
        self.ask("postgres", f"CREATE DATABASE {database} TEMPLATE {template}")

    def ask(self, database: str, statement: str) -> str:
        """Return what the server answers: a line per row, its columns separated by bars."""
        return subprocess.check_output(
            ["psql", "-XqAt", "-h", self.folder, "-U", USER, "-c", statement, database], text=True
        )


@contextlib.contextmanager
def running() -> Iterator[PostgreSQL]:
    """Run a server until the block ends."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    if programs is None:
        needs.leave_out("needs postgresql")
    user: tuple[str, ...] = ()
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, OWNER, OWNER)
            user = ("setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups")
        data = str(folder / "data")
        subprocess.run(
            [
                *(*user, str(programs / "initdb"), "--no-sync", "--auth=trust"),
                *(f"--username={USER}", "--encoding=UTF8", "--locale=C", "-D", data),
            ],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        options = [word for option in FAST for word in ("-c", option)]
        command = [*user, str(programs / "postgres"), "-D", data, "-k", name, *options]
        ready = ["pg_isready", "--quiet", "-h", name]
        with started(
            command,
            folder / "log.txt",
            lambda: subprocess.run(ready, check=False).returncode == 0,
        ):
            yield PostgreSQL(folder)
