"""Starts covered runs from a process that has coverage and the plugin loaded.

Loading them costs several times what most runs cost. For each run that process forks. What it forks
has arguments, environment, folder and standard files of its own, starts coverage as ``covered.pth``
does, and goes through the console script to the end of the interpreter. What a run loads, and in
which order, is seen by those that are not covered: they begin with an interpreter of their own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LARGEST = 1 << 17
"""Octets of a request: arguments and environment."""


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
    script: str, arguments: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a script of Python as ``subprocess.run`` would, with nothing on its standard input.

    Raises:
        subprocess.TimeoutExpired: it took longer, and was killed.
    """
    nice = os.getpriority(os.PRIO_PROCESS, 0)  # on Linux that of this thread
    request = json.dumps([nice, script, list(arguments), dict(environment), os.getcwd()]).encode()
    with contextlib.ExitStack() as stack:
        ours, theirs = zip(*(_pipe(stack) for _ in range(3)))
        nothing = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, nothing)
        with _LOCK:
            socket.send_fds(_channel(os.getpid()), [request], [nothing, *theirs])
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
    _warm_up()
    channel = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that watch
    while True:
        request, files, _, _ = socket.recv_fds(channel, LARGEST, 4)
        if not request:
            return
        if os.fork() == 0:
            channel.close()
            break
        for file in files:
            os.close(file)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _watch(*json.loads(request), *files)


def _warm_up() -> None:
    """Load coverage and the plugin, and note which lines are executed by that."""
    coverage = importlib.import_module("coverage").Coverage(
        config_file=os.environ["COVERED"], data_suffix=True
    )
    coverage.start()
    package = importlib.import_module("check_smtp_health")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    coverage.stop()
    coverage.save()


def _watch(
    nice: int,
    script: str,
    arguments: list[str],
    environment: dict[str, str],
    folder: str,
    *files: int,
) -> None:
    """Fork the run, and write its process and what became of it."""
    status = files[1]
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    process = os.fork()
    if process:
        for file in (files[0], *files[2:]):
            os.close(file)
        os.write(status, b"%d " % process)
        _, ended = os.waitpid(process, 0)
        os.write(status, b"%d" % os.waitstatus_to_exitcode(ended))
        os._exit(0)
    for number, file in enumerate((files[0], *files[2:])):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)
    importlib.import_module("coverage").process_startup()
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
