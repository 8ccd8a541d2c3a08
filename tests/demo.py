"""Shows a newcomer what a good answer and two bad ones look like, or checks a host of theirs.

``python -m tests.demo`` ends with 0 exactly when all three answers were the right ones.
``python -m tests.demo HOST [OPTION ...]`` checks that host, and ends with 0 when the plugin could
tell its state (OK, WARNING or CRITICAL), for a bad state is an answer, too; with 1 otherwise.
"""

from __future__ import annotations

import shlex
import sys

from tests import plugin
from tests.servers import embedded
from tests.servers.scripted import Expect, Hang, ScriptedServer

STATES = ("OK", "WARNING", "CRITICAL")

REFUSING = (
    b"220 mail.example.org ESMTP\r\n",
    Expect(b"HELO"),
    b"550 5.7.1 Access denied\r\n",
    Expect(b"QUIT"),
    b"221 2.0.0 Bye\r\n",
)


def main(arguments: list[str]) -> int:
    """Show the answers and return the exit code."""
    if arguments:
        return 0 if check("-H", *arguments, "-v") in STATES else 1
    states = []
    print("This mail server does its job (aiosmtpd, embedded here):\n")
    with embedded.smtp() as port:
        states.append(check("-H", embedded.HOST, "-p", str(port), "-v"))
    print("\nThis one greets, but refuses HELO:\n")
    with ScriptedServer(REFUSING).running() as server:
        states.append(check("-H", server.address, "-p", str(server.port), "-v"))
    print("\nThis one takes connections, but never says a word:\n")
    with ScriptedServer([Hang()]).running() as server:
        states.append(check("-H", server.address, "-p", str(server.port), "-v", "-t", "2"))
    return 0 if states == ["OK", "CRITICAL", "CRITICAL"] else 1


def check(*arguments: str) -> str:
    """Run the plugin, print command and answer, and return the state.

    Empty where line and exit code do not say the same.
    """
    print(f"$ {plugin.SCRIPT.name} {shlex.join(arguments)}", flush=True)
    outcome = plugin.run(*arguments)
    print(outcome.stdout, outcome.stderr, f"(exit code {outcome.code})", sep="")
    word = outcome.stdout.removeprefix("SMTP ").partition(" ")[0]
    return word if STATES[outcome.code : outcome.code + 1] == (word,) else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
