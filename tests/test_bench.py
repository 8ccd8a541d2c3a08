"""A check costs no more than it may, and the benchmark asks all of its programs the same.

The costs are ratios of processor time, of runs in turn: what else a machine does slows all alike.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median

from bench import anatomy, crowd, measure
from bench.contestants import OURS, PEER, SMTPLIB, contestants
from bench.installed import install
from bench.server import running
from tests import needs

ROUNDS = 11

SERIES = 3
"""So often is measured at most: what begins beside one series spoils it, a dear check all."""

LIMITS = {"plain": 1.10, "STARTTLS": 1.35}
"""Of the processor time of the imports with which any check begins that uses nagiosplugin."""

MEMORY_LIMIT = 30
"""MiB."""

REFUSED = {OURS: 2, PEER: 1, SMTPLIB: 3}


def test_what_a_check_costs(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        imports, _, *others = contestants(tmp_path, server)
        ours = [one for one in others if one.name == OURS and one.question in LIMITS]
        for _ in range(SERIES):
            unit, *several = measure.measured([one.command for one in (imports, *ours)], ROUNDS)
            ratios = {
                one.question: median(runs.processor) / median(unit.processor)
                for one, runs in zip(ours, several)
            }
            dear = {one: ratio for one, ratio in ratios.items() if ratio > LIMITS[one]}
            if not dear:
                break
    assert [runs.code for runs in several] == [0, 0]
    assert dear == {}
    assert max(runs.peak for runs in several) <= MEMORY_LIMIT


def test_what_a_further_target_costs(tmp_path: Path) -> None:
    needs.program("check_smtp")
    _, ours = install(tmp_path)
    found = list(crowd.further(ours, 5))
    assert [one.targets for one in found] == [200, 1000]
    # A tenth is what it is to be; how much of both is the kernel's work depends on the machine,
    # and on what the other worker does meanwhile.
    assert min(one.ratio for one in found) <= 0.13
    assert max(one.memory for one in found) <= 100


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
    assert measure.modules((python, "-c", "import check_smtp_health.errors")) == fewest + 3
    assert measure.modules(("/bin/true",)) is None
