"""The MX set of a domain: every host is probed, and what is wrong with the set is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import masking, plugin
from tests.plugin import metrics
from tests.servers import dns, system_resolver
from tests.servers.name_server import SILENCE, Answer, NameServer, fails, records
from tests.servers.network import private
from tests.servers.scripted import ScriptedServer
from tests.servers.several import BAD, GOOD, HEALTHY, REFUSES, serving

DOMAIN = "example.org"
ONE, TWO = "mx1.example.org", "mx2.example.org"
BOTH = (f"MX 20 {TWO}.", f"MX 10 {ONE}.")
WHERE = {(ONE, "A"): records(f"A {GOOD}"), (TWO, "A"): records(f"A {BAD}")}

Answers = dict[tuple[str, str], Answer]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve a healthy host and one that refuses everybody."""
    with serving(_2=HEALTHY, _3=REFUSES) as where:
        yield where


def asked(port: int, answers: Answers, *arguments: str, domain: str = DOMAIN) -> plugin.Outcome:
    """Check a domain of which the name server knows these answers."""
    with NameServer(answers).running() as names:
        done = plugin.run(
            *("-H", domain, "--mx", "-p", str(port), "-F", "me.example", "-t3"),
            *("--nameserver", names.nameserver),
            *arguments,
        )
    assert done.stderr == ""
    return done


def published(*texts: str) -> Answers:
    """Return a domain with these MX records, and its two hosts."""
    return {(DOMAIN, "MX"): records(*texts), **WHERE}


def test_every_host_is_probed(port: int) -> None:
    done = asked(port, published(*BOTH))
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {TWO}:{port} helo: 550 5.7.1 no (after # s) [{BAD}], 1 of 2 healthy",
    )
    begun = ("time", "resolve", "connect", "banner")
    first = metrics(ONE, *begun, "helo", "quit").replace(";0;1", ";0;3")
    second = metrics(TWO, *begun, "quit").replace(";0;1", ";0;3")
    assert done.perfdata == f"healthy=1;;;0;2 '{DOMAIN}::resolve'=#s;;;0 {first} {second}"


def test_in_the_order_of_preference_when_verbose(port: int) -> None:
    answers = {**published(*BOTH), (TWO, "A"): records(f"A {GOOD}")}
    done = asked(port, answers, "-v")
    stages = [f"{stage} # s █ [OK]" for stage in ("resolve", "connect", "banner", "helo", "quit")]
    assert done.code == 0
    assert masking.timeless(done.stdout).splitlines()[1:-1] == [
        f"[OK] {DOMAIN}",
        "resolve # s █ [OK]",
        f"mx       [OK] 10 {ONE}",
        f"mx       [OK] 20 {TWO}",
        f"[OK] {ONE}:{port} [{GOOD}]",
        *stages,
        f"[OK] {TWO}:{port} [{GOOD}]",
        *stages,
    ]


def test_what_fails_comes_first_when_verbose(port: int) -> None:
    done = asked(port, published(*BOTH), "-v", "--min-healthy", "1")
    begun = ("resolve # s █ [OK]", "connect # s █ [OK]", "banner # s █ [OK]")
    assert done.code == 1
    assert masking.timeless(done.stdout).splitlines()[1:-1] == [
        f"[CRITICAL] {TWO}:{port} [{BAD}]",
        "[CRITICAL] helo: 550 5.7.1 no (after # s)",
        *begun,
        "helo # s █ [CRITICAL] 550 5.7.1 no",
        "quit # s █ [OK]",
        f"[OK] {DOMAIN}",
        "resolve # s █ [OK]",
        f"mx       [OK] 10 {ONE}",
        f"mx       [OK] 20 {TWO}",
        f"[OK] {ONE}:{port} [{GOOD}]",
        *begun,
        "helo # s █ [OK]",
        "quit # s █ [OK]",
    ]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        pytest.param({}, "no such domain (after # s), cause: unresolvable", id="no domain"),
        pytest.param(
            {(DOMAIN, "MX"): records("MX 0 .")},
            "the domain accepts no mail (null MX) (after # s), cause: not accepting",
            id="null MX",
        ),
        pytest.param(
            {(DOMAIN, "MX"): records("MX 10 192.0.2.1.")},
            "the MX is 192.0.2.1, which is not a host name (after # s), cause: unresolvable",
            id="an address",
        ),
        pytest.param(
            {(DOMAIN, "MX"): records(r"MX 10 a\124b\010<i>.example.org.")},
            "the MX is a\\x7cb\\010(i).example.org, which is not a host name (after # s), "
            "cause: unresolvable",
            id="hostile",
        ),
        pytest.param(
            {(DOMAIN, "MX"): fails("SERVFAIL")},
            f"MX of {DOMAIN}: SERVFAIL from 127.0.0.1 (after # s), cause: unresolvable",
            id="SERVFAIL",
        ),
        pytest.param(
            {(DOMAIN, "MX"): fails("REFUSED")},
            f"MX of {DOMAIN}: REFUSED from 127.0.0.1 (after # s), cause: unresolvable",
            id="REFUSED",
        ),
        pytest.param(
            {(DOMAIN, "MX"): SILENCE}, "no answer within 3 s, cause: unresolvable", id="silence"
        ),
    ],
)
def test_a_domain_that_leads_nowhere(port: int, answers: Answers, said: str) -> None:
    done = asked(port, answers)
    assert (done.code, done.line, done.perfdata) == (
        2,
        f"SMTP CRITICAL - {DOMAIN} resolve: {said}, 0 of 1 healthy",
        "healthy=0;;;0;1",
    )


