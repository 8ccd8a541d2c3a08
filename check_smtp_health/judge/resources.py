"""nagiosplugin's Resources: the reports as metrics. Everything has been measured before."""

from __future__ import annotations

from check_smtp_health.config.thresholds import DAYS, DNSBL, HEALTHY, TIME
from check_smtp_health.judge.nagios import Critical, Metric, Resource, Unknown, Warn
from check_smtp_health.judge.states import FAILURES, REFUSALS, is_failed, kind_of
from check_smtp_health.stages import DELIVERY, QUIT, TLS, TOKEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.judge.causes import Diagnosis
    from check_smtp_health.judge.nagios import Results
    from check_smtp_health.report import Failure, Finding, Observation, Report
    from check_smtp_health.report.tls import Certificate


class MailServer(Resource):  # type: ignore[misc]
    """One report as metrics.

    ``times`` are the seconds of each stage that completed, and of the session; ``certificate`` is
    the one whose days count; ``lacks_tls`` says that it was asked for and never begun.
    """

    name = "SMTP"

    def __init__(self, report: Report, settings: Settings) -> None:
        self.report = report
        # What would end a label, or begin a quoted one, is out of place in it.
        label = report.label.replace("'", "_").replace("=", "_")
        self.prefix = f"{label}::" if label else ""
        self.times = _times(report)
        self._judges_expiry = settings.tls.judge_expiry
        self.certificate: Certificate | None = None
        if report.tls is not None and self._judges_expiry:
            self.certificate = report.tls.certificate
        self.lacks_tls = bool(settings.tls.mode) and report.tls is None
        self._limits = settings.judging.limits
        self._settings = settings
        self._diagnoses: dict[int, Diagnosis | None] | None = None  # of who failed only

    def diagnosis(self, metric: Metric) -> Diagnosis | None:
        """Return why something failed, by one of the metrics given below; None if nobody knows."""
        key = id(metric)
        if self._diagnoses is None:
            self._diagnoses = {}
        if key not in self._diagnoses:
            seen, problem = _observed(metric)
            diagnosis = None
            if problem is not None and FAILURES[problem.kind] != "ok":
                from check_smtp_health.judge.causes import diagnose

                diagnosis = diagnose(seen, problem, self._settings)
            self._diagnoses[key] = diagnosis
        return self._diagnoses[key]

    def advice(self, metric: Metric) -> str:
        """Return what to do about a failure or finding whose cause is unknown, else nothing.

        Where a server has refused, its own words are the advice.
        """
        _, problem = _observed(metric)
        if problem is None or (problem.kind in REFUSALS and problem.kind != "open_relay"):
            return ""
        from check_smtp_health.judge.cause_table import ADVICE, TOKEN_ADVICE

        kind = kind_of(problem)
        return TOKEN_ADVICE.get(kind, ADVICE[kind]) if metric.name == TOKEN else ADVICE[kind]

    @property
    def is_counted(self) -> bool:
        """Whether it is one of those that may be healthy.

        A domain is not; one that leads nowhere stands for the targets that it does not lead to.
        """
        return not self.report.is_domain or self.report.failure is not None

    def probe(self) -> Iterator[Metric]:
        """Give a metric for each failure and finding, and for each value that has a range."""
        report = self.report
        for seen in report.observations:
            if seen.failure is not None and _matters(seen):
                yield Metric(seen.stage, seen, context="failure")
            for finding in seen.findings:
                yield Metric(seen.stage, (seen, finding), context="finding")
        for result in report.policies:
            for finding in result.findings:
                yield Metric(result.name, finding, context="policy")
            if result.listings is not None:
                yield Metric(DNSBL, result.listings)
        if self._judges_expiry:
            yield from self._validity()
        limits = self._limits
        if limits.warning or limits.critical:
            for label, seconds in self.times.items():
                if limits.has(label):
                    yield Metric(label, round(seconds, 6))
            for seen in report.observations:
                # That it failed changes nothing, but how long it took has a limit.
                if seen.failure is not None and not _matters(seen) and limits.has(seen.stage):
                    yield Metric(seen.stage, round(seen.seconds, 6))

    def _validity(self) -> Iterator[Metric]:
        """Give a metric for each certificate, unless all is said about it.

        One that was rejected is a problem already, and says whether it has expired; one that TLSA
        records vouch for may expire (RFC 7672 section 3.1.1), but not be malformed.
        """
        judged = []
        tls = self.report.tls
        if tls is not None and not self._has_failed(TLS):
            if tls.unread is not None:
                yield Metric("certificate", tls.unread, context="policy")
            if not tls.is_pinned:
                own = () if tls.certificate is None else (tls.certificate,)
                for certificate in (*own, *tls.issuers):
                    judged.append(_identity(certificate))
                    yield Metric("certificate", certificate, context=DAYS)
        for result in self.report.policies:
            for certificate in result.certificates:
                if _identity(certificate) not in judged:
                    yield Metric(result.name, certificate, context=DAYS)
        if self.report.delivery is not None:
            for certificate in self.report.delivery.certificates:
                yield Metric(DELIVERY, certificate, context=DAYS)

    def _has_failed(self, stage: str) -> bool:
        observations = self.report.observations
        return any(seen.stage == stage and seen.failure is not None for seen in observations)


class MailService(Resource):  # type: ignore[misc]
    """All targets together: how many of them are healthy, by ``results``. Evaluated after them."""

    name = "SMTP"

    def __init__(self, results: Results, targets: Sequence[MailServer]) -> None:
        self._results = results
        self._targets = targets

    def probe(self) -> Iterator[Metric]:
        """Give the number of targets that are OK or WARNING, of how many."""
        failing = {
            id(result.resource)
            for result in self._results
            if result.state in (Critical, Unknown)
            or (result.state == Warn and result.resource.report.is_misdirected)
        }
        counted = [target for target in self._targets if target.is_counted]
        healthy = sum(id(target) not in failing for target in counted)
        yield Metric(HEALTHY, healthy, max=len(counted))


def _identity(certificate: Certificate) -> Certificate:
    """Return what tells certificates apart: the time left depends on when it was read."""
    return certificate._replace(left=0.0)


def _observed(metric: Metric) -> tuple[Observation | None, Failure | Finding | None]:
    """Return the stage, and the failure or finding, that a metric stands for, if it does."""
    if metric.context == "failure":
        return metric.value, metric.value.failure
    if metric.context == "finding":
        seen, finding = metric.value
        return seen, finding
    return None, metric.value if metric.context == "policy" else None


def _matters(seen: Observation) -> bool:
    """Whether a failure counts: a failed QUIT does not, unless a signal interrupted it."""
    assert seen.failure is not None
    return seen.stage != QUIT or seen.failure.kind == "interrupted"


def _times(report: Report) -> dict[str, float]:
    times: dict[str, float] = {}
    failed = []
    for seen in report.observations:
        # HELO counts before and after TLS.
        times[seen.stage] = times.get(seen.stage, 0.0) + seen.seconds
        if is_failed(seen):
            failed.append(seen.stage)
    for stage in failed:
        times.pop(stage, None)
    if report.seconds is not None:
        times[TIME] = report.seconds
    return times
