"""A real Dovecot for one test that takes mail over LMTP and gives it out over IMAP and POP3."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import needs
from tests.servers.dovecot import Daemon
from tests.servers.loopback import free_port

DOMAIN = "example.org"
USER = f"monitor@{DOMAIN}"
OTHER = f"other@{DOMAIN}"
PASSWORD = 's3cret "w\u00f6rd" \\'

NEEDED = {"lmtp": "dovecot-lmtpd", "imap": "dovecot-imapd", "pop3": "dovecot-pop3d"}
"""Programs, each a package of its own in Debian."""

CONFIGURATION = """\
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
hostname = mail.example.org
protocols = lmtp imap pop3
listen = 127.0.0.1

auth_failure_delay = 0
auth_mechanisms = plain login
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
}}
mail_location = maildir:~/mail
first_valid_uid = 1
# Where a message for monitor+Junk goes.
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
lda_mailbox_autocreate = yes

ssl = yes
ssl_cert = <{certificate}
ssl_key = <{certificate}

namespace inbox {{
  inbox = yes
  mailbox Junk {{
    auto = create
    {junk}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {port}
  }}
  unix_listener {directory}/lmtp {{
    mode = 0666
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
{further}
"""


class Mailboxes(Daemon):
    """A running Dovecot: ``path`` is its LMTP socket; the ports are by their schemes."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.path = str(directory / "lmtp")
        self.ports = {scheme: free_port() for scheme in ("imap", "imaps", "pop3", "pop3s")}

    def url(self, scheme: str = "imaps", folder: str = "", user: str = USER) -> str:
        """Return a mailbox as the plugin takes it."""
        host = f"localhost:{self.ports[scheme]}"
        return f"{scheme}://{user}@{host}" + (f"/{folder}" if folder else "")

    def folder(self, name: str = "", user: str = USER) -> Path:
        """Return where the messages of a folder are, in its subfolders new and cur."""
        inbox = self.directory / "home" / user / "mail"
        return inbox / f".{name}" if name else inbox

    def messages(self, name: str = "", user: str = USER) -> list[Path]:
        """Return the messages of a folder."""
        folder = self.folder(name, user)
        return sorted(path for sub in ("new", "cur") for path in (folder / sub).glob("*"))


@contextlib.contextmanager
def running(certificate: str, further: str = "", junk: str = "") -> Iterator[Mailboxes]:
    """Run a Dovecot with two mailboxes until the block ends.

    ``certificate`` is a file with certificate and key, ``further`` more configuration, ``junk``
    more for the folder Junk.
    """
    needs.root()
    needs.program("dovecot")
    for program, package in NEEDED.items():
        if not Path("/usr/lib/dovecot", program).exists():
            needs.leave_out(f"needs {package}")
    with tempfile.TemporaryDirectory(prefix="dovecot-") as name:
        dovecot = Mailboxes(Path(name))
        dovecot.directory.chmod(0o711)  # Dovecot gives up being root, and then has to pass
        (dovecot.directory / "home").mkdir()
        shutil.chown(dovecot.directory / "home", "dovecot", "dovecot")
        owner = (dovecot.directory / "home").stat()
        (dovecot.directory / "users").write_text(
            "".join(
                f"{user}:{{PLAIN}}{PASSWORD}:{owner.st_uid}:{owner.st_gid}::{name}/home/{user}\n"
                for user in (USER, OTHER)
            )
            # Two names of one mailbox.
            + f"copy@{DOMAIN}:{{PLAIN}}x:{owner.st_uid}:{owner.st_gid}::{name}/home/{USER}\n"
        )
        configuration = CONFIGURATION.format(
            directory=name,
            certificate=certificate,
            port=dovecot.port,
            further=further,
            junk=junk,
            **dovecot.ports,
        )
        with dovecot.running(configuration):
            yield dovecot
