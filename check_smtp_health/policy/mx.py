"""The hosts that take a domain's mail (RFC 5321 section 5.1, RFC 7505)."""

from __future__ import annotations

from check_smtp_health.config import parsers
from check_smtp_health.errors import DnsUnanswered, SessionFault, Unresolvable, UsageFault
from check_smtp_health.escaping import printable
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import dns
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.operations import Together, untimed
from check_smtp_health.report import Finding, PolicyResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.net.dns import Records, Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.report import Host


class MxSet(NamedTuple):
    """The names of a domain's hosts, those of the lowest preference first, and what is odd.

    ``is_secure`` is whether DNSSEC vouches for them. ``names`` are the domain's, where it has MX
    records: its own, and the one that aliases lead to.
    """

    hosts: tuple[Host, ...]
    result: PolicyResult
    is_secure: bool = False
    names: tuple[str, ...] = ()


def find(servers: Servers, domain: Host) -> Procedure[MxSet]:
    """Return the MX set of a domain; without one, the domain is its own host.

    Raises:
        Unresolvable: the domain does not exist, takes no mail, or cannot be asked about.
    """
    try:
        records = yield from dns.query(servers, domain.ascii, "MX")
    except DnsUnanswered as fault:
        raise Unresolvable(fault.sentence) from fault
    if not records.exists:
        raise Unresolvable("no such domain")
    if not records.values:
        # Section 5.1: the implicit MX.
        result = PolicyResult("mx", notes=(f"{domain.given} has no MX record",))
        return MxSet((domain,), result, records.is_secure)
    rows = sorted((one.preference, _text(one.exchange)) for one in records.values)
    named = [(preference, name) for preference, name in rows if name]
    if not named:
        raise Unresolvable("the domain takes no mail (null MX)")
    findings = []
    if len(named) < len(rows):
        # RFC 7505 section 3: a null MX is to be the only one.
        findings.append(Finding("misconfigured", "a null MX stands beside others"))
    hosts = []
    for name in dict.fromkeys(name for _, name in named):
        host = _host(name)
        if host is None:
            findings.append(Finding("misconfigured", f"{printable(name)} is not a host name"))
        else:
            hosts.append(host)
    if not hosts:
        raise Unresolvable(f"the MX is {printable(named[0][1])}, which is not a host name")
    aliases = yield Together([untimed(dns.query(servers, one.ascii, "CNAME")) for one in hosts])
    findings += [
        Finding("misconfigured", f"{host.given} is an alias (CNAME)")
        for host, alias in zip(hosts, aliases)
        if _is_alias(alias)
    ]
    notes = tuple(f"{preference} {printable(name)}" for preference, name in named)
    names = tuple(dict.fromkeys((plain_name(domain.ascii), plain_name(records.canonical))))
    result = PolicyResult("mx", tuple(findings), notes)
    return MxSet(tuple(hosts), result, records.is_secure, names)


def _text(name: object) -> str:
    return plain_name(str(name))


def _host(name: str) -> Host | None:
    """Return the host of an MX; an address, for which many take it, is none (section 5.1)."""
    try:
        host = parsers.host(name)
    except UsageFault:
        return None
    return host if host.kind == "name" else None


def _is_alias(result: Records | SessionFault) -> bool:
    """Whether there is a CNAME (RFC 2181 section 10.3); no answer will show when it is probed."""
    return not isinstance(result, SessionFault) and bool(result.values)
