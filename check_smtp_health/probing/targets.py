"""Which servers a run probes: hosts, their addresses, the MX set of a domain; and how it does."""

from __future__ import annotations

from check_smtp_health import stages
from check_smtp_health.config.hosts import identity
from check_smtp_health.errors import SessionFault, UsageFault, is_unanswered
from check_smtp_health.loading import load
from check_smtp_health.net import driver
from check_smtp_health.net.operations import Pause
from check_smtp_health.probing.probe import ProbePlan, probe
from check_smtp_health.stages import CONNECT
from check_smtp_health.stages.state import NextHops, Room, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from signal import Signals
    from typing import Any

    from check_smtp_health.config.settings import Endpoint, Settings
    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.operations import TimedProcedure
    from check_smtp_health.policy import Policy
    from check_smtp_health.probing.controls import Controls
    from check_smtp_health.report import Host, Report
    from check_smtp_health.stages import Stage
    from check_smtp_health.stages.state import ProbeState, StageRun

    Begun = tuple[list[TimedProcedure[Any]], Callable[[list[Any]], list[Report]]]

SPARE = 32
"""Files that a run has open beside its connections."""


ANSWERED_AT_ONCE = 250
"""Targets whose answer takes 0.1 s at most, as JSON, when all are silent until the deadline."""


def make_room(settings: Settings) -> None:
    """Let this process open as many files as it may, where many targets or lists are asked.

    Raises:
        UsageFault: these are too few.
    """
    if not (settings.endpoint.has_several or settings.policies.given):
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = len(settings.endpoint.hosts)
    if hard != resource.RLIM_INFINITY and count + SPARE > hard:
        raise UsageFault(
            "hostname",
            f"{count} hosts are too many for {hard} open files (ulimit -n), "
            f"{max(0, hard - SPARE)} would fit",
        )


def prepare(settings: Settings) -> ProbePlan:
    """Import what the run needs, read all files, and return what it is going to do.

    Raises:
        UsageFault: a file cannot be used, a package is missing, a policy cannot be asked about.
    """
    make_room(settings)
    prepared = stages.prepare(settings)
    policies: tuple[Policy, ...] = ()
    if settings.policies.given:
        from check_smtp_health import policy

        policies = policy.prepare(settings, prepared.servers)
        keys = [secret for one in policies for secret in one.secrets]
        prepared = prepared._replace(secrets=(*prepared.secrets, *keys))
    return ProbePlan(settings, stages.plan(settings), prepared, policies)


def probe_all(
    plan: ProbePlan, signals: Sequence[Signals], *aside: Callable[[], TimedProcedure[None]]
) -> list[Report]:
    """Probe every target under one deadline, which begins now; ``signals`` interrupt it.

    What each ``aside`` begins is served at the same time, whatever the run waits for.
    """
    sessions, reports = begun(plan)
    deadline = driver.Deadline(seconds(plan.settings.endpoint))
    found: list[Any] = driver.run([*sessions, *(begin() for begin in aside)], deadline, signals)
    return reports(found[: len(sessions)])


def begun(plan: ProbePlan) -> Begun:
    """Return the sessions of a run, to be served at the same time, and what reports on them.

    That makes the reports of what the sessions have returned.
    """
    if plan.stages.token is not None:
        whole: TimedProcedure[Any] = load("probing.tokens:session")(plan)
        return [whole], lambda found: found[0]
    endpoint = plan.settings.endpoint
    return begun_within(plan, seconds(endpoint)) if endpoint.controls else _begun(plan)


def begun_within(plan: ProbePlan, left: float) -> Begun:
    """Return the same for a run that has its tokens, and so many seconds left."""
    if not plan.settings.endpoint.controls:
        return _begun(plan)
    watch = Watch(plan, left)
    sessions, reports = _begun(watch.plan, watch)

    def judged(found: list[Any]) -> list[Report]:
        return watch.judged(reports(found[:-1]))

    return [*sessions, watch.run()], judged


def _begun(plan: ProbePlan, watch: Watch | None = None) -> Begun:
    endpoint = plan.settings.endpoint
    if (
        endpoint.mx
        or endpoint.all_addresses
        or (plan.policies and any(one.scope in ("domain", "run") for one in plan.policies))
    ):
        expanded: Begun = load("probing.expansion:begun")(plan, watch)
        return expanded
    prober = Prober(plan)
    return [prober.session(host) for host in endpoint.hosts], list


def seconds(endpoint: Endpoint) -> float:
    """Return the seconds for all sessions: with hundreds, writing the answer takes time as well."""
    for_answer = len(endpoint.hosts) // ANSWERED_AT_ONCE * 0.1
    return round(max(endpoint.timeout - for_answer, endpoint.timeout / 2), 3)


class Watch:
    """Has the controls asked once resolving or connecting fails without an answer, or takes long.

    ``plan`` is the same plan, with stages that report when they begin and how they end; ``seconds``
    are those left until the deadline.
    """

    def __init__(self, plan: ProbePlan, seconds: float) -> None:
        self._seconds = seconds
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
        half = self._seconds / 2
        outcome = yield Pause(half, is_idle=True)
        if not self._states or outcome.fault is not None:
            return
        from check_smtp_health.probing.controls import Controls

        self._controls = Controls(self._settings, self._servers)
        left = self._seconds - (outcome.ended - outcome.began)
        yield from self._controls.ask(self._states, half / max(left, half))

    def judged(self, reports: list[Report]) -> list[Report]:
        """Return the reports with what the controls say about each."""
        return reports if self._controls is None else list(map(self._controls.judged, reports))


class Prober:
    """Probes hosts, each at the first of its addresses that connects."""

    def __init__(self, plan: ProbePlan) -> None:
        self._plan = plan
        self._endpoint = plan.settings.endpoint
        self._room = plan.room or Room()
        self._is_doubted = False  # whether the MX set that names the targets may be forged
        self._next_hops: dict[object, NextHops] = {}
        self._resolve = plan.stages.resolve

    def session(self, host: Host) -> TimedProcedure[Report]:
        """Probe a host at the first of its addresses that connects."""
        label = bracketed(host.given) if self._endpoint.has_several else ""
        return self._probe(self._target(host, label))

    def _probe(self, target: Target) -> TimedProcedure[Report]:
        planned = self._plan.stages
        is_known = target.addresses or target.host.kind != "name"
        session = planned.session if is_known else (self._resolve, *planned.session)
        return probe(target, self._plan, session)

    def _target(
        self,
        host: Host,
        label: str,
        addresses: tuple[Address, ...] = (),
        siblings: tuple[Address, ...] = (),
    ) -> Target:
        name = self._plan.settings.tls.sni
        if name is None and host.kind != "socket":
            name = host.dns_name.partition("%")[0]
        next_hops = self._next_hops.get(identity(host)) if self._next_hops else None
        self._room.targets += 1
        return Target._make(
            (host, name, label, addresses, self._is_doubted, siblings, next_hops, self._room)
        )


def bracketed(address: str) -> str:
    """Return an address as a label has it."""
    return f"[{address}]" if ":" in address else address
