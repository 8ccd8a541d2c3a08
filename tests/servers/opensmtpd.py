"""A real OpenSMTPD for one test, with the users and folders that it insists on out of sight."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import needs
from tests.servers.loopback import free_port, is_listening

UNPACKED = Path("/var/cache/check_smtp_health-tests/opensmtpd")
"""Where ``tests/servers/install`` puts it, for as a package it would put Postfix out."""

PATIENCE = 10
"""Seconds that OpenSMTPD gets for anything; it needs some milliseconds."""

CONFIGURATION = """\
listen on 127.0.0.1 port {port} hostname mail.example.org
table users {{ "{known}" = "nobody" }}
action "local" mbox virtual <users>
action "relay" relay
match from any for domain "example.org" action "local"
{rules}
"""

HOUSE = """\
mount --bind passwd /etc/passwd
mount --bind group /etc/group
for folder in /run /var/lib /var/spool; do
    mount -t tmpfs tmpfs "$folder"
done
mkdir -p -m 755 /var/lib/opensmtpd/empty
mkdir -m 711 /var/spool/smtpd
exec "$1" -d -f "$PWD/smtpd.conf"
"""
"""Its paths are compiled in: it gets them in a mount namespace of its own, where nothing stays."""

USERS = (("opensmtpd", 60001), ("opensmtpq", 60002))


class OpenSmtpd:
    """A running OpenSMTPD: where to reach it, and what it logged."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()

    def log(self) -> str:
        """Return all that OpenSMTPD has logged so far."""
        return (self.directory / "output").read_text()

    def sessions(self) -> list[list[str]]:
        """Return what it logged of each session that is over."""
        sessions: dict[str, list[str]] = {}
        for number, line in re.findall(r"^([0-9a-f]{16}) smtp (.*)", self.log(), re.MULTILINE):
            sessions.setdefault(number, []).append(line)
        return [lines for lines in sessions.values() if lines[-1].startswith("disconnected")]

    def session(self) -> list[str]:
        """Return what it logged of the only session, once it is over."""
        # The first one was to see whether it listens.
        _wait(lambda: len(self.sessions()) == 2, self)
        return self.sessions()[1]


@contextlib.contextmanager
def running(known: str, *rules: str) -> Iterator[OpenSmtpd]:
    """Run an OpenSMTPD that has this recipient in its domain until the block ends.

    ``rules`` are further lines of its configuration.
    """
    needs.root()
    unshare = needs.program("unshare")
    program = str(UNPACKED) if UNPACKED.exists() else needs.program("smtpd")
    if subprocess.run([unshare, "--mount", "true"], capture_output=True, check=False).returncode:
        needs.leave_out("needs mount namespaces")
    with tempfile.TemporaryDirectory(prefix="opensmtpd-") as name:
        server = OpenSmtpd(Path(name))
        server.directory.chmod(0o711)
        _configure(server, known, rules)
        with (server.directory / "output").open("wb") as output:
            process = subprocess.Popen(
                [unshare, "--mount", "sh", "-euc", HOUSE, "sh", program],
                cwd=server.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a process group of its own, which can be ended whole
            )
        try:
            _wait(lambda: process.poll() is None and is_listening(server.port), server)
            _wait(server.sessions, server)
            yield server
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE)
            _wait(lambda: not is_listening(server.port), server)


def _configure(server: OpenSmtpd, known: str, rules: tuple[str, ...]) -> None:
    (server.directory / "smtpd.conf").write_text(
        CONFIGURATION.format(port=server.port, known=known, rules="\n".join(rules))
    )
    people = [f"{user}:x:{number}:{number}::/var/lib/opensmtpd/empty:" for user, number in USERS]
    groups = [f"{user}:x:{number}:" for user, number in USERS]
    for file, lines in (("passwd", people), ("group", groups)):
        known_here = Path("/etc", file).read_text()
        (server.directory / file).write_text(known_here + "".join(f"{line}\n" for line in lines))


def _wait(condition: Callable[[], object], server: OpenSmtpd) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(server.log())
        time.sleep(0.005)
