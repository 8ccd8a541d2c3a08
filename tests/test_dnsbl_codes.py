"""Which answers of a DNS blocklist are listings: by their code, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import plugin
from tests.servers.blocklist import LISTED, points, zone
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.name_server import Answer, NameServer, fails, records
from tests.servers.scripted import ScriptedServer

LIST = "bl.example.net"
OTHER = "192.0.2.40"


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer((BANNER, *HELO, *QUIT)).running() as running:
        yield running


def asked(
    server: ScriptedServer, answers: dict[tuple[str, str], Answer], *arguments: str
) -> tuple[int, str, list[str]]:
    """Return exit code, status line without the target, and what ``-v`` says of the lists."""
    with NameServer(answers).running() as names:
        done = plugin.run(
            *(*plugin.at(server.port), "-t5", "--nameserver", names.nameserver, "-v"), *arguments
        )
    assert done.stderr == ""
    line = done.line.replace(f" - 127.0.0.1:{server.port} ", " - ")
    line = line.replace("answered in # s (slowest: # # s), ", "")
    rows = [row[9:] for row in done.stdout.splitlines() if row.startswith("dnsbl ")]
    return done.code, line, [row for row in rows if "not a public address" not in row]


@pytest.mark.parametrize(
    ("codes", "answer", "others"),
    [
        ("", ["127.0.0.1"], "127.0.0.1"),
        ("=127.0.0.2", ["127.0.0.3", "127.0.1.1"], "127.0.0.3, 127.0.1.1"),
        ("=127.0.0.[2;4]", ["127.0.0.5", "127.0.1.1"], "127.0.0.5, 127.0.1.1"),
        ("=127.0.0.[2..9]", ["127.0.0.11"], "127.0.0.11"),
        ("=127.0.0.[10..14]", ["127.0.0.19"], "127.0.0.19"),
        ("=127.0.[1..2].2", ["127.0.0.2"], "127.0.0.2"),
        ("=127.0.0.2", ["127.0.0.1"], "127.0.0.1"),
    ],
)
def test_what_does_not_count(
    server: ScriptedServer, codes: str, answer: list[str], others: str
) -> None:
    known = records(*(f"A {one}" for one in answer))
    answers = zone(LIST, known, address=OTHER, reason=records('TXT "mixed source"'))
    assert asked(server, answers, "--dnsbl", f"{LIST}{codes}/{OTHER}") == (
        0,
        f"SMTP OK - not on {LIST}",
        [f"[OK] {OTHER} is not listed in {LIST} ({others}: no listing)"],
    )


@pytest.mark.parametrize(
    ("codes", "answer", "counting"),
    [
        ("=127.0.0.[2;4..11]", ["127.0.0.10"], "127.0.0.10"),
        ("", ["127.0.0.10"], "127.0.0.10"),
        ("", ["127.0.0.1", "127.0.1.255"], "127.0.1.255"),
        ("=127.0.0.1", ["127.0.0.1"], "127.0.0.1"),
        ("=[127].0.0.2", ["127.0.0.2", "127.0.0.3"], "127.0.0.2"),
        ("=127.[0..255].[0..255].[1..255]", ["127.9.8.7"], "127.9.8.7"),
        ("=10.0.0.[0..9]", ["10.0.0.5"], "10.0.0.5"),
    ],
)
def test_what_counts(server: ScriptedServer, codes: str, answer: list[str], counting: str) -> None:
    known = records(*(f"A {one}" for one in answer))
    answers = zone(LIST, known, address=OTHER, reason=records('TXT "end users"'))
    said = f"{OTHER} is listed in {LIST} ({counting}): 'end users'"
    assert asked(server, answers, "--dnsbl", f"{LIST}{codes}/{OTHER}") == (
        2,
        f"SMTP CRITICAL - dnsbl: {said}, cause: blocklisted",
        [f"[CRITICAL] {said}"],
    )


def test_the_same_zone_with_other_codes_is_another_list(server: ScriptedServer) -> None:
    answers = zone(LIST, records("A 127.0.0.4"), address=OTHER)
    lists = (f"{LIST}=127.0.0.2/{OTHER}", f"{LIST}=127.0.0.[3..4]/{OTHER}")
    code, line, _ = asked(server, answers, *(word for one in lists for word in ("--dnsbl", one)))
    assert (code, line) == (
        2,
        f"SMTP CRITICAL - dnsbl: {OTHER} is listed in {LIST} (127.0.0.4), cause: blocklisted",
    )


def test_an_innocent_address_may_have_a_code_that_does_not_count(server: ScriptedServer) -> None:
    answers = zone(LIST, records("A 127.0.0.11"), address="127.0.0.1")
    answers.update(points(LIST, 4, unlisted=records("A 127.0.0.11")))
    assert asked(server, answers, "--dnsbl", f"{LIST}=127.0.0.[2..9]") == (
        0,
        f"SMTP OK - not on {LIST}",
        [f"[OK] 127.0.0.1 is not listed in {LIST} (127.0.0.11: no listing)"],
    )


@pytest.mark.parametrize(
    "code", ["127.0.0.1", "127.0.0.2", "127.0.0.11"], ids=lambda code: f"always {code}"
)
def test_a_zone_that_answers_everything_alike_is_believed_with_no_codes(
    server: ScriptedServer, code: str
) -> None:
    always = records(f"A {code}")
    with NameServer({}, default=always).running() as names:
        done = plugin.run(
            *(*plugin.at(server.port), "--nameserver", names.nameserver, "-t5"),
            *("--dnsbl", f"{LIST}=127.0.0.[2..9]/{OTHER}"),
        )
    assert (done.code, done.line) == (
        3,
        f"SMTP UNKNOWN - 127.0.0.1:{server.port} dnsbl: "
        f"{LIST} lists 127.0.0.1, so it lists everything",
    )


DBL = "dbl.example.net"


@pytest.mark.parametrize(
    ("answers", "code", "line"),
    [
        pytest.param({}, 0, f"OK - not on {DBL}", id="not listed"),
        pytest.param(
            {("example.org." + DBL, "A"): records("A 127.0.1.2")},
            2,
            f"CRITICAL - dnsbl: example.org is listed in {DBL} (127.0.1.2), cause: blocklisted",
            id="listed",
        ),
        pytest.param(
            {("example.org." + DBL, "A"): fails("SERVFAIL")},
            3,
            f"UNKNOWN - dnsbl: {DBL} gives no answer (SERVFAIL from 127.0.0.1)",
            id="no answer",
        ),
        pytest.param(
            {("test." + DBL, "A"): fails("NXDOMAIN")},
            3,
            f"UNKNOWN - dnsbl: {DBL} does not list TEST, so it lists nothing",
            id="dead",
        ),
        pytest.param(
            {("invalid." + DBL, "A"): LISTED},
            3,
            f"UNKNOWN - dnsbl: {DBL} lists INVALID, so it lists everything",
            id="lists everything",
        ),
    ],
)
def test_a_list_of_domains(
    server: ScriptedServer, answers: dict[tuple[str, str], Answer], code: int, line: str
) -> None:
    whole = {**points(DBL, 0, listed=records("A 127.0.1.2")), **answers}
    found = asked(server, whole, "--dnsbl", f"{DBL}/Example.ORG.")
    assert found[:2] == (code, f"SMTP {line}")


def test_an_international_domain(server: ScriptedServer) -> None:
    listed = {("xn--bcher-kva.example." + DBL, "A"): records("A 127.0.1.2")}
    answers = {**points(DBL, 0), **listed}
    code, line, _ = asked(server, answers, "--dnsbl", f"{DBL}/bücher.example")
    assert (code, line) == (
        2,
        f"SMTP CRITICAL - dnsbl: xn--bcher-kva.example is listed in {DBL} (127.0.1.2), "
        "cause: blocklisted",
    )
