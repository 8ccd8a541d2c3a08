"""From a name to a server that has sent its banner; and QUIT."""

from __future__ import annotations

from check_smtp_health.config.settings import SMTP_PORT, SUBMISSIONS_PORT
from check_smtp_health.errors import (
    Busy,
    Disconnected,
    Expired,
    LocalFault,
    Rejected,
    TimedOut,
    Unasked,
    Unreachable,
    UsageFault,
    Violation,
    deciding,
)
from check_smtp_health.escaping import octets, quoted
from check_smtp_health.loading import load, shared
from check_smtp_health.net import addresses
from check_smtp_health.net.operations import Call, Connect, Pause, Read, Write
from check_smtp_health.report import first_of
from check_smtp_health.smtp.session import Reply
from check_smtp_health.stages.state import ask, first_word, listen, require_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Reason, SessionFault
    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.stages.state import ProbeState, StageRun

ADDRESSES_SHOWN = 4
"""Addresses that a status line names when none of them answers."""

PROXY_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""First twelve bytes of the PROXY protocol's version 2."""

PROXY_ANSWERED = "the server answered the PROXY header, so it expects none, leave out -r"

PATIENT = 4.0
"""Seconds of a deadline that leaves time to see whether a silent server waits for TLS."""

PATIENCE = 0.75
"""Part of the deadline after which that is looked at."""

BUSY_PAUSE = 0.05
"""Seconds before a Unix socket whose backlog is full is tried again."""


def servers(settings: Settings) -> Servers:
    """Return the name servers to ask.

    Raises:
        UsageFault: the extra ``dns`` is missing, or this host has no name server.
    """
    asking = ["mx"] if settings.endpoint.mx else settings.policies.of_dns
    option = next(iter(asking), "nameserver")
    try:
        from check_smtp_health.net import dns
    except ImportError as error:
        from check_smtp_health.config.remedies import missing

        raise UsageFault(option, missing("dnspython")) from error
    try:
        return shared(dns.servers, settings.endpoint.nameservers, settings.endpoint.source)
    except LocalFault as fault:
        raise UsageFault(option, f"{fault.problem}, use --nameserver") from fault


def resolve(state: ProbeState) -> StageRun:
    """Look up the host name."""
    endpoint = state.settings.endpoint
    wanted = (state.target.host.ascii, endpoint.port, endpoint.family)
    if endpoint.nameservers:
        from check_smtp_health.net import dns

        assert state.prepared.servers is not None
        found = yield from dns.resolve(state.prepared.servers, *wanted)
        state.connection.addresses, state.connection.unknown = found
    else:
        state.connection.addresses = yield Call(addresses.resolve, wanted)


def connect(state: ProbeState) -> StageRun:
    """Try the addresses in turn (RFC 5321 section 5.1); see ``addresses.tries`` for their time."""
    endpoint, connection = state.settings.endpoint, state.connection
    if not connection.addresses:
        connection.addresses = (addresses.literal(state.target.host.ascii, endpoint.port),)
    faults: dict[Address, SessionFault] = {}
    remaining = list(connection.addresses)
    for address, share, limit in addresses.tries(remaining):
        connection.address = address
        try:
            connection.local = yield from _reach(address, endpoint.source, share, limit)
        except TimedOut as fault:
            faults[address] = fault
        except (Unreachable, LocalFault) as fault:
            faults[address] = fault
            remaining.remove(address)
        else:
            connection.is_up = True
            if endpoint.proxy:
                yield proxy_header(endpoint.proxy, connection.local, address)
            return
    decisive = deciding(list(faults.values()))
    if len(faults) > 1:
        connection.address = None
        decisive.problem = _listed(list(faults.items()))
        decisive.reason = _shared_reason(decisive, list(faults.values()))
    raise decisive


def _shared_reason(decisive: SessionFault, faults: list[SessionFault]) -> Reason:
    """Return the reason of all faults; where they differ, whether one of them is an answer."""
    if len({(fault.kind, fault.reason) for fault in faults}) == 1:
        return decisive.reason
    return "partly refused" if any(one.reason == "refused" for one in faults) else "various"


def _reach(
    address: Address, source: str | None, share: float, limit: float | None
) -> Procedure[Address]:
    while True:
        try:
            # All fields in their order: see namedtuple for what that saves.
            local: Address = yield Connect._make((address, source, share, limit, False, True))
            return local
        except Busy:
            yield Pause(BUSY_PAUSE)


