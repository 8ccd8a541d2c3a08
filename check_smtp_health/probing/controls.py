"""The controls: does only the target not answer, or does nobody answer us?

Loaded, and asked, once resolving or connecting to a target has failed without an answer, or has
taken half of the time; every control once, whatever the number of targets. At the same time the
targets themselves are asked for what else they have: addresses of the other family, ports 465 and
587. All of that is over before the run's deadline.

None of the controls answers: our own network is down, and the failure says nothing of the target.
Only controls on other ports do: before that means a blocked port, a control that answers elsewhere
is asked on the run's own port as well, and what it answers there counts.
"""

from __future__ import annotations

from check_smtp_health.errors import SessionFault, TimedOut, is_unanswered
from check_smtp_health.net import addresses
from check_smtp_health.net.operations import Close, Connect, Together, untimed
from check_smtp_health.net.way import look_up
from check_smtp_health.report import first_of
from check_smtp_health.stages import CONNECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.config.hosts import Control
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Reason
    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure, TimedProcedure
    from check_smtp_health.report import Failure, Host, Report
    from check_smtp_health.stages.state import ProbeState

OTHER_PORTS = (465, 587)
"""Ports on which a mail server may answer although the run's port is silent."""

NAMED = 3
"""Controls that a status line names."""

TARGETS = 8
"""Targets that are asked for what else they have: where more are silent, it is not their ports."""


class Controls:
    """The controls of one run, and what came of asking them."""

    def __init__(self, settings: Settings, servers: Servers | None) -> None:
        self._settings = settings
        # Those of a policy are there as well; only --nameserver is for every look-up.
        self._servers = servers if settings.endpoint.nameservers else None
        self._answers: dict[Control, bool] = {}
        self._is_port_open = False
        self._elsewhere: dict[Host, list[str]] = {}

    def ask(self, states: Sequence[ProbeState], share: float) -> TimedProcedure[None]:
        """Ask every control, and the targets for what else they have, in a share of the time."""
        connecting = {one.target.host: one for one in states if one.connection.addresses}
        self._answers = dict.fromkeys(self._settings.endpoint.controls, False)
        asked = [self._ask_control(control) for control in self._answers]
        for host, state in list(connecting.items())[:TARGETS]:
            self._elsewhere[host] = []
            if self._settings.endpoint.port not in OTHER_PORTS:
                asked += [self._ask_port(state, port) for port in OTHER_PORTS]
            asked.append(self._ask_family(state))
        yield Together([untimed(one) for one in asked], share)

    def _ask_control(self, control: Control) -> Procedure[None]:
        port = self._settings.endpoint.port
        try:
            found = yield from self._resolve(control.host, control.port)
            self._answers[control] = yield from self._is_answered(found)
            if self._answers[control] and control.port == port:
                self._is_port_open = True
            elif self._answers[control]:
                found = yield from self._resolve(control.host, port)
                # Another control may have found it open meanwhile.
                if (yield from self._is_answered(found)):
                    self._is_port_open = True
        except SessionFault:
            return  # a control that cannot be asked counts as silent

    def _ask_port(self, state: ProbeState, port: int) -> Procedure[None]:
        found = tuple(_at(address, port) for address in state.connection.addresses)
        is_there = yield from self._is_answered(found, refusals=False)
        verb = "answers" if is_there else "does not answer"
        self._elsewhere[state.target.host].append(f"{state.target.host.given}:{port} {verb}")

    def _ask_family(self, state: ProbeState) -> Procedure[None]:
        host, tried = state.target.host, state.connection.addresses
        families = {address.family for address in tried}
        if host.kind != "name" or len(families) > 1:
            return
        try:
            found = yield from self._resolve(host, self._settings.endpoint.port, any_family=True)
        except SessionFault:
            return
        others = tuple(address for address in found if address.family not in families)
        if others:
            is_there = yield from self._is_answered(others, refusals=False)
            verb = "answers" if is_there else "does not answer"
            self._elsewhere[host].append(f"{host.given} {verb} at {others[0].host}")

    def _resolve(
        self, host: Host, port: int, *, any_family: bool = False
    ) -> Procedure[tuple[Address, ...]]:
        family = None if any_family else self._settings.endpoint.family
        return (yield from look_up(self._servers, host, port, family))

    def _is_answered(self, found: tuple[Address, ...], *, refusals: bool = True) -> Procedure[bool]:
        """Whether one of the addresses accepts a connection, or at least refuses it."""
        remaining = list(found)
        for address, share, limit in addresses.tries(remaining):
            try:
                yield Connect(address, self._settings.endpoint.source, share, limit)
            except SessionFault as fault:
                if refusals and fault.reason == "refused":
                    return True
                if not isinstance(fault, TimedOut):
                    remaining.remove(address)
            else:
                yield Close()
                return True
        return False

    def judged(self, report: Report) -> Report:
        """Return a report with what the controls say of its failure, if it is about that."""
        failure = report.failure
        if failure is None or not is_unanswered(failure.kind, failure.reason):
            return report
        at = [one.failure is failure for one in report.observations].index(True)
        if report.observations[at].stage not in ("resolve", CONNECT):
            return report
        told = [
            f"{control} {'answers' if is_there else 'does not answer'}"
            for control, is_there in self._answers.items()
        ]
        report = report._replace(elsewhere=(*told, *sorted(self._elsewhere.get(report.host, ()))))
        if self._is_port_open:
            return report
        observations = list(report.observations)
        observations[at] = observations[at]._replace(failure=self._explained(failure))
        return report._replace(observations=tuple(observations))

    def _explained(self, failure: Failure) -> Failure:
        silent = [control for control, is_there in self._answers.items() if not is_there]
        others = [control for control, is_there in self._answers.items() if is_there]
        reason: Reason = "other ports only" if others else "controls silent"
        controls = f"the control{'s' if len(silent) > 1 else ''} {first_of(silent, NAMED)}"
        if others:
            ending = f", but {first_of(others, NAMED)} answer{'s' if len(others) == 1 else ''}"
        elif failure.kind == "timed_out":
            ending = f", nor from {controls}"
        else:
            ending = f", and no answer from {controls}"
        return failure._replace(problem=f"{failure.problem}{ending}", reason=reason)


def _at(address: Address, port: int) -> Address:
    host, _, *rest = address.sockaddr
    return address._replace(sockaddr=(host, port, *rest))
