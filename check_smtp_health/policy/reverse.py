"""Whether an address has a name, whether that leads back to it, and whether the server says it."""

from __future__ import annotations

import ipaddress

from check_smtp_health.errors import PeerFault
from check_smtp_health.escaping import printable
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.dns import ask, together
from check_smtp_health.policy import need_addresses, server_address
from check_smtp_health.report import Finding, PolicyResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.masking import Mask
    from check_smtp_health.net.dns import Records, Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.stages.state import ProbeState

NAMES_LIMIT = 16
"""Names of one address that are looked up: some addresses have hundreds, and mail servers one."""

NAMES_SHOWN = 3


def prepare(values: Sequence[str], settings: Settings, servers: Servers) -> Servers:
    """Return whom to ask.

    Raises:
        UsageFault: a host has no address.
    """
    need_addresses("reverse", settings.endpoint.hosts)
    return servers


def check(servers: Servers, state: ProbeState) -> Procedure[PolicyResult | None]:
    """Look up the names of the server's address, and hold what the server says against them.

    Raises:
        DnsUnanswered: nobody tells the names of the address.
    """
    address = server_address(state)
    if not address:
        return None
    ip = ipaddress.ip_address(address)
    records = yield from ask(servers, ip.reverse_pointer, "PTR")
    names = sorted(plain_name(str(value.target)) for value in records.values)
    if not names:
        return PolicyResult("reverse", (Finding("misconfigured", f"{address} has no PTR record"),))
    kind = "A" if ip.version == 4 else "AAAA"
    asked = names[:NAMES_LIMIT]
    answers = yield from together(ask(servers, one, kind) for one in asked)
    findings = list(_confirmation(ip, asked, answers, state.mask))
    for where, text in state.names.items():
        findings += _agreement(where, text, names, state.mask)
    held = "" if findings else "name server agrees (reverse)"
    note = f"{address} is {_listed(names, state.mask)}"
    return PolicyResult("reverse", tuple(findings), (note,), held=held)


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


def _agreement(where: str, text: bytes, names: Sequence[str], mask: Mask) -> Sequence[Finding]:
    """Return a finding where the server calls itself what its address is not called."""
    own = (*text.decode("utf-8", "replace").split(), "")[0]
    if plain_name(own) in names:
        return ()
    said = f"says '{printable(mask.applied(own), 80)}'" if own else "says no name"
    return (Finding("misconfigured", f"{where} {said}, the PTR record {_listed(names, mask)}"),)


def _listed(names: Sequence[str], mask: Mask) -> str:
    # Masked before it is cut: half of a secret would not be known as one.
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(printable(mask.applied(name), 80) for name in names[:NAMES_SHOWN])
    return shown + (f" and {more} more" if more > 0 else "")
