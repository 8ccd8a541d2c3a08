"""The dashboards for Grafana: for what Icinga writes to Graphite, to InfluxDB, for Prometheus."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, NamedTuple

from contrib.generate.colours import (
    COLOURS,
    CRITICAL,
    DAYS,
    DEPTHS,
    HEALTHY,
    NEAR,
    STACKED,
    TIME,
    WARNING,
    near_limit,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA_VERSION = 36
"""Of Grafana 9; later ones bring a dashboard up to date as they load it."""

GAP = 900_000
"""Milliseconds without a value that a line may bridge: three checks, five minutes apart."""

GRAPHITE_PATH = "icinga2.$host.services.$service.smtp_health*.perfdata"


class Series(NamedTuple):
    """Something to draw: a label's field, the name and the colour that it has then.

    Of ``each`` target, the name is the target's and Grafana chooses the colour. ``style`` is how
    it differs from the rest of its panel.
    """

    label: str
    name: str = ""
    colour: str = ""
    field: str = "value"
    each: bool = False
    style: tuple[tuple[str, Any], ...] = ()


class Panel(NamedTuple):
    """A panel: what it shows, in which unit, and how: ``custom`` is Grafana's word for that.

    ``steps`` are colours with the value from which they hold.
    """

    title: str
    description: str
    series: tuple[Series, ...]
    custom: dict[str, Any]
    unit: str = "s"
    steps: tuple[tuple[str, float | None], ...] = ()


LIMIT = (
    ("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
    ("custom.fillOpacity", 0),
)

ABOVE = (
    ("custom.stacking", {"mode": "none", "group": "A"}),
    ("custom.lineWidth", 2),
    ("custom.fillOpacity", 0),
)
"""A line that belongs to no stack."""

PANELS = (
    Panel(
        "Stages",
        "Each stage of the session, stacked, and the response time as a line. A gap "
        "below the line is the time of a stage that failed.",
        (
            *(Series(stage, stage, COLOURS[stage]) for stage in STACKED),
            Series("time", "time", TIME, style=ABOVE),
        ),
        {"fillOpacity": 80, "lineWidth": 0, "stacking": {"mode": "normal", "group": "A"}},
    ),
    Panel(
        "Response time",
        "The whole session. The limits of -w and -c appear once it has come to half of them.",
        (
            Series("time", "time", TIME),
            Series("time", "warning", WARNING, "warn", style=LIMIT),
            Series("time", "critical", CRITICAL, "crit", style=LIMIT),
        ),
        {},
    ),
    Panel(
        "Certificate",
        "Days that it has left. The lines are the limits that -D has by itself.",
        (Series("certificate_days", "days", DAYS), Series("certificate_days", each=True)),
        {"thresholdsStyle": {"mode": "line"}},
        unit="d",
        steps=((CRITICAL, None), (WARNING, 3), (DAYS, 14)),
    ),
    Panel(
        "Healthy targets",
        "How many of several targets are well.",
        (Series("healthy", "healthy", HEALTHY),),
        {"lineInterpolation": "stepAfter"},
        unit="none",
    ),
    Panel(
        "Response time of each target",
        "Where a service has several.",
        (Series("time", each=True),),
        {},
    ),
    Panel(
        "Way to the mailbox",
        "From the last dot of a message until it is seen there.",
        (Series("delivery", "delivery", COLOURS["delivery"]),),
        {},
    ),
)


class Backend(NamedTuple):
    """A kind of database: how it names things, and how it is asked."""

    type: str
    title: str
    hosts: str
    host_pattern: str
    services: str
    service_pattern: str
    queries: Callable[[Series], list[dict[str, Any]]]
    origin: str = "as Icinga writes it"
    tag: str = "icinga"


def _ask_graphite(series: Series) -> list[dict[str, Any]]:
    end = f"{series.label}.{series.field}"
    if not series.each:
        path = f"{GRAPHITE_PATH}.{end}"
        asked = path if series.field == "value" else near_limit(path, series.field)
        return [{"target": f"alias({asked}, '{series.name}')"}]
    name = f"'^.*perfdata.(.*).{end}', '\\1'"
    paths = [f"{GRAPHITE_PATH}{'.*' * depth}.{end}" for depth in DEPTHS]
    return [{"target": f"aliasSub({path}, {name})"} for path in paths]


def _ask_influxdb(series: Series) -> list[dict[str, Any]]:
    metric = f"=~ /::{series.label}$/" if series.each else f"= '{series.label}'"
    grouping = ', "metric"' if series.each else ""
    is_near = "" if series.field == "value" else f'"value" >= {NEAR} * "{series.field}" AND '
    # Grafana fills in the names that begin with a dollar sign.
    clauses = (
        f'SELECT mean("{series.field}")',
        'FROM /^smtp_health/ WHERE "hostname" =~ /^$host$/ AND "service" =~ /^$service$/',
        f'AND "metric" {metric} AND {is_near}$timeFilter',
        f"GROUP BY time($__interval){grouping} fill(null)",
    )
    alias = "$tag_metric" if series.each else series.name
    query = " ".join(clauses)
    return [{"query": query, "rawQuery": True, "resultFormat": "time_series", "alias": alias}]


def _ask_prometheus(series: Series) -> list[dict[str, Any]]:
    if series.field != "value":
        return []  # it gets no limits
    labels = 'host=~"$host",service=~"$service"'
    if series.label in COLOURS:
        metric, labels = "stage_seconds", f'{labels},stage="{series.label}"'
    else:
        metric = METRICS[series.label]
    if series.label != "healthy":
        labels += f',target{"!" if series.each else ""}=""'
    name = "{{target}}" if series.each else series.name
    share = " / 86400" if series.label == "certificate_days" else ""
    return [{"expr": f"smtp_health_{metric}{{{labels}}}{share}", "legendFormat": name}]


METRICS = {
    "time": "time_seconds",
    "certificate_days": "certificate_expiry_seconds",
    "healthy": "healthy",
}
"""What Prometheus knows a label of the perfdata by, if it is not a stage."""

_ALL = "icinga2.{}.services.*.smtp_health*"

GRAPHITE = Backend(
    "graphite",
    "Graphite",
    f"expand({_ALL.format('*')})",
    r"/^icinga2\.([^.]+)\./",
    f"expand({_ALL.format('$host')})",
    r"/\.services\.([^.]+)\./",
    _ask_graphite,
)

INFLUXDB = Backend(
    "influxdb",
    "InfluxDB",
    'SHOW TAG VALUES FROM /^smtp_health/ WITH KEY = "hostname"',
    "",
    'SHOW TAG VALUES FROM /^smtp_health/ WITH KEY = "service" WHERE "hostname" =~ /^$host$/',
    "",
    _ask_influxdb,
)


PROMETHEUS = Backend(
    "prometheus",
    "Prometheus",
    "label_values(smtp_health_state, host)",
    "",
    'label_values(smtp_health_state{host=~"$host"}, service)',
    "",
    _ask_prometheus,
    "through node_exporter",
    "prometheus",
)


def dashboard(backend: Backend) -> dict[str, Any]:
    """Return the dashboard's document."""
    return {
        "uid": f"smtp-health-{backend.type}",
        "title": f"Mail servers ({backend.title})",
        "description": f"What check_smtp_health measures, {backend.origin}.",
        "tags": [backend.tag, "smtp"],
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "browser",
        "refresh": "1m",
        "templating": {"list": _variables(backend)},
        "panels": [_panel(backend, place, panel) for place, panel in enumerate(PANELS)],
    }


