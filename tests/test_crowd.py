"""A thousand hostile servers in one run, and three thousand: they cost no more than it may take."""

from __future__ import annotations

import os
import re

import pytest

from bench import crowd
from tests import harmless, plugin
from tests.launcher import Run, launcher
from tests.servers import hostile_crowd
from tests.servers.hostile_crowd import DRIPS, HEALTHY, NAMES

MEMORY_LIMIT = 64 * 1024
"""KiB of the peak of any run."""

SIZES = {1000: 6 * 1024, 3000: 2 * 1024}
"""Bytes of the longest reply that each of so many servers may give."""

TIMEOUT = 7.0
"""Seconds of the timeout of those that last until then: the last piece drips well before."""

AMPLE = 15.0
"""Seconds of the timeout where everybody answers: a busy machine has them do so slowly."""

PRIORITY = ("nice", "-n", "-10") if os.geteuid() == 0 else ()
"""Goes before the command: whoever else uses the processor is not what is tested."""

SLACK = 0.5
"""Seconds beyond it, without those for which others had the processor."""

FORMS = {"plain": (), "-v": ("-v",), "-vv": ("-vv",), "json": ("--output-format", "json")}

SILENT = ("replies without a last line", "lines without end", DRIPS)
"""Those that last until the deadline."""

WELL = ("well", "long replies", "many lines", "keywords", "words to escape")
"""The moods that break no rule."""


def checked(mood: str, count: int, form: str) -> Run:
    """Check that many servers, of which all but one are in that mood."""
    hosts = ("-H", HEALTHY, *crowd.hosts(count - 1))
    timeout = TIMEOUT if mood in SILENT else AMPLE
    # A launcher for each: what it reads of an answer is in its peak, and in its children's.
    with hostile_crowd.running(mood, SIZES[count]) as port, launcher() as started:
        done = started.run(
            *(*PRIORITY, str(plugin.SCRIPT), *hosts, "-p", str(port), "-F", "me.example", "--ehlo"),
            *("-C", "NOOP", "-t", str(timeout), *FORMS[form]),
            environment={},
        )
    assert done.stderr == ""
    assert done.peak < MEMORY_LIMIT
    assert done.seconds < timeout + SLACK
    return done


@pytest.mark.parametrize(
    ("mood", "count", "form"),
    [
        *((mood, 1000, list(FORMS)[at % len(FORMS)]) for at, mood in enumerate(NAMES)),
        *((mood, 3000, "-vv") for mood in ("many lines", "refusals to escape")),
        ("replies without a last line", 3000, "json"),
    ],
)
def test_a_hostile_crowd(mood: str, count: int, form: str) -> None:
    done = checked(mood, count, form)
    healthy = count if mood in WELL else 1
    assert done.code == (0 if mood in WELL else 2)
    if form == "json":
        said = harmless.check_json(done.stdout, done.code)
        well = [target["host"] for target in said["targets"] if target["state"] == "OK"]
        status = said["status"]
    else:
        assert [line for line in done.stdout.splitlines() if not line.isprintable()] == []
        well = re.findall(r"'([\d.]+)::time'", done.stdout) if mood in WELL else []
        well = well or re.findall(r"'([\d.]+)::quit'", done.stdout)
        status = done.stdout.partition("\n")[0].partition(" | ")[0]
    assert len(well) == healthy
    assert HEALTHY in well
    assert f"{healthy} of {count} healthy" in status
