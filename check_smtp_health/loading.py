"""What tables name as ``"module:name"``, imported when it is needed: a run loads what it uses."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def load(reference: str) -> Any:
    """Return what a reference names; its module is given by its place below this package."""
    module, _, name = reference.partition(":")
    full = f"{__package__}.{module}"
    __import__(full)
    return getattr(sys.modules[full], name)
