"""A real proxy for one test: tinyproxy, which connects to port 443 for whoever asks."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from tests import needs
from tests.servers import network
from tests.servers.loopback import free_port
from tests.servers.process import started

CONFIGURATION = """\
Port {port}
Listen 127.0.0.1
Timeout 10
ConnectPort 443
MaxClients 5
LogLevel Connect
"""


@contextlib.contextmanager
def running(folder: Path, hosts: str, login: str = "") -> Iterator[int]:
    """Serve on the port that is yielded; ``hosts`` is its /etc/hosts, ``login`` USER PASSWORD."""
    program, port = needs.program("tinyproxy"), free_port()
    text = CONFIGURATION.format(port=port) + (f"BasicAuth {login}\n" if login else "")
    (folder / "tinyproxy.conf").write_text(text)
    prefix = network.private(folder, hosts=hosts)
    command = [*prefix, program, "-d", "-c", str(folder / "tinyproxy.conf")]
    with started(command, folder / "tinyproxy.log", lambda: _listens(port)):
        yield port


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
