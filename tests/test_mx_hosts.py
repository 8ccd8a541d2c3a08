"""MX hosts that are nobody's are not probed; an MX set may be compared with what is expected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import masking, plugin
from tests.json_answer import read
from tests.servers import system_resolver
from tests.servers.blocklist import points
from tests.servers.loopback import free_port
from tests.servers.name_server import Answer, NameServer, late, records
from tests.servers.network import private
from tests.servers.scripted import ScriptedServer
from tests.servers.several import GOOD, HEALTHY, REFUSES

DOMAIN, OTHER = "example.org", "example.net"
ONE, TWO = "mx.example.org", "mx2.example.org"
OWN = "127.0.0.1"

Answers = dict[tuple[str, str], Answer]

FINE: Answers = {(DOMAIN, "MX"): records(f"MX 20 {TWO}."), (TWO, "A"): records(f"A {GOOD}")}


@pytest.fixture
def own() -> Iterator[ScriptedServer]:
    """Serve the monitoring host's own mail, and a domain's beside it."""
    port = free_port()
    server = ScriptedServer(HEALTHY, address=OWN, port=port)
    with server.running(), ScriptedServer(HEALTHY, address=GOOD, port=port).running():
        yield server


def asked(own: ScriptedServer, answers: Answers, *arguments: str) -> plugin.Outcome:
    """Check the domain; the monitoring host's own server is asked nothing."""
    with NameServer(answers).running() as names:
        done = plugin.run(
            *("-H", DOMAIN, "--mx", "-p", str(own.port), "-F", "me.example", "-t3"),
            *("--nameserver", names.nameserver),
            *arguments,
        )
    assert (done.stderr, own.connections) == ("", 0)
    return done


def leading(*addresses: str) -> Answers:
    """Return a domain whose MX host has these addresses."""
    kinds = {"A": [one for one in addresses if ":" not in one], "AAAA": addresses}
    kinds["AAAA"] = [one for one in addresses if ":" in one]
    return {
        (DOMAIN, "MX"): records(f"MX 10 {ONE}."),
        **{(ONE, kind): records(*(f"{kind} {one}" for one in of)) for kind, of in kinds.items()},
    }


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("127.0.0.1", "a loopback address"),
        ("::1", "a loopback address"),
        ("::ffff:127.0.0.1", "a loopback address"),
        ("0.0.0.0", "an unspecified address"),
        ("::", "an unspecified address"),
        ("224.0.0.1", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("255.255.255.255", "a broadcast address"),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("--all-addresses",)], ids=["first", "all"])
def test_an_address_that_is_nobodys(
    own: ScriptedServer, address: str, what: str, arguments: tuple[str, ...]
) -> None:
    done = asked(own, leading(address), *arguments)
    assert (done.code, done.line, done.perfdata) == (
        2,
        f"SMTP CRITICAL - {ONE}:{own.port} resolve: {ONE} has {address}, {what}, so no mail gets "
        "there (after # s), 0 of 1 healthy",
        f"healthy=0;;;0;1 '{DOMAIN}::resolve'=#s;;;0",
    )


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "mail.localhost"])
def test_localhost(own: ScriptedServer, name: str) -> None:
    answers = {(DOMAIN, "MX"): records(f"MX 10 {name}."), (name.lower(), "A"): records(f"A {GOOD}")}
    done = asked(own, answers)
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {name.lower()}:{own.port} resolve: the MX is {name.lower()}, so no mail "
        "gets there, 0 of 1 healthy",
    )


def test_one_address_of_two_is_enough(own: ScriptedServer) -> None:
    done = asked(own, leading(GOOD, "127.0.0.1"))
    assert (done.code, done.line.endswith("0 of 1 healthy")) == (2, True)


@pytest.mark.parametrize("address", ["127.0.0.2", "127.0.0.3"])
def test_the_rest_of_the_loopback_network_is_probed(own: ScriptedServer, address: str) -> None:
    done = asked(own, leading(address))
    assert done.code == (0 if address == GOOD else 2)
    assert "no mail gets there" not in done.line


def test_a_domain_without_mx_is_its_own_host(own: ScriptedServer) -> None:
    done = asked(own, {(DOMAIN, "MX"): records(), (DOMAIN, "A"): records("A 127.0.0.1")})
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {DOMAIN}:{own.port} resolve: {DOMAIN} has 127.0.0.1, a loopback address, "
        "so no mail gets there (after # s), 0 of 1 healthy",
    )


