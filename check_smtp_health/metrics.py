"""The observations as metrics: nagiosplugin's Resources, Results and Check."""

from __future__ import annotations

from check_smtp_health.evaluation import REFUSALS, contexts, worst
from check_smtp_health.nagios import Check, Critical, Metric, Resource, Results, Unknown
from check_smtp_health.perfdata import DAYS, DNSBL, HEALTHY, TIME, Perfdata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from check_smtp_health.nagios import Result
    from check_smtp_health.observation import Certificate, Observation, Report
    from check_smtp_health.settings import Settings

    State = Any


class HealthCheck(Check):  # type: ignore[misc]
    """The check over what has been observed; it lacks only a summary."""

    def __init__(
        self, settings: Settings, reports: Sequence[Report], stages: tuple[str, ...]
    ) -> None:
        """Take the reports; ``stages`` are all names of stages in the order of a session."""
        self.targets = [MailServer(report, settings) for report in reports]
        self._perfdata = Perfdata(settings, stages)
        self._results_of: dict[int, list[Result]] = {}
        super().__init__(*self.targets, *contexts(settings, stages))
        if settings.has_several:
            self.add(MailService(self, settings))
        self.add(_WorstResults(settings))

    def __call__(self) -> None:
        """Evaluate, and have the perfdata written."""
        super().__call__()
        for result in self.results:
            self._results_of.setdefault(id(result.resource), []).append(result)
        self.perfdata: list[str] = []
        if self.count is not None:
            healthy = self.count.metric
            self.perfdata.append(self._perfdata.of_service(healthy.value, healthy.max))
        for target in self.targets:
            self.perfdata += self._perfdata.of_target(target)

    def of_target(self, target: MailServer) -> list[Result]:
        """Return the results of a target, once the check has been called."""
        return self._results_of.get(id(target), [])

    @property
    def count(self) -> Result | None:
        """The result that says how many targets are healthy, where there may be several."""
        return self.results.by_name.get(HEALTHY)


class MailServer(Resource):  # type: ignore[misc]
    """One report as metrics. Everything has been measured before nagiosplugin begins.

    ``times`` are the seconds of each stage that completed, and of the session; ``certificate`` is
    the one whose days count.
    """

    name = "SMTP"

    def __init__(self, report: Report, settings: Settings) -> None:
        self.report = report
        # What would end a label, or begin a quoted one, is out of place in it.
        label = report.label.replace("'", "_").replace("=", "_")
        self.prefix = f"{label}::" if label else ""
        self.times = _times(report)
        self.certificate: Certificate | None = None
        if report.tls is not None and settings.judge_expiry:
            self.certificate = report.tls.certificate
        self._limits = (settings.warning, settings.critical)

    def probe(self) -> Iterator[Metric]:
        """Give a metric for each failure and finding, and for what is held against a range."""
        report = self.report
        for seen in report.observations:
            if seen.failure is not None and _matters(seen):
                yield Metric(seen.stage, seen, context="failure")
            for finding in seen.findings:
                yield Metric(seen.stage, (seen, finding), context="finding")
        for verdict in report.verdicts:
            for finding in verdict.findings:
                yield Metric(verdict.name, finding, context="verdict")
            if verdict.listings is not None:
                yield Metric(DNSBL, verdict.listings)
        if self.certificate is not None and not self._is_settled():
            yield Metric(DAYS, self.certificate)
        warning, critical = self._limits
        for label, seconds in self.times.items():
            if label in warning or label in critical:
                yield Metric(label, round(seconds, 6))

    def _is_settled(self) -> bool:
        """Whether all is said about the certificate.

        One that was rejected is a problem already, and says whether it has expired; one that TLSA
        records vouch for may expire (RFC 7672 section 3.1.1).
        """
        assert self.report.tls is not None
        failed = [seen.stage for seen in self.report.observations if seen.failure is not None]
        return "tls" in failed or self.report.tls.is_pinned


class MailService(Resource):  # type: ignore[misc]
    """All targets together: how many of them are healthy. Evaluated once they are."""

    name = "SMTP"

    def __init__(self, check: HealthCheck, settings: Settings) -> None:
        self._check = check
        self._settings = settings

    def probe(self) -> Iterator[Metric]:
        """Give the number of targets that are OK or WARNING, of how many."""
        failing = {
            id(result.resource)
            for result in self._check.results
            if result.state in (Critical, Unknown)
        }
        # A domain that leads nowhere stands for the targets that it does not lead to.
        counted = [
            target
            for target in self._check.targets
            if not target.report.is_domain or target.report.failure is not None
        ]
        healthy = sum(id(target) not in failing for target in counted)
        yield Metric(HEALTHY, healthy, max=len(counted))


def of_stage(results: Sequence[Result], seen: Observation) -> list[Result]:
    """Return which of a target's results belong to a stage; one may come twice in a session."""
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


def _matters(seen: Observation) -> bool:
    """Whether a failure counts: that of QUIT does not, unless we were stopped there."""
    assert seen.failure is not None
    return seen.stage != "quit" or seen.failure.kind == "interrupted"


def _times(report: Report) -> dict[str, float]:
    times: dict[str, float] = {}
    for seen in report.observations:
        # HELO counts before and after TLS.
        times[seen.stage] = times.get(seen.stage, 0.0) + seen.seconds
    for seen in report.observations:
        if seen.failure is not None or any(one.kind in REFUSALS for one in seen.findings):
            times.pop(seen.stage, None)
    if report.seconds is not None:
        times[TIME] = report.seconds
    return times


class _WorstResults(Results):  # type: ignore[misc]
    """Ranks CRITICAL above UNKNOWN, which nagiosplugin does not."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    @property
    def most_significant_state(self) -> State:
        """The state that decides: with ``--min-healthy`` it is not that of a single target."""
        deciding = self.results
        if self._settings.min_healthy is not None and HEALTHY in self:
            count = self.by_name[HEALTHY].metric
            if count.value < count.max:
                deciding = [one for one in self.results if _is_about_all(one)]
        return worst([result.state for result in deciding])


def _is_about_all(result: Result) -> bool:
    resource = result.resource
    if isinstance(resource, MailService):
        return True
    return resource.report.is_domain and resource.report.failure is None
