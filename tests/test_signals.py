"""Signals: one line whenever they come, of what is true then."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from check_smtp_health.stages import NAMES
from tests import masking, plugin
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.scripted import Hang, ScriptedServer, Sleep


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_interrupted_says_where_and_what_was_measured(number: signal.Signals) -> None:
    with ScriptedServer((BANNER, HELO[0], Hang())).running() as server:
        process = subprocess.Popen(
            [plugin.SCRIPT, *plugin.at(server.port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        while not server.received and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        began = time.monotonic()
        stdout, stderr = process.communicate(timeout=5)
        assert time.monotonic() - began < 1
    line = masking.timeless(stdout.decode().partition(" | ")[0])
    assert (process.returncode, stderr, line) == (
        3,
        b"",
        f"SMTP UNKNOWN - 127.0.0.1:{server.port} helo: interrupted by {number.name} (after # s)",
    )
    assert re.findall(r"(\w+)=", stdout.decode().partition(" | ")[2]) == [
        "time",
        "connect",
        "banner",
    ]


@pytest.mark.usefixtures("uncovered")
def test_interrupted_while_preparing(tmp_path: Path) -> None:
    here = tmp_path / "here"
    (tmp_path / "dns.py").write_text(f"open({str(here)!r}, 'w')\nimport time\ntime.sleep(60)\n")
    process = subprocess.Popen(
        [plugin.SCRIPT, "-H", "mx.example", "--mx"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    while process.poll() is None and not here.exists():
        time.sleep(0.01)
    process.terminate()
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout, stderr) == (
        3,
        b"SMTP UNKNOWN - interrupted by SIGTERM while preparing\n",
        b"",
    )


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGTERM, "interrupted by SIGTERM while preparing"),
        (signal.SIGALRM, "reading options and files took more than 5 s"),
    ],
)
def test_signals_while_something_is_loaded(
    tmp_path: Path, number: signal.Signals, said: str
) -> None:
    """Where not even that can be said, the exit code is the same."""
    (tmp_path / "dns.py").write_text(f"import os\nos.kill(os.getpid(), {number:d})\n")
    command = f"{plugin.SCRIPT} -H mx.example --mx"
    for redirection, stdout in (("", f"SMTP UNKNOWN - {said}\n"), (">/dev/full", "")):
        done = subprocess.run(
            f"{command} {redirection}",
            shell=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            check=False,
        )
        assert (done.returncode, done.stdout.decode(), done.stderr) == (3, stdout, b"")


def test_a_signal_after_the_session_costs_nothing() -> None:
    """The server sends it right behind its farewell: the answer is there, and stays the answer."""
    refusing = (BANNER, HELO[0], b"550 no\r\n", QUIT[0], b"221 bye\r\n", Hang())
    for delay in (0.0, 0.002, 0.004, 0.008):
        with ScriptedServer(refusing).running() as server:
            process = subprocess.Popen(
                [plugin.SCRIPT, *plugin.at(server.port)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            while len(server.received) < 2 and process.poll() is None:
                time.sleep(0.001)
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
            stdout, stderr = process.communicate(timeout=5)
        assert stderr == b""
        assert stdout.count(b"\n") == 1
        # Interrupted while waiting for QUIT's reply, it says so; the refusal is said in any case.
        assert b" helo: 550 no (after " in stdout
        assert process.returncode == 2


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGQUIT, signal.SIGXCPU])
def test_no_other_signal_kills_it_without_a_line(number: signal.Signals) -> None:
    with ScriptedServer((Hang(),)).running() as server:
        process = subprocess.Popen(
            [plugin.SCRIPT, *plugin.at(server.port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        while not server.connections and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=5)
    line = masking.timeless(stdout.decode().partition(" | ")[0])
    assert (process.returncode, stderr, line) == (
        3,
        b"",
        f"SMTP UNKNOWN - 127.0.0.1:{server.port} banner: interrupted by {number.name} (after # s)",
    )


def test_somebody_elses_alarm() -> None:
    with ScriptedServer((Hang(),)).running() as server:
        process = subprocess.Popen(
            [plugin.SCRIPT, *plugin.at(server.port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        while not server.connections and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGALRM)
        said = process.communicate(timeout=5)
    line = b"SMTP UNKNOWN - stuck beyond the deadline, ended by SIGALRM\n"
    assert (process.returncode, said) == (3, (line, b""))


def test_signals_that_were_blocked_when_it_began() -> None:
    with ScriptedServer((Hang(),)).running() as server:
        command = ["env", "--block-signal=TERM,ALRM", str(plugin.SCRIPT), *plugin.at(server.port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not server.connections and process.poll() is None:
            time.sleep(0.01)
        process.terminate()
        stdout, stderr = process.communicate(timeout=5)
    shown = masking.timeless(stdout.decode().replace(str(server.port), "PORT"))
    assert (process.returncode, shown, stderr) == (
        3,
        "SMTP UNKNOWN - 127.0.0.1:PORT banner: interrupted by SIGTERM (after # s) "
        "| time=#s;;;0;10 connect=#s;;;0\n",
        b"",
    )


AT_A_CALL = """\
import os, signal, sys

