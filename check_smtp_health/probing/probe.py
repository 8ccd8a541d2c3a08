"""One target: goes through the plan, times each stage, turns faults into values.

Theory of operation
-------------------

``probe`` is a procedure between the driver and the stages. A stage yields operations and is sent
plain values; ``probe`` passes each operation on to the driver and takes the moments off its
outcome. Nobody else measures, so all times of a session lie on one axis, which begins with the
first operation.

The plan is run stage by stage until one raises a ``SessionFault``: that is where a fault becomes a
value (``Failure``), and the only place where one is caught for good. What follows is decided by
its type. After a clean refusal the server is still there: an open transaction is reset, and QUIT
is said. After anything else there is nobody to say goodbye to, and the connection is closed. A bug
ends the run; but where there are several targets it becomes a fault of ours in one of them, for
what is known of the others must not be lost.

Then come the questions that need no session: the policies about this server, and, at the same
time, the search for the message that the session handed over. None of this changes the times.
A policy that vouches for the server comes earlier where there is a password: before it is sent.
What a stage has served ``Within`` a limit of its own are dialogues like its own, so that they are
in the transcript, too: one after the other, each in one piece.
"""

from __future__ import annotations

from check_smtp_health.errors import (
    Interrupted,
    LocalFault,
    Misdirected,
    NotOffered,
    Rejected,
    SessionFault,
    Untrusted,
)
from check_smtp_health.loading import load
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.operations import (
    Close,
    Connect,
    Read,
    StartTls,
    Together,
    Within,
    Write,
    untimed,
)
from check_smtp_health.report import Failure, Observation, PolicyResult, Report
from check_smtp_health.stages import CONNECT, EXPLAIN_LIMIT
from check_smtp_health.stages.state import ProbeState, own_fault, sentence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.operations import (
        Procedure,
        TimedProcedure,
    )
    from check_smtp_health.policy import Policy
    from check_smtp_health.probing.transcript import Transcript
    from check_smtp_health.report import Exchange
    from check_smtp_health.stages import Plan, Stage
    from check_smtp_health.stages.state import Prepared, Room, Target

    _T = TypeVar("_T")

# The server behaves correctly, but refused or lacks what was wanted.
_CLEAN = (Rejected, NotOffered, LocalFault)

VOUCHING_SHARE = 0.5
"""The part of the time left in which somebody has to vouch for the server: the rest is its own."""


class ProbePlan(NamedTuple):
    """What is done with each target, and what was prepared for it.

    ``room`` is what targets share with those of other checks, where there are any.
    """

    settings: Settings
    stages: Plan
    prepared: Prepared
    policies: tuple[Policy, ...] = ()
    room: Room | None = None


def probe(target: Target, plan: ProbePlan, stages: tuple[Stage, ...]) -> TimedProcedure[Report]:
    """Go through the stages until one fails, say QUIT where that makes sense, and report."""
    walk = _Walk(target, plan)
    state = walk.state
    fault: SessionFault | None = None
    for stage in stages:
        if not stage.is_due(state):
            continue
        if stage.is_secret and not (yield from _is_vouched_for(walk, plan, stage)):
            break
        fault = yield from walk.through(stage)
        if fault is not None:
            break
    seconds, ended = walk.seconds, walk.ended
    if state.connection.is_up and (fault is None or isinstance(fault, _CLEAN)):
        reset = plan.stages.reset
        if reset is not None and reset.is_due(state):
            fault = yield from walk.through(reset)
        if fault is None or isinstance(fault, _CLEAN):
            fault = yield from walk.through(plan.stages.quit)
    delivery = plan.stages.delivery
    if delivery is not None and (isinstance(fault, Interrupted) or not delivery.is_due(state)):
        delivery = None
    policies = walk.vouched
    servers = _unasked(plan, policies) if plan.policies else []
    if servers and not isinstance(fault, Misdirected):
        yield Close()
        asked: list[TimedProcedure[Any]] = [untimed(_of_server(servers, state))]
        if delivery is not None:
            asked.append(walk.through(delivery, since=ended))
        policies += (yield Together(asked)).value[0]
    elif delivery is not None:
        yield Close()
        yield from walk.through(delivery, since=ended)
    if state.delivery is not None and any(one.scope == "message" for one in plan.policies):
        policies = yield from _of_message(plan, state, policies)
    tls = state.connection.tls.facts() if state.connection.tls is not None else None
    address = state.connection.address
    report = Report(
        host=target.host,
        port=plan.settings.endpoint.port,
        address=address.host if address is not None else "",
        seconds=seconds if any(seen.stage == CONNECT for seen in walk.observations) else None,
        observations=tuple(walk.observations),
        transcript=walk.transcript,
        tls=tls and tls._replace(is_pinned=any(one.is_pinned for one in policies)),
        delivery=state.delivery,
        policies=policies,
        label=target.label,
        is_domain=False,
        held=tuple(walk.held),
        elsewhere=(),
        is_alone=False,  # all fields in their order: see namedtuple for what that saves
    )
    return state.masked(report)


