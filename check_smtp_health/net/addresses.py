"""Addresses, and how the system's resolver turns host names and literals into them."""

from __future__ import annotations

import os
import socket

from check_smtp_health.errors import EXHAUSTED, LocalFault, Unresolvable
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FAMILIES = {None: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}

ATTEMPT = 0.3
"""Seconds for the first try of each address where there are several, a little more than the 250 ms
of RFC 8305 section 5."""

FEW = 4
"""Addresses that are tried so: of more, the first pass would take too long."""

FIRST_PASS = 0.25
"""Part of the time left that it may take: a way may be longer than that."""

_MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv6 address begins that stands for an IPv4 one (RFC 4291 section 2.5.5.2)."""

_PROBLEMS = {
    socket.EAI_NONAME: "no such host name",
    socket.EAI_AGAIN: "the name servers gave no answer (temporary failure)",
    socket.EAI_FAIL: "the name servers refused to answer",
    # glibc's EAI_NODATA and EAI_ADDRFAMILY, which the socket module does not have everywhere.
    -5: "the name has no address",
    -9: "the name has no address",
}


class Address(NamedTuple):
    """Where to connect: a socket family and its address, as ``socket`` takes them."""

    family: int
    sockaddr: Any

    @property
    def host(self) -> str:
        """The IP address (with its scope, where it has one), or the path of a Unix socket."""
        return self.sockaddr if isinstance(self.sockaddr, str) else self.sockaddr[0]


# Bytes go to getaddrinfo: for a str, Python would load its IDNA codec inside the timed stage.


def resolve(host: str, port: int, family: int | None) -> tuple[Address, ...]:
    """Return the addresses of a name, in the order to try them. Blocks.

    ``family`` is 4, 6 or None for both.

    Raises:
        Unresolvable: there is none, or none of that family.
        LocalFault: this host has no file descriptors or memory left to ask with.
    """
    try:
        rows = socket.getaddrinfo(
            host.encode("ascii"), port, FAMILIES[family], socket.SOCK_STREAM, socket.IPPROTO_TCP
        )
    except socket.gaierror as error:
        _need_descriptors()
        problem = _PROBLEMS.get(error.errno or 0) or str(error.strerror)
        if family is not None and error.errno in (socket.EAI_NONAME, -5, -9):
            problem += f" (for IPv{family})"
        is_known = error.errno in (socket.EAI_NONAME, -5, -9)
        raise Unresolvable(problem, reason="" if is_known else "unanswered") from error
    except OSError as error:
        fault = LocalFault if error.errno in EXHAUSTED else Unresolvable
        raise fault(os.strerror(error.errno or 0).lower()) from error
    return tuple(dict.fromkeys(Address(row[0], row[4]) for row in rows))


def packed(host: str) -> bytes:
    """Return an IP address as the 4 or 16 bytes that it is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host.partition("%")[0])


def _need_descriptors() -> None:
    """Tell a resolver that could open no file from a name that does not exist."""
    try:
        os.close(os.dup(0))
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise LocalFault(os.strerror(error.errno).lower()) from error


def plain_name(name: str) -> str:
    """Return a DNS name in the form that is compared: lower case, without final dot."""
    return name.rstrip(".").lower()


def plain_address(host: str) -> str:
    """Return an IP address without its scope, and the IPv4 one that an IPv6 one stands for."""
    host = host.partition("%")[0]
    mapped = packed(host).startswith(_MAPPED) if ":" in host else False
    return socket.inet_ntop(socket.AF_INET, packed(host)[-4:]) if mapped else host


def tries(remaining: list[Address]) -> Iterator[tuple[Address, float, float | None]]:
    """Give each address with its share of the time left, and a limit in seconds.

    The caller takes whatever has refused out of ``remaining``. Of a few addresses each is first
    given ``ATTEMPT``, so that a dead one costs no more; then those that remain get their shares.
    """
    count = len(remaining)
    for address in tuple(remaining) if 1 < count <= FEW else ():
        yield address, FIRST_PASS / count, ATTEMPT
    count = len(remaining)
    for index, address in enumerate(tuple(remaining)):
        yield address, 1 / (count - index), None


def literal(text: str, port: int) -> Address:
    """Return the address that an IP literal or the path of a Unix socket stands for.

    Does not block and asks nobody.

    Raises:
        LocalFault: the scope of an IPv6 address (``%eth0``) is not an interface of this host.
    """
    if text.startswith("/"):
        return Address(socket.AF_UNIX, text)
    if ":" not in text:
        return Address(socket.AF_INET, (text, port))
    try:
        rows = socket.getaddrinfo(
            os.fsencode(text),
            port,
            0,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
            socket.AI_NUMERICHOST,
        )
    except socket.gaierror as error:
        raise LocalFault(f"the scope of {text} is unknown on this host") from error
    return Address(rows[0][0], rows[0][4])
