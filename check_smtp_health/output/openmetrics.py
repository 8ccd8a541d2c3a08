"""``--output-format openmetrics``: gauges for Prometheus, by way of node_exporter's text files.

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

    from check_smtp_health.judge.resources import MailServer
    from check_smtp_health.output.answer import Answer

    Sample = tuple[str, str]

DAY = 24 * 60 * 60

UP = (0, 1)
"""Exit codes of a service that does its job: OK and WARNING."""

# The families, by what follows the prefix, in the order of the document.
FAMILIES = {
    "state": "State of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.",
    "up": "Whether the state is OK or WARNING.",
    "check_timestamp_seconds": "When the check ended, in seconds since 1970.",
    "check_duration_seconds": "How long the check took, with all that is not in the session.",
    "healthy": "Targets of the check that are OK or WARNING.",
    "targets": "Targets of the check.",
    "time_seconds": "Duration of the session without QUIT.",
    "stage_seconds": "Duration of each stage of the session that completed.",
    "certificate_expiry_seconds": "Time until the server's certificate expires.",
    "dnsbl": "Blocklists that list the server.",
}

PREFIX = "smtp_health_"


def record(answer: Answer) -> list[Sample]:
    """Return the samples of an answer: the family of each, without prefix; labels and value."""
    labels = f'host="{_escaped(answer.host)}",service="{_escaped(answer.service)}"'
    samples = [
        ("state", f"{{{labels}}} {answer.code}\n"),
        ("up", f"{{{labels}}} {int(answer.code in UP)}\n"),
        ("check_timestamp_seconds", f"{{{labels}}} {answer.finished:.3f}\n"),
        (
            "check_duration_seconds",
            f"{{{labels}}} {max(0.0, answer.finished - answer.began):.6f}\n",
        ),
    ]
    check = answer.check
    if check is None:
        return samples
    if check.count is not None:
        healthy = check.count.metric
        samples.append(("healthy", f"{{{labels}}} {healthy.value}\n"))
        samples.append(("targets", f"{{{labels}}} {healthy.max}\n"))
    for target in check.targets:
        label = target.report.label
        own = f'{labels},target="{_escaped(label)}"' if label else labels
        samples += _of_target(target, own)
    return samples


def _of_target(target: MailServer, labels: str) -> Iterator[Sample]:
    for stage, seconds in target.times.items():
        if stage == TIME:
            yield "time_seconds", f"{{{labels}}} {seconds:.6f}\n"
        else:
            yield "stage_seconds", f'{{{labels},stage="{stage}"}} {seconds:.6f}\n'
    if target.certificate is not None:
        left = round(target.certificate.left * DAY)
        yield "certificate_expiry_seconds", f"{{{labels}}} {left}\n"
    for policy in target.report.policies:
        if policy.listings is not None:
            yield "dnsbl", f"{{{labels}}} {policy.listings}\n"
        for name, value in policy.measures:
            yield re.sub(r"\W", "_", name), f"{{{labels}}} {value}\n"


def document(records: Iterable[list[Sample]]) -> Iterator[str]:
    """Give the samples of all checks by family: no family may come twice."""
    families: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for one in records:
        for name, sample in one:
            families.setdefault(name, []).append(sample)
    for name, samples in families.items():
        if samples:
            yield _head(name)
            yield from (f"{PREFIX}{name}{sample}" for sample in samples)
    yield "# EOF\n"


def _head(name: str) -> str:
    unit = f"# UNIT {PREFIX}{name} seconds\n" if name.endswith("_seconds") else ""
    about = FAMILIES.get(name, f"As {name} of the perfdata.")
    return f"# TYPE {PREFIX}{name} gauge\n{unit}# HELP {PREFIX}{name} {about}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
