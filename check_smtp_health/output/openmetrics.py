"""``--output-format openmetrics``: gauges for Prometheus, through node_exporter's text files.

They are OpenMetrics and the older text format at once, for node_exporter reads that one. It refuses
samples with timestamps, too: when a check ended is a gauge of its own.
https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

import re

from check_smtp_health.config.thresholds import TIME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from check_smtp_health.judge.resources import MailServer
    from check_smtp_health.output.answer import Answer

    Sample = tuple[str, str, Any]

DAY = 24 * 60 * 60

UP = (0, 1)
"""Exit codes of a service that does its job: OK and WARNING."""

# The families, by what follows the prefix, in the order of the document.
FAMILIES = {
    "state": "State of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
    "up": "Whether the state is OK or WARNING.",
    "check_timestamp_seconds": "When the check ended, in seconds since 1970.",
    "check_duration_seconds": "How long the check took, including what is not part of the session.",
    "healthy": "Targets of the check that are OK or WARNING.",
    "targets": "Targets of the check.",
    "time_seconds": "Duration of the session without QUIT.",
    "stage_seconds": "Duration of each stage of the session that completed.",
    "certificate_expiry_seconds": "Time until the server's certificate expires.",
    "dnsbl": "Blocklists that list the server.",
    "spf_lookups": "DNS look-ups that receivers need for the SPF record.",
    "dkim_key_bytes": "Size of the smallest DKIM key: 256 are 2048 bits.",
}

PREFIX = "smtp_health_"

UNITS = ("seconds", "bytes")

DKIM_BITS = "dkim_bits"
"""What perfdata has in a unit that Prometheus has no use for."""


def record(answer: Answer) -> list[Sample]:
    """Return the samples of an answer: of each the family, without prefix, its labels and value."""
    labels = f'host="{_escaped(answer.host)}",service="{_escaped(answer.service)}"'
    samples = [
        ("state", labels, str(answer.code)),
        ("up", labels, str(int(answer.code in UP))),
        ("check_timestamp_seconds", labels, f"{answer.finished:.3f}"),
        ("check_duration_seconds", labels, f"{max(0.0, answer.finished - answer.began):.6f}"),
    ]
    check = answer.check
    if check is None:
        return samples
    if check.count is not None:
        healthy = check.count.metric
        samples += [("healthy", labels, healthy.value), ("targets", labels, healthy.max)]
    for target in check.targets:
        samples += _of_target(target, labels)
    return samples


def _of_target(target: MailServer, labels: str) -> Iterator[Sample]:
    if target.report.label:
        labels += f',target="{_escaped(target.report.label)}"'
    for stage, seconds in target.times.items():
        if stage == TIME:
            yield "time_seconds", labels, f"{seconds:.6f}"
        else:
            yield "stage_seconds", f'{labels},stage="{stage}"', f"{seconds:.6f}"
    if target.certificate is not None:
        left = target.certificate.left * DAY
        yield "certificate_expiry_seconds", labels, f"{left:.0f}"
    for policy in target.report.policies:
        if policy.listings is not None:
            yield "dnsbl", labels, str(policy.listings)
        for name, value in policy.measures:
            domain, _, label = name.rpartition("::")
            about = f'{labels},domain="{_escaped(domain)}"' if domain else labels
            if label == DKIM_BITS:
                yield "dkim_key_bytes", about, f"{value / 8:g}"
            else:
                yield re.sub(r"\W", "_", label), about, str(value)


def document(records: Iterable[list[Sample]]) -> Iterator[str]:
    """Give the samples of all checks by family: no family may come twice, and no sample.

    Of those with the same labels, which two checks of the same name have, the last one counts.
    """
    families: dict[str, dict[str, str]] = {name: {} for name in FAMILIES}
    for samples in records:
        for name, labels, value in samples:
            families.setdefault(name, {})[labels] = value
    for name, values in families.items():
        if values:
            yield _head(name)
            yield from (f"{PREFIX}{name}{{{labels}}} {value}\n" for labels, value in values.items())
    yield "# EOF\n"


def _head(name: str) -> str:
    ending = name.rpartition("_")[2]
    unit = f"# UNIT {PREFIX}{name} {ending}\n" if ending in UNITS else ""
    about = FAMILIES.get(name, f"The same as {name} in the perfdata.")
    return f"# TYPE {PREFIX}{name} gauge\n{unit}# HELP {PREFIX}{name} {about}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
