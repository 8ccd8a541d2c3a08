"""A small file from the web: HTTPS, one request, everything bounded. Loaded only where planned.

The standard library's ``http.client`` reads the head of a response; the connection is the driver's.
"""

from __future__ import annotations

import http.client
import io
import re

from check_smtp_health.errors import (
    LocalFault,
    Rejected,
    TimedOut,
    Unreachable,
    Violation,
    deciding,
)
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import dns
from check_smtp_health.net.addresses import with_shares
from check_smtp_health.net.operations import Connect, Read, StartTls, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.errors import SessionFault
    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.net.trust import Trust

PORT = 443

SIZE_LIMIT = 64 * 1024
"""Bytes of a response: RFC 8461 section 3.3 has a sender take that much of a policy."""

BYTES_SHOWN = 200
"""Bytes of what is no HTTP that are worth showing."""


_INTERIM = rb"HTTP/\d\.\d 1\d\d\b"
"""How a response begins that only says that another follows (RFC 9110 section 15.2)."""

_CHUNK = rb"\s*([0-9A-Fa-f]{1,8})\s*(?:;.*)?"
"""The line before a chunk (RFC 9112 section 7.1)."""


class Page(NamedTuple):
    """What came: its media type in lower case, without parameters, and its body."""

    media_type: str
    body: bytes


def fetch(
    servers: Servers, trust: Trust, host: str, path: str, family: int | None
) -> Procedure[Page]:
    """Get one page; its server's certificate is verified, redirects are not followed.

    Raises:
        PeerFault: it could not be fetched.
        Expired: the deadline came first.
    """
    yield from _connect((yield from dns.resolve(servers, host, PORT, family)))
    yield StartTls(trust, host)
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: check_smtp_health",
        "Accept: text/plain",
        "Connection: close",
    )
    yield Write("".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii"))
    response = Response()
    size = 0
    while True:
        more = yield Read()
        size += len(more)
        if size > SIZE_LIMIT:
            raise Violation(f"more than {SIZE_LIMIT // 1024} KiB")
        response.feed(more)
        found = response.page(is_over=not more)
        if found is not None:
            return found


def _connect(addresses: tuple[Address, ...]) -> Procedure[None]:
    faults: list[SessionFault] = []
    for address, share in with_shares(addresses):
        try:
            yield Connect(address, share=share)
        except (Unreachable, TimedOut, LocalFault) as fault:
            fault.subject = address.host
            faults.append(fault)
        else:
            return
    raise deciding(faults)


def page(data: bytes, *, is_over: bool) -> Page | None:
    """Return the page in a response; see ``Response.page``."""
    response = Response()
    response.feed(data)
    return response.page(is_over=is_over)


class Response:
    """Takes a response in any pieces, and reads each of its bytes once."""

    __slots__ = ("_at", "_body", "_data", "_head", "_scanned")

    def __init__(self) -> None:
        self._data = bytearray()
        self._scanned = 0  # bytes in which the end of the head is not
        self._head: http.client.HTTPResponse | None = None
        self._at = 0  # where the body begins, or its next chunk
        self._body = bytearray()  # what chunks have brought

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        self._data += data

    def page(self, *, is_over: bool) -> Page | None:
        """Return the page once it is whole, None while it is not.

        Raises:
            Rejected: the server gives none.
            Violation: it cannot be read, or the connection is over and it is not whole.
        """
        if self._head is None:
            self._head = self._read_head()
        head = self._head
        if head is None:
            if is_over:
                raise self._no_http()
            return None
        if head.status != http.client.OK:
            redirect = ", and redirects must not be followed" if 300 <= head.status < 400 else ""
            said = f"{head.status} {head.reason}".encode("latin-1", "replace")
            raise Rejected(f"the answer is not 200{redirect}", said, head.status)
        if head.chunked:
            body = bytes(self._body) if self._read_chunks() else None
        elif head.length is None:
            body = bytes(self._data[self._at :]) if is_over else None
        else:
            end = self._at + head.length
            body = bytes(self._data[self._at : end]) if len(self._data) >= end else None
        if body is None:
            if is_over:
                raise Violation("the response breaks off")
            return None
        media_type = (head.getheader("Content-Type") or "").partition(";")[0]
        return Page(media_type.strip().lower(), body)

    def _read_head(self) -> http.client.HTTPResponse | None:
        while True:
            end = self._data.find(b"\n\r\n", self._scanned)
            if end < 0:
                self._scanned = max(0, len(self._data) - 2)
                return None
            self._at = end + 3
            if not re.match(_INTERIM, self._data):
                break
            del self._data[: self._at]
            self._scanned = 0
        response = http.client.HTTPResponse(
            _Received(bytes(self._data[: self._at]))  # type: ignore[arg-type]
        )
        try:
            response.begin()
        except (http.client.HTTPException, ValueError, OverflowError) as error:
            raise self._no_http() from error
        return response

    def _read_chunks(self) -> bool:
        """Take the chunks that are whole; return whether the last one is (RFC 9112 section 7.1)."""
        while True:
            end = self._data.find(b"\n", self._at)
            if end < 0:
                return False
            size = re.fullmatch(_CHUNK, self._data[self._at : end])
            if size is None:
                raise Violation("the response breaks off")
            begin, length = end + 1, int(size[1], 16)
            if not length:
                return True
            if len(self._data) < begin + length + 2:
                return False
            self._body += self._data[begin : begin + length]
            self._at = begin + length + 2

    def _no_http(self) -> Violation:
        return Violation("no HTTP response", bytes(self._data[:BYTES_SHOWN]))


class _Received:
    """What has come, as the socket that HTTPResponse reads."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)