BESIDE: Answers = {
    **leading("127.0.0.1"),
    **FINE,
    (DOMAIN, "MX"): records(f"MX 10 {ONE}.", f"MX 20 {TWO}."),
}
BAD = f"resolve: {ONE} has 127.0.0.1, a loopback address, so no mail gets there (after # s)"


@pytest.mark.parametrize(
    ("least", "code", "count"),
    [
        ((), 1, "1 of 2 healthy"),
        (("--min-healthy", "1"), 1, "1 of 2 healthy"),
        (("--min-healthy", "2"), 2, "1 of 2 healthy (at least 2 must be)"),
        (("-c", "healthy=2:"), 2, "1 of 2 healthy (below 2)"),
    ],
)
def test_beside_a_good_one(
    own: ScriptedServer, least: tuple[str, ...], code: int, count: str
) -> None:
    done = asked(own, BESIDE, *least)
    state = ("OK", "WARNING", "CRITICAL")[code]
    assert (done.code, done.line) == (code, f"SMTP {state} - {ONE}:{own.port} {BAD}, {count}")


def test_all_of_several(own: ScriptedServer) -> None:
    done = asked(own, {**BESIDE, (TWO, "A"): records("A 0.0.0.0")})
    other = f"resolve: {TWO} has 0.0.0.0, an unspecified address, so no mail gets there (after # s)"
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {ONE}:{own.port} {BAD}, also {TWO}:{own.port} {other}, 0 of 2 healthy",
    )


def test_the_other_refuses_mail(own: ScriptedServer) -> None:
    where = "127.0.0.3"
    with ScriptedServer(REFUSES, address=where, port=own.port).running():
        done = asked(own, {**BESIDE, (TWO, "A"): records(f"A {where}")})
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {TWO}:{own.port} helo: 550 5.7.1 no (after # s) [{where}], also "
        f"{ONE}:{own.port} {BAD}, 0 of 2 healthy",
    )


def test_verbose_and_json(own: ScriptedServer) -> None:
    told = asked(own, BESIDE, "-v").stdout
    assert masking.timeless(told.replace(f":{own.port}", "")).splitlines()[1:5] == [
        f"[WARNING] {ONE}",
        f"[WARNING] {BAD}",
        "advice   Correct the zone, or the server's name.",
        f"resolve # s █ [WARNING] {BAD[9:].partition(' (after')[0]}",
    ]
    domain, bad, good = read(asked(own, BESIDE, "--output-format", "json"))["targets"]
    assert [one["state"] for one in (domain, bad, good)] == ["OK", "WARNING", "OK"]
    (stage,) = bad["stages"]
    assert (stage["name"], stage["failure"]["kind"]) == ("resolve", "misconfigured")
    alone = read(asked(own, leading("127.0.0.1"), "--output-format", "json"))["targets"][1]
    assert (alone["state"], alone["stages"][0]["failure"]["kind"]) == ("CRITICAL", "misconfigured")
    chosen = asked(own, leading("127.0.0.1"), "--state", "misconfigured=warning")
    assert chosen.code == 1


def test_no_policy_asks_about_it(own: ScriptedServer) -> None:
    answers = {**BESIDE, **points("bl.example.net", 4)}
    with NameServer(answers).running() as names:
        done = plugin.run(
            *("-H", DOMAIN, "--mx", "-p", str(own.port), "-F", "me.example", "-t3"),
            *("--nameserver", names.nameserver, "--dnsbl", "bl.example.net", "--reverse", "-4"),
        )
    # That of the other host is the test point.
    assert done.code == 2
    assert not [name for _, name, kind in names.asked if name == "1.0.0.127.in-addr.arpa"]


