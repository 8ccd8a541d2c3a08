"""A name server that says what a test wants, over UDP and, where it is to listen there, TCP."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Optional

ANSWERS = {"NXDOMAIN": 3, "SERVFAIL": 2, "REFUSED": 5}
"""What a name server can say, and its code (RFC 1035 section 4.1.1)."""

_TYPES = {"A": 1, "CNAME": 5, "AAAA": 28}

Says = Callable[[bytes], Optional[bytes]]
"""From a question, as it came, to the answer, as it goes out; None for silence."""


def silence(_: bytes) -> None:
    """Say nothing."""


def code(number: int) -> Says:
    """Say that code and nothing else."""
    return lambda question: message(question, code=number)


def address(text: str) -> Says:
    """Say that the name has this IPv4 address, and no other."""
    record = _record("A", socket.inet_aton(text))
    return lambda question: message(question, *([record] if asks(question, "A") else []))


def for_ipv4_alone(says: Says, otherwise: Says = silence) -> Says:
    """Answer as ``says`` does where an IPv4 address is asked for, and else as ``otherwise``."""
    return lambda question: (says if asks(question, "A") else otherwise)(question)


def truncated(question: bytes) -> bytes:
    """Say that the answer is too long for UDP."""
    return message(question, flags=0x0200)


def loop(question: bytes) -> bytes:
    """Say that the name is an alias of an alias of the name."""
    name, other = question[12 : _end(question)], b"\5alias\7example\0"
    return message(question, _record("CNAME", other), _record("CNAME", name, of=other))


def garbage(_: bytes) -> bytes:
    """Say nothing that makes sense."""
    return b"\xff" * 40


def stump(question: bytes) -> bytes:
    """Say less than a header."""
    return question[:3]


def forged(says: Says) -> Says:
    """Answer under another number than the question's."""
    return _altered(says, lambda answer: bytes(byte ^ 0xFF for byte in answer[:2]) + answer[2:])


def astray(says: Says) -> Says:
    """Answer for a name that was not asked for."""
    return _altered(says, lambda answer: answer[:13] + b"z" + answer[14:])


def cut(says: Says) -> Says:
    """Break off in the middle of the last record."""
    return _altered(says, lambda answer: answer[:-3])


def _altered(says: Says, change: Callable[[bytes], bytes]) -> Says:
    def altered(question: bytes) -> bytes | None:
        answer = says(question)
        return answer and change(answer)

    return altered


def message(question: bytes, *records: bytes, code: int = 0, flags: int = 0) -> bytes:
    """Return an answer with these records (RFC 1035 section 4.1)."""
    header = struct.pack(">HHHHH", 0x8180 | flags | code, 1, len(records), 0, 0)
    return question[:2] + header + question[12 : _end(question) + 4] + b"".join(records)


def asks(question: bytes, kind: str) -> bool:
    """Whether a question is for records of that kind."""
    end = _end(question)
    return question[end : end + 2] == struct.pack(">H", _TYPES[kind])


def _end(question: bytes) -> int:
    return question.index(0, 12) + 1


def _record(kind: str, data: bytes, of: bytes = b"\xc0\x0c") -> bytes:
    """Return a record, by default of the name that was asked for."""
    return of + struct.pack(">HHIH", _TYPES[kind], 1, 60, len(data)) + data


@dataclass(frozen=True)
class NameServer:
    """What it says over UDP, after so many seconds, and over TCP, where None has it refuse."""

    udp: Says
    tcp: Says | None = None
    seconds: float = 0.0
    address: str = "127.0.0.1"

    @contextmanager
    def running(self, moments: list[float]) -> Iterator[None]:
        """Serve port 53 until the block ends; note the moment of each question by UDP."""
        over = threading.Event()
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams, socket.socket() as listener:
            datagrams.bind((self.address, 53))
            threads = [threading.Thread(target=self._serve_udp, args=(datagrams, moments, over))]
            if self.tcp is not None:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self.address, 53))
                listener.listen()
                threads.append(threading.Thread(target=self._serve_tcp, args=(listener, over)))
            for one in (datagrams, listener):
                one.settimeout(0.05)
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                over.set()
                for thread in threads:
                    thread.join()

    def _serve_udp(
        self, datagrams: socket.socket, moments: list[float], over: threading.Event
    ) -> None:
        while not over.is_set():
            with suppress(socket.timeout):
                question, peer = datagrams.recvfrom(512)
                moments.append(time.monotonic())
                answer = self.udp(question)
                over.wait(self.seconds)
                if answer is not None:
                    datagrams.sendto(answer, peer)

    def _serve_tcp(self, listener: socket.socket, over: threading.Event) -> None:
        assert self.tcp is not None
        while not over.is_set():
            with suppress(socket.timeout):
                connection, _ = listener.accept()
                with connection:
                    self._talk(connection, over)

    def _talk(self, connection: socket.socket, over: threading.Event) -> None:
        """Answer questions, each behind its length, until the client has gone."""
        assert self.tcp is not None
        connection.settimeout(0.05)
        buffer = b""
        while not over.is_set():
            with suppress(socket.timeout):
                data = connection.recv(4096)
                if not data:
                    return
                buffer += data
            while len(buffer) >= 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2], "big"):
                length = 2 + int.from_bytes(buffer[:2], "big")
                answer = self.tcp(buffer[2:length])
                buffer = buffer[length:]
                if answer is not None:
                    connection.sendall(struct.pack(">H", len(answer)) + answer)
