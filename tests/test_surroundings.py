"""Odd surroundings: files, limits, clocks and environments that a process can find itself in."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import check_smtp_health
from tests import needs, plugin
from tests.servers.authority import Authority, after
from tests.servers.catalogue import BANNER, EHLO, HELO, QUIT
from tests.servers.loopback import free_port
from tests.servers.scripted import Expect, Handshake, Hang, Reset, ScriptedServer, Sleep, Step

HEALTHY = (Sleep(0.05), BANNER, *HELO, *QUIT)

GONE = ("sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh")
"""Runs a command in a directory that is no more."""

READ_ONLY = """\
set -e
for folder in / /tmp /var/tmp /dev/shm /run "$PWD"; do
    if mountpoint -q "$folder"; then mount -o remount,bind,ro "$folder"; fi
done
if touch /tmp/x "$PWD/x" 2>/dev/null; then exit 99; fi
exec "$@"
"""

UNPRIVILEGED = ("--bounding-set=-dac_override,-dac_read_search",)
"""Root without these may read no more than another user."""

NOBODY = (
    *("--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=+dac_override,+dac_read_search", "--ambient-caps=+dac_override,+dac_read_search"),
)
"""A user whom limits hold, as they do not hold root; wherever the tests are, it may read them."""


def arguments(server: ScriptedServer, *more: str) -> tuple[str, ...]:
    """Return a command line for that server."""
    return ("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-t", "2", *more)


def is_well(done: plugin.Outcome, server: ScriptedServer) -> bool:
    """Whether the plugin said in full what a healthy server is worth."""
    return (done.code, done.line, done.perfdata, done.stderr) == (
        0,
        f"SMTP OK - 127.0.0.1:{server.port} answered in # s (slowest: # # s)",
        "time=#s;;;0;2 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0",
        "",
    )


@pytest.mark.parametrize(
    "prefix",
    [
        ("env", "-i"),
        ("env", "-u", "HOME", "-u", "PATH", "-u", "TMPDIR", "-u", "LANG"),
        ("env", "HOME=/nonexistent", "TMPDIR=/nonexistent", "LC_ALL=C", "TZ=nowhere"),
        ("env", "PYTHONDEVMODE=1", "PYTHONWARNINGS=error"),
        ("prlimit", "--fsize=0"),
        ("env", "--ignore-signal=PIPE,CHLD,HUP"),
        GONE,
    ],
    ids=["empty", "unset", "wrong", "strict", "no files", "signals ignored", "directory gone"],
)
@pytest.mark.usefixtures("uncovered")
def test_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    with ScriptedServer(HEALTHY).running() as server:
        there = (needs.program(prefix[0]), *prefix[1:])
        done = plugin.run(*arguments(server), prefix=there)
    assert is_well(done, server)


@pytest.mark.usefixtures("uncovered")
def test_as_a_module_in_a_directory_that_is_gone(tmp_path: Path) -> None:
    with ScriptedServer(HEALTHY).running() as server:
        done = subprocess.run(
            [*GONE, sys.executable, "-m", "check_smtp_health", *arguments(server)],
            capture_output=True,
            cwd=tmp_path,
            check=False,
        )
    assert (done.returncode, done.stdout[:10], done.stderr) == (0, b"SMTP OK - ", b"")


@pytest.mark.usefixtures("uncovered")
def test_a_user_whom_the_system_does_not_know() -> None:
    needs.root()
    who = (needs.program("setpriv"), "--reuid=54321", "--regid=54321", *NOBODY[2:])
    with ScriptedServer(HEALTHY).running() as server:
        assert is_well(plugin.run(*arguments(server), prefix=who), server)


@pytest.mark.usefixtures("uncovered")
def test_a_file_system_that_is_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs.root()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TMPDIR", raising=False)
    prefix = (needs.program("unshare"), "--mount", "sh", "-c", READ_ONLY, "sh")
    with ScriptedServer(HEALTHY).running() as server:
        done = plugin.run(*arguments(server), prefix=prefix)
    assert is_well(done, server)


@pytest.mark.parametrize(
    ("mode", "problem"),
    [
        (0o640, ""),
        (0o000, "cannot read 'password': Permission denied"),
        (0o604, "'password' can be read by everyone, run chmod o-r on it"),
        (None, "'password' can be read by everyone, run chmod o-r on it"),
    ],
    ids=["for the group", "for nobody", "for everyone", "a link to one for everyone"],
)
@pytest.mark.usefixtures("uncovered")
def test_password_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int | None, problem: str
) -> None:
    needs.root()
    monkeypatch.chdir(tmp_path)
    where = Path("password" if mode is not None else "linked")
    where.write_text("s3cret")
    where.chmod(mode if mode is not None else 0o644)
    if mode is None:
        Path("password").symlink_to(where)
    offer = b"250-mx.example\r\n250 AUTH PLAIN\r\n"
    script = (Sleep(0.05), BANNER, EHLO, offer, Expect(b"AUTH"), b"235 in\r\n", *QUIT)
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *arguments(server, "-U", "me", "--auth-insecure", "--authpass-file", "password"),
            prefix=(needs.program("setpriv"), *UNPRIVILEGED),
        )
    if problem:
        assert (done.code, done.stdout, done.stderr, server.connections) == (
            *(3, f"SMTP UNKNOWN - --authpass-file: {problem}\n", ""),
            0,
        )
    else:
        line = (
            f"SMTP OK - 127.0.0.1:{server.port} answered in # s (slowest: # # s), "
            "logged in by PLAIN"
        )
        assert (done.code, done.line, done.stderr) == (0, line, "")


def faketime(stamp: Path) -> dict[str, str]:
    """Return the environment in which the wall clock differs by what a file says.

    The monotonic clock stays what it is, as it does when somebody sets a real machine's clock.
    """
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        needs.leave_out("needs libfaketime")
    names = {"LD_PRELOAD": str(found[0]), "FAKETIME_TIMESTAMP_FILE": str(stamp)}
    return {**names, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.parametrize(
    ("jump", "code", "said"),
    [
        ("+60d", 0, f"expires in 30 days, {after(90):%Y-%m-%d}"),
        ("-70d", 2, f"is not valid before {after(-60):%Y-%m-%d}, in 9 days"),
    ],
)
def test_a_clock_that_jumps(tmp_path: Path, jump: str, code: int, said: str) -> None:
    """The certificate is judged by the new date; what takes 0.3 s takes 0.3 s."""
    authority = Authority.made(tmp_path, "good")
    stamp = tmp_path / "stamp"
    stamp.write_text("+0")
    context = authority.serving()

    class Script:
        """The clock jumps ahead of the banner."""

        def __iter__(self) -> Iterator[Step]:
            yield Sleep(0.3)
            stamp.write_text(jump)
            yield from (BANNER, EHLO, b"250-mx\r\n250 STARTTLS\r\n", Expect(b"STARTTLS"))
            yield from (b"220 go\r\n", Handshake(context), EHLO, b"250 mx\r\n", *QUIT)

    with ScriptedServer(Script()).running() as server:
        done = plugin.run(
            *arguments(server, "-S", "--sni", "mx.example", "--ca-file", authority.path),
            environment=faketime(stamp),
        )
    good = f"SMTP OK - 127.0.0.1:{server.port} answered in # s (slowest: # # s), TLS 1.3, "
    bad = f"SMTP CRITICAL - 127.0.0.1:{server.port} tls: "
    line = done.line if code == 0 else done.line.rpartition(" (after")[0]
    assert (done.code, line, done.stderr) == (
        code,
        f"{bad if code else good}certificate {said}",
        "",
    )
    # The server may begin to wait before we have looked whether it has accepted.
    assert done.times()["banner"] <= done.times()["time"]
    assert 0.3 <= done.times()["time"] < 0.8


def test_a_clock_that_jumps_moves_no_deadline(tmp_path: Path) -> None:
    stamp = tmp_path / "stamp"
    stamp.write_text("+0")

    def script() -> Iterator[Step]:
        yield from (BANNER, HELO[0])
        stamp.write_text("-1d")
        yield Hang()

    with ScriptedServer(script()).running() as server:
        done = plugin.run(*arguments(server, "-t", "0.5"), environment=faketime(stamp))
    assert (done.code, done.line, done.stderr) == (
        2,
        f"SMTP CRITICAL - 127.0.0.1:{server.port} helo: no answer within 0.5 s, cause: silent",
        "",
    )
    assert 0.5 < done.seconds < 0.5 + plugin.SLACK


def bare(*folders: str) -> list[str]:
    """Return a command that runs the plugin with no more of Python's surroundings than these."""
    paths = [str(Path(check_smtp_health.__file__).parents[1]), *folders]
    script = f"import sys; sys.path += {paths!r}; from check_smtp_health.cli import main; main()"
    return [sys.executable, "-I", "-S", "-X", "faulthandler", "-c", script]


