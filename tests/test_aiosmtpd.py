"""Another real server, aiosmtpd: SMTP and LMTP, over TCP and over a Unix socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import plugin
from tests.servers import embedded

HEALTHY = "answered in # s (slowest: # # s)"
PERFDATA = "time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0"
REFUSED = "time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 quit=#s;;;0"


def answer(*arguments: str) -> tuple[int, str, str, str]:
    """Return exit code, status line, perfdata and standard error, what varies masked."""
    outcome = plugin.run(*arguments)
    line = outcome.line
    return outcome.code, line, outcome.perfdata, outcome.stderr


@pytest.mark.parametrize(
    "arguments", [(), ("--ehlo",), ("--require", "8BITMIME", "--require", "SIZE=33554432")]
)
def test_smtp(arguments: tuple[str, ...]) -> None:
    with embedded.smtp() as port:
        line = f"SMTP OK - 127.0.0.1:{port} {HEALTHY}"
        assert answer("-H", "127.0.0.1", "-p", str(port), *arguments) == (0, line, PERFDATA, "")


def test_lmtp() -> None:
    with embedded.lmtp() as port:
        line = f"SMTP OK - 127.0.0.1:{port} {HEALTHY}"
        assert answer("-H", "127.0.0.1", "-p", str(port), "-L") == (0, line, PERFDATA, "")


def test_lmtp_over_a_unix_socket(tmp_path: Path) -> None:
    path = f"{tmp_path}/lmtp"
    with embedded.lmtp_socket(path):
        assert answer("-H", path, "-L") == (0, f"SMTP OK - {path} {HEALTHY}", PERFDATA, "")


def test_lmtp_asked_of_an_smtp_server() -> None:
    with embedded.smtp() as port:
        line = (
            f"SMTP CRITICAL - 127.0.0.1:{port} "
            'helo: 500 Error: command "LHLO" not recognized (after # s)'
        )
        assert answer("-H", "127.0.0.1", "-p", str(port), "-L") == (2, line, REFUSED, "")


def test_smtp_asked_of_an_lmtp_server() -> None:
    with embedded.lmtp() as port:
        line = (
            f"SMTP CRITICAL - 127.0.0.1:{port} "
            'helo: 500 Error: command "HELO" not recognized (after # s)'
        )
        assert answer("-H", "127.0.0.1", "-p", str(port)) == (2, line, REFUSED, "")
