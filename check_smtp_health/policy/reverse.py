"""Whether an address has a name, whether that leads back to it, and whether the server says it."""

from __future__ import annotations

import ipaddress

from check_smtp_health.errors import PeerFault
from check_smtp_health.observation import Finding, Verdict
from check_smtp_health.policy.asking import ask, together
from check_smtp_health.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from check_smtp_health.net.lookup import Records, Servers
    from check_smtp_health.net.wishes import Run

NAMES_LIMIT = 16
"""Names of one address that are looked up: some addresses have hundreds, and mail servers one."""

NAMES_SHOWN = 3


def check(servers: Servers, address: str, said: Mapping[str, bytes]) -> Run[Verdict]:
    """Look up the names of an address, and hold those that the server says against them.

    ``said`` has the text of the banner and of the reply to HELO, as far as they came.

    Raises:
        Unanswered: nobody tells the names of the address.
    """
    ip = ipaddress.ip_address(address)
    records = yield from ask(servers, ip.reverse_pointer, "PTR")
    names = sorted(_plain(str(value.target)) for value in records.values)
    if not names:
        return Verdict("reverse", (Finding("misconfigured", f"{address} has no PTR record"),))
    kind = "A" if ip.version == 4 else "AAAA"
    asked = names[:NAMES_LIMIT]
    answers = yield from together(ask(servers, one, kind) for one in asked)
    findings = list(_confirmation(ip, asked, answers))
    for where, text in said.items():
        findings += _agreement(where, text, names)
    return Verdict("reverse", tuple(findings), (f"{address} is {_listed(names)}",))


def _confirmation(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
    names: Sequence[str],
    answers: Sequence[Records | PeerFault],
) -> Sequence[Finding]:
    """Return a finding where no name leads back to the address."""
    for answer in answers:
        if not isinstance(answer, PeerFault) and any(
            ipaddress.ip_address(value.address) == ip for value in answer.values
        ):
            return ()
    for answer in answers:
        if isinstance(answer, PeerFault):
            return (Finding("unanswered", answer.problem),)
    leads = "does not lead" if len(names) == 1 else "do not lead"
    return (Finding("misconfigured", f"{_listed(names)} {leads} back to {ip}"),)


def _agreement(where: str, text: bytes, names: Sequence[str]) -> Sequence[Finding]:
    """Return a finding where the server calls itself what its address is not called."""
    own = (*text.decode("utf-8", "replace").split(), "")[0]
    if _plain(own) in names:
        return ()
    said = f"says '{printable(own, 80)}'" if own else "says no name"
    return (Finding("misconfigured", f"{where} {said}, the PTR record {_listed(names)}"),)


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(printable(name, 80) for name in names[:NAMES_SHOWN])
    return shown + (f" and {more} more" if more > 0 else "")
