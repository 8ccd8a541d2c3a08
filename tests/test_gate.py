"""Nothing that other people said gets out as it is, wherever in a report it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from check_smtp_health import masking, output, report
from check_smtp_health.judge.check import HealthCheck
from check_smtp_health.judge.text import ASCII, HealthSummary
from tests import command_line, harmless

if TYPE_CHECKING:
    from check_smtp_health.report import Report

EVIL = (
    "x|time=9 <svg/onload=a> [CRITICAL] (OK] [UP) [DOWN](WARNING)\0\x1b[31m\x85\u202e\u2028\ud800 "
)

CERTIFICATE = report.Certificate("", "", (), "2026-01-01", "2027-01-01", False, False, 59, -9)

OURS: dict[type, dict[str, Any]] = {
    report.Finding: {"kind": "misconfigured"},
    report.Failure: {"kind": "violation"},
    report.PolicyResult: {"name": "reverse"},
    report.Exchange: {"moment": 0.1, "sender": "S"},
    report.Hop: {"seconds": 1.0},
    report.TlsFacts: {"version": "TLS 1.3", "cipher": "X"},
    report.Delivery: {"places": ()},
}
"""What a report needs beside other people's words."""


def evil(kind: Any, /, **others: Any) -> Any:
    """Return a value of this kind with evil in each of its fields of words."""
    words = dict.fromkeys(masking._WORDS[kind], EVIL)
    for name in words:
        if name in ("said", "data"):
            words[name] = EVIL.encode("utf-8", "replace")
        elif name in ("names", "notes"):
            words[name] = (EVIL, EVIL)
        elif name in ("spam", "authentication"):
            words[name] = ((EVIL, EVIL),)
        elif name == "certificate":
            words[name] = evil(report.Certificate)
    if kind is report.Certificate:
        return CERTIFICATE._replace(**words)
    return kind(**{**words, **OURS[kind], **others})


def reported(failure: Any = None, *findings: Any) -> Report:
    """Return a report of one session, full of evil."""
    seen = (
        report.Observation("connect", 0.0, 0.1),
        report.Observation("helo", 0.1, 0.2, failure, findings),
    )
    return report.Report(
        host=report.Host("mx.example", "mx.example", "name"),
        port=25,
        address="192.0.2.1",
        seconds=0.3,
        observations=seen,
        transcript=(evil(report.Exchange), evil(report.Exchange, sender="*")),
        tls=evil(report.TlsFacts),
        delivery=evil(report.Delivery, hops=(evil(report.Hop),)),
        policies=(evil(report.PolicyResult, findings=findings),),
        held=(EVIL, EVIL),
    )


REPORTS = {
    "all is well": reported(),
    "a failure": reported(evil(report.Failure)),
    "a refusal": reported(evil(report.Failure, code=550)),
    "findings": reported(None, evil(report.Finding), evil(report.Finding, kind="rejected")),
    "nothing said": reported(None, evil(report.Finding, said=b"")),
}


def rendered(form: str, seen: Report, verbose: int) -> tuple[str, int]:
    """Return the answer about a report, and the exit code."""
    settings = command_line.settings("-H", "mx.example", "-S")
    check = HealthCheck(settings, [seen])
    check.add(HealthSummary(check, verbose, ASCII))
    check()
    return output.find(form).render(check, verbose), check.exitcode


@pytest.mark.parametrize("seen", REPORTS.values(), ids=REPORTS)
@pytest.mark.parametrize("verbose", [0, 3])
def test_as_text(seen: Report, verbose: int) -> None:
    text, code = rendered("text", seen, verbose)
    assert "svg/onload" in text
    harmless.check_text(text, code, verbose=bool(verbose))


@pytest.mark.parametrize("seen", REPORTS.values(), ids=REPORTS)
def test_as_json(seen: Report) -> None:
    harmless.check_json(*rendered("json", seen, 0))
