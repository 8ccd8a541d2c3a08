"""Names, addresses and connections: what is tried, what is said, and never past the deadline."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from tests import needs, plugin
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.loopback import free_port
from tests.servers.network import full_backlog, private
from tests.servers.scripted import Expect, Forever, ScriptedServer, Sleep
from tests.servers.system_resolver import NameServer, code, silence

HEALTHY = (Sleep(0.02), BANNER, *HELO, *QUIT)
ME = ("-F", "me.example", "-t", "1")
LABELS = "time connect banner helo quit"


def labels(done: plugin.Outcome) -> str:
    """Return the perfdata labels."""
    return " ".join(item.partition("=")[0] for item in done.perfdata.split())


@pytest.mark.parametrize(
    ("address", "given", "shown"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "[::1]"),
        ("::1", "[::1]", "[::1]"),
    ],
)
def test_address(address: str, given: str, shown: str) -> None:
    with ScriptedServer(HEALTHY, address=address).running() as server:
        done = plugin.run("-H", given, "-p", str(server.port), *ME)
    assert (done.code, done.line, labels(done), done.stderr) == (
        0,
        f"SMTP OK - {shown}:{server.port} answered in # s (slowest: # # s)",
        LABELS,
        "",
    )


def test_a_scope_that_is_no_interface_asks_nobody(tmp_path: Path) -> None:
    asked: list[float] = []
    with NameServer(silence, address="127.0.0.53").running(asked):
        prefix = private(tmp_path, resolver="127.0.0.53")
        done = plugin.run("-H", "fe80::1%nowhere", *ME, prefix=prefix)
    assert (done.code, done.line, labels(done), done.stderr, asked) == (
        3,
        "SMTP UNKNOWN - [fe80::1%nowhere]:25 connect: "
        "the scope of fe80::1%nowhere is unknown on this host",
        "time",
        "",
        [],
    )


def test_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "smtp.socket")
    script = (Sleep(0.02), BANNER, Expect(b"HELO localhost\r\n"), b"250 mx\r\n", *QUIT)
    with ScriptedServer(script, path=path).running() as server:
        done = plugin.run("-H", path, "-t", "1", prefix=private(tmp_path, hostname="plain"))
    assert (done.code, done.line, labels(done), done.stderr, server.faults) == (
        0,
        f"SMTP OK - {path} answered in # s (slowest: # # s)",
        LABELS,
        "",
        [],
    )


def test_unix_socket_without_a_server(tmp_path: Path) -> None:
    path = str(tmp_path / "smtp.socket")
    done = plugin.run("-H", path, *ME)
    assert (done.code, done.line, labels(done), done.stderr) == (
        2,
        f"SMTP CRITICAL - {path} connect: no such file or directory (after # s)",
        "time",
        "",
    )


def test_unix_socket_that_is_not_for_us(tmp_path: Path) -> None:
    needs.root()
    # Root without the right to override permissions is like any other user.
    prefix = (needs.program("setpriv"), "--bounding-set=-dac_override,-dac_read_search")
    path = str(tmp_path / "smtp.socket")
    with ScriptedServer(HEALTHY, path=path).running() as server:
        os.chmod(path, 0)
        done = plugin.run("-H", path, *ME, prefix=prefix)
    assert (done.code, done.line, labels(done), done.stderr, server.connections) == (
        3,
        f"SMTP UNKNOWN - {path} connect: permission denied (after # s)",
        "time",
        "",
        0,
    )


def test_unix_socket_with_a_full_backlog_is_tried_again(tmp_path: Path) -> None:
    path = str(tmp_path / "smtp.socket")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        done = plugin.run("-H", path, *ME)
    assert (done.code, done.line, labels(done), done.stderr) == (
        2,
        f"SMTP CRITICAL - {path} connect: no answer within 1 s, cause: silent",
        "time",
        "",
    )


@pytest.mark.parametrize(
    ("state", "code", "word"),
    [("", 2, "CRITICAL"), (":warning", 1, "WARNING"), (":3", 3, "UNKNOWN")],
)
def test_syn_never_answered(state: str, code: int, word: str) -> None:
    with full_backlog("127.0.0.1") as port:
        done = plugin.run("-H", "127.0.0.1", "-p", str(port), "-t", f"0.5{state}")
    assert (done.code, done.line, labels(done), done.stderr) == (
        code,
        f"SMTP {word} - 127.0.0.1:{port} connect: no answer within 0.5 s, cause: silent",
        "time",
        "",
    )
    assert done.seconds < 0.5 + plugin.SLACK


def test_a_server_that_reads_nothing_and_never_stops_talking() -> None:
    with ScriptedServer((BANNER, Forever(b"250-more\r\n", 0.05))).running() as server:
        done = plugin.run("-H", "127.0.0.1", "-p", str(server.port), *ME)
    assert (done.code, done.stderr) == (2, "")
    assert done.seconds < 1 + plugin.SLACK


def test_source() -> None:
    script = (BANNER, Expect(b"HELO [127.0.0.5]\r\n"), b"250 mx\r\n", *QUIT)
    with ScriptedServer(script).running() as server:
        done = plugin.run("-H", "127.0.0.1", "-p", str(server.port), "--source", "127.0.0.5")
    if "." not in socket.gethostname():
        assert server.faults == []
    assert (done.code, server.peers, done.stderr) == (0, ["127.0.0.5"], "")


def test_source_that_is_not_here() -> None:
    done = plugin.run("-H", "127.0.0.1", "--source", "192.0.2.1", *ME)
    assert (done.code, done.line, labels(done), done.stderr) == (
        3,
        "SMTP UNKNOWN - 127.0.0.1:25 connect: cannot connect from 192.0.2.1: "
        "cannot assign requested address (after # s)",
        "time",
        "",
    )


@pytest.mark.parametrize(
    ("hostname", "name"), [("mon.example", b"mon.example"), ("mon", b"[127.0.0.1]")]
)
def test_own_name(tmp_path: Path, hostname: str, name: bytes) -> None:
    script = (BANNER, Expect(b"HELO %s\r\n" % name), b"250 mx\r\n", *QUIT)
    with ScriptedServer(script).running() as server:
        prefix = private(tmp_path, hostname=hostname)
        done = plugin.run("-H", "127.0.0.1", "-p", str(server.port), prefix=prefix)
    assert (done.code, server.faults, done.stderr) == (0, [], "")


def test_own_name_over_ipv6(tmp_path: Path) -> None:
    script = (BANNER, Expect(b"HELO [IPv6:::1]\r\n"), b"250 mx\r\n", *QUIT)
    with ScriptedServer(script, address="::1").running() as server:
        prefix = private(tmp_path, hostname="mon")
        done = plugin.run("-H", "::1", "-p", str(server.port), prefix=prefix)
    assert (done.code, server.faults, done.stderr) == (0, [], "")


@pytest.mark.parametrize(
    ("name", "line", "option"),
    [
        ("mx.example", "127.0.0.1 mx.example", ()),
        ("b\u00fccher.example", "127.0.0.1 xn--bcher-kva.example", ()),
        ("mx.example", "::1 mx.example\n127.0.0.1 mx.example", ("-4",)),
        ("mx.example", "127.0.0.9 mx.example\n127.0.0.1 mx.example", ()),
    ],
)
def test_name(tmp_path: Path, name: str, line: str, option: tuple[str, ...]) -> None:
    with ScriptedServer(HEALTHY).running() as server:
        prefix = private(tmp_path, hosts=f"{line}\n")
        done = plugin.run("-H", name, "-p", str(server.port), *ME, *option, prefix=prefix)
    assert (done.code, done.line, labels(done), done.stderr) == (
        0,
        f"SMTP OK - {name}:{server.port} [127.0.0.1] answered in # s (slowest: # # s)",
        "time resolve connect banner helo quit",
        "",
    )


def test_no_address_of_a_name_answers(tmp_path: Path) -> None:
    port = free_port()
    prefix = private(tmp_path, hosts="127.0.0.9 mx.example\n127.0.0.8 mx.example\n")
    done = plugin.run("-H", "mx.example", "-p", str(port), *ME, prefix=prefix)
    assert (done.code, done.line, labels(done), done.stderr) == (
        2,
        f"SMTP CRITICAL - mx.example:{port} connect: 127.0.0.9 connection refused, "
        "127.0.0.8 connection refused (after # s), cause: refused",
        "time resolve",
        "",
    )


def test_sixty_dead_addresses_leave_room_for_the_rest(tmp_path: Path) -> None:
    port = free_port()
    hosts = "".join(f"127.0.1.{n} mx.example\n" for n in range(60))
    done = plugin.run(
        "-H", "mx.example", "-p", str(port), *ME, prefix=private(tmp_path, hosts=hosts)
    )
    refused = ", ".join(["127.0.1.# connection refused"] * 4)
    line = re.sub(r"127\.0\.1\.\d+", "127.0.1.#", done.line)
    assert (done.code, line, done.stderr) == (
        2,
        f"SMTP CRITICAL - mx.example:{port} connect: {refused} and 56 more (after # s), "
        "cause: refused",
        "",
    )


def test_no_address_of_that_family(tmp_path: Path) -> None:
    with NameServer(code(3), address="127.0.0.53").running([]):
        prefix = private(tmp_path, hosts="127.0.0.1 mx.example\n", resolver="127.0.0.53")
        done = plugin.run("-H", "mx.example", "-6", *ME, prefix=prefix)
    assert (done.code, done.line, labels(done), done.stderr) == (
        2,
        "SMTP CRITICAL - mx.example:25 resolve: no such host name (for IPv6) (after # "
        "s), cause: unresolvable",
        "",
        "",
    )


def test_nobody_but_the_target_is_asked(tmp_path: Path) -> None:
    """No name is looked up for the banner, the HELO name or an address."""
    asked: list[float] = []
    silent = NameServer(silence, address="127.0.0.53")
    with silent.running(asked), ScriptedServer(HEALTHY).running() as server:
        prefix = private(tmp_path, resolver="127.0.0.53", hostname="mon")
        done = plugin.run("-H", "127.0.0.1", "-p", str(server.port), prefix=prefix)
    assert (done.stderr, asked) == ("", [])
