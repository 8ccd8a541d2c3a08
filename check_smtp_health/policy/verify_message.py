"""Whether a message that has come is authenticated: DKIM, SPF and DMARC, as receivers judge it.

We judge what lies in the mailbox: its DKIM signatures (``signatures``), SPF for the address from
which it came into the receiving site (``roundtrip.origin``), and whether either is aligned with the
author's domain (DMARC, RFC 9989). What the receiving server itself says is held against that.
"""

from __future__ import annotations

import re

from check_smtp_health.config import hosts
from check_smtp_health.errors import PeerFault, UsageFault
from check_smtp_health.escaping import printable
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.operations import together
from check_smtp_health.policy import dmarc, sender, signatures, spf
from check_smtp_health.report import Finding, PolicyResult
from check_smtp_health.roundtrip import header, origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Kind
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.policy.signatures import Verified
    from check_smtp_health.roundtrip.mailbox import Whole
    from check_smtp_health.roundtrip.origin import Origin
    from check_smtp_health.stages.state import ProbeState

NAME = "verify-message"

HEADER_END = re.compile(rb"\r?\n\r?\n")


class _Spf(NamedTuple):
    """What SPF says of whoever handed the message over: ``result`` is empty where nobody knows.

    ``domain`` is whose record counts, ``about`` what it was asked about; ``why`` tells more.
    """

    result: str
    domain: str = ""
    about: str = ""
    why: str = ""


class _Judged(NamedTuple):
    """What is to be said of one message; ``held`` are the methods by which it is authenticated."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    held: tuple[str, ...] = ()


def prepare(_values: Sequence[str], _settings: Settings, servers: Servers) -> Servers:
    """Return whom to ask.

    Raises:
        UsageFault: the packages that verify are missing.
    """
    for module, library in (
        ("dkim", "dkimpy"),
        ("nacl.signing", "PyNaCl"),
        ("cryptography.hazmat.primitives.serialization", "cryptography"),
    ):
        try:
            __import__(module)
        except (ImportError, RuntimeError) as error:
            from check_smtp_health.config.remedies import missing

            raise UsageFault(NAME, missing(library)) from error
    return servers


def origins(state: ProbeState) -> tuple[str, ...]:
    """Return the addresses that the message has left from, as far as they are known."""
    found = [origin.of(header.fields(whole.data)).address for _, whole in state.came]
    return tuple(dict.fromkeys(str(one) for one in found if one is not None))


def check(servers: Servers, state: ProbeState) -> Procedure[PolicyResult | None]:
    """Judge each account's copy of the message."""
    judged: list[_Judged] = yield from together(
        _judge(servers, whole, state) for _, whole in state.came
    )
    findings: list[Finding] = []
    notes: list[str] = []
    held: list[str] = []
    has_several = len(judged) > 1
    for (place, _), one in zip(state.came, judged):
        where = f"{place}: " if has_several else ""
        findings += [said._replace(problem=f"{where}{said.problem}") for said in one.findings]
        notes += [f"{where}{note}" for note in one.notes]
        held += one.held
    is_well = all(finding.kind == "noted" for finding in findings)
    words = ", ".join(dict.fromkeys(held))
    return PolicyResult(
        NAME,
        tuple(findings),
        tuple(notes),
        held=f"{words} verified" if is_well and words else "",
    )


def _judge(servers: Servers, whole: Whole, state: ProbeState) -> Procedure[_Judged]:
    end = HEADER_END.search(whole.data[: header.SIZE_LIMIT])
    if whole.problem or (end is None and len(whole.data) >= header.SIZE_LIMIT):
        problem = whole.problem or f"its header has more than {header.SIZE_LIMIT // 1024} KiB"
        return _Judged((Finding("unanswered", f"the message was not verified: {problem}"),), ())
    head, body = whole.data, b""
    if end is not None:
        head, body = whole.data[: end.start()], whole.data[end.end() :]
    read = header.fields(state.mask.applied(head))
    came_from = origin.of(read)
    authors = origin.authors(read)
    author = authors[0] if len(authors) == 1 and hosts.is_name(authors[0]) else ""
    signed, by_spf, applied = yield from together(
        [
            signatures.check(servers, signatures.fields(head), body, header.received(read)),
            _spf(servers, came_from),
            dmarc.applied(servers, author) if author else _nothing(),
        ]
    )
    verified, count = signed
    findings, notes = _dkim(verified, count)
    more, said = _of_spf(by_spf, came_from)
    findings += more
    notes += said
    passing = {
        "dkim": [one.domain for one in verified if one.holds],
        "spf": [by_spf.domain] if by_spf.result == "pass" else [],
    }
    if isinstance(applied, PeerFault):
        more, said = [Finding("unanswered", f"DMARC: {applied.sentence}")], []
    elif author:
        aligned = yield from _aligned(servers, author, applied, passing)
        unknown = by_spf.result == "" or any(one.trouble for one in verified)
        more, said = _of_dmarc(author, applied, aligned, is_unknown=unknown)
    else:
        about = "several domains" if len(authors) > 1 else "no domain"
        problem = f"From names {about}, so DMARC does not apply"
        more, said = [Finding("unauthenticated", problem)], []
    findings += more
    notes += said
    holds = {
        "dkim": _known(bool(passing["dkim"]), any(one.trouble for one in verified)),
        "spf": _known(bool(passing["spf"]), not by_spf.result),
        "dmarc": _known(not more, any(one.kind == "unanswered" for one in more)),
    }
    results = header.authentication_results(read)
    findings += _disagreements(holds, dict(results))
    if results:
        words = ", ".join(f"{method} {result}" for method, result in results)
        notes.append(f"the receiving server itself says {words}")
    held = tuple(method.upper() for method, is_so in holds.items() if is_so)
    return _Judged(tuple(findings), tuple(notes), held)


