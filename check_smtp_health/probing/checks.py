"""Many checks in one run: each as if it were alone, but for what equal ones share.

Checks that ask the same servers the same questions share one session: what they ask is all of their
settings but how the outcome is judged.
"""

from __future__ import annotations

import collections

from check_smtp_health.config.accounts import Secret
from check_smtp_health.net import turns
from check_smtp_health.net.turns import Ticket
from check_smtp_health.probing import targets
from check_smtp_health.stages.state import Room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from signal import Signals
    from typing import Any

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.turns import Ended
    from check_smtp_health.probing.probe import ProbePlan

ROOM_OF_EACH = 128 * 1024
"""Bytes of what its server says that each target may use, of each sort: twice the longest reply, so
that one is kept as it would be of a target that is alone."""


class EqualRoom(Room):
    """The room of targets that come and go: the same for each, whoever else there is."""

    __slots__ = ()

    @property
    def share(self) -> int:
        """Bytes that each of them may use."""
        return ROOM_OF_EACH


def run(
    plans: Sequence[ProbePlan],
    at_once: int,
    spread: float,
    report: Callable[[int, Ended], None],
    signals: Sequence[Signals],
) -> None:
    """Have every plan carried out, and report on each by its place, as soon as it has ended.

    The value is the list of its reports, or what stopped it. ``report`` must not raise.
    """
    endpoints = collections.Counter(plan.settings.endpoint for plan in plans)
    groups: dict[object, list[int]] = {}
    for number, plan in enumerate(plans):
        endpoint = plan.settings.endpoint
        # Most have one of their own, so that there is nothing else to compare.
        key = endpoint if endpoints[endpoint] == 1 else asked(plan.settings)
        groups.setdefault(key, []).append(number)
    numbers = list(groups.values())

    def report_all(group: int, ended: Ended) -> None:
        for number in numbers[group]:
            report(number, ended)

    tickets = [_ticket(_united([plans[number] for number in group])) for group in numbers]
    turns.run(tickets, at_once, spread, report_all, signals)


def asked(settings: Settings) -> object:
    """Return what checks with these settings ask: equal values ask the same."""
    return (
        settings.endpoint,
        settings.greeting,
        settings.tls,
        _comparable(settings.login),
        settings.transaction,
        _comparable(settings.roundtrip),
        _comparable(settings.policies),
    )


def _comparable(value: Any) -> Any:
    """Return a value that equals that of another check where both mean the same."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, dict):
        return tuple(value.items())
    return tuple(map(_comparable, value)) if isinstance(value, tuple) else value


def _united(equal: Sequence[ProbePlan]) -> ProbePlan:
    """Return one plan for all that ask the same."""
    plan, *others = equal
    if any(one.settings.judging.keeps_transcript for one in others):
        judging = plan.settings.judging._replace(keeps_transcript=True)
        plan = plan._replace(settings=plan.settings._replace(judging=judging))
    return plan


def _ticket(plan: ProbePlan) -> Ticket:
    settings = plan.settings
    keys: tuple[str, ...] = ()
    if settings.roundtrip is not None:
        # While its session stands a check cannot wait for its mailbox: the message is on its way.
        keys = tuple({one.host.dns_name.lower() for one in settings.roundtrip.mailboxes})
    return Ticket._make((lambda: targets.begun(plan), targets.seconds(settings.endpoint), keys))
