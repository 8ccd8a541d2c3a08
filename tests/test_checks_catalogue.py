"""The catalogue of faults, all rows as checks of one run: each has the answer that it has alone."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests import faults, plugin, sweep
from tests.servers.catalogue import CATALOGUE, Answer, Behaviour

AGAIN = 3
"""Runs that a row may take to have its answer: a busy machine is late for some of 234."""


def answers(rows: list[Behaviour], folder: Path) -> dict[str, tuple[Answer, str]]:
    """Return what is said of each row, and the labels of its perfdata, in one run of all."""
    arena = faults.Arena(folder)
    with ExitStack() as stack:
        places = {row.name: stack.enter_context(arena.standing(row)) for row in rows}
        lines = [
            sweep.line(str(at), *arena.arguments(row, places[row.name]))
            for at, row in enumerate(rows)
        ]
        done = sweep.run(
            folder,
            lines,
            environment={"SSL_CERT_FILE": arena.trusted},
            timeout=5 + sum(row.timeout for row in rows),
        )
        found = {}
        for at, row in enumerate(rows):
            told = done.answers[str(at)]
            outcome = plugin.Outcome(told["exit_code"], told["status"], "", 0.0)
            labels = " ".join(item.partition("=")[0] for item in told["perfdata"])
            found[row.name] = (
                places[row.name].answer(outcome.code, outcome.line_with_slowest),
                labels,
            )
    return found


def test_every_row_is_answered_as_alone(tmp_path: Path) -> None:
    """But for those with a line break in an option, of which no line of a file can be made."""
    rows = [row for row in CATALOGUE if row.network is None and "\n" not in "".join(row.asks.ours)]
    due = {row.name: (row.due, row.labels) for row in rows}
    for attempt in range(AGAIN):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        found = answers(rows, folder)
        rows = [row for row in rows if found[row.name] != due[row.name]]
        if not rows:
            return
    wrong = {row.name: (found[row.name], due[row.name]) for row in rows}
    assert wrong == {}
