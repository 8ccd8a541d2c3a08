"""A small answer over HTTPS: one request, everything bounded. Loaded only if planned.

The standard library's ``http.client`` reads the head of a response; the connection is the driver's.
Where the environment names a proxy, it leads through that (CONNECT, RFC 9110 section 9.3.6).
"""

from __future__ import annotations

import binascii
import http.client
import io
import os
import re

from check_smtp_health.config import hosts, web_proxy
from check_smtp_health.errors import (
    Disconnected,
    LocalFault,
    PeerFault,
    Rejected,
    TimedOut,
    Unreachable,
    UsageFault,
    Violation,
)
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.operations import Read, StartTls, Write
from check_smtp_health.net.way import Way
from check_smtp_health.report import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.accounts import Secret
    from check_smtp_health.config.settings import Endpoint
    from check_smtp_health.config.web_proxy import Proxy
    from check_smtp_health.net.certificate import Handshake
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.net.trust import Trust

PORT = 443

SIZE_LIMIT = 64 * 1024
"""Bytes of a response: RFC 8461 section 3.3 has a sender take that much of a policy."""

BYTES_SHOWN = 200
"""Bytes of what is no HTTP that are worth showing."""


AGENT = "User-Agent: check_smtp_health"


class Client(NamedTuple):
    """What every request of a run has in common.

    ``servers`` know the addresses of hosts, where that is not left to the system's resolver.
    """

    trust: Trust
    servers: Servers | None
    endpoint: Endpoint
    proxy: Proxy | None = None

    def way(self, *, by_proxy: bool) -> Way:
        """Return how to connect; the name of a proxy is looked up by the system's resolver."""
        endpoint = self.endpoint
        is_system_s = by_proxy and not endpoint.nameservers
        servers = None if is_system_s else self.servers
        return Way(servers, endpoint.family, endpoint.source, tells_addresses=not by_proxy)


_INTERIM = rb"HTTP/\d\.\d 1\d\d\b"
"""How a response begins that only says that another follows (RFC 9110 section 15.2)."""

_CHUNK = rb"\s*([0-9A-Fa-f]{1,8})\s*(?:;.*)?"
"""The line before a chunk (RFC 9112 section 7.1)."""


class Page(NamedTuple):
    """What came: its media type in lower case, without parameters, its body, and over what TLS."""

    media_type: str
    body: bytes
    tls: Handshake | None = None
    status: int = 200


class Form(NamedTuple):
    """What is sent, URL-encoded, in the body of a POST; neither it nor the answer is shown."""

    body: bytes


def prepare(option: str, trust: Trust, servers: Servers | None, endpoint: Endpoint) -> Client:
    """Return what requests need; ``option`` is what they are for.

    Raises:
        UsageFault: the environment names a proxy that cannot be used.
    """
    proxy = web_proxy.read(os.environ, option)
    family = endpoint.family
    address = proxy.host.ascii if proxy is not None and proxy.host.kind == "address" else ""
    if address and family is not None and hosts.ip_version(address) != family:
        why = "source" if endpoint.source else f"use-ipv{family}"
        raise UsageFault(why, f"cannot be combined with the proxy's address {address}")
    return Client(trust, servers, endpoint, proxy)


def fetch(client: Client, host: str, path: str) -> Procedure[Page]:
    """Get one page; its server's certificate is verified, redirects are not followed.

    Raises:
        PeerFault: it could not be fetched.
        LocalFault: the proxy is not there, or refuses.
        Expired: the deadline came first.
    """
    lines = (f"GET {path} HTTP/1.1", f"Host: {host}", AGENT, "Accept: text/plain")
    request = Write(_head(*lines))
    return (yield from _asked(client, Host(host, host, "name"), PORT, request, Response()))


def post(client: Client, host: Host, port: int, path: str, form: Form) -> Procedure[Page]:
    """Send a form; return the answer whatever its status. Otherwise as ``fetch``."""
    head = _head(
        f"POST {path} HTTP/1.1",
        f"Host: {host.ascii if port == PORT else _authority(host, port)}",
        AGENT,
        "Accept: application/json",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(form.body)}",
    )
    request = Write(head + form.body, head + b"***\r\n")
    return (yield from _asked(client, host, port, request, Response(takes_any=True)))


def _head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode("ascii")


