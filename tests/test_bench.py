"""The benchmark asks all of its programs the same, and what costs too much is told.

How much time everything takes is for ``make bench``: here is what comes out the same every time.
"""

from __future__ import annotations

from pathlib import Path

from bench import anatomy, bounds, measure
from bench.contestants import OURS, PEER, SMTPLIB, contestants
from bench.installed import install
from bench.server import running
from tests import needs

REFUSED = {OURS: 2, PEER: 1, SMTPLIB: 3}


def test_what_is_beyond_its_bound_is_told() -> None:
    assert bounds.beyond(bounds.BOUNDS) == []
    assert bounds.beyond({bounds.PLAIN: 1.2345, bounds.MEMORY: 29, bounds.ERROR: 0.51}) == [
        "processor time of a plain check, as a multiple of the usual imports: 1.23, "
        "but at most 1.1",
        "error of the time of a stage, in ms, in the best quarter of the runs: 0.51, "
        "but at most 0.5",
    ]
    assert bounds.beyond({bounds.SWEPT: 8.1, bounds.SWEPT_TLS: 2.9}) == [
        "a run of check_smtp -S -D, in checks of a file with -S that take as long: 2.9, "
        "but at least 3",
    ]


def test_everyone_answers_every_question(tmp_path: Path) -> None:
    needs.program("check_smtp")
    with running(tmp_path) as server:
        several = contestants(tmp_path, server)
        found = measure.measured([one.command for one in several], 1)
    answers = {(one.question, one.name): runs.code for one, runs in zip(several, found)}
    refused = {("refused", name): code for name, code in REFUSED.items()}
    assert answers == {**dict.fromkeys(answers, 0), **refused}
    assert len(answers) == 2 + 4 * 3


def test_a_run_comes_apart(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        imports, _, plain, *_ = contestants(tmp_path, server)
        took = anatomy.parts(imports.command[0], plain.command[1:], 1)
    assert list(took) == ["the interpreter", *anatomy.IMPORTS, *anatomy.RUNS]
    assert all(took[part] > 0 for part in anatomy.RUNS)


def test_modules_are_those_of_python_programs(tmp_path: Path) -> None:
    python, _ = install(tmp_path)
    fewest = measure.modules((python, "-c", "pass"))
    assert fewest is not None
    assert measure.modules((python, "-c", "import check_smtp_health.escaping")) == fewest + 3
    assert measure.modules(("/bin/true",)) is None