def test_nagiosplugin_is_not_installed() -> None:
    done = subprocess.run(
        [*bare(), "-H", "127.0.0.1", "-p", str(free_port())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        3,
        "SMTP UNKNOWN - this program needs the library nagiosplugin: "
        "install python3-nagiosplugin, or nagiosplugin with pip\n",
        "",
    )


def test_a_package_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "nagiosplugin.py").write_text("from os import nothing|here".replace("|", "_"))
    done = plugin.run("-H", "127.0.0.1", environment={"PYTHONPATH": str(tmp_path)})
    assert (done.code, done.stderr) == (3, "")
    said = "a Python package cannot be loaded: cannot import name 'nothing_here' from 'os' ("
    assert done.stdout.startswith(f"SMTP UNKNOWN - {said}")


def test_a_library_that_has_something_to_say(tmp_path: Path) -> None:
    """What it logs, warns of or prints to standard error is lost, not shown."""
    (tmp_path / "nagiosplugin.py").write_text(
        "import logging, sys, warnings\n"
        "logging.error('one')\n"
        "warnings.warn('two')\n"
        "print('three', file=sys.stderr)\n"
        "raise KeyError('four')\n"
    )
    done = plugin.run("-H", "127.0.0.1", environment={"PYTHONPATH": str(tmp_path)})
    assert (done.code, done.stdout, done.stderr) == (
        3,
        "SMTP UNKNOWN - internal error: KeyError at nagiosplugin.py:5: 'four'\n",
        "",
    )


