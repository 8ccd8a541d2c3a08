"""``--output-format json``: all that was measured and judged, one JSON object a check.

Its form is ``docs/output.schema.json``, and only ever grows.
"""

from __future__ import annotations

import json

from check_smtp_health import __version__
from check_smtp_health.escaping import MARKS, STATUS_LIMIT, harmless, printable, shortened
from check_smtp_health.judge.check import of_stage
from check_smtp_health.judge.resources import MailServer
from check_smtp_health.judge.states import worst
from check_smtp_health.judge.verbose import transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from check_smtp_health.judge.check import HealthCheck
    from check_smtp_health.judge.nagios import Result
    from check_smtp_health.output.answer import Answer
    from check_smtp_health.report import Finding, Observation
    from check_smtp_health.report.delivery import Delivery
    from check_smtp_health.report.tls import Certificate, TlsFacts


_ENCODER = json.JSONEncoder(allow_nan=False, check_circular=False)
"""To look for circles would take a fifth of its time, and what is made here has none."""


def record(answer: Answer) -> str:
    """Return the object of an answer, and in it the names that the answer is for."""
    names = (answer.host, answer.service)
    head = _head(answer.status.split(" ", 2)[1], answer.code, answer.status, *names)
    check = answer.check
    if check is None:
        return _empty(head)
    head["problems"] = list(_problems(check))
    head["targets"] = list(_targets(check))
    head["perfdata"] = answer.perfdata
    return _safe(head) + "\n"


def document(records: Iterable[str]) -> Iterator[str]:
    """Give one object a line."""
    return iter(records)


def render(check: HealthCheck, verbose: int) -> Iterator[str]:
    """Give the object for a check that has been called; it has everything, always."""
    yield _safe(_head_of(check))[:-1]
    yield from _list("problems", _problems(check))
    yield from _list("targets", _targets(check))
    yield f', "perfdata": {_safe(check.measured())}}}\n'


def _problems(check: HealthCheck) -> Iterator[dict[str, Any]]:
    for result in check.results:
        if str(result):
            state = str(result.state).upper()
            yield {"state": state, "text": str(result), "cause": _cause(result)}


def _targets(check: HealthCheck) -> Iterator[dict[str, Any]]:
    return (_target(one, check.of_target(one)) for one in check.targets)


def short(check: HealthCheck) -> str:
    """Return the object without details."""
    return _empty(_head_of(check))


def unknown(problem: str, trace: str) -> str:
    """Return the object for a run that could not begin, or ended in a bug."""
    return _empty(_head("UNKNOWN", 3, f"SMTP UNKNOWN - {shortened(problem, STATUS_LIMIT)}"))


def _empty(head: dict[str, Any]) -> str:
    return _safe({**head, "problems": [], "targets": [], "perfdata": []}) + "\n"


