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
import marshal
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from tests.servers import setns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from coverage import Coverage

    Traced = dict[str, set[Any]]
    """What was executed of each file, in whatever form coverage's tracer notes it."""

_EXIT = os._exit

LARGEST = 1 << 17
"""Octets of a request, arguments and environment, and of what is told of a run."""

MOST_FILES = 1024
"""Files that the process may have open, some for each run that has not ended."""

FILES_OF_RUN = 8
"""Files that come with a request: for status, output, errors, and each namespace to enter."""


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
        request = Request(nice, script, list(arguments), dict(environment), os.getcwd())
        namespaces = stack.enter_context(setns.opened(prefix)) if prefix else ()
        ours, theirs = zip(*(_pipe(stack) for _ in range(3)))
        with _LOCK:
            socket.send_fds(
                _channel(os.getpid()), [json.dumps(request).encode()], [*theirs, *namespaces]
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
    executed: Traced = {}
    told, tells = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.freeze()  # a collection in a fork would have the kernel copy each page that it looks at
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # what all runs have on their standard input
    os.close(nothing)
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
                said, files, _, _ = socket.recv_fds(channel, LARGEST, FILES_OF_RUN)
                if not said:
                    _take(told, executed)
                    _keep(coverage, executed)
                    return
                request = Request(*json.loads(said))
                code = _code(request.script)
                status, *others = files
                process = os.fork()
                if process == 0:
                    _run(coverage, code, request, [tells.fileno(), *others])
                    return
                os.write(status, b"%d " % process)
                for file in others:
                    os.close(file)
                waiting.register(os.pidfd_open(process), selectors.EVENT_READ, (process, status))


def _telling(coverage: Coverage, tells: socket.socket) -> Callable[[], None]:
    """Return what has this process, and not a file for each run, keep what was executed.

    To make such files, and to combine them, costs as much as the runs. So does reading what a
    tracer has noted: it is told as it is, and read once.
    """
    collector: Any = coverage._collector

    def tell() -> None:
        coverage.stop()
        said = marshal.dumps({name: noted for name, noted in collector.data.items() if noted})
        try:
            is_told = len(said) <= LARGEST and tells.send(said) == len(said)
        except OSError:  # the plugin has closed it, in a process of its own that needs no files
            is_told = False
        if not is_told:
            coverage.save()

    return tell


def _take(told: socket.socket, executed: Traced) -> None:
    """Keep what runs have told."""
    with contextlib.suppress(BlockingIOError):
        while True:
            for name, noted in marshal.loads(told.recv(LARGEST, socket.MSG_DONTWAIT)).items():
                executed.setdefault(name, set()).update(noted)


def _keep(coverage: Coverage, executed: Traced) -> None:
    """Save what was executed, as if this process had."""
    coverage.start()
    collector: Any = coverage._collector
    for name, noted in executed.items():
        collector.data.setdefault(name, set()).update(noted)
    coverage.stop()
    coverage.save()


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
    """A run: how much it gives way to others, and what ``subprocess.run`` would get."""

    nice: int
    script: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str


def _run(coverage: Coverage, code: types.CodeType, request: Request, files: Sequence[int]) -> None:
    """Be the run, to its end."""
    tells, stdout, stderr, *namespaces = files
    for number, file in enumerate((stdout, stderr, tells), 1):
        os.dup2(file, number)
    for file in namespaces:
        setns.enter(file)
    os.closerange(4, MOST_FILES)  # other runs' too, that have to come to their ends
    os.setpriority(os.PRIO_PROCESS, 0, request.nice)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv = [request.script, *request.arguments]
    sys.path[0] = os.path.dirname(request.script)
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    coverage.start()  # replaces os._exit, with what saves a file
    tell = _telling(coverage, socket.socket(fileno=3))

    def end(status: int) -> NoReturn:
        try:
            tell()
        finally:
            _EXIT(status)

    os._exit = end
    atexit.register(tell)
    exec(code, vars(main))


@functools.cache
def _code(script: str) -> types.CodeType:
    """Compile a script, once for all runs."""
    with open(script, "rb") as file:
        return compile(file.read(), script, "exec")


if __name__ == "__main__":
    main()
