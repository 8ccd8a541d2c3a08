"""Every misbehaving server gets its state, its line, its metrics and no more time than it may.

All rows are played at the same time, and docs/faults.md is made of what both programs said.
"""

from __future__ import annotations

from itertools import zip_longest

import pytest

from tests import faults, needs
from tests.servers import wire
from tests.servers.catalogue import CATALOGUE, Behaviour
from tests.servers.catalogue.login import FORMS

NETWORKS = "needs root and a TUN device"


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> faults.Arena:
    return faults.Arena(tmp_path_factory.mktemp("arena"))


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, arena: faults.Arena) -> faults.Results:
    """What came of the rows that this run asks for."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = [item.callspec.params["row"] for item in items if item.function is test_behaviour]
    is_whole = any(item.function is test_document for item in items)
    has_networks = wire.is_possible()
    rows = [
        row
        for row in CATALOGUE
        if (is_whole or row in chosen) and (row.network is None or has_networks)
    ]
    return arena.both(rows, faults.check_smtp())


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_behaviour(row: Behaviour, results: faults.Results) -> None:
    if row not in results:
        needs.leave_out(NETWORKS)
    ours, _ = results[row]
    done = ours.outcome
    labels = [item.partition("=")[0] for item in done.perfdata.split()]
    assert (ours.answer, labels, done.stderr, ours.unexpected) == (
        row.due,
        row.labels.split(),
        "",
        (),
    )
    assert done.stdout.count("\n") == 1
    assert [form for form in FORMS if form in done.stdout] == []
    assert faults.in_time(row, ours)


def test_document(arena: faults.Arena, results: faults.Results) -> None:
    """What check_smtp is said to do, it does, if need be alone: a busy machine has it be late."""
    if len(results) < len(CATALOGUE):
        needs.leave_out(NETWORKS)
    check_smtp = faults.check_smtp()
    if check_smtp is None:
        needs.leave_out("needs check_smtp 2.3")
    again = {
        row: (ours, arena.theirs(row, check_smtp))
        for row, (ours, theirs) in results.items()
        if theirs is not None and not faults.is_written(row, ours, theirs)
    }
    written = faults.DOCUMENT.read_text().splitlines()
    made = faults.document({**results, **again}).splitlines()
    assert [pair for pair in zip_longest(written, made) if pair[0] != pair[1]] == []
