"""``--output-format checkmk``: lines as those of Checkmk's local checks, for an agent to pass on.

Under a host's name they are piggyback data of the agent's plugins and spool files; without one they
are what a local check prints. https://docs.checkmk.com/latest/en/localchecks.html
"""

from __future__ import annotations

import re

from check_smtp_health.output.answer import long_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from check_smtp_health.output.answer import Answer


def record(answer: Answer) -> tuple[str, str]:
    """Return the host, and the line of an answer, with its line end."""
    metrics = "|".join(filter(None, map(_metric, answer.perfdata))) or "-"
    # Neither quote may be part of a name, and nothing tells them from the ones around it.
    service = answer.service.replace('"', "_").replace("'", "_")
    text = "\\n".join(_unbroken(line) for line in (answer.status, *long_output(answer)))
    # Brackets would end the line that names it; Checkmk has no host with one.
    host = answer.host.replace("<", "_").replace(">", "_")
    return host, f'{answer.code} "{service}" {metrics} {text}\n'


def document(records: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Give the lines of each host, below its name where it has one."""
    hosts: dict[str, list[str]] = {}
    for host, line in records:
        hosts.setdefault(host, []).append(line)
    # What has no name comes first: it belongs to the host whose agent passes it on.
    yield from hosts.pop("", ())
    for host, lines in hosts.items():
        yield f"<<<<{host}>>>>\n<<<local>>>\n"
        yield from lines
    if hosts:
        yield "<<<<>>>>\n"


def _metric(item: str) -> str:
    """Return an item of the perfdata as Checkmk reads it: numbers without unit, limits as ranges.

    A limit that has no such form is left out: it is only drawn, the state is ours.
    """
    label, _, rest = item.rpartition("=")
    value, *others = rest.split(";")
    # Most are a single word; to have each searched would double what a record costs.
    name = label if label.isalnum() else re.sub(r"[^\w.+-]", "_", label.strip("'"))
    number = value.rstrip("s")
    limits = ["" if "@" in one else one.replace("~", "") for one in others]
    return f"{name}={';'.join((number, *limits))}".rstrip(";")


def _unbroken(line: str) -> str:
    """Return a line in which Checkmk finds no line break."""
    return line.replace("\\n", "\\x5cn")
