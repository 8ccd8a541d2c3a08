"""THE FAILURE TABLE: what happened -> state, and how states are ranked.

Theory of operation
-------------------

Everything has been measured before this room is entered. ``resources`` turns each ``Report`` into
metrics: one per failure, finding and measured value that has a limit. nagiosplugin hands each
metric to its context (``contexts``), which returns a state and a sentence: a failure's state comes
from the table here, a value's from its limits. ``check`` collects the results, decides the state of
the whole by the ranking here, and writes the perfdata. ``text`` makes the status line, and the
lines of ``-v``, from the results: it never judges again.
"""

from __future__ import annotations

from check_smtp_health.judge.nagios import Critical, Ok, Unknown, Warn
from check_smtp_health.smtp.session import is_transient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal

    from check_smtp_health.config import settings
    from check_smtp_health.config.settings import Judging
    from check_smtp_health.errors import Kind
    from check_smtp_health.judge.causes import Diagnosis
    from check_smtp_health.report import Failure, Finding, Observation

    State = Any  # nagiosplugin has no types
    Rule = Literal[settings.State, "-t", "--tempfail", "-c"]

FAILURES: dict[Kind, Rule] = {
    "unresolvable": "critical",
    "unreachable": "critical",
    "timed_out": "-t",
    "disconnected": "critical",
    "violation": "critical",
    "handshake_failed": "critical",
    "untrusted": "critical",
    "rejected": "critical",
    "transient": "--tempfail",
    "not_offered": "critical",
    "forbidden": "critical",
    "open_relay": "critical",
    "backscatter": "critical",
    "unproven": "warning",
    "unmatched": "warning",
    "undelivered": "critical",
    "bounced": "critical",
    "duplicated": "warning",
    "misplaced": "warning",
    "unauthenticated": "warning",
    "unauthorised": "critical",
    "undeleted": "warning",
    "no_policy": "critical",
    "insecure": "critical",
    "uncovered": "critical",
    "listed": "-c",
    "misconfigured": "warning",
    "noted": "ok",
    "unanswered": "unknown",
    "local": "unknown",
    "interrupted": "unknown",
}
"""The state of each kind of failure or finding, or the option that says it.

``transient`` is a rejection with a 4yz code.
"""

REFUSALS: tuple[Kind, ...] = (*("rejected", "transient", "open_relay", "backscatter", "unproven"),)
"""Findings that mean that their stage failed, although the session went on."""

STATES = {"ok": Ok, "warning": Warn, "critical": Critical, "unknown": Unknown}

# As Monitoring Plugins rank them: our own trouble must not hide the server's.
_RANK = {Ok: 0, Unknown: 1, Warn: 2, Critical: 3}


def state_of(kind: Kind, judging: Judging) -> State:
    """Return the state of a kind of failure or finding."""
    rule = judging.states.get(kind) or FAILURES[kind]
    chosen = {"-t": judging.timeout_state, "--tempfail": judging.tempfail}
    return STATES[chosen.get(rule, rule)]


def state_with(diagnosis: Diagnosis | None, kind: Kind, judging: Judging) -> State:
    """Return the state of a failure or finding: its cause decides, where that has a state."""
    if diagnosis is not None:
        chosen = judging.states.get(diagnosis.cause.name) or diagnosis.cause.state
        if chosen:
            return STATES[chosen]
    return state_of(kind, judging)


def kind_of(problem: Failure | Finding) -> Kind:
    """Return the kind by which a failure or finding is judged."""
    code = getattr(problem, "code", None)  # a finding has none: its kind says it
    if problem.kind == "rejected" and code is not None and is_transient(code):
        return "transient"
    return problem.kind


def worst(states: Iterable[State]) -> State:
    """Return the state that decides among several."""
    return max(states, key=_RANK.__getitem__, default=Ok)


def badness(state: State) -> int:
    """Sort key: the worst state first."""
    return -_RANK[state]


def is_failed(seen: Observation) -> bool:
    """Whether a stage failed, so that its time does not count."""
    if seen.failure is not None or not seen.findings:
        return seen.failure is not None
    return any(one.kind in REFUSALS for one in seen.findings)
