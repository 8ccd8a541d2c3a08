"""Whether a domain's MTA-STS policy can be fetched and covers its MX set (RFC 8461); TLSRPT."""

from __future__ import annotations

import re

from check_smtp_health.config import hosts
from check_smtp_health.errors import PeerFault, TimedOut, UsageFault
from check_smtp_health.escaping import printable
from check_smtp_health.faults import NoPolicy, UntestedPolicy
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import https
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.dns import ASIDE, ask
from check_smtp_health.net.operations import together
from check_smtp_health.policy import mx
from check_smtp_health.policy.mta_sts_host import as_senders, is_known, look_up
from check_smtp_health.policy.records import texts
from check_smtp_health.report import Finding, PolicyResult
from check_smtp_health.stages.encryption import made, tls_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Kind
    from check_smtp_health.net.certificate import Handshake
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.https import Client
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.net.trust import Trust
    from check_smtp_health.policy import Domain
    from check_smtp_health.report import Host, Report

    Mode = Literal["enforce", "testing", "none"]

_MODES: dict[str, Mode] = {"enforce": "enforce", "testing": "testing", "none": "none"}

PATH = "/.well-known/mta-sts.txt"

MAX_AGE_LIMIT = 31557600
"""Seconds that a policy may be kept: a year (RFC 8461 section 3.2)."""

MAX_AGE_LEAST = 86400
"""Seconds that a policy should be kept: RFC 8461 section 3.2 expects weeks, and an attacker who
withholds the policy for a day defeats a shorter one."""

# RFC 8461 sections 3.1 and 3.2.
_RECORD = rb"v=STSv1[ \t]*;"
_ID = r"[A-Za-z0-9]{1,32}"
_FIELD = r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})[ \t]*:(.*)"
_PATTERN = r"(?:\*\.)?(?:[A-Za-z0-9_-]+\.)*[A-Za-z0-9_-]+\.?"

# RFC 8460 section 3.
_REPORTING = rb"v=TLSRPTv1[ \t]*;"
_REPORTS_TO = rb"(?i)mailto:[^\s@]+@[^\s@]+|https://[^\s/?#]+\S*"


class Policy(NamedTuple):
    """What a policy file says; ``patterns`` in lower case, ``max_age`` in seconds."""

    mode: Mode
    max_age: int
    patterns: tuple[str, ...]


class Asked(NamedTuple):
    """How a policy is fetched, what to trust when its MX hosts are looked at, and the rest."""

    client: Client
    mx_hosts: Trust
    settings: Settings


def prepare(values: Sequence[str], settings: Settings, servers: Servers) -> Asked:
    """Return whom to trust and how to ask: never nothing, and a policy host is shown none of ours.

    Raises:
        UsageFault: there is no TLS, a host is not a domain, or a file or the proxy cannot be used.
    """
    hosts.need_names("mta-sts", settings.endpoint.hosts)
    if not settings.tls.mode:
        raise UsageFault("mta-sts", "needs TLS, add -S or --ssl")
    options = as_senders(tls_options(settings))
    mx_hosts = trust = made(options)
    if options.certfile is not None:
        trust = made(options._replace(certfile=None, keyfile=None))
    client = https.prepare("mta-sts", trust, servers, settings.endpoint)
    return Asked(client, mx_hosts, settings)


def check(asked: Asked, domain: Domain) -> Procedure[PolicyResult | None]:
    """Compare a domain's policy with its MX set.

    Raises:
        NoPolicy: there is no policy that senders could follow.
        PeerFault: the domain's DNS gives no answer, or the deadline came first.
    """
    servers, name = domain.servers, domain.host.dns_name
    record, report, found = yield from together(
        [
            ask(servers, f"_mta-sts.{name}", "TXT"),
            ask(servers, f"_smtp._tls.{name}", "TXT", rounds=ASIDE),
            _hosts(domain),
        ]
    )
    for answer in (record, found):
        if isinstance(answer, PeerFault):
            raise answer
    identity = policy_id(texts(record), name)
    policy, tls = yield from _policy(asked.client, name)
    findings = []
    if policy.mode != "none":
        patterns = frozenset(policy.patterns)
        findings += [
            Finding("uncovered", f"the policy does not cover {printable(host.given)}")
            for host in found
            if not is_covered(host.ascii, patterns)
        ]
        findings += (yield from _unprobed(asked, domain, found)) + _odd(policy)
    if policy.mode == "testing":
        findings = list(map(_tested, findings))
    if policy.mode != "enforce":
        findings.append(Finding("noted", f"mode {policy.mode}"))
    if not isinstance(report, PeerFault):
        findings += misdirected(texts(report))
    notes = (
        f"policy {identity}, mode {policy.mode}, max_age {policy.max_age}",
        *(f"mx {pattern}" for pattern in policy.patterns),
        reporting(report.sentence if isinstance(report, PeerFault) else texts(report)),
    )
    is_held = policy.mode == "enforce" and all(one.kind == "noted" for one in findings)
    return PolicyResult(
        "mta-sts",
        tuple(findings),
        notes,
        held="MTA-STS enforce" if is_held else "",
        certificates=tls.certificates(f"mta-sts.{name}"),
        mode=policy.mode,
    )


