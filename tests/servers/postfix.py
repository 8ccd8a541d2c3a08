"""A real Postfix for one test: directories of its own, loopback only, gone when the block ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests import needs
from tests.servers.loopback import free_port, has_ipv6, is_listening

NAME = "mail.example.org"

SETTINGS = {
    "compatibility_level": "3.6",
    "myhostname": NAME,
    "mydestination": "example.org",
    "mynetworks": "127.0.0.0/8 [::1]/128",
    "smtpd_peername_lookup": "no",
    # Their defaults want a proxymap service, which nothing else here would use.
    "alias_maps": "",
    "local_recipient_maps": "",
    # The pause for a queue manager that does not keep up; here is none at all.
    "in_flow_delay": "0",
}

SERVICES = """\
anvil   unix       - - n - 1 anvil
cleanup unix       n - n - 0 cleanup
rewrite unix       - - n - - trivial-rewrite
tlsmgr  unix       - - n - 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""
"""What smtpd talks to, short of delivering a message: nothing takes it out of the queue."""

DELIVERING = f"""\
{SERVICES}\
pickup  unix       n - n 60 1 pickup
qmgr    unix       n - n 1 1 qmgr
bounce  unix       - - n - 0 bounce
defer   unix       - - n - 0 bounce
trace   unix       - - n - 0 bounce
error   unix       - - n - - error
retry   unix       - - n - - error
lmtp    unix       - - n - - lmtp
"""
"""The same, and all that it takes to hand messages on to an LMTP server."""

FOLDERS = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "maildrop", "trace")
"""Those that such a Postfix has in its queue."""

PATIENCE = 10
"""Seconds that Postfix gets for anything; it needs some milliseconds."""


class Postfix:
    """A running Postfix: where to reach it, and what it logged."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port or free_port()

    def log(self) -> str:
        """Return all that Postfix has logged so far."""
        path = self.directory / "log"
        return path.read_text() if path.exists() else ""

    def queue(self) -> list[Path]:
        """Return the files of the messages that have been taken or begun."""
        return list((self.directory / "queue" / "incoming").iterdir())

    def sessions(self) -> list[str]:
        """Return what smtpd logged, without time stamps, once all sessions are over."""

        def lines() -> list[str]:
            return re.findall(r"postfix/smtpd\[\d+\]: (.*)", self.log())

        _wait(lambda: lines()[-1:] and lines()[-1].startswith("disconnect"), self)
        return lines()


def delivering(port: int, **settings: str) -> contextlib.AbstractContextManager[Postfix]:
    """Run a Postfix that hands the mail for its domain on to an LMTP server on loopback."""
    ours = {
        "mydestination": "",
        "virtual_mailbox_domains": "example.org",
        "virtual_mailbox_maps": "static:yes",
        "virtual_transport": f"lmtp:inet:127.0.0.1:{port}",
        "virtual_alias_maps": "",
        "local_transport": "error:nobody is local",
        "lmtp_host_lookup": "native",
        "soft_bounce": "no",
        "notify_classes": "",
    }
    return running(DELIVERING, **{**ours, **settings})


@contextlib.contextmanager
def running(
    services: str = SERVICES, port: int = 0, prefix: tuple[str, ...] = (), /, **settings: str
) -> Iterator[Postfix]:
    """Run a Postfix with these main.cf settings besides our own until the block ends.

    ``services`` are those of master.cf besides smtpd; on this port, where it matters which.
    ``prefix`` is a command that runs it in turn.
    """
    needs.root()
    postconf = needs.program("postconf")
    daemons = subprocess.check_output([postconf, "-dh", "daemon_directory"], text=True).strip()
    with tempfile.TemporaryDirectory(prefix="postfix-") as name:
        postfix = Postfix(Path(name), port)
        _configure(postfix, settings, services)
        with (postfix.directory / "output").open("wb") as output:
            process = subprocess.Popen(
                [*prefix, f"{daemons}/master", "-d", "-c", name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a process group of its own, which can be ended whole
            )
        try:
            _wait(lambda: "daemon started" in postfix.log(), postfix)
            yield postfix
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE)
            _wait(lambda: not is_listening(postfix.port), postfix)


def _configure(postfix: Postfix, settings: dict[str, str], services: str) -> None:
    directory = postfix.directory
    directory.chmod(0o711)  # Postfix gives up being root, and then has to pass
    for folder, owner in (
        ("queue", "root"),
        ("queue/pid", "root"),
        ("queue/private", "postfix"),
        ("queue/public", "postfix"),
        ("queue/incoming", "postfix"),
        *((f"queue/{folder}", "postfix") for folder in FOLDERS),
        ("data", "postfix"),
    ):
        (directory / folder).mkdir()
        shutil.chown(directory / folder, owner)
    places = {
        "queue_directory": f"{directory}/queue",
        "data_directory": f"{directory}/data",
        "maillog_file": f"{directory}/log",
        "maillog_file_prefixes": str(directory),
    }
    main = directory / "main.cf"
    chosen = {**SETTINGS, **places, **settings}
    main.write_text("".join(f"{key} = {value}\n" for key, value in chosen.items()))
    os.utime(main, (0, 0))  # Postfix waits until a file that has just changed is some seconds old
    # The second is for an MX host, which at 127.0.0.1 would not be probed.
    hosts = ("127.0.0.1", "127.0.0.2", *(("[::1]",) if has_ipv6() else ()))
    listeners = [f"{host}:{postfix.port} inet n - n - - smtpd\n" for host in hosts]
    (directory / "master.cf").write_text("".join(listeners) + services)


def _wait(condition: Callable[[], object], postfix: Postfix) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError((postfix.directory / "output").read_text() + postfix.log())
        time.sleep(0.005)
