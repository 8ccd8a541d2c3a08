"""THE FORMAT TABLE: the answer in each format.

A format is a module and its row. The module has ``render``, for a check that has been evaluated,
``short`` for one whose reader does not come in time, and ``unknown``, for a run that had nothing to
evaluate.
"""

from __future__ import annotations

from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.loading import load
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from check_smtp_health.judge.check import HealthCheck


class Format(NamedTuple):
    """A row: the module of this package, and whether it shows the transcript."""

    module: str
    has_transcript: bool = False

    def render(self, check: HealthCheck, verbose: int) -> Iterator[str]:
        """Give the answer of a check that has been called, in pieces: it may be a long one."""
        pieces: Iterator[str] = load(f"output.{self.module}:render")(check, verbose)
        return pieces

    def short(self, check: HealthCheck) -> str:
        """Return the shortest answer of a check that has been called."""
        text: str = load(f"output.{self.module}:short")(check)
        return text

    def unknown(self, problem: str, trace: str = "") -> str:
        """Return the answer of a run that could not begin, or that a bug ended."""
        text: str = load(f"output.{self.module}:unknown")(problem, trace)
        return text


TEXT = Format("text")

# THE FORMAT TABLE.
FORMATS = {
    "text": TEXT,
    "json": Format("json", has_transcript=True),
}

ALIASES = {"multi-line": "text", "mp-test-json": "json"}
"""The names that check_smtp 3.0 knows, and which of ours each means."""


def find(given: str | None) -> Format:
    """Return the format of that name, text where none is given.

    Raises:
        UsageFault: there is none.
    """
    name = (given or "text").lower()
    found = FORMATS.get(ALIASES.get(name, name))
    if found is None:
        problem = f"{quoted(given or '')} is not one of {', '.join(FORMATS)}"
        raise UsageFault("output-format", problem)
    return found
