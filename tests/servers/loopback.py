"""What the loopback interface of this machine has to give: free ports, and IPv6 or not."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

FIRST_PORT = 12000
PORTS_EACH = 2500
WORKERS = 8
"""Below the ports that the kernel hands out by itself, a range for each worker of a test run."""

_NUMBERS = itertools.count()


def free_port() -> int:
    """Return a TCP port that nobody listens on, and that nobody else is going to take.

    For a server that cannot choose one itself, or to be refused at. No two calls return the same.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % WORKERS
    while True:
        port = FIRST_PORT + worker * PORTS_EACH + next(_NUMBERS) % PORTS_EACH
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def has_ipv6() -> bool:
    """Whether ``::1`` is an address of this machine."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def is_listening(port: int) -> bool:
    """Whether somebody takes connections to this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
