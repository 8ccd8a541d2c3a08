"""What docs/faults.md is made of: hostile words stay harmless, and each wrong answer is counted."""

from __future__ import annotations

import pytest

from tests import faults
from tests.servers.catalogue import Answer, Behaviour, Question


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("", ""),
        ("554 no", "`554 no`"),
        ("a|b", r"`a\|b`"),
        ("`a` [b](c) ```", "```` `a` [b](c) ``` ````"),
        ("<script>\x1b[31m\r\n\u202e", r"`<script>\x1b[31m\r\n\u202e`"),
        ("x" * 300, f"`{'x' * 197}...`"),
    ],
)
def test_code(text: str, cell: str) -> None:
    assert faults.code(text) == cell


@pytest.mark.parametrize(
    ("due", "theirs", "judgement"),
    [
        ("CRITICAL", Answer("CRITICAL", ""), "yes"),
        ("CRITICAL", Answer("OK", ""), "looks well"),
        ("CRITICAL", Answer("WARNING", ""), "another state"),
        ("OK", Answer("CRITICAL", ""), "looks ill"),
        ("OK", Answer("none", ""), "had to be killed"),
        ("OK", None, "cannot ask: no option"),
    ],
)
def test_judgement(due: str, theirs: Answer | None, judgement: str) -> None:
    row = Behaviour("", (), due, "", "", Question(unasked="no option"))
    assert faults.judgement(row, theirs) == judgement
