"""The hosts that take a domain's mail (RFC 5321 section 5.1, RFC 7505)."""

from __future__ import annotations

from check_smtp_health import arguments
from check_smtp_health.errors import SessionFault, Unanswered, Unresolvable, UsageFault
from check_smtp_health.net import lookup
from check_smtp_health.net.wishes import Together, answered
from check_smtp_health.observation import Finding, Verdict
from check_smtp_health.text import printable
from check_smtp_health.values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.arguments import Host
    from check_smtp_health.net.lookup import Records, Servers
    from check_smtp_health.net.wishes import Run


class MxSet(NamedTuple):
    """The names of a domain's hosts, those of the lowest preference first, and what is odd.

    ``is_secure`` is whether DNSSEC vouches for them.
    """

    hosts: tuple[Host, ...]
    verdict: Verdict
    is_secure: bool = False


def find(servers: Servers, domain: Host) -> Run[MxSet]:
    """Return the MX set of a domain; without one, the domain is its own host.

    Raises:
        Unresolvable: the domain does not exist, takes no mail, or cannot be asked about.
    """
    try:
        records = yield from lookup.ask(servers, domain.ascii, "MX")
    except Unanswered as fault:
        raise Unresolvable(fault.problem) from fault
    if not records.exists:
        raise Unresolvable("no such domain")
    if not records.values:
        # Section 5.1: the implicit MX.
        verdict = Verdict("mx", notes=(f"{domain.given} has no MX record",))
        return MxSet((domain,), verdict, records.is_secure)
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
            findings.append(Finding("misconfigured", f"{printable(name)} is no host name"))
        else:
            hosts.append(host)
    if not hosts:
        raise Unresolvable(f"the MX is {printable(named[0][1])}, which is no host name")
    aliases = yield Together([answered(lookup.ask(servers, one.ascii, "CNAME")) for one in hosts])
    findings += [
        Finding("misconfigured", f"{host.given} is an alias (CNAME)")
        for host, alias in zip(hosts, aliases)
        if _is_alias(alias)
    ]
    notes = tuple(f"{preference} {printable(name)}" for preference, name in named)
    return MxSet(tuple(hosts), Verdict("mx", tuple(findings), notes), records.is_secure)


def _text(name: object) -> str:
    return str(name).rstrip(".").lower()


def _host(name: str) -> Host | None:
    """Return the host of an MX; an address, for which many take it, is none (section 5.1)."""
    try:
        host = arguments.host(name)
    except UsageFault:
        return None
    return host if host.kind == "name" else None


def _is_alias(result: Records | SessionFault) -> bool:
    """Whether there is a CNAME (RFC 2181 section 10.3); no answer will show when it is probed."""
    return not isinstance(result, SessionFault) and bool(result.values)