def test_without_mx_the_domain_is_its_own_host(port: int) -> None:
    answers = {(DOMAIN, "MX"): records(), (DOMAIN, "A"): records(f"A {GOOD}")}
    done = asked(port, answers, "-v")
    assert done.code == 0
    assert done.line == (
        f"SMTP OK - {DOMAIN}: 1 of 1 healthy, slowest: {DOMAIN}:{port} [{GOOD}] # s (# # s)"
    )
    assert f"\nmx       [OK] {DOMAIN} has no MX record\n" in done.stdout


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        pytest.param(
            {
                (DOMAIN, "MX"): records("MX 10 alias.example.org."),
                ("alias.example.org", "CNAME"): records(f"CNAME {ONE}."),
                ("alias.example.org", "A"): records(f"CNAME {ONE}.", f"{ONE}: A {GOOD}"),
            },
            "alias.example.org is an alias (CNAME)",
            id="an alias",
        ),
        pytest.param(
            published(f"MX 10 {ONE}.", "MX 0 ."),
            "a null MX is not the only MX record",
            id="null MX",
        ),
        pytest.param(
            published(f"MX 10 {ONE}.", "MX 20 192.0.2.1."),
            "192.0.2.1 is not a host name",
            id="an address beside a host",
        ),
    ],
)
def test_what_breaks_a_rule(port: int, answers: Answers, said: str) -> None:
    done = asked(port, answers)
    assert (done.code, done.line) == (
        1,
        f"SMTP WARNING - {DOMAIN} mx: {said}, 1 of 1 healthy",
    )


def test_a_host_that_does_not_resolve(port: int) -> None:
    done = asked(port, published(f"MX 10 {ONE}.", "MX 20 gone.example.org."))
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - gone.example.org:{port} resolve: no such host name (after # s), "
        "cause: unresolvable, 1 of 2 healthy",
    )


def test_a_host_without_address_of_that_family(port: int) -> None:
    answers = {**published(f"MX 10 {ONE}."), (ONE, "AAAA"): records()}
    done = asked(port, answers, "-6")
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {ONE}:{port} resolve: the name has no address (for IPv6) (after # s), "
        "cause: unresolvable, 0 of 1 healthy",
    )


def test_every_address_of_every_host(port: int) -> None:
    answers = {**published(*BOTH), (ONE, "A"): records(f"A {GOOD}", f"A {BAD}")}
    done = asked(port, answers, "--all-addresses")
    refused = "helo: 550 5.7.1 no (after # s)"
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {ONE}:{port} {refused} [{BAD}], also {TWO}:{port} {refused} [{BAD}], "
        "1 of 3 healthy",
    )


