"""The programs that are compared: all three ask the same server the same questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.installed import install

if TYPE_CHECKING:
    from bench.server import Running

CHECK_SMTP = "/usr/lib/nagios/plugins/check_smtp"
USER, PASSWORD = "monitor", "secret"

IMPORTS = "import nagiosplugin, argparse, socket"
"""What any check with nagiosplugin begins with."""

OURS, PEER, SMTPLIB = "check_smtp_health", "check_smtp", "smtplib"


@dataclass(frozen=True)
class Contestant:
    """A program that answers a question, and the command that does."""

    question: str
    name: str
    command: tuple[str, ...]


def contestants(folder: Path, server: Running) -> tuple[Contestant, ...]:
    """Install what is to be compared in a folder; the first one is the measure of all others."""
    python, ours = install(folder / "environment")
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    # An instruction counter slows them down, and only some wait longer by themselves.
    host = ("-H", "127.0.0.1", "-t", "60", "-p")
    programs = {
        OURS: (ours, *host),
        PEER: (CHECK_SMTP, *host),
        SMTPLIB: (python, str(Path(__file__).with_name("smtplib_check.py")), *host),
    }
    trust = ("--ca-file", server.authority)
    login = ("-U", USER, "-P", PASSWORD)
    open_, refusing = str(server.port), str(server.refusing_port)
    questions: dict[str, dict[str, tuple[str, ...]]] = {
        "plain": dict.fromkeys(programs, (open_,)),
        "STARTTLS": {
            OURS: (open_, "-S", *trust),
            PEER: (open_, "-S", "-D", "14,3"),
            SMTPLIB: (open_, "-S", *trust),
        },
        "login": {
            OURS: (open_, "-S", *trust, "-U", USER, "--authpass-file", str(secret)),
            PEER: (open_, "-S", "-A", "LOGIN", *login),
            SMTPLIB: (open_, "-S", *trust, *login),
        },
        "refused": dict.fromkeys(programs, (refusing,)),
    }
    return (
        Contestant("imports", "Python", (python, "-c", IMPORTS)),
        Contestant("nothing", "Python", (python, "-c", "pass")),
        *(
            Contestant(question, name, (*programs[name], *arguments))
            for question, asked in questions.items()
            for name, arguments in asked.items()
            if Path(programs[name][0]).exists()
        ),
    )