def _is_vouched_for(walk: _Walk, plan: ProbePlan, stage: Stage) -> TimedProcedure[bool]:
    """Return whether the server may be told a secret; whoever has to vouch for it is asked."""
    if walk.state.target.is_doubted:
        return False
    vouching = [policy for policy in plan.policies if policy.vouches]
    if vouching and not walk.vouched:
        outcome = yield Together([untimed(_of_server(vouching, walk.state))], VOUCHING_SHARE)
        walk.skip(outcome.ended - outcome.began)
        walk.vouched = tuple(_ended(one, stage) for one in outcome.value[0])
    return not any(one.findings for one in walk.vouched)


def _unasked(plan: ProbePlan, known: tuple[PolicyResult, ...]) -> list[Policy]:
    """Return the policies about a server whose results are not known."""
    names = [one.name for one in known]
    return [one for one in plan.policies if one.scope == "server" and one.name not in names]


def _of_server(policies: list[Policy], state: ProbeState) -> Procedure[tuple[PolicyResult, ...]]:
    """Have the policies checked at the same time."""
    from check_smtp_health.net.operations import together
    from check_smtp_health.policy import result

    results = yield from together(result(policy, state, state.settings) for policy in policies)
    return tuple(one for one in results if one is not None)


def _of_message(
    plan: ProbePlan, state: ProbeState, known: tuple[PolicyResult, ...]
) -> TimedProcedure[tuple[PolicyResult, ...]]:
    """Have the message that arrived judged, in as much time again as the session has."""
    from check_smtp_health.policy import of_message

    judging = untimed(of_message(plan.policies, state, known))
    outcome = yield Within(plan.settings.endpoint.timeout, [judging])
    (found,) = outcome.value  # what stops a policy has become its result
    return tuple(found)


def _ended(result: PolicyResult, stage: Stage) -> PolicyResult:
    """Add to a policy that does not vouch for the server which stage was left out."""
    if not result.findings:
        return result
    first, *others = result.findings
    first = first._replace(problem=f"{first.problem}, so {stage.name} was not tried")
    return result._replace(findings=(first, *others))


def _let_go(fault: BaseException) -> None:
    """Forget where a fault was raised, and what led to it.

    It holds the frames that hold it, and with them all that the session had in hand.
    """
    fault.__traceback__ = fault.__cause__ = fault.__context__ = None


