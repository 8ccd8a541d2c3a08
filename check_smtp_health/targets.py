"""Which servers a run asks: hosts, their addresses, the MX set of a domain; and asking them all."""

from __future__ import annotations

from check_smtp_health.net import driver
from check_smtp_health.net.deadline import Deadline
from check_smtp_health.net.wishes import Together
from check_smtp_health.probe import probe
from check_smtp_health.stages import RESOLVE, Stage
from check_smtp_health.stages.visit import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from signal import Signals
    from typing import Any

    from check_smtp_health.arguments import Host
    from check_smtp_health.net.wishes import Address, Dialogue, Run
    from check_smtp_health.observation import Report
    from check_smtp_health.policy.mx import MxSet
    from check_smtp_health.settings import Settings
    from check_smtp_health.stages.visit import Kit, Visit


def check(
    settings: Settings, plan: tuple[Stage, ...], kit: Kit, signals: Sequence[Signals]
) -> list[Report]:
    """Probe every target under one deadline, which begins now; ``signals`` interrupt it."""
    service = _Service(settings, plan, kit)
    sessions = [service.of(host) for host in settings.hosts]
    found = driver.run(sessions, Deadline(settings.timeout), signals)
    return [report for reports in found for report in reports]


class _Service:
    """Follows the hosts to the targets that they stand for, and probes these."""

    def __init__(self, settings: Settings, plan: tuple[Stage, ...], kit: Kit) -> None:
        self._settings = settings
        self._plan = plan
        self._kit = kit

    def of(self, host: Host) -> Dialogue[list[Report]]:
        """Probe what a host of the command line stands for."""
        if self._settings.mx:
            return self._of_domain(host)
        return self._of_host(host)

    def _of_host(self, host: Host) -> Dialogue[list[Report]]:
        if self._settings.all_addresses:
            return self._of_each_address(host)
        label = host.given if self._settings.has_several else ""
        return self._all((self._target(host, label),))

    def _all(self, targets: Iterable[Target]) -> Dialogue[list[Report]]:
        walks = [probe(target, self._walk(target), self._settings, self._kit) for target in targets]
        if len(walks) == 1:
            return [(yield from walks[0])]
        answer = yield Together(walks)
        reports: list[Report] = answer.value
        return reports

    def _of_each_address(self, host: Host) -> Dialogue[list[Report]]:
        found: list[Address] = []

        def look_up(visit: Visit) -> Run[None]:
            yield from RESOLVE.run(visit)
            found.extend(visit.addresses)

        report = yield from self._looked_up(host, look_up)
        if not found:
            return [report]
        return (
            yield from self._all(
                self._target(host, _bracketed(address.host), address) for address in found
            )
        )

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
        answer = yield Together([self._of_host(host) for host in found[0].hosts])
        reports = [one for several in answer.value for one in several]
        return [report._replace(verdicts=(found[0].verdict,)), *reports]

    def _walk(self, target: Target) -> tuple[Stage, ...]:
        is_known = target.addresses or target.host.kind != "name"
        return self._plan if is_known else (RESOLVE, *self._plan)

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
