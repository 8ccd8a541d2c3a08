"""Nothing that other people said gets out as it is, wherever in a report it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from check_smtp_health import masking, output, report
from check_smtp_health.judge.check import HealthCheck
from check_smtp_health.judge.text import HealthSummary
from check_smtp_health.report.delivery import Delivery, Hop
from check_smtp_health.report.tls import Certificate, TlsFacts
from tests import command_line, harmless, plugin
from tests.servers.name_server import NXDOMAIN, Answer, NameServer, fails, records

if TYPE_CHECKING:
    from check_smtp_health.report import Report
    from tests.servers.name_server import Answers

EVIL = (
    "x|time=9 <svg/onload=a> [CRITICAL] (OK] [UP) [DOWN](WARNING)\0\x1b[31m\x85\u202e\u2028\ud800 "
)

CERTIFICATE = Certificate("", "", (), "2026-01-01", "2027-01-01", False, False, 59, -9, 59.5, 90.0)

OURS: dict[type, dict[str, Any]] = {
    report.Finding: {"kind": "misconfigured"},
    report.Failure: {"kind": "violation"},
    report.PolicyResult: {"name": "reverse"},
    report.Exchange: {"moment": 0.1, "sender": "S"},
    Hop: {"seconds": 1.0},
    TlsFacts: {"version": "TLS 1.3", "cipher": "X"},
    Delivery: {"places": ()},
}
"""What a report needs beside other people's words."""


def evil(kind: Any, /, **others: Any) -> Any:
    """Return a value of this kind with evil in each of its fields of words."""
    words: dict[str, Any] = dict.fromkeys(masking._WORDS[kind], EVIL)
    for name in words:
        if name in ("said", "data"):
            words[name] = EVIL.encode("utf-8", "replace")
        elif name in ("names", "notes"):
            words[name] = (EVIL, EVIL)
        elif name in ("spam", "authentication"):
            words[name] = ((EVIL, EVIL),)
        elif name == "certificate":
            words[name] = evil(Certificate)
        elif name in ("certificates", "issuers"):
            words[name] = (evil(Certificate)._replace(role="intermediate"),)
    if kind is Certificate:
        return CERTIFICATE._replace(**words)
    return kind(**{**words, **OURS[kind], **others})


def reported(failure: Any = None, *findings: Any) -> Report:
    """Return a report of one session, full of evil."""
    seen = (
        report.Observation("connect", 0.0, 0.1),
        report.Observation("helo", 0.1, 0.2, failure, findings, (evil(report.Finding),)),
    )
    return report.Report(
        host=report.Host("mx.example", "mx.example", "name"),
        port=25,
        address="192.0.2.1",
        seconds=0.3,
        observations=seen,
        transcript=(evil(report.Exchange), evil(report.Exchange, sender="*")),
        tls=evil(TlsFacts),
        delivery=evil(Delivery, hops=(evil(Hop),)),
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
    check.add(HealthSummary(check))
    check()
    return "".join(output.find(form).render(check, verbose)), check.exitcode


@pytest.mark.parametrize("seen", REPORTS.values(), ids=REPORTS)
@pytest.mark.parametrize("verbose", [0, 3])
def test_as_text(seen: Report, verbose: int) -> None:
    text, code = rendered("text", seen, verbose)
    assert "svg/onload" in text
    harmless.check_text(text, code, verbose=bool(verbose))


@pytest.mark.parametrize("seen", REPORTS.values(), ids=REPORTS)
def test_as_json(seen: Report) -> None:
    harmless.check_json(*rendered("json", seen, 0))


LABEL = r"<svg\|onload=a>[critical]\(ok\)\027[31m"
"""A label that is evil, as a zone file has it."""

NAMED = f"{LABEL}.test."

A = records("A 127.0.0.1")

REVERSE = ("1.0.0.127.in-addr.arpa", "PTR")

SECURE_ALIAS = {
    ("mx.test", "A"): Answer((f"CNAME {NAMED}", f"{NAMED}: A 127.0.0.1"), is_secure=True)
}

LOOP = records("CNAME other.test.", "other.test: CNAME {name}")

TOLD: dict[str, tuple[tuple[str, ...], Answers, Answer]] = {
    "an MX": (("--mx",), {("mx.test", "MX"): records(f"MX 1 {NAMED}")}, NXDOMAIN),
    "an MX beside a good one": (
        ("--mx",),
        {
            ("mx.test", "MX"): records(f"MX 1 {NAMED}", "MX 2 mx.test."),
            ("mx.test", "A"): records("A 127.0.0.2"),
        },
        NXDOMAIN,
    ),
    "a PTR": (
        ("--reverse",),
        {("mx.test", "A"): A, REVERSE: records(f"PTR {NAMED}")},
        NXDOMAIN,
    ),
    "a PTR about which nobody answers": (
        ("--reverse",),
        {("mx.test", "A"): A, REVERSE: records(f"PTR {NAMED}")},
        fails("SERVFAIL"),
    ),
    "a PTR whose aliases do not end": (
        ("--reverse",),
        {("mx.test", "A"): A, REVERSE: records(f"PTR {NAMED}")},
        LOOP,
    ),
    "an alias about which nobody answers": (
        ("--ssl", "--dane"),
        SECURE_ALIAS,
        fails("SERVFAIL"),
    ),
    "an alias with records that are not secure": (
        ("--ssl", "--dane"),
        SECURE_ALIAS,
        records(f"TLSA 3 1 1 {'ab' * 32}"),
    ),
    "a TLSRPT record": (
        ("--ssl", "--mta-sts"),
        {
            ("mx.test", "A"): A,
            ("mx.test", "MX"): records(),
            ("_mta-sts.mx.test", "TXT"): records('TXT "v=STSv1; id=<svg|[critical]>"'),
            ("_smtp._tls.mx.test", "TXT"): records('TXT "v=TLSRPTv1; rua=<svg>[OK]|"'),
        },
        NXDOMAIN,
    ),
}
"""What is asked, what a name server says that is up to no good, and what to all other questions."""


@pytest.mark.parametrize("what", TOLD)
@pytest.mark.parametrize("form", ["text", "json"])
def test_names_of_dns(what: str, form: str) -> None:
    arguments, answers, default = TOLD[what]
    with NameServer(answers, default).running() as names:
        done = plugin.run(
            *("-H", "mx.test", "-4", "-p", "1", "-t", "2", "--nameserver", names.nameserver),
            *(*arguments, f"--output-format={form}", "-vvv"),
        )
    assert (done.stderr, "svg" in done.stdout) == ("", True)
    if form == "json":
        harmless.check_json(done.stdout, done.code)
        return
    first, *rest = done.stdout.splitlines()
    # Several targets have labels, of which ``harmless`` knows none: their perfdata is not at issue.
    kept = [line for line in rest if not line.startswith("| ")]
    harmless.check_text("\n".join((first, *kept, "")), done.code, verbose=True)
