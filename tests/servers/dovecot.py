"""A real Dovecot for one test: it judges passwords, for a Postfix and in a submission service."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import needs
from tests.servers.loopback import free_port, is_listening

USER = "monitor@example.org"

MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2")

SUBMISSION = Path("/usr/lib/dovecot/submission")
"""A package of its own in Debian."""

PATIENCE = 10
"""Seconds that Dovecot gets for anything; it needs some milliseconds."""

CONFIGURATION = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
auth_verbose = yes
hostname = mail.example.org
protocols = submission
listen = 127.0.0.1

auth_mechanisms = {mechanisms}
# A wrong password costs two seconds otherwise, and the next one from the same address more.
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = static
  args = uid=dovecot gid=dovecot home={directory}/home allow_all_users=yes
}}
mail_location = maildir:{directory}/home/mail
first_valid_uid = 1

ssl = yes
ssl_cert = <{certificate}
ssl_key = <{certificate}

submission_relay_host = 127.0.0.1
submission_relay_port = {relay}

service auth {{
  unix_listener {directory}/sasl {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service submission-login {{
  inet_listener submission {{
    port = {port}
  }}
  inet_listener submissions {{
    port = {tls_port}
    ssl = yes
  }}
}}
"""


class Daemon:
    """A running Dovecot: its folder, its port, and what it logged."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()

    def log(self) -> str:
        """Return all that Dovecot has logged so far."""
        path = self.directory / "log"
        return path.read_text() if path.exists() else ""

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait for something to be so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError((self.directory / "output").read_text() + self.log())
            time.sleep(0.005)

    @contextlib.contextmanager
    def running(self, configuration: str) -> Iterator[None]:
        """Run it with this configuration until the block ends."""
        path = self.directory / "dovecot.conf"
        path.write_text(configuration)
        with (self.directory / "output").open("wb") as output:
            process = subprocess.Popen(
                [needs.program("dovecot"), "-F", "-c", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            self.wait(lambda: "starting up" in self.log())
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)
            self.wait(lambda: not is_listening(self.port))


class Dovecot(Daemon):
    """One that judges passwords.

    ``sasl`` is a socket at which Postfix may ask (smtpd_sasl_path), ``port`` is for submission,
    ``tls_port`` for submission with TLS from the first byte.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.sasl = str(directory / "sasl")
        self.tls_port = free_port()


@contextlib.contextmanager
def running(password: str, certificate: str, relay: int, further: str = "") -> Iterator[Dovecot]:
    """Run a Dovecot that knows ``USER`` with this password until the block ends.

    ``certificate`` is a file with certificate and key, ``further`` more configuration. ``relay`` is
    the port of the SMTP server on loopback to which the submission service turns after a login.
    """
    needs.root()
    needs.program("dovecot")
    if not SUBMISSION.exists():
        needs.leave_out("needs dovecot-submissiond")
    with tempfile.TemporaryDirectory(prefix="dovecot-") as name:
        dovecot = Dovecot(Path(name))
        dovecot.directory.chmod(0o711)  # Dovecot gives up being root, and then has to pass
        (dovecot.directory / "home").mkdir()
        shutil.chown(dovecot.directory / "home", "dovecot")
        # In clear: challenge and response needs the password itself.
        (dovecot.directory / "users").write_text(f"{USER}:{{PLAIN}}{password}\n")
        configuration = CONFIGURATION.format(
            directory=name,
            mechanisms=" ".join(MECHANISMS).lower(),
            certificate=certificate,
            relay=relay,
            port=dovecot.port,
            tls_port=dovecot.tls_port,
        )
        with dovecot.running(configuration + further):
            yield dovecot
