"""Lists and names of addresses: all that the server has are asked about, whichever answers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests import needs, plugin
from tests.json_answer import read
from tests.servers.blocklist import LISTED, points, zone
from tests.servers.catalogue import QUIT
from tests.servers.loopback import free_port, has_ipv6
from tests.servers.name_server import SILENCE, Answer, NameServer, fails, once_lost, records
from tests.servers.scripted import Expect, ScriptedServer

HOST = "mx.example.org"
IPV4, IPV6 = "127.0.0.9", "::1"
LIST, OTHER = "bl.example.net", "bl4.example.net"

MX_ITSELF = records(f"MX 10 {HOST}.")

Answers = dict[tuple[str, str], Answer]

SCRIPT = (
    b"220 mx.example.org ESMTP\r\n",
    Expect(b"HELO me.example\r\n"),
    b"250 mx.example.org\r\n",
    *QUIT,
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve both addresses."""
    if not has_ipv6():
        needs.leave_out("needs IPv6")
    where = free_port()
    first = ScriptedServer(SCRIPT, address=IPV4, port=where)
    second = ScriptedServer(SCRIPT, address=IPV6, port=where)
    with first.running(), second.running():
        yield where


def asked(port: int, answers: Answers, *arguments: str) -> tuple[int, str]:
    """Return the exit code, and the status line without the target and its times."""
    known = {(HOST, "A"): records(f"A {IPV4}"), (HOST, "AAAA"): records(f"AAAA {IPV6}")}
    with NameServer({**known, **answers}).running() as names:
        done = plugin.run(
            *("-H", HOST, "-p", str(port), "-F", "me.example", "-t5"),
            *("--nameserver", names.nameserver),
            *arguments,
        )
    assert done.stderr == ""
    line = done.line.replace(f"{HOST}:{port} ", "").replace(" [::1]", "")
    return done.code, line.replace(f" [{IPV4}]", "")


def without_ipv6(name: str) -> Answers:
    """Return a list that lists nothing of ours, and no IPv6 at all."""
    return points(name, 4)


NO_IPV6 = f"dnsbl: {OTHER} has no IPv6 (it does not list ::ffff:7f00:2)"


def test_ipv4_is_listed_and_ipv6_connected(port: int) -> None:
    answers = {
        **zone(LIST, records("A 127.0.0.4"), address=IPV4),
        **zone(LIST, address=IPV6, unlisted=fails("NXDOMAIN")),
    }
    assert asked(port, answers, "--dnsbl", LIST) == (
        2,
        f"SMTP CRITICAL - dnsbl: {IPV4} is listed in {LIST} (127.0.0.4), cause: blocklisted",
    )
    assert asked(port, answers, "--dnsbl", LIST, "-6")[0] == 0


def test_both_are_listed(port: int) -> None:
    answers = {
        **zone(LIST, LISTED, address=IPV4, reason=records('TXT "four"')),
        **zone(LIST, LISTED, address=IPV6, reason=records('TXT "six"')),
    }
    said = [
        f"dnsbl: {IPV4} is listed in {LIST} (127.0.0.2): 'four', cause: blocklisted",
        f"dnsbl: {IPV6} is listed in {LIST} (127.0.0.2): 'six', cause: blocklisted",
    ]
    line = f"SMTP CRITICAL - {', also '.join(said)}"
    assert asked(port, answers, "--dnsbl", LIST, "-c", "dnsbl=1") == (2, line)


def test_a_list_without_ipv6(port: int) -> None:
    code, line = asked(port, without_ipv6(OTHER), "--dnsbl", OTHER)
    assert (code, line.partition(", ")[2]) == (0, f"not on {OTHER}, also {NO_IPV6}")


def test_a_list_without_ipv6_at_all_addresses(port: int) -> None:
    code, line = asked(port, without_ipv6(OTHER), "--dnsbl", OTHER, "--all-addresses")
    assert code == 0
    assert line.startswith("SMTP OK - 2 of 2 healthy, ")
    assert line.endswith(f", also {NO_IPV6}")


@pytest.mark.parametrize("arguments", [("-6",), ("--all-addresses", "-6")])
def test_a_list_without_ipv6_for_a_host_without_ipv4(port: int, arguments: tuple[str, ...]) -> None:
    code, line = asked(port, without_ipv6(OTHER), "--dnsbl", OTHER, *arguments)
    assert (code, line.partition(", ")[0]) == (3, f"SMTP UNKNOWN - {NO_IPV6}")


