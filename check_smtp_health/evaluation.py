"""What happened -> state: THE failure -> state table, and nagiosplugin's Contexts."""

from __future__ import annotations

from check_smtp_health.nagios import (
    Context,
    Critical,
    Ok,
    Range,
    Result,
    Unknown,
    Warn,
)
from check_smtp_health.perfdata import DAYS, DNSBL, HEALTHY, TIME
from check_smtp_health.text import escaped, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from check_smtp_health.metrics import MailServer, MailService
    from check_smtp_health.nagios import Metric
    from check_smtp_health.observation import Failure, Finding, Observation, Report
    from check_smtp_health.settings import Settings

    State = Any

FAILURES = {
    "unresolvable": "critical",
    "unreachable": "critical",
    "timed_out": "-t",
    "disconnected": "critical",
    "violation": "critical",
    "handshake_failed": "critical",
    "untrusted": "critical",
    "rejected": "critical",
    "transient": "--tempfail",
    "not_offered": "critical",
    "forbidden": "critical",
    "open_relay": "critical",
    "unmatched": "warning",
    "undelivered": "critical",
    "bounced": "critical",
    "duplicated": "warning",
    "misplaced": "warning",
    "unauthenticated": "warning",
    "undeleted": "warning",
    "no_policy": "critical",
    "insecure": "critical",
    "uncovered": "critical",
    "listed": "-c",
    "misconfigured": "warning",
    "noted": "ok",
    "unanswered": "unknown",
    "local": "unknown",
    "interrupted": "unknown",
}
"""The state of each kind of failure or finding, or the option that says it.

``transient`` is a rejection with a 4yz code.
"""

REFUSALS = ("rejected", "transient", "open_relay")
"""Findings that mean that their stage failed, although the walk went on."""

STATES = {"ok": Ok, "warning": Warn, "critical": Critical, "unknown": Unknown}

# As Monitoring Plugins rank them: our own trouble must not hide the server's.
_RANK = {Ok: 0, Unknown: 1, Warn: 2, Critical: 3}


def contexts(settings: Settings, stages: tuple[str, ...]) -> tuple[Context, ...]:
    """Return the contexts, which the metrics name; ``stages`` are all names of stages."""
    return (
        *(_SecondsContext(label, settings) for label in (TIME, *stages)),
        _CertificateContext(DAYS, settings),
        _FailureContext("failure", settings),
        _FindingContext("finding", settings),
        _VerdictContext("verdict", settings),
        _ListingsContext(DNSBL, settings),
        _HealthyContext(HEALTHY, settings),
    )


def worst(states: list[State]) -> State:
    """Return the state that decides among several."""
    return max(states, key=_RANK.__getitem__, default=Ok)


def badness(state: State) -> int:
    """Return what sorts states, the worst first."""
    return -_RANK[state]


class _RangeContext(Context):  # type: ignore[misc]
    """Holds seconds, or days, against the two ranges, if there are any."""

    def __init__(self, label: str, settings: Settings) -> None:
        super().__init__(label)
        self._warning = settings.warning.get(label)
        self._critical = settings.critical.get(label)

    def violated(self, value: float) -> tuple[State, str] | None:
        """Return the worst state whose range the value violates, and that range."""
        for state, limit in ((Critical, self._critical), (Warn, self._warning)):
            if limit is not None and not Range(limit).match(value):
                return state, limit
        return None


class _SecondsContext(_RangeContext):
    """Judges a time."""

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        violated = self.violated(metric.value)
        if violated is None:
            return Result(Ok, None, metric)
        state, limit = violated
        text = f"{metric.value:.3f} s (limit {limit} s"
        if metric.name == TIME:
            report = resource.report
            failed = any(seen.failure is not None for seen in session(report))
            verb = "session took" if failed else "answered in"
            text = f"{verb} {text}, {slowest(report)})"
        else:
            text = f"{metric.name} took {text})"
        return Result(state, text, metric)


class _CertificateContext(_RangeContext):
    """Judges the days left; an expired certificate is CRITICAL whatever the limits."""

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        certificate = metric.value
        if certificate.is_expired:
            return Result(Critical, f"certificate: {certificate.expiry}", metric)
        if certificate.is_early:
            return Result(Critical, f"certificate: {certificate.beginning}", metric)
        violated = self.violated(certificate.days)
        if violated is None:
            return Result(Ok, None, metric)
        state, limit = violated
        text = f"certificate: {certificate.expiry} (limit {limit.rstrip(':')})"
        return Result(state, text, metric)


