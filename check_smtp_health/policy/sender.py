"""Whether mail may be sent as a domain, by what it publishes: SPF (RFC 7208), DMARC (RFC 9989)."""

from __future__ import annotations

import ipaddress

from check_smtp_health.config import hosts
from check_smtp_health.errors import PeerFault, UsageFault
from check_smtp_health.escaping import printable, quoted
from check_smtp_health.faults import DnsUnanswered
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.dns import ask
from check_smtp_health.net.operations import together
from check_smtp_health.policy import Topic, dmarc, spf
from check_smtp_health.policy.spf_record import uses_ptr
from check_smtp_health.report import Finding, PolicyResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.dns import Records, Servers
    from check_smtp_health.net.operations import Procedure

ROUNDS_LIMIT = 64
"""Times that DNS is asked for what an evaluation has found to be missing: a chain of includes."""

STRANGERS: tuple[spf.Ip, ...] = (
    ipaddress.IPv4Address("240.0.0.1"),
    ipaddress.IPv6Address("100::1"),
)
"""Addresses that nobody has (RFC 1112 section 4, RFC 6666): who authorises one authorises all."""

AT_ONCE = 100
"""Questions at the same time."""


class Sender(NamedTuple):
    """A domain in lower case, and the addresses that must be authorised to send for it."""

    domain: str
    addresses: tuple[spf.Ip, ...]


def senders(values: Sequence[str]) -> tuple[Sender, ...]:
    """Return what ``--sender`` names, each domain once.

    Raises:
        UsageFault: a value is not a domain, or not an address behind one.
    """
    addresses: dict[str, dict[spf.Ip, None]] = {}
    for value in values:
        name, slash, text = value.partition("/")
        try:
            domain = hosts.host(name)
            hosts.need_names("sender", (domain,))
        except UsageFault as fault:
            raise UsageFault("sender", f"{quoted(value)} is not DOMAIN[/ADDRESS]") from fault
        known = addresses.setdefault(domain.dns_name.lower(), {})
        if slash:
            try:
                address = ipaddress.ip_address(text.strip("[]"))
                known[getattr(address, "ipv4_mapped", None) or address] = None
            except ValueError as error:
                raise UsageFault("sender", f"{quoted(text)} is not an IP address") from error
    return tuple(Sender(domain, tuple(known)) for domain, known in addresses.items())


def prepare(values: Sequence[str], _settings: Settings, servers: Servers) -> tuple[Topic, ...]:
    """Return the domains to ask about.

    Raises:
        UsageFault: a value cannot be used.
    """
    return tuple(Topic(one.domain, (servers, one)) for one in senders(values))


def check(asked: tuple[Servers, Sender], _about: object) -> Procedure[PolicyResult | None]:
    """Check what a domain publishes."""
    servers, sender = asked
    by_spf, by_dmarc = yield from together(
        [_spf(servers, sender), dmarc.check(servers, sender.domain)]
    )
    findings: list[Finding] = []
    notes: list[str] = []
    held = []
    measures: tuple[tuple[str, int], ...] = ()
    if isinstance(by_spf, PeerFault):
        findings.append(Finding("unanswered", by_spf.sentence))
    else:
        findings += by_spf.findings
        notes += by_spf.notes
        measures = by_spf.measures
        held.append(by_spf.held)
    if isinstance(by_dmarc, PeerFault):
        findings.append(Finding("unanswered", by_dmarc.sentence))
    else:
        findings += by_dmarc.findings
        notes += by_dmarc.notes
        held.append(f"DMARC {by_dmarc.policy}" if by_dmarc.policy else "")
    is_well = all(one.kind == "noted" for one in findings)
    return PolicyResult(
        "sender",
        tuple(findings),
        tuple(notes),
        held=", ".join(filter(None, held)) if is_well else "",
        measures=measures,
    )


def evaluated(
    servers: Servers,
    domain: str,
    evaluate: Callable[[Mapping[spf.Question, spf.Answer]], Sequence[spf.Outcome]],
) -> Procedure[Sequence[spf.Outcome]]:
    """Return what evaluations come to, once all that they miss has been asked for.

    Raises:
        DnsUnanswered: they have no end.
    """
    answers: dict[spf.Question, spf.Answer] = {}
    for _ in range(ROUNDS_LIMIT):
        outcomes = evaluate(answers)
        missing = list(dict.fromkeys(one for outcome in outcomes for one in outcome.missing))
        if not missing:
            return outcomes
        asked = missing[:AT_ONCE]
        found = yield from together(ask(servers, *question) for question in asked)
        answers.update(zip(asked, map(_answer, found)))
    raise DnsUnanswered(f"SPF of {domain} asks for more than {len(answers)} names")


