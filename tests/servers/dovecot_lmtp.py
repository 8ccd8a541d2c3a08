"""A real Dovecot for one test that takes mail over LMTP, by TCP and by a Unix socket."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import needs
from tests.servers.loopback import free_port, is_listening

USER = "monitor@example.org"

LMTP = Path("/usr/lib/dovecot/lmtp")
"""A package of its own in Debian."""

PATIENCE = 10
"""Seconds that Dovecot gets for anything; it needs some milliseconds."""

CONFIGURATION = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
hostname = mail.example.org
protocols = lmtp
listen = 127.0.0.1
ssl = no

passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
}}
mail_location = maildir:{directory}/home/mail
first_valid_uid = 1

service lmtp {{
  inet_listener lmtp {{
    port = {port}
  }}
  unix_listener {directory}/lmtp {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


class Dovecot:
    """A running Dovecot: where to reach it, and what it logged."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = str(directory / "lmtp")
        self.port = free_port()

    def log(self) -> str:
        """Return all that Dovecot has logged so far."""
        path = self.directory / "log"
        return path.read_text() if path.exists() else ""

    def sessions(self, number: int) -> list[str]:
        """Return what it logged of so many sessions, without times, once they are over."""

        def lines() -> list[str]:
            return re.findall(r" lmtp\(\d+\): Info: (.*)", self.log())

        _wait(lambda: sum(line.startswith("Disconnect") for line in lines()) == number, self)
        return lines()


@contextlib.contextmanager
def running() -> Iterator[Dovecot]:
    """Run a Dovecot that takes mail for ``USER`` until the block ends."""
    needs.root()
    program = needs.program("dovecot")
    if not LMTP.exists():
        needs.leave_out("needs dovecot-lmtpd")
    with tempfile.TemporaryDirectory(prefix="dovecot-") as name:
        dovecot = Dovecot(Path(name))
        dovecot.directory.chmod(0o711)  # Dovecot gives up being root, and then has to pass
        home = dovecot.directory / "home"
        home.mkdir()
        shutil.chown(home, "dovecot", "dovecot")
        owner = home.stat()
        (dovecot.directory / "users").write_text(f"{USER}::{owner.st_uid}:{owner.st_gid}::{home}\n")
        configuration = dovecot.directory / "dovecot.conf"
        configuration.write_text(CONFIGURATION.format(directory=name, port=dovecot.port))
        with (dovecot.directory / "output").open("wb") as output:
            process = subprocess.Popen(
                [program, "-F", "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _wait(lambda: "starting up" in dovecot.log(), dovecot)
            yield dovecot
        finally:
            process.terminate()
            process.wait(PATIENCE)
            _wait(lambda: not is_listening(dovecot.port), dovecot)


def _wait(condition: Callable[[], object], dovecot: Dovecot) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError((dovecot.directory / "output").read_text() + dovecot.log())
        time.sleep(0.005)
