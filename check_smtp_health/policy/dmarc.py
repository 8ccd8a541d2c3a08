"""What a domain asks receivers to do with unauthenticated mail: DMARC (RFC 9989)."""

from __future__ import annotations

import re

from check_smtp_health.errors import PeerFault
from check_smtp_health.escaping import printable
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.dns import ask
from check_smtp_health.net.operations import together
from check_smtp_health.policy.records import repeated, tags, texts
from check_smtp_health.report import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure

LABELS_LIMIT = 8
"""Names that a walk asks about: of a longer one, itself and the last seven (section 4.10)."""

DESTINATIONS_LIMIT = 10
"""Addresses for reports of each kind that are looked at."""

POLICIES = ("none", "quarantine", "reject")

_RECORD = rb"v[ \t]*=[ \t]*DMARC1[ \t]*(;|\Z)"
_MAILTO = r"mailto:[^@\s]+@([A-Za-z0-9_.-]+)"
_REMOVED = ("pct", "rf", "ri")


class Published(NamedTuple):
    """What was found for a domain.

    ``policy`` is what applies to it, empty where nothing does; the rest is as in ``PolicyResult``.
    """

    policy: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


class Applied(NamedTuple):
    """What receivers do by: ``policy`` is empty where no record applies.

    ``strict`` are the methods by which the very domain must have been authenticated.
    """

    policy: str
    organization: str
    strict: frozenset[str] = frozenset()


class _Walk(NamedTuple):
    """The records at and above a domain, and the name at which its organization begins.

    ``suffix`` is the public one above it, where that says so itself.
    """

    records: Mapping[str, bytes]
    several: Sequence[str]
    organization: str
    suffix: str


def check(servers: Servers, domain: str) -> Procedure[Published]:
    """Find the record that applies to a domain, and say what is wrong with it.

    Raises:
        DnsUnanswered: no name server answers.
    """
    walk = yield from _walked(servers, domain)
    findings = [
        Finding("unauthorised", f"{name} has several DMARC records, so none counts")
        for name in walk.several
        if name == domain
    ]
    # Section 4.10.1: this is the order in which receivers take them.
    names = (domain, walk.organization, walk.suffix)
    where = next((name for name in names if name in walk.records), None)
    if where is None:
        if not findings:
            findings.append(Finding("unauthorised", f"{domain} has no DMARC record"))
        return Published("", tuple(findings), ())
    said = walk.records[where]
    fields, twice = tags(said), repeated(said)
    if twice:
        problem = f"DMARC of {where} has {printable(twice)}= twice, so it is invalid"
        return Published("", (Finding("unauthorised", problem, said),), ())
    policy, more = _policy(fields, where, is_above=where != domain)
    findings += more
    if not policy or where == walk.suffix:  # whose reports are not about this domain
        return Published(policy, tuple(findings), (f"DMARC of {where}: {printable(said)}",))
    destinations: dict[str, None] = {}
    for tag in ("rua", "ruf"):
        for uri in fields.get(tag, "").split(",", DESTINATIONS_LIMIT)[:DESTINATIONS_LIMIT]:
            found = _mailto(uri)
            if not uri.strip() and not fields.get(tag):
                continue
            if found is None:
                problem = f"DMARC of {where}: {tag} is not a mailto: URI"
                findings.append(Finding("misconfigured", problem, uri.strip().encode()))
            else:
                destinations[plain_name(found[1])] = None
    if "rua" not in fields:
        findings.append(Finding("noted", f"DMARC of {where} asks for no reports (rua)"))
    findings += yield from _unwanted(servers, where, walk.organization, list(destinations))
    return Published(policy, tuple(findings), (f"DMARC of {where}: {printable(said)}",))


def applied(servers: Servers, domain: str) -> Procedure[Applied]:
    """Return what applies to a message of an author in this domain.

    Raises:
        DnsUnanswered: nobody tells.
    """
    walk = yield from _walked(servers, domain)
    names = (domain, walk.organization, walk.suffix)
    where = next((name for name in names if name in walk.records), None)
    if where is None or repeated(walk.records[where]):
        return Applied("", walk.organization)
    fields = tags(walk.records[where])
    policy, _ = _policy(fields, where, is_above=where != domain)
    strict = {
        method
        for method, tag in (("dkim", "adkim"), ("spf", "aspf"))
        if fields.get(tag, "").lower() == "s"
    }
    return Applied(policy, walk.organization, frozenset(strict))


