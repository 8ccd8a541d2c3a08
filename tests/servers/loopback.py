"""What the loopback interface of this machine has to give: free ports, and IPv6 or not."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a TCP port that nobody listens on, for a server that cannot choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
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
