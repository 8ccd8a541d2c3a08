"""Several targets in one run: each is told apart, none delays another, all decide together."""

from __future__ import annotations

import re
import resource
import subprocess
from pathlib import Path

import pytest

from tests import masking, plugin
from tests.plugin import metrics
from tests.servers import crowd
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.loopback import free_port
from tests.servers.network import private
from tests.servers.scripted import Hang, ScriptedServer, Sleep
from tests.servers.several import BAD, DEAD, GOOD, HEALTHY, REFUSES, serving

LATER = (BANNER, HELO[0], b"450 4.7.1 later\r\n", *QUIT)
SILENT = (Hang(),)
SLOW = (Sleep(0.3), BANNER, *HELO, *QUIT)

STAGES = ("time", "connect", "banner", "helo", "quit")


def probed(port: int, *arguments: str) -> plugin.Outcome:
    """Check these targets."""
    return plugin.run("-p", str(port), "-F", "me.example", *arguments)


def hosts(*addresses: str) -> tuple[str, ...]:
    """Return the options that name these hosts."""
    return tuple(word for address in addresses for word in ("-H", address))


def test_all_are_healthy() -> None:
    with serving(_2=HEALTHY, _3=SLOW) as port:
        done = probed(port, *hosts(GOOD, BAD), "-t1")
    assert (done.code, done.stderr, done.line_with_slowest) == (
        0,
        "",
        f"SMTP OK - 2 of 2 healthy, slowest: {BAD}:{port} # s (banner # s)",
    )
    assert done.perfdata == " ".join(
        ["healthy=2;;;0;2", metrics(GOOD, *STAGES), metrics(BAD, *STAGES)]
    )
    assert done.stdout.count("\n") == 1


def test_the_failing_ones_come_first_and_the_worst_of_them_before_the_others() -> None:
    with serving(_2=HEALTHY, _3=LATER, _4=REFUSES) as port:
        done = probed(port, *hosts(GOOD, BAD, DEAD), "-t1")
    assert (done.code, done.stderr, done.line) == (
        2,
        "",
        f"SMTP CRITICAL - {DEAD}:{port} helo: 550 5.7.1 no (after # s), also "
        f"{BAD}:{port} helo: 450 4.7.1 later (after # s), 2 of 3 healthy",
    )
    refused = ("time", "connect", "banner", "quit")
    assert done.perfdata == " ".join(
        ["healthy=2;;;0;3", metrics(GOOD, *STAGES), metrics(BAD, *refused), metrics(DEAD, *refused)]
    )


def test_a_hanging_target_delays_nobody_and_blurs_nobodys_times() -> None:
    with serving(_2=HEALTHY, _3=SILENT, _4=HEALTHY) as port:
        done = probed(port, *hosts(BAD, GOOD, DEAD), "-t1")
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {BAD}:{port} banner: no answer within 1 s, cause: silent, 2 of 3 healthy",
    )
    assert done.seconds < 1 + plugin.SLACK
    times = dict(re.findall(r"'([\d.]+)::time'=([\d.]+)s", done.stdout))
    assert 0.03 <= float(times[GOOD]) < 0.3
    assert 0.03 <= float(times[DEAD]) < 0.3


@pytest.mark.parametrize(
    ("least", "code", "said"),
    [
        ("1", 1, "SMTP WARNING - {bad}, 2 of 3 healthy"),
        ("2", 1, "SMTP WARNING - {bad}, 2 of 3 healthy"),
        ("3", 2, "SMTP CRITICAL - {bad}, 2 of 3 healthy (at least 3 must be)"),
    ],
)
def test_min_healthy(least: str, code: int, said: str) -> None:
    with serving(_2=HEALTHY, _3=REFUSES, _4=HEALTHY) as port:
        done = probed(port, *hosts(GOOD, BAD, DEAD), "--min-healthy", least)
    bad = f"{BAD}:{port} helo: 550 5.7.1 no (after # s)"
    assert (done.code, done.line) == (code, said.format(bad=bad))


def test_min_healthy_where_all_are() -> None:
    with serving(_2=HEALTHY, _3=LATER) as port:
        done = probed(port, *hosts(GOOD, BAD), "--min-healthy", "1")
        alone = probed(port, "-H", GOOD, "--min-healthy", "1", "-t1")
    assert (done.code, done.line) == (
        1,
        f"SMTP WARNING - {BAD}:{port} helo: 450 4.7.1 later (after # s), 2 of 2 healthy",
    )
    assert (alone.code, alone.perfdata) == (0, f"healthy=1;;;0;1 {metrics(GOOD, *STAGES)}")


def test_a_threshold_for_the_number_of_healthy_ones() -> None:
    with serving(_2=HEALTHY, _3=HEALTHY) as port:
        done = probed(port, *hosts(GOOD, BAD), "-w", "healthy=3:", "-c", "healthy=1:")
    assert (done.code, done.line) == (1, "SMTP WARNING - 2 of 2 healthy (below 3)")
    assert done.perfdata.startswith("healthy=2;3:;1:;0;2 ")


