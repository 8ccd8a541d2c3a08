"""Whether each address has a name that leads back to it, and whether the server says that name."""

from __future__ import annotations

import ipaddress

from check_smtp_health.config.hosts import is_name
from check_smtp_health.errors import PeerFault
from check_smtp_health.escaping import printable
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.dns import ask
from check_smtp_health.net.operations import together
from check_smtp_health.policy import need_addresses, server_addresses, unknown_addresses
from check_smtp_health.report import Finding, PolicyResult, first_of
from check_smtp_health.smtp.firewall import masked
from check_smtp_health.stages.greeting import own_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.masking import Mask
    from check_smtp_health.net.dns import Records, Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.stages.state import ProbeState

NAMES_LIMIT = 16
"""Names of one address that are looked up: some addresses have hundreds, and mail servers one."""

NAMES_SHOWN = 3


class _Judged(NamedTuple):
    """What is known of one address."""

    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


def prepare(values: Sequence[str], settings: Settings, servers: Servers) -> Servers:
    """Return whom to ask.

    Raises:
        UsageFault: a host has no address.
    """
    need_addresses("reverse", settings.endpoint.hosts)
    return servers


def check(servers: Servers, state: ProbeState) -> Procedure[PolicyResult | None]:
    """Look up the names of all of the server's addresses, and compare them with what it says."""
    addresses = server_addresses(state)
    if not addresses:
        return None
    said = dict(_names_said(state))
    is_masked = bool(masked(said.get("banner", "").encode(), {}))
    if is_masked:
        del said["banner"]
    results: list[_Judged | PeerFault] = yield from together(
        _judge(servers, one, said, state.mask, is_only=len(addresses) == 1) for one in addresses
    )
    findings: list[Finding] = []
    notes: list[str] = []
    for result in results:
        if isinstance(result, PeerFault):
            findings.append(Finding(result.kind, result.sentence))
        else:
            findings += result.findings
            notes += result.notes
    if is_masked:
        problem = "a firewall masks the banner, and the server's name in it"
        findings.append(Finding("misconfigured", problem, reason="masked"))
    findings += unknown_addresses(state)
    held = "" if findings else "name server agrees (reverse)"
    return PolicyResult("reverse", tuple(findings), tuple(notes), held=held)


def of_address(asked: tuple[Servers, str], state: ProbeState) -> Procedure[PolicyResult | None]:
    """Look up the names of an address that another server has; what it says is not known.

    Raises:
        DnsUnanswered: nobody tells the names of the address.
    """
    servers, address = asked
    judged = yield from _judge(servers, address, {}, state.mask, is_only=True)
    return PolicyResult("reverse", judged.findings, judged.notes)


def _names_said(state: ProbeState) -> Iterator[tuple[str, str]]:
    """Give what the server calls itself, and where it does."""
    for where, text in state.names.items():
        own = (*text.decode("utf-8", "replace").split(), "")[0].rstrip(",;:")
        if where == "banner" or _is_of_server(own, own_name(state)):
            yield where, own


def _is_of_server(word: str, client: str) -> bool:
    """Whether the first word of a reply to HELO is a domain, and not the one that we said.

    It is to be the server's (RFC 5321 section 4.1.1.1), but many only greet, or repeat ours.
    """
    name = plain_name(word)
    return "." in name and is_name(name) and name != plain_name(client)


def _judge(
    servers: Servers, address: str, said: Mapping[str, str], mask: Mask, *, is_only: bool
) -> Procedure[_Judged]:
    """Look up the names of one address.

    Raises:
        DnsUnanswered: no name server answers.
    """
    ip = ipaddress.ip_address(address)
    records = yield from ask(servers, ip.reverse_pointer, "PTR")
    names = sorted(plain_name(str(value.target)) for value in records.values)
    if not names:
        return _Judged((Finding("misconfigured", f"{address} has no PTR record"),))
    kind = "A" if ip.version == 4 else "AAAA"
    asked = names[:NAMES_LIMIT]
    answers = yield from together(ask(servers, one, kind) for one in asked)
    findings = list(_confirmation(ip, asked, answers, mask))
    record = "the PTR record" if is_only else f"the PTR record of {address}"
    for where, own in said.items():
        if plain_name(own) not in names:
            words = f"says '{printable(mask.applied(own), 80)}'" if own else "says no name"
            problem = f"{where} {words}, {record} {_listed(names, mask)}"
            findings.append(Finding("misconfigured", problem))
    return _Judged(tuple(findings), (f"{address} is {_listed(names, mask)}",))


def _confirmation(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
    names: Sequence[str],
    answers: Sequence[Records | PeerFault],
    mask: Mask,
) -> Sequence[Finding]:
    """Return a finding where no name leads back to the address."""
    for answer in answers:
        if not isinstance(answer, PeerFault) and any(
            ipaddress.ip_address(value.address) == ip for value in answer.values
        ):
            return ()
    for answer in answers:
        if isinstance(answer, PeerFault):
            return (Finding("unanswered", answer.sentence),)
    leads = "does not lead" if len(names) == 1 else "do not lead"
    return (Finding("misconfigured", f"{_listed(names, mask)} {leads} back to {ip}"),)


def _listed(names: Sequence[str], mask: Mask) -> str:
    # Masked before it is cut: half of a secret would not be recognised.
    return first_of(names, NAMES_SHOWN, lambda name: printable(mask.applied(name), 80))
