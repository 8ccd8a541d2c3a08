"""Run commands in turn and report what each run took: JSON on standard input and output.

This is a small process of its own, because Linux counts the memory of the launching process in the
peak of the launched one.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Run each command as many times as the only argument says."""
    commands = json.load(sys.stdin)
    silent = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    runs: list[list[tuple[float, float, int, int]]] = [[] for _ in commands]
    for _ in range(int(sys.argv[1])):
        for command, own in zip(commands, runs):
            began = time.perf_counter()
            process = os.posix_spawn(command[0], command, os.environ, file_actions=silent)
            _, status, usage = os.wait4(process, 0)
            wall = time.perf_counter() - began
            processor = usage.ru_utime + usage.ru_stime
            own.append((processor, wall, usage.ru_maxrss, os.waitstatus_to_exitcode(status)))
    with open("/proc/self/status") as lines:
        (floor,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    print(json.dumps({"floor": floor, "runs": runs}))


main()