def _authority(host: Host, port: int) -> str:
    return f"[{host.ascii}]:{port}" if ":" in host.ascii else f"{host.ascii}:{port}"


def _asked(
    client: Client, host: Host, port: int, request: Write, response: Response
) -> Procedure[Page]:
    """Connect, send a request, and return what comes back."""
    if client.proxy is not None and client.proxy.serves(host.dns_name, port):
        yield from _connect_by(client.proxy, client.way(by_proxy=True), _authority(host, port))
    else:
        yield from client.way(by_proxy=False).connect(host, port)
    tls: Handshake = yield StartTls(client.trust, host.dns_name)
    yield request
    size = 0
    while True:
        more = yield Read(None, request.shown is not None)
        size += len(more)
        if size > SIZE_LIMIT:
            raise Violation(f"more than {SIZE_LIMIT // 1024} KiB")
        response.feed(more)
        found = response.page(is_over=not more)
        if found is not None:
            return found._replace(tls=tls)


def _connect_by(proxy: Proxy, way: Way, target: str) -> Procedure[None]:
    """Have a proxy connect to a host at a port.

    Raises:
        Unreachable: it cannot either.
        LocalFault: it is not there, or refuses: that is not the host's fault.
    """
    name = f"the proxy {proxy.host.given}:{proxy.port}"
    try:
        yield from way.connect(proxy.host, proxy.port)
    except PeerFault as fault:
        raise LocalFault(fault.problem, subject=name) from fault
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", AGENT]
    request = "".join(f"{line}\r\n" for line in lines)
    shown = f"{request}\r\n".encode("ascii")
    if proxy.login is not None:
        request += f"Proxy-Authorization: Basic {_basic(proxy.login)}\r\n"
    try:
        yield Write(f"{request}\r\n".encode("ascii"), shown)
        code = yield from _code()
    except Disconnected as fault:
        raise LocalFault(fault.problem, subject=name) from fault
    except TimedOut as fault:
        fault.subject = name
        raise
    if not 200 <= code < 300:
        # What else it says may be anything, our password included.
        problem = f"the answer is {code}" if code else "no HTTP response"
        raise (Unreachable if code >= 500 else LocalFault)(problem, subject=name)


def _code() -> Procedure[int]:
    """Return the code that a proxy answers, 0 if it is not one, or if more follows."""
    data = b""
    while not data.endswith(b"\r\n\r\n") and len(data) <= SIZE_LIMIT:
        more = yield Read()
        if not more:
            break
        data += more
    # The server speaks only once it has been spoken to: what is behind the head is not its word.
    is_whole = data.find(b"\r\n\r\n") == len(data) - 4
    match = re.match(rb"HTTP/1\.[01] ([2-5][0-9]{2})\b", data)
    code = int(match[1]) if match else 0
    return code if is_whole or code >= 300 else 0


def _basic(login: Secret) -> str:
    """Return a login as RFC 7617 has it."""
    from urllib.parse import unquote_to_bytes

    return binascii.b2a_base64(unquote_to_bytes(login.reveal()), newline=False).decode("ascii")


def page(data: bytes, *, is_over: bool) -> Page | None:
    """Return the page in a response; see ``Response.page``."""
    response = Response()
    response.feed(data)
    return response.page(is_over=is_over)


class Response:
    """Takes a response in any pieces, and reads each of its bytes once.

    One that ``takes_any`` is content with any status; without that, only 200 is an answer.
    """

    __slots__ = ("_at", "_body", "_data", "_head", "_scanned", "_takes_any")

    def __init__(self, *, takes_any: bool = False) -> None:
        self._takes_any = takes_any
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
        if head.status != http.client.OK and not self._takes_any:
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
                raise Violation("the response is incomplete")
            return None
        media_type = (head.getheader("Content-Type") or "").partition(";")[0]
        return Page(media_type.strip().lower(), body, None, head.status)

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
                raise Violation("the response is incomplete")
            begin, length = end + 1, int(size[1], 16)
            if not length:
                return True
            if len(self._data) < begin + length + 2:
                return False
            self._body += self._data[begin : begin + length]
            self._at = begin + length + 2

    def _no_http(self) -> Violation:
        # What answers a form may hold a secret that nobody knows yet.
        said = b"" if self._takes_any else bytes(self._data[:BYTES_SHOWN])
        return Violation("no HTTP response", said)


class _Received:
    """What has come, as the socket that HTTPResponse reads."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)