def test_a_dead_list_is_not_excused_by_ipv6(port: int) -> None:
    assert asked(port, {}, "--dnsbl", OTHER) == (
        3,
        f"SMTP UNKNOWN - dnsbl: {OTHER} does not list 127.0.0.2, so it lists nothing",
    )


def test_a_list_that_gives_no_answer_is_told_once(port: int) -> None:
    broken = fails("SERVFAIL")
    answers = {**zone(LIST, broken, address=IPV4), **zone(LIST, broken, address=IPV6)}
    assert asked(port, answers, "--dnsbl", LIST) == (
        3,
        f"SMTP UNKNOWN - dnsbl: {LIST} gives no answer (SERVFAIL from 127.0.0.1)",
    )


def test_addresses_stand_in_an_order_of_their_own(port: int) -> None:
    addresses = [f"127.0.0.{number}" for number in (2, 10, 9, 30, 100)]
    known = {(HOST, "A"): records(*(f"A {one}" for one in addresses))}
    code, line = asked(port, known, "--reverse", "-4")
    said = sorted(addresses, key=lambda one: int(one.split(".")[3]))
    assert (code, re.findall(r"(\S+) has no PTR record", line)) == (1, said)


def test_a_list_that_is_silent_about_one_address(port: int) -> None:
    answers = {**zone(LIST, fails("SERVFAIL"), address=IPV4), **zone(LIST, address=IPV6)}
    trouble = f"dnsbl: {LIST} gives no answer about {IPV4} (SERVFAIL from 127.0.0.1)"
    assert asked(port, answers, "--dnsbl", LIST) == (3, f"SMTP UNKNOWN - {trouble}")
    code, line = asked(port, {**answers, **without_ipv6(OTHER)}, "--dnsbl", LIST, "--dnsbl", OTHER)
    assert (code, line.partition(", ")[2]) == (0, f"not on {OTHER}, also {trouble}, also {NO_IPV6}")


def test_test_points_are_asked_about_once(port: int) -> None:
    known = {(HOST, "A"): records(f"A {IPV4}", "A 127.0.0.5", "A 127.0.0.6")}
    with NameServer({**known, **without_ipv6(LIST)}).running() as names:
        done = plugin.run(
            *("-H", HOST, "-p", str(port), "-F", "me.example", "-t5", "-4"),
            *("--nameserver", names.nameserver, "--dnsbl", LIST),
        )
    assert done.code == 0
    assert sorted(name.split(".")[0] for _, name, kind in names.asked if kind == "A") == sorted(
        ["mx", "1", "2", "5", "6", "9"]
    )


FOUR, SIX = "9.0.0.127.in-addr.arpa", "1" + ".0" * 31 + ".ip6.arpa"
RIGHT: Answers = {
    (FOUR, "PTR"): records(f"PTR {HOST}."),
    (SIX, "PTR"): records(f"PTR {HOST}."),
}


def test_both_names_are_right(port: int) -> None:
    code, line = asked(port, RIGHT, "--reverse")
    assert (code, line.partition(", ")[2]) == (0, "name server agrees (reverse)")


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        pytest.param(
            {(FOUR, "PTR"): records("PTR wrong.example.net.")},
            1,
            [
                f"wrong.example.net does not lead back to {IPV4}",
                f"banner says '{HOST}', the PTR record of {IPV4} wrong.example.net",
                f"helo says '{HOST}', the PTR record of {IPV4} wrong.example.net",
            ],
            id="a wrong name",
        ),
        pytest.param(
            {(SIX, "PTR"): fails("NXDOMAIN")}, 1, [f"{IPV6} has no PTR record"], id="no name"
        ),
        pytest.param(
            {(SIX, "PTR"): fails("SERVFAIL")},
            3,
            [f"PTR of {SIX}: SERVFAIL from 127.0.0.1"],
            id="no answer",
        ),
    ],
)
def test_one_name_is_wrong(port: int, answers: Answers, code: int, said: list[str]) -> None:
    state = ("OK", "WARNING", "CRITICAL", "UNKNOWN")[code]
    assert asked(port, {**RIGHT, **answers}, "--reverse") == (
        code,
        f"SMTP {state} - " + ", also ".join(f"reverse: {one}" for one in said),
    )


