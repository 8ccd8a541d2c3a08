"""Queries to name servers, as procedures. Loaded only by runs that need them.

The package dnspython (extra ``dns``) makes the questions; ``dns_answer`` reads what comes back.
"""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.resolver

from check_smtp_health.config.hosts import DNS_PORT
from check_smtp_health.errors import (
    Expired,
    LocalFault,
    PeerFault,
    SessionFault,
    TimedOut,
    Unresolvable,
)
from check_smtp_health.escaping import printable
from check_smtp_health.faults import DnsFailed, DnsUnanswered
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import dns_answer
from check_smtp_health.net.addresses import literal
from check_smtp_health.net.operations import Connect, Read, Together, Write, untimed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.dns_answer import Answer
    from check_smtp_health.net.operations import Procedure

KINDS: dict[int | None, tuple[str, ...]] = {4: ("A",), 6: ("AAAA",), None: ("AAAA", "A")}
"""Which records have the addresses of each family, IPv6 first."""

ROUNDS = (1.0, 2.0, 4.0)
"""Seconds that a server may take, each time that it is asked: a datagram may get lost."""

ASIDE = (1.0, 1.0)
"""The same for a question that is asked besides, and must not hold up what matters more."""

PAYLOAD = 1232
"""Bytes of an answer that any way takes in one piece (DNS Flag Day 2020); longer ones use TCP."""

TCP_LIMIT = 32 * 1024
"""Bytes of an answer by TCP; the longest that are seen, a big domain's TXT records, have 10 KB."""

STRAYS = 16
"""Datagrams that do not answer the question, after which we stop waiting for the one that does."""


class Servers(NamedTuple):
    """Whom to ask, in this order; ``are_trusted`` where their word on DNSSEC counts.

    ``source`` is the local address to ask from, where that is possible.
    """

    addresses: tuple[Address, ...]
    are_trusted: bool
    source: str | None = None


class Records(NamedTuple):
    """The answer to a question. ``values`` are dnspython's, none where there is no such record.

    ``exists`` is whether there is anything under the name, ``is_secure`` whether a trusted server
    vouches for it by DNSSEC, ``canonical`` the name that aliases lead to, without final dot.
    """

    values: tuple[Any, ...]
    exists: bool
    is_secure: bool
    canonical: str


class Found(NamedTuple):
    """The addresses of a host. ``unknown`` is why there may be more of them: one family's fault."""

    addresses: tuple[Address, ...]
    unknown: str = ""


def servers(given: tuple[tuple[str, int], ...], source: str | None = None) -> Servers:
    """Return the given servers, or those that this host is configured to ask, in its own way.

    Raises:
        LocalFault: it is configured to ask none.
    """
    if given:
        return Servers(tuple(literal(*one) for one in given), are_trusted=True, source=source)
    try:
        hosts = [str(host) for host in dns.resolver.Resolver().nameservers]
    except dns.exception.DNSException:
        hosts = []
    if not hosts:
        raise LocalFault("this host has no name server in /etc/resolv.conf")
    addresses = tuple(literal(host, DNS_PORT) for host in hosts)
    # RFC 8310 and resolv.conf(5): only over a way that nobody else is on does the bit count.
    return Servers(addresses, are_trusted=all(map(_is_loopback, hosts)))


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


def _source(servers: Servers, server: Address) -> str | None:
    """Return the address to ask from, where it is of the server's family.

    A server on this host knows its clients by their loopback address; from there no other is
    reached.
    """
    source = servers.source
    if source is None or (":" in source) != (":" in server.host):
        return None
    return source if _is_loopback(source) == _is_loopback(server.host) else None


def query(
    servers: Servers,
    name: str,
    kind: str,
    *,
    unchecked: bool = False,
    rounds: Iterable[float] = ROUNDS,
) -> Procedure[Records]:
    """Return the records of a name; ``kind`` as in ``MX``.

    With ``unchecked`` the server is to tell even what DNSSEC shows to be forged.

    Raises:
        DnsUnanswered: no server gives an answer.
        DnsFailed: all of them say that they cannot find out.
        Expired: the deadline came first.
    """
    try:
        question = dns.message.make_query(name, kind, use_edns=0, payload=PAYLOAD)
    except dns.exception.DNSException as error:
        raise DnsUnanswered(f"{printable(name)} is not a valid DNS name") from error
    # RFC 6840 section 5.7: this asks a resolver that validates to say so.
    question.flags |= dns.flags.CD if unchecked else dns.flags.AD
    wire = question.to_wire()
    problems: dict[Address, str] = {}
    failed: set[Address] = set()
    silent = list(servers.addresses)
    for seconds in rounds:
        for server in tuple(silent):
            try:
                answer = yield from _exchange(server, _source(servers, server), wire, seconds)
            except Expired:
                raise
            except TimedOut:
                problems[server] = f"no answer from {server.host}"
                continue
            except (PeerFault, LocalFault) as fault:
                problems[server] = f"{server.host}: {fault.problem}"
            else:
                if answer.rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                    return Records(
                        values=answer.values,
                        exists=answer.rcode == dns.rcode.NOERROR,
                        is_secure=servers.are_trusted and answer.is_authentic,
                        canonical=answer.canonical,
                    )
                if answer.rcode == dns.rcode.SERVFAIL:
                    failed.add(server)
                code = dns.rcode.to_text(dns.rcode.Rcode.make(answer.rcode))
                problems[server] = f"{code} from {server.host}"
            silent.remove(server)
        if not silent:
            break
    unanswered = DnsFailed if len(failed) == len(problems) else DnsUnanswered
    raise unanswered(", ".join(problems.values()), subject=f"{kind} of {name}")