def test_a_threshold_holds_for_each_target() -> None:
    with serving(_2=HEALTHY, _3=SLOW) as port:
        done = probed(port, *hosts(GOOD, BAD), "-w", "banner=0.25", "-t1")
    assert (done.code, done.line) == (
        1,
        f"SMTP WARNING - {BAD}:{port} banner took # s (limit 0.25 s), 2 of 2 healthy",
    )


def test_the_same_host_twice_counts_once() -> None:
    with serving(_2=HEALTHY) as port:
        done = probed(port, *hosts(GOOD, GOOD))
    assert (done.code, done.line) == (
        0,
        f"SMTP OK - {GOOD}:{port} answered in # s (slowest: # # s)",
    )


def test_a_block_a_target_when_verbose() -> None:
    with serving(_2=HEALTHY, _3=REFUSES) as port:
        done = probed(port, *hosts(GOOD, BAD), "-v", "-t1")
    shown = masking.timeless(done.stdout.replace(f":{port}", ":PORT")).splitlines()
    assert (done.code, done.stderr) == (2, "")
    assert shown[1:-1] == [
        f"[CRITICAL] {BAD}:PORT",
        "[CRITICAL] helo: 550 5.7.1 no (after # s)",
        "connect # s █ [OK]",
        "banner # s █ [OK]",
        "helo # s █ [CRITICAL] 550 5.7.1 no",
        "quit # s █ [OK]",
        f"[OK] {GOOD}:PORT",
        "connect # s █ [OK]",
        "banner # s █ [OK]",
        "helo # s █ [OK]",
        "quit # s █ [OK]",
    ]


def test_a_line_too_long_says_how_many_are_left_out() -> None:
    port = free_port()
    addresses = [f"127.0.1.{number}" for number in range(1, 41)]
    done = probed(port, *hosts(*addresses))
    shown = [
        f"{one}:{port} connect: connection refused (after # s), cause: refused" for one in addresses
    ]
    assert done.code == 2
    *named, rest = done.line.removeprefix("SMTP CRITICAL - ").split(", also ")
    assert named == shown[: len(named)]
    assert rest == f"{40 - len(named)} more, 0 of 40 healthy"
    assert 900 < len(done.stdout.partition(" | ")[0]) <= 1000


def test_all_addresses_of_a_name(tmp_path: Path) -> None:
    names = private(tmp_path, hosts=f"{GOOD} mx.example\n{BAD} mx.example\n::1 mx.example\n")
    with serving(_2=HEALTHY, _3=REFUSES) as port:
        done = plugin.run(
            *("-H", "mx.example", "-p", str(port), "-F", "me.example", "-t1", "--all-addresses"),
            prefix=names,
        )
    assert (done.code, done.stderr) == (2, "")
    said = done.line.removeprefix("SMTP CRITICAL - ").removesuffix(", 1 of 3 healthy")
    assert sorted(said.split(", also ")) == [
        f"mx.example:{port} connect: connection refused (after # s), cause: refused [::1]",
        f"mx.example:{port} helo: 550 5.7.1 no (after # s) [127.0.0.3]",
    ]
    assert set(re.findall(r"'(\S+)::time'", done.perfdata)) == {GOOD, BAD, "[::1]"}


def test_all_addresses_of_no_name(tmp_path: Path) -> None:
    names = private(tmp_path)
    done = plugin.run("-H", "mx.localhost.invalid", "--all-addresses", "-t2", prefix=names)
    said = "SMTP CRITICAL - mx.localhost.invalid:25 resolve: "
    assert done.code == 2
    assert done.line.startswith(said)
    assert done.line.endswith(", 0 of 1 healthy")


def test_more_targets_than_files() -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    addresses = [f"127.0.1.{number}" for number in range(1, 41)]
    done = subprocess.run(
        [str(plugin.SCRIPT), *hosts(*addresses)],
        capture_output=True,
        check=False,
        preexec_fn=few,
    )
    assert (done.returncode, done.stderr, done.stdout.decode()) == (
        3,
        b"",
        "SMTP UNKNOWN - -H: 40 hosts are too many for 64 open files (ulimit -n), 32 would fit\n",
    )


def test_a_thousand_targets() -> None:
    addresses = [f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(1000)]
    with crowd.running() as port:
        done = probed(port, *hosts(*addresses), "-t", "20")
    assert (done.code, done.stderr) == (0, "")
    assert re.sub(r"slowest: .*", "", done.line) == "SMTP OK - 1000 of 1000 healthy, "
    labels = re.findall(r"'([\d.]+)::time'", done.perfdata)
    assert labels == addresses


def test_a_unix_socket_beside_others(tmp_path: Path) -> None:
    path = str(tmp_path / "it's=here")
    with ScriptedServer(HEALTHY, path=path).running(), serving(_2=HEALTHY) as port:
        done = probed(port, "-H", path, "-H", GOOD, "-t1")
    assert (done.code, done.stderr) == (0, "")
    assert re.findall(r"'(\S+)::time'", done.perfdata) == [
        path.replace("'", "_").replace("=", "_"),
        GOOD,
    ]


def test_ipv6_labels() -> None:
    with ScriptedServer(HEALTHY, address="::1").running() as server:
        done = probed(server.port, "-H", "[::1]", "-H", "localhost.invalid", "-6", "-t2")
    assert re.findall(r"'(\S+)::time'", done.perfdata) == ["[::1]"]
