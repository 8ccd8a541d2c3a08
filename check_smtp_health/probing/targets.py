"""Which servers a run probes: hosts, their addresses, the MX set of a domain; and how it does."""

from __future__ import annotations

from check_smtp_health import stages
from check_smtp_health.config.parsers import identity
from check_smtp_health.errors import LocalFault, SessionFault, UsageFault, is_unanswered
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import driver
from check_smtp_health.net.operations import Pause, Together, untimed
from check_smtp_health.probing.probe import ProbePlan, probe
from check_smtp_health.report import Finding, PolicyResult
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
    from check_smtp_health.policy.mx import MxSet
    from check_smtp_health.probing.controls import Controls
    from check_smtp_health.report import Host, Report
    from check_smtp_health.stages import Stage
    from check_smtp_health.stages.state import ProbeState, StageRun

SPARE = 32
"""Files that a run has open beside its connections."""


FOUND_LIMIT = 1000
"""Targets that DNS may lead a run to, by ``--all-addresses``: an answer has up to 256 records, so
that a domain could name 100,000. No domain has more than some dozens."""

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
    if settings.policies.given or settings.tls.all_certificates:
        from check_smtp_health import policy

        policies = policy.prepare(settings, prepared.servers)
        keys = [secret for one in policies for secret in one.secrets]
        prepared = prepared._replace(secrets=(*prepared.secrets, *keys))
    return ProbePlan(settings, stages.plan(settings), prepared, policies)


def probe_all(plan: ProbePlan, signals: Sequence[Signals]) -> list[Report]:
    """Probe every target under one deadline, which begins now; ``signals`` interrupt it."""
    endpoint = plan.settings.endpoint
    if not endpoint.controls:
        return _probe_all(plan, signals)
    watch = _Watch(plan)
    return watch.judged(_probe_all(watch.plan, signals, watch))


def _probe_all(
    plan: ProbePlan, signals: Sequence[Signals], watch: _Watch | None = None
) -> list[Report]:
    endpoint = plan.settings.endpoint
    service = _Service(plan, watch)
    aside: list[TimedProcedure[Any]] = [] if watch is None else [watch.run()]
    deadline = driver.Deadline(_seconds(endpoint))
    of_run = [policy for policy in plan.policies if policy.scope == "run"]
    if endpoint.mx or endpoint.all_addresses or service.of_domain or of_run:
        expanded = [service.expand(host) for host in endpoint.hosts]
        if of_run:
            from check_smtp_health import policy

            aside.append(untimed(policy.of_run(of_run, plan.settings)))
        found: list[Any] = driver.run([*expanded, *aside], deadline, signals)
        reports = service.reports(found[: len(expanded)])
        if of_run:
            from check_smtp_health.probing import senders

            has_several = endpoint.has_several
            reports = senders.attached(reports, found[-1], has_several=has_several)
        return _masked(reports, plan)
    sessions = [service.session(host) for host in endpoint.hosts]
    probed: list[Any] = driver.run([*sessions, *aside], deadline, signals)
    return probed[: len(sessions)]


def _seconds(endpoint: Endpoint) -> float:
    """Return the seconds for all sessions: of hundreds the answer takes a part of the time, too."""
    for_answer = len(endpoint.hosts) // ANSWERED_AT_ONCE * 0.1
    return round(max(endpoint.timeout - for_answer, endpoint.timeout / 2), 3)


def _masked(reports: list[Report], plan: ProbePlan) -> list[Report]:
    """Return the reports without secrets: what a domain says has come without a session."""
    if not plan.prepared.secrets:
        return reports
    from check_smtp_health.masking import Mask

    mask = Mask(plan.prepared.secrets)
    return [mask.over(report) for report in reports]


class _Watch:
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


_LATE = "{} was judged before the MX set of {} was known"


class _Expanded(NamedTuple):
    """What a HOST of the command line has come to.

    ``own`` are the reports on the way to its ``hosts``, which stand here by their identity, for
    those of other domains may be among them. ``policies`` are the results about the domain.
    """

    own: tuple[Report, ...]
    hosts: tuple[object, ...] = ()
    policies: tuple[PolicyResult, ...] = ()


