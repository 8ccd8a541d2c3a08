"""The answer as engines and people read it: a status line, perfdata, and with ``-v`` more lines."""

from __future__ import annotations

from check_smtp_health.escaping import STATUS_LIMIT, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from check_smtp_health.judge.check import HealthCheck


def render(check: HealthCheck, verbose: int) -> Iterator[str]:
    """Give the text for a check that has been called."""
    status = _status(check)
    perfdata = f"| {' '.join(check.perfdata)}" if check.perfdata else ""
    if not verbose:
        yield f"{status} {perfdata}".rstrip() + "\n"
        return
    from check_smtp_health import stdout
    from check_smtp_health.judge.verbose import ASCII, BLOCKS, lines

    yield f"{status}\n"
    for line in lines(check, verbose, BLOCKS if stdout.can_say("".join(BLOCKS)) else ASCII):
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
    return f"SMTP UNKNOWN - {shortened(problem, STATUS_LIMIT)}\n{trace}"
