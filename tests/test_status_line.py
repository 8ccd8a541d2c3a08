"""The status line, of observations that are made here: what comes first, and how it is put."""

from __future__ import annotations

import pytest

from check_smtp_health.judge.check import HealthCheck
from check_smtp_health.judge.text import HealthSummary
from check_smtp_health.output import text
from check_smtp_health.report import Failure, Finding, Observation, Report, duration
from tests import command_line

DENIED = Failure("rejected", "", b"550 5.7.1 Access denied", 550)
REFUSED = Failure("unreachable", "connection refused")

FIRST = 80
"""Characters that a text message, a column of a web page or a narrow window shows."""


def line(*stages: tuple[Observation, ...], arguments: tuple[str, ...]) -> str:
    """Return what is said of the hosts of a command line, each with its stages and an address."""
    settings = command_line.settings(*arguments)
    reports = [
        Report(host, settings.endpoint.port, f"192.0.2.{number}", 0.5, seen)
        for number, (host, seen) in enumerate(zip(settings.endpoint.hosts, stages), 1)
    ]
    check = HealthCheck(settings, reports)
    check.add(HealthSummary(check))
    check()
    return "".join(text.render(check, 0)).partition(" | ")[0]


def failed(stage: str, failure: Failure, seconds: float = 0.31) -> Observation:
    return Observation(stage, 0.1, seconds, failure)


LABEL = "mx-" + "a" * 60
"""As long as one may be."""


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("mail.example.org", "mail.example.org:587"),
        (f"{'m' * 17}.mx.example.org", f"{'m' * 17}.mx.example.org:587"),
        (f"{'m' * 18}.mx.example.org", f"{'m' * 15}...mx.example.org:587"),
        (f"{LABEL}.example.org", f"mx-{'a' * 15}...example.org:587"),
        (LABEL, f"mx-{'a' * 26}...:587"),
        (f"{LABEL}.{LABEL}.{LABEL}.mx.example.org", f"mx-{'a' * 12}...mx.example.org:587"),
        ("192.0.2.1", "192.0.2.1:587"),
        (
            "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
            "[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:587",
        ),
    ],
)
def test_stage_and_reason_come_first(host: str, shown: str) -> None:
    """However long the name is: its beginning and its domain are left of it."""
    said = line((failed("helo", DENIED),), arguments=("-H", host, "-p", "587"))
    address = " [192.0.2.1]" if host[-1].isalpha() else ""
    assert said == (
        f"SMTP CRITICAL - {shown} helo: 550 5.7.1 Access denied (after 0.310 s){address}"
    )
    assert "helo: 550 5.7.1 " in said[:FIRST]


def test_a_name_is_whole_where_all_is_well() -> None:
    host = f"{LABEL}.example.org"
    assert line((Observation("connect", 0.0, 0.5),), arguments=("-H", host)) == (
        f"SMTP OK - {host}:25 [192.0.2.1] answered in 0.500 s (slowest: connect 0.500 s)"
    )


def test_the_problems_of_several_targets() -> None:
    """The worst target first, of each the worst problem, its address, and how many are left."""
    lacks = Finding("unmatched", "does not contain 'Postfix'", b"220 mx ESMTP")
    banner = Observation("banner", 0.0, 0.1, None, (lacks,))
    said = line(
        (Observation("connect", 0.0, 0.1),),
        (banner,),
        (banner, failed("helo", DENIED)),
        (failed("connect", REFUSED, 0.0004),),
        arguments=tuple(f"-H{name}.example" for name in "abcd"),
    )
    assert said == (
        "SMTP CRITICAL - "
        "c.example:25 helo: 550 5.7.1 Access denied (after 0.310 s), "
        "also banner: does not contain 'Postfix': '220 mx ESMTP' [192.0.2.3], "
        "also d.example:25 connect: connection refused (after 0.4 ms) [192.0.2.4], "
        "also b.example:25 banner: does not contain 'Postfix': '220 mx ESMTP' [192.0.2.2], "
        "2 of 4 healthy"
    )


def test_what_took_no_time_tells_none() -> None:
    """The stage only looked at what was there already."""
    lacking = failed("starttls", Failure("not_offered", "STARTTLS is not offered"), 0.0)
    assert line((lacking,), arguments=("-H", "mx.example", "-S")) == (
        "SMTP CRITICAL - mx.example:25 starttls: STARTTLS is not offered [192.0.2.1]"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.01 ms"),
        (0.000001, "0.01 ms"),
        (0.00004, "0.04 ms"),
        (0.0004, "0.4 ms"),
        (0.00044, "0.44 ms"),
        (0.0009996, "1 ms"),
        (0.001, "0.001 s"),
        (0.0014, "0.001 s"),
        (0.3102, "0.310 s"),
        (12.3456, "12.346 s"),
    ],
)
def test_no_time_reads_as_none(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("0.2", "limit 0.2 s"),
        ("~:0.2", "limit 0.2 s"),
        ("0.1:0.2", "limit 0.2 s"),
        ("1:", "below 1 s"),
        ("1:5", "below 1 s"),
        ("@0.5", "between 0 and 0.5 s"),
        ("@0.1:0.5", "between 0.1 and 0.5 s"),
        ("@~:0.5", "not above 0.5 s"),
        ("@0.1:", "not below 0.1 s"),
    ],
)
def test_a_limit_in_words(limit: str, words: str) -> None:
    seen = (Observation("helo", 0.1, 0.31),)
    said = line(seen, arguments=("-H", "mx.example", "-w", f"helo={limit}"))
    assert said == f"SMTP WARNING - mx.example:25 helo took 0.310 s ({words}) [192.0.2.1]"
