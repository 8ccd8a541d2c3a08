"""As a process: verbosity, odd standard streams, signals, a missing package, a bug."""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from check_smtp_health import cli, errors
from check_smtp_health.cli import GRACE
from tests import harmless, masking, needs, plugin
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.scripted import Expect, Hang, ScriptedServer, Sleep

HEALTHY = (Sleep(0.05), BANNER, *HELO, *QUIT)
REFUSES = (BANNER, HELO[0], Sleep(0.05), b"550-no | way\r\n550 [OK]\r\n", QUIT[0], Hang())


@pytest.mark.parametrize("verbosity", ["-v", "-vv", "-vvv"])
def test_verbose_when_all_is_well(verbosity: str) -> None:
    with ScriptedServer(HEALTHY).running() as server:
        done = plugin.run(*plugin.at(server.port), verbosity, environment={"PYTHONUTF8": "1"})
    transcript = [
        " # *: connected to 127.0.0.1",
        " # S: 220 mx.example ESMTP",
        " # C: HELO me.example",
        " # S: 250 mx.example",
        " # C: QUIT",
        " # S: 221 bye",
    ]
    assert (done.code, done.stderr) == (0, "")
    shown = masking.masked(done.stdout.replace(str(server.port), "PORT")).splitlines()
    assert shown == [
        "SMTP OK - 127.0.0.1:PORT answered in # s (slowest: # # s)",
        "connect # s █ [OK]",
        "banner # s █ [OK]",
        "helo # s █ [OK]",
        "quit # s █ [OK]",
        *(transcript if verbosity != "-v" else ()),
        "| time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0",
    ]


def test_verbose_when_a_stage_fails() -> None:
    with ScriptedServer(REFUSES).running() as server:
        done = plugin.run(*plugin.at(server.port), "-vv", environment={"PYTHONUTF8": "1"})
    shown = masking.masked(done.stdout.replace(str(server.port), "PORT")).splitlines()
    shown = [line.replace("within 1 s", "within # s") for line in shown]
    assert (done.code, done.stderr) == (2, "")
    assert shown == [
        "SMTP CRITICAL - 127.0.0.1:PORT helo: 550 no \\x7c way / (OK ) (after # s)",
        "[CRITICAL] helo: 550 no \\x7c way / (OK ) (after # s)",
        "connect # s █ [OK]",
        "banner # s █ [OK]",
        "helo # s █ [CRITICAL] 550 no \\x7c way / (OK )",
        "quit # s █ [OK] no answer within # s",
        " # *: connected to 127.0.0.1",
        " # S: 220 mx.example ESMTP",
        " # C: HELO me.example",
        " # S: 550-no \\x7c way",
        " # S: 550 (OK )",
        " # C: QUIT",
        " # *: no answer within # s",
        "| time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0",
    ]


@pytest.mark.parametrize(
    ("encoding", "bar", "filler"),
    [("ascii", "#", "."), ("latin-1", "#", "."), ("utf-8", "█", "░")],
)
def test_bars_are_a_waterfall(encoding: str, bar: str, filler: str) -> None:
    """None is narrower than the others, nor has a space, which a front end would collapse."""
    with ScriptedServer(
        (Sleep(0.6), BANNER, HELO[0], Sleep(0.6), HELO[1], *QUIT)
    ).running() as server:
        done = plugin.run(*plugin.at(server.port), "-v", environment={"PYTHONIOENCODING": encoding})
    rows = [
        re.fullmatch(rf"([a-z]+) +\d\.\d{{6}} s ([{bar}{filler}]{{20}}) \[OK\]", line)
        for line in done.stdout.splitlines()[1:5]
    ]
    assert all(rows), done.stdout
    stages, bars = zip(*(row.groups() for row in rows if row is not None))
    assert stages == ("connect", "banner", "helo", "quit")
    assert [len(one.rstrip(filler)) for one in bars] == [
        1,
        pytest.approx(10, abs=1),
        pytest.approx(20, abs=1),
        20,
    ]
    assert [one.count(bar) for one in bars] == [
        1,
        pytest.approx(10, abs=1),
        pytest.approx(10, abs=1),
        1,
    ]


def test_a_partial_line_is_in_the_transcript() -> None:
    with ScriptedServer((b"220-a\r\n22", Hang())).running() as server:
        done = plugin.run(*plugin.at(server.port), "-vv", "-t", "1")
    assert [line[10:] for line in done.stdout.splitlines()[5:9]] == [
        "*: connected to 127.0.0.1",
        "S: 220-a",
        "S: 22",
        "*: no answer within 1 s",
    ]


