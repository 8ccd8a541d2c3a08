"""Values behave as the named tuples that type checkers take them for."""

from __future__ import annotations

import pytest

from check_smtp_health.values import NamedTuple


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


def test_inert() -> None:
    with pytest.raises(AttributeError):
        Point(1).x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]