@pytest.mark.usefixtures("uncovered")
def test_too_few_threads() -> None:
    """A name is resolved in one; everything else goes without."""
    needs.root()
    prefix = (needs.program("setpriv"), *NOBODY, "prlimit", "--nproc=1")
    with ScriptedServer(HEALTHY).running() as server:
        where = ("-p", str(server.port), "-F", "me.example", "-t", "2")
        named = plugin.run("-H", "localhost", *where, prefix=prefix)
        done = plugin.run("-H", "127.0.0.1", *where, prefix=prefix)
    assert (named.code, named.line, named.perfdata, named.stderr) == (
        3,
        f"SMTP UNKNOWN - localhost:{server.port} resolve: "
        "this host cannot start another thread (after # s)",
        "",
        "",
    )
    assert is_well(done, server)


def test_too_little_memory(tmp_path: Path) -> None:
    """From where Python itself can start, whatever it takes, there is one line and a good code."""
    authority = Authority.made(tmp_path, "good")
    command = bare(sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))

    def run(size: int, *more: str) -> subprocess.CompletedProcess[str]:
        limit = (needs.program("prlimit"), f"--as={size << 20}")
        return subprocess.run(
            [*limit, *command, *more], capture_output=True, text=True, check=False, timeout=20
        )

    def starts(size: int) -> bool:
        try:
            return run(size, "-V").returncode == 3
        except subprocess.TimeoutExpired:
            return False  # Python has been seen to try for ever to import its own importer

    least = 8
    while not starts(least):
        least += 1
    server = ScriptedServer((Handshake(authority.serving()), Sleep(0.05), *HEALTHY))
    tls = ("--ssl", "--sni", "mx.example", "--ca-file", authority.path, "-U", "me", "-P", "x")
    codes = []
    with server.running():
        # What Python needs to start differs from run to run by one or two.
        for size in range(least + 3, least + 99, 2):
            done = run(size, *arguments(server, *tls))
            if done.returncode in (-signal.SIGSEGV, -signal.SIGABRT):
                # Some builds of Python crash within their own import; nothing of ours may.
                assert re.search(r"recent call first\):\n  File \"<frozen importlib", done.stderr)
                continue
            assert (done.stderr, done.stdout.count("\n")) == ("", 1)
            assert done.stdout.startswith("SMTP ")
            codes.append(done.returncode)
            if done.returncode == 2:  # it does not offer AUTH, and there was room to find that out
                break
    assert codes == [3] * (len(codes) - 1) + [2]
    assert len(codes) > 1


