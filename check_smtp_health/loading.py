"""What tables name as ``"module:name"``, imported when it is needed; and what is made only once."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _T = TypeVar("_T")


REMEMBERED = 1000
"""Things that are kept at most: some are made of what servers say, who could say a lot."""


_made: list[dict[Any, Any]] = []
"""What has been made so far, by what made it; nothing is there where nothing is remembered."""


def remember() -> None:
    """Have ``shared`` make each thing once from now on."""
    _made.append({})


def shared(make: Callable[..., _T], *arguments: Any) -> _T:
    """Return what ``make`` returns for these arguments; what checks share is made for the first.

    That is a file that has been read, the context of a TLS connection, the name servers.
    """
    if not _made:
        return make(*arguments)
    made = _made[-1]
    key = (make, *arguments)
    if key in made:
        known: _T = made[key]
        return known
    found = make(*arguments)
    if len(made) < REMEMBERED:
        made[key] = found
    return found


def load(reference: str) -> Any:
    """Return what a reference names; its module is given by its place below this package."""
    module, _, name = reference.partition(":")
    full = f"{__package__}.{module}"
    __import__(full)
    return getattr(sys.modules[full], name)
