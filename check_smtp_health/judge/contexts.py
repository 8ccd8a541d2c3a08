"""nagiosplugin's Contexts: one metric in, a state and a sentence out."""

from __future__ import annotations

from check_smtp_health.config.thresholds import DAYS, DNSBL, HEALTHY, TIME
from check_smtp_health.escaping import harmless, printable
from check_smtp_health.judge.nagios import Context, Critical, Ok, Result, Warn
from check_smtp_health.judge.states import REFUSALS, STATES, kind_of, state_with
from check_smtp_health.report import duration
from check_smtp_health.stages import NAMES, OUTSIDE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from check_smtp_health.config.settings import Judging, Settings, Tls
    from check_smtp_health.config.thresholds import Limits, Range
    from check_smtp_health.judge.nagios import Metric
    from check_smtp_health.judge.resources import MailServer, MailService
    from check_smtp_health.report import Failure, Finding, Observation, Report

    State = Any  # nagiosplugin has no types


def contexts(settings: Settings) -> tuple[Context, ...]:
    """Return the contexts, which the metrics name."""
    judging = settings.judging
    limits = judging.limits
    return (
        *(_SecondsContext(label, limits) for label in (TIME, *NAMES) if limits.has(label)),
        _CertificateContext(limits, settings.tls),
        _FailureContext("failure", judging),
        _FindingContext("finding", judging),
        _PolicyContext("policy", judging),
        _ListingsContext(DNSBL, limits),
        _HealthyContext(limits, settings.endpoint.min_healthy),
    )


class _RangeContext(Context):  # type: ignore[misc]
    """Compares a number with the two ranges, if there are any."""

    def __init__(self, label: str, limits: Limits) -> None:
        super().__init__(label)
        self._label = label
        self._limits = limits

    def violated(self, value: float) -> tuple[State, Range] | None:
        """Return the worst state whose range the value violates, and that range."""
        found = self._limits.violated(self._label, value)
        return None if found is None else (STATES[found[0]], found[1])


class _SecondsContext(_RangeContext):
    """Judges a time."""

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        violated = self.violated(metric.value)
        if violated is None:
            return Result(Ok, None, metric)
        state, limit = violated
        text = f"{duration(metric.value)} ({_beyond(limit, metric.value, ' s')}"
        if metric.name == TIME:
            report = resource.report
            failed = any(seen.failure is not None for seen in session(report))
            verb = "session took" if failed else "answered in"
            text = f"{verb} {text}, slowest: {slowest(report)})"
        else:
            text = f"{metric.name} took {text})"
        return Result(state, text, metric)


class _CertificateContext(Context):  # type: ignore[misc]
    """Judges the days left; an expired certificate is CRITICAL whatever the limits."""

    def __init__(self, limits: Limits, tls: Tls) -> None:
        super().__init__(DAYS)
        self._limits = limits
        self._tls = tls

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        from check_smtp_health.stages.encryption import named

        certificate = metric.value
        name = named(certificate, self._tls)
        about = f"{metric.name}: {name} " if name != metric.name else f"{metric.name}: "
        if certificate.is_expired:
            return Result(Critical, about + certificate.expiry, metric)
        if certificate.is_early:
            return Result(Critical, about + certificate.beginning, metric)
        limits = self._limits.of_certificate(certificate.lifetime, certificate.term)
        violated = limits.violated(DAYS, certificate.left)
        if violated is None:
            return Result(Ok, None, metric)
        state, limit = violated
        days = limit.text.rstrip(":")
        if limit.share is not None:  # computed from the lifetime, not typed by the user
            days = "1 day" if days == "1" else f"{days} days"
        return Result(STATES[state], f"{about}{certificate.expiry} (limit {days})", metric)


class _FailureContext(Context):  # type: ignore[misc]
    """Judges a stage that failed."""

    def __init__(self, name: str, judging: Judging) -> None:
        super().__init__(name)
        self._judging = judging

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        seen = metric.value
        kind = kind_of(seen.failure)
        state = state_with(resource.diagnosis(metric), kind, self._judging)
        if state == Ok and kind == "transient" and resource.lacks_tls:
            state = Warn  # a user who accepts "not now" still wants the certificate checked
        is_asked = kind in self._judging.states
        if kind == "misconfigured" and resource.report.is_alone and not is_asked:
            state = Critical  # nobody else takes the domain's mail
        return Result(state, describe(seen), metric)