class _FailureContext(Context):  # type: ignore[misc]
    """Judges a stage that failed."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name)
        self._settings = settings

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        seen = metric.value
        kind = seen.failure.kind
        if kind == "rejected" and 400 <= (seen.failure.code or 0) < 500:
            kind = "transient"
        return Result(_state(kind, self._settings), describe(seen), metric)


class _FindingContext(_FailureContext):
    """Judges a finding of a stage that went on."""

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        seen, finding = metric.value
        text = f"{metric.name}: {_sentence(seen, finding)}"
        return Result(_state(finding.kind, self._settings), text, metric)


class _VerdictContext(_FailureContext):
    """Judges a finding about a server or its domain that no session was needed for."""

    def __init__(self, name: str, settings: Settings) -> None:
        super().__init__(name, settings)
        self._listings = _ListingsContext(DNSBL, settings)

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        finding = metric.value
        said = f": '{printable(finding.said)}'" if finding.said else ""
        text = f"{metric.name}: {escaped(finding.problem)}{said}"
        if finding.kind == "listed":
            return Result(self._listings.state(resource), text, metric)
        return Result(_state(finding.kind, self._settings), text, metric)


class _ListingsContext(_RangeContext):
    """Judges how many DNSBLs list a server; what they say is told by the findings."""

    def state(self, resource: MailServer) -> State:
        """Return the state that the number of listings has."""
        listings = sum(verdict.listings or 0 for verdict in resource.report.verdicts)
        violated = self.violated(listings)
        return Ok if violated is None else violated[0]

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        # Without a finding there is nobody else to say it.
        text = None if metric.value else "dnsbl: no listing"
        state = self.state(resource)
        return Result(state, None if state == Ok else text, metric)


class _HealthyContext(_RangeContext):
    """Judges how many targets are healthy."""

    def __init__(self, label: str, settings: Settings) -> None:
        super().__init__(label, settings)
        self._least = settings.min_healthy

    def evaluate(self, metric: Metric, resource: MailService) -> Result:
        text = f"{metric.value} of {metric.max} healthy"
        least = self._least
        if least is not None and metric.value < least:
            return Result(Critical, f"{text} (at least {least} must be)", metric)
        violated = self.violated(metric.value)
        if violated is not None:
            state, limit = violated
            return Result(state, f"{text} (limit {limit})", metric)
        return Result(Ok if least is None or metric.value == metric.max else Warn, text, metric)


def _state(kind: str, settings: Settings) -> State:
    word = FAILURES[kind]
    chosen = {"-t": settings.timeout_state, "--tempfail": settings.tempfail}
    return STATES[chosen.get(word, word)]


def describe(seen: Observation) -> str:
    """Return a failed stage as the status line says it: stage, reason, the server's words, time."""
    failure = seen.failure
    assert failure is not None
    text = f"{seen.stage}: {_reason(failure)}"
    # What did not happen in time has said how long it took.
    return (
        text
        if failure.kind in ("timed_out", "undelivered")
        else f"{text} (after {seen.seconds:.3f} s)"
    )


def _reason(failure: Failure) -> str:
    problem = escaped(failure.problem)
    if failure.code is not None:
        return f"{printable(failure.said)} {problem}".rstrip()
    return f"{problem}: '{printable(failure.said)}'" if failure.said else problem


def _sentence(seen: Observation, finding: Finding) -> str:
    problem = escaped(finding.problem)
    if finding.kind in REFUSALS:
        return f"{problem}: {printable(finding.said)} (after {seen.seconds:.3f} s)"
    return f"{problem}: '{printable(finding.said)}'" if finding.said else problem


def session(report: Report) -> list[Observation]:
    """Return the stages that ``time`` counts."""
    return [seen for seen in report.observations if seen.stage not in ("quit", "delivery")]


def slowest(report: Report) -> str:
    """Return which stage of the session took longest."""
    seen = max(session(report), key=lambda seen: seen.seconds)
    return f"slowest: {seen.stage} {seen.seconds:.3f} s"
