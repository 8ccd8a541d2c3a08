"""A real Dovecot for one test that takes mail over LMTP, by TCP and by a Unix socket."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import needs
from tests.servers.dovecot import Daemon

USER = "monitor@example.org"

LMTP = Path("/usr/lib/dovecot/lmtp")
"""A package of its own in Debian."""

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


class Dovecot(Daemon):
    """One that takes mail: ``path`` is its Unix socket."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.path = str(directory / "lmtp")

    def sessions(self, number: int) -> list[str]:
        """Return what it logged of so many sessions, without times, once they are over."""

        def lines() -> list[str]:
            return re.findall(r" lmtp\(\d+\): Info: (.*)", self.log())

        self.wait(lambda: sum(line.startswith("Disconnect") for line in lines()) == number)
        return lines()


@contextlib.contextmanager
def running(more: str = "") -> Iterator[Dovecot]:
    """Run a Dovecot that takes mail for ``USER`` until the block ends, with more settings."""
    needs.root()
    needs.program("dovecot")
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
        with dovecot.running(CONFIGURATION.format(directory=name, port=dovecot.port) + more):
            yield dovecot
