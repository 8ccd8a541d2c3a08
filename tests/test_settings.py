"""What may be typed, and the values it makes. (What may not: test_usage.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from nagiosplugin import Range

from check_smtp_health import policy
from check_smtp_health.config import build, getopt
from check_smtp_health.config.hosts import Control
from check_smtp_health.config.keywords import Keyword
from check_smtp_health.config.option_table import OPTIONS, POLICIES
from check_smtp_health.config.settings import Expect
from check_smtp_health.errors import UsageFault
from check_smtp_health.report import Host
from tests import command_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.config.thresholds import Range as Limit


def settings(*arguments: str) -> Settings:
    """Return the settings of a command line that lacks only the host."""
    return command_line.settings("-H", "mx.example", *arguments)


def told(chosen: Settings) -> dict[str, Any]:
    """Return each field of each group by its name, limits as Nagios writes them."""
    groups: dict[str, Any] = {name: getattr(chosen, name) for name in chosen._fields}
    fields = {
        f"{name}.{field}": value
        for name, group in groups.items()
        if group is not None
        for field, value in zip(group._fields, group)
    }
    warning, critical = fields.pop("judging.limits")
    return {**fields, "warning": texts(warning), "critical": texts(critical)}


def texts(limits: Mapping[str, Limit]) -> dict[str, str]:
    """Return ranges as Nagios writes them."""
    return {label: limit.text for label, limit in limits.items()}


def test_defaults() -> None:
    assert told(settings()) == {
        "endpoint.hosts": (Host("mx.example", "mx.example", "name"),),
        "endpoint.port": 25,
        "endpoint.timeout": 10.0,
        "endpoint.family": None,
        "endpoint.source": None,
        "endpoint.proxy": "",
        "endpoint.all_addresses": False,
        "endpoint.mx": False,
        "endpoint.min_healthy": None,
        "endpoint.nameservers": (),
        "endpoint.controls": (),
        "endpoint.expect_mx": (),
        "greeting.verb": "HELO",
        "greeting.expect": Expect(220, ""),
        "greeting.fqdn": None,
        "greeting.require": (),
        "greeting.forbid": (),
        "greeting.needs_extensions": False,
        "tls.mode": "",
        "tls.sni": None,
        "tls.verify": True,
        "tls.ca_file": None,
        "tls.ca_path": None,
        "tls.certfile": None,
        "tls.keyfile": None,
        "tls.minimum": "1.2",
        "tls.judge_expiry": True,
        "transaction.reverse_path": None,
        "transaction.size": None,
        "transaction.recipients": (),
        "transaction.no_relay": (),
        "transaction.no_rcpt": (),
        "transaction.commands": (),
        "policies.given": {},
        "policies.dnsbl_key": None,
        "judging.timeout_state": "critical",
        "judging.tempfail": "warning",
        "judging.verbose": 0,
        "judging.keeps_transcript": False,
        "judging.states": {},
        "warning": {},
        "critical": {},
    }


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (("-p", "2525"), {"endpoint.port": 2525}),
        (("-p2525",), {"endpoint.port": 2525}),
        (("--port=2525",), {"endpoint.port": 2525}),
        (("-p", "1", "-p", "2"), {"endpoint.port": 2}),
        (("-4",), {"endpoint.family": 4}),
        (("--use-ipv6",), {"endpoint.family": 6}),
        (("--source", "192.0.2.1"), {"endpoint.source": "192.0.2.1", "endpoint.family": 4}),
        (("--source", "::1", "-6"), {"endpoint.source": "::1", "endpoint.family": 6}),
        (("-F", "me.example"), {"greeting.fqdn": "me.example"}),
        (("-F", "-me"), {"greeting.fqdn": "-me"}),
        (("--ehlo",), {"greeting.verb": "EHLO"}),
        (("--ehlo=",), {"greeting.verb": "EHLO"}),
        (("-L",), {"greeting.verb": "LHLO"}),
        (("-e", "220 mx"), {"greeting.expect": Expect(220, "220 mx")}),
        (("-e", "554"), {"greeting.expect": Expect(554, "554")}),
        (("-e", "554-no"), {"greeting.expect": Expect(554, "554-no")}),
        (("-e", "2200"), {"greeting.expect": Expect(220, "2200")}),
        (("-e", "ESMTP"), {"greeting.expect": Expect(220, "ESMTP")}),
        (("-e", ""), {"greeting.expect": Expect(220, "")}),
        (
            ("--require", "size", "--require=AUTH=PLAIN"),
            {
                "greeting.verb": "EHLO",
                "greeting.needs_extensions": True,
                "greeting.require": (Keyword("SIZE", None), Keyword("AUTH", "PLAIN")),
            },
        ),
        (
            ("--forbid", "VRFY"),
            {
                "greeting.verb": "EHLO",
                "greeting.needs_extensions": True,
                "greeting.forbid": (Keyword("VRFY", None),),
            },
        ),
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
        (("-t", "0.5"), {"endpoint.timeout": 0.5}),
        (("-t", "7:unknown"), {"endpoint.timeout": 7.0, "judging.timeout_state": "unknown"}),
        (("-t", "7:1"), {"endpoint.timeout": 7.0, "judging.timeout_state": "warning"}),
        (("--tempfail", "CRITICAL"), {"judging.tempfail": "critical"}),
        (
            ("--state", "greylisted=ok,blocklisted=1", "--state", "timed_out=UNKNOWN"),
            {
                "judging.states": {
                    "greylisted": "ok",
                    "blocklisted": "warning",
                    "timed_out": "unknown",
                }
            },
        ),
        (
            ("--control", "a.example", "--control", "a.example:25", "--control", "192.0.2.1:443"),
            {
                "endpoint.controls": (
                    Control(Host("a.example", "a.example", "name"), 25),
                    Control(Host("192.0.2.1", "192.0.2.1", "address"), 443),
                )
            },
        ),
        (
            ("--control", "::1", "--control", "[::1]:26", "--control=[::1]", "-p", "587"),
            {
                "endpoint.port": 587,
                "endpoint.controls": (
                    Control(Host("::1", "::1", "address"), 587),
                    Control(Host("::1", "::1", "address"), 26),
                ),
            },
        ),
        (("-q",), {}),
        (("-q", "true"), {}),
        (("-q", "0", "-p", "1"), {"endpoint.port": 1}),
        (("--ignore-quit-failure=false",), {}),
        (("-v", "-v"), {"judging.verbose": 2, "judging.keeps_transcript": True}),
        (("-vvv",), {"judging.verbose": 3, "judging.keeps_transcript": True}),
        (("-vp1",), {"judging.verbose": 1, "endpoint.port": 1}),
        (("-qv",), {"judging.verbose": 1}),
    ],
)
def test_given(arguments: tuple[str, ...], changed: dict[str, Any]) -> None:
    assert told(settings(*arguments)) == {**told(settings()), **changed}


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
    assert command_line.settings(*words).endpoint.hosts == (host,)


@pytest.mark.parametrize(
    "words",
    [
        ("mx.example", "MX.example", "mx.Example."),
        ("b\u00fccher.example", "B\u00dcCHER.example", "xn--bcher-kva.EXAMPLE"),
        ("2001:db8::a", "2001:DB8:0::A", "[2001:db8::a]"),
        ("192.0.2.1", "192.0.2.1"),
        ("/run/lmtp", "/run/lmtp"),
    ],
    ids=lambda words: words[0],
)
def test_the_same_host_counts_once_however_it_is_written(words: tuple[str, ...]) -> None:
    hosts = [one for word in words for one in ("-H", word)]
    assert [host.given for host in command_line.settings(*hosts).endpoint.hosts] == [words[0]]


def test_other_hosts_are_other_hosts() -> None:
    words = ("/run/a", "/run/A", "fe80::1%a", "fe80::1%b", "mx.example", "mx.example.org")
    hosts = [one for word in words for one in ("-H", word)]
    assert [host.given for host in command_line.settings(*hosts).endpoint.hosts] == [*words]


def test_the_same_mailbox_counts_once_however_it_is_written() -> None:
    urls = ("imap://me@x.example", "imap://me@X.Example.", "imap://me@x.example:143/INBOX")
    boxes = [one for url in urls for one in ("--mailbox", url)]
    chosen = command_line.settings(
        *("-H", "mx.example", "--rcpt", "a@x", "--deliver", *boxes), mailbox_password="x"
    )
    assert chosen.roundtrip is not None
    assert [str(one) for one in chosen.roundtrip.mailboxes] == ["me@x.example/INBOX"]


@pytest.mark.parametrize(
    ("nodename", "fqdn"),
    [("mon.example", "mon.example"), ("mon", None), ("", None), ("a b.c", None), ("10.0", None)],
)
def test_own_name_is_said_only_where_it_is_qualified(nodename: str, fqdn: str | None) -> None:
    chosen = build.build(getopt.read(["-H", "mx.example"]), (), nodename)
    assert chosen.greeting.fqdn == fqdn


RANGES = st.from_regex(r"@?((~|-?\d{1,3}(\.\d{0,2})?)?:)?(-?\d{1,3}(\.\d{0,2})?)?", fullmatch=True)


@given(RANGES, st.floats(-1000, 1000))
def test_every_range_taken_is_one_of_nagiosplugins(text: str, value: float) -> None:
    assume(text)  # no value, no range
    try:
        taken = settings("-w", text).judging.limits.warning["time"]
    except UsageFault:
        return
    assert Range(taken.text) == Range(text)
    assert taken.is_violated(value) is not Range(text).match(value)


@given(st.text(max_size=12))
def test_any_threshold_is_taken_or_refused(text: str) -> None:
    try:
        taken = settings("-c", f"helo={text}").judging.limits.critical
    except UsageFault:
        return
    assert all(isinstance(Range(limit.text), Range) for limit in taken.values())


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
        command_line.settings(*words, password=password)
    except UsageFault as fault:
        problem = fault.problem
    assert problem.isprintable()
    assert "|" not in problem


def test_dane_leaves_everybody_elses_certificate_to_be_verified() -> None:
    """Its records vouch for the mail server alone, not for a mailbox's, nor that of a policy."""
    assert settings("-S", "--dane").tls.verify
    assert not settings("-S", "--no-verify").tls.verify


def test_each_option_of_a_policy_has_its_row() -> None:
    """Without a row it would ask nothing, and of a message that is not fetched there is nothing."""
    assert {row.option for row in policy.POLICIES} == POLICIES.keys()
    about_message = {row.option for row in policy.POLICIES if row.scope == "message"}
    assert about_message == {name for name, asks in POLICIES.items() if asks == "message"}


def test_what_policies_ask_for() -> None:
    assert settings("-S", "--all-certificates").policies.of_dns == []
    both = settings("-S", "--all-certificates", "--reverse", "--dane").policies
    assert (both.of_dns, both.need_message) == (["reverse", "dane"], False)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_a_name_server(given: str, meant: tuple[str, int]) -> None:
    settings = command_line.settings("-H", "mx.example", "--nameserver", given)
    assert settings.endpoint.nameservers == (meant,)
