"""The line about the whole: how many checks are in which state, and what is wrong."""

from __future__ import annotations

from check_smtp_health.escaping import STATUS_LIMIT, harmless, shortened
from check_smtp_health.judge.text import NAME_LIMIT, where
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from check_smtp_health.config.checks_file import Line
    from check_smtp_health.judge.check import HealthCheck

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
"""By exit code."""

CRITICAL, UNKNOWN = 2, 3

WORST_FIRST = (2, 1, 3, 0)
"""Exit codes, as Monitoring Plugins rank them."""

SEPARATOR, MORE = "; ", "; and {} more"
"""What stands between two problems, and for those for which there is no room."""

PROBLEM_LIMIT = 240
"""Characters of one service's problem in the line about the whole, which is to name several."""


class _Problem(NamedTuple):
    """A check that is not OK: its number in the file, its exit code, what is to be said of it."""

    code: int
    number: int
    text: str


class Whole:
    """What the answers come to."""

    def __init__(self, count: int) -> None:
        self._count = count  # of the lines
        self._counts = dict.fromkeys(WORST_FIRST, 0)
        self._problems: list[_Problem] = []

    def note(self, line: Line, code: int, said: str) -> None:
        """Keep what is needed of the answer to a line."""
        self._counts[code] += 1
        if code:
            named = " ".join(filter(None, (line.host, line.service)))
            shown = f"{harmless(named)} {said}" if named else said
            self._problems.append(_Problem(code, line.number, shown))

    def code(self, loss: str) -> int:
        """Return the exit code; ``loss`` says which answers did not arrive."""
        if loss:
            return CRITICAL
        return next(code for code in WORST_FIRST if self._counts[code] or not code)

    def status(self, code: int, loss: str) -> str:
        """Return the line itself, without perfdata."""
        others = [(self._counts[one], STATES[one]) for one in WORST_FIRST if one]
        counted = [f"{count} {state}" for count, state in others if count]
        head = ", ".join((f"{self._counts[0]} of {self._count} checks OK", *counted))
        texts = [loss] if loss else []
        texts += [shortened(one.text, PROBLEM_LIMIT) for one in self._worst_first()]
        said = f"{head}: {_joined(texts, STATUS_LIMIT - len(head) - 2)}" if texts else head
        return f"SMTP {STATES[code]} - {said}"

    def _worst_first(self) -> list[_Problem]:
        return sorted(self._problems, key=lambda one: (WORST_FIRST.index(one.code), one.number))

    def pieces(self, status: str, seconds: float, *, is_verbose: bool) -> Iterator[str]:
        """Give the line, its perfdata, and between them, if asked for, each problem in a line."""
        counts = [(STATES[code].lower(), self._counts[code]) for code in range(len(STATES))]
        items = " ".join(f"{name}={count}" for name, count in counts)
        perfdata = f"| checks={self._count} {items} time={seconds:.6f}s"
        if not is_verbose:
            yield f"{status} {perfdata}\n"
            return
        yield f"{status}\n"
        for one in self._worst_first():
            yield f"[{STATES[one.code]}] {one.text}\n"
        yield f"{perfdata}\n"


def of_service(check: HealthCheck) -> str:
    """Return what is to be said of a check that has been called, behind its service's name.

    A single target is left out there.
    """
    said: str = check.summary_str
    if check.count is None:
        said = said.removeprefix(f"{where(check.targets[0].report, NAME_LIMIT)} ")
    return said


def _joined(texts: Sequence[str], room: int) -> str:
    """Return as many texts as there is room for, at least one, and how many there is none for."""
    line, left = texts[0], len(texts) - 1
    for one in texts[1:]:
        longer = f"{line}{SEPARATOR}{one}"
        if len(longer) + len(MORE.format(left)) > room:
            break
        line, left = longer, left - 1
    return line + (MORE.format(left) if left else "")
