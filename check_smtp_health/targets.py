"""Which servers a run asks, and asking them together."""

from __future__ import annotations

from check_smtp_health.net import driver
from check_smtp_health.net.deadline import Deadline
from check_smtp_health.probe import probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from signal import Signals

    from check_smtp_health.observation import Report
    from check_smtp_health.settings import Settings
    from check_smtp_health.stages import Stage
    from check_smtp_health.stages.visit import Kit


def check(
    settings: Settings, plan: tuple[Stage, ...], kit: Kit, signals: Sequence[Signals]
) -> list[Report]:
    """Probe every target under one deadline, which begins now; ``signals`` interrupt it."""
    return driver.run([probe(plan, settings, kit)], Deadline(settings.timeout), signals)
