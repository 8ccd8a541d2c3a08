"""Which servers a run probes: hosts, their addresses, the MX set of a domain; and how it does."""

from __future__ import annotations

from check_smtp_health import stages
from check_smtp_health.errors import UsageFault
from check_smtp_health.net import driver
from check_smtp_health.net.operations import Together, untimed
from check_smtp_health.probing.probe import ProbePlan, probe
from check_smtp_health.stages.state import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from signal import Signals

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.operations import TimedProcedure
    from check_smtp_health.policy import Policy
    from check_smtp_health.policy.mx import MxSet
    from check_smtp_health.report import Host, PolicyResult, Report
    from check_smtp_health.stages.state import ProbeState, StageRun

SPARE = 32
"""Files that a run has open beside its connections."""


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
    return ProbePlan(settings, stages.plan(settings), prepared, policies)


def probe_all(plan: ProbePlan, signals: Sequence[Signals]) -> list[Report]:
    """Probe every target under one deadline, which begins now; ``signals`` interrupt it."""
    endpoint = plan.settings.endpoint
    service = _Service(plan)
    if endpoint.mx or endpoint.all_addresses or service.of_domain:
        expanded = [service.expand(host) for host in endpoint.hosts]
        found = driver.run(expanded, driver.Deadline(endpoint.timeout), signals)
        return _masked([report for reports in found for report in reports], plan)
    sessions = [service.session(host) for host in endpoint.hosts]
    return driver.run(sessions, driver.Deadline(endpoint.timeout), signals)


def _masked(reports: list[Report], plan: ProbePlan) -> list[Report]:
    """Return the reports without secrets: what a domain says has come without a session."""
    if not plan.prepared.secrets:
        return reports
    from check_smtp_health.masking import Mask

    mask = Mask(plan.prepared.secrets)
    return [mask.over(report) for report in reports]


class _Service:
    """Follows the hosts to the targets that they stand for, and probes these.

    ``of_domain`` are the policies about a domain that the run asks about.
    """

    def __init__(self, plan: ProbePlan) -> None:
        self._plan = plan
        self._endpoint = plan.settings.endpoint
        self.of_domain = [policy for policy in plan.policies if policy.scope == "domain"]
        self._is_doubted = False  # whether the MX set that names the targets may be forged

    def session(self, host: Host) -> TimedProcedure[Report]:
        """Probe a host at the first of its addresses that connects."""
        label = _bracketed(host.given) if self._endpoint.has_several else ""
        return self._probe(self._target(host, label))

    def expand(self, host: Host) -> TimedProcedure[list[Report]]:
        """Probe all that a host of the command line stands for."""
        return self._of_domain(host) if self._endpoint.mx else self._with_policies(host, None)

    def _probe(self, target: Target) -> TimedProcedure[Report]:
        planned = self._plan.stages
        is_known = target.addresses or target.host.kind != "name"
        session = planned.session if is_known else (planned.resolve, *planned.session)
        return probe(target, self._plan, session)

    def _of_each_address(self, host: Host) -> TimedProcedure[list[Report]]:
        found: list[Address] = []

        def look_up(state: ProbeState) -> StageRun:
            yield from self._plan.stages.resolve.run(state)
            found.extend(state.connection.addresses)

        report = yield from self._look_up(host, look_up)
        if not found:
            return [report]
        targets = [self._target(host, _bracketed(address.host), address) for address in found]
        outcome = yield Together([self._probe(target) for target in targets])
        reports: list[Report] = outcome.value
        return reports

    def _of_domain(self, domain: Host) -> TimedProcedure[list[Report]]:
        from check_smtp_health.policy import mx

        found: list[MxSet] = []

        def look_up(state: ProbeState) -> StageRun:
            assert state.prepared.servers is not None
            found.append((yield from mx.find(state.prepared.servers, domain)))

        report = yield from self._look_up(domain, look_up)
        report = report._replace(is_domain=True)
        if not found:
            return [report]
        results = [found[0].result]
        for policy in self._plan.policies:
            if policy.on_mx_set is not None:
                results.append(policy.on_mx_set(domain, found[0]))
                self._is_doubted |= policy.vouches and bool(results[-1].findings)
        report = report._replace(policies=tuple(results))
        return (yield from self._with_policies(domain, found[0].hosts, report))

    def _of_hosts(self, hosts: Sequence[Host]) -> TimedProcedure[list[Report]]:
        if self._endpoint.all_addresses:
            outcome = yield Together([self._of_each_address(host) for host in hosts])
            return [one for several in outcome.value for one in several]
        outcome = yield Together([self.session(host) for host in hosts])
        reports: list[Report] = outcome.value
        return reports

    def _with_policies(
        self, domain: Host, hosts: Sequence[Host] | None, *reports: Report
    ) -> TimedProcedure[list[Report]]:
        """Probe a domain's hosts, itself where None are known, and check its policies meanwhile.

        The first report has the results; ``reports`` are those that come before the hosts' own.
        """
        targets = [domain] if hosts is None else hosts
        if not self.of_domain:
            return [*reports, *(yield from self._of_hosts(targets))]
        from check_smtp_health.policy import Domain, result

        assert self._plan.prepared.servers is not None
        about = Domain(self._plan.prepared.servers, domain, hosts, self._endpoint.family)
        outcome = yield Together(
            [
                self._of_hosts(targets),
                *(untimed(result(one, about, self._plan.settings)) for one in self.of_domain),
            ]
        )
        sessions, *results = outcome.value
        for policy, one in zip(self.of_domain, results):
            if policy.on_hosts is not None and one is not None:
                sessions = policy.on_hosts(one, sessions)
        told: list[Report] = [*reports, *sessions]
        found: list[PolicyResult] = [one for one in results if one is not None]
        told[0] = told[0]._replace(policies=(*told[0].policies, *found))
        return told

    def _look_up(
        self, host: Host, look_up: Callable[[ProbeState], StageRun]
    ) -> TimedProcedure[Report]:
        """Report on a look-up that leads to the targets: a session of that stage only."""
        stage = self._plan.stages.resolve._replace(run=look_up)
        return (yield from probe(Target(host, None, host.given), self._plan, (stage,)))

    def _target(self, host: Host, label: str, *addresses: Address) -> Target:
        name = self._plan.settings.tls.sni
        if name is None and host.kind != "socket":
            name = host.dns_name.partition("%")[0]
        return Target(host, name, label, addresses, self._is_doubted)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
