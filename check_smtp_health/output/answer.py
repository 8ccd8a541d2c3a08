"""What one check came to, under the names that an engine knows it by: what formats are made of."""

from __future__ import annotations

from check_smtp_health.escaping import STATUS_LIMIT, shortened
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.judge.check import HealthCheck

UNKNOWN = 3


class Answer(NamedTuple):
    """One check's answer. ``host`` and ``service`` are the names of the engine's objects.

    ``status`` is the whole status line, ``code`` the exit code, ``perfdata`` its items as texts.
    ``began`` and ``finished`` are seconds since 1970. ``check`` has everything else, evaluated; it
    is None where the run came to nothing. ``verbose`` is how much long output there is.
    """

    host: str
    service: str
    code: int
    status: str
    perfdata: Sequence[str]
    began: float
    finished: float
    check: HealthCheck | None = None
    verbose: int = 0


class Loss(NamedTuple):
    """How many results did not arrive, and why; none and nothing where all is well."""

    lost: int = 0
    problem: str = ""


def judged(
    host: str, service: str, times: tuple[float, float], check: HealthCheck, verbose: int
) -> Answer:
    """Return the answer of a check that has been called; it began and finished at the ``times``."""
    state = check.state
    status = f"SMTP {state.text.upper()} - {check.summary_str}"
    return Answer._make(
        (host, service, state.code, status, check.measured(), *times, check, verbose)
    )


def unknown(host: str, service: str, times: tuple[float, float], problem: str) -> Answer:
    """Return the answer of a check that could not begin, or that a bug ended."""
    status = f"SMTP UNKNOWN - {shortened(problem, STATUS_LIMIT)}"
    return Answer(host, service, UNKNOWN, status, (), *times)


def long_output(answer: Answer) -> list[str]:
    """Return the lines that ``-v`` adds, none without it. They hold no line break and no bar."""
    if not answer.verbose or answer.check is None:
        return []
    from check_smtp_health.judge.verbose import BLOCKS, lines

    return list(lines(answer.check, answer.verbose, BLOCKS))