@pytest.mark.parametrize(
    ("hosts", "address", "code"),
    [
        pytest.param("", "127.0.0.1", 2, id="DNS has it"),
        pytest.param(f"127.0.0.1 {DOMAIN}\n", "127.0.0.1", 2, id="both have it"),
        pytest.param(f"127.0.0.1 {DOMAIN}\n", "", 2, id="only the file has it"),
        pytest.param(f"127.0.0.1 {DOMAIN}\n", GOOD, 0, id="DNS knows better"),
    ],
)
def test_by_the_systems_resolver(
    own: ScriptedServer, tmp_path: Path, hosts: str, address: str, code: int
) -> None:
    """The file hosts of a mail server often has its name with 127.0.0.1; senders go by DNS."""
    resolver = "127.0.0.53"
    says = system_resolver.address(address) if address else system_resolver.code(0)
    prefix = private(tmp_path, resolver=resolver, hosts=hosts)
    with system_resolver.NameServer(says, address=resolver).running([]):
        done = plugin.run(
            *("-H", DOMAIN, "--mx", "-p", str(own.port), "-F", "me.example", "-t3"), prefix=prefix
        )
    assert (done.code, done.stderr, own.connections) == (code, "", 0)
    assert re.sub(r"slowest.*", "", done.line) == (
        f"SMTP OK - {DOMAIN}: 1 of 1 healthy, "
        if code == 0
        else f"SMTP CRITICAL - {DOMAIN}:{own.port} resolve: {DOMAIN} has 127.0.0.1, a loopback "
        "address, so no mail gets there (after # s), 0 of 1 healthy"
    )


def test_shared_and_bad_it_is_critical_for_the_domain_without_another(own: ScriptedServer) -> None:
    answers = {**BESIDE, (OTHER, "MX"): records(f"MX 10 {ONE}.")}
    done = asked(own, answers, "-H", OTHER)
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {ONE}:{own.port} {BAD}, 1 of 2 healthy",
    )


def test_a_shared_host_stands_with_the_first_domain(own: ScriptedServer) -> None:
    """Even where the other one's MX set is known earlier."""
    shared = records(f"MX 20 {TWO}.")
    answers = {**FINE, (DOMAIN, "MX"): late(0.2, shared), (OTHER, "MX"): shared}
    done = asked(own, answers, "-H", OTHER, "-v")
    blocks = [line for line in done.stdout.splitlines() if line.startswith("[OK] ")]
    assert (done.code, blocks) == (
        0,
        [f"[OK] {DOMAIN}", f"[OK] {TWO}:{own.port} [{GOOD}]", f"[OK] {OTHER}"],
    )


def expecting(*hosts: str) -> tuple[str, ...]:
    return tuple(word for host in hosts for word in ("--expect-mx", host))


def test_the_mx_set_is_as_expected(own: ScriptedServer) -> None:
    answers = {**FINE, **leading(GOOD), (DOMAIN, "MX"): records(f"MX 9 {TWO}.", f"MX 5 {ONE}.")}
    done = asked(own, answers, *expecting(f"{TWO.upper()}.", ONE, TWO))
    assert done.code == 0
    assert done.line.endswith(", MX set as expected")


def test_a_domain_without_mx_is_expected_to_be_its_own(own: ScriptedServer) -> None:
    answers = {(DOMAIN, "MX"): records(), (DOMAIN, "A"): records(f"A {GOOD}")}
    assert asked(own, answers, *expecting(DOMAIN)).line.endswith(", MX set as expected")
    assert asked(own, answers, *expecting(TWO)).line == (
        f"SMTP CRITICAL - {DOMAIN} mx: the MX set has {DOMAIN}, which is not expected, also "
        f"mx: the MX set does not have {TWO}, which is expected, 1 of 1 healthy"
    )


@pytest.mark.parametrize(
    ("rows", "expected", "problems"),
    [
        ((f"MX 5 {TWO}.",), (ONE, TWO), [f"does not have {ONE}, which is expected"]),
        (
            (f"MX 5 {TWO}.", "MX 5 192.0.2.1."),
            (TWO,),
            ["has 192.0.2.1, which is not expected"],
        ),
        (
            (f"MX 5 {TWO}.", r"MX 5 a\124<b>.example.net."),
            (TWO,),
            ["has a\\x7c(b).example.net, which is not expected"],
        ),
        (
            (f"MX 5 {TWO}.",),
            ("bücher.example",),
            [
                f"has {TWO}, which is not expected",
                "does not have bücher.example, which is expected",
            ],
        ),
    ],
)
def test_the_mx_set_is_not_as_expected(
    own: ScriptedServer, rows: tuple[str, ...], expected: tuple[str, ...], problems: list[str]
) -> None:
    done = asked(own, {**FINE, (DOMAIN, "MX"): records(*rows)}, *expecting(*expected))
    said = ", also ".join(f"mx: the MX set {problem}" for problem in problems)
    assert done.code == 2
    assert done.line.startswith(f"SMTP CRITICAL - {DOMAIN} {said}, ")