def ask(
    servers: Servers,
    name: str,
    kind: str,
    *,
    unchecked: bool = False,
    rounds: Iterable[float] = ROUNDS,
) -> Procedure[Records]:
    """Return the records of a name, as ``query`` does; the deadline is no fault of its own.

    Raises:
        DnsUnanswered: no server gives an answer, or not before the deadline.
    """
    try:
        return (yield from query(servers, name, kind, unchecked=unchecked, rounds=rounds))
    except Expired as fault:
        raise DnsUnanswered(fault.problem, subject=f"{kind} of {name}") from fault


def _exchange(
    server: Address, source: str | None, query: bytes, seconds: float
) -> Procedure[Answer]:
    """Return a server's answer, by UDP, or by TCP where that takes no more (RFC 7766)."""
    yield Connect(server, source, limit=seconds, datagrams=True)
    yield Write(query, limit=seconds)
    for _ in range(STRAYS):
        data = yield Read(limit=seconds)
        if dns_answer.is_answer(query, data):
            break
    else:
        raise DnsUnanswered("answers to something else")
    if len(data) <= PAYLOAD and not dns_answer.is_truncated(data):
        return dns_answer.read(query, data)
    try:
        return (yield from _by_tcp(server, source, query, seconds))
    except Expired:
        raise
    except (PeerFault, LocalFault) as fault:
        raise DnsUnanswered(f"a truncated answer, and over TCP {fault.problem}") from fault


def _by_tcp(server: Address, source: str | None, query: bytes, seconds: float) -> Procedure[Answer]:
    yield Connect(server, source, limit=seconds)
    yield Write(len(query).to_bytes(2, "big") + query, limit=seconds)
    data = b""
    length = 0
    while len(data) < 2 + length:
        more = yield Read(limit=seconds)
        if not more:
            raise DnsUnanswered("an incomplete answer")
        data += more
        length = int.from_bytes(data[:2], "big")
        if length > TCP_LIMIT:
            raise DnsUnanswered(f"an answer of {length} bytes")
    data = data[2 : 2 + length]
    if not dns_answer.is_answer(query, data) or dns_answer.is_truncated(data):
        raise DnsUnanswered("no answer to the question")
    return dns_answer.read(query, data)


def _rounds(answered: Sequence[str]) -> Iterator[float]:
    """Give the seconds of each round; once something is ``answered``, as in ``ASIDE``."""
    for number, seconds in enumerate(ROUNDS):
        if answered and number >= len(ASIDE):
            return
        yield ASIDE[number] if answered else seconds


def resolve(servers: Servers, host: str, port: int, family: int | None) -> Procedure[Found]:
    """Return the addresses of a host, IPv6 first.

    A name server that is silent about one family (RFC 4074 section 4.1) delays the other by the
    rounds of ``ASIDE`` only.

    Raises:
        Unresolvable: there is none, or none of that family, or no server knows.
        Expired: the deadline came first.
    """
    answered: list[str] = []

    def ask_about(kind: str) -> Procedure[Records]:
        records = yield from query(servers, host, kind, rounds=_rounds(answered))
        if records.values:
            answered.append(kind)
        return records

    results = yield Together([untimed(ask_about(kind)) for kind in KINDS[family]])
    found = [
        literal(value.address, port)
        for records in results
        if isinstance(records, Records)
        for value in records.values
    ]
    if found:
        unknown = (one.sentence for one in results if isinstance(one, SessionFault))
        return Found(tuple(dict.fromkeys(found)), next(unknown, ""))
    for result in results:
        if isinstance(result, Expired):
            raise result
        if isinstance(result, SessionFault):
            raise Unresolvable(result.sentence, reason="unanswered")
    problem = "the name has no address" if results[0].exists else "no such host name"
    raise Unresolvable(problem + (f" (for IPv{family})" if family is not None else ""))
