"""What happened -> state: nagiosplugin's Resource and Contexts, and THE failure -> state table."""

from __future__ import annotations

from nagiosplugin import (
    Check,
    Context,
    Critical,
    Metric,
    Ok,
    Performance,
    Range,
    Resource,
    Result,
    Results,
    Unknown,
    Warn,
)

from check_smtp_health.text import escaped, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

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
    "local": "unknown",
    "interrupted": "unknown",
}
"""The state of each kind of failure or finding, or the option that says it.

``transient`` is a rejection with a 4yz code.
"""

DAYS = "certificate_days"
"""The label of the days that a certificate is still valid."""

# Findings that mean that their stage failed, although the walk went on.
_REFUSALS = ("rejected", "transient", "open_relay")

STATES = {"ok": Ok, "warning": Warn, "critical": Critical, "unknown": Unknown}

# As Monitoring Plugins rank them: our own trouble must not hide the server's.
_RANK = {Ok: 0, Unknown: 1, Warn: 2, Critical: 3}


def check(settings: Settings, reports: Sequence[Report], labels: tuple[str, ...]) -> Check:
    """Return the nagiosplugin check over what has been observed; it lacks only a summary.

    ``labels`` are the perfdata labels in the order to print them.
    """
    return _Check(
        labels,
        MailService(reports, settings),
        *(_SecondsContext(label, settings) for label in labels if label != DAYS),
        _CertificateContext(DAYS, settings),
        _RejectedCertificateContext(DAYS, settings, "rejected_certificate"),
        _FailureContext("failure", settings),
        _FindingContext("finding", settings),
        _WorstResults(),
    )


def worst(states: list[State]) -> State:
    """Return the state that decides among several."""
    return max(states, key=_RANK.__getitem__, default=Ok)


def of_stage(results: Sequence[Result], seen: Observation) -> list[Result]:
    """Return the results that belong to an observation; a stage may come twice in a session."""
    return [
        result
        for result in results
        if result.metric.name == seen.stage
        and (
            result.metric.context == seen.stage  # its time, which counts both
            or result.metric.value is seen
            or result.metric.value[0] is seen
        )
    ]


class MailService(Resource):  # type: ignore[misc]
    """The observations as metrics. Everything has been measured before nagiosplugin begins."""

    name = "SMTP"

    def __init__(self, reports: Sequence[Report], settings: Settings) -> None:
        self.reports = reports
        self._settings = settings

    def probe(self) -> Iterator[Metric]:
        """Give a metric for each failure, finding and time, and for the days left."""
        for report in self.reports:
            for seen in report.observations:
                if seen.failure is not None and _matters(seen):
                    yield Metric(seen.stage, seen, context="failure")
                for finding in seen.findings:
                    yield Metric(seen.stage, (seen, finding), context="finding")
            for stage, seconds in _stage_times(report).items():
                yield Metric(stage, round(seconds, 6), "s", min=0)
            yield from self._days(report)
            if report.seconds is not None:
                most = f"{self._settings.timeout:.6f}".rstrip("0").rstrip(".")
                yield Metric("time", round(report.seconds, 6), "s", min=0, max=most)

    def _days(self, report: Report) -> Iterator[Metric]:
        certificate = report.tls.certificate if report.tls is not None else None
        if certificate is not None and self._settings.judge_expiry:
            # One that was rejected is a problem already, and says whether it has expired.
            is_rejected = any(
                seen.failure is not None for seen in report.observations if seen.stage == "tls"
            )
            context = "rejected_certificate" if is_rejected else DAYS
            yield Metric(DAYS, certificate, context=context)


def _matters(seen: Observation) -> bool:
    """Whether a failure counts: that of QUIT does not, unless we were stopped there."""
    assert seen.failure is not None
    return seen.stage != "quit" or seen.failure.kind == "interrupted"


def _stage_times(report: Report) -> dict[str, float]:
    """Return the seconds of each stage that completed, HELO before and after TLS added up."""
    failed = {
        seen.stage
        for seen in report.observations
        if seen.failure is not None or any(one.kind in _REFUSALS for one in seen.findings)
    }
    times: dict[str, float] = {}
    for seen in report.observations:
        if seen.stage not in failed:
            times[seen.stage] = times.get(seen.stage, 0.0) + seen.seconds
    return times


