"""What was measured, as perfdata, in the order of a session.

nagiosplugin sorts perfdata by label, but graphs of check_smtp draw the first metric: ``time`` has
to come first. It also makes an object of each metric, which costs five times the text.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.metrics import MailServer
    from check_smtp_health.settings import Settings

DAYS = "certificate_days"
"""The label of the days that a certificate is still valid."""

DNSBL = "dnsbl"
"""The label of the number of listings in DNSBLs."""

HEALTHY = "healthy"
"""The label of the number of targets that are OK or WARNING."""

TIME = "time"
"""The label of the seconds that the session took."""


class Perfdata:
    """Writes the perfdata of one run; ``stages`` are all names of stages in their order."""

    def __init__(self, settings: Settings, stages: tuple[str, ...]) -> None:
        self._limits = {
            label: f";{settings.warning.get(label, '')};{settings.critical.get(label, '')}"
            for label in (TIME, *stages, DAYS, DNSBL, HEALTHY)
        }
        most = f";{settings.timeout:.6f}".rstrip("0").rstrip(".")
        self._seconds = [
            (label, f"s{self._limits[label]};0{most if label == TIME else ''}")
            for label in (TIME, *stages)
        ]

    def of_target(self, target: MailServer) -> list[str]:
        """Return an item for each of a target's metrics."""
        times = target.times
        begin, end = (f"'{target.prefix}", "'=") if target.prefix else ("", "=")
        items = [
            f"{begin}{label}{end}{times[label]:.6f}{rest}"
            for label, rest in self._seconds
            if label in times
        ]
        if target.certificate is not None:
            # Days may be less than 0, so there is no least; nothing follows the limits.
            limits = self._limits[DAYS].rstrip(";")
            items.append(f"{begin}{DAYS}{end}{target.certificate.days}{limits}")
        items += [
            f"{begin}{DNSBL}{end}{verdict.listings}{self._limits[DNSBL]};0"
            for verdict in target.report.verdicts
            if verdict.listings is not None
        ]
        return items

    def of_service(self, healthy: int, count: int) -> str:
        """Return the item for all targets together: how many of them are healthy."""
        return f"{HEALTHY}={healthy}{self._limits[HEALTHY]};0;{count}"
