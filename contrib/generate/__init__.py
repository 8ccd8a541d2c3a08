"""Generates the files that repeat what is defined elsewhere: commands, colours, options."""

from __future__ import annotations

import json
from pathlib import Path

from contrib.generate import director, grafana, graphite, pnp4nagios, reference
from contrib.generate.commands import read

CONTRIB = Path(__file__).parents[1]
REFERENCE = CONTRIB.parent / "docs" / "reference.md"


def files() -> dict[Path, str]:
    """Return the text of each file that is generated."""
    commands = read(CONTRIB / "icinga2-commands.conf")
    names = [command.name for command in commands]
    return {
        CONTRIB / "director-basket.json": _json(director.basket(commands)),
        CONTRIB / "graphite" / "smtp_health.ini": graphite.template(names),
        CONTRIB / "grafana" / "graphite.json": _json(grafana.dashboard(grafana.GRAPHITE)),
        CONTRIB / "grafana" / "influxdb.json": _json(grafana.dashboard(grafana.INFLUXDB)),
        CONTRIB / "grafana" / "prometheus.json": _json(grafana.dashboard(grafana.PROMETHEUS)),
        CONTRIB / "pnp4nagios" / "check_smtp_health.php": pnp4nagios.template(),
        REFERENCE: reference.page(REFERENCE.read_text()),
    }


def _json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"
