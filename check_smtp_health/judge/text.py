"""The answer in words: the status line. What ``-v`` adds is in ``verbose``."""

from __future__ import annotations

from check_smtp_health.escaping import STATUS_LIMIT, harmless, shortened
from check_smtp_health.judge.contexts import slowest
from check_smtp_health.judge.nagios import Summary
from check_smtp_health.judge.states import badness, worst
from check_smtp_health.report import duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from check_smtp_health.judge.check import HealthCheck
    from check_smtp_health.judge.nagios import Result, Results
    from check_smtp_health.judge.resources import MailServer
    from check_smtp_health.report import Report

    State = Any  # nagiosplugin has no types

SEPARATOR = ", also "
"""Separates two problems: Nagios would turn a semicolon into a colon."""

MORE = ", also {} more"
"""Replaces the targets whose problems do not fit into the status line."""

NAME_LIMIT = 32
"""Characters of a host's name in the status line, whose first 80 are to have stage and reason."""

NAME_END = 14
"""How many of them, at most, are the end of a name that is longer: whole labels of it."""


class HealthSummary(Summary):  # type: ignore[misc]
    """Writes for the person on call: the first line alone says which target, which stage, why."""

    def __init__(self, check: HealthCheck) -> None:
        self._check = check

    def ok(self, results: Results) -> str:
        """Return the status line of a healthy service, or of one whose failure is tolerated."""
        targets = self._check.targets
        said = [one for target in targets for one in self.problems(target)]
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
        for target in self.worst_first():
            problems = self.problems(target)
            if problems:
                place, address = where(target.report, NAME_LIMIT), _address(target.report)
                room = STATUS_LIMIT - len(f"{place} {address}")
                texts.append(f"{place} {_with_causes(target, problems, room)}{address}")
        return texts

    def worst_first(self) -> list[MailServer]:
        """Return the targets, those that fail first."""
        return sorted(self._check.targets, key=lambda target: badness(self.state(target)))

    def problems(self, target: MailServer) -> list[Result]:
        """Return what is to be said of a target, worst first."""
        said = [result for result in self._check.of_target(target) if str(result)]
        return sorted(said, key=lambda result: badness(result.state))

    def state(self, target: MailServer) -> State:
        """Return the state of a target."""
        return worst(result.state for result in self._check.of_target(target))


def _with_causes(target: MailServer, problems: Sequence[Result], room: int) -> str:
    """Return the problems, with their causes if there is room for all of them."""
    diagnoses = [target.diagnosis(result.metric) for result in problems]
    causes = [harmless(f", cause: {one.words}") if one else "" for one in diagnoses]
    said = SEPARATOR.join(f"{result}{cause}" for result, cause in zip(problems, causes))
    return said if len(said) <= room else SEPARATOR.join(map(str, problems))


def named(report: Report) -> str:
    """Return the target, or the mail domain, in words."""
    return f"{where(report)}{_address(report)}"


def where(report: Report, limit: int | None = None) -> str:
    """Return host and port of a target, or the mail domain; a name of at most ``limit``."""
    host = report.host.given
    if limit is not None and is_long(report, limit):
        end = host[-NAME_END - 1 :].partition(".")[2]
        host = f"{host[: limit - len(end) - 3]}...{end}"
    if report.is_domain or report.host.kind == "socket":
        return host
    return f"[{host}]:{report.port}" if ":" in host else f"{host}:{report.port}"


def is_long(report: Report, limit: int = NAME_LIMIT) -> bool:
    """Whether the status line has no room for the whole name of a target."""
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
