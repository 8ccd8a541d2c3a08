"""THE FORMAT TABLE: the answer in each format.

A format is a module and its row. For many checks, and for what is written elsewhere, the module has
``record``, which makes of an ``Answer`` what the format keeps of it, and ``document``, which makes
one text of all records. For the one check whose answer goes to standard output, ``text`` and
``json`` have ``render``, for a check that has been evaluated, ``short``, for one whose reader does
not come in time, and ``unknown``, for a run that had nothing to evaluate; of the others it is their
document (``single``).
"""

from __future__ import annotations

from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.loading import load
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from check_smtp_health.config.destination import Names
    from check_smtp_health.judge.check import HealthCheck
    from check_smtp_health.output.answer import Answer


OPTIONS = ("output-to", "output-pass-file", "output-ca-file", "output-host", "output-service")
"""Those about where the answer goes, and under which names."""


class Format(NamedTuple):
    """A row: the module of this package, and whether it shows the transcript.

    ``names`` says which names of the engine's objects an answer needs, or may have; ``has_lines``
    that each answer stands for itself, also where others are lost.
    """

    module: str
    has_transcript: bool = False
    names: Names = "both"
    has_lines: bool = False

    @property
    def is_for_engines(self) -> bool:
        """Whether an answer is for an object of an engine, so that it has to be named."""
        return self.names in ("service", "both")

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

    @property
    def record(self) -> Callable[[Answer], Any]:
        """Return what the document needs of an answer: little, and nothing of its check."""
        function: Callable[[Answer], Any] = load(f"output.{self.module}:record")
        return function

    def document(self, records: Iterable[Any]) -> Iterator[str]:
        """Give all records as one text, in pieces."""
        pieces: Iterator[str] = load(f"output.{self.module}:document")(records)
        return pieces


TEXT = Format("text", names="none", has_lines=True)

# THE FORMAT TABLE.
FORMATS = {
    "text": TEXT,
    "json": Format("json", has_transcript=True, names="optional", has_lines=True),
    "nagios": Format("nagios", has_lines=True),
    "nsca": Format("nsca", has_lines=True),
    "checkmk": Format("checkmk", names="service"),
    "openmetrics": Format("openmetrics"),
    "icinga2": Format("icinga2", has_lines=True),
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
