"""``--checks FILE``: each line a check of its own, and a line about the whole."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dns
import pytest

from tests import plugin, sweep
from tests.masking import masked, timeless
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.roundtrip import SENDING, WHOLE, named
from tests.servers.scripted import Expect, Hang, ScriptedServer

WELL = (BANNER, *HELO, *QUIT)
HEAD = "SMTP OK - 127.0.0.1:{} answered in # s (slowest: "


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a name that is short enough to be shown as it is."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def wrong(*arguments: str) -> str:
    """Return what the plugin says of a run that it does not begin."""
    done = plugin.run(*arguments)
    assert (done.code, done.stderr) == (3, "")
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--at-once", "3", "-H", "x"), "--at-once: needs --checks FILE"),
        (("--spread", "3", "-H", "x"), "--spread: needs --checks FILE"),
        (("--checks", "FILE", "--at-once", "0"), "--at-once: '0' is not a number of sessions"),
        (("--checks", "FILE", "--at-once", "x"), "--at-once: 'x' is not a number of sessions"),
        (
            ("--checks", "FILE", "--spread", "-1"),
            "--spread: '-1' is not a number of seconds up to 86400",
        ),
        (
            ("--checks", "FILE", "--spread", "86401"),
            "--spread: '86401' is not a number of seconds up to 86400",
        ),
        (
            ("--checks", "FILE", "--output-host", "x"),
            "--output-host: has no effect with --checks, where each line names its own",
        ),
        (
            ("--checks", "FILE", "--output-service", "x"),
            "--output-service: has no effect with --checks, where each line names its own",
        ),
        (("--checks", "FILE", "--checks", "FILE"), "--checks: takes one FILE"),
        (
            ("--checks", "FILE", "--output-format", "nosuch"),
            "--output-format: 'nosuch' is not one of text, json, nagios, nsca, checkmk, "
            "openmetrics, icinga2",
        ),
        (("--checks", "FILE", "--nosuch"), "unknown option '--nosuch'"),
        (
            ("--checks", "FOLDER/none"),
            "--checks: cannot read 'FOLDER/none': No such file or directory",
        ),
        (("--checks", ""), "--checks: cannot read '': No such file or directory"),
        (("--checks", "FOLDER"), "--checks: cannot read 'FOLDER': Is a directory"),
        (("--checks", "FOLDER/fifo"), "--checks: 'FOLDER/fifo' is not a regular file"),
        (("--checks", "/dev/zero"), "--checks: '/dev/zero' is not a regular file"),
        (("--checks", "FOLDER/empty"), "--checks: 'FOLDER/empty' contains no check"),
        (("--checks", "FOLDER/large"), "--checks: 'FOLDER/large' is larger than 16777216 bytes"),
        (("--checks", "-"), "--checks: standard input contains no check"),
    ],
)
def test_usage(arguments: tuple[str, ...], problem: str, folder: Path) -> None:
    (folder / "checks").write_text("a;S;-H 127.0.0.1 -p 1\n")
    (folder / "empty").write_text("# nothing\n\n")
    os.mkfifo(folder / "fifo")
    with open(folder / "large", "wb") as large:
        large.truncate(17 * 1024 * 1024)

    def placed(text: str) -> str:
        return text.replace("FILE", str(folder / "checks")).replace("FOLDER", str(folder))

    given = [placed(one) for one in arguments]
    if "needs" not in problem and "takes one" not in problem:
        problem = placed(problem)
    assert wrong(*given) == f"SMTP UNKNOWN - {problem}\n"


def test_a_file_that_may_not_be_read(folder: Path) -> None:
    path = folder / "checks"
    path.write_text("a;S;-H 127.0.0.1\n")
    path.chmod(0)
    unprivileged = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
    prefix: tuple[str, ...] = unprivileged if os.getuid() == 0 else ()
    done = plugin.run("--checks", str(path), prefix=prefix)
    assert (done.code, done.stdout) == (
        3,
        f"SMTP UNKNOWN - --checks: cannot read '{path}': Permission denied\n",
    )


RUN = "is for the whole run, not for one of its checks"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("-H 127.0.0.1 -w abc", "-w: 'abc' is not a threshold range"),
        ("", "no host given, use -H HOST (try --help)"),
        ("-H 127.0.0.1 --checks x", f"--checks: {RUN}"),
        ("-H 127.0.0.1 --at-once 3", f"--at-once: {RUN}"),
        ("-H 127.0.0.1 --spread 3", f"--spread: {RUN}"),
        ("-H 127.0.0.1 --output-format json", f"--output-format: {RUN}"),
        ("-H 127.0.0.1 --output-to x", f"--output-to: {RUN}"),
        ("-H 127.0.0.1 --output-host x", f"--output-host: {RUN}"),
        ("-V", f"-V: {RUN}"),
        ("-h", f"-h: {RUN}"),
        ("--explain x", f"--explain: {RUN}"),
        ("--print-definition nagios", f"--print-definition: {RUN}"),
        ("-H 127.0.0.1 --nosuch", "unknown option '--nosuch'"),
        ("-H 127.0.0.1 -c auth=1", "-c: this run does not measure auth"),
        (
            "-H 127.0.0.1 -S --ca-file /nosuch",
            "--ca-file: cannot read '/nosuch': No such file or directory",
        ),
        (
            "-H 127.0.0.1 -U x --authpass-file /nosuch",
            "--authpass-file: cannot read '/nosuch': No such file or directory",
        ),
        (
            "-H 127.0.0.1 --extra-opts=x@/nosuch",
            "--extra-opts: cannot read '/nosuch': No such file or directory",
        ),
        ("-H http://x", "-H: 'http://x' is a URL, use -H x"),
    ],
)
def test_a_line_that_is_wrong_is_its_services_unknown(
    arguments: str, problem: str, tmp_path: Path
) -> None:
    with ScriptedServer(WELL).running() as server:
        well = sweep.line("well", *plugin.at(server.port))
        done = sweep.run(tmp_path, [well, f"host;S;{arguments}"])
    said = f"line 2 of '{tmp_path}/checks': {problem}"
    assert (done.answers["well"]["exit_code"], done.answers["S"]["exit_code"]) == (0, 3)
    assert done.status("S") == f"SMTP UNKNOWN - {said}"
    assert done.outcome.code == 3
    assert done.whole == (
        f"SMTP UNKNOWN - 1 of 2 checks OK, 1 UNKNOWN: host S {said} "
        "| checks=2 ok=1 warning=0 critical=0 unknown=1 time=#s"
    )


def test_the_line_about_the_whole(tmp_path: Path) -> None:
    with ExitStack() as stack:
        well, refusing, busy = (
            stack.enter_context(ScriptedServer(script).running()).port
            for script in (
                WELL,
                (b"554 5.7.1 No\r\n", *QUIT),
                (b"421 4.3.2 Later\r\n", *QUIT),
            )
        )
        lines = [
            "# all kinds",
            "nonsense",
            sweep.line("busy", *plugin.at(busy)),
            sweep.line("well", *plugin.at(well)),
            sweep.line("slow", *plugin.at(well), "-w", "0:0"),
            sweep.line("refusing", *plugin.at(refusing)),
            sweep.line("closed", "-H", "127.0.0.1", "-p", "1"),
            ";unnamed host;-H 127.0.0.1 -p 1",
        ]
        done = sweep.run(tmp_path, lines, "-v")
    status, *rest, perfdata = done.outcome.stdout.splitlines()
    problems = [
        "host refusing banner: 554 5.7.1 No (after # s)",
        "host closed connect: connection refused (after # s), cause: refused",
        "unnamed host connect: connection refused (after # s), cause: refused",
        "host busy banner: 421 4.3.2 Later (after # s)",
        "host slow answered in # s (limit 0 s, slowest: #)",
        f"line 2 of '{tmp_path}/checks' is not HOST;SERVICE;ARGUMENTS",
    ]
    marks = ("CRITICAL", "CRITICAL", "CRITICAL", "WARNING", "WARNING", "UNKNOWN")
    masked = [re.sub(r"slowest: \w+ # s", "slowest: #", timeless(one)) for one in (status, *rest)]
    counted = "1 of 7 checks OK, 3 CRITICAL, 2 WARNING, 1 UNKNOWN"
    assert masked == [
        f"SMTP CRITICAL - {counted}: {'; '.join(problems)}",
        *(f"[{mark}] {problem}" for mark, problem in zip(marks, problems)),
    ]
    assert timeless(perfdata) == "| checks=7 ok=1 warning=2 critical=3 unknown=1 time=#s"
    assert done.outcome.code == 2


def test_more_problems_than_a_line_has_room_for(tmp_path: Path) -> None:
    lines = [f"mx{number}.example;{'S' * 60};-H 127.0.0.1 -p 1" for number in range(40)]
    done = sweep.run(tmp_path, lines)
    said = done.outcome.stdout.partition(" | ")[0]
    assert 850 < len(said) <= 1000
    shown = said.count("connection refused")
    assert said.endswith(f"cause: refused; and {40 - shown} more")


def test_standard_input_and_every_line_end(tmp_path: Path) -> None:
    with ScriptedServer(WELL).running() as server:
        line = f"a;S;{' '.join(plugin.at(server.port))}"
        done = subprocess.run(
            [plugin.SCRIPT, "--checks", "-"],
            input=f"\ufeff{line}\r\n\r\n# x\r\n{line.replace('S', 'T')}".encode(),
            capture_output=True,
            check=False,
        )
    assert (done.returncode, timeless(done.stdout.decode()), done.stderr) == (
        0,
        "SMTP OK - 2 of 2 checks OK | checks=2 ok=2 warning=0 critical=0 unknown=0 time=#s\n",
        b"",
    )


def test_without_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{plugin.SCRIPT} --checks - <&-"], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (
        3,
        b"SMTP UNKNOWN - --checks: standard input cannot be read\n",
    )


def test_what_stands_beside_holds_for_every_line(tmp_path: Path) -> None:
    script = (BANNER, Expect(b"HELO me.example"), b"250 mx.example\r\n", *QUIT)
    with ScriptedServer(script).running() as server:
        lines = [sweep.line("S"), sweep.line("T", "-w", "0:0"), sweep.line("U", "-c", "helo=0:0")]
        done = sweep.run(tmp_path, lines, *plugin.at(server.port), "-t", "7", "-w", "helo=5")
    assert server.faults == []
    assert [done.answers[one]["exit_code"] for one in "STU"] == [0, 1, 2]
    assert timeless(done.answers["T"]["perfdata"][0]) == "time=#s;0;;0;7"
    helo = [timeless(done.answers[one]["perfdata"][3]) for one in "TU"]
    assert helo == ["helo=#s;5;;0", "helo=#s;5;0;0"]


def test_equal_questions_share_a_session(tmp_path: Path) -> None:
    with ScriptedServer(WELL).running() as server:
        at = plugin.at(server.port)
        lines = [
            sweep.line("first", *at),
            sweep.line("same", *at, "-w", "0:0", "-v"),
            sweep.line("other words", *at[2:], *at[:2], "--tempfail", "ok"),
            sweep.line("another question", *at, "-t", "9"),
        ]
        done = sweep.run(tmp_path, lines)
        assert server.connections == 2
    assert [one["exit_code"] for one in done.answers.values()] != [0, 0, 0, 0]
    codes = {name: one["exit_code"] for name, one in done.answers.items()}
    assert codes == {"first": 0, "same": 1, "other words": 0, "another question": 0}
    taken = [one["targets"][0]["seconds"] for one in done.answers.values()]
    assert len(set(taken)) == 2


def test_equal_round_trips_share_a_message(tmp_path: Path) -> None:
    with ScriptedServer(SENDING).running() as smtp:
        box = ScriptedServer(WHOLE, edit=named(smtp))
        with box.running():
            mailbox = f"imap://me@127.0.0.1:{box.port}"
            asked = (*plugin.at(smtp.port), "--rcpt", "a@x", "--deliver", "--mailbox", mailbox)
            lines = [
                sweep.line("first", *asked, "--auth-insecure"),
                sweep.line("same", *asked, "--auth-insecure", "-w", "0:0"),
            ]
            password = {"CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret"}
            done = sweep.run(tmp_path, lines, environment=password)
        assert (smtp.connections, box.connections) == (1, 1)
    assert {name: one["exit_code"] for name, one in done.answers.items()} == {"first": 0, "same": 1}


@pytest.mark.parametrize(("host", "code"), [("host", 0), ("", 2)])
def test_all_answers_on_standard_output(host: str, code: int, tmp_path: Path) -> None:
    """There is no line about the whole: the exit code says that one has no place there."""
    path = tmp_path / "checks"
    with ScriptedServer(WELL).running() as server:
        given = " ".join(plugin.at(server.port))
        path.write_text(f"{host};S;{given}\nhost;T;{given}\n")
        done = plugin.run("--checks", str(path), "--output-format", "nsca")
    said = (
        f"0\tSMTP OK - 127.0.0.1:{server.port} answered in # s (slowest: # # s)|"
        "time=#s;;;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0\n"
    )
    named = ("S", "T") if host else ("T",)
    told = "\x17".join(f"host\t{one}\t{said}" for one in named)
    assert (done.code, masked(done.stdout), done.stderr) == (code, told, "")


def test_answers_that_get_lost(folder: Path) -> None:
    path, pipe = folder / "checks", folder / "pipe"
    os.mkfifo(pipe)
    with ScriptedServer(WELL).running() as server:
        path.write_text("\n".join(sweep.line(one, *plugin.at(server.port)) for one in "ST"))
        given = ("--output-format", "nagios", "--output-to", str(pipe))
        done = plugin.run("--checks", str(path), *given)
    assert (done.code, timeless(done.stdout), done.stderr) == (
        2,
        "SMTP CRITICAL - 2 of 2 checks OK: output: 2 results lost, cannot write "
        f"'{pipe}': nobody reads it "
        "| checks=2 ok=2 warning=0 critical=0 unknown=0 time=#s\n",
        "",
    )


class Crowded:
    """A server that is slow, and notes how many it serves at a time."""

    def __init__(self, seconds: float) -> None:
        self.most = self.now = self.total = 0
        self._seconds = seconds
        self._lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        with self._lock:
            self.now += 1
            self.total += 1
            self.most = max(self.most, self.now)
        try:
            connection.sendall(b"220 mx.example\r\n")
            connection.recv(1024)
            time.sleep(self._seconds)
            with self._lock:
                self.now -= 1
            connection.sendall(b"250 mx.example\r\n")
            connection.recv(1024)
            connection.sendall(b"221 bye\r\n")
        except OSError:
            pass
        connection.close()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()


def crowded(
    folder: Path, hosts: list[str], seconds: float, *arguments: str
) -> tuple[Crowded, sweep.Sweep]:
    """Check a server at these addresses."""
    server = Crowded(seconds)
    with socket.create_server(("", 0), backlog=128) as listener:
        threading.Thread(target=server.accept, args=(listener,), daemon=True).start()
        port = str(listener.getsockname()[1])
        lines = [
            sweep.line(f"S{number}", "-H", host, "-p", port, "-F", f"me{number}.example")
            for number, host in enumerate(hosts)
        ]
        done = sweep.run(folder, lines, *arguments)
        listener.shutdown(socket.SHUT_RDWR)
    return server, done


def test_two_sessions_at_one_address_and_who_waits_does_not_know(tmp_path: Path) -> None:
    """Ten sessions of 0.2 s, two at a time, take a second: more than each has."""
    server, done = crowded(tmp_path, ["127.0.0.1"] * 10, 0.2, "-t", "0.6")
    assert (server.most, server.total) == (2, 10)
    assert done.outcome.code == 0
    assert done.outcome.times()["time"] > 0.9
    taken = [one["targets"][0]["seconds"] for one in done.answers.values()]
    assert min(taken) > 0.19
    assert max(taken) < 0.5


def test_who_waits_holds_up_nobody_else(tmp_path: Path) -> None:
    hosts = ["127.0.0.1"] * 8 + [f"127.0.0.{number}" for number in range(2, 10)]
    server, done = crowded(tmp_path, hosts, 0.2, "--at-once", "4")
    assert (server.most, server.total) == (4, 16)
    assert done.outcome.code == 0
    assert done.outcome.times()["time"] < 1.2


def test_at_once(tmp_path: Path) -> None:
    hosts = [f"127.0.0.{number}" for number in range(1, 13)]
    server, done = crowded(tmp_path, hosts, 0.1, "--at-once", "3")
    assert (server.most, server.total, done.outcome.code) == (3, 12, 0)


def test_at_once_counts_the_hosts_of_one_check(tmp_path: Path) -> None:
    server = Crowded(0.1)
    with socket.create_server(("", 0), backlog=128) as listener:
        threading.Thread(target=server.accept, args=(listener,), daemon=True).start()
        port = str(listener.getsockname()[1])
        hosts = [word for number in range(1, 10) for word in ("-H", f"127.0.0.{number}")]
        done = sweep.run(tmp_path, [sweep.line("S", *hosts, "-p", port)], "--at-once", "3")
        listener.shutdown(socket.SHUT_RDWR)
    assert (server.most, server.total, done.outcome.code) == (3, 9, 0)
    assert "9 of 9 healthy" in done.status("S")


def test_spread(tmp_path: Path) -> None:
    moments: list[float] = []
    with ScriptedServer(WELL).running() as server:
        at = plugin.at(server.port)
        lines = [sweep.line(f"S{number}", *at, "-t", str(5 + number)) for number in range(5)]
        done = sweep.run(tmp_path, lines, "--spread", "1")
        moments += [moment for step, moment in server.moments if step == "Expect"]
    assert done.outcome.code == 0
    assert 0.8 <= done.outcome.times()["time"] < 1.5


def test_a_deadline_is_each_ones_own(tmp_path: Path) -> None:
    with ExitStack() as stack:
        silent, well = (
            stack.enter_context(ScriptedServer(script).running()).port
            for script in ((Hang(),), WELL)
        )
        lines = [
            sweep.line("short", *plugin.at(silent), "-t", "0.3"),
            sweep.line("long", *plugin.at(silent), "-t", "0.7:warning"),
            sweep.line("well", *plugin.at(well), "-t", "0.7"),
        ]
        done = sweep.run(tmp_path, lines)
    assert [done.answers[one]["exit_code"] for one in ("short", "long", "well")] == [2, 1, 0]
    assert done.status("short").endswith(" banner: no answer within 0.3 s, cause: silent")
    assert done.status("long").endswith(" banner: no answer within 0.7 s, cause: silent")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    path, to = tmp_path / "checks", tmp_path / "answers"
    with ExitStack() as stack:
        well = stack.enter_context(ScriptedServer(WELL).running())
        hanging = stack.enter_context(ScriptedServer((BANNER, HELO[0], Hang())).running())
        lines = [
            sweep.line("done", *plugin.at(well.port)),
            *(
                sweep.line(f"at it {one}", *plugin.at(hanging.port), "-t", f"1{one}")
                for one in "12"
            ),
            sweep.line("waits", *plugin.at(hanging.port), "-t", "13"),
            sweep.line("later", *plugin.at(well.port), "-t", "14"),
        ]
        path.write_text("\n".join(lines))
        process = subprocess.Popen(
            [
                *(plugin.SCRIPT, "--checks", path, "--output-format", "nsca", "--output-to", to),
                *("--at-once", "2", "--spread", "0"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        while len(hanging.received) < 2 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=5)
    told = dict(one.split("\t")[1:4:2] for one in to.read_text().splitlines())
    told = {name: one.partition("|")[0].rstrip() for name, one in told.items()}
    at_it = f"127.0.0.1:{hanging.port} helo: interrupted by {number.name} (after # s)"
    assert {name: timeless(one) for name, one in told.items()} == {
        "done": timeless(told["done"]),
        "at it 1": f"SMTP UNKNOWN - {at_it}",
        "at it 2": f"SMTP UNKNOWN - {at_it}",
        "waits": f"SMTP UNKNOWN - interrupted by {number.name} before it began",
        "later": f"SMTP UNKNOWN - interrupted by {number.name} before it began",
    }
    assert told["done"].startswith("SMTP OK - ")
    assert (process.returncode, stderr) == (3, b"")
    assert stdout.startswith(b"SMTP UNKNOWN - 1 of 5 checks OK, 4 UNKNOWN: host at it 1 helo: ")


def test_a_bug_in_one_is_its_unknown(tmp_path: Path) -> None:
    """A package that has a bug of its own, in the middle of a session, and one while preparing."""
    package = tmp_path / "package" / "dns"
    shutil.copytree(Path(dns.__file__).parent, package)
    for module, bug in (
        ("message", "def make_query(*given, **more): raise ValueError('wrong')"),
        ("resolver", "class Resolver: nameservers = property(lambda self: {}['odd'])"),
    ):
        with open(package / f"{module}.py", "a") as file:
            file.write(f"\n{bug}\n")
    with ScriptedServer(WELL).running() as server:
        lines = [
            sweep.line("well", *plugin.at(server.port)),
            sweep.line("session", "-H", "mx.example", "--nameserver", "127.0.0.1"),
            sweep.line("preparing", "-H", "mx.example", "--mx"),
        ]
        done = sweep.run(tmp_path, lines, environment={"PYTHONPATH": str(package.parent)})
    where = r"internal error: (ValueError|KeyError) at \w+.py:\d+: '?(wrong|odd)'?"
    assert done.answers["well"]["exit_code"] == 0
    assert re.fullmatch(f"SMTP UNKNOWN - {where}", done.status("session"))
    assert re.fullmatch(
        f"SMTP UNKNOWN - line 3 of '{tmp_path}/checks': {where}", done.status("preparing")
    )


def test_more_sessions_than_files_may_be_open(tmp_path: Path) -> None:
    path = tmp_path / "checks"
    path.write_text("a;S;-H 127.0.0.1 -p 1\n")
    limited = ("prlimit", "--nofile=64:64", "--")
    done = plugin.run("--checks", str(path), prefix=limited)
    assert (done.code, done.stdout) == (
        3,
        "SMTP UNKNOWN - --at-once: 100 sessions are too many for 64 open files (ulimit -n), "
        "32 would fit\n",
    )
    done = plugin.run("--checks", str(path), "--at-once", "32", prefix=limited)
    assert done.code == 2


def test_nothing_of_it_is_loaded_for_a_check_alone() -> None:
    """What the file needs is loaded by those who have one."""
    code = (
        "import sys, os\n"
        "def leave(code): print(*(n for n in sys.modules if n.endswith(('sweep', 'turns', "
        "'checks', 'checks_file'))), file=sys.__stderr__); raise SystemExit\n"
        "os._exit = leave\n"
        "from check_smtp_health import cli; cli.main()"
    )
    done = subprocess.run(
        [
            "python3" if not Path(plugin.SCRIPT).exists() else str(plugin.SCRIPT.parent / "python"),
            "-c",
            code,
            "-H",
            "127.0.0.1",
            "-p",
            "1",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "\n"
