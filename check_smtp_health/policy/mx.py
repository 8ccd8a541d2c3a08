"""The hosts that receive a domain's mail (RFC 5321 section 5.1, RFC 7505), and whether they can.

One that leads back to whoever asks, or to nobody, takes none: probed, the monitoring host's own
server would answer for it. Private addresses are fine (split DNS).
"""

from __future__ import annotations

import contextlib
import ipaddress

from check_smtp_health.config import hosts
from check_smtp_health.errors import Misdirected, SessionFault, Unresolvable, UsageFault
from check_smtp_health.escaping import printable
from check_smtp_health.faults import DnsUnanswered
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import dns
from check_smtp_health.net.addresses import plain_address, plain_name
from check_smtp_health.net.operations import Together, untimed
from check_smtp_health.report import Finding, PolicyResult
from check_smtp_health.stages import connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.dns import Records, Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.report import Host
    from check_smtp_health.stages.state import ProbeState, StageRun

LOOPBACK = ("127.0.0.1", "::1")
"""The client itself. The rest of 127.0.0.0/8 is left for whoever has put a server there."""

BROADCAST = "255.255.255.255"


class MxSet(NamedTuple):
    """The names of a domain's hosts, those of the lowest preference first, and what is odd.

    ``is_secure`` is whether DNSSEC vouches for them. ``names`` are the domain's, where it has MX
    records: its own, and the one that aliases lead to.
    """

    hosts: tuple[Host, ...]
    result: PolicyResult
    is_secure: bool = False
    names: tuple[str, ...] = ()


def find(servers: Servers, domain: Host, expected: Sequence[Host] = ()) -> Procedure[MxSet]:
    """Return the MX set of a domain; without one, the domain is its own host.

    Where hosts are ``expected``, it is compared with them.

    Raises:
        Unresolvable: the domain does not exist, takes no mail, or cannot be asked about.
    """
    try:
        records = yield from dns.query(servers, domain.ascii, "MX")
    except DnsUnanswered as fault:
        raise Unresolvable(fault.sentence, reason="unanswered") from fault
    if not records.exists:
        raise Unresolvable("no such domain")
    if not records.values:
        # Section 5.1: the implicit MX.
        findings = list(_surprises([domain.dns_name], expected))
        notes: tuple[str, ...] = (f"{domain.given} has no MX record",)
        return MxSet((domain,), _result(findings, notes, expected), records.is_secure)
    rows = sorted((one.preference, _text(one.exchange)) for one in records.values)
    named = [(preference, name) for preference, name in rows if name]
    if not named:
        raise Unresolvable("the domain accepts no mail (null MX)", reason="null mx")
    findings = list(_surprises([name for _, name in named], expected))
    if len(named) < len(rows):
        # RFC 7505 section 3: a null MX is to be the only one.
        findings.append(Finding("misconfigured", "a null MX is not the only MX record"))
    hosts = []
    for name in dict.fromkeys(name for _, name in named):
        host = _host(name)
        if host is None:
            findings.append(Finding("misconfigured", f"{printable(name)} is not a host name"))
        else:
            hosts.append(host)
    if not hosts:
        raise Unresolvable(f"the MX is {printable(named[0][1])}, which is not a host name")
    aliases = yield Together(
        [untimed(dns.query(servers, one.ascii, "CNAME", rounds=dns.ASIDE)) for one in hosts]
    )
    findings += [
        Finding("misconfigured", f"{host.given} is an alias (CNAME)")
        for host, alias in zip(hosts, aliases)
        if _is_alias(alias)
    ]
    notes = tuple(f"{preference} {printable(name)}" for preference, name in named)
    result = _result(findings, notes, expected)
    names = tuple(dict.fromkeys((plain_name(domain.ascii), plain_name(records.canonical))))
    return MxSet(tuple(hosts), result, records.is_secure, names)


def _surprises(names: Iterable[str], expected: Sequence[Host]) -> Iterator[Finding]:
    """Give a finding for each host that is there and not expected, or the reverse."""
    if not expected:
        return
    found = dict.fromkeys(map(plain_name, names))
    wanted = {plain_name(host.ascii): host.given for host in expected}
    for name in found:
        if name not in wanted:
            problem = f"the MX set has {printable(name)}, which is not expected"
            yield Finding("uncovered", problem)
    for name, given in wanted.items():
        if name not in found:
            yield Finding("uncovered", f"the MX set does not have {given}, which is expected")


def _result(
    findings: Sequence[Finding], notes: tuple[str, ...], expected: Sequence[Host]
) -> PolicyResult:
    is_as_expected = expected and not any(one.kind == "uncovered" for one in findings)
    held = "MX set as expected" if is_as_expected else ""
    return PolicyResult("mx", tuple(findings), notes, held=held)


def resolve(state: ProbeState) -> StageRun:
    """Look up the addresses of an MX host.

    Raises:
        Misdirected: it is the client's own, or nobody's at all.
    """
    host = state.target.host
    name = plain_name(host.dns_name)
    # RFC 6761 section 6.3: all names below it mean the same.
    if name == "localhost" or name.endswith(".localhost"):
        raise Misdirected(f"the MX is {host.given}, so no mail gets there")
    yield from connection.resolve(state)
    endpoint, servers = state.settings.endpoint, state.prepared.servers
    bad = astray(state.connection.addresses)
    if bad and not endpoint.nameservers and servers is not None:
        # /etc/hosts of a mail server often has its name with 127.0.0.1. Senders use DNS.
        wanted = (host.ascii, endpoint.port, endpoint.family)
        with contextlib.suppress(Unresolvable):
            found = yield from dns.resolve(servers, *wanted)
            state.connection.addresses, state.connection.unknown = found
            bad = astray(state.connection.addresses)
    if bad:
        state.connection.addresses = ()  # no policy is to ask about them, either
        raise misdirected(host, bad)


def misdirected(host: Host, bad: str) -> Misdirected:
    """Return the fault for an MX host that has a bad address, see ``astray``."""
    return Misdirected(f"{host.given} has {bad}, so no mail gets there")


def astray(addresses: Iterable[Address]) -> str:
    """Return an address that leads to nobody else, and what is wrong with it, if there is one."""
    for one in addresses:
        address = plain_address(one.host)
        ip = ipaddress.ip_address(address)
        for is_so, what in (
            (address in LOOPBACK, "a loopback address"),
            (ip.is_unspecified, "an unspecified address"),
            (ip.is_multicast, "a multicast address"),
            (address == BROADCAST, "a broadcast address"),
        ):
            if is_so:
                return f"{one.host}, {what}"
    return ""


def _text(name: object) -> str:
    return plain_name(str(name))


def _host(name: str) -> Host | None:
    """Return the host of an MX, which an address is not, although many use one (section 5.1)."""
    try:
        host = hosts.host(name)
    except UsageFault:
        return None
    return host if host.kind == "name" else None


def _is_alias(result: Records | SessionFault) -> bool:
    """Whether there is a CNAME (RFC 2181 section 10.3); no answer will show when it is probed."""
    return not isinstance(result, SessionFault) and bool(result.values)
