"""A real Cyrus for one test that takes mail over LMTP and gives it out over IMAP and POP3."""

from __future__ import annotations

import contextlib
import imaplib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import needs
from tests.servers.loopback import free_port, is_listening
from tests.servers.process import started

UNPACKED = Path("/var/cache/check_smtp_health-tests")
"""Where ``tests/servers/install`` puts it, for as a package it would put Dovecot out."""

PROGRAMS = Path("/usr/lib/cyrus/bin")

DOMAIN = "example.org"
USER = f"monitor@{DOMAIN}"
PASSWORD = "s3cret"

CONFIGURATION = """\
configdirectory: {directory}/config
defaultpartition: default
partition-default: {directory}/spool
servername: mail.example.org
virtdomains: userid
defaultdomain: internal.example
unixhierarchysep: yes
altnamespace: yes

sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {directory}/users
sasl_mech_list: PLAIN
allowplaintext: yes
failedloginpause: 0
{further}

autocreate_quota: {quota}
autocreate_post: yes
autocreate_inbox_folders: Junk|Trash|Sent
xlist-junk: Junk
xlist-trash: Trash

tls_server_cert: {certificate}
tls_server_key: {certificate}
"""

SERVICES = """\
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {directory}/imapd.conf -r"
}}
SERVICES {{
  lmtp cmd="{programs}/lmtpd -C {directory}/imapd.conf -a" listen="127.0.0.1:{lmtp}" proto="tcp4"
  imap cmd="{unpacked}/cyrus-imapd -C {directory}/imapd.conf" listen="127.0.0.1:{imap}" proto="tcp4"
  pop3 cmd="{unpacked}/cyrus-pop3d -C {directory}/imapd.conf" listen="127.0.0.1:{pop3}" proto="tcp4"
}}
"""


@dataclass
class Cyrus:
    """A running Cyrus: its folder, and its ports by protocol."""

    directory: Path
    ports: dict[str, int] = field(
        default_factory=lambda: {name: free_port() for name in ("lmtp", "imap", "pop3")}
    )

    def url(self, scheme: str = "imap", folder: str = "", user: str = USER) -> str:
        """Return a mailbox as the plugin takes it."""
        return f"{scheme}://{user}@localhost:{self.ports[scheme]}/{folder}".rstrip("/")

    @contextlib.contextmanager
    def client(self) -> Iterator[imaplib.IMAP4]:
        """Log in as another client of the mailbox."""
        with imaplib.IMAP4("127.0.0.1", self.ports["imap"]) as client:
            client.login(USER, PASSWORD)
            yield client

    def messages(self, folder: str = "INBOX") -> list[bytes]:
        """Return the headers of the messages in a folder."""
        with self.client() as client:
            client.select(folder, readonly=True)
            numbers = client.search(None, "ALL")[1][0].split()
            fetched = [client.fetch(one.decode(), "(RFC822.HEADER)")[1][0] for one in numbers]
            return [one[1] for one in fetched if isinstance(one, tuple)]

    def put(self, message: bytes, folder: str = "INBOX") -> None:
        """Put a message into a folder."""
        with self.client() as client:
            client.append(folder, "", "", message)


@contextlib.contextmanager
def running(certificate: str, quota: int = 1000, further: str = "") -> Iterator[Cyrus]:
    """Run a Cyrus that makes a mailbox for whoever gets mail, until the block ends.

    ``certificate`` is a file with certificate and key, ``quota`` the KiB of a mailbox, ``further``
    more configuration.
    """
    needs.root()
    for program in (UNPACKED / "cyrus-imapd", UNPACKED / "cyrus-pop3d", PROGRAMS / "master"):
        if not program.exists():
            needs.leave_out(f"needs {program}")
    with tempfile.TemporaryDirectory(prefix="cyrus-") as name:
        cyrus = Cyrus(Path(name))
        words = {"directory": name, "programs": PROGRAMS, "unpacked": UNPACKED}
        for folder in ("config", "spool"):
            (cyrus.directory / folder).mkdir()
        shutil.copy(certificate, cyrus.directory / "certificate")
        settings = {"certificate": f"{name}/certificate", "quota": quota, "further": further}
        (cyrus.directory / "imapd.conf").write_text(CONFIGURATION.format(**words, **settings))
        (cyrus.directory / "cyrus.conf").write_text(SERVICES.format(**words, **cyrus.ports))
        subprocess.run(
            [
                *(needs.program("saslpasswd2"), "-p", "-c", "-f", f"{name}/users"),
                *("-u", DOMAIN, USER.partition("@")[0]),
            ],
            input=PASSWORD.encode(),
            check=True,
        )
        for path in (cyrus.directory, *cyrus.directory.iterdir()):
            shutil.chown(path, "cyrus", "mail")
        command = [
            *(needs.program("setsid"), str(PROGRAMS / "master"), "-p", f"{name}/pid"),
            *("-C", f"{name}/imapd.conf", "-M", f"{name}/cyrus.conf"),
        ]
        with started(
            command,
            cyrus.directory / "output",
            lambda: all(map(is_listening, cyrus.ports.values())),
        ) as master:
            try:
                yield cyrus
            finally:
                # Asked to end, it may wait for a service that has ended already.
                os.killpg(master.pid, signal.SIGKILL)
