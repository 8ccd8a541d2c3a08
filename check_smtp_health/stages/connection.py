"""From a name to a server that has spoken, and the farewell."""

from __future__ import annotations

from check_smtp_health.errors import (
    Busy,
    Disconnected,
    LocalFault,
    PeerFault,
    Rejected,
    TimedOut,
    Unreachable,
    UsageFault,
)
from check_smtp_health.net import resolver
from check_smtp_health.net.wishes import Call, Connect, Pause, Write
from check_smtp_health.observation import Finding
from check_smtp_health.stages.visit import ask, due, listen
from check_smtp_health.text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from check_smtp_health.errors import SessionFault
    from check_smtp_health.net.lookup import Servers
    from check_smtp_health.net.wishes import Address, Wish
    from check_smtp_health.settings import Settings
    from check_smtp_health.stages.visit import Run, Visit

ADDRESSES_SHOWN = 4
"""Addresses that a status line names when none of them answers."""

PROXY_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""First twelve bytes of the PROXY protocol's version 2."""

BUSY_PAUSE = 0.05
"""Seconds before a Unix socket whose backlog is full is tried again."""

IMPLICIT_TLS_PORT = 465
"""RFC 8314 section 3.3: a server there waits for the client to begin TLS."""


def servers(settings: Settings) -> Servers:
    """Return the name servers to ask.

    Raises:
        UsageFault: the extra ``dns`` is missing, or this host has no name server.
    """
    option = settings.asking_dns[0]
    try:
        from check_smtp_health.net import lookup
    except ImportError as error:
        raise UsageFault(
            option, "needs the package dnspython: pip install 'check-smtp-health[dns]'"
        ) from error
    try:
        found = lookup.servers(settings.nameservers)
    except LocalFault as fault:
        raise UsageFault(option, fault.problem) from fault
    if settings.policies.dane and not found.are_trusted:
        others = ", ".join(address.host for address in found.addresses)
        raise UsageFault(
            "dane",
            f"needs a resolver whose word on DNSSEC counts, on this host or by --nameserver; "
            f"/etc/resolv.conf has {others}",
        )
    return found


def resolve(visit: Visit) -> Run:
    """Look up the host name."""
    settings = visit.settings
    wanted = (visit.target.host.ascii, settings.port, settings.family)
    if settings.nameservers:
        from check_smtp_health.net import lookup

        assert visit.kit.servers is not None
        visit.addresses = yield from lookup.addresses(visit.kit.servers, *wanted)
    else:
        visit.addresses = yield Call(resolver.addresses, wanted)


def connect(visit: Visit) -> Run:
    """Try the addresses in turn; each gets its share of the time left (RFC 5321 section 5.1)."""
    settings = visit.settings
    addresses = visit.addresses or (resolver.literal(visit.target.host.ascii, settings.port),)
    faults: list[tuple[Address, SessionFault]] = []
    for index, address in enumerate(addresses):
        visit.address = address
        share = 1 / (len(addresses) - index)
        try:
            visit.local = yield from _reach(address, settings.source, share)
        except (Unreachable, TimedOut, LocalFault) as fault:
            faults.append((address, fault))
        else:
            visit.is_connected = True
            if settings.proxy:
                yield proxy_header(settings.proxy, visit.local, address)
            return
    if len(faults) == 1:
        raise faults[0][1]
    visit.address = None
    # What a peer did outweighs what this machine could not do.
    deciding = sorted((fault for _, fault in faults), key=lambda one: isinstance(one, PeerFault))
    raise type(deciding[-1])(_listed(faults))


def _reach(address: Address, source: str | None, share: float) -> Generator[Wish, Any, Address]:
    while True:
        try:
            local: Address = yield Connect(address, source, share)
            return local
        except Busy:
            yield Pause(BUSY_PAUSE)


def _listed(faults: list[tuple[Address, SessionFault]]) -> str:
    shown = [
        f"{address.host} {'no answer' if isinstance(fault, TimedOut) else fault.problem}"
        for address, fault in faults[:ADDRESSES_SHOWN]
    ]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    last = faults[-1][1]
    return ", ".join(shown) + (f": {last.problem}" if isinstance(last, TimedOut) else "")


def proxy_header(version: str, source: Address | None, destination: Address) -> Write:
    """Return the wish to send a PROXY header (HAProxy's proxy-protocol.txt, section 2).

    It bears the connection's real ends; over a Unix socket there are none.
    """
    is_tcp = source is not None and isinstance(destination.sockaddr, tuple)
    ends = (source, destination) if source is not None and is_tcp else ()
    header = _proxy_v1(*ends) if version == "v1" else _proxy_v2(*ends)
    return Write(header, shown=f"(PROXY header, {version})".encode())


def _proxy_v1(*ends: Address) -> bytes:
    if not ends:
        return b"PROXY UNKNOWN\r\n"
    family = "TCP6" if ":" in ends[0].host else "TCP4"
    hosts = [end.host.partition("%")[0] for end in ends]
    ports = [str(end.sockaddr[1]) for end in ends]
    return " ".join(("PROXY", family, *hosts, *ports)).encode() + b"\r\n"


def _proxy_v2(*ends: Address) -> bytes:
    if not ends:
        return PROXY_SIGNATURE + b"\x20\x00\x00\x00"  # LOCAL, of no family
    addresses = b"".join(resolver.packed(end.host) for end in ends)
    addresses += b"".join(end.sockaddr[1].to_bytes(2, "big") for end in ends)
    family = b"\x21" if ":" in ends[0].host else b"\x11"
    return PROXY_SIGNATURE + b"\x21" + family + len(addresses).to_bytes(2, "big") + addresses


def banner(visit: Visit) -> Run:
    """Wait for the server to speak first (RFC 5321 section 3.1)."""
    settings = visit.settings
    try:
        reply = yield from listen(visit)
    except TimedOut as fault:
        if settings.port == IMPLICIT_TLS_PORT and not (settings.tls or fault.said):
            fault.problem += f" (port {IMPLICIT_TLS_PORT} awaits TLS, try --ssl)"
        raise
    due(reply, settings.expect.code)
    visit.names["banner"] = reply.texts[0]
    # A server that says no in its banner takes nothing but QUIT (section 3.1).
    visit.is_over = not reply.is_positive
    text = settings.expect.text.encode("utf-8", "surrogateescape")
    if not text or text in reply.raw or text in b"\n".join(reply.lines):
        return
    problem = f"lacks {quoted(settings.expect.text)}"
    if not reply.is_positive:
        raise Rejected(f"({problem})", reply.raw, reply.code)
    visit.findings.append(Finding("unmatched", problem, reply.raw))


def leave(visit: Visit) -> Run:
    """Say QUIT and wait for the reply or the connection's end."""
    try:
        reply = yield from ask(visit, "QUIT")
        if reply.code != 421:  # a farewell as good as any
            due(reply, 221)
    except Disconnected:
        pass  # that is an answer, too
