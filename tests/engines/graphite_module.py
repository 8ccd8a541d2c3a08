"""What Icinga Web's Graphite module draws of a service: its own code, with a Graphite behind it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from contrib.generate import CONTRIB
from tests import needs
from tests.servers import graphite

MODULE = Path("/usr/share/icingaweb2/modules/graphite")
CHARTS = Path(__file__).with_name("graphite_charts.php")


class Chart(NamedTuple):
    """A graph on the service's page: the template it is of, and its curves by name."""

    template: str
    title: str
    curves: dict[str, graphite.Curve]

    @property
    def last(self) -> dict[str, float]:
        """The last value of each curve."""
        return {name: graphite.last(curve) for name, curve in self.curves.items()}


def charts(
    behind: graphite.Graphite,
    metrics: graphite.Metrics,
    service: str = "smtp",
    command: str = "smtp_health",
) -> list[Chart]:
    """Return all graphs of a service, in their order."""
    return [
        Chart(name, title, graphite.curves(answer))
        for name, title, answer in _answers(behind, metrics, service, command, "json")
    ]


def pictures(behind: graphite.Graphite, metrics: graphite.Metrics) -> list[bytes]:
    """Return all graphs of a service as pictures."""
    return [picture for *_, picture in _answers(behind, metrics, "smtp", "smtp_health", "png")]


def _answers(
    behind: graphite.Graphite, metrics: graphite.Metrics, service: str, command: str, form: str
) -> list[tuple[str, str, bytes]]:
    """Return what Graphite made of each graph; what PHP complains about is an error."""
    php = needs.program("php")
    if not MODULE.exists():
        needs.leave_out("needs icingaweb2-module-graphite")
    template = CONTRIB / "graphite" / "smtp_health.ini"
    behind.keep(metrics)
    done = subprocess.run(
        [php, CHARTS, MODULE, template, behind.address, "mx_example", service, command, form],
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, "ICINGAWEB_CONFIGDIR": os.devnull},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [
        (name, title, base64.b64decode(answer)) for name, title, answer in json.loads(done.stdout)
    ]
