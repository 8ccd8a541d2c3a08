"""What may be typed, and the values it makes. (What may not: test_usage.)"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nagiosplugin import Range

from check_smtp_health.config.getopt import read
from check_smtp_health.config.option_table import OPTIONS
from check_smtp_health.config.parsers import Expect, Host, Keyword
from check_smtp_health.config.settings import Settings, build
from check_smtp_health.errors import UsageFault

KEYS = ("banner", "helo", "time")


def settings(*arguments: str, nodename: str = "here") -> Settings:
    """Return the settings of a command line that lacks only the host."""
    return build(read(["-H", "mx.example", *arguments]), KEYS, nodename)


def test_defaults() -> None:
    assert settings() == Settings(
        hosts=(Host("mx.example", "mx.example", "name"),),
        port=25,
        family=None,
        source=None,
        fqdn=None,
        greeting="HELO",
        expect=Expect(220, ""),
        require=(),
        forbid=(),
        warning={},
        critical={},
        timeout=10.0,
        timeout_state="critical",
        tempfail="warning",
        verbose=0,
    )


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (("-p", "2525"), {"port": 2525}),
        (("-p2525",), {"port": 2525}),
        (("--port=2525",), {"port": 2525}),
        (("-p", "1", "-p", "2"), {"port": 2}),
        (("-4",), {"family": 4}),
        (("--use-ipv6",), {"family": 6}),
        (("--source", "192.0.2.1"), {"source": "192.0.2.1", "family": 4}),
        (("--source", "::1", "-6"), {"source": "::1", "family": 6}),
        (("-F", "me.example"), {"fqdn": "me.example"}),
        (("-F", "-me"), {"fqdn": "-me"}),
        (("--ehlo",), {"greeting": "EHLO"}),
        (("--ehlo=",), {"greeting": "EHLO"}),
        (("-L",), {"greeting": "LHLO"}),
        (("--lmtp", "--ehlo"), {"greeting": "LHLO"}),
        (("-e", "220 mx"), {"expect": Expect(220, "220 mx")}),
        (("-e", "554"), {"expect": Expect(554, "554")}),
        (("-e", "554-no"), {"expect": Expect(554, "554-no")}),
        (("-e", "2200"), {"expect": Expect(220, "2200")}),
        (("-e", "ESMTP"), {"expect": Expect(220, "ESMTP")}),
        (("-e", ""), {"expect": Expect(220, "")}),
        (
            ("--require", "size", "--require=AUTH=PLAIN"),
            {
                "greeting": "EHLO",
                "require": (Keyword("SIZE", None), Keyword("AUTH", "PLAIN")),
            },
        ),
        (("--forbid", "VRFY"), {"greeting": "EHLO", "forbid": (Keyword("VRFY", None),)}),
        (("-w", "1", "-c", "2"), {"warning": {"time": "1"}, "critical": {"time": "2"}}),
        (
            ("-w", "banner=.5,helo=@1:2,3"),
            {"warning": {"banner": "0.5", "helo": "@1:2", "time": "3"}},
        ),
        (("-w", "banner=1", "-w", "time=2"), {"warning": {"banner": "1", "time": "2"}}),
        (("-w", "-5:"), {"warning": {"time": "-5:"}}),
        (("-w-5:",), {"warning": {"time": "-5:"}}),
        (("--warning=~:5",), {"warning": {"time": "~:5"}}),
        (("-w", "0:5"), {"warning": {"time": "5"}}),
        (("-w", ":5"), {"warning": {"time": "5"}}),
        (("-w", "@0.0:5."), {"warning": {"time": "@5"}}),
        (("-w", "-.5:00"), {"warning": {"time": "-0.5:00"}}),
        (("-t", "0.5"), {"timeout": 0.5}),
        (("-t", "7:unknown"), {"timeout": 7.0, "timeout_state": "unknown"}),
        (("-t", "7:1"), {"timeout": 7.0, "timeout_state": "warning"}),
        (("--tempfail", "CRITICAL"), {"tempfail": "critical"}),
        (("-q",), {}),
        (("-q", "true"), {}),
        (("-q", "0", "-p", "1"), {"port": 1}),
        (("--ignore-quit-failure=false",), {}),
        (("-v", "-v"), {"verbose": 2}),
        (("-vvv",), {"verbose": 3}),
        (("-vp1",), {"verbose": 1, "port": 1}),
        (("-qv",), {"verbose": 1}),
    ],
)
def test_given(arguments: tuple[str, ...], changed: dict[str, Any]) -> None:
    assert settings(*arguments) == settings()._replace(**changed)


@pytest.mark.parametrize(
    ("words", "host"),
    [
        (("mx.example",), Host("mx.example", "mx.example", "name")),
        (("-v", "mx.example"), Host("mx.example", "mx.example", "name")),
        (("--", "mx.example"), Host("mx.example", "mx.example", "name")),
        (("-H", "mx_1.example."), Host("mx_1.example.", "mx_1.example.", "name")),
        (
            ("-H", "b\u00fccher.example"),
            Host("b\u00fccher.example", "xn--bcher-kva.example", "name"),
        ),
        (("-H", "192.0.2.1"), Host("192.0.2.1", "192.0.2.1", "address")),
        (("-H", "::1"), Host("::1", "::1", "address")),
        (("-H", "[::1]"), Host("::1", "::1", "address")),
        (("-H", "fe80::1%lo"), Host("fe80::1%lo", "fe80::1%lo", "address")),
        (("-H", "/run/lmtp"), Host("/run/lmtp", "/run/lmtp", "socket")),
    ],
)
def test_host(words: tuple[str, ...], host: Host) -> None:
    assert build(read(list(words)), KEYS, "here").hosts == (host,)


@pytest.mark.parametrize(
    ("nodename", "fqdn"),
    [("mon.example", "mon.example"), ("mon", None), ("", None), ("a b.c", None), ("10.0", None)],
)
def test_own_name_is_said_only_where_it_is_qualified(nodename: str, fqdn: str | None) -> None:
    assert settings(nodename=nodename).fqdn == fqdn


@given(st.from_regex(r"@?((~|-?\d{1,3}(\.\d{0,2})?)?:)?(-?\d{1,3}(\.\d{0,2})?)?", fullmatch=True))
def test_every_range_taken_is_one_of_nagiosplugins(text: str) -> None:
    try:
        taken = settings("-w", text).warning["time"]
    except UsageFault:
        return
    assert Range(taken) == Range(text)


@given(st.text(max_size=12))
def test_any_threshold_is_taken_or_refused(text: str) -> None:
    try:
        taken = settings("-c", f"helo={text}").critical
    except UsageFault:
        return
    assert all(isinstance(Range(limit), Range) for limit in taken.values())


FLAGS = [flag for option in OPTIONS for flag in option.flags]


@given(
    st.lists(
        st.sampled_from(FLAGS)
        | st.text(max_size=8)
        | st.sampled_from(["mx.example", "25", "1.5", "banner=1", "v2", "ok", "a@b", "220 x"])
        | st.builds("{}={}".format, st.sampled_from(FLAGS), st.text(max_size=8)),
        max_size=8,
    ),
    st.none() | st.text(max_size=8),
)
def test_any_command_line_is_taken_or_refused_in_one_good_line(
    words: list[str], password: str | None
) -> None:
    problem = ""
    try:
        build(read(words), KEYS, "here", password)
    except UsageFault as fault:
        problem = fault.problem
    assert problem.isprintable()
    assert "|" not in problem


def test_dane_leaves_everybody_elses_certificate_to_be_verified() -> None:
    """Its records vouch for the mail server alone, not for a mailbox's, nor that of a policy."""
    assert settings("-S", "--dane").verify
    assert not settings("-S", "--no-verify").verify
