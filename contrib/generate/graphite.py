"""The graphs for Icinga Web's Graphite module: an INI file, whose sections are parts of a graph.

The module makes a graph for each set of metrics that it can combine. If one of several targets has
no metric for a stage, it gets no graph, and up to version 1.2.4 an error. So the graph of each of
several targets has a single curve, ``time``, whose function also draws the other metrics.
"""

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
    near_limit,
)

HEAD = """\
; Graphs for Icinga Web's Graphite module: put this file into its folder of templates, which is
; /etc/icingaweb2/modules/graphite/templates/. What is not drawn here, as quit, the module draws by
; itself. Written by contrib/generate.
"""

METRIC = "$metric$"
"""What the module replaces by the name of the curve's metric."""

BRIDGED = 4
"""How many missing values an area may bridge.

So many are there between checks every five minutes where Graphite keeps a value a minute. A stage
that failed has no value either, and what it leaves open must be seen.
"""


class Curve(NamedTuple):
    """The name of a metric below the service or target, and the function that draws it."""

    metric: str
    function: str


class Graph(NamedTuple):
    """A graph: its curves, by name, and what Graphite is to be told of how to draw them."""

    name: str
    curves: dict[str, Curve]
    title: str
    unit: str
    area: str = "first"


def _drawn(series: str, colour: str, name: str) -> str:
    return f"alias(color({series}, '{colour}'), '{name}')"


def _stage(stage: str, metric: str = METRIC) -> str:
    series = f"stacked(keepLastValue(scale({metric}, 1000), {BRIDGED}), 'stages')"
    return _drawn(series, COLOURS[stage], f"{stage} (ms)")


def _time(metric: str = METRIC) -> str:
    return _drawn(f"lineWidth(scale({metric}, 1000), 2)", TIME, "time (ms)")


def _limit(kind: str, colour: str, name: str) -> Curve:
    series = f"dashed(scale({near_limit(METRIC, kind)}, 1000))"
    return Curve(f"time.{kind}", _drawn(series, colour, f"{name} (ms)"))


def _stages_of_target() -> str:
    """Return the function that makes of the metric ``time`` the stack and the line above it.

    ``applyByNode`` cuts off the last two names, and puts the rest in the place of each %.
    """
    stack = [_stage(stage, f"%.{stage}.value") for stage in STACKED]
    return f'applyByNode({METRIC}, -3, "group({", ".join([*stack, _time("%.time.value")])})")'


def _delivery(name: str, title: str, where: str = "") -> Graph:
    function = _drawn(METRIC, COLOURS["delivery"], "delivery (s)")
    return Graph(name, {"delivery": Curve(f"{where}delivery.value", function)}, title, "s")


def _days(name: str, title: str, where: str = "") -> Graph:
    function = _drawn(METRIC, DAYS, "days left")
    return Graph(name, {"days": Curve(f"{where}certificate_days.value", function)}, title, "days")


def _of_targets() -> tuple[Graph, ...]:
    """Return the graphs of each of several targets, whatever number of dots its name has."""
    graphs = []
    for depth in DEPTHS:
        target = ".".join(f"$target{place}$" for place in range(1, depth + 1))
        time = Curve(f"{target}.time.value", _stages_of_target())
        graphs += [
            Graph(f"stages-of-target-{depth}", {"time": time}, f"Stages, {target}", "ms", "none"),
            _delivery(f"delivery-of-target-{depth}", f"Way to the mailbox, {target}", f"{target}."),
            _days(f"certificate-of-target-{depth}", f"Certificate, {target}", f"{target}."),
        ]
    return tuple(graphs)


def _drawn_already() -> Graph:
    """Return a graph that never appears, but tells the module what it need not draw by itself.

    What follows the colon is what a macro stands for: here a target's name that none has.
    """
    curves = {
        stage: Curve(f"$target:-$.{stage}.value", _drawn(METRIC, COLOURS[stage], stage))
        for stage in STACKED
    }
    return Graph("drawn-already", curves, "Stages", "s")


GRAPHS = (
    Graph(
        "stages",
        {
            **{stage: Curve(f"{stage}.value", _stage(stage)) for stage in STACKED},
            "time": Curve("time.value", _time()),
        },
        "Stages",
        "ms",
        "none",
    ),
    # Icinga Web shows two graphs until it is asked for more.
    _delivery("delivery", "Way to the mailbox"),
    Graph(
        "time",
        {
            "time": Curve("time.value", _time()),
            "warning": _limit("warn", WARNING, "warning"),
            "critical": _limit("crit", CRITICAL, "critical"),
        },
        "Response time",
        "ms",
    ),
    _days("certificate", "Certificate"),
    Graph(
        "healthy",
        {"healthy": Curve("healthy.value", _drawn(METRIC, HEALTHY, "healthy"))},
        "Healthy targets",
        "targets",
    ),
    *_of_targets(),
    _drawn_already(),
)


def template(commands: list[str]) -> str:
    """Return the file, for services with these check commands."""
    return "\n".join([HEAD, *(_sections(graph, ", ".join(commands)) for graph in GRAPHS)])


def _sections(graph: Graph, commands: str) -> str:
    parameters = {
        "areaAlpha": "0.8",
        "areaMode": graph.area,
        "lineWidth": "2" if graph.area == "first" else "0",
        "min": "0",
        "title": graph.title,
        "vtitle": graph.unit,
        "yUnitSystem": "none",
    }
    filters = {
        name: f"$service_name_template$.perfdata.{curve.metric}"
        for name, curve in graph.curves.items()
    }
    functions = {name: curve.function for name, curve in graph.curves.items()}
    return "\n".join(
        _section(f"smtp_health-{graph.name}.{part}", options)
        for part, options in (
            ("graph", {"check_command": commands}),
            ("metrics_filters", filters),
            ("urlparams", parameters),
            ("functions", functions),
        )
    )


def _section(name: str, options: dict[str, str]) -> str:
    return "".join([f"[{name}]\n", *(f"{key} = {_quoted(options[key])}\n" for key in options)])


def _quoted(value: str) -> str:
    escaped = value.replace('"', '\\"')
    return f'"{escaped}"'
