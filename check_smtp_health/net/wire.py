"""A connection that waits, though never beyond its deadline: socket and file for imaplib, poplib.

Their own timeouts hold for each read, so that a server which sends a byte now and then could keep
them for ever; and what they read has no bound. Here both have one.
"""

from __future__ import annotations

import selectors
import time

from check_smtp_health.errors import (
    Disconnected,
    LocalFault,
    NotTls,
    PeerFault,
    TimedOut,
    Violation,
)
from check_smtp_health.net.addresses import with_shares
from check_smtp_health.net.transport import Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.driver import Deadline
    from check_smtp_health.net.tls import Trust

REPLY_LIMIT = 4 * 1024 * 1024
"""Bytes that may follow a command: UIDL of 100,000 messages has 2.5 MB."""

LINES_LIMIT = 150 * 1000
"""Lines of the same, which cost more memory than the bytes in them."""

LINE_LIMIT = 1000 * 1000
"""Bytes of one line, as imaplib has it: the numbers of 100,000 messages stand in one."""


class Wire:
    """A connection to the first of the addresses that takes it.

    ``last`` is the last line that came, without its end: the server's own words, which the
    library's exceptions lose.
    """

    __slots__ = ("_buffer", "_deadline", "_lines", "_received", "_transport", "last")

    def __init__(self, addresses: Sequence[Address], deadline: Deadline) -> None:
        """Connect.

        Raises:
            PeerFault: no address takes the connection in its share of the time left.
        """
        self._deadline = deadline
        self._buffer = bytearray()
        self._received = self._lines = 0
        self._transport: Any = None  # a Transport, or a TlsTransport once TLS has begun
        self.last = b""
        fault: PeerFault | LocalFault | None = None
        for address, share in with_shares(addresses):
            try:
                self._connect(address, deadline.clock() + share * deadline.remaining())
                return
            except (PeerFault, LocalFault) as refused:
                fault = refused
                self.close()
        assert fault is not None
        raise fault

    def _connect(self, address: Address, expires: float) -> None:
        self._transport = transport = Transport(address, None)
        if not transport.connect(address):
            self._wait(transport.wants, expires)
            transport.connected()

    def _wait(self, wants: int, expires: float) -> None:
        remaining = expires - self._deadline.clock()
        with selectors.DefaultSelector() as selector:
            selector.register(self._transport, wants)
            if remaining <= 0 or not selector.select(remaining):
                raise TimedOut(self._deadline.seconds)

    def _until(self, done: Callable[[], Any]) -> Any:
        """Repeat what cannot be done at once until it is done, and return its result."""
        while True:
            if not self._deadline.remaining():
                raise TimedOut(self._deadline.seconds)
            result = done()
            if result is not None and result is not False:
                return result
            if self._transport.wants:
                self._wait(self._transport.wants, self._deadline.expires)
            else:
                self._transport.compute()

    def start_tls(self, trust: Trust, name: str, *, is_upgrade: bool) -> None:
        """Begin TLS; the certificate is verified, for that name.

        Raises:
            Violation: plaintext came where TLS was due, somebody else's (NO STARTTLS).
            PeerFault: there is no TLS to be had, or the certificate is not trusted.
        """
        if self._buffer:
            raise Violation("plaintext behind the reply, injected", bytes(self._buffer[:256]))
        self._transport = trust.upgrade(self._transport, name)
        try:
            self._until(self._transport.handshake)
        except NotTls as fault:
            if is_upgrade:
                raise Violation("plaintext in place of the handshake, injected") from fault
            raise

    def sendall(self, data: bytes) -> None:
        """Send all of it; what comes from now on is the answer to it."""
        self._received = self._lines = 0
        if not self._transport.send(data):
            self._wait(self._transport.wants, self._deadline.expires)
            self._until(self._transport.send)

    def _more(self) -> None:
        data = self._until(self._transport.receive)
        if not data:
            raise Disconnected("connection closed by the server", self.last)
        self._received += len(data)
        if self._received > REPLY_LIMIT:
            raise Violation(f"a reply longer than {REPLY_LIMIT} bytes", self.last)
        self._buffer += data

    def read(self, size: int) -> bytes:
        """Return exactly so many bytes."""
        if size > REPLY_LIMIT:
            raise Violation(f"a reply longer than {REPLY_LIMIT} bytes", self.last)
        while len(self._buffer) < size:
            self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def readline(self, limit: int = LINE_LIMIT) -> bytes:
        """Return a line with its end."""
        searched = 0
        while True:
            end = self._buffer.find(b"\n", searched, LINE_LIMIT)
            if end >= 0:
                self._lines += 1
                if self._lines > LINES_LIMIT:
                    raise Violation(f"a reply of more than {LINES_LIMIT} lines", self.last)
                line = self.read(end + 1)
                self.last = line[:512].rstrip(b"\r\n")
                return line
            if len(self._buffer) >= LINE_LIMIT:
                raise Violation(f"a line longer than {LINE_LIMIT} bytes", bytes(self._buffer[:256]))
            searched = len(self._buffer)
            self._more()

    def makefile(self, mode: str) -> Wire:
        """Return what lines are read from: this."""
        return self

    def shutdown(self, how: int) -> None:
        """Do nothing: ``close`` follows."""

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def pause(seconds: float) -> None:
    """Do nothing for so long. Blocks."""
    time.sleep(seconds)
