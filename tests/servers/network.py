"""A private view of names: the plugin in a mount namespace with its own hosts and resolv.conf."""

from __future__ import annotations

import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import needs

ANSWERS = {"NXDOMAIN": 3, "SERVFAIL": 2, "REFUSED": 5}
"""What a name server can say, and its code (RFC 1035 section 4.1.1)."""


def private(
    tmp_path: Path, *, hosts: str = "", resolver: str = "", hostname: str = ""
) -> tuple[str, ...]:
    """Return what to put before a command so that it sees this network configuration.

    ``hosts`` is the text of /etc/hosts, ``resolver`` a name server's address.
    """
    needs.root()
    unshare = needs.program("unshare")
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
    (tmp_path / "resolv.conf").write_text(
        f"nameserver {resolver or '127.0.0.1'}\noptions attempts:5\n"
    )
    mounts = [
        f"mount --bind {shlex.quote(str(tmp_path / name))} /etc/{name}"
        for name in ("hosts", "resolv.conf")
    ]
    if hostname:
        mounts.append(f"hostname {shlex.quote(hostname)}")
    script = "; ".join(["set -e", *mounts, 'exec "$@"'])
    return (unshare, "--mount", "--uts", "sh", "-c", script, "sh")


@contextmanager
def name_server(code: int | None, address: str = "127.0.0.53") -> Iterator[list[bytes]]:
    """Serve every DNS question on port 53 with that code, or never where it is None.

    Yields the questions that came.
    """
    needs.root()
    asked: list[bytes] = []
    over = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        server.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                with suppress(socket.timeout):
                    question, peer = server.recvfrom(512)
                    asked.append(question)
                    if code is not None:
                        # The same header with QR, RA and the code set, the question, no answer.
                        header = (
                            question[:2] + bytes([0x81, 0x80 | code]) + question[4:6] + bytes(6)
                        )
                        server.sendto(header + question[12:], peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            over.set()
            thread.join()


@contextmanager
def full_backlog(address: str, port: int = 0) -> Iterator[int]:
    """Listen where no connection is ever answered, as behind a filter that drops SYN."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        where = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(where)
        try:
            yield where[1]
        finally:
            for one in waiting:
                one.close()
