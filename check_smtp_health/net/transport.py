"""One non-blocking connection. The only place where an OSError becomes one of our faults."""

from __future__ import annotations

import errno
import os
import selectors
import socket

from check_smtp_health.errors import (
    EXHAUSTED,
    Busy,
    Disconnected,
    LocalFault,
    SessionFault,
    Unreachable,
)
from check_smtp_health.net.addresses import Address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.errors import Reason

CHUNK = 16 * 1024
"""Bytes read at once; more than any sane reply, less than a hostile server could make us hold."""

_OURS = {*EXHAUSTED, errno.EADDRNOTAVAIL}

# What is meant where the kernel's own words would mislead.
_MEANT = {
    errno.EACCES: "prohibited by a route, firewall or SELinux",
    errno.EINVAL: "no usable route",  # above all a blackhole route of this host
}

_REASONS: dict[int | None, Reason] = {
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "no route",
    errno.ENETUNREACH: "no route",
    errno.EINVAL: "no route",
    errno.EACCES: "prohibited",
    errno.ETIMEDOUT: "unanswered",
}


class Transport:
    """A connection that never waits: each method does what can be done at once.

    Each says whether it is done; where not, ``wants`` is the selector event to wait for before
    it is called again (``connected`` after ``connect``).
    """

    __slots__ = ("_early", "_family", "_rest", "_socket", "wants")

    def __init__(self, address: Address, source: str | None, *, datagrams: bool = False) -> None:
        self._early: Disconnected | None = None
        self._family = address.family
        self._rest: bytes | memoryview = b""
        self.wants = 0
        try:
            kind = socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM
            self._socket = socket.socket(address.family, kind)
        except OSError as error:
            raise _not_opened(error, address) from error
        self._socket.setblocking(False)
        if not datagrams and address.family != socket.AF_UNIX:
            # What follows a handshake would wait 40 ms for the ACK of its last message.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source is not None:
            try:
                self._socket.bind((source, 0))
            except OSError as error:
                self._socket.close()
                raise LocalFault(f"cannot connect from {source}: {_reason(error)}") from error

    def fileno(self) -> int:
        """Return the file descriptor, for a selector."""
        return self._socket.fileno()

    def connect(self, address: Address) -> bool:
        """Begin connecting; True if it is done at once, as with a Unix socket."""
        code = self._socket.connect_ex(address.sockaddr)
        if code == errno.EINPROGRESS:
            self.wants = selectors.EVENT_WRITE
            return False
        if code:
            raise _not_opened(OSError(code, os.strerror(code)), address)
        return True

    def connected(self) -> bool:
        """Finish connecting, once the socket is writable."""
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code in (errno.ECONNRESET, errno.EPIPE):
            # It was up, and reset before we looked: for the next read to say, as it would have
            # if we had looked a moment earlier.
            self._early = lost(OSError(code, os.strerror(code)))
        elif code:
            raise _not_opened(OSError(code, os.strerror(code)), self.local())
        return True

    def local(self) -> Address:
        """Return the connection's local end."""
        return Address._make((self._family, self._socket.getsockname()))

    def receive(self, size: int = CHUNK) -> bytes | None:
        """Return what has come, ``b""`` at the connection's end, None while nothing has."""
        if self._early is not None:
            raise self._early
        try:
            return self._socket.recv(size)
        except BlockingIOError:
            self.wants = selectors.EVENT_READ
            return None
        except OSError as error:
            raise lost(error) from error

    def send(self, data: bytes | None = None) -> bool:
        """Send ``data``, or without it what was left last time; True once nothing is left."""
        rest = self._rest if data is None else data
        while rest:
            try:
                sent = self._socket.send(rest)
                rest = b"" if sent == len(rest) else memoryview(rest)[sent:]
                self._rest = rest
            except BlockingIOError:
                self._rest = rest
                self.wants = selectors.EVENT_WRITE
                return False
            except OSError as error:
                raise lost(error) from error
        return True

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno else str(error)
    return text[:1].lower() + text[1:]


def _not_opened(error: OSError, address: Address) -> SessionFault:
    reason = _reason(error)
    if address.family == socket.AF_UNIX:
        if error.errno == errno.EAGAIN:
            return Busy("no answer, its backlog is full")
        if error.errno in (errno.EACCES, errno.EPERM):
            return LocalFault(reason)  # the socket is not for this user
    elif error.errno in _MEANT:
        reason = f"{_MEANT[error.errno]} ({reason})"
    if error.errno in _OURS:
        return LocalFault(reason)
    return Unreachable(reason, reason=_REASONS.get(error.errno, ""))


def lost(error: OSError) -> Disconnected:
    """Return the fault for a connection that broke."""
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return Disconnected("connection reset by the server", reason="reset")
    return Disconnected(_reason(error))
