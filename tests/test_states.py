"""Each kind of failure has a state, and each state stands for a kind that there is."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from check_smtp_health import errors
from check_smtp_health import faults as further
from check_smtp_health.judge.states import FAILURES, REFUSALS


def literal(name: str) -> list[str]:
    """Return the words of a ``Literal`` in ``errors``, which only the type checker imports."""
    tree = ast.parse(Path(errors.__file__).read_text())
    (found,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == name
    )
    assert isinstance(found, ast.Subscript)
    words: list[str] = list(ast.literal_eval(found.slice))
    return words


def faults(parent: type[Any]) -> set[type[Any]]:
    """Return all classes below one."""
    return {parent}.union(*(faults(one) for one in parent.__subclasses__()))


def test_each_kind_has_a_row() -> None:
    kinds = literal("Kind")
    assert sorted(FAILURES) == kinds == sorted(set(kinds))
    assert set(REFUSALS) < set(kinds)


def test_each_fault_has_a_kind() -> None:
    assert issubclass(further.NotNow, errors.SessionFault)
    kinds = {
        fault.__name__: getattr(fault, "kind", None)
        for fault in faults(errors.SessionFault) - {errors.SessionFault, errors.PeerFault}
    }
    assert {name: kind for name, kind in kinds.items() if kind not in FAILURES} == {}