def _nothing() -> Procedure[None]:
    yield from ()


def _known(is_so: bool, is_unknown: bool) -> bool | None:  # noqa: FBT001 - a conjunction
    """Return whether something is so, None where nobody knows."""
    return True if is_so else (None if is_unknown else False)


def _dkim(verified: Sequence[Verified], count: int) -> tuple[list[Finding], list[str]]:
    findings, notes = [], []
    if not count:
        findings.append(Finding("unauthenticated", "the message has no DKIM signature"))
    for number, one in enumerate(verified, 1):
        name = f"DKIM signature {one.name or number}"
        if one.problem:
            findings.append(Finding("unauthenticated", f"{name}: {one.problem}"))
        elif one.trouble:
            findings.append(Finding("unanswered", f"{name}: {one.trouble}"))
        else:
            notes.append(f"{name} is valid")
            findings += [Finding("noted", f"{name}: {remark}") for remark in one.remarks]
    if count > len(verified):
        problem = f"of {count} DKIM signatures only the first {len(verified)} were verified"
        findings.append(Finding("noted", problem))
    return findings, notes


def _spf(servers: Servers, came_from: Origin) -> Procedure[_Spf]:
    """Evaluate SPF for whoever handed the message over (RFC 7208 section 2.4)."""
    address, path = came_from.address, came_from.sender
    if address is None:
        return _Spf("", why=came_from.problem)
    if path is None:
        return _Spf("", why="its envelope sender is not known (no Return-Path)")
    domain = plain_name(path.rpartition("@")[2] if path else came_from.helo)
    if not domain.isascii():
        domain = hosts.to_ascii(domain)
    about = "the envelope sender" if path else "HELO"
    if not (hosts.is_name(domain) and "." in domain):
        return _Spf("none", domain, about, f"{about} '{printable(domain, 80)}' is not a domain")
    (outcome,) = yield from sender.evaluated(
        servers,
        domain,
        lambda answers: [spf.evaluated(answers, domain, address, path or "", came_from.helo)],
    )
    if outcome.result == "temperror":
        return _Spf("", domain, about, outcome.problem)
    return _Spf(outcome.result, domain, about, sender.why(outcome))


def _of_spf(by_spf: _Spf, came_from: Origin) -> tuple[list[Finding], list[str]]:
    address = came_from.address
    if by_spf.result == "pass":
        return [], [f"SPF of {by_spf.domain} ({by_spf.about}) authorises {address}"]
    if not by_spf.result:
        kind: Kind = "unanswered" if by_spf.domain else "noted"
        return [Finding(kind, f"SPF was not evaluated: {by_spf.why}")], []
    problem = f"SPF of {by_spf.domain} ({by_spf.about}) does not authorise {address}: {by_spf.why}"
    if by_spf.result == "none":
        problem = f"SPF for {address}: {by_spf.why}"
    return [Finding("unauthenticated", problem)], []


def _aligned(
    servers: Servers, author: str, applied: dmarc.Applied, passing: Mapping[str, Sequence[str]]
) -> Procedure[list[str]]:
    """Return what is authenticated and aligned with the author's domain, in words."""
    words = {"dkim": "DKIM", "spf": "SPF"}
    exact = [(method, one) for method, domains in passing.items() for one in domains]
    others = list(dict.fromkeys(one for _, one in exact if one != author))
    found = yield from together(dmarc.organization(servers, one) for one in others)
    organizations = {author: applied.organization}
    organizations.update(
        (name, own) for name, own in zip(others, found) if not isinstance(own, PeerFault)
    )
    return [
        f"{words[method]} of {one}"
        for method, one in dict.fromkeys(exact)
        if one == author
        or (method not in applied.strict and organizations.get(one) == applied.organization)
    ]


def _of_dmarc(
    author: str, applied: dmarc.Applied, aligned: Sequence[str], *, is_unknown: bool
) -> tuple[list[Finding], list[str]]:
    if not applied.policy:
        return [Finding("unauthenticated", f"{author} has no DMARC record that applies")], []
    if aligned:
        return [], [f"DMARC of {author} ({applied.policy}): aligned are {' and '.join(aligned)}"]
    if is_unknown:
        problem = f"whether DMARC of {author} passes is not known"
        return [Finding("unanswered", problem)], []
    problem = f"neither DKIM nor SPF is aligned with From {author}, DMARC fails ({applied.policy})"
    return [Finding("unauthenticated", problem)], []


def _disagreements(holds: Mapping[str, bool | None], said: Mapping[str, str]) -> list[Finding]:
    """Return where the receiving server is of another opinion; its result may have finer words."""
    return [
        Finding(
            "noted",
            f"the receiving server says {method}={said[method]}, but here it "
            f"{'passes' if is_so else 'does not pass'}",
        )
        for method, is_so in holds.items()
        if method in said and is_so is not None and (said[method] == "pass") != is_so
    ]