OPEN = """\
paths = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
found = [os.readlink(path) for path in paths if os.path.lexists(path)]
"""
"""Finds what files are open."""

CIRCLES = """\
import gc, types
gc.set_debug(gc.DEBUG_SAVEALL)
gc.collect()
found = [repr(one) for one in gc.garbage if isinstance(one, types.FrameType)]
"""
"""Finds the frames that nothing but circles keeps."""


def left_by(
    folder: Path, finding: str, server: ScriptedServer, *more: str
) -> tuple[int, str, list[str]]:
    """Check a server; return exit code, standard error, and what is found when the run ends."""
    listing = folder / "listing"
    function = "".join(f"    {line}\n" for line in finding.splitlines())
    (folder / "sitecustomize.py").write_text(
        f"import os\nleave = os._exit\ndef listing(code):\n{function}"
        f"    open({str(listing)!r}, 'w').write('\\n'.join(found))\n"
        "    leave(code)\n"
        "os._exit = listing\n"
    )
    done = plugin.run(*arguments(server, *more), environment={"PYTHONPATH": str(folder)})
    return done.code, done.stderr, listing.read_text().splitlines()


@pytest.mark.usefixtures("uncovered")
def test_nothing_stays_open(tmp_path: Path) -> None:
    """When a run ends, of all that it opened there is the end of a pipe that wakes its driver."""
    authority = Authority.made(tmp_path, "good")
    script = (Handshake(authority.serving()), *HEALTHY)
    trust = ("--ssl", "--sni", "mx.example", "--ca-file", authority.path)
    with ScriptedServer(script).running() as server:
        code, stderr, names = left_by(tmp_path, OPEN, server, *trust)
    kinds = sorted(re.sub(r":.*", "", name) for name in names)
    assert (code, stderr, kinds) == (0, "", ["/dev/null", "pipe", "pipe", "pipe"])


@pytest.mark.usefixtures("uncovered")
def test_nothing_is_left_to_be_collected(tmp_path: Path) -> None:
    """No run collects garbage: whatever a circle keeps, one of thousands of sessions would keep."""
    context = Authority.made(tmp_path, "good").serving()
    for script, more, code in (
        ((b"220-a\r\n22", Hang()), ("-t", "0.3"), 2),
        ((BANNER, *HELO, QUIT[0], Reset()), (), 0),
        ((Handshake(context), Hang()), ("--ssl", "--sni", "mx.example"), 2),  # which is not trusted
        ((b"554 no TLS\r\n", Hang()), ("--ssl",), 2),
    ):
        with ScriptedServer(script).running() as server:
            assert left_by(tmp_path, CIRCLES, server, *more) == (code, "", [])
