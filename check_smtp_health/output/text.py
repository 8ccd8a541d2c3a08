"""The answer as engines and people read it: a status line, perfdata, and with ``-v`` more lines."""

from __future__ import annotations

from check_smtp_health import stdout
from check_smtp_health.escaping import STATUS_LIMIT, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from check_smtp_health.judge.check import HealthCheck
    from check_smtp_health.output.answer import Answer


def record(answer: Answer) -> str:
    """Return an answer as it goes to standard output."""
    from check_smtp_health.output.answer import long_output

    perfdata = f" | {' '.join(answer.perfdata)}" if answer.perfdata else ""
    return "".join(f"{line}\n" for line in (f"{answer.status}{perfdata}", *long_output(answer)))


def document(records: Iterable[str]) -> Iterator[str]:
    """Give one answer after the other."""
    return iter(records)


def render(check: HealthCheck, verbose: int, status: str = "") -> Iterator[str]:
    """Give the text for a check that has been called; in colour where a person sees it.

    ``status`` may replace its status line.
    """
    lines = _lines(check, verbose, status or _status(check))
    return map(_painted(), lines) if stdout.is_terminal() else lines


def _lines(check: HealthCheck, verbose: int, status: str) -> Iterator[str]:
    items = check.measured()
    perfdata = f"| {' '.join(items)}" if items else ""
    if not verbose:
        yield f"{status} {perfdata}".rstrip() + "\n"
        return
    from check_smtp_health.judge.verbose import ASCII, BLOCKS, lines

    columns: int | None = None
    if stdout.is_terminal():
        from check_smtp_health import terminal

        columns = terminal.columns()
    yield f"{status}\n"
    glyphs = BLOCKS if stdout.can_say("".join(BLOCKS)) else ASCII
    for line in lines(check, verbose, glyphs, columns):
        yield f"{line}\n"
    if perfdata:
        yield f"{perfdata}\n"


def short(check: HealthCheck) -> str:
    """Return the status line alone."""
    return f"{_status(check)}\n"


def _status(check: HealthCheck) -> str:
    return f"SMTP {str(check.state).upper()} - {check.summary_str}"


def unknown(problem: str, trace: str) -> str:
    """Return the text for a run that could not begin, or ended in a bug."""
    text = f"SMTP UNKNOWN - {shortened(problem, STATUS_LIMIT)}\n"
    return (_painted()(text) if stdout.is_terminal() else text) + trace


def _painted() -> Callable[[str], str]:
    from check_smtp_health.terminal import painted

    return painted
