"""Checks of all kinds in one run, every tenth of a broken server, each compared with itself alone.

``make sweep`` does so with 1,000 of them; here are fewer, for each is a run of its own, too.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tests import faults, plugin, sweep
from tests.masking import unraced
from tests.servers.catalogue import CATALOGUE, Answer, Behaviour
from tests.servers.scripted import ScriptedServer

COUNT = int(os.environ.get("CHECKS", "60"))

EVERY = 10
"""One check in so many is of a broken server."""


def kinds() -> tuple[list[Behaviour], list[Behaviour]]:
    """Return the rows of servers that are well, and of those that are not, none of them slow."""
    rows = [
        row
        for row in CATALOGUE
        if row.network is None and row.quick and "\n" not in "".join(row.asks.ours)
    ]
    return [row for row in rows if row.state == "OK"], [row for row in rows if row.state != "OK"]


def test_each_is_answered_as_alone(tmp_path: Path) -> None:
    well, broken = kinds()
    chosen = [
        broken[number // EVERY % len(broken)] if number % EVERY == 9 else well[number % len(well)]
        for number in range(COUNT)
    ]
    arena = faults.Arena(tmp_path)
    environment = {"SSL_CERT_FILE": arena.trusted}
    with ExitStack() as stack:
        servers = {
            row.name: stack.enter_context(
                ScriptedServer(arena.script(row), address="0.0.0.0").running()
            )
            for row in {row.name: row for row in chosen}.values()
        }

        def arguments(number: int) -> tuple[str, ...]:
            row = chosen[number]
            host = f"127.1.{number // 250}.{number % 250 + 1}"
            place = faults.Place(servers[row.name], ("-H", host, "-p", str(servers[row.name].port)))
            return arena.arguments(replace(row, timeout=9), place)

        lines = [sweep.line(str(number), *arguments(number)) for number in range(COUNT)]
        done = sweep.run(tmp_path, lines, environment=environment)
        together = [
            said(servers[row.name], done.answers[str(number)]["exit_code"], *told(done, number))
            for number, row in enumerate(chosen)
        ]
        alone = []
        for number, row in enumerate(chosen):
            one = plugin.run(*arguments(number), environment=environment)
            alone.append(said(servers[row.name], one.code, one.line, one.labels))
    assert together == alone
    assert sum(answer.state != "OK" for answer, _ in alone) == COUNT // EVERY


def told(done: sweep.Sweep, number: int) -> tuple[str, str]:
    """Return the status line of a check of the file, and the labels of its perfdata."""
    labels = [item.partition("=")[0] for item in done.answers[str(number)]["perfdata"]]
    return done.status(str(number)), " ".join(labels)


def said(server: ScriptedServer, code: int, line: str, labels: str) -> tuple[Answer, str]:
    """Return an answer without what differs from run to run."""
    return faults.Place(server, ()).answer(code, unraced(line)), labels
