"""The answer in words: status line, one line per stage (``-v``), the transcript (``-vv``)."""

from __future__ import annotations

from check_smtp_health.escaping import STATUS_LIMIT, escaped, harmless, printable, shortened
from check_smtp_health.judge.check import of_stage
from check_smtp_health.judge.contexts import reason, refusal, sentence, slowest
from check_smtp_health.judge.nagios import Ok, Summary
from check_smtp_health.judge.states import badness, worst
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.report import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from check_smtp_health.judge.check import HealthCheck
    from check_smtp_health.judge.nagios import Result, Results
    from check_smtp_health.judge.resources import MailServer
    from check_smtp_health.report import Certificate, Observation, PolicyResult, Report

    State = Any  # nagiosplugin has no types

SEPARATOR = ", also "
"""What stands between two problems: Nagios would make a colon of a semicolon."""

MORE = ", also {} more"
"""What stands for the targets whose problems do not fit into the status line."""

BAR_WIDTH = 20
"""Columns that stand for the whole session: more would wrap on a phone."""

NAME_LIMIT = 32
"""Characters of a host's name in the status line, whose first 80 are to have stage and reason."""

NAME_END = 14
"""How many of them, at most, are the end of a name that is longer: whole labels of it."""


class Glyphs(NamedTuple):
    """What the bars of ``-v`` are drawn with: no spaces, which front ends collapse."""

    bar: str
    filler: str


BLOCKS = Glyphs("\u2588", "\u2591")

ASCII = Glyphs("#", ".")
"""For a standard output that cannot encode the others."""


class HealthSummary(Summary):  # type: ignore[misc]
    """Writes for the person on call: the first line alone says which target, which stage, why."""

    def __init__(self, check: HealthCheck, verbose: int, glyphs: Glyphs) -> None:
        self._check = check
        self._verbose = verbose
        self._glyphs = glyphs

    def ok(self, results: Results) -> str:
        """Return the status line of a healthy service, or of one whose failure is tolerated."""
        targets = self._check.targets
        said = [one for target in targets for one in self._problems(target)]
        if any(result.metric.context != "policy" for result in said):
            return self.problem(results)
        if self._check.count is None:
            return _joined([_healthy(targets[0].report), *map(str, said)], "")
        line = _healthy_all([target.report for target in targets], self._check.count)
        return _joined([line, *(self._texts() if said else ())], "")

    def empty(self) -> str:
        """Return the status line where nothing had to be judged."""
        return self.ok(self._check.results)

    def problem(self, results: Results) -> str:
        """Return the status line with every problem, worst first."""
        texts = self._texts()
        count = self._check.count
        if not texts:  # no target is to blame, but their number
            return str(count)
        return _joined(texts, "" if count is None else f", {count}")

    def _texts(self) -> list[str]:
        """Return what is to be said of each target, the worst one first."""
        texts = []
        for target in self._worst_first():
            problems = self._problems(target)
            if problems:
                where, address = _where(target.report, NAME_LIMIT), _address(target.report)
                room = STATUS_LIMIT - len(f"{where} {address}")
                texts.append(f"{where} {_with_causes(target, problems, room)}{address}")
        return texts

    def _worst_first(self) -> list[MailServer]:
        return sorted(self._check.targets, key=lambda target: badness(self._state(target)))

    def _problems(self, target: MailServer) -> list[Result]:
        """Return what is to be said of a target, worst first."""
        said = [result for result in self._check.of_target(target) if str(result)]
        return sorted(said, key=lambda result: badness(result.state))

    def _state(self, target: MailServer) -> State:
        return worst(result.state for result in self._check.of_target(target))

    def verbose(self, results: Results) -> Iterator[str]:
        """Give the lines that follow the status line: of each target, what is wrong comes first.

        Web front ends show the beginning only.
        """
        usual = _usual_certificate([target.report for target in self._check.targets])
        for target in self._worst_first():
            report = target.report
            of_target = self._check.of_target(target)
            # Told from the others, or in full where the status line has no room for that.
            if self._check.count is not None or _is_long(report):
                yield f"{_mark(self._state(target))} {named(report)}"
            problems = self._problems(target)
            yield from (f"{_mark(result.state)} {result}" for result in problems)
            yield from dict.fromkeys(_advice(target, problems))
            for seen in report.observations:
                yield self._stage_line(seen, report, of_target)
                yield from (f"{seen.stage}: {refusal(note)}" for note in seen.notes)
            yield from (f"{'control':<8} {harmless(one)}" for one in report.elsewhere)
            yield from _way(report)
            yield from _differing(report, usual)
            for policy in report.policies:
                yield from _policy_lines(policy, of_target)
            if self._verbose > 1:
                for moment, sender, text in transcript(report):
                    yield f"{moment:9.6f} {sender}: {text}"
            if self._verbose > 2:
                yield from _tls_facts(report)

    def _stage_line(self, seen: Observation, report: Report, results: Sequence[Result]) -> str:
        state = worst(result.state for result in of_stage(results, seen))
        whole = max(sum((other.began, other.seconds)) for other in report.observations)
        scale = BAR_WIDTH / whole if whole else 0.0
        left = min(int(seen.began * scale), BAR_WIDTH - 1)
        length = max(1, round(seen.seconds * scale))
        chart = (self._glyphs.filler * left + self._glyphs.bar * length)[:BAR_WIDTH]
        chart += self._glyphs.filler * (BAR_WIDTH - len(chart))
        # Behind the bar: front ends make balls of the marks, and all of one width.
        line = f"{seen.stage:<8} {seen.seconds:9.6f} s {chart} {_mark(state)}"
        return f"{line} {reason(seen.failure)}" if seen.failure is not None else line