@pytest.mark.parametrize(
    "encoding", ["ascii", "utf-8", "latin-1", "idna", "iso2022_jp", "punycode", "utf-7", "cp037"]
)
def test_a_stdout_that_cannot_say_it_gets_an_escape(encoding: str) -> None:
    with ScriptedServer(("554 \u20ac\r\n".encode(), *QUIT)).running() as server:
        done = subprocess.run(
            [plugin.SCRIPT, *plugin.at(server.port)],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
    shown = "\u20ac" if encoding == "utf-8" else "\\u20ac"
    assert done.returncode == 2
    assert done.stderr == b""
    said = f"banner: 554 {shown} (after"
    assert said.encode("utf-8" if encoding == "utf-8" else "ascii") in done.stdout


@pytest.mark.usefixtures("uncovered")
def test_no_encoding_makes_a_bar_of_a_letter() -> None:
    """In Shift JIS the second byte of this one is a bar, and in ISO 2022 all of it is ASCII."""
    for encoding in ("shift_jis", "iso2022_jp", "utf-16", "big5"):
        with ScriptedServer(("554 \u30dd\u529f\r\n".encode(), *QUIT)).running() as server:
            done = subprocess.run(
                [plugin.SCRIPT, *plugin.at(server.port)],
                env={**os.environ, "PYTHONIOENCODING": encoding},
                capture_output=True,
                check=False,
            )
        assert (done.returncode, done.stderr, done.stdout.count(b"|")) == (2, b"", 1)
        assert b" banner: 554 \\u30dd\\u529f (after" in done.stdout


@pytest.mark.parametrize(
    "redirection", [">&-", ">/dev/full", ">&- 2>&-", "2>&-", "2>/dev/full", "</dev/full", "<&-"]
)
def test_standard_streams(redirection: str) -> None:
    with ScriptedServer(HEALTHY).running() as server:
        done = subprocess.run(
            f"{plugin.SCRIPT} {' '.join(plugin.at(server.port))} {redirection}",
            shell=True,
            capture_output=True,
            check=False,
        )
    lost = redirection.startswith(">")
    answer = (
        "SMTP OK - 127.0.0.1:PORT answered in # s (slowest: # # s) "
        "| time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0\n"
    )
    shown = masking.masked(done.stdout.decode().replace(str(server.port), "PORT"))
    assert (done.returncode, done.stderr, shown) == (
        3 if lost else 0,
        b"",
        "" if lost else answer,
    )


@pytest.mark.parametrize("sigpipe", ["--default-signal=PIPE", "--ignore-signal=PIPE"])
def test_reader_gone(sigpipe: str) -> None:
    with ScriptedServer(HEALTHY).running() as server:
        out, into = os.pipe()
        os.close(out)
        done = subprocess.run(
            ["env", sigpipe, plugin.SCRIPT, *plugin.at(server.port)],
            stdout=into,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(into)
    assert (done.returncode, done.stderr) == (3, b"")


def test_a_reader_that_does_not_read() -> None:
    """The pipe is full: there is nobody to tell, nothing to wait for; the exit code is the same."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(into, b"x" * 4096):
            pass
    os.set_blocking(into, True)
    began = time.monotonic()
    with ScriptedServer((Hang(),)).running() as server:
        done = subprocess.run(
            [plugin.SCRIPT, *plugin.at(server.port), "-t", "0.3"],
            stdout=into,
            stderr=subprocess.PIPE,
            check=False,
        )
    os.close(into)
    os.close(out)
    assert (done.returncode, done.stderr) == (2, b"")
    assert time.monotonic() - began < 0.3 + GRACE + plugin.SLACK


@pytest.mark.usefixtures("uncovered")
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_even_the_deadline_cannot_end(tmp_path: Path, form: str) -> None:
    """The last word is in the format that was asked for."""
    (tmp_path / "hmac.py").write_text("import time\ndef new(*parts):\n time.sleep(60)\n")
    offer = b"250-mx.example\r\n250 AUTH CRAM-MD5\r\n"
    script = (BANNER, Expect(b"EHLO"), offer, Expect(b"AUTH"), b"334 eA==\r\n", Hang())
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *(*plugin.at(server.port), "-t", "0.3", "-U", "me", "-A", "CRAM-MD5"),
            f"--output-format={form}",
            environment={"PYTHONPATH": str(tmp_path), "CHECK_SMTP_HEALTH_AUTHPASS": "s3cret"},
        )
    line = "SMTP UNKNOWN - stuck beyond the deadline, ended by SIGALRM"
    assert (done.code, done.stderr) == (3, "")
    assert done.seconds < 0.3 + GRACE + plugin.SLACK
    if form == "text":
        assert done.stdout == f"{line}\n"
    else:
        assert harmless.check_json(done.stdout, 3)["status"] == line


def test_what_this_host_can_run_out_of_is_the_same_everywhere() -> None:
    assert cli.EXHAUSTED == errors.EXHAUSTED


@pytest.mark.parametrize("form", ["text", "json"])
def test_out_of_memory(tmp_path: Path, form: str) -> None:
    (tmp_path / "dns.py").write_text("raise MemoryError")
    done = plugin.run(
        *("-H", "mx.example", "--mx", f"--output-format={form}"),
        environment={"PYTHONPATH": str(tmp_path)},
    )
    line = "SMTP UNKNOWN - out of memory"
    assert (done.code, done.stderr) == (3, "")
    if form == "text":
        assert done.stdout == f"{line}\n"
    else:
        assert harmless.check_json(done.stdout, 3)["status"] == line


@pytest.mark.usefixtures("uncovered")
def test_too_little_memory_even_to_see_whether_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "select.py").write_text("raise MemoryError")
    done = plugin.run("-H", "127.0.0.1", environment={"PYTHONPATH": str(tmp_path)})
    assert (done.code, done.stdout, done.stderr) == (3, "SMTP UNKNOWN - out of memory\n", "")


SLOW = """
import fcntl, os, signal, sys
from check_smtp_health import stdout
if "as many large pipes as this user may have" in sys.argv:
    try:
        while fcntl.fcntl(os.pipe()[1], 1031, 1 << 20):
            pass
    except PermissionError:
        pass
if "a signal as it begins to write" in sys.argv:
    def write(*args, write=os.write):
        os.write = write
        signal.raise_signal(signal.SIGALRM)
        return write(*args)
    os.write = write
def end(*args):
    if not stdout.must_wait("late"):
        os._exit(stdout.give_up("late"))
signal.signal(signal.SIGALRM, end)
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
stdout.write(["{'all': [", *["x" * 1000] * (int(sys.argv[2]) // 1000), "]}"], sys.argv[3], 2)
os._exit(2)
"""
"""Writes a long answer, and a short one after so many seconds."""

FEW = "as many large pipes as this user may have"
EARLY = "a signal as it begins to write"


@pytest.mark.parametrize("short", ["{'all': []}", "{'all': ["], ids=["other", "beginning"])
@pytest.mark.parametrize(
    ("size", "seconds", "more", "is_late", "is_whole"),
    [
        pytest.param(900_000, "0.2", "", True, True, id="the reader may come at any time"),
        pytest.param(3_000_000, "20", "", False, True, id="the reader comes in time"),
        pytest.param(3_000_000, "0.3", "", True, False, id="the reader comes too late"),
        pytest.param(900_000, "20", FEW, False, True, id="in time for a small pipe"),
        pytest.param(900_000, "0.2", FEW, True, False, id="too late for a small pipe"),
        pytest.param(3_000_000, "20", EARLY, True, False, id="too late as the answer begins"),
    ],
)
def test_a_slow_reader(
    size: int, seconds: str, more: str, short: str, *, is_late: bool, is_whole: bool
) -> None:
    """Whatever fits into a pipe is left in it; of more than that the short answer is.

    That may be how the long one begins, as a status line is.
    """
    needs.root()
    user = 100_000 + os.getpid()  # of whom nobody else has pipes: those of all processes count
    os.setresuid(user, -1, -1)
    end, pipe = os.pipe()
    os.setresuid(0, -1, -1)
    command = (
        *(needs.program("setpriv"), f"--ruid={user}", "--bounding-set=-sys_resource,-sys_admin"),
        *(sys.executable, "-c", SLOW, seconds, str(size), short, more),
    )
    with open(end, "rb") as reader:
        with open(pipe, "wb") as writer:
            process = subprocess.Popen(command, stdout=writer)
        if is_late:
            process.wait(timeout=30)
        else:
            select.select([reader], [], [], 30)
            time.sleep(0.3)  # it waits for us
        stdout = reader.read()
    process.wait(timeout=30)
    whole = b"{'all': [" + b"x" * size + b"]}"
    assert (process.returncode, stdout == (whole if is_whole else short.encode())) == (2, True)


def test_a_pipe_that_is_full_already() -> None:
    """Nothing is begun that could not be ended."""
    end, pipe = os.pipe()
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(pipe, b"x" * 4096):
            pass
    os.set_blocking(pipe, True)
    command = (sys.executable, "-c", SLOW, "0.3", "3000000", "{'all': []}")
    with open(end, "rb"):
        try:
            done = subprocess.run(command, stdout=pipe, check=False, timeout=10)
        finally:
            os.close(pipe)
    assert done.returncode == 2


def test_a_file_takes_all_of_it(tmp_path: Path) -> None:
    with open(tmp_path / "answer", "wb") as answer:
        done = subprocess.run(
            [sys.executable, "-c", SLOW, "20", "3000000", "{'all': []}"], stdout=answer, check=False
        )
    whole = b"{'all': [" + b"x" * 3_000_000 + b"]}"
    assert (done.returncode, (tmp_path / "answer").read_bytes() == whole) == (2, True)


def test_a_reader_who_has_begun_gets_all_of_it() -> None:
    """However slowly, and be the deadline past: half of an answer is none."""
    needs.root()
    whole = b"{'all': [" + b"x" * 2_000_000 + b"]}"
    unprivileged = (needs.program("setpriv"), "--bounding-set=-sys_resource")
    command = (*unprivileged, sys.executable, "-c", SLOW, "0.4", "2000000", "{'all': []}")
    read = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(64 * 1024):
            read += piece
            time.sleep(0.03)
    assert (process.returncode, read == whole) == (2, True)


def test_nagiosplugin_missing(tmp_path: Path) -> None:
    (tmp_path / "nagiosplugin.py").write_text("raise ModuleNotFoundError('x', name='nagiosplugin')")
    done = plugin.run("-H", "127.0.0.1", environment={"PYTHONPATH": str(tmp_path)})
    assert (done.code, done.stdout, done.stderr) == (
        3,
        "SMTP UNKNOWN - this program needs the library nagiosplugin: "
        "install python3-nagiosplugin, or nagiosplugin with pip\n",
        "",
    )


BUG = "SMTP UNKNOWN - internal error: KeyError at nagiosplugin.py:1: 'a\\x7cb'"


def with_a_bug(tmp_path: Path, *arguments: str) -> plugin.Outcome:
    """Run the plugin with a nagiosplugin that cannot even be imported."""
    (tmp_path / "nagiosplugin.py").write_text("raise KeyError('a|b')")
    return plugin.run("-H", "127.0.0.1", *arguments, environment={"PYTHONPATH": str(tmp_path)})


@pytest.mark.usefixtures("uncovered")
@pytest.mark.parametrize("words", ["", "-v", "-vv", "-v -v", "-Sv", "-vS -v"])
def test_a_bug_is_one_line(tmp_path: Path, words: str) -> None:
    done = with_a_bug(tmp_path, *words.split())
    assert (done.code, done.stdout, done.stderr) == (3, f"{BUG}\n", "")


@pytest.mark.parametrize("words", ["-vvv", "-v -v -v", "-Svvv", "-vv --verbose", "-vSv -v"])
def test_a_bug_has_its_traceback_at_the_third_verbosity(tmp_path: Path, words: str) -> None:
    done = with_a_bug(tmp_path, *words.split())
    first, second, *_, last = done.stdout.splitlines()
    assert (done.code, done.stderr) == (3, "")
    assert (first, second, last) == (
        BUG,
        "Traceback (most recent call last):",
        "KeyError: 'a\\x7cb'",
    )
    assert "nagiosplugin.py" in done.stdout.partition("Traceback")[2]
    assert "|" not in done.stdout


def test_too_few_file_descriptors() -> None:
    with ScriptedServer(HEALTHY).running() as server:
        script = f"ulimit -n 5; exec {plugin.SCRIPT} {' '.join(plugin.at(server.port))}"
        done = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        3,
        b"SMTP UNKNOWN - too many open files\n",
        b"",
    )


@pytest.mark.parametrize("environment", [{}, dict(os.environ)], ids=["empty", "ours"])
def test_as_a_module(environment: dict[str, str]) -> None:
    with ScriptedServer(HEALTHY).running() as server:
        done = subprocess.run(
            [sys.executable, "-m", "check_smtp_health", *plugin.at(server.port)],
            env=environment,
            cwd="/",
            capture_output=True,
            check=False,
        )
    assert (done.returncode, done.stdout[:10], done.stderr) == (0, b"SMTP OK - ", b"")


@pytest.mark.usefixtures("uncovered")
def test_what_cannot_be_read_does_not_hold_us(tmp_path: Path) -> None:
    """A package on a file system that does not answer, say."""
    (tmp_path / "dns.py").write_text("import time\ntime.sleep(60)\n")
    done = plugin.run("-H", "mx.example", "--mx", environment={"PYTHONPATH": str(tmp_path)})
    assert (done.code, done.stdout, done.stderr) == (
        3,
        "SMTP UNKNOWN - reading options and files took more than 5 s\n",
        "",
    )
    assert done.seconds < 5 + plugin.SLACK


def test_names_without_file_descriptors_are_not_called_unknown() -> None:
    done = subprocess.run(
        ["sh", "-c", f"ulimit -n 7; exec {plugin.SCRIPT} -H localhost -p 9"],
        capture_output=True,
        check=False,
    )
    assert b"no such host name" not in done.stdout
    assert done.stderr == b""
