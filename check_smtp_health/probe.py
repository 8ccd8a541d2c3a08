"""One target: walks the plan, times each stage, turns faults into values. The one stop-watch."""

from __future__ import annotations

from check_smtp_health.errors import (
    Interrupted,
    LocalFault,
    NotOffered,
    Rejected,
    SessionFault,
    Untrusted,
)
from check_smtp_health.net.wishes import (
    Close,
    Connect,
    Read,
    StartTls,
    Together,
    Write,
    answered,
)
from check_smtp_health.observation import Exchange, Failure, Observation, Report
from check_smtp_health.stages import DELIVERY, EXPLAIN_LIMIT, QUIT, RESET
from check_smtp_health.stages.visit import Visit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, TypeVar

    from check_smtp_health.net.wishes import Answer, Dialogue, Wish
    from check_smtp_health.observation import Verdict
    from check_smtp_health.settings import Settings
    from check_smtp_health.stages import Stage
    from check_smtp_health.stages.visit import Kit, Target

    _T = TypeVar("_T")


def probe(
    target: Target, plan: tuple[Stage, ...], settings: Settings, kit: Kit
) -> Dialogue[Report]:
    """Walk through the plan until a stage fails, say QUIT where that makes sense, and report."""
    walk = _Walk(target, settings, kit)
    fault: SessionFault | None = None
    for stage in plan:
        if not stage.is_due(walk.visit):
            continue
        fault = yield from walk.through(stage)
        if fault is not None or walk.visit.is_over:
            break
    seconds, ended = walk.seconds, walk.ended
    # After anything but a clean refusal there is nobody left to take leave of.
    if walk.visit.is_connected and (fault is None or isinstance(fault, _POLITE)):
        if walk.visit.is_in_transaction:
            fault = yield from walk.through(RESET)
        if fault is None or isinstance(fault, _POLITE):
            fault = yield from walk.through(QUIT)
    is_sent = DELIVERY.applies(settings) and DELIVERY.is_due(walk.visit)
    is_awaited = is_sent and not isinstance(fault, Interrupted)
    verdicts: tuple[Verdict, ...] = ()
    if settings.policies.are_any:
        from check_smtp_health import verdicts as policies

        yield Close()
        asked: list[Dialogue[Any]] = [answered(policies.of_server(walk.visit))]
        if is_awaited:
            asked.append(walk.through(DELIVERY, since=ended))
        verdicts = (yield Together(asked)).value[0]
    elif is_awaited:
        yield Close()
        yield from walk.through(DELIVERY, since=ended)
    tls = walk.visit.tls.facts() if walk.visit.tls is not None else None
    address = walk.visit.address
    return Report(
        host=target.host.given,
        port=settings.port,
        address=address.host if address is not None else "",
        seconds=seconds if any(seen.stage == "connect" for seen in walk.observations) else None,
        observations=tuple(walk.observations),
        transcript=tuple(map(walk.masked, walk.transcript)),
        tls=tls and tls._replace(is_pinned=any(verdict.is_pinned for verdict in verdicts)),
        delivery=walk.visit.delivery,
        verdicts=verdicts,
        label=target.label,
        is_domain=False,  # all fields in their order: see values for what that saves
    )


# The server is there and well-behaved, but did not give what was wanted.
_POLITE = (Rejected, NotOffered, LocalFault)


