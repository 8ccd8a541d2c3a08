"""When the controls of a run are asked: on the first sign that it may be we who are cut off."""

from __future__ import annotations

from check_smtp_health.errors import SessionFault, is_unanswered
from check_smtp_health.net.operations import Pause
from check_smtp_health.stages import CONNECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from check_smtp_health.net.operations import TimedProcedure
    from check_smtp_health.probing.controls import Controls
    from check_smtp_health.probing.probe import ProbePlan
    from check_smtp_health.report import Report
    from check_smtp_health.stages import Stage
    from check_smtp_health.stages.state import ProbeState, StageRun


class Watch:
    """Has the controls asked once resolving or connecting fails without an answer, or takes long.

    ``plan`` is the same plan, but for stages that tell this when they begin and how they end.
    """

    def __init__(self, plan: ProbePlan) -> None:
        self._settings = plan.settings
        self._servers = plan.prepared.servers
        self._states: list[ProbeState] = []  # of those who are at it, or failed
        self._controls: Controls | None = None
        stages = plan.stages
        session = tuple(
            self._watched(stage) if stage.name == CONNECT else stage for stage in stages.session
        )
        resolve = self._watched(stages.resolve)
        self.plan = plan._replace(stages=stages._replace(resolve=resolve, session=session))

    def _watched(self, stage: Stage) -> Stage:
        return stage._replace(run=self.watched(stage.run))

    def watched(self, run: Callable[[ProbeState], StageRun]) -> Callable[[ProbeState], StageRun]:
        """Return what a stage does, with its beginning and its end noted."""

        def noted(state: ProbeState) -> StageRun:
            self._states.append(state)
            try:
                yield from run(state)
            except SessionFault as fault:
                if not is_unanswered(fault.kind, fault.reason):
                    self._states.remove(state)
                raise
            self._states.remove(state)

        return noted

    def run(self) -> TimedProcedure[None]:
        """Have the controls asked after half of the time, or the last session, where need be."""
        half = self._settings.endpoint.timeout / 2
        outcome = yield Pause(half, is_idle=True)
        if not self._states or outcome.fault is not None:
            return
        from check_smtp_health.probing.controls import Controls

        self._controls = Controls(self._settings, self._servers)
        left = self._settings.endpoint.timeout - (outcome.ended - outcome.began)
        yield from self._controls.ask(self._states, half / max(left, half))

    def judged(self, reports: list[Report]) -> list[Report]:
        """Return the reports with what the controls say of each."""
        return reports if self._controls is None else list(map(self._controls.judged, reports))