def organization(servers: Servers, domain: str) -> Procedure[str]:
    """Return the name at which the organization begins that a domain belongs to (section 4.10.2).

    Raises:
        DnsUnanswered: nobody tells.
    """
    return (yield from _walked(servers, domain)).organization


def _mailto(uri: str) -> re.Match[str] | None:
    """Return the match of a URI to which reports can be sent; old ones have a size behind ``!``."""
    return re.fullmatch(_MAILTO, uri.strip().partition("!")[0], re.IGNORECASE)


def _policy(
    fields: Mapping[str, str], where: str, *, is_above: bool
) -> tuple[str, Sequence[Finding]]:
    """Return the policy, and what is to be said of the tags that make it (section 4.7)."""
    findings = []
    policy = fields.get("p", "").lower()
    # Section 4.10.1: all that are there must be valid, and p must be there.
    required = ("p", *(tag for tag in ("sp", "np") if tag in fields))
    invalid = [tag for tag in required if fields.get(tag, "").lower() not in POLICIES]
    if invalid:
        said = fields.get(invalid[0], "").encode()
        if any(_mailto(one) for one in fields.get("rua", "").split(",", DESTINATIONS_LIMIT)):
            problem = f"DMARC of {where} has no valid {invalid[0]}, which means none"
            findings.append(Finding("misconfigured", problem, said))
            policy = "none"
        else:
            problem = f"DMARC of {where} has no valid {invalid[0]}, so it does not count"
            return "", [Finding("unauthorised", problem, said)]
    elif is_above and "sp" in fields:
        policy = fields["sp"].lower()
    if policy == "none":
        findings.append(Finding("noted", f"DMARC of {where} has policy none"))
    if fields.get("t", "").lower() == "y":
        findings.append(Finding("noted", f"DMARC of {where} is in test mode (t=y)"))
    removed = [tag for tag in _REMOVED if tag in fields]
    if removed:
        problem = f"DMARC of {where} has {', '.join(removed)}, without meaning since RFC 9989"
        findings.append(Finding("noted", problem))
    return policy, findings


def _unwanted(
    servers: Servers, where: str, organization: str, destinations: Sequence[str]
) -> Procedure[list[Finding]]:
    """Return a finding for each domain that would get reports and has not agreed (RFC 9990)."""
    walks = yield from together(_walked(servers, one) for one in destinations)
    foreign = [
        name
        for name, walk in zip(destinations, walks)
        if not isinstance(walk, PeerFault) and walk.organization != organization
    ]
    answers = yield from together(
        ask(servers, f"{where}._report._dmarc.{name}", "TXT") for name in foreign
    )
    return [
        Finding("misconfigured", f"{name} has not agreed to get DMARC reports about {where}")
        for name, answer in zip(foreign, answers)
        if not isinstance(answer, PeerFault)
        and not any(re.match(_RECORD, text) for text in texts(answer))
    ]


def _walked(servers: Servers, domain: str) -> Procedure[_Walk]:
    """Walk up the tree from a domain (section 4.10)."""
    labels = domain.split(".")
    starts = [0, *range(max(1, len(labels) - LABELS_LIMIT + 1), len(labels))]
    names = [".".join(labels[start:]) for start in starts]
    answers = yield from together(ask(servers, f"_dmarc.{name}", "TXT") for name in names)
    records: dict[str, bytes] = {}
    several = []
    organization = suffix = ""
    for name, answer in zip(names, answers):
        if isinstance(answer, PeerFault):
            if name == domain or not records:
                raise answer
            break
        own = [text for text in texts(answer) if re.match(_RECORD, text)]
        if len(own) > 1:
            several.append(name)
        if len(own) != 1:
            continue
        records[name] = own[0]
        mark = tags(own[0]).get("psd", "").lower()
        if mark == "y" and name != domain:
            # The level below is where an organization begins; a walk may not have asked about it.
            suffix = name
            organization = ".".join(labels[-name.count(".") - 2 :])
            break
        organization = name
        if mark in ("n", "y"):
            break
    return _Walk(records, several, organization or domain, suffix)
