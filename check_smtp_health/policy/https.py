"""A small file from the web: HTTPS, one request, everything bounded. Loaded only where planned.

The standard library's ``http.client`` reads the response; the connection is the driver's.
"""

from __future__ import annotations

import http.client
import io

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
    from check_smtp_health.net.certificate import Handshake
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.net.trust import Trust

PORT = 443

SIZE_LIMIT = 64 * 1024
"""Bytes of a response: RFC 8461 section 3.3 has a sender take that much of a policy."""

BYTES_SHOWN = 200
"""Bytes of what is no HTTP that are worth showing."""


class Page(NamedTuple):
    """What came: its media type in lower case, without parameters, its body, and over what TLS."""

    media_type: str
    body: bytes
    tls: Handshake | None = None


def fetch(
    servers: Servers, trust: Trust, host: str, path: str, family: int | None
) -> Procedure[Page]:
    """Get one page; its server's certificate is verified, redirects are not followed.

    Raises:
        PeerFault: it could not be fetched.
        Expired: the deadline came first.
    """
    yield from _connect((yield from dns.resolve(servers, host, PORT, family)))
    tls: Handshake = yield StartTls(trust, host)
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: check_smtp_health",
        "Accept: text/plain",
        "Connection: close",
    )
    yield Write("".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii"))
    data = b""
    while True:
        more = yield Read()
        data += more
        if len(data) > SIZE_LIMIT:
            raise Violation(f"more than {SIZE_LIMIT // 1024} KiB")
        found = page(data, is_over=not more)
        if found is not None:
            return found._replace(tls=tls)


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
    """Return the page once it is whole, None while it is not.

    Raises:
        Rejected: the server gives none.
        Violation: it cannot be read, or the connection is over and it is not whole.
    """
    if b"\n\r\n" not in data:
        if is_over:
            raise Violation("no HTTP response", data[:BYTES_SHOWN])
        return None
    response = http.client.HTTPResponse(_Received(data))  # type: ignore[arg-type]
    try:
        response.begin()
        ends_with_connection = response.length is None and not response.chunked
        body = b"" if ends_with_connection and not is_over else response.read()
    except http.client.IncompleteRead as error:
        if is_over:
            raise Violation("the response breaks off") from error
        return None
    except (http.client.HTTPException, ValueError, OverflowError) as error:
        raise Violation("no HTTP response", data[:BYTES_SHOWN]) from error
    if response.status != http.client.OK:
        redirect = ", and redirects must not be followed" if 300 <= response.status < 400 else ""
        said = f"{response.status} {response.reason}".encode("latin-1", "replace")
        raise Rejected(f"the answer is not 200{redirect}", said, response.status)
    if ends_with_connection and not is_over:
        return None
    media_type = response.getheader("Content-Type", "").partition(";")[0]
    return Page(media_type.strip().lower(), body)


class _Received:
    """What has come, as the socket that HTTPResponse reads."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)
