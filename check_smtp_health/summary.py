"""The text of the answer: status line, one line a stage (``-v``), the transcript (``-vv``)."""

from __future__ import annotations

from nagiosplugin import Summary

from check_smtp_health.evaluation import describe, of_stage, slowest, worst
from check_smtp_health.text import STATUS_LIMIT, escaped, printable, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nagiosplugin import Check, Result, Results

    from check_smtp_health.observation import Observation, Report

BAR_WIDTH = 40
"""Columns that stand for the whole session, so that a stage's line fits into 80."""


class HealthSummary(Summary):  # type: ignore[misc]
    """Writes for the person on call: the first line alone says which target, which stage, why."""

    def __init__(self, reports: Sequence[Report], verbose: int, bar: str) -> None:
        self._reports = reports
        self._verbose = verbose
        self._bar = bar

    def ok(self, results: Results) -> str:
        """Return the status line of a healthy service, or of one whose failure is tolerated."""
        (report,) = self._reports
        tolerated = [str(result) for result in results if str(result)]
        if tolerated:
            return shortened(f"{_target(report)} {'; '.join(tolerated)}", STATUS_LIMIT)
        text = f"{_target(report)} answered in {report.seconds:.3f} s ({slowest([report])})"
        if report.tls is None:
            return text
        certificate = report.tls.certificate
        left = f", certificate {certificate.expiry}" if certificate is not None else ""
        return f"{text}, {report.tls.version}{left}"

    def problem(self, results: Results) -> str:
        """Return the status line with every problem, worst first."""
        (report,) = self._reports
        left = [result for result in results if str(result)]
        texts: list[str] = []
        while left:
            state = worst([result.state for result in left])
            texts += [str(result) for result in left if result.state == state]
            left = [result for result in left if result.state != state]
        return shortened(f"{_target(report)} {'; '.join(texts)}", STATUS_LIMIT)

    def verbose(self, results: Results) -> list[str]:
        """Return the lines that follow the status line."""
        lines: list[str] = []
        for report in self._reports:
            lines += [self._stage_line(seen, report, results) for seen in report.observations]
            if self._verbose > 1:
                lines += [
                    f"{moment:9.6f} {sender}: {text}" for moment, sender, text in transcript(report)
                ]
            if self._verbose > 2:
                lines += _tls_facts(report)
        return lines

    def _stage_line(self, seen: Observation, report: Report, results: Sequence[Result]) -> str:
        state = worst([result.state for result in of_stage(results, seen)])
        whole = max(sum((other.began, other.seconds)) for other in report.observations)
        scale = BAR_WIDTH / whole if whole else 0.0
        left = min(int(seen.began * scale), BAR_WIDTH - 1)
        length = max(1, round(seen.seconds * scale))
        chart = (" " * left + self._bar * length)[:BAR_WIDTH]
        mark = f"[{str(state).upper()}]"
        line = f"{mark:<10} {seen.stage:<8} {seen.seconds:9.6f} s {chart:<{BAR_WIDTH}}"
        return f"{line} {describe(seen)}" if seen.failure is not None else line.rstrip()


def _target(report: Report) -> str:
    if report.host.startswith("/"):
        return report.host
    host = f"[{report.host}]" if ":" in report.host else report.host
    where = f"{host}:{report.port}"
    return f"{where} [{report.address}]" if report.address not in ("", report.host) else where


def status(check: Check) -> str:
    """Return the status line of a check that has been called, without its state."""
    line: str = check.summary_str
    return line


def transcript(report: Report) -> Iterator[tuple[float, str, str]]:
    """Give moment, sender and harmless text of each line sent or received."""
    for moment, sender, data in report.transcript:
        for line in data.rstrip(b"\r\n").split(b"\n"):
            if sender == "C":
                yield moment, sender, escaped(line.rstrip(b"\r").decode("utf-8", "replace"))
            else:
                yield moment, sender, printable(line)


def _tls_facts(report: Report) -> Iterator[str]:
    if report.tls is None:
        return
    yield f"TLS: {report.tls.version}, {report.tls.cipher}"
    certificate = report.tls.certificate
    if certificate is not None:
        yield f"certificate: {printable(certificate.subject)}"
        yield f"certificate issuer: {printable(certificate.issuer)}"
        yield f"certificate names: {printable(', '.join(certificate.names))}"
        yield f"certificate valid: {certificate.not_before} to {certificate.not_after}"
