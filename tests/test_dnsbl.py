"""DNS blocklists: what lists of every kind say, and what the plugin makes of it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from check_smtp_health.policy import dnsbl
from tests import masking, plugin
from tests.json_answer import read
from tests.plugin import Outcome
from tests.servers.blocklist import LISTED, zone
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.name_server import (
    GARBAGE,
    HOSTILE,
    LOOP,
    NXDOMAIN,
    SHORT,
    SILENCE,
    WRONG_ID,
    WRONG_QUESTION,
    NameServer,
    fails,
    late,
    over_tcp,
    records,
)
from tests.servers.scripted import Hang, ScriptedServer

ADDRESS = "192.0.2.9"
IPV6 = "2001:db8::9"

OK = "SMTP OK - {target} answered in # s (slowest: # # s)"


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer((BANNER, *HELO, *QUIT)).running() as running:
        yield running


def run(
    server: ScriptedServer,
    names: NameServer,
    *arguments: str,
    deadline: str = "5",
    prefix: tuple[str, ...] = (),
) -> Outcome:
    """Run the plugin against a healthy server and that name server."""
    return plugin.run(
        *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-t", deadline),
        *("--nameserver", names.nameserver),
        *arguments,
        prefix=prefix,
    )


def asked(*zones: str, address: str = ADDRESS) -> list[str]:
    return [word for name in zones for word in ("--dnsbl", f"{name}/{address}")]


def line(outcome: Outcome, server: ScriptedServer) -> str:
    """Return the status line with the target and the slowest stage masked."""
    text = outcome.line.replace(f"127.0.0.1:{server.port}", "{target}")
    for stage in ("connect", "banner", "helo"):
        text = text.replace(f"slowest: {stage}", "slowest: #")
    return text


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.99", "99.2.0.192.bl.test"),
        (
            "2001:db8:1:2:3:4:567:89ab",
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.test",
        ),
        ("::ffff:7f00:2", "2.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20 + ".bl.test"),
    ],
)
def test_name_of_an_address(address: str, name: str) -> None:
    """The examples of RFC 5782, sections 2.1, 2.4 and 5."""
    assert dnsbl.name("bl.test", address) == name


def test_not_listed(server: ScriptedServer) -> None:
    with NameServer({**zone("bl.test"), **zone("other.test")}).running() as names:
        outcome = run(server, names, *asked("bl.test", "other.test"))
    assert (outcome.code, line(outcome, server), outcome.stderr) == (
        0,
        f"{OK}, on none of 2 blocklists",
        "",
    )
    assert outcome.perfdata == (
        "time=#s;;;0;5 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0 dnsbl=0;;0;0"
    )


def test_listed(server: ScriptedServer) -> None:
    answers = {
        **zone("bl.test", records("A 127.0.0.4", "A 127.0.0.2"), reason=records('TXT "Spam seen"')),
        **zone("silent.test", LISTED, reason=fails("SERVFAIL")),
        **zone("good.test"),
        **zone("half.test", LISTED, address="9.9.9.9", listed=fails("SERVFAIL")),
        **zone("rest.test", address="9.9.9.9", unlisted=fails("SERVFAIL")),
    }
    with NameServer(answers).running() as names:
        outcome = run(
            server,
            names,
            *asked("bl.test", "silent.test", "good.test"),
            *asked("half.test", "rest.test", address="9.9.9.9"),
            "-v",
        )
    assert (outcome.code, line(outcome, server), outcome.stderr) == (
        2,
        "SMTP CRITICAL - {target} dnsbl: 192.0.2.9 is listed in bl.test (127.0.0.2, 127.0.0.4): "
        "'Spam seen', "
        "cause: blocklisted, also dnsbl: 192.0.2.9 is listed in silent.test (127.0.0.2), "
        "cause: blocklisted, also "
        "dnsbl: 9.9.9.9 is listed in half.test (127.0.0.2), cause: blocklisted",
        "",
    )
    assert masking.timeless(outcome.stdout).splitlines()[1:-1] == [
        "[CRITICAL] dnsbl: 192.0.2.9 is listed in bl.test (127.0.0.2, 127.0.0.4): 'Spam seen'",
        "[CRITICAL] dnsbl: 192.0.2.9 is listed in silent.test (127.0.0.2)",
        "[CRITICAL] dnsbl: 9.9.9.9 is listed in half.test (127.0.0.2)",
        "cause    blocklisted (blocklist): Ask the list why and have the server's address removed "
        "once that is fixed.",
        *(f"{stage} # s █ [OK]" for stage in ("connect", "banner", "helo", "quit")),
        "dnsbl    [CRITICAL] 192.0.2.9 is listed in bl.test (127.0.0.2, 127.0.0.4): 'Spam seen'",
        "dnsbl    [CRITICAL] 192.0.2.9 is listed in silent.test (127.0.0.2)",
        "dnsbl    [CRITICAL] 9.9.9.9 is listed in half.test (127.0.0.2)",
        "dnsbl    [OK] 192.0.2.9 is not listed in good.test",
        "dnsbl    [OK] 9.9.9.9 is not listed in rest.test",
        "dnsbl    [OK] 192.0.2.9 is not a public address, few lists know it",
    ]
    assert outcome.perfdata.endswith(" dnsbl=3;;0;0")


@pytest.mark.parametrize(
    ("thresholds", "code"),
    [
        ((), 2),
        (("-w", "dnsbl=0"), 1),
        (("-w", "dnsbl=0", "-c", "dnsbl=1"), 1),
        (("-c", "dnsbl=1"), 0),
        (("-c", "time=9,dnsbl=0"), 2),
    ],
)
def test_the_number_of_listings_has_thresholds(
    server: ScriptedServer, thresholds: tuple[str, ...], code: int
) -> None:
    with NameServer(zone("bl.test", LISTED)).running() as names:
        outcome = run(server, names, *asked("bl.test"), *thresholds)
    assert outcome.code == code
    assert "dnsbl: 192.0.2.9 is listed in bl.test (127.0.0.2)" in outcome.line


def test_a_listing_that_is_due_and_missing(server: ScriptedServer) -> None:
    with NameServer(zone("allow.test")).running() as names:
        outcome = run(server, names, *asked("allow.test"), "-c", "dnsbl=1:")
    assert (outcome.code, line(outcome, server)) == (
        2,
        "SMTP CRITICAL - {target} dnsbl: no listing",
    )


def test_ipv6(server: ScriptedServer) -> None:
    listed = zone("bl.test", LISTED, address=IPV6)
    with NameServer({**listed, **zone("good.test", address=IPV6)}).running() as names:
        outcome = run(server, names, *asked("bl.test", "good.test", address=IPV6))
    assert (outcome.code, line(outcome, server)) == (
        2,
        "SMTP CRITICAL - {target} dnsbl: 2001:db8::9 is listed in bl.test (127.0.0.2), "
        "cause: blocklisted",
    )


def test_the_servers_own_address_is_asked_about(server: ScriptedServer) -> None:
    with NameServer(zone("bl.test", LISTED, address="127.0.0.1")).running() as names:
        outcome = run(server, names, "--dnsbl", "BL.test.")
    # The test point that nobody may list.
    assert (outcome.code, line(outcome, server)) == (
        3,
        "SMTP UNKNOWN - {target} dnsbl: bl.test lists 127.0.0.1, so it lists everything",
    )


HERE = records("A 127.0.0.1")

TROUBLES = {
    "refuses.test": (
        zone("refuses.test", records("A 127.255.255.254")),
        "refuses to answer this resolver, a public one (127.255.255.254)",
    ),
    "quota.test": (
        zone("quota.test", listed=records("A 127.255.255.255")),
        "refuses to answer this resolver, which asks too often (127.255.255.255)",
    ),
    "mistyped.test": (
        zone("mistyped.test", records("A 127.255.255.252")),
        "is not the name of a list, check its spelling (127.255.255.252)",
    ),
    "other.test": (
        zone("other.test", records("A 127.255.255.250")),
        "refuses to answer (127.255.255.250)",
    ),
    "blocker.test": (
        zone("blocker.test", HERE, listed=HERE, unlisted=HERE),
        "lists 127.0.0.1, so it lists everything",
    ),
    "parked.test": (
        zone("parked.test", records("A 203.0.113.5"), unlisted=records("A 203.0.113.5")),
        "answers with 203.0.113.5, which is not a listing",
    ),
    "world.test": (
        zone("world.test", LISTED, unlisted=LISTED),
        "lists 127.0.0.1, so it lists everything",
    ),
    "dead.test": (
        zone("dead.test", listed=NXDOMAIN),
        "does not list 127.0.0.2, so it lists nothing",
    ),
    "broken.test": (
        zone("broken.test", fails("SERVFAIL")),
        "gives no answer (SERVFAIL from 127.0.0.1)",
    ),
    "half.test": (
        zone("half.test", listed=fails("SERVFAIL")),
        "gives no answer about 127.0.0.2, which every list has (SERVFAIL from 127.0.0.1)",
    ),
    "shy.test": (
        zone("shy.test", fails("REFUSED")),
        "gives no answer (REFUSED from 127.0.0.1)",
    ),
    "loop.test": (
        zone("loop.test", LOOP),
        "gives no answer (127.0.0.1: the aliases (CNAME) do not end)",
    ),
    "closes.test": (
        zone("closes.test", over_tcp("closes", "A 127.0.0.2")),
        "gives no answer (127.0.0.1: a truncated answer, and over TCP an incomplete answer)",
    ),
}
"""What is wrong with a list, by its name: its answers, and what is said of it."""


@pytest.mark.parametrize("lists", [list(TROUBLES)[::2], list(TROUBLES)[1::2]])
def test_a_troubled_list_is_no_listing(server: ScriptedServer, lists: list[str]) -> None:
    answers = {key: one for name in lists for key, one in TROUBLES[name][0].items()}
    troubles = [f"dnsbl: {name} {TROUBLES[name][1]}" for name in lists]
    with NameServer({**answers, **zone("good.test")}).running() as names:
        among = run(server, names, *asked(*lists, "good.test"))
        alone = run(server, names, *asked(*lists))
    assert (among.code, line(among, server), among.stderr) == (
        0,
        ", also ".join([f"{OK}, not on good.test", *troubles]),
        "",
    )
    assert (alone.code, line(alone, server), alone.stderr) == (
        3,
        f"SMTP UNKNOWN - {{target}} {', also '.join(troubles)}",
        "",
    )


def test_a_list_without_answer_keeps_nobody_waiting(server: ScriptedServer) -> None:
    silent = {
        "silent.test": SILENCE,
        "late.test": late(5, LISTED),
        "id.test": WRONG_ID,
        "question.test": WRONG_QUESTION,
        "garbage.test": GARBAGE,
        "short.test": SHORT,
        "hangs.test": over_tcp("hangs", "A 127.0.0.2"),
        "stops.test": over_tcp("stops", "A 127.0.0.2"),
    }
    answers = {
        key: one for name, answer in silent.items() for key, one in zone(name, answer).items()
    }
    listing = zone("listing.test", LISTED, reason=records('TXT "bad"'))
    with NameServer({**answers, **listing}).running() as names:
        outcome = run(server, names, *asked(*silent, "listing.test"), deadline="0.6")
    troubles = [f"dnsbl: {name} gives no answer (no answer within 0.6 s)" for name in silent]
    assert (outcome.code, line(outcome, server), outcome.stderr) == (
        2,
        "SMTP CRITICAL - {target} dnsbl: 192.0.2.9 is listed in listing.test (127.0.0.2): "
        "'bad', cause: blocklisted, also " + ", also ".join(troubles),
        "",
    )
    assert outcome.seconds < 0.6 + plugin.SLACK


def test_a_late_answer_is_one(server: ScriptedServer) -> None:
    with NameServer(zone("bl.test", late(0.3, LISTED))).running() as names:
        outcome = run(server, names, *asked("bl.test"))
    assert outcome.code == 2


def test_a_long_answer_comes_by_tcp(server: ScriptedServer) -> None:
    reason = over_tcp("answers", *(f'TXT "{index:03} {"x" * 200}"' for index in range(100)))
    with NameServer(zone("bl.test", LISTED, reason=reason)).running() as names:
        outcome = run(server, names, *asked("bl.test"))
    assert outcome.code == 2
    said = outcome.line.partition("(127.0.0.2): ")[2]
    said = outcome.line.partition("(127.0.0.2): ")[2].partition(", cause: ")[0]
    assert said.endswith("xxx...'")
    assert [transport for transport, _, kind in names.asked if kind == "TXT"] == ["udp", "tcp"]


def test_hostile_words_are_harmless(server: ScriptedServer) -> None:
    with NameServer(zone("bl.test", LISTED, reason=HOSTILE)).running() as names:
        outcome = run(server, names, *asked("bl.test"), "-v")
    said = "'a\\x7cb=1;2 (b) / \\x1b(31m(CRITICAL )\ufffd\\x00'"
    assert outcome.line.endswith(f" is listed in bl.test (127.0.0.2): {said}, cause: blocklisted")
    assert outcome.stdout.count("|") == 1


def test_fifty_lists_are_asked_at_once(server: ScriptedServer) -> None:
    zones = [f"bl{index}.test" for index in range(50)]
    answers = {key: answer for one in zones for key, answer in zone(one).items()}
    # About the address and the two test points: all questions are out before an answer is in.
    with NameServer(answers, awaited=150).running() as names:
        outcome = run(server, names, *asked(*zones))
    assert (outcome.code, line(outcome, server), len(names.asked)) == (
        0,
        f"{OK}, on none of 50 blocklists",
        150,
    )


def test_the_same_list_counts_once(server: ScriptedServer) -> None:
    with NameServer(zone("bl.test", LISTED)).running() as names:
        outcome = run(server, names, *asked("bl.test", "BL.TEST", "bl.test."))
    assert outcome.perfdata.endswith(" dnsbl=1;;0;0")


def test_a_server_that_hangs_leaves_no_time_to_ask() -> None:
    with ScriptedServer((Hang(),)).running() as server, NameServer({}).running() as names:
        outcome = run(server, names, *asked("bl.test"), deadline="0.5")
    assert (outcome.code, line(outcome, server), names.asked) == (
        2,
        "SMTP CRITICAL - {target} banner: no answer within 0.5 s, cause: silent, also "
        "dnsbl: bl.test gives no answer (no answer within 0.5 s)",
        [],
    )


def test_interrupted_while_a_list_is_silent(server: ScriptedServer) -> None:
    with NameServer(zone("bl.test", SILENCE)).running() as names:
        command = [
            *(str(plugin.SCRIPT), "-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example"),
            *("--nameserver", names.nameserver, *asked("bl.test")),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            while len(names.asked) < 3:
                time.sleep(0.01)
            process.terminate()
            stdout = process.communicate()[0]
    assert (process.returncode, stdout.partition(" | ")[0]) == (
        3,
        f"SMTP UNKNOWN - 127.0.0.1:{server.port} dnsbl: interrupted by SIGTERM",
    )


def test_more_lists_than_open_files(server: ScriptedServer) -> None:
    zones = [f"bl{index}.test" for index in range(40)]
    answers = {key: answer for one in zones for key, answer in zone(one).items()}
    with NameServer(answers).running() as names:
        few = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
        outcome = run(server, names, *asked(*zones), prefix=few)
    assert outcome.code in (0, 3)
    assert "too many open files" in outcome.line


def test_json(server: ScriptedServer) -> None:
    answers = {**zone("bl.test", LISTED, reason=HOSTILE), **zone("dead.test", listed=NXDOMAIN)}
    with NameServer(answers).running() as names:
        lists = asked("bl.test", "dead.test")
        outcome = run(server, names, *lists, "--output-format", "json")
    ((target,), state) = read(outcome)["targets"], read(outcome)["state"]
    assert (state, target["verdicts"]) == (
        "CRITICAL",
        [
            {
                "name": "dnsbl",
                "findings": [
                    {
                        "kind": "listed",
                        "problem": "192.0.2.9 is listed in bl.test (127.0.0.2)",
                        "reply": "a\\x7cb=1;2 (b) / \\x1b(31m(CRITICAL )\ufffd\\x00",
                        "raw": "a|b=1;2 <b>\n\x1b[31m[CRITICAL]\ufffd\0",
                    },
                    {
                        "kind": "noted",
                        "problem": "dead.test does not list 127.0.0.2, so it lists nothing",
                        "reply": "",
                        "raw": "",
                    },
                ],
                "notes": ["192.0.2.9 is not a public address, few lists know it"],
                "is_pinned": False,
                "listings": 1,
                "held": "",
                "measures": {},
                "certificates": [],
            }
        ],
    )


def test_an_ipv4_address_in_the_clothes_of_ipv6(server: ScriptedServer) -> None:
    with NameServer(zone("bl.test", LISTED)).running() as names:
        outcome = run(server, names, *asked("bl.test", address=f"::ffff:{ADDRESS}"))
    assert (outcome.code, line(outcome, server)) == (
        2,
        f"SMTP CRITICAL - {{target}} dnsbl: {ADDRESS} is listed in bl.test (127.0.0.2), "
        "cause: blocklisted",
    )


def test_a_listing_by_a_list_that_may_list_everything(server: ScriptedServer) -> None:
    """Where nobody tells whether it lists 127.0.0.1, too, it may be a zone with a wildcard."""
    answers = zone("bl.test", LISTED, unlisted=fails("SERVFAIL"))
    with NameServer(answers).running() as names:
        outcome = run(server, names, *asked("bl.test"))
    assert (outcome.code, line(outcome, server)) == (
        3,
        "SMTP UNKNOWN - {target} dnsbl: bl.test gives no answer about 127.0.0.1, which no list has "
        "(SERVFAIL from 127.0.0.1)",
    )
