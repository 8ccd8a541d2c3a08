"""A real Exim for one test: TLS by GnuTLS, one user, gone when the block ends."""

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
from tests.servers.loopback import free_port, is_listening

USER = "monitor@example.org"

UNPACKED = Path("/var/cache/check_smtp_health-tests/exim4")
"""Where ``tests/servers/install`` puts it, for as a package it would put Postfix out."""

OWNER = "Debian-exim"

PATIENCE = 10
"""Seconds that Exim gets for anything; it needs some milliseconds."""

CONFIGURATION = """\
primary_hostname = mail.example.org
spool_directory = {directory}/spool
log_file_path = {directory}/log.%s
pid_file_path = {directory}/pid
log_selector = +smtp_connection +smtp_no_mail -pid
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port} : {tls_port}
tls_on_connect_ports = {tls_port}

tls_advertise_hosts = *
tls_certificate = {directory}/certificate
tls_privatekey = {directory}/certificate
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
{verifying}

begin authenticators

plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2

login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{$auth1}}{{{user}}}}}{{eq{{$auth2}}{{{password}}}}}}}}}
  server_set_id = $auth1

cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{user}}}{{{password}}}fail}}
  server_set_id = $auth1
"""


class Exim:
    """A running Exim: where to reach it, and what it logged.

    ``port`` is for STARTTLS, ``tls_port`` for TLS from the first byte.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.tls_port = free_port()

    def log(self) -> str:
        """Return all that Exim has logged so far."""
        path = self.directory / "log.main"
        return path.read_text() if path.exists() else ""

    def session(self) -> list[str]:
        """Return what Exim logged of the only session, without times and ciphers, once it is over.

        The last line has what the client said, ``C=EHLO,QUIT``.
        """
        _wait(lambda: " D=" in self.log(), self)
        lines = [line[len("2000-01-01 00:00:00 ") :] for line in self.log().splitlines()[1:]]
        return [re.sub(r" \(TCP.*| [DX]=\S+", "", line) for line in lines]


@contextlib.contextmanager
def running(
    password: str, certificate: str, authorities: str | None = None, more: str = ""
) -> Iterator[Exim]:
    """Run an Exim that knows ``USER`` with this password, which is free of ``$ { }``.

    ``certificate`` is a file with certificate and key, ``authorities`` one with the authorities
    one of which must have signed the client's certificate, ``more`` are further settings.
    """
    needs.root()
    program = _program()
    with tempfile.TemporaryDirectory(prefix="exim-") as name:
        exim = Exim(Path(name))
        for path, source in (("certificate", certificate), ("authorities", authorities)):
            if source is not None:
                shutil.copy(source, exim.directory / path)
                shutil.chown(exim.directory / path, OWNER)
        verifying = f"tls_verify_hosts = *\ntls_verify_certificates = {name}/authorities"
        configuration = exim.directory / "configuration"
        configuration.write_text(
            CONFIGURATION.format(
                directory=name,
                port=exim.port,
                tls_port=exim.tls_port,
                user=USER,
                password=password,
                verifying=(verifying if authorities is not None else "") + more,
            )
        )
        # The certificate is read, and the log is written, once Exim has given up being root.
        shutil.chown(exim.directory, OWNER)
        with (exim.directory / "output").open("wb") as output:
            process = subprocess.Popen(
                [program, "-bdf", "-C", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a process group of its own, which can be ended whole
            )
        try:
            _wait(lambda: "daemon started" in exim.log(), exim)
            yield exim
        finally:
            # Asked politely, a session would log its end and make the directory anew for that.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
            _wait(lambda: not is_listening(exim.port), exim)


def _program() -> str:
    return str(UNPACKED) if UNPACKED.exists() else needs.program("exim4")


def _wait(condition: Callable[[], object], exim: Exim) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError((exim.directory / "output").read_text() + exim.log())
        time.sleep(0.005)