def _unprobed(asked: Asked, domain: Domain, hosts: Sequence[Host]) -> Procedure[list[Finding]]:
    """Return what is wrong with the TLS of those MX hosts that the run does not probe."""
    settings = asked.settings
    others = [
        host
        for host in (hosts if domain.hosts is None else ())
        if host != domain.host or not is_known(settings, host.dns_name)
    ]
    found = yield from together(
        [look_up(asked.mx_hosts, host, settings, domain.servers) for host in others]
    )
    return [
        one._replace(problem=f"{printable(host.given)}: {one.problem}")
        for host, several in zip(others, found)
        for one in several
    ]


def _odd(policy: Policy) -> list[Finding]:
    """Return what the owner of a policy probably did not intend."""
    odd = [
        Finding("misconfigured", f"the policy's mx {pattern} is an address, which no MX host is")
        for pattern in policy.patterns
        if hosts.ip_version(pattern) is not None
    ]
    if policy.max_age < MAX_AGE_LEAST:
        odd.append(Finding("noted", f"max_age {policy.max_age} is under a day"))
    return odd


_ENFORCED: tuple[Kind, ...] = ("untrusted", "uncovered", "handshake_failed", "not_offered")
"""Failures for which senders hold mail back if the policy is enforced, and only report if not."""


def _tested(finding: Finding) -> Finding:
    return finding._replace(kind="misconfigured") if finding.kind in _ENFORCED else finding


def on_hosts(results: Sequence[PolicyResult], reports: list[Report]) -> list[Report]:
    """Return the reports on a host, judged by how far the policies of its domains are enforced.

    One policy that is enforced is enough, even if the others are in ``testing`` or ``none``.
    """
    modes = {result.mode for result in results}
    if modes in ({"testing"}, {"testing", "none"}):
        mode = "testing"
    elif modes == {"none"}:
        mode = "none"
    else:
        return reports
    name = results[0].name
    return [
        report._replace(
            policies=tuple(
                _by_mode(one, mode) if one.name == name else one for one in report.policies
            )
        )
        for report in reports
    ]


def _by_mode(result: PolicyResult, mode: str) -> PolicyResult:
    if mode == "testing":
        return result._replace(findings=tuple(map(_tested, result.findings)))
    # Nobody follows it, so it is only worth knowing.
    notes = tuple(finding.problem for finding in result.findings)
    return result._replace(findings=(), notes=(*result.notes, *notes), certificates=())


def _hosts(domain: Domain) -> Procedure[Sequence[Host]]:
    known = domain.hosts
    return known if known is not None else (yield from mx.find(domain.servers, domain.host)).hosts


def _policy(client: Client, domain: str) -> Procedure[tuple[Policy, Handshake]]:
    host = f"mta-sts.{domain}"
    try:
        page = yield from https.fetch(client, host, PATH)
    except PeerFault as fault:
        about = f"no policy from {host}"
        fault.subject = f"{about}: {fault.subject}" if fault.subject else about
        if isinstance(fault, TimedOut):
            raise  # -t says what that means
        raise NoPolicy(fault.problem, fault.said, subject=fault.subject) from fault
    if page.media_type != "text/plain":
        # RFC 8461 section 3.2: other types may be pages that users can put on that host.
        raise NoPolicy(
            f"the policy is not text/plain but {printable(page.media_type) or 'untyped'}"
        )
    assert page.tls is not None
    return parsed(page.body), page.tls