class _FindingContext(_FailureContext):
    """Judges a finding of a stage that went on."""

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        seen, finding = metric.value
        text = f"{metric.name}: {_of_stage(seen, finding)}"
        state = state_with(resource.diagnosis(metric), finding.kind, self._judging)
        return Result(state, text, metric)


class _PolicyContext(_FailureContext):
    """Judges a finding about a server or its domain that no session was needed for."""

    def __init__(self, name: str, judging: Judging) -> None:
        super().__init__(name, judging)
        self._listings = _ListingsContext(DNSBL, judging.limits)

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        finding = metric.value
        text = f"{metric.name}: {sentence(finding)}"
        diagnosis = resource.diagnosis(metric)
        if finding.kind == "listed" and not {"listed", "blocklisted"} & self._judging.states.keys():
            return Result(self._listings.state(resource), text, metric)
        return Result(state_with(diagnosis, finding.kind, self._judging), text, metric)


class _ListingsContext(_RangeContext):
    """Judges how many DNSBLs list a server; the findings say what they answer."""

    def state(self, resource: MailServer) -> State:
        """Return the state that the number of listings has."""
        violated = self.violated(sum(one.listings or 0 for one in resource.report.policies))
        return Ok if violated is None else violated[0]

    def evaluate(self, metric: Metric, resource: MailServer) -> Result:
        # Each listing is judged by its finding; only the lack of one is reported here.
        state = Ok if metric.value else self.state(resource)
        return Result(state, None if state == Ok else "dnsbl: no listing", metric)


class _HealthyContext(_RangeContext):
    """Judges how many targets are healthy; ``least`` is how many must be."""

    def __init__(self, limits: Limits, least: int | None) -> None:
        super().__init__(HEALTHY, limits)
        self._least = least

    def evaluate(self, metric: Metric, resource: MailService) -> Result:
        text = f"{metric.value} of {metric.max} healthy"
        least = self._least
        if least is not None and metric.value < least:
            return Result(Critical, f"{text} (at least {least} must be)", metric)
        violated = self.violated(metric.value)
        if violated is not None:
            state, limit = violated
            return Result(state, f"{text} ({_beyond(limit, metric.value)})", metric)
        return Result(Ok if least is None or metric.value == metric.max else Warn, text, metric)


def _beyond(limit: Range, value: float, unit: str = "") -> str:
    """Return in words how a value violates a limit."""
    first, _, last = limit.text.lstrip("@").rpartition(":")
    if not limit.is_inverted:
        return f"below {first}{unit}" if value < limit.start else f"limit {last}{unit}"
    if not last:
        return f"not below {first}{unit}"
    return f"between {first or '0'} and {last}{unit}" if first != "~" else f"not above {last}{unit}"


def describe(seen: Observation) -> str:
    """Return a failed stage as the status line says it: stage, reason, the server's words, time."""
    assert seen.failure is not None
    text = f"{seen.stage}: {reason(seen.failure)}"
    # A timeout already says how long it took.
    return text if seen.failure.kind in ("timed_out", "undelivered") else text + _after(seen)


def _after(seen: Observation) -> str:
    """Return how long a stage took, unless it only looked at what was there already."""
    return f" (after {duration(seen.seconds)})" if seen.seconds else ""


def sentence(finding: Failure | Finding) -> str:
    """Return a finding as one harmless sentence, with the server's words if there are any."""
    problem = harmless(finding.problem)
    return f"{problem}: '{printable(finding.said)}'" if finding.said else problem


def reason(failure: Failure) -> str:
    """Return why a stage failed, as one harmless sentence, in the server's words if it said any."""
    if failure.code is None:
        return sentence(failure)
    about = f"{failure.subject}: " if failure.subject else ""
    problem = failure.problem
    space = " " if problem and not problem.startswith(",") else ""
    return f"{about}{printable(failure.said)}{space}{harmless(problem)}"


def refusal(finding: Finding) -> str:
    """Return what a reply was about, and the reply, as one harmless sentence."""
    return f"{harmless(finding.problem)}: {printable(finding.said)}"


def _of_stage(seen: Observation, finding: Finding) -> str:
    is_reply = finding.kind in REFUSALS and finding.said
    return refusal(finding) + _after(seen) if is_reply else sentence(finding)


def session(report: Report) -> list[Observation]:
    """Return the stages that ``time`` counts."""
    return [seen for seen in report.observations if seen.stage not in OUTSIDE]


def slowest(report: Report) -> str:
    """Return which stage of the session took longest, and how long."""
    seen = max(session(report), key=lambda seen: seen.seconds)
    return f"{seen.stage} {duration(seen.seconds)}"
