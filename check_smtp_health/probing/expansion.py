"""What a HOST of the command line stands for: its addresses, the MX set of a domain; policies."""

from __future__ import annotations

from check_smtp_health.config.hosts import identity
from check_smtp_health.errors import LocalFault
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.operations import Together, untimed
from check_smtp_health.probing.probe import probe
from check_smtp_health.probing.targets import Prober, bracketed
from check_smtp_health.report import Finding, PolicyResult
from check_smtp_health.stages.state import NextHops, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.operations import TimedProcedure
    from check_smtp_health.policy.mx import MxSet
    from check_smtp_health.probing.probe import ProbePlan
    from check_smtp_health.probing.targets import Begun, Watch
    from check_smtp_health.report import Host, Report
    from check_smtp_health.stages.state import ProbeState, StageRun

FOUND_LIMIT = 1000
"""Targets that DNS may lead a run to, by ``--all-addresses``: an answer has up to 256 records, so
that a domain could name 100,000. No domain has more than some dozens."""


def begun(plan: ProbePlan, watch: Watch | None) -> Begun:
    """Return the sessions with all that the hosts stand for, as ``targets.begun`` does."""
    service = _Service(plan, watch)
    expanded: list[TimedProcedure[Any]] = [
        service.expand(host) for host in plan.settings.endpoint.hosts
    ]
    count = len(expanded)
    of_run = [policy for policy in plan.policies if policy.scope == "run"]
    if of_run:
        from check_smtp_health import policy

        expanded.append(untimed(policy.of_run(of_run, plan.settings)))

    def reports(found: list[Any]) -> list[Report]:
        told = service.reports(found[:count])
        if of_run:
            from check_smtp_health.probing import senders

            has_several = plan.settings.endpoint.has_several
            told = senders.attached(told, found[count], has_several=has_several)
        return _masked(told, plan)

    return expanded, reports


def _masked(reports: list[Report], plan: ProbePlan) -> list[Report]:
    """Return the reports without secrets: what a domain says has come without a session."""
    if not plan.prepared.secrets:
        return reports
    from check_smtp_health.masking import Mask

    mask = Mask(plan.prepared.secrets)
    return [mask.over(report) for report in reports]


_LATE = "{} was judged before the MX set of {} was known"


class _Expanded(NamedTuple):
    """What a HOST of the command line has come to.

    ``own`` are the reports on the way to its ``hosts``, which stand here by their identity, for
    those of other domains may be among them. ``policies`` are the results about the domain.
    """

    own: tuple[Report, ...]
    hosts: tuple[object, ...] = ()
    policies: tuple[PolicyResult, ...] = ()


class _Service(Prober):
    """Follows the hosts to the targets that they stand for, and probes these, each of them once.

    ``of_domain`` are the policies about a domain that the run asks about.
    """

    def __init__(self, plan: ProbePlan, watch: Watch | None) -> None:
        super().__init__(plan)
        self._watch = watch
        self.of_domain = [policy for policy in plan.policies if policy.scope == "domain"]
        self._found = 0
        self._probed: dict[object, list[Report]] = {}
        if self._endpoint.mx:
            from check_smtp_health.policy import mx

            self._resolve = self._resolve._replace(run=mx.resolve)

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

    def _of_each_address(self, host: Host) -> TimedProcedure[list[Report]]:
        found: list[Address] = []
        unknown: list[Finding] = []

        def look_up(state: ProbeState) -> StageRun:
            yield from self._resolve.run(state)
            if state.connection.unknown:
                from check_smtp_health.policy import unknown_addresses

                unknown.extend(unknown_addresses(state))
            addresses = state.connection.addresses
            self._found += len(addresses)
            if self._found > FOUND_LIMIT:
                raise LocalFault(f"more than {FOUND_LIMIT} addresses are too many for one run")
            found.extend(addresses)

        report = yield from self._look_up(host, look_up)
        if not found:
            return [report]
        several = tuple(found)
        targets = [self._target(host, bracketed(one.host), (one,), several) for one in several]
        outcome = yield Together([self._probe(target) for target in targets])
        reports: list[Report] = outcome.value
        if unknown:  # which is about the name, and none of its addresses
            result = PolicyResult("all-addresses", tuple(unknown))
            return [report._replace(is_domain=True, policies=(result,)), *reports]
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
