"""A name server that answers anything but what is so."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable, Iterator

from tests import needs

Lie = Callable[[bytes], bytes]


def answered(question: bytes, *records: bytes, flags: int = 0x8180) -> bytes:
    """Return a DNS answer of these records to a question (RFC 1035 section 4.1)."""
    numbers = b"".join(n.to_bytes(2, "big") for n in (flags, 1, len(records), 0, 0))
    end = question.index(b"\0", 12) + 5
    return question[:2] + numbers + question[12:end] + b"".join(records)


def record(owner: bytes, kind: int, data: bytes) -> bytes:
    """Return a resource record of the class IN."""
    return owner + bytes([0, kind, 0, 1, 0, 0, 0, 9]) + len(data).to_bytes(2, "big") + data


def label(text: bytes) -> bytes:
    """Return a domain name of one label."""
    return bytes([len(text)]) + text + b"\0"


@contextlib.contextmanager
def lying(lie: Lie, address: str = "127.0.0.53") -> Iterator[None]:
    """Answer every DNS question with a lie."""
    needs.root()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            question, server = self.request
            server.sendto(lie(question), self.client_address)

    with socketserver.UDPServer((address, 53), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
