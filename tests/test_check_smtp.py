"""Both programs against the same servers: the differences that the README claims are measured."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests import needs, plugin
from tests.differences import ROWS, Answer, Row
from tests.servers.scripted import ScriptedServer


@pytest.fixture(scope="module")
def check_smtp() -> str:
    """The path of check_smtp, of the version that the rows speak of."""
    path = needs.program("check_smtp")
    version = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stdout
    if not version.startswith("check_smtp v2.3"):
        needs.leave_out("needs check_smtp 2.3")
    return path


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.server)
def test_difference(row: Row, check_smtp: str) -> None:
    assert theirs(row, check_smtp) == row.theirs
    assert ours(row) == row.ours


def theirs(row: Row, check_smtp: str) -> Answer:
    with ScriptedServer(row.script).running() as server:
        done = subprocess.run(
            [check_smtp, "-H", server.address, "-p", str(server.port), *row.arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    assert server.faults == []
    line = done.stdout.split("\n")[0]
    line = re.sub(r"\|time=[\d.]+s;;;0\.0+$", "", line)  # its own perfdata, not a forged one
    line = re.sub(r"[\d.]+ sec\.", "# sec.", line)
    return Answer(done.returncode, line.replace(f"port {server.port}", "port 25"))


def ours(row: Row) -> Answer:
    with ScriptedServer(row.script).running() as server:
        outcome = plugin.run("-H", server.address, "-p", str(server.port), *row.arguments)
    return Answer(outcome.code, outcome.line.replace(f":{server.port}", ":25"))
