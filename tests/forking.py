"""Starts covered runs from a process that has coverage and the plugin loaded.

Loading them costs several times what most runs cost. For each run that process forks. What it forks
has arguments, environment, folder and standard files of its own, starts coverage, and goes through
the console script to the end of the interpreter. What a run loads, and in which order, is seen by
those that are not covered: they begin with an interpreter of their own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pickle
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.servers import namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from coverage import Coverage, CoverageData

    Arc = tuple[int, int]

LARGEST = 1 << 17
"""Octets of a request, arguments and environment, and of what is told of a run."""

MOST_FILES = 1024
"""Files that the process may have open, some for each run that has not ended."""


def is_possible(environment: Mapping[str, str]) -> bool:
    """Whether a run with this environment can be forked: it is covered, and its interpreter alike.

    What an interpreter reads when it starts cannot be changed later.
    """
    return bool(environment.get("COVERAGE_PROCESS_START")) and all(
        environment.get(name) == os.environ.get(name)
        for name in {*environment, *os.environ}
        if name.startswith(("PYTHON", "LC_", "LANG", "TZ", "LD_"))
    )


def begin() -> None:
    """Start the process that forks, before a thread does that is to give way to others."""
    if os.environ.get("COVERAGE_PROCESS_START"):
        _channel(os.getpid())


def run(
    script: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    timeout: float,
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a script of Python as ``subprocess.run`` would, with nothing on its standard input.

    ``prefix`` is a command that enters namespaces and runs another there.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    nice = os.getpriority(os.PRIO_PROCESS, 0)  # on Linux that of this thread
    with contextlib.ExitStack() as stack:
        inside = stack.enter_context(_standing(prefix)) if prefix else 0
        request = Request(nice, script, list(arguments), dict(environment), os.getcwd(), inside)
        ours, theirs = zip(*(_pipe(stack) for _ in range(3)))
        nothing = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, nothing)
        with _LOCK:
            socket.send_fds(
                _channel(os.getpid()), [json.dumps(request).encode()], [nothing, *theirs]
            )
        for end in theirs:
            os.close(end)
        status, stdout, stderr = _read(ours, time.monotonic() + timeout)
    process, _, code = status.partition(b" ")
    if not code:
        if process:
            os.kill(int(process), signal.SIGKILL)
        raise subprocess.TimeoutExpired([script, *arguments], timeout)
    return subprocess.CompletedProcess([script, *arguments], int(code), stdout, stderr)


_LOCK = threading.Lock()


@functools.cache
def _channel(_process: int) -> socket.socket:
    """Start the process that forks, one for each process of ours; return the way to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {**os.environ, "COVERED": os.environ["COVERAGE_PROCESS_START"]}
    del environment["COVERAGE_PROCESS_START"]
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forking"],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            env=environment,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # the last that is registered goes first, and ends the process
    return ours