def policy_id(found: Sequence[bytes], domain: str) -> str:
    """Return the id in the one record that a domain must have (RFC 8461 section 3.1).

    Raises:
        NoPolicy: it has none, several, or one that is malformed.
    """
    own = [text for text in found if re.match(_RECORD, text)]
    if len(own) != 1:
        if own:
            raise NoPolicy(f"{len(own)} MTA-STS records at _mta-sts.{domain}")
        said = found[0] if found else b""
        raise NoPolicy(f"no MTA-STS record at _mta-sts.{domain}", said)
    for part in own[0].decode("ascii", "replace").split(";"):
        key, _, value = part.strip().partition("=")
        if key == "id" and re.fullmatch(_ID, value):
            return value
    raise NoPolicy(f"the MTA-STS record at _mta-sts.{domain} has no valid id", own[0])


def parsed(body: bytes) -> Policy:
    """Return what a policy file says (RFC 8461 section 3.2).

    Raises:
        NoPolicy: it is malformed.
    """
    fields: dict[str, str] = {}
    try:
        return _parsed(body, fields)
    except NoPolicy as fault:
        if fields.get("mode") == "testing":
            raise UntestedPolicy(fault.problem, fault.said) from fault
        raise


def _parsed(body: bytes, fields: dict[str, str]) -> Policy:
    patterns = []
    for line in body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
        field = re.fullmatch(_FIELD, line)
        if field is None:
            if line.strip():
                raise NoPolicy("the policy has a line that is not 'key: value'", line.encode())
            continue
        key, value = field[1], field[2].strip()
        if key == "mx":
            patterns.append(value)
        else:
            fields.setdefault(key, value)  # the first one counts
    if fields.get("version") != "STSv1":
        raise NoPolicy("the policy's version is not STSv1", fields.get("version", "").encode())
    mode, max_age = _MODES.get(fields.get("mode", "")), fields.get("max_age", "")
    if mode is None:
        raise NoPolicy(
            "the policy's mode is not enforce, testing or none", fields.get("mode", "").encode()
        )
    if not re.fullmatch("[0-9]{1,10}", max_age) or int(max_age) > MAX_AGE_LIMIT:
        raise NoPolicy(f"the policy's max_age is not 0 to {MAX_AGE_LIMIT}", max_age.encode())
    for pattern in patterns:
        if not re.fullmatch(_PATTERN, pattern) and hosts.ip_version(pattern) is None:
            raise NoPolicy("the policy has an mx that is not a host name", pattern.encode())
    if mode != "none" and not patterns:
        raise NoPolicy("the policy has no mx")
    return Policy(mode, int(max_age), tuple(plain_name(pattern) for pattern in patterns))


def is_covered(host: str, patterns: frozenset[str]) -> bool:
    """Whether one of a policy's patterns covers a host (RFC 8461 section 4.1).

    ``*`` is one label, so there are but two that can; a policy of 64 KiB has thousands of others.
    """
    host = plain_name(host)
    return host in patterns or f"*.{host.partition('.')[2]}" in patterns


def reporting(found: Sequence[bytes] | str) -> str:
    """Return what to say about the TLSRPT records (RFC 8460 section 3), or their absence."""
    if isinstance(found, str):
        return f"TLSRPT unknown: {found}"
    own = [text for text in found if re.match(_REPORTING, text)]
    if len(own) != 1:
        return f"{len(own)} TLSRPT records, so none counts" if own else "no TLSRPT record"
    value = _rua(own[0])
    if value:
        return f"TLSRPT to {printable(value)}"
    return f"TLSRPT record without rua: '{printable(own[0])}'"


def misdirected(found: Sequence[bytes]) -> list[Finding]:
    """Return a finding for each rua to which no report can be sent."""
    own = [text for text in found if re.match(_REPORTING, text)]
    value = _rua(own[0]) if len(own) == 1 else None
    places = [] if value is None else [place.strip() for place in value.split(b",")]
    return [
        Finding("misconfigured", "the rua of the TLSRPT record is not mailto: or https:", place)
        for place in places
        if not re.fullmatch(_REPORTS_TO, place)
    ][:1]


def _rua(record: bytes) -> bytes | None:
    for part in record.split(b";"):
        key, _, value = part.strip().partition(b"=")
        if key == b"rua":
            return value
    return None