def _list(name: str, values: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Give a member of the object, each of its values a piece: they may be thousands."""
    before = f', "{name}": ['
    for value in values:
        yield before + _safe(value)
        before = ", "
    yield "]" if before == ", " else f"{before}]"


def _safe(value: Any) -> str:
    """Return a value in JSON, in which no front end finds perfdata, a tag or a mark."""
    line = _ENCODER.encode(value)
    for character in "|<":
        line = _escaped(line, character)
    # To look behind each bracket takes a tenth of the time that searching for each mark does.
    for bracket in "[(":
        at = line.find(bracket)
        while at >= 0:
            if line.startswith(MARKS, at + 1):
                for mark in MARKS:
                    for end in ")]":
                        line = _escaped(line, bracket, mark + end)
                break
            at = line.find(bracket, at + 1)
    return line


def _escaped(line: str, character: str, rest: str = "") -> str:
    """Return JSON with an escape in the place of a character that the rest follows."""
    if character + rest not in line:
        return line
    return line.replace(character + rest, f"\\u{ord(character):04x}{rest}")


def _head_of(check: HealthCheck, host: str = "", service: str = "") -> dict[str, Any]:
    state = str(check.state).upper()
    return _head(state, check.exitcode, f"SMTP {state} - {check.summary_str}", host, service)


def _head(state: str, code: int, line: str, host: str = "", service: str = "") -> dict[str, Any]:
    return {
        "program": "check_smtp_health",
        "version": __version__,
        "state": state,
        "exit_code": code,
        "status": line,
        **({"host": host} if host else {}),
        **({"service": service} if service else {}),
    }


def _cause(result: Result) -> dict[str, str] | None:
    """Return why a problem is there, and what to do about it, where that is known."""
    server = result.resource
    found = server.diagnosis(result.metric) if isinstance(server, MailServer) else None
    if found is None:
        return None
    return {
        "name": found.cause.name,
        "group": found.cause.group,
        "advice": found.advice,
        "list": harmless(found.listing),
        "listed": found.address,
    }


def _target(target: MailServer, results: Sequence[Result]) -> dict[str, Any]:
    report = target.report
    return {
        "label": report.label,
        "state": _state(results),
        "is_domain": report.is_domain,
        "held": list(map(harmless, report.held)),
        "host": report.host.given,
        "port": report.port,
        "address": report.address,
        "seconds": None if report.seconds is None else _rounded(report.seconds),
        "stages": [_stage(seen, results) for seen in report.observations],
        "tls": _tls(report.tls) if report.tls is not None else None,
        "verdicts": [
            {
                "name": one.name,
                "findings": list(map(_finding, one.findings)),
                "notes": list(map(harmless, one.notes)),
                "is_pinned": one.is_pinned,
                "listings": one.listings,
                "held": harmless(one.held),
                "measures": dict(one.measures),
                "certificates": list(map(_certificate, one.certificates)),
            }
            for one in report.policies
        ],
        "elsewhere": list(map(harmless, report.elsewhere)),
        "delivery": _delivery(report.delivery) if report.delivery is not None else None,
        "transcript": [
            {"seconds": _rounded(moment), "sender": sender, "text": text}
            for moment, sender, text in transcript(report)
        ],
    }


def _stage(seen: Observation, results: Sequence[Result]) -> dict[str, Any]:
    failure = seen.failure
    own = of_stage(results, seen) if results else []
    return {
        "name": seen.stage,
        "state": _state(own),
        "began": _rounded(seen.began),
        "seconds": _rounded(seen.seconds),
        "failure": None
        if failure is None
        else {
            "kind": failure.kind,
            "problem": harmless(failure.problem),
            "subject": failure.subject,
            "code": failure.code,
            "reply": printable(failure.said),
            "raw": _raw(failure.said),
        },
        "findings": list(map(_finding, seen.findings)),
        "notes": list(map(_finding, seen.notes)),
        "problems": [str(result) for result in own if str(result)],
    }


def _state(results: Sequence[Result]) -> str:
    if not results:
        return "OK"
    state: str = worst([one.state for one in results]).text.upper()
    return state


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "problem": harmless(finding.problem),
        "reply": printable(finding.said),
        "raw": _raw(finding.said),
    }


def _rounded(seconds: float) -> float:
    """Return the seconds with six decimals, in half of the time that ``round`` takes for them."""
    return round(seconds * 1e6) / 1e6


def _raw(said: bytes) -> str:
    """Return the server's words unaltered, as far as they are UTF-8."""
    return said.decode("utf-8", "replace")


def _tls(facts: TlsFacts) -> dict[str, Any]:
    certificate = facts.certificate
    return {
        "version": facts.version,
        "cipher": facts.cipher,
        "certificate": None if certificate is None else _certificate(certificate),
        "issuers": list(map(_certificate, facts.issuers)),
    }


def _certificate(certificate: Certificate) -> dict[str, Any]:
    return {
        "subject": printable(certificate.subject),
        "issuer": printable(certificate.issuer),
        "names": [printable(name) for name in certificate.names],
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "days": certificate.days,
        "is_expired": certificate.is_expired,
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "mailboxes": list(map(harmless, delivery.places)),
        "hops": [{"host": printable(host), "seconds": seconds} for host, seconds in delivery.hops],
        "authentication": {
            harmless(method): harmless(result) for method, result in delivery.authentication
        },
        "spam": [
            {"field": printable(name), "value": printable(value)} for name, value in delivery.spam
        ],
        "notes": list(map(harmless, delivery.notes)),
        "certificates": list(map(_certificate, delivery.certificates)),
    }