class _Check(Check):  # type: ignore[misc]
    """Prints perfdata in our order: graphs made for check_smtp draw the first metric, ``time``."""

    def __init__(self, labels: tuple[str, ...], *objects: Any) -> None:
        super().__init__(*objects)
        self._labels = labels

    def __call__(self) -> None:
        super().__call__()
        self.perfdata.sort(key=lambda item: self._labels.index(item.partition("=")[0]))


class _WorstResults(Results):  # type: ignore[misc]
    """Ranks CRITICAL above UNKNOWN, which nagiosplugin does not."""

    @property
    def most_significant_state(self) -> State:
        """The state that decides."""
        return worst([result.state for result in self])


class _RangeContext(Context):  # type: ignore[misc]
    """Holds seconds, or days, against the two ranges, if there are any."""

    def __init__(self, label: str, settings: Settings, name: str = "") -> None:
        super().__init__(name or label)
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

    def evaluate(self, metric: Metric, resource: MailService) -> Result:
        violated = self.violated(metric.value)
        if violated is None:
            return Result(Ok, None, metric)
        state, limit = violated
        text = f"{metric.value:.3f} s (limit {limit} s"
        if metric.name == "time":
            failed = any(seen.failure is not None for seen in _stages(resource.reports))
            verb = "session took" if failed else "answered in"
            text = f"{verb} {text}, {slowest(resource.reports)})"
        else:
            text = f"{metric.name} took {text})"
        return Result(state, text, metric)

    def performance(self, metric: Metric, resource: MailService) -> Performance:
        value = f"{metric.value:.6f}"
        return Performance(
            metric.name, value, metric.uom, self._warning, self._critical, metric.min, metric.max
        )


class _RejectedCertificateContext(_RangeContext):
    """Tells the days left of a certificate that is a problem already."""

    def evaluate(self, metric: Metric, resource: MailService) -> Result:
        return Result(Ok, None, metric)

    def performance(self, metric: Metric, resource: MailService) -> Performance:
        return Performance(metric.name, str(metric.value.days), "", self._warning, self._critical)


class _CertificateContext(_RejectedCertificateContext):
    """Judges the days left; an expired certificate is CRITICAL whatever the limits."""

    def evaluate(self, metric: Metric, resource: MailService) -> Result:
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

    def evaluate(self, metric: Metric, resource: MailService) -> Result:
        seen = metric.value
        kind = seen.failure.kind
        if kind == "rejected" and 400 <= seen.failure.code < 500:
            kind = "transient"
        return Result(_state(kind, self._settings), describe(seen), metric)


class _FindingContext(_FailureContext):
    """Judges a finding of a stage that went on."""

    def evaluate(self, metric: Metric, resource: MailService) -> Result:
        seen, finding = metric.value
        text = f"{metric.name}: {_sentence(seen, finding)}"
        return Result(_state(finding.kind, self._settings), text, metric)


def _state(kind: str, settings: Settings) -> State:
    word = FAILURES[kind]
    chosen = {"-t": settings.timeout_state, "--tempfail": settings.tempfail}
    return STATES[chosen.get(word, word)]


def describe(seen: Observation) -> str:
    """Return a failed stage as the status line says it: stage, reason, the server's words, time."""
    failure = seen.failure
    assert failure is not None
    text = f"{seen.stage}: {_reason(failure)}"
    # A time-out has said how long it took.
    return text if failure.kind == "timed_out" else f"{text} (after {seen.seconds:.3f} s)"


def _reason(failure: Failure) -> str:
    if failure.kind == "rejected":
        return f"{printable(failure.said)} {failure.problem}".rstrip()
    if failure.said:
        return f"{failure.problem}: '{printable(failure.said)}'"
    return failure.problem


def _sentence(seen: Observation, finding: Finding) -> str:
    problem = escaped(finding.problem)
    if finding.kind in _REFUSALS:
        return f"{problem}: {printable(finding.said)} (after {seen.seconds:.3f} s)"
    return f"{problem}: '{printable(finding.said)}'" if finding.said else problem


def _stages(reports: Sequence[Report]) -> list[Observation]:
    return [seen for report in reports for seen in report.observations if seen.stage != "quit"]


def slowest(reports: Sequence[Report]) -> str:
    """Return which stage took longest, QUIT left out, which is no part of ``time``."""
    seen = max(_stages(reports), key=lambda seen: seen.seconds)
    return f"slowest: {seen.stage} {seen.seconds:.3f} s"