def _with_causes(target: MailServer, problems: Sequence[Result], room: int) -> str:
    """Return the problems, each with its cause where there is room for all of that."""
    diagnoses = [target.diagnosis(result.metric) for result in problems]
    causes = [harmless(f", cause: {one.words}") if one else "" for one in diagnoses]
    said = SEPARATOR.join(f"{result}{cause}" for result, cause in zip(problems, causes))
    return said if len(said) <= room else SEPARATOR.join(map(str, problems))


def _advice(target: MailServer, problems: Sequence[Result]) -> Iterator[str]:
    """Give what to do about each problem: by its cause, or where nobody knows it by its kind."""
    for result in problems:
        diagnosis = target.diagnosis(result.metric)
        if diagnosis is not None:
            listed = f", {diagnosis.address} is listed" if diagnosis.address else ""
            about = f"{diagnosis.words} ({diagnosis.cause.group}){listed}"
            yield f"{'cause':<8} {harmless(about)}: {diagnosis.advice}"
        elif advice := target.advice(result.metric):
            yield f"{'advice':<8} {advice}"


def named(report: Report) -> str:
    """Return the target, or the mail domain, as a person knows it."""
    return f"{_where(report)}{_address(report)}"


def _where(report: Report, limit: int | None = None) -> str:
    """Return host and port of a target, or the mail domain; a name of at most ``limit``."""
    host = report.host.given
    if limit is not None and _is_long(report, limit):
        end = host[-NAME_END - 1 :].partition(".")[2]
        host = f"{host[: limit - len(end) - 3]}...{end}"
    if report.is_domain or report.host.kind == "socket":
        return host
    return f"[{host}]:{report.port}" if ":" in host else f"{host}:{report.port}"


def _is_long(report: Report, limit: int = NAME_LIMIT) -> bool:
    return report.host.kind == "name" and len(report.host.given) > limit


def _address(report: Report) -> str:
    """Return the address that answered, in brackets, where the target does not say it already."""
    is_new = not report.is_domain and report.host.kind == "name" and report.address
    return f" [{report.address}]" if is_new else ""


def _healthy(report: Report) -> str:
    assert report.seconds is not None
    took = duration(report.seconds)
    said = [f"{named(report)} answered in {took} (slowest: {slowest(report)})"]
    if report.tls is not None:
        said.append(report.tls.version)
        if report.tls.certificate is not None:
            said.append(f"certificate {report.tls.certificate.expiry}")
    return ", ".join((*said, *_held(report)))


def _held(report: Report) -> list[str]:
    """Return what else was asked and held, in a few words each."""
    held = [*[one.held for one in report.policies if one.held], *report.held]
    return list(map(harmless, held)) if held else held


def _healthy_all(reports: Sequence[Report], count: Result) -> str:
    # Those that have led to targets, not those that were asked about beside them.
    led = [report for report in reports if report.is_domain and report.observations]
    domains = ", ".join(report.host.given for report in led)
    last = max(reports, key=lambda report: report.seconds or 0.0)
    took = duration(last.seconds or 0.0)
    text = f"{count}, slowest: {named(last)} {took} ({slowest(last)})"
    certificates = [one.tls.certificate for one in reports if one.tls and one.tls.certificate]
    if certificates:
        text += f", first certificate {min(certificates, key=lambda one: one.days).expiry}"
    text = ", ".join((text, *_held_by_all(reports)))
    return f"{domains}: {text}" if domains else text


def _held_by_all(reports: Sequence[Report]) -> list[str]:
    """Return what held for the domain, and what did for every one of the targets."""
    first, *others = [_held(report) for report in reports if not report.is_domain] or [[]]
    of_domains = [one for report in reports if report.is_domain for one in _held(report)]
    return of_domains + [one for one in first if all(one in several for several in others)]


def _joined(texts: Sequence[str], ending: str) -> str:
    """Return as many texts as fit into the status line, at least one, and how many do not."""
    line, left = texts[0], len(texts) - 1
    for text in texts[1:]:
        longer = f"{line}{SEPARATOR}{text}"
        if len(longer) + len(ending) + len(MORE.format(left)) > STATUS_LIMIT:
            break
        line, left = longer, left - 1
    ending = (MORE.format(left) if left else "") + ending
    return shortened(line, STATUS_LIMIT - len(ending)) + ending


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
    """Return a certificate like that which most of several targets show, None of one target."""
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
    """Give what is known of the message's way."""
    delivery = report.delivery
    if delivery is None:
        return
    yield harmless(f"delivery: seen in {', '.join(delivery.places)}")
    for host, seconds in delivery.hops:
        delay = "at an unknown time" if seconds is None else f"after {seconds:g} s"
        yield f"delivery: {printable(host) or 'a server without name'} {delay}"
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
