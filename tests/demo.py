"""Shows a newcomer what the plugin says of a good server and of bad ones, or checks their own.

``python -m tests.demo`` ends with 0 exactly when all answers had the right state.
``python -m tests.demo HOST [OPTION ...]`` checks that host, and ends with 0 when the plugin could
tell its state (OK, WARNING or CRITICAL), for a bad state is an answer, too; with 1 otherwise.

It needs what ``tests/demo.txt`` lists, but no installed plugin: that is run from the checkout.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers import embedded, roundtrip
from tests.servers.authority import Authority
from tests.servers.scripted import Expect, Handshake, Hang, Message, ScriptedServer, Sleep

if TYPE_CHECKING:
    from tests.servers.scripted import Step

ROOT = Path(__file__).parents[1]

OK, WARNING, CRITICAL, UNKNOWN = range(4)

GREETING = b"220 mail.example.org ESMTP\r\n"
QUIT = (Expect(b"QUIT"), b"221 2.0.0 Bye\r\n")

REFUSING = (GREETING, Expect(b"HELO"), b"550 5.7.1 Access denied\r\n", *QUIT)

SILENT = (Hang(),)

TAKING = (
    *(GREETING, Expect(b"HELO"), b"250 mail.example.org\r\n"),
    *(Expect(b"MAIL"), b"250 2.1.0 Ok\r\n", Expect(b"RCPT"), b"250 2.1.5 Ok\r\n"),
    *(Expect(b"DATA"), b"354 Go ahead\r\n", Message(), b"250 2.0.0 Ok: queued\r\n"),
    *QUIT,
)


def securing(authority: Authority) -> tuple[Step, ...]:
    """Return what a server does whose certificate expires in five days."""
    offering = (Expect(b"EHLO"), b"250-mail.example.org\r\n250 STARTTLS\r\n")
    certificate = authority.serving("mail.example.org", days=5, since=-85)
    begins = (Expect(b"STARTTLS"), b"220 2.0.0 Ready\r\n", Handshake(certificate))
    return (GREETING, *offering, *begins, *offering, *QUIT)


def holding(authority: Authority) -> tuple[Step, ...]:
    """Return what the IMAP server does into whose mailbox a message comes after a second."""
    return (
        Handshake(authority.serving(embedded.HOST)),
        *roundtrip.IN,
        Sleep(1),
        *roundtrip.WHOLE[len(roundtrip.IN) :],
    )


class Demo:
    """Runs the plugin in a folder with the files that it is given; keeps the exit codes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.codes: list[int] = []

    def ask(self, port: int, *arguments: str) -> None:
        """Check a server of ours."""
        self.check("-H", embedded.HOST, "-p", str(port), *arguments, "-v")

    def check(self, *arguments: str) -> None:
        """Print the command and let the plugin answer, in colour on a terminal."""
        print(f"$ check_smtp_health {shlex.join(arguments)}", flush=True)
        code = subprocess.run(
            [sys.executable, "-m", "check_smtp_health", *arguments],
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        ).returncode
        print(f"(exit code {code})", flush=True)
        self.codes.append(code)


def main(arguments: list[str]) -> int:
    """Show the answers and return the exit code."""
    with tempfile.TemporaryDirectory() as name:
        demo = Demo(Path(name))
        if arguments:
            demo.check("-H", *arguments, "-v")
            return 0 if demo.codes[0] in (OK, WARNING, CRITICAL) else 1
        show(demo)
    return 0 if demo.codes == [OK, CRITICAL, CRITICAL, WARNING, OK] else 1


def show(demo: Demo) -> None:
    """Have the plugin check one server after another."""
    authority = Authority.made(demo.folder, "authority")
    password = demo.folder / "mailbox-password"
    password.touch(mode=0o600)
    password.write_text(f"{roundtrip.PASSWORD}\n")

    print("1. This mail server does its job:\n")
    with embedded.smtp() as port:
        demo.ask(port)
    print("\n2. This one greets, but refuses HELO:\n")
    with ScriptedServer(REFUSING).running() as server:
        demo.ask(server.port)
    print("\n3. This one accepts connections, but never says a word:\n")
    with ScriptedServer(SILENT).running() as server:
        demo.ask(server.port, "-t", "2")
    print("\n4. The certificate of this one expires in a few days:\n")
    with ScriptedServer(securing(authority)).running() as server:
        demo.ask(server.port, "-S", "--sni", "mail.example.org", "--ca-file", "authority.pem")
    print("\n5. A round trip: this one takes a message, which arrives in its mailbox:\n")
    smtp = ScriptedServer(TAKING)
    imap = ScriptedServer(holding(authority), edit=roundtrip.named(smtp))
    with smtp.running(), imap.running():
        demo.ask(
            *(smtp.port, "--rcpt", "me@mail.example.org", "--deliver"),
            *("--mailbox", f"imaps://me@{embedded.HOST}:{imap.port}"),
            *("--mailbox-pass-file", password.name, "--ca-file", "authority.pem"),
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
