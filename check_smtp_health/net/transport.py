"""One non-blocking connection. The only place where an OSError becomes a fault of ours."""

from __future__ import annotations

import errno
import os
import socket

from check_smtp_health.errors import Disconnected, LocalFault, SessionFault, Unreachable
from check_smtp_health.net.wishes import Address

CHUNK = 16 * 1024
"""Bytes read at once; more than any sane reply, less than a hostile server could make us hold."""

# Not the server's fault: this machine ran out of something, or forbids it (as with a Unix socket
# that is not for this user).
_OURS = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EACCES,
    errno.EPERM,
}


class Transport:
    """A connection that never waits: each method does what can be done at once.

    ``connect`` and ``send`` say whether they are done; where not, call them again (``connected``
    after ``connect``) once the socket is writable. ``receive`` wants it readable.
    """

    __slots__ = ("_early", "_rest", "_socket")

    def __init__(self, address: Address, source: str | None) -> None:
        self._early: Disconnected | None = None
        self._rest = memoryview(b"")
        try:
            self._socket = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:
            raise _not_opened(error) from error
        self._socket.setblocking(False)
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
        """Begin to connect; True where that was done at once, as with a Unix socket."""
        code = self._socket.connect_ex(address.sockaddr)
        if code == errno.EINPROGRESS:
            return False
        if code:
            raise _not_opened(OSError(code, os.strerror(code)))
        return True

    def connected(self) -> None:
        """Finish to connect, the socket having become writable."""
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code in (errno.ECONNRESET, errno.EPIPE):
            # It was up, and reset before we looked: for the next read to say, as it would have
            # if we had looked a moment earlier.
            self._early = _lost(OSError(code, os.strerror(code)))
        elif code:
            raise _not_opened(OSError(code, os.strerror(code)))

    def local(self) -> Address:
        """Return the connection's local end."""
        return Address(self._socket.family, self._socket.getsockname())

    def receive(self) -> bytes:
        """Return what has come, ``b""`` at the connection's end."""
        if self._early is not None:
            raise self._early
        try:
            return self._socket.recv(CHUNK)
        except OSError as error:
            raise _lost(error) from error

    def send(self, data: bytes | None = None) -> bool:
        """Send ``data``, or without it what was left last time; True once nothing is left."""
        if data is not None:
            self._rest = memoryview(data)
        while self._rest:
            try:
                self._rest = self._rest[self._socket.send(self._rest) :]
            except BlockingIOError:
                return False
            except OSError as error:
                raise _lost(error) from error
        return True

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno) if error.errno else str(error)
    return text[:1].lower() + text[1:]


def _not_opened(error: OSError) -> SessionFault:
    return (LocalFault if error.errno in _OURS else Unreachable)(_reason(error))


def _lost(error: OSError) -> Disconnected:
    if error.errno in (errno.ECONNRESET, errno.EPIPE):
        return Disconnected("connection reset by the server")
    return Disconnected(_reason(error))