class _Service:
    """Follows the hosts to the targets that they stand for, and probes these, each of them once.

    ``of_domain`` are the policies about a domain that the run asks about.
    """

    def __init__(self, plan: ProbePlan, watch: _Watch | None = None) -> None:
        self._plan = plan
        self._watch = watch
        self._endpoint = plan.settings.endpoint
        self.of_domain = [policy for policy in plan.policies if policy.scope == "domain"]
        self._room = Room()
        self._found = 0
        self._is_doubted = False  # whether the MX set that names the targets may be forged
        self._probed: dict[object, list[Report]] = {}
        self._next_hops: dict[object, NextHops] = {}
        self._resolve = plan.stages.resolve
        if self._endpoint.mx:
            from check_smtp_health.policy import mx

            self._resolve = self._resolve._replace(run=mx.resolve)

    def session(self, host: Host) -> TimedProcedure[Report]:
        """Probe a host at the first of its addresses that connects."""
        label = _bracketed(host.given) if self._endpoint.has_several else ""
        return self._probe(self._target(host, label))

    def expand(self, host: Host) -> TimedProcedure[_Expanded]:
        """Probe all that a host of the command line stands for."""
        return self._of_domain(host) if self._endpoint.mx else self._with_policies(host, None)

    def reports(self, expanded: Sequence[_Expanded]) -> list[Report]:
        """Return all reports; a host of several domains stands with the first of them."""
        told: list[Report] = []
        alone = {host for one in expanded if self._is_hopeless(one) for host in one.hosts}
        policies: dict[object, list[PolicyResult]] = {}
        for one in expanded:
            for host in one.hosts:
                policies.setdefault(host, []).extend(one.policies)
        known: set[object] = set()
        for one in expanded:
            several = list(one.own)
            for host in one.hosts:
                if host not in known:
                    several += [
                        report._replace(is_alone=host in alone)
                        for report in self._judged(host, policies[host])
                    ]
            known.update(one.hosts)
            if one.policies:
                several[0] = several[0]._replace(policies=(*several[0].policies, *one.policies))
            told += several
        return told

    def _judged(self, host: object, results: Sequence[PolicyResult]) -> list[Report]:
        """Return the reports on a host, judged by what is known of its domains."""
        reports = self._probed[host]
        for policy in self.of_domain:
            if policy.on_hosts is not None:
                own = [one for one in results if one.name == policy.name]
                reports = policy.on_hosts(own, reports)
        return reports

    def _is_hopeless(self, expanded: _Expanded) -> bool:
        """Whether none of a domain's hosts can take mail."""
        return all(
            report.is_misdirected for host in expanded.hosts for report in self._probed[host]
        )

    def _probe(self, target: Target) -> TimedProcedure[Report]:
        planned = self._plan.stages
        is_known = target.addresses or target.host.kind != "name"
        session = planned.session if is_known else (self._resolve, *planned.session)
        return probe(target, self._plan, session)

    def _of_each_address(self, host: Host) -> TimedProcedure[list[Report]]:
        found: list[Address] = []

        def look_up(state: ProbeState) -> StageRun:
            yield from self._resolve.run(state)
            addresses = state.connection.addresses
            self._found += len(addresses)
            if self._found > FOUND_LIMIT:
                raise LocalFault(f"more than {FOUND_LIMIT} addresses are too many for one run")
            found.extend(addresses)

        report = yield from self._look_up(host, look_up)
        if not found:
            return [report]
        several = tuple(found)
        targets = [self._target(host, _bracketed(one.host), (one,), several) for one in several]
        outcome = yield Together([self._probe(target) for target in targets])
        reports: list[Report] = outcome.value
        return reports

    def _of_domain(self, domain: Host) -> TimedProcedure[_Expanded]:
        from check_smtp_health.policy import mx

        found: list[MxSet] = []

        def look_up(state: ProbeState) -> StageRun:
            assert state.prepared.servers is not None
            expected = self._endpoint.expect_mx
            found.append((yield from mx.find(state.prepared.servers, domain, expected)))

        report = yield from self._look_up(
            domain, self._watch.watched(look_up) if self._watch is not None else look_up
        )
        report = report._replace(is_domain=True)
        if not found:
            return _Expanded((report,))
        results = [found[0].result]
        for policy in self._plan.policies:
            if policy.on_mx_set is not None:
                judging = untimed(policy.on_mx_set(policy.prepared, domain, found[0]))
                results += (yield Together([judging])).value
                self._is_doubted |= policy.vouches and bool(results[-1].findings)
        results += self._late(domain, found[0])
        report = report._replace(policies=tuple(results))
        return (yield from self._with_policies(domain, found[0].hosts, report))

    def _late(self, domain: Host, found: MxSet) -> list[PolicyResult]:
        """Have hosts judged for one more domain; return what is to be said where that is too late.

        It is, where another domain has led to the host long before.
        """
        late = [
            host.given
            for host in found.hosts
            if not self._next_hops.setdefault(identity(host), NextHops()).add(found.names)
        ]
        return [
            PolicyResult(policy.name, (Finding("unanswered", _LATE.format(host, domain.given)),))
            for policy in self._plan.policies
            if policy.vouches
            for host in late
        ]

    def _of_hosts(self, hosts: Sequence[Host]) -> TimedProcedure[None]:
        """Probe those of the hosts that no other domain has led to."""
        new = [host for host in hosts if identity(host) not in self._probed]
        self._probed.update((identity(host), []) for host in new)
        if self._endpoint.all_addresses:
            outcome = yield Together([self._of_each_address(host) for host in new])
        else:
            outcome = yield Together([self._at_first_address(host) for host in new])
        for host, reports in zip(new, outcome.value):
            self._probed[identity(host)] += reports

    def _at_first_address(self, host: Host) -> TimedProcedure[list[Report]]:
        return [(yield from self.session(host))]

    def _with_policies(
        self, domain: Host, hosts: Sequence[Host] | None, *own: Report
    ) -> TimedProcedure[_Expanded]:
        """Probe a domain's hosts, itself where None are known, and check its policies meanwhile."""
        targets = [domain] if hosts is None else hosts
        expanded = _Expanded(own, tuple(map(identity, targets)))
        if not self.of_domain:
            yield from self._of_hosts(targets)
            return expanded
        from check_smtp_health.policy import Domain, result

        assert self._plan.prepared.servers is not None
        about = Domain(self._plan.prepared.servers, domain, hosts)
        outcome = yield Together(
            [
                self._of_hosts(targets),
                *(untimed(result(one, about, self._plan.settings)) for one in self.of_domain),
            ]
        )
        results = outcome.value[1:]
        return expanded._replace(policies=tuple(one for one in results if one is not None))

    def _look_up(
        self, host: Host, look_up: Callable[[ProbeState], StageRun]
    ) -> TimedProcedure[Report]:
        """Report on a look-up that leads to the targets: a session of that stage only."""
        stage = self._plan.stages.resolve._replace(run=look_up)
        return (yield from probe(Target(host, None, host.given), self._plan, (stage,)))

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
        return Target(
            host, name, label, addresses, self._is_doubted, siblings, next_hops, self._room
        )


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
