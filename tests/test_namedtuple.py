"""Values behave as the named tuples that type checkers take them for."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from check_smtp_health.namedtuple import NamedTuple


class Point(NamedTuple):
    """A value with a default and a method."""

    x: int
    y: int = 2

    @property
    def both(self) -> int:
        return self.x + self.y


def test_like_a_named_tuple() -> None:
    assert Point(1) == Point(x=1, y=2) == Point(y=2, x=1) == Point(1, 2) == (1, 2)
    assert Point._make((1, 2)) == Point(1)
    assert {type(one) for one in (Point(1), Point(x=1, y=2), Point._make((1, 2)))} == {Point}
    assert repr(Point(1)) == "Point(x=1, y=2)"
    assert Point(1)._replace(y=5).both == 6
    x, y = Point(3, 4)
    assert (x, y, hash(Point(3, 4))) == (3, 4, hash((3, 4)))


@pytest.mark.parametrize(("values", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1})])
def test_fields_are_held_to(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError, match=r"^Point has the fields x, y$"):
        Point(*values, **named)


def test_copies_and_pickles() -> None:
    point = Point(3, 4)
    assert copy.copy(point) == copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point


def test_without_what_is_private_to_python() -> None:
    program = (
        "from __future__ import annotations\n"
        "import collections; del collections._tuplegetter\n"
        "from check_smtp_health.namedtuple import NamedTuple\n"
        "class Point(NamedTuple):\n    x: int\n    y: int = 2\n"
        "point = Point(1)\n"
        "print(point, point.x, point.y, point._replace(y=5))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("Point(x=1, y=2) 1 2 Point(x=1, y=5)\n", "")


@pytest.mark.parametrize("field", ["x: int", "x: int = 1", "x: 'int'\n    y: int"])
def test_a_module_that_forgets_the_future_import_is_told(field: str) -> None:
    """Without it Python 3.14 does not say what the fields are, and the value would be empty."""
    program = (
        "from check_smtp_health.namedtuple import NamedTuple\n"
        f"class Point(NamedTuple):\n    {field}\n"
    )
    with pytest.raises(TypeError) as caught:
        exec(compile(program, "point.py", "exec", dont_inherit=True), {"__name__": "point"})
    assert str(caught.value) == "Point: its module needs 'from __future__ import annotations'"


def test_a_value_without_fields_needs_no_import() -> None:
    program = (
        "from check_smtp_health.namedtuple import NamedTuple\nclass Nothing(NamedTuple): pass\n"
    )
    names: dict[str, object] = {"__name__": "nothing"}
    exec(compile(program, "nothing.py", "exec", dont_inherit=True), names)
    assert repr(eval("Nothing()", names)) == "Nothing()"


def test_inert() -> None:
    with pytest.raises(AttributeError):
        Point(1).x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]