class _Walk:
    """The stages run so far, on one time axis that begins with the first operation."""

    __slots__ = (
        "_began",
        "_origin",
        "_transcript",
        "ended",
        "held",
        "observations",
        "state",
        "vouched",
    )

    def __init__(self, target: Target, plan: ProbePlan) -> None:
        self.state = ProbeState(target, plan.settings, plan.prepared)
        self.observations: list[Observation] = []
        self.held: list[str] = []
        self.vouched: tuple[PolicyResult, ...] = ()  # what had to be known before a secret was told
        self._transcript: Transcript | None = None
        if plan.settings.judging.keeps_transcript:
            self._transcript = load("probing.transcript:Transcript")(self.state.room)
        self._origin: float | None = None
        self._began: float | None = None  # the stage under way, once its first outcome is there
        self.ended = 0.0

    @property
    def seconds(self) -> float:
        """Seconds from the first operation to the last outcome."""
        return self.ended - (self._origin or 0.0)

    @property
    def transcript(self) -> tuple[Exchange, ...]:
        """What was sent and received, where that is kept."""
        return () if self._transcript is None else tuple(self._transcript.exchanges)

    def skip(self, seconds: float) -> None:
        """Leave out seconds that are not part of the session, by moving its beginning."""
        if self._origin is not None:
            self._origin += seconds
        self.ended += seconds
        if self._transcript is not None and self._transcript.origin is not None:
            self._transcript.origin += seconds

    def through(
        self, stage: Stage, since: float | None = None
    ) -> TimedProcedure[SessionFault | None]:
        """Run one stage and note what happened; return the fault that stopped it.

        Its time counts from the moment ``since``, where there is one.
        """
        fault: SessionFault | None = None
        state = self.state
        state.findings, state.notes = [], ()
        self._began = since
        try:
            yield from self._served(stage.run(state), stage.limit)
        except SessionFault as stopped:
            fault = stopped
        except Exception as bug:
            fault = own_fault(bug, state.settings)
        ended = self.ended
        seconds = 0.0 if self._began is None else ended - self._began
        began = self.seconds - seconds
        failure: Failure | None = None
        if fault is not None:
            if isinstance(fault, Untrusted) and stage.explain is not None:
                self._began = None
                _let_go(fault)
                fault = yield from self._served(stage.explain(state, fault), EXPLAIN_LIMIT)
                self.ended = ended  # no time of the session's
            failure = self._failure(fault)
            _let_go(fault)
        if stage.name:
            findings = tuple(state.findings) if state.findings else ()
            seen = (stage.name, began, seconds, failure, findings, state.notes)
            self.observations.append(Observation._make(seen))
        if state.held:
            self.held += [one.said(seconds) for one in state.held]
            state.held = []
        return fault

    def _served(self, procedure: Procedure[_T], limit: float | None) -> TimedProcedure[_T]:
        """Pass the operations on, note their times, and return what the procedure returns."""
        transcript = self._transcript
        try:
            operation = next(procedure)
            while True:
                if limit is not None and isinstance(operation, (Connect, Read, Write, StartTls)):
                    taken = 0.0 if self._began is None else self.ended - self._began
                    operation = operation._replace(limit=max(0.0, limit - taken))
                if transcript is not None and isinstance(operation, Within):
                    outcome = yield from transcript.overheard(operation)
                else:
                    outcome = yield operation
                value, began, ended = outcome
                if self._began is None:
                    # A stage that only listens has been waiting since the one before it ended.
                    self._began = self.ended if isinstance(operation, Read) else began
                    if self._origin is None:
                        self._origin = began
                self.ended = ended
                if transcript is not None:
                    transcript.note(operation, outcome)
                if isinstance(value, BaseException):
                    try:
                        operation = procedure.throw(value)
                    finally:
                        if isinstance(value, SessionFault):  # of a bug it is said where it arose
                            _let_go(value)
                else:
                    operation = procedure.send(value)
        except StopIteration as stop:
            result: _T = stop.value
            return result

    def _failure(self, fault: SessionFault) -> Failure:
        kind, said, reason = fault.kind, self.state.kept(fault.said), fault.reason
        if isinstance(fault, Rejected):
            return Failure(kind, fault.problem, said, fault.code, reason, fault.subject)
        return Failure(kind, sentence(fault), said, None, reason)