at, calls, handles = int(os.environ["AT"]), 0, False

def count(frame, event, argument):
    global calls, handles
    if handles:
        calls += 1
        if calls == at:
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGTERM)
    # From here on the plugin has its own word in what a signal does.
    handles = handles or (event == "return" and frame.f_code.co_name == "_on_signals")

def leave(code, leave=os._exit):
    if not at:
        os.write(2, str(calls).encode())
    leave(code)

sys.setprofile(count)
os._exit = leave
"""
"""Sends the process SIGTERM at one of its calls and returns; with 0 it only counts them."""


@pytest.mark.usefixtures("uncovered")
@pytest.mark.parametrize(
    ("more", "points"), [((), 24), (("-w", "bad"), 8), (("-V",), 4), (("-vvv",), 4)]
)
def test_sigterm_at_any_moment(tmp_path: Path, more: tuple[str, ...], points: int) -> None:
    """One line of the two that are true: interrupted, or, if it came too late, the answer."""
    (tmp_path / "sitecustomize.py").write_text(AT_A_CALL)
    with ScriptedServer((Sleep(0.05), BANNER, *HELO, *QUIT)).running() as server:

        def run(at: int) -> plugin.Outcome:
            environment = {"PYTHONPATH": str(tmp_path), "AT": str(at)}
            return plugin.run(*plugin.at(server.port), *more, environment=environment)

        whole = run(0)
        calls = int(whole.stderr)
        # The session and the answer are the last hundredth of it.
        early = range(1, calls, calls * 2 // points)
        late = range(calls - calls // 50, calls, calls // 25 // points)
        outcomes = [run(at) for at in (*early, *late)]
    assert [done.stderr for done in outcomes if done.stderr] == []
    answers = {(done.code, first(done, server.port)) for done in outcomes}
    target = "SMTP UNKNOWN - 127.0.0.1:PORT"
    interrupted = {
        (3, "SMTP UNKNOWN - interrupted by SIGTERM while preparing"),
        *((3, f"{target} {stage}: interrupted by SIGTERM (after # s)") for stage in NAMES),
    }
    assert answers & interrupted
    assert answers - interrupted <= {(whole.code, first(whole, server.port))}


IN_A_CALLBACK = """\
import os, signal, sys, weakref

class Thing:
    pass

def hook(frame, event, argument):
    if event == "return" and frame.f_code.co_name == "_on_signals":
        sys.setprofile(None)
        thing = Thing()
        seen = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        del thing

sys.setprofile(hook)
"""
"""Sends the process SIGTERM where Python has no use for an exception, and drops it."""


def test_a_signal_that_python_swallows(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(IN_A_CALLBACK)
    with ScriptedServer((Hang(),)).running() as server:
        done = plugin.run(*plugin.at(server.port), environment={"PYTHONPATH": str(tmp_path)})
    assert (done.code, done.stdout, done.stderr, server.connections) == (
        3,
        "SMTP UNKNOWN - interrupted by SIGTERM while preparing\n",
        "",
        0,
    )


def first(done: plugin.Outcome, port: int) -> str:
    """Return the first line, whichever stage was the slowest; without -v it is the only one."""
    if "\n| " not in done.stdout:
        assert done.stdout.count("\n") == 1
    return masking.unraced(done.line.replace(str(port), "PORT"))


def test_interrupted_while_taking_leave() -> None:
    with ScriptedServer((BANNER, *HELO, QUIT[0], Hang())).running() as server:
        process = subprocess.Popen([plugin.SCRIPT, *plugin.at(server.port)], stdout=subprocess.PIPE)
        while len(server.received) < 2 and process.poll() is None:
            time.sleep(0.01)
        process.terminate()
        stdout, _ = process.communicate(timeout=5)
    line = masking.timeless(stdout.decode().partition(" | ")[0])
    assert (process.returncode, line) == (
        3,
        f"SMTP UNKNOWN - 127.0.0.1:{server.port} quit: interrupted by SIGTERM (after # s)",
    )


def test_stopped_and_continued_past_its_deadline() -> None:
    """What came while the process was stopped has come in time."""
    with ScriptedServer((Sleep(0.3), BANNER, *HELO, *QUIT)).running() as server:
        process = subprocess.Popen(
            [plugin.SCRIPT, *plugin.at(server.port), "-t", "0.6"], stdout=subprocess.PIPE
        )
        while not server.connections and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.1)  # for the connection's other end to see that it stands
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.8)
        process.send_signal(signal.SIGCONT)
        stdout, _ = process.communicate(timeout=5)
    # The banner is not blamed; what would have come after the deadline is.
    assert re.findall(r"(\w+)=", stdout.decode().partition(" | ")[2]) == [
        "time",
        "connect",
        "banner",
    ]
    assert process.returncode == 2