@pytest.mark.parametrize(
    ("answer", "arguments"),
    [
        (b" 2.0.0 Hello me.example", ()),
        (b" me.example", ()),
        (b" ME.example. is welcome", ()),
        (b" OK", ()),
        (b" mail", ()),
        (b"", ()),
        (b" [127.0.0.1] ready", ()),
        (b"-Hello me.example\r\n250 SIZE 33554432", ("--ehlo",)),
        (b" mx.example.org at your service", ()),
        (b" mx.example.org, pleased to meet you", ()),
    ],
)
def test_what_only_greets_is_no_name(answer: bytes, arguments: tuple[str, ...]) -> None:
    script = (b"220 mx.example.org ESMTP\r\n", Expect(b""), b"250" + answer + b"\r\n", *QUIT)
    names = {**RIGHT, (HOST, "A"): records(f"A {IPV4}")}
    with ScriptedServer(script, address=IPV4).running() as server:
        code, line = asked(server.port, names, "--reverse", "-4", *arguments)
    assert (code, line.partition(", ")[2]) == (0, "name server agrees (reverse)")


NO_AAAA = f"maybe not all addresses: AAAA of {HOST}: SERVFAIL from 127.0.0.53"


@pytest.mark.parametrize(
    ("arguments", "policy"),
    [
        (("--dnsbl", LIST), "dnsbl"),
        (("--reverse",), "reverse"),
        (("--all-addresses",), "all-addresses"),
    ],
)
def test_a_family_that_nobody_tells_is_not_ok(
    port: int, arguments: tuple[str, ...], policy: str
) -> None:
    """Which addresses have not been looked at, is not known."""
    answers = {
        **zone(LIST, address=IPV4, unlisted=fails("NXDOMAIN")),
        (HOST, "AAAA"): fails("SERVFAIL"),
        ("9.0.0.127.in-addr.arpa", "PTR"): records(f"PTR {HOST}."),
    }
    code, line = asked(port, answers, *arguments)
    line = re.sub(r"from [0-9.]+", "from 127.0.0.53", line)
    line = line.replace(f" {HOST} all-addresses", " all-addresses")
    line = line.removesuffix(", 1 of 1 healthy")
    assert (code, line) == (3, f"SMTP UNKNOWN - {policy}: {NO_AAAA}")
    assert asked(port, answers)[0] == 0
    assert asked(port, answers, *arguments, "-4")[0] == 0


def test_a_family_that_nobody_tells_in_json(port: int) -> None:
    """The schema knows of the verdict."""
    known = {(HOST, "A"): records(f"A {IPV4}"), (HOST, "AAAA"): fails("SERVFAIL")}
    with NameServer(known).running() as names:
        done = plugin.run(
            *("-H", HOST, "-p", str(port), "-F", "me.example", "--all-addresses"),
            *("--nameserver", names.nameserver, "--output-format", "json"),
        )
    name, address = read(done)["targets"]
    (verdict,) = name["verdicts"]
    assert (name["is_domain"], address["state"]) == (True, "OK")
    assert (verdict["name"], verdict["findings"][0]["kind"]) == ("all-addresses", "unanswered")


@pytest.mark.parametrize("arguments", [(), ("--mx",)])
def test_a_question_that_nobody_answers_holds_up_no_server(
    port: int, arguments: tuple[str, ...]
) -> None:
    """Some name servers drop what asks for AAAA (RFC 4074 section 4.1), or for an alias."""
    answers = {(HOST, "AAAA"): SILENCE, (HOST, "CNAME"): SILENCE, (HOST, "MX"): MX_ITSELF}
    assert asked(port, answers, "-t6", *arguments)[0] == 0


def test_an_answer_that_gets_lost_is_asked_for_again(port: int) -> None:
    """Be it of the family that no server needs, or about the name of an MX host."""
    lost = Answer((f"AAAA {IPV6}",), raw=once_lost())
    blocked = zone(LIST, LISTED, address=IPV6)
    assert asked(port, {(HOST, "AAAA"): lost, **blocked}, "--dnsbl", LIST)[0] == 2
    alias = {
        (HOST, "MX"): MX_ITSELF,
        (HOST, "CNAME"): Answer((f"CNAME other.{HOST}.",), raw=once_lost()),
    }
    code, line = asked(port, alias, "--mx", "-4")
    warning = f"SMTP WARNING - {HOST} mx: {HOST} is an alias (CNAME), 1 of 1 healthy"
    assert (code, line) == (1, warning)
