"""Which servers a run asks: hosts, their addresses, the MX set of a domain; and asking them all."""

from __future__ import annotations

from check_smtp_health.errors import UsageFault
from check_smtp_health.net import driver
from check_smtp_health.net.deadline import Deadline
from check_smtp_health.net.wishes import Together, answered
from check_smtp_health.probe import probe
from check_smtp_health.stages import RESOLVE, Stage
from check_smtp_health.stages.visit import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from signal import Signals
    from typing import Any

    from check_smtp_health.arguments import Host
    from check_smtp_health.net.wishes import Address, Dialogue, Run
    from check_smtp_health.observation import Report
    from check_smtp_health.policy.mx import MxSet
    from check_smtp_health.settings import Settings
    from check_smtp_health.stages.visit import Kit, Visit


SPARE = 32
"""Files that a run has open beside its connections."""


def make_room(settings: Settings) -> None:
    """Let this process open as many files as it may, where many targets or lists are asked.

    Raises:
        UsageFault: these are too few.
    """
    if not (settings.has_several or settings.policies.dnsbl):
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = len(settings.hosts)
    if hard != resource.RLIM_INFINITY and count + SPARE > hard:
        raise UsageFault(
            "hostname",
            f"{count} hosts are too many for {hard} open files (ulimit -n), "
            f"{max(0, hard - SPARE)} would fit",
        )


def check(
    settings: Settings, plan: tuple[Stage, ...], kit: Kit, signals: Sequence[Signals]
) -> list[Report]:
    """Probe every target under one deadline, which begins now; ``signals`` interrupt it."""
    if settings.policies.are_any:
        from check_smtp_health import verdicts

        verdicts.load(settings.policies)
    service = _Service(settings, plan, kit)
    if settings.mx or settings.all_addresses or settings.policies.mta_sts:
        expanded = [service.expanded(host) for host in settings.hosts]
        found = driver.run(expanded, Deadline(settings.timeout), signals)
        return [report for reports in found for report in reports]
    sessions = [service.session(host) for host in settings.hosts]
    return driver.run(sessions, Deadline(settings.timeout), signals)


class _Service:
    """Follows the hosts to the targets that they stand for, and probes these."""

    def __init__(self, settings: Settings, plan: tuple[Stage, ...], kit: Kit) -> None:
        self._settings = settings
        self._plan = plan
        self._kit = kit

    def session(self, host: Host) -> Dialogue[Report]:
        """Probe a host at the first of its addresses that connects."""
        label = _bracketed(host.given) if self._settings.has_several else ""
        return self._probe(self._target(host, label))

    def expanded(self, host: Host) -> Dialogue[list[Report]]:
        """Probe all that a host of the command line stands for."""
        return self._of_domain(host) if self._settings.mx else self._with_policy(host, [host])

    def _probe(self, target: Target) -> Dialogue[Report]:
        is_known = target.addresses or target.host.kind != "name"
        walk = self._plan if is_known else (RESOLVE, *self._plan)
        return probe(target, walk, self._settings, self._kit)

    def _of_each_address(self, host: Host) -> Dialogue[list[Report]]:
        found: list[Address] = []

        def look_up(visit: Visit) -> Run[None]:
            yield from RESOLVE.run(visit)
            found.extend(visit.addresses)

        report = yield from self._looked_up(host, look_up)
        if not found:
            return [report]
        targets = [self._target(host, _bracketed(address.host), address) for address in found]
        answer = yield Together([self._probe(target) for target in targets])
        reports: list[Report] = answer.value
        return reports

    def _of_domain(self, domain: Host) -> Dialogue[list[Report]]:
        from check_smtp_health.policy import mx

        found: list[MxSet] = []

        def look_up(visit: Visit) -> Run[None]:
            assert visit.kit.servers is not None
            found.append((yield from mx.find(visit.kit.servers, domain)))

        report = yield from self._looked_up(domain, look_up)
        report = report._replace(is_domain=True)
        if not found:
            return [report]
        verdicts = [found[0].verdict]
        if self._settings.policies.dane:
            from check_smtp_health.policy import dane

            verdicts.append(dane.of_domain(domain.given, is_secure=found[0].is_secure))
        report = report._replace(verdicts=tuple(verdicts))
        return (yield from self._with_policy(domain, found[0].hosts, report))

    def _of_hosts(self, hosts: Sequence[Host]) -> Dialogue[list[Report]]:
        if self._settings.all_addresses:
            answer = yield Together([self._of_each_address(host) for host in hosts])
            return [one for several in answer.value for one in several]
        answer = yield Together([self.session(host) for host in hosts])
        reports: list[Report] = answer.value
        return reports

    def _with_policy(
        self, domain: Host, hosts: Sequence[Host], *reports: Report
    ) -> Dialogue[list[Report]]:
        """Probe the hosts and look at the domain's policy meanwhile; the first report tells it.

        ``reports`` are those that come before the hosts' own.
        """
        if not self._settings.policies.mta_sts:
            return [*reports, *(yield from self._of_hosts(hosts))]
        from check_smtp_health import verdicts

        known = hosts if self._settings.mx else None
        policy = answered(verdicts.of_domain(domain, known, self._settings, self._kit))
        answer = yield Together([self._of_hosts(hosts), policy])
        sessions, verdict = answer.value
        told = [*reports, *sessions]
        told[0] = told[0]._replace(verdicts=(*told[0].verdicts, verdict))
        return told

    def _looked_up(self, host: Host, look_up: Any) -> Dialogue[Report]:
        """Report on a look-up that leads to the targets: a session of that stage alone."""
        walk = (RESOLVE._replace(run=look_up),)
        target = Target(host, None, host.given)
        return (yield from probe(target, walk, self._settings, self._kit))

    def _target(self, host: Host, label: str, *addresses: Address) -> Target:
        name = self._settings.sni
        if name is None and host.kind != "socket":
            name = host.ascii.rstrip(".").partition("%")[0]
        return Target(host, name, label, addresses)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
