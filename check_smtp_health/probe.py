"""One target: walks the plan, times each stage, turns faults into values. The one stop-watch."""

from __future__ import annotations

from check_smtp_health.errors import Rejected, SessionFault
from check_smtp_health.net.wishes import Close, Connect, Read, Write
from check_smtp_health.observation import Exchange, Failure, Observation, Report
from check_smtp_health.stages import QUIT, Visit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.net.wishes import Answer, Dialogue, Wish
    from check_smtp_health.settings import Settings
    from check_smtp_health.stages import Stage


def probe(plan: tuple[Stage, ...], settings: Settings) -> Dialogue[Report]:
    """Walk through the plan until a stage fails, say QUIT where that makes sense, and report."""
    walk = _Walk(settings)
    fault: SessionFault | None = None
    for stage in plan:
        fault = yield from walk.through(stage)
        if fault is not None or walk.visit.is_over:
            break
    seconds = walk.seconds
    # After anything but a clean refusal there is nobody left to take leave of.
    if walk.visit.is_connected and (fault is None or isinstance(fault, Rejected)):
        yield from walk.through(QUIT)
    yield Close()
    address = walk.visit.address
    return Report(
        host=settings.host.given,
        port=settings.port,
        address=address.host if address is not None else "",
        seconds=seconds if any(seen.stage == "connect" for seen in walk.observations) else None,
        observations=tuple(walk.observations),
        transcript=tuple(walk.transcript),
    )


class _Walk:
    """The stages walked so far, on one time axis that begins with the first wish."""

    __slots__ = ("_ended", "_origin", "observations", "transcript", "visit")

    def __init__(self, settings: Settings) -> None:
        self.visit = Visit(settings)
        self.observations: list[Observation] = []
        self.transcript: list[Exchange] = []
        self._origin: float | None = None
        self._ended = 0.0

    @property
    def seconds(self) -> float:
        """Seconds from the first wish to the last answer."""
        return self._ended - (self._origin or 0.0)

    def through(self, stage: Stage) -> Dialogue[SessionFault | None]:
        """Run one stage and note what happened; return the fault that stopped it."""
        run = stage.run(self.visit)
        began: float | None = None
        failure: Failure | None = None
        stopped: SessionFault | None = None
        findings = ()
        try:
            wish = next(run)
            while True:
                if stage.limit is not None and isinstance(wish, (Read, Write)):
                    spent = 0.0 if began is None else self._ended - began
                    wish = wish._replace(limit=max(0.0, stage.limit - spent))
                answer = yield wish
                if self._origin is None:
                    self._origin = answer.began
                if began is None:
                    # Who only listens has been waiting since the stage before ended.
                    began = self._ended if isinstance(wish, Read) else answer.began
                self._ended = answer.ended
                self._note(wish, answer)
                if answer.fault is not None:
                    wish = run.throw(answer.fault)
                else:
                    wish = run.send(answer.value)
        except StopIteration as stop:
            findings = stop.value
        except SessionFault as fault:
            stopped = fault
            code = fault.code if isinstance(fault, Rejected) else None
            failure = Failure(fault.kind, fault.problem, fault.said, code)
        seconds = 0.0 if began is None else self._ended - began
        start = self.seconds - seconds
        self.observations.append(Observation(stage.name, start, seconds, failure, findings))
        return stopped

    def _note(self, wish: Wish, answer: Answer) -> None:
        moment = answer.ended - (self._origin or 0.0)
        if answer.fault is not None:
            if isinstance(answer.fault, SessionFault):
                self.transcript.append(Exchange(moment, "*", answer.fault.problem.encode()))
        elif isinstance(wish, Read):
            sender, data = ("S", answer.value) if answer.value else ("*", b"connection closed")
            self.transcript.append(Exchange(moment, sender, data))
        elif isinstance(wish, Write):
            self.transcript.append(Exchange(moment, "C", wish.shown or wish.data))
        elif isinstance(wish, Connect):
            self.transcript.append(
                Exchange(moment, "*", f"connected to {wish.address.host}".encode())
            )