def _spf(servers: Servers, sender: Sender) -> Procedure[PolicyResult]:
    """Evaluate the record for each address, and go through all of it once."""
    domain = sender.domain
    clients: list[spf.Ip | None] = [None, *STRANGERS, *sender.addresses]
    outcomes = yield from evaluated(
        servers,
        domain,
        lambda answers: [spf.evaluated(answers, domain, client) for client in clients],
    )
    whole, *strangers = outcomes[: 1 + len(STRANGERS)]
    each = outcomes[1 + len(STRANGERS) :]
    findings = list(_findings(domain, whole, strangers))
    for client, outcome in zip(sender.addresses, each):
        if outcome.result == "temperror":
            findings.append(Finding("unanswered", f"SPF for {client}: {outcome.problem}"))
        elif outcome.result not in ("pass", "none"):
            findings.append(
                Finding(
                    "unauthorised", f"SPF of {domain} does not authorise {client}: {why(outcome)}"
                )
            )
    indent = "+ "
    notes = tuple(
        f"SPF {indent * one.depth}{one.domain}, after {_counted(one.lookups)}: "
        f"{printable(one.text)}"
        for one in whole.visited
    )
    notes += (f"SPF needs {_counted(whole.lookups)}, {whole.voids} find nothing",) if notes else ()
    measures = (("spf_lookups", whole.lookups),) if whole.visited else ()
    named = ", ".join(map(str, sender.addresses))
    held = f"SPF authorises {named}" if named else "SPF published"
    # One sentence for one thing: several addresses meet the same error.
    kept = tuple(dict.fromkeys(findings))
    return PolicyResult("sender", kept, notes, held=held, measures=measures)


def _findings(domain: str, whole: spf.Outcome, strangers: Sequence[spf.Outcome]) -> list[Finding]:
    """Return what is wrong with a record, whatever the sender."""
    if whole.result == "temperror":
        return [Finding("unanswered", f"SPF: {whole.problem}")]
    if whole.problem and whole.lookups <= spf.CENSUS_LIMIT:
        return [Finding("unauthorised", f"SPF: {whole.problem}")]
    findings = []
    if whole.lookups > spf.LOOKUPS_LIMIT:
        problem = f"SPF of {domain} needs {_counted(whole.lookups)}, more than {spf.LOOKUPS_LIMIT}"
        findings.append(Finding("unauthorised", problem))
    if whole.voids > spf.VOIDS_LIMIT:
        problem = (
            f"SPF of {domain}: {_counted(whole.voids)} find nothing, more than {spf.VOIDS_LIMIT}"
        )
        findings.append(Finding("unauthorised", problem))
    open_to_all = next((one for one in (whole, *strangers) if one.result == "pass"), None)
    if open_to_all is not None:
        problem = f"SPF of {domain} authorises everybody ('{printable(open_to_all.term)}')"
        findings.append(Finding("misconfigured", problem))
    elif whole.result == "neutral":
        what = f"'{printable(whole.term)}'" if whole.term else "no 'all'"
        problem = f"SPF of {domain} says nothing about other senders ({what})"
        findings.append(Finding("misconfigured", problem))
    if any(uses_ptr(one.text) for one in whole.visited):
        findings.append(Finding("noted", f"SPF of {domain} uses ptr, which is slow and unreliable"))
    return findings


def why(outcome: spf.Outcome) -> str:
    """Return the result of an evaluation that is no pass, and what gave it."""
    if outcome.problem:
        return f"{outcome.result}, {outcome.problem}"
    if outcome.term:
        return f"{outcome.result} by '{printable(outcome.term)}' of {outcome.domain}"
    return f"{outcome.result}, since no term matches"


def _counted(lookups: int) -> str:
    return "1 look-up" if lookups == 1 else f"{lookups} look-ups"


def _answer(found: Records | PeerFault) -> spf.Answer:
    """Return what DNS says, as an evaluation reads it."""
    if isinstance(found, PeerFault):
        return spf.Answer(problem=found.sentence)
    return spf.Answer(tuple(_text(value) for value in found.values))


def _text(value: object) -> str:
    for name in ("address", "target", "exchange"):
        if hasattr(value, name):
            return plain_name(str(getattr(value, name)))
    return b"".join(value.strings).decode("latin-1")  # type: ignore[attr-defined]