class _Walk:
    """The stages walked so far, on one time axis that begins with the first wish."""

    __slots__ = ("_keeps_transcript", "_origin", "ended", "observations", "transcript", "visit")

    def __init__(self, target: Target, settings: Settings, kit: Kit) -> None:
        self.visit = Visit(target, settings, kit)
        self.observations: list[Observation] = []
        self.transcript: list[Exchange] = []
        self._keeps_transcript = settings.keeps_transcript
        self._origin: float | None = None
        self.ended = 0.0

    @property
    def seconds(self) -> float:
        """Seconds from the first wish to the last answer."""
        return self.ended - (self._origin or 0.0)

    def masked(self, seen: Exchange) -> Exchange:
        """Return what was sent or received without the secrets that the server repeats."""
        if seen.sender != "S":
            return seen
        return seen._replace(data=self.visit.masked(seen.data))

    def through(self, stage: Stage, since: float | None = None) -> Dialogue[SessionFault | None]:
        """Run one stage and note what happened; return the fault that stopped it.

        Its time counts from the moment ``since``, where there is one.
        """
        clock = _Clock(self.ended, since)
        fault: SessionFault | None = None
        visit = self.visit
        visit.findings = []
        try:
            yield from self._served(stage.run(visit), clock, stage.limit)
        except SessionFault as stopped:
            fault = stopped
        self.ended = clock.ended
        seconds = clock.seconds
        began = self.seconds - seconds
        failure: Failure | None = None
        if fault is not None:
            if isinstance(fault, Untrusted) and stage.explain is not None:
                aside = _Clock(self.ended)
                fault = yield from self._served(stage.explain(visit, fault), aside, EXPLAIN_LIMIT)
            failure = self._failure(fault)
        if stage.name:
            findings = tuple([one._replace(said=visit.masked(one.said)) for one in visit.findings])
            self.observations.append(Observation(stage.name, began, seconds, failure, findings))
        return fault

    def _served(
        self, run: Generator[Wish, Any, _T], clock: _Clock, limit: float | None
    ) -> Dialogue[_T]:
        """Pass the wishes on, note each answer and its moments, and return what the run returns."""
        try:
            wish = next(run)
            while True:
                if limit is not None and isinstance(wish, (Connect, Read, Write, StartTls)):
                    wish = wish._replace(limit=max(0.0, limit - clock.seconds))
                answer = yield wish
                _, began, ended = answer
                if self._origin is None:
                    self._origin = began
                clock.note(wish, began, ended)
                if self._keeps_transcript:
                    self._note(wish, answer)
                fault = answer.fault
                wish = run.send(answer.value) if fault is None else run.throw(fault)
        except StopIteration as stop:
            value: _T = stop.value
            return value

    def _failure(self, fault: SessionFault) -> Failure:
        code = fault.code if isinstance(fault, Rejected) else None
        return Failure(fault.kind, fault.problem, self.visit.masked(fault.said), code)

    def _note(self, wish: Wish, answer: Answer) -> None:
        moment = answer.ended - (self._origin or 0.0)
        if answer.fault is not None:
            if isinstance(answer.fault, SessionFault):
                self.transcript.append(Exchange(moment, "*", answer.fault.problem.encode()))
        elif isinstance(wish, Read):
            if answer.value:
                self._note_received(moment, answer.value)
            else:
                self.transcript.append(Exchange(moment, "*", b"connection closed"))
        elif isinstance(wish, Write):
            self.transcript.append(Exchange(moment, "C", wish.shown or wish.data))
        elif isinstance(wish, Connect):
            text = f"connected to {wish.address.host}".encode()
            self.transcript.append(Exchange(moment, "*", text))
        elif isinstance(wish, StartTls):
            text = f"{answer.value.version} begins".encode()
            self.transcript.append(Exchange(moment, "*", text))

    def _note_received(self, moment: float, data: bytes) -> None:
        """Keep a line together that came in pieces; it bears the moment of the last one."""
        if self.transcript and self.transcript[-1].sender == "S":
            before = self.transcript[-1]
            lines, newline, rest = before.data.rpartition(b"\n")
            if rest:
                self.transcript.pop()
                if newline:
                    self.transcript.append(before._replace(data=lines + newline))
                data = rest + data
        self.transcript.append(Exchange(moment, "S", data))


class _Clock:
    """The time one stage takes, from its first wish's answer to its last's."""

    __slots__ = ("began", "ended")

    def __init__(self, now: float, began: float | None = None) -> None:
        self.began = began
        self.ended = now

    @property
    def seconds(self) -> float:
        """Seconds taken so far; none before the first answer."""
        return 0.0 if self.began is None else self.ended - self.began

    def note(self, wish: Wish, began: float, ended: float) -> None:
        """Take the moments of a wish's answer."""
        if self.began is None:
            # Who only listens has been waiting since the stage before ended.
            self.began = self.ended if isinstance(wish, Read) else began
        self.ended = ended