def _listed(faults: list[tuple[Address, SessionFault]]) -> str:
    last = faults[-1][1]
    ending = f": {last.problem}" if isinstance(last, TimedOut) else ""
    return first_of(faults, ADDRESSES_SHOWN, _told) + ending


def _told(tried: tuple[Address, SessionFault]) -> str:
    address, fault = tried
    return f"{address.host} {'no answer' if isinstance(fault, TimedOut) else fault.problem}"


def proxy_header(version: str, source: Address | None, destination: Address) -> Write:
    """Return the operation that sends a PROXY header (HAProxy's proxy-protocol.txt, section 2).

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
    packed = b"".join(addresses.packed(end.host) for end in ends)
    packed += b"".join(end.sockaddr[1].to_bytes(2, "big") for end in ends)
    family = b"\x21" if ":" in ends[0].host else b"\x11"
    return PROXY_SIGNATURE + b"\x21" + family + len(packed).to_bytes(2, "big") + packed


def banner(state: ProbeState) -> StageRun:
    """Wait for the server to speak first (RFC 5321 section 3.1)."""
    settings, expect = state.settings, state.settings.greeting.expect
    try:
        reply = yield from _first_reply(state)
    except TimedOut as fault:
        is_plain = settings.tls.mode != "implicit" and not fault.said
        if settings.endpoint.port == SUBMISSIONS_PORT and is_plain:
            instead = " instead of STARTTLS" if settings.tls.mode else ""
            fault.problem += f" (port {SUBMISSIONS_PORT} expects TLS, try --ssl{instead})"
        raise
    except Unasked as fault:
        if settings.endpoint.proxy:
            raise Violation(PROXY_ANSWERED, fault.said, reason="proxy answered") from fault
        raise
    except Violation as fault:
        refusal = _behind_teaser(fault)
        if refusal is None:
            raise
        reply = refusal
        state.connection.begin()
    if reply.code != expect.code and settings.endpoint.proxy and _is_too_early(reply):
        raise Violation(PROXY_ANSWERED, reply.raw, reason="proxy answered")
    require_code(reply, expect.code)
    state.names["banner"] = first_word(state, reply)
    if not expect.text or reply.has(octets(expect.text)):
        return
    if not reply.is_positive:
        raise Rejected(f"(does not contain {quoted(expect.text)})", reply.raw, reply.code)
    state.lacking = reply


def _behind_teaser(fault: Violation) -> Reply | None:
    """Return the refusal behind a banner's first lines, None where there is none.

    Postfix's postscreen sends these before it has made up its mind (postscreen_greet_banner).
    """
    *teaser, last = fault.said.split(b"\n")
    if fault.reason != "codes differ" or not all(line.startswith(b"220-") for line in teaser):
        return None
    return Reply(int(last[:3]), (last,)) if last[:1] in (b"4", b"5") else None


def _first_reply(state: ProbeState) -> Procedure[Reply]:
    """Return the banner.

    Raises:
        Violation: the server has been silent for most of the time, since it waits for TLS. No
            server does on port 25, where some hold it against a client that speaks first, and every
            one on 465.
    """
    settings, endpoint = state.settings, state.settings.endpoint
    if (
        settings.tls.mode == "implicit"
        or endpoint.port in (SMTP_PORT, SUBMISSIONS_PORT)
        or endpoint.timeout < PATIENT
        or endpoint.proxy
        or endpoint.has_several
        or state.target.host.kind == "socket"
    ):
        return (yield from listen(state))
    try:
        data: bytes = yield Read(PATIENCE * endpoint.timeout, False)
    except Expired:
        raise
    except TimedOut:
        if (yield from load("stages.silence:awaits_tls")(state)):
            raise Violation("TLS instead of SMTP", reason="tls spoken") from None
        return (yield from listen(state))
    return (yield from listen(state, data))


def _is_too_early(reply: Reply) -> bool:
    """Whether a server refuses whom it has heard before it spoke: Exim and postscreen do."""
    return any(word in reply.raw.lower() for word in (b"synchroni", b"protocol error"))


def leave(state: ProbeState) -> StageRun:
    """Say QUIT and wait for the reply or the connection's end."""
    try:
        reply = yield from ask(state, "QUIT")
        if reply.code != 421:  # this is a farewell, too
            require_code(reply, 221)
    except Disconnected:
        pass  # that is an answer, too