def _variables(backend: Backend) -> list[dict[str, Any]]:
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": backend.type,
        },
        *(
            {
                "name": name,
                "label": name.capitalize(),
                "type": "query",
                "datasource": _source(backend),
                "query": query,
                "regex": pattern,
                "refresh": 2,
                "sort": 1,
            }
            for name, query, pattern in (
                ("host", backend.hosts, backend.host_pattern),
                ("service", backend.services, backend.service_pattern),
            )
        ),
    ]


def _source(backend: Backend) -> dict[str, str]:
    return {"type": backend.type, "uid": "${datasource}"}


def _panel(backend: Backend, place: int, panel: Panel) -> dict[str, Any]:
    source = _source(backend)
    answered = [(series, backend.queries(series)) for series in panel.series]
    asked = [query for _, queries in answered for query in queries]
    queries = zip(ascii_uppercase, asked)
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "custom": {
            "drawStyle": "line",
            "fillOpacity": 10,
            "lineWidth": 2,
            "showPoints": "never",
            "spanNulls": GAP,
            **panel.custom,
        },
    }
    if panel.steps:
        steps = [{"color": colour, "value": value} for colour, value in panel.steps]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    return {
        "id": place + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "gridPos": _position(place),
        "datasource": source,
        "fieldConfig": {
            "defaults": defaults,
            "overrides": [
                _override(series) for series, queries in answered if series.colour and queries
            ],
        },
        "options": {
            "legend": {
                "showLegend": True,
                "displayMode": "table",
                "placement": "right",
                "calcs": ["lastNotNull", "mean", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "none"},
        },
        "targets": [{"refId": letter, "datasource": source, **query} for letter, query in queries],
    }


def _position(place: int) -> dict[str, int]:
    """Return where a panel is: the first has a row of 24 units, the others two a row."""
    if place == 0:
        return {"h": 9, "w": 24, "x": 0, "y": 0}
    row, column = divmod(place + 1, 2)
    return {"h": 9, "w": 12, "x": 12 * column, "y": 9 * row}


def _override(series: Series) -> dict[str, Any]:
    properties: list[dict[str, Any]] = [
        {"id": "color", "value": {"mode": "fixed", "fixedColor": series.colour}}
    ]
    properties += [{"id": key, "value": value} for key, value in series.style]
    return {"matcher": {"id": "byName", "options": series.name}, "properties": properties}
