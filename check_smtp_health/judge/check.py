"""nagiosplugin's Check over all reports: the results, the state that decides, the perfdata."""

from __future__ import annotations

from check_smtp_health.config.thresholds import DAYS, DNSBL, HEALTHY, TIME
from check_smtp_health.judge.contexts import contexts
from check_smtp_health.judge.nagios import Check, Contexts, Ok, Results
from check_smtp_health.judge.resources import MailServer, MailService
from check_smtp_health.judge.states import worst
from check_smtp_health.stages import MEASURES, NAMES, measured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.config.thresholds import Range
    from check_smtp_health.judge.nagios import Result
    from check_smtp_health.report import Observation, Report
    from check_smtp_health.report.tls import Certificate

    Scale = tuple[Contexts, "_Perfdata"]
    State = Any  # nagiosplugin has no types


def scale(settings: Settings) -> Scale:
    """Return what checks with these settings are judged by, whatever their hosts."""
    several = Contexts()
    for context in contexts(settings):
        several.add(context)
    return several, _Perfdata(settings)


class HealthCheck(Check):  # type: ignore[misc]
    """The check over what has been observed; it lacks only a summary."""

    def __init__(
        self, settings: Settings, reports: Sequence[Report], by: Scale | None = None
    ) -> None:
        self.targets = [MailServer(report, settings) for report in reports]
        self.perfdata: list[str] = []
        self._results_of: dict[int, list[Result]] = {}
        results = _WorstResults(is_by_count=settings.endpoint.min_healthy is not None)
        if by is None:
            self._perfdata = _Perfdata(settings)
            super().__init__(*self.targets, *contexts(settings), results)
        else:
            # All that nagiosplugin's own does, but for contexts that it would make anew for each of
            # a thousand checks, in a quarter of the time that it takes to judge one.
            self.contexts, self._perfdata = by
            self.resources, self.results = list(self.targets), results
            self.name = MailServer.name
            self.summary: Any = None
        if settings.endpoint.has_several:
            self.add(MailService(results, self.targets))

    def __call__(self) -> None:
        """Evaluate."""
        super().__call__()
        for result in self.results:
            self._results_of.setdefault(id(result.resource), []).append(result)

    def measured(self) -> list[str]:
        """Return the perfdata, an item each, once the check has been called.

        It is not nagiosplugin's: that sorts by label, but graphs of check_smtp draw the first
        metric, so that ``time`` has to come first. It also makes an object of each, at five times
        the cost.
        """
        items = []
        if self.count is not None:
            healthy = self.count.metric
            items.append(self._perfdata.of_service(healthy.value, healthy.max))
        for target in self.targets:
            items += self._perfdata.of_target(target)
        return items

    def of_target(self, target: MailServer) -> list[Result]:
        """Return the results of a target, once the check has been called."""
        return self._results_of.get(id(target), [])

    @property
    def count(self) -> Result | None:
        """The result that says how many targets are healthy, where there may be several."""
        return self.results.by_name.get(HEALTHY)


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


class _WorstResults(Results):  # type: ignore[misc]
    """Ranks CRITICAL above UNKNOWN, which nagiosplugin does not."""

    def __init__(self, *, is_by_count: bool) -> None:
        super().__init__()
        self._is_by_count = is_by_count

    @property
    def most_significant_state(self) -> State:
        """The state that decides: with ``--min-healthy`` it is not that of a single target."""
        if not self.results:
            return Ok
        deciding = self.results
        if self._is_by_count and HEALTHY in self:
            count = self.by_name[HEALTHY].metric
            if count.value < count.max:
                deciding = [one for one in self.results if _is_about_all(one)]
        return worst(result.state for result in deciding)


def _is_about_all(result: Result) -> bool:
    resource = result.resource
    return isinstance(resource, MailService) or not resource.is_counted


class _Perfdata:
    """What was measured in one run, as perfdata, in the order of a session."""

    def __init__(self, settings: Settings) -> None:
        self._of_days = settings.judging.limits
        warning, critical = settings.judging.limits
        self._limits = {
            label: f";{_text(warning.get(label))};{_text(critical.get(label))}"
            for label in MEASURES
        }
        known = measured(settings)
        most = f";{settings.endpoint.timeout:.6f}".rstrip("0").rstrip(".")
        self._seconds = [
            (label, f"s{self._limits[label]};0{most if label == TIME else ''}")
            for label in (TIME, *NAMES)
            if label in known
        ]

    def of_target(self, target: MailServer) -> list[str]:
        """Return an item for each of a target's metrics."""
        times = target.times
        begin, end = (f"'{target.prefix}", "'=") if target.prefix else ("", "=")
        items = [
            f"{begin}{label}{end}{times[label]:.6f}{rest}"
            for label, rest in self._seconds
            if label in times
        ]
        if target.certificate is not None:
            items.append(f"{begin}{DAYS}{end}{self._days(target.certificate)}")
        items += [
            f"{begin}{DNSBL}{end}{result.listings}{self._limits[DNSBL]};0"
            for result in target.report.policies
            if result.listings is not None
        ]
        items += [
            _quoted(f"{target.prefix}{label}") + f"={value};;;0"
            for result in target.report.policies
            for label, value in result.measures
        ]
        return items

    def _days(self, certificate: Certificate) -> str:
        """Return the days left, which may be less than 0, so that there is no least; and limits."""
        limits = self._of_days.of_certificate(certificate.lifetime, certificate.term)
        texts = [_text(ranges.get(DAYS)) for ranges in limits]
        # What is compared with a fraction needs one, too.
        is_exact = any("." in text for text in texts) and not certificate.is_expired
        days = f"{certificate.left:.3f}" if is_exact else str(certificate.days)
        return ";".join((days, *texts)).rstrip(";")

    def of_service(self, healthy: int, count: int) -> str:
        """Return the item for all targets together: how many of them are healthy."""
        return f"{HEALTHY}={healthy}{self._limits[HEALTHY]};0;{count}"


def _quoted(label: str) -> str:
    return f"'{label}'" if "::" in label else label


def _text(limit: Range | None) -> str:
    return "" if limit is None else limit.text
