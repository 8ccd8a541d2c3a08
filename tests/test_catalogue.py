"""Every misbehaving server gets its state, its line, its metrics and no more time than it may."""

from __future__ import annotations

import pytest

from tests import plugin
from tests.servers.catalogue import CATALOGUE, TIMEOUT, Behaviour
from tests.servers.scripted import ScriptedServer


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_behaviour(row: Behaviour) -> None:
    with ScriptedServer(row.script).running() as server:
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-t", str(TIMEOUT), "-F", "me.example"),
            *row.arguments,
        )
    labels = [item.partition("=")[0] for item in done.perfdata.split()]
    assert (done.code, done.line, labels, done.stderr, server.faults) == (
        row.code,
        row.line.format(target=f"127.0.0.1:{server.port}"),
        row.labels.split(),
        "",
        [],
    )
    assert done.stdout.count("\n") == 1
    assert done.seconds < (TIMEOUT + plugin.SLACK if not row.quick else 2 * TIMEOUT)
