"""The answer as engines and people read it: a status line, perfdata, and with ``-v`` more lines."""

from __future__ import annotations

from check_smtp_health.escaping import STATUS_LIMIT, shortened

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.judge.check import HealthCheck


def render(check: HealthCheck, verbose: int) -> str:
    """Return the text for a check that has been called."""
    status = _status(check)
    perfdata = f"| {' '.join(check.perfdata)}" if check.perfdata else ""
    if not verbose:
        return f"{status} {perfdata}".rstrip() + "\n"
    return "\n".join(line for line in (status, *check.verbose_str, perfdata) if line) + "\n"


def short(check: HealthCheck) -> str:
    """Return the status line alone."""
    return f"{_status(check)}\n"


def _status(check: HealthCheck) -> str:
    return f"SMTP {str(check.state).upper()} - {check.summary_str}"


def unknown(problem: str, trace: str) -> str:
    """Return the text for a run that could not begin, or ended in a bug."""
    return f"SMTP UNKNOWN - {shortened(problem, STATUS_LIMIT)}\n{trace}"