def test_a_domain_that_names_more_addresses_than_a_run_can_have(port: int) -> None:
    """Those of 40 of its hosts are as many; what is not asked is not healthy."""
    hosts = [f"mx{number}.example.org" for number in range(50)]
    many = records(*(f"A 127.9.0.{1 + number}" for number in range(25)))
    answers = {
        (DOMAIN, "MX"): records(*(f"MX 10 {host}." for host in hosts)),
        **{(host, "A"): many for host in hosts},
    }
    done = asked(port, answers, "--all-addresses", "-4", "-t25", "-v")
    assert done.code == 2
    assert "1000 addresses are too many for one run" in done.stdout
    assert re.search(r", \d+ of 1010 healthy$", done.line)


def test_a_host_of_two_domains_is_probed_once(port: int) -> None:
    other = "example.net"
    answers = {**published(*BOTH), (TWO, "A"): records(f"A {GOOD}")}
    done = asked(port, {**answers, (other, "MX"): records(f"MX 5 {TWO.upper()}.")}, "-H", other)
    assert done.code == 0
    assert done.line.startswith(f"SMTP OK - {DOMAIN}, {other}: 2 of 2 healthy, slowest: ")
    stages = ("time", "resolve", "connect", "banner", "helo", "quit")
    first, second = (metrics(one, *stages).replace(";0;1", ";0;3") for one in (ONE, TWO))
    assert done.perfdata == (
        f"healthy=2;;;0;2 '{DOMAIN}::resolve'=#s;;;0 {first} {second} '{other}::resolve'=#s;;;0"
    )


def test_the_systems_name_server_is_asked_where_none_is_given(tmp_path: Path) -> None:
    resolver = "127.0.0.62"
    asked: list[float] = []
    server = system_resolver.NameServer(system_resolver.code(3), address=resolver)
    with server.running(asked):
        done = plugin.run(
            *("-H", DOMAIN, "--mx", "-t3"), prefix=private(tmp_path, resolver=resolver)
        )
    assert (done.code, done.line, done.stderr, len(asked)) == (
        2,
        f"SMTP CRITICAL - {DOMAIN} resolve: no such domain (after # s), cause: unresolvable, "
        "0 of 1 healthy",
        "",
        1,
    )


def test_this_host_may_have_none(tmp_path: Path) -> None:
    prefix = private(tmp_path)
    (tmp_path / "resolv.conf").write_text("# nobody\n")
    done = plugin.run("-H", DOMAIN, "--mx", prefix=prefix)
    assert (done.code, done.stdout, done.stderr) == (
        3,
        "SMTP UNKNOWN - --mx: this host has no name server in /etc/resolv.conf, use --nameserver\n",
        "",
    )


def test_against_real_name_servers() -> None:
    zone = dns.Zone(
        "mail.test",
        f"@ MX 10 mx1\n@ MX 20 mx2\nmx1 A {GOOD}\nmx2 A {GOOD}\nnull MX 0 .\n",
        dns.SIGNED,
    )
    with dns.running(zone) as served, serving(_2=HEALTHY) as port:
        common = ("--mx", "-p", str(port), "-F", "me.example", "--nameserver", served.nameserver)
        whole = plugin.run("-H", "mail.test", *common)
        null = plugin.run("-H", "null.mail.test", *common)
        none = plugin.run("-H", "gone.mail.test", *common)
    assert re.sub(r"slowest.*", "", whole.line) == "SMTP OK - mail.test: 2 of 2 healthy, "
    assert re.findall(r"'(\S+)::time'", whole.perfdata) == ["mx1.mail.test", "mx2.mail.test"]
    said = "SMTP CRITICAL - {} resolve: {} (after # s), cause: {}, 0 of 1 healthy"
    assert [null.line, none.line] == [
        said.format("null.mail.test", "the domain accepts no mail (null MX)", "not accepting"),
        said.format("gone.mail.test", "no such domain", "unresolvable"),
    ]


def test_a_missing_package_is_named(port: int) -> None:
    hidden = "import sys; sys.modules['dns'] = None; from check_smtp_health.cli import main; main()"
    with ScriptedServer(HEALTHY).running() as server:
        done = plugin.run(
            *("-H", DOMAIN, "--mx", "-p", str(server.port)),
            prefix=("sh", "-c", f'exec "$(dirname "$0")/python" -c "{hidden}" "$@"'),
        )
    assert (done.code, done.stdout, done.stderr, server.connections) == (
        3,
        "SMTP UNKNOWN - --mx: needs the library dnspython: "
        "install python3-dnspython, or dnspython with pip\n",
        "",
        0,
    )
