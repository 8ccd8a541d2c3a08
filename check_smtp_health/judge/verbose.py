"""What ``-v`` adds: a row per stage, causes, DNS checks; transcript, TLS details."""

from __future__ import annotations

from check_smtp_health.escaping import escaped, harmless, printable
from check_smtp_health.judge.check import of_stage
from check_smtp_health.judge.contexts import reason, refusal, sentence
from check_smtp_health.judge.nagios import Ok
from check_smtp_health.judge.states import worst
from check_smtp_health.judge.text import is_long, named
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from check_smtp_health.judge.check import HealthCheck
    from check_smtp_health.judge.nagios import Result
    from check_smtp_health.judge.resources import MailServer
    from check_smtp_health.judge.text import HealthSummary
    from check_smtp_health.report import Observation, PolicyResult, Report
    from check_smtp_health.report.tls import Certificate

    State = Any  # nagiosplugin has no types

WIDEST_MARK = "[CRITICAL]"

BAR_WIDTH = 20
"""Columns for the whole session: more would wrap on a phone."""


class Glyphs(NamedTuple):
    """What the bars of ``-v`` are drawn with: no spaces, which front ends collapse."""

    bar: str
    filler: str


class Chart(NamedTuple):
    """How bars are drawn; ``columns`` is the window's width, None where there is none."""

    glyphs: Glyphs
    width: int = BAR_WIDTH
    columns: int | None = None

    def drawn(self, seen: Observation, whole: float) -> str:
        """Return the bar of a stage of a session that took ``whole`` seconds."""
        scale = self.width / whole if whole else 0.0
        left = min(int(seen.began * scale), self.width - 1)
        length = max(1, round(seen.seconds * scale))
        drawn = (self.glyphs.filler * left + self.glyphs.bar * length)[: self.width]
        return drawn + self.glyphs.filler * (self.width - len(drawn))


BLOCKS = Glyphs("\u2588", "\u2591")

ASCII = Glyphs("#", ".")
"""For a standard output that cannot encode the blocks."""


def lines(
    check: HealthCheck, verbose: int, glyphs: Glyphs, columns: int | None = None
) -> Iterator[str]:
    """Give the lines that follow the status line: of each target, what is wrong comes first.

    Web front ends show the beginning only. In a window of so many ``columns`` no row wraps.
    """
    summary: HealthSummary = check.summary
    chart = Chart(glyphs) if columns is None else _fitting(check, glyphs, columns)
    usual = _usual_certificate([target.report for target in check.targets])
    for target in summary.worst_first():
        report = target.report
        of_target = check.of_target(target)
        # Told from the others, or in full where the status line has no room for that.
        if check.count is not None or is_long(report):
            yield f"{_mark(summary.state(target))} {named(report)}"
        problems = summary.problems(target)
        yield from (f"{_mark(result.state)} {result}" for result in problems)
        yield from dict.fromkeys(_advice(target, problems))
        for seen in report.observations:
            yield _stage_line(seen, report, of_target, chart)
            yield from (f"{seen.stage}: {refusal(note)}" for note in seen.notes)
        yield from (f"{'control':<8} {harmless(one)}" for one in report.elsewhere)
        yield from _way(report)
        yield from _differing(report, usual)
        for policy in report.policies:
            yield from _policy_lines(policy, of_target)
        if verbose > 1:
            for moment, sender, text in transcript(report):
                yield f"{moment:9.6f} {sender}: {text}"
        if verbose > 2:
            yield from _tls_facts(report)


def _fitting(check: HealthCheck, glyphs: Glyphs, columns: int) -> Chart:
    """Return a chart whose bars take what the rest of each row leaves of a window.

    Reasons get the room beside bars of the usual width, and are cut there: each has a line of its
    own, too.
    """
    from check_smtp_health.terminal import width

    rows = [
        (seen, width(reason(seen.failure)) + 1 if seen.failure is not None else 0)
        for target in check.targets
        for seen in target.report.observations
    ]
    longest = max((len(_head(seen)) for seen, _ in rows), default=0)
    room = max(1, columns - longest - len(f"  {WIDEST_MARK}"))
    wanted = room - max((length for _, length in rows), default=0)
    return Chart(glyphs, max(wanted, min(BAR_WIDTH, room)), columns)


