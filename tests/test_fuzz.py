"""The fuzz target in short: on its corpus, on what hypothesis makes of bytes, and under atheris."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.judge.states import FAILURES, kind_of
from check_smtp_health.stages import NAMES
from fuzz import parts
from fuzz.target import COMMAND_LINES, run
from tests import needs

if TYPE_CHECKING:
    from check_smtp_health.errors import Kind

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "fuzz" / "corpus"
CORPUS_OF_PARTS = ROOT / "fuzz" / "corpus_of_parts"

OF_POLICIES: set[Kind] = {
    *("no_policy", "insecure", "uncovered", "listed", "misconfigured", "noted", "unanswered"),
    "unauthorised",
}
"""What no session is needed for: name servers that misbehave have tests of their own."""

ROUNDS = 2
"""Inputs that atheris tries, for each of the corpus: that one, and one made of it. ``make fuzz``
tries what it can in minutes."""


def test_the_corpus_reaches_everything() -> None:
    """Each stage completes and fails, in each of the ways that there are."""
    completed, failed = set(), set()
    kinds: set[Kind] = set()
    for path in CORPUS.iterdir():
        for seen in run(path.read_bytes()).report.observations:
            kinds |= {finding.kind for finding in seen.findings}
            if seen.failure is None:
                completed.add(seen.stage)
                continue
            failed.add(seen.stage)
            kinds.add(kind_of(seen.failure))
    # What gives out tokens is a part, not a session.
    assert (completed, failed) == ({*NAMES} - {"token"}, {*NAMES} - {"token"})
    assert kinds == set(FAILURES) - OF_POLICIES


@given(st.sampled_from(range(len(COMMAND_LINES))), st.binary(max_size=200))
def test_any_input(number: int, data: bytes) -> None:
    run(bytes([number]) + data)


def test_the_corpus_of_parts_reaches_everything() -> None:
    """Mail is found and deleted, in either protocol; each kind of record and policy is read."""
    seen: Counter[str] = Counter()
    for path in CORPUS_OF_PARTS.iterdir():
        seen.update(parts.reached(path.read_bytes()))
    assert {
        *(f"{scheme}: {verb}" for scheme, verb in parts.VERBS),
        *(f"records of {kind}" for kind in parts.KINDS),
        *(f"policy {mode}" for mode in ("enforce", "testing", "none")),
        *("record", "spf", "dkim", "dmarc", "a fault", "origin", "fields", "key"),
        *("token", "token: Refused", "token: NotNow", "token: Violation"),
        *(f"SPF {result}" for result in ("none", "neutral", "pass", "fail", "permerror")),
    } <= seen.keys()


@given(st.sampled_from(range(len(parts.PARTS))), st.binary(max_size=200))
def test_any_part(number: int, data: bytes) -> None:
    parts.one_input(bytes([number]) + data)


@pytest.mark.usefixtures("uncovered")  # two that count branches would take twice as long
@pytest.mark.parametrize(("name", "corpus"), [("target", CORPUS), ("parts", CORPUS_OF_PARTS)])
def test_under_atheris(tmp_path: Path, name: str, corpus: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        needs.leave_out("needs atheris, which this Python or machine has no wheel of")
    count = len(list(corpus.iterdir()))
    done = subprocess.run(
        [
            *("nice", sys.executable, "-m", "fuzz", name, f"-runs={ROUNDS * count}", "-seed=1"),
            *(f"-artifact_prefix={tmp_path}/", str(tmp_path), str(corpus)),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (runs,) = re.findall(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    assert int(runs) >= ROUNDS * count
    # The package is what guides it: a run that sees none of it would learn nothing.
    assert max(map(int, re.findall(r"cov: (\d+)", done.stderr))) > 500
