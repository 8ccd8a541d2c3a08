"""Two mail servers to be checked: one does its job, the other has lost its table of users."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.authority import Authority
from tests.servers.scripted import Expect, Handshake, ScriptedServer, Sleep, Step

if TYPE_CHECKING:
    import ssl

HEALTHY, FAILING = "mail.example.org", "mail2.example.org"

HOSTS = {HEALTHY: "192.0.2.25", FAILING: "192.0.2.26"}
"""Addresses that are for documentation (RFC 5737), and in our namespace on loopback."""

PORT = 587

RECIPIENT = "postmaster@example.org"

PASSWORD = "smtp-password"
"""The name of its file."""

SECONDS = {
    "banner": 0.028,
    "helo": 0.006,
    "starttls": 0.004,
    "auth": 0.019,
    "mail": 0.009,
    "rcpt": 0.014,
}
"""What each reply takes; the others take none."""

REJECTED = (
    b"550 5.1.1 <" + RECIPIENT.encode() + b">: Recipient address rejected: "
    b"User unknown in virtual mailbox table\r\n"
)
"""What Postfix says where its table of users is gone."""


class World:
    """Where certificate and password are, and the options of a check that asks for everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.made(folder, "authority")
        self.environment = {"SSL_CERT_FILE": self.authority.path}
        (folder / PASSWORD).write_text("s3cret\n")
        (folder / PASSWORD).chmod(0o600)

    def options(self, host: str) -> tuple[str, ...]:
        """Return the options, for runs in that folder and environment."""
        return (
            *("-H", host, "-p", str(PORT), "-S", "-U", "monitor", "--authpass-file", PASSWORD),
            *("--rcpt", RECIPIENT, "-w", "1", "-c", "5"),
        )

    @contextlib.contextmanager
    def serving(self, *, is_broken: bool) -> Iterator[None]:
        """Run both servers until the block ends; the second may know no recipient any more."""
        with contextlib.ExitStack() as stack:
            for host, address in HOSTS.items():
                certificate = self.authority.serving(host, days=59)
                script = _Session(host, certificate, is_broken=is_broken and host == FAILING)
                server = ScriptedServer(script, address=address, port=PORT)
                stack.enter_context(server.running())
            yield


@dataclass(frozen=True)
class _Session:
    """A script whose pauses are a little different each time."""

    host: str
    certificate: ssl.SSLContext
    is_broken: bool

    def __iter__(self) -> Iterator[Step]:
        host = self.host.encode()
        yield from _after("banner", b"220 " + host + b" ESMTP Postfix\r\n")
        yield Expect(b"EHLO")
        yield from _after("helo", b"250-" + host + b"\r\n250-STARTTLS\r\n250 SIZE 30000000\r\n")
        yield Expect(b"STARTTLS")
        yield from _after("starttls", b"220 2.0.0 Ready to start TLS\r\n")
        yield Handshake(self.certificate)
        yield Expect(b"EHLO")
        yield from _after("helo", b"250-" + host + b"\r\n250-AUTH PLAIN\r\n250 SIZE 30000000\r\n")
        yield Expect(b"AUTH PLAIN")
        yield from _after("auth", b"235 2.7.0 Authentication successful\r\n")
        yield Expect(b"MAIL")
        yield from _after("mail", b"250 2.1.0 Ok\r\n")
        yield Expect(b"RCPT")
        yield from _after("rcpt", REJECTED if self.is_broken else b"250 2.1.5 Ok\r\n")
        yield from (Expect(b"RSET"), b"250 2.0.0 Ok\r\n")
        yield from (Expect(b"QUIT"), b"221 2.0.0 Bye\r\n")


def _after(stage: str, reply: bytes) -> tuple[Step, ...]:
    return (Sleep(SECONDS[stage] * random.uniform(0.6, 1.8)), reply)
