"""The key of a DNS blocklist: sent in each question, shown in no answer, whatever comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import command_line, plugin
from tests.servers.blocklist import LISTED, zone
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.name_server import NXDOMAIN, SILENCE, Answer, NameServer, fails, records
from tests.servers.scripted import ScriptedServer

KEY = "q7xk3m5n"
DQS = "zen.dq.spamhaus.net"
SHOWN = f"***.{DQS}"
ADDRESS = "192.0.2.9"

FORMS = (("-vvv",), ("--output-format", "json"))
"""What shows most."""


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer((BANNER, *HELO, *QUIT)).running() as running:
        yield running


def asked(
    server: ScriptedServer,
    answers: dict[tuple[str, str], Answer],
    *arguments: str,
    key: str = "",
) -> tuple[int, str]:
    """Return exit code and status line without the target; nothing shows the key."""
    found = []
    for form in FORMS:
        with NameServer(answers).running() as names:
            done = plugin.run(
                *(*plugin.at(server.port), "-t1", "--nameserver", names.nameserver),
                *(*arguments, *form),
                environment={"CHECK_SMTP_HEALTH_DNSBLKEY": key},
            )
        assert KEY not in done.stdout.lower() + done.stderr
        found.append(done)
    line = found[0].line.replace(f" - 127.0.0.1:{server.port} ", " - ")
    return found[0].code, line.replace("answered in # s (slowest: # # s), ", "")


LISTING = (
    f"SMTP CRITICAL - dnsbl: {ADDRESS} is listed in {SHOWN} (127.0.0.2): "
    "'see https://list.example/***', cause: blocklisted"
)


def answering(answer: Answer) -> dict[tuple[str, str], Answer]:
    """Return a list that gives this answer, and repeats the key where it gives reasons."""
    reason = records(f'TXT "see https://list.example/{KEY.upper()}"')
    return zone(f"{KEY}.{DQS}", answer, reason=reason)


@pytest.mark.parametrize(
    ("answer", "code", "line"),
    [
        pytest.param(LISTED, 2, LISTING, id="listed"),
        pytest.param(NXDOMAIN, 0, f"SMTP OK - not on {SHOWN}", id="not listed"),
        pytest.param(
            fails("SERVFAIL"),
            3,
            f"SMTP UNKNOWN - dnsbl: {SHOWN} gives no answer (SERVFAIL from 127.0.0.1)",
            id="no answer",
        ),
        pytest.param(
            SILENCE,
            3,
            f"SMTP UNKNOWN - dnsbl: {SHOWN} gives no answer (no answer within 1 s)",
            id="silence",
        ),
        pytest.param(
            records("A 127.255.255.254"),
            3,
            f"SMTP UNKNOWN - dnsbl: {SHOWN} refuses to answer this resolver, a public one "
            "(127.255.255.254)",
            id="refused",
        ),
    ],
)
def test_a_key_in_the_zone(server: ScriptedServer, answer: Answer, code: int, line: str) -> None:
    given = ("--dnsbl", f"{KEY.upper()}.{DQS}/{ADDRESS}")
    assert asked(server, answering(answer), *given) == (code, line)


def test_a_key_in_a_file(server: ScriptedServer, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    given = ("--dnsbl", f"KEY.{DQS}/{ADDRESS}", "--dnsbl-key-file", str(file))
    assert asked(server, answering(LISTED), *given, key="another1") == (2, LISTING)


def test_a_key_in_the_environment(server: ScriptedServer) -> None:
    given = ("--dnsbl", f"KEY.{DQS}/{ADDRESS}")
    assert asked(server, answering(LISTED), *given, key=KEY) == (2, LISTING)


def test_a_key_of_any_list(server: ScriptedServer) -> None:
    answers = zone(f"a.{KEY}.bl.example.net", LISTED)
    assert asked(server, answers, "--dnsbl", f"a.KEY.bl.example.net/{ADDRESS}", key=KEY) == (
        2,
        f"SMTP CRITICAL - dnsbl: {ADDRESS} is listed in a.***.bl.example.net (127.0.0.2), "
        "cause: blocklisted",
    )


def test_a_wrong_key(server: ScriptedServer) -> None:
    assert asked(server, {}, "--dnsbl", f"{KEY}.{DQS}/{ADDRESS}") == (
        3,
        f"SMTP UNKNOWN - dnsbl: {SHOWN} does not list 127.0.0.2, so it lists nothing: "
        "its key may be wrong or revoked",
    )


def test_a_label_in_lower_case_is_no_key(server: ScriptedServer) -> None:
    answers = zone("key.example.net", LISTED)
    assert asked(server, answers, "--dnsbl", f"key.example.net/{ADDRESS}", key=KEY) == (
        2,
        f"SMTP CRITICAL - dnsbl: {ADDRESS} is listed in key.example.net (127.0.0.2), "
        "cause: blocklisted",
    )


@pytest.mark.parametrize(
    ("mode", "text", "problem"),
    [
        (0o644, f"{KEY}\n", "-file: '{}' can be read by everyone, run chmod o-r on it"),
        (0o600, "\n", "-file: the first line of '{}' is empty"),
        (0o600, f"{KEY} x\n", ": the key is not a DNS label: letters, digits and hyphens"),
        (0o600, f"{KEY}.x\n", ": the key is not a DNS label: letters, digits and hyphens"),
    ],
)
def test_a_key_that_cannot_be_used(
    server: ScriptedServer, tmp_path: Path, mode: int, text: str, problem: str
) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(mode)
    option = "--dnsbl" if problem.startswith(":") else "--dnsbl-key"
    assert asked(server, {}, "--dnsbl", f"KEY.{DQS}", "--dnsbl-key-file", str(file)) == (
        3,
        f"SMTP UNKNOWN - {option}{problem.format(file)}",
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ("--dnsbl", f"{KEY}.{DQS}=127.0.0.x"),
            "--dnsbl: '127.0.0.x' is not a list of codes, as in 127.0.0.[2;4..11]",
        ),
        (
            ("--dnsbl", f"{KEY}.{DQS}*2"),
            f"--dnsbl: '{SHOWN}*2' has a weight, which only postscreen uses: leave it out",
        ),
        (("--dnsbl", f"{KEY}..{DQS}"), f"--dnsbl: '***..{DQS}' is not a DNS zone"),
        (
            ("--dnsbl", f"{KEY}.{'x' * 64}.{DQS}"),
            f"--dnsbl: '***.{'x' * 64}.zen.dq.spam...' is not a DNS zone",
        ),
        (
            ("--dnsbl", f"{KEY}.{DQS}/here"),
            "--dnsbl: 'here' is neither an IP address nor a domain",
        ),
        (
            (f"{KEY.upper()}.{DQS.upper()}",),
            f"unexpected argument '***.{DQS.upper()}', repeat -H for several hosts",
        ),
        ((f"--dnsbl {KEY}.{DQS}",), f"unknown option '--dnsbl ***.{DQS}'"),
        ((f"--reverse={KEY}.{DQS}",), f"--reverse: takes no value, but '***.{DQS}' was given"),
    ],
)
def test_wrong_usage_shows_no_key(words: tuple[str, ...], problem: str) -> None:
    assert command_line.problem("-H", "mx.example", *words) == problem
