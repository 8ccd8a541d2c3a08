"""The observations as metrics, in our order: nagiosplugin's Resources, Results and Check."""

from __future__ import annotations

from check_smtp_health.evaluation import DAYS, DNSBL, HEALTHY, REFUSALS, contexts, worst
from check_smtp_health.nagios import Check, Critical, Metric, Resource, Results, Unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from check_smtp_health.nagios import Result
    from check_smtp_health.observation import Observation, Report
    from check_smtp_health.settings import Settings

    State = Any


class HealthCheck(Check):  # type: ignore[misc]
    """The check over what has been observed; it lacks only a summary."""

    def __init__(
        self, settings: Settings, reports: Sequence[Report], stages: tuple[str, ...]
    ) -> None:
        """Take the reports; ``stages`` are all names of stages in the order of a session."""
        self.targets = [MailServer(report, settings) for report in reports]
        self._labels = (HEALTHY, "time", *stages, DAYS, DNSBL)
        self._results_of: dict[int, list[Result]] = {}
        super().__init__(*self.targets, *contexts(settings, stages))
        if settings.has_several:
            self.add(MailService(self, settings))
        self.add(_WorstResults(settings))

    def __call__(self) -> None:
        """Evaluate, and put perfdata in our order: graphs of check_smtp draw the first metric."""
        super().__call__()
        self.perfdata: list[str] = "\n".join(self.perfdata).splitlines()
        prefixes = {target.prefix: place for place, target in enumerate(self.targets, 1)}

        def place(item: str) -> tuple[int, int]:
            prefix, colons, label = item.split("=", 1)[0].strip("'").rpartition("::")
            return prefixes.get(prefix + colons, 0), self._labels.index(label)

        self.perfdata.sort(key=place)
        for result in self.results:
            self._results_of.setdefault(id(result.resource), []).append(result)

    def of_target(self, target: MailServer) -> list[Result]:
        """Return the results of a target, once the check has been called."""
        return self._results_of.get(id(target), [])

    @property
    def count(self) -> Result | None:
        """The result that says how many targets are healthy, where there may be several."""
        return self.results.by_name.get(HEALTHY)


class MailServer(Resource):  # type: ignore[misc]
    """One report as metrics. Everything has been measured before nagiosplugin begins."""

    name = "SMTP"

    def __init__(self, report: Report, settings: Settings) -> None:
        self.report = report
        # What would end a label, or begin a quoted one, is out of place in it.
        label = report.label.replace("'", "_").replace("=", "_")
        self.prefix = f"{label}::" if label else ""
        self._settings = settings

    def probe(self) -> Iterator[Metric]:
        """Give a metric for each failure, finding and time, and for the days left."""
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
                yield Metric(DNSBL, verdict.listings, min=0)
        yield from self._days()
        times = _stage_times(report)
        if report.seconds is not None:
            times["time"] = report.seconds
        ranges = (self._settings.warning, self._settings.critical)
        for label in [label for label in times if any(label in one for one in ranges)]:
            yield Metric(label, round(times.pop(label), 6))
        if times:
            yield Metric("times", times)

    def _days(self) -> Iterator[Metric]:
        report = self.report
        if report.tls is None or report.tls.certificate is None:
            return
        if self._settings.judge_expiry:
            # One that was rejected is a problem already, and says whether it has expired; one
            # that TLSA records vouch for may expire (RFC 7672 section 3.1.1).
            failed = [seen.stage for seen in report.observations if seen.failure is not None]
            is_settled = "tls" in failed or report.tls.is_pinned
            context = "settled_certificate" if is_settled else DAYS
            yield Metric(DAYS, report.tls.certificate, context=context)


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
        yield Metric(HEALTHY, healthy, min=0, max=len(counted))


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


def _stage_times(report: Report) -> dict[str, float]:
    """Return the seconds of each stage that completed, HELO before and after TLS added up."""
    failed = {
        seen.stage
        for seen in report.observations
        if seen.failure is not None or any(one.kind in REFUSALS for one in seen.findings)
    }
    times: dict[str, float] = {}
    for seen in report.observations:
        if seen.stage not in failed:
            times[seen.stage] = times.get(seen.stage, 0.0) + seen.seconds
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
