"""Says at a terminal what a run waits for, once it has been silent for half a second.

It is one more procedure beside the sessions: it pauses, looks at what they are about, and ends with
the last of them. A run that nobody watches has none of this.
"""

from __future__ import annotations

from check_smtp_health.escaping import harmless
from check_smtp_health.net.operations import Pause, Within
from check_smtp_health.stages import DELIVERY
from check_smtp_health.terminal import Line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from check_smtp_health.net.operations import Procedure, TimedProcedure
    from check_smtp_health.policy import Policy
    from check_smtp_health.probing.probe import ProbePlan
    from check_smtp_health.stages import Stage

SILENCE = 0.5
"""Seconds before anything is said: whoever gets an answer at once needs no comfort."""

TICK = 0.25
"""Seconds between two looks."""

SPARE = 1.0
"""Seconds beyond both deadlines in which the last session may still end."""


def watched(plan: ProbePlan) -> tuple[ProbePlan, Callable[[], TimedProcedure[None]]]:
    """Return the same plan, with steps that report themselves, and what shows the reports."""
    progress = _Progress(plan)
    return progress.plan, progress.run


class _Progress:
    """Knows what each session is about, if it follows this ``plan``."""

    def __init__(self, plan: ProbePlan) -> None:
        settings = plan.settings
        self._limit = settings.endpoint.timeout
        self._longest = settings.longest + SPARE
        self._delivery_limit = settings.roundtrip.timeout if settings.roundtrip else 0.0
        self._now = 0.0
        self._under_way: dict[object, tuple[str, str, float]] = {}  # target, step, beginning
        self._last = ("", plan.stages.resolve.name)
        stages = plan.stages
        self.plan = plan._replace(
            stages=stages._replace(
                resolve=self._watched(stages.resolve),
                session=tuple(map(self._watched, stages.session)),
                quit=self._watched(stages.quit),
                delivery=stages.delivery and self._watched(stages.delivery),
                token=stages.token and self._watched(stages.token),
            ),
            policies=tuple(map(self._watched_policy, plan.policies)),
        )

    def run(self) -> TimedProcedure[None]:
        """Show what is waited for until nothing is, whatever the deadline of the sessions."""
        yield Within(self._longest, [self._told()])

    def _told(self) -> TimedProcedure[None]:
        line = Line()
        try:
            outcome = yield Pause(SILENCE, is_idle=True)
            pause = SILENCE
            began = outcome.began
            # One that was cut short ended with the last session.
            while outcome.fault is None and outcome.ended - outcome.began > pause / 2:
                self._now = outcome.ended - began
                line.show(*self._words())
                pause = TICK
                outcome = yield Pause(pause, is_idle=True)
        finally:
            line.erase()

    def _words(self) -> tuple[str, str]:
        """Return what is waited for, and for how long it has been, out of how long."""
        under_way = list(self._under_way.values())
        # A search for a message goes on when all else is over.
        under_way = [one for one in under_way if one[1] != DELIVERY] or under_way
        target, step, began = under_way[0] if under_way else (*self._last, 0.0)
        seconds, limit = self._now, self._limit
        if step == DELIVERY:
            seconds, limit = self._now - began, self._delivery_limit
        others = len({one[0] for one in under_way} - {target})
        where = f"{harmless(target)}: " if target else ""
        more = f", {others} more" if others else ""
        return f"{where}{step}{more}", f"{int(seconds) or SILENCE:g} s of {limit:g}"

    def _watched(self, stage: Stage) -> Stage:
        def target(state: Any) -> str:
            label: str = state.target.label
            return label

        return stage._replace(run=self._noting(stage.name, stage.run, target))

    def _watched_policy(self, policy: Policy) -> Policy:
        def target(prepared: Any, about: Any) -> str:
            return getattr(getattr(about, "target", None), "label", "")

        return policy._replace(check=self._noting(policy.name, policy.check, target))

    def _noting(
        self,
        step: str,
        run: Callable[..., Procedure[Any]],
        target: Callable[..., str],
    ) -> Callable[..., Procedure[Any]]:
        """Return what a step does, with its beginning and its end noted."""

        def noted(*arguments: Any) -> Procedure[Any]:
            key = object()
            self._last = (target(*arguments), step)
            self._under_way[key] = (*self._last, self._now)
            try:
                return (yield from run(*arguments))
            finally:
                del self._under_way[key]

        return noted
