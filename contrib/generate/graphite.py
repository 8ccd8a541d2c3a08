"""The graphs for Icinga Web's Graphite module: an INI file, whose sections are parts of a graph."""

from __future__ import annotations

from typing import NamedTuple

from contrib.generate.colours import (
    COLOURS,
    CRITICAL,
    DAYS,
    DEPTHS,
    HEALTHY,
    STACKED,
    TIME,
    WARNING,
)

HEAD = """\
; Graphs for Icinga Web's Graphite module: put this file into its folder of templates, which is
; /etc/icingaweb2/modules/graphite/templates/. What is drawn nowhere here, as quit, the module draws
; by itself. Written by contrib/generate.
"""


class Curve(NamedTuple):
    """A metric, as ``connect.value``; its colour and its name; and what to multiply it by."""

    metric: str
    colour: str
    name: str
    scale: int = 1


class Graph(NamedTuple):
    """A graph: its curves, by name, and what Graphite is to be told of how to draw them."""

    name: str
    curves: dict[str, Curve]
    title: str
    unit: str
    area: str = "first"


def _seconds(label: str, colour: str, where: str = "") -> Curve:
    return Curve(f"{where}{label}.value", colour, f"{label} (ms)", 1000)


def _stages(name: str, title: str, where: str = "") -> Graph:
    curves = {stage: _seconds(stage, COLOURS[stage], where) for stage in STACKED}
    return Graph(name, curves, title, "ms", "stacked")


def _days(name: str, title: str, where: str = "") -> Graph:
    curve = Curve(f"{where}certificate_days.value", DAYS, "days left")
    return Graph(name, {"days": curve}, title, "days")


def _of_targets() -> tuple[Graph, ...]:
    """Return the graphs of each of several targets, whatever number of dots its name has."""
    graphs = []
    for depth in DEPTHS:
        target = ".".join(f"$target{place}$" for place in range(1, depth + 1))
        graphs += [
            _stages(f"stages-of-target-{depth}", f"Stages, {target}", f"{target}."),
            _days(f"certificate-of-target-{depth}", f"Certificate, {target}", f"{target}."),
        ]
    return tuple(graphs)


GRAPHS = (
    _stages("stages", "Stages"),
    Graph(
        "time",
        {
            "time": _seconds("time", TIME),
            "warning": Curve("time.warn", WARNING, "warning (ms)", 1000),
            "critical": Curve("time.crit", CRITICAL, "critical (ms)", 1000),
        },
        "Response time",
        "ms",
    ),
    Graph(
        "delivery",
        {"delivery": Curve("delivery.value", COLOURS["delivery"], "delivery (s)")},
        "Way to the mailbox",
        "s",
    ),
    _days("certificate", "Certificate"),
    Graph(
        "healthy",
        {"healthy": Curve("healthy.value", HEALTHY, "healthy")},
        "Healthy targets",
        "targets",
    ),
    *_of_targets(),
)


def template(commands: list[str]) -> str:
    """Return the file, for services with these check commands."""
    return "\n".join([HEAD, *(_sections(graph, ", ".join(commands)) for graph in GRAPHS)])


def _sections(graph: Graph, commands: str) -> str:
    parameters = {
        "areaAlpha": "0.8",
        "areaMode": graph.area,
        "lineWidth": "2" if graph.area != "stacked" else "0",
        "min": "0",
        "title": graph.title,
        "vTitle": graph.unit,
        "yUnitSystem": "none",
    }
    filters = {
        name: f"$service_name_template$.perfdata.{curve.metric}"
        for name, curve in graph.curves.items()
    }
    functions = {name: _function(curve) for name, curve in graph.curves.items()}
    return "\n".join(
        _section(f"smtp_health-{graph.name}.{part}", options)
        for part, options in (
            ("graph", {"check_command": commands}),
            ("metrics_filters", filters),
            ("urlparams", parameters),
            ("functions", functions),
        )
    )


def _function(curve: Curve) -> str:
    metric = "$metric$" if curve.scale == 1 else f"scale($metric$, {curve.scale})"
    return f"alias(color({metric}, '{curve.colour}'), '{curve.name}')"


def _section(name: str, options: dict[str, str]) -> str:
    return "".join([f"[{name}]\n", *(f'{key} = "{value}"\n' for key, value in options.items())])