@contextlib.contextmanager
def _standing(prefix: Sequence[str]) -> Iterator[int]:
    """Have a process stand where a command leads; return its number."""
    with subprocess.Popen([*prefix, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as there:
        assert there.stdin
        assert there.stdout
        there.stdin.write(b"\n")
        there.stdin.flush()
        assert there.stdout.readline() == b"\n"
        yield there.pid


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    return reading, writing


def _read(files: Sequence[int], until: float) -> list[bytes]:
    """Read all files to their ends, or until the moment has come."""
    parts: dict[int, bytes] = dict.fromkeys(files, b"")
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < until:
            for key, _ in selector.select(until - time.monotonic()):
                octets = os.read(key.fd, 1 << 16)
                parts[key.fd] += octets
                if not octets:
                    selector.unregister(key.fd)
    return list(parts.values())


def main() -> None:
    """Fork for each request that comes, until no more can come."""
    coverage = _warm_up()
    data = coverage.get_data()
    executed: defaultdict[str, set[Arc]] = defaultdict(set)
    told, tells = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.freeze()  # a collection in a fork would have the kernel copy each page that it looks at
    channel = socket.socket(fileno=os.dup(0))
    with selectors.DefaultSelector() as waiting:
        waiting.register(channel, selectors.EVENT_READ)
        waiting.register(told, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is told:
                    _take(told, executed)
                    continue
                if key.data is not None:
                    _tell_end(*key.data)
                    waiting.unregister(key.fd)
                    os.close(key.fd)
                    continue
                request, files, _, _ = socket.recv_fds(channel, LARGEST, 4)
                if not request:
                    _take(told, executed)
                    data.add_arcs(executed)
                    return
                process = os.fork()
                if process == 0:
                    _run(coverage, Request(*json.loads(request)), [*files, tells.fileno()])
                    return
                stdin, status, stdout, stderr = files
                os.write(status, b"%d " % process)
                for file in (stdin, stdout, stderr):
                    os.close(file)
                waiting.register(os.pidfd_open(process), selectors.EVENT_READ, (process, status))


def _telling(data: CoverageData, tells: socket.socket) -> Callable[[Mapping[str, Any]], None]:
    """Return what has this process, and not a file for each run, keep what was executed.

    To make such files, and to combine them, costs as much as the runs.
    """
    keep = data.add_arcs

    def add_arcs(arcs: Mapping[str, Any]) -> None:
        said = pickle.dumps(dict(arcs))
        try:
            is_told = len(said) <= LARGEST and tells.send(said) == len(said)
        except OSError:  # the plugin has closed it, in a process of its own that needs no files
            is_told = False
        if not is_told:
            keep(arcs)

    return add_arcs


def _take(told: socket.socket, executed: defaultdict[str, set[Arc]]) -> None:
    """Keep what runs have told."""
    with contextlib.suppress(BlockingIOError):
        while True:
            for name, arcs in pickle.loads(told.recv(LARGEST, socket.MSG_DONTWAIT)).items():
                executed[name].update(arcs)


def _tell_end(process: int, status: int) -> None:
    """Write what became of a run."""
    _, ended = os.waitpid(process, 0)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any longer
        os.write(status, b"%d" % os.waitstatus_to_exitcode(ended))
    os.close(status)


def _warm_up() -> Coverage:
    """Load coverage and the plugin, note which lines are executed by that, and return coverage."""
    coverage: Coverage = importlib.import_module("coverage").Coverage(
        config_file=os.environ["COVERED"], data_suffix=True
    )
    coverage.start()
    package = importlib.import_module("check_smtp_health")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    coverage.stop()
    coverage.save()
    return coverage


class Request(NamedTuple):
    """A run: how much it gives way to others, and what ``subprocess.run`` would get.

    ``inside`` is a process in the namespaces for it, or 0.
    """

    nice: int
    script: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    inside: int


def _run(coverage: Coverage, request: Request, files: Sequence[int]) -> None:
    """Be the run, to its end."""
    stdin, _, stdout, stderr, tells = files
    for number, file in enumerate((stdin, stdout, stderr, tells)):
        os.dup2(file, number)
    data = coverage.get_data()
    data.add_arcs = _telling(data, socket.socket(fileno=3))  # type: ignore[method-assign]
    os.closerange(4, MOST_FILES)  # other runs' too, that have to come to their ends
    os.setpriority(os.PRIO_PROCESS, 0, request.nice)
    if request.inside:
        _enter(request.inside)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv = [request.script, *request.arguments]
    sys.path[0] = os.path.dirname(request.script)
    atexit.register(coverage.save)
    coverage.start()
    runpy.run_path(request.script, run_name="__main__")


def _enter(process: int) -> None:
    """Enter the namespaces of a process."""
    files = [os.open(f"/proc/{process}/ns/{name}", os.O_RDONLY) for name in ("net", "uts", "mnt")]
    for file in files:
        namespace.enter(file)
        os.close(file)


if __name__ == "__main__":
    main()
