"""At a terminal: colour, rows that fit the window, and a line that says what is waited for."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from check_smtp_health import terminal
from tests import masking, plugin
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.name_server import SILENCE, NameServer
from tests.servers.scripted import Expect, Hang, Message, ScriptedServer, Sleep, Step
from tests.window import Window

REFUSED = (BANNER, HELO[0], b"550 5.7.1 Access denied to <me.example>\r\n", *QUIT)
SLOW = (Sleep(0.8), BANNER, *HELO, *QUIT)
SILENT = (Hang(),)
OK = b"250 ok\r\n"
SENDING = (
    *(BANNER, *HELO, Expect(b"MAIL"), OK, Expect(b"RCPT"), OK),
    *(Expect(b"DATA"), b"354 go\r\n", Message(), OK, *QUIT),
)


def at(server: ScriptedServer, *arguments: str) -> tuple[str, ...]:
    return (*plugin.at(server.port), *arguments)


def where(server: ScriptedServer) -> str:
    return f"127.0.0.1:{server.port}"


CHARTS = {
    40: [
        "connect # s <8> [OK]",
        "banner # s <8> [OK]",
        "helo # s <8> [CRITICAL]",
        "quit # s <8> [OK]",
    ],
    80: [
        "connect # s <20> [OK]",
        "banner # s <20> [OK]",
        "helo # s <20> [CRITICAL] 550 5.7.1 Access denied to…",
        "quit # s <20> [OK]",
    ],
    200: [
        "connect # s <128> [OK]",
        "banner # s <128> [OK]",
        "helo # s <128> [CRITICAL] 550 5.7.1 Access denied to <me.example>",
        "quit # s <128> [OK]",
    ],
}


@pytest.mark.parametrize("columns", CHARTS)
def test_no_row_wraps(columns: int) -> None:
    with ScriptedServer(REFUSED).running() as server:
        window = Window(*at(server, "-v"), columns=columns)
        assert window.end() == 2
    rows = window.rows
    first = next(number for number, row in enumerate(rows) if row.startswith("connect"))
    assert rows[first : first + 4] == CHARTS[columns]
    assert "".join(rows[first + 4 :]).startswith("| time=")
    problem = "550 5.7.1 Access denied to <me.example> (after # s)"
    told = re.sub(r"\b[\d.]+ +m?s\b", "# s", "".join(row.ljust(columns) for row in rows[:first]))
    assert " ".join(told.split()) == (
        f"SMTP CRITICAL - {where(server)} helo: {problem} [CRITICAL] helo: {problem}"
    )


@pytest.mark.parametrize("columns", [0, 1, 19])
def test_a_window_without_width_is_as_wide_as_most(columns: int) -> None:
    with ScriptedServer(REFUSED).running() as server:
        window = Window(*at(server, "-v"), columns=columns)
        assert window.end() == 2
    charts = re.findall("[█░]+ ".encode(), window.written)
    assert [len(chart.decode()) - 1 for chart in charts] == [20] * 4


def test_all_rows_have_bars_of_one_length() -> None:
    with ScriptedServer(REFUSED).running() as one, ScriptedServer((BANNER, *HELO, *QUIT)).running():
        window = Window(*at(one, "-H", "127.0.0.2", "-v", "-t", "1"), columns=100)
        assert window.end() == 2
    lengths = re.findall(r"<(\d+)>", "\n".join(window.rows))
    assert len(lengths) >= 5
    assert set(lengths) == {lengths[0]}


STATES = (
    ((BANNER, *HELO, *QUIT), (), "green", "OK"),
    ((BANNER, *HELO, *QUIT), ("-w", "0"), "brown", "WARNING"),
    (REFUSED, (), "red", "CRITICAL"),
    ((BANNER, *HELO, *QUIT), ("-w", "x"), "magenta", "UNKNOWN"),
)


@pytest.mark.parametrize(("script", "arguments", "colour", "state"), STATES)
def test_the_state_is_coloured_and_perfdata_is_dimmed(
    script: tuple[Step, ...], arguments: tuple[str, ...], colour: str, state: str
) -> None:
    with ScriptedServer(script).running() as server:
        window = Window(*at(server, *arguments), columns=200)
        window.end()
    assert window.colours(0) == [(colour, state)]
    assert window.rows[0].startswith(f"SMTP {state} - ")
    if state != "UNKNOWN":
        assert re.search(rb"\x1b\[2m\| time=[^\x1b]*\x1b\[0m\r\n$", window.written)


def test_marks_are_coloured() -> None:
    with ScriptedServer(REFUSED).running() as server:
        window = Window(*at(server, "-v"), columns=80)
        window.end()
    marked = {row: window.colours(row) for row in range(12) if window.colours(row)}
    green, red = [("green", "[OK]")], [("red", "[CRITICAL]")]
    assert list(marked.values()) == [[("red", "CRITICAL")], red, green, green, red, green]


def plain(text: bytes) -> str:
    return masking.timeless(text.decode().replace("\r\n", "\n"))


def test_what_is_piped_is_as_ever(tmp_path: Path) -> None:
    """With a terminal behind one of the two only, or a dumb one, and with neither."""
    with ScriptedServer(REFUSED).running() as server:
        arguments = at(server, "-v")
        expected = plugin.run(*arguments, environment={"TERM": "xterm"}).stdout.encode()
        with (tmp_path / "stderr").open("wb") as file:
            no_stderr = Window(*arguments, stderr=file.fileno())
            assert no_stderr.end() == 2
        with (tmp_path / "stdout").open("wb") as file:
            no_stdout = Window(*arguments, stdout=file.fileno())
            assert no_stdout.end() == 2
        dumb = Window(*arguments, environment={"TERM": "dumb"}, columns=200)
        assert dumb.end() == 2
    assert no_stdout.written == (tmp_path / "stderr").read_bytes() == b""
    for one in (no_stderr.written, (tmp_path / "stdout").read_bytes(), dumb.written):
        assert plain(one) == plain(expected)
    assert "(me.example)" in plain(expected)


def test_no_colour() -> None:
    with ScriptedServer(REFUSED).running() as server:
        window = Window(*at(server, "-v"), environment={"NO_COLOR": "1"})
        assert window.end() == 2
    assert b"\x1b" not in window.written
    assert "helo # s <20> [CRITICAL] 550 5.7.1 Access denied to…" in window.rows


def test_an_explained_reply_keeps_its_brackets_here_alone() -> None:
    reply = "550 5.1.1 <you@mx.example>: no such user"
    window = Window("--explain", reply, columns=250)
    assert window.end() == 3
    piped = plugin.run("--explain", reply).stdout.splitlines()
    assert window.rows[0] == reply
    assert piped[0] == "550 5.1.1 (you@mx.example): no such user"
    assert window.rows[1:] == piped[1:]


def test_json_is_the_same_everywhere() -> None:
    with ScriptedServer((BANNER, *HELO, *QUIT)).running() as server:
        window = Window(*at(server, "--output-format", "json", "-w", "x"))
        assert window.end() == 3
        piped = plugin.run(*at(server, "--output-format", "json", "-w", "x")).stdout
    assert window.written.decode().replace("\r\n", "\n") == piped


@pytest.mark.parametrize("columns", [40, 80])
def test_silence_is_explained_and_leaves_no_trace(columns: int) -> None:
    with ScriptedServer(SILENT).running() as server:
        window = Window(*at(server, "-t", "1.4"), columns=columns)
        window.until(lambda rows: rows == ["banner … 0.5 s of 1.4"])
        window.until(lambda rows: rows == ["banner … 1 s of 1.4"])
        assert window.end() == 2
    assert (
        "".join(row.ljust(columns) for row in window.rows)
        .rstrip()
        .startswith(f"SMTP CRITICAL - {where(server)} banner: no answer within 1.4 s")
    )
    assert "…" not in "".join(window.rows)


def test_an_answer_at_once_needs_no_comfort() -> None:
    with ScriptedServer((BANNER, *HELO, *QUIT)).running() as server:
        window = Window(*at(server))
        assert window.end() == 0
    assert window.written.startswith(b"SMTP ")


def test_the_search_for_a_message_has_a_time_of_its_own() -> None:
    with ScriptedServer(SENDING).running() as server, ScriptedServer(SILENT).running() as box:
        window = Window(
            *at(server, "--rcpt", "a@x", "--deliver", "-t", "0.4", "--delivery-timeout", "1.2"),
            *("--mailbox", f"imap://me@127.0.0.1:{box.port}", "--auth-insecure"),
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "x"},
        )
        window.until(lambda rows: rows == ["delivery … 1 s of 1.2"])
        assert window.end() == 2
    assert "…" not in "".join(window.rows)


def test_an_access_token_is_waited_for_first(tmp_path: Path) -> None:
    file = tmp_path / "oauth.ini"
    with ScriptedServer(SILENT).running() as server, ScriptedServer(SILENT).running() as endpoint:
        file.write_text(
            f"[oauth]\ntoken_url=https://127.0.0.1:{endpoint.port}/\nclient_id=a\nclient_secret=b\n"
        )
        file.chmod(0o600)
        window = Window(
            *at(server, "-U", "me", "--auth-insecure", "--oauth", str(file), "-t", "2.6")
        )
        window.until(lambda rows: rows == ["token … 1 s of 2.6"])
        window.until(lambda rows: rows == ["banner … 2 s of 2.6"])
        assert window.end() == 2
    assert "…" not in "".join(window.rows)


def test_several_targets_are_counted() -> None:
    with ScriptedServer(SILENT, address="0.0.0.0").running() as server:
        window = Window(*at(server, "-H", "127.0.0.2", "-H", "127.0.0.3", "-t", "0.8"))
        window.until(lambda rows: rows == ["127.0.0.1: banner, 2 more … 0.5 s of 0.8"])
        assert window.end() == 2


def test_a_policy_is_waited_for_by_its_name() -> None:
    silent = NameServer({}, default=SILENCE)
    with ScriptedServer((BANNER, *HELO, *QUIT)).running() as server, silent.running():
        asked = ("--dnsbl", "bl.example/192.0.2.1", "--nameserver", silent.nameserver)
        window = Window(*at(server, *asked, "-t", "0.8"))
        window.until(lambda rows: rows == ["dnsbl … 0.5 s of 0.8"])
        window.end()
    assert "…" not in "".join(window.rows)


def test_a_window_that_is_closed_ends_it() -> None:
    """There is nobody to tell, but for the exit code."""
    with ScriptedServer(SILENT).running() as server:
        window = Window(*at(server))
        window.until(lambda rows: rows == ["banner … 0.5 s of 10"])
        os.close(window.keyboard)
        assert window.process.wait(timeout=5) == 3


def test_a_resize_is_followed() -> None:
    with ScriptedServer((Sleep(0.8), *REFUSED)).running() as server:
        window = Window(*at(server, "-v"), columns=200)
        window.until(lambda rows: rows == ["banner … 0.5 s of 10"])
        window.resize(40)
        assert window.end() == 2
    assert "helo # s <8> [CRITICAL]" in window.rows


def test_ctrl_c_leaves_the_answer_alone() -> None:
    with ScriptedServer(SILENT).running() as server:
        window = Window(*at(server), columns=160)
        window.until(lambda rows: rows == ["banner … 0.5 s of 10"])
        began = time.monotonic()
        os.write(window.keyboard, b"\x03")
        assert window.end() == 3
        assert time.monotonic() - began < 1
    assert window.rows == [
        f"SMTP UNKNOWN - {where(server)} banner: interrupted by SIGINT (after # s)"
        " | time=#s;;;0;10 connect=#s;;;0"
    ]


def test_the_last_resort_writes_over_the_line() -> None:
    with ScriptedServer(SILENT).running() as server:
        window = Window(*at(server))
        window.until(lambda rows: rows == ["banner … 0.5 s of 10"])
        window.process.send_signal(signal.SIGALRM)
        assert window.end() == 3
    assert window.rows == ["SMTP UNKNOWN - stuck beyond the deadline, ended by SIGALRM"]


def test_a_terminal_that_controls_nobody() -> None:
    """As under a program that only pretends to be a terminal."""
    with ScriptedServer(SLOW).running() as server:
        window = Window(*at(server), command=("setsid", "--wait", str(plugin.SCRIPT)))
        window.until(lambda rows: rows == ["banner … 0.5 s of 10"])
        assert window.end() == 0
    assert "…" not in "".join(window.rows)


def test_a_stopped_terminal_stops_no_clock() -> None:
    """Ctrl-S while nothing is shown yet: the line is left out, and the times are right."""
    with ScriptedServer(SLOW).running() as server:
        window = Window(*at(server), columns=200)
        os.write(window.keyboard, b"\x13")
        while server.connections == 0:
            time.sleep(0.01)
        time.sleep(1.5)
        os.write(window.keyboard, b"\x11")
        assert window.end() == 0
    assert b"\xe2\x80\xa6" not in window.written
    banner = re.search(rb"banner=(\d\.\d+)s", window.written)
    assert banner is not None
    assert 0.7 < float(banner[1]) < 1.3


def test_nothing_is_shown_from_the_background() -> None:
    with ScriptedServer(SLOW).running() as server:
        command = ("sh", "-c", 'set -m; "$@" & wait $!', "sh", str(plugin.SCRIPT))
        window = Window(*at(server), command=command)
        assert window.end() == 0
    assert b"\xe2\x80\xa6" not in window.written


@pytest.mark.parametrize(
    ("line", "room", "fitted"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("abc", 1, ""),
        ("abc", -5, ""),
    ],
)
def test_fitted(line: str, room: int, fitted: str, capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        assert terminal.fitted(line, room) == fitted


def test_no_window_at_all(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        assert terminal.columns(file.fileno()) == 80