def _head(seen: Observation) -> str:
    return f"{seen.stage:<8} {seen.seconds:9.6f} s"


def _stage_line(seen: Observation, report: Report, results: Sequence[Result], chart: Chart) -> str:
    state = worst(result.state for result in of_stage(results, seen))
    first = min(other.began for other in report.observations)  # a token comes before the session
    whole = max(sum((other.began, other.seconds)) for other in report.observations) - first
    bar = chart.drawn(seen._replace(began=seen.began - first), whole)
    # Behind the bar: front ends make balls of the marks, and all of one width.
    line = f"{_head(seen)} {bar} {_mark(state)}"
    if seen.failure is None:
        return line
    why = reason(seen.failure)
    if chart.columns is not None:
        from check_smtp_health.terminal import fitted

        why = fitted(why, chart.columns - len(line) - 1)
    return f"{line} {why}".rstrip()


def _advice(target: MailServer, problems: Sequence[Result]) -> Iterator[str]:
    """Give advice on each problem: by its cause, or by its kind if the cause is unknown."""
    for result in problems:
        diagnosis = target.diagnosis(result.metric)
        if diagnosis is not None:
            listed = f", {diagnosis.address} is listed" if diagnosis.address else ""
            about = f"{diagnosis.words} ({diagnosis.cause.group}){listed}"
            yield f"{'cause':<8} {harmless(about)}: {diagnosis.advice}"
        elif advice := target.advice(result.metric):
            yield f"{'advice':<8} {advice}"


def _mark(state: State) -> str:
    return f"[{str(state).upper()}]"


def _policy_lines(policy: PolicyResult, results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        finding = result.metric.value
        if any(finding is one for one in policy.findings):
            yield f"{policy.name:<8} {_mark(result.state)} {sentence(finding)}"
    for note in policy.notes:
        yield f"{policy.name:<8} {_mark(Ok)} {harmless(note)}"


def _usual_certificate(reports: Sequence[Report]) -> Certificate | None:
    """Return a certificate like the one that most of several targets show, None with one target."""
    found = [one.tls.certificate for one in reports if one.tls and one.tls.certificate]
    known = [(one.issuer, one.not_after) for one in found]
    return max(found, key=lambda one: known.count((one.issuer, one.not_after)), default=None)


def _differing(report: Report, usual: Certificate | None) -> Iterator[str]:
    """Say what is different about a target's certificate, where that is so."""
    own = report.tls.certificate if report.tls else None
    if own is None or usual is None:
        return
    words = []
    if own.issuer != usual.issuer:
        words.append(f"issuer {printable(own.issuer, 80)} instead of {printable(usual.issuer, 80)}")
    if own.not_after != usual.not_after:
        words.append(f"{own.expiry} instead of {usual.not_after}")
    if words:
        yield f"certificate {_mark(Ok)} of {report.host.given}: {', '.join(words)}"


def _way(report: Report) -> Iterator[str]:
    """Give the lines about the message's route."""
    delivery = report.delivery
    if delivery is None:
        return
    yield harmless(f"delivery: seen in {', '.join(delivery.places)}")
    for host, seconds in delivery.hops:
        delay = "at an unknown time" if seconds is None else f"after {seconds:g} s"
        yield f"delivery: {printable(host) or 'a server without a name'} {delay}"
    if delivery.authentication:
        results = (f"{method} {result}" for method, result in delivery.authentication)
        yield harmless(f"delivery: {', '.join(results)}")
    for name, value in delivery.spam:
        yield f"delivery: {printable(name)}: {printable(value)}"
    for note in delivery.notes:
        yield harmless(f"delivery: {note}")


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
