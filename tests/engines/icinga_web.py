"""What Icinga Web's Graphite module draws of a service: its own code, with a Graphite behind it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from contrib.generate import CONTRIB
from tests import needs
from tests.servers import graphite

MODULE = Path("/usr/share/icingaweb2/modules/graphite")
CHARTS = Path(__file__).with_name("graphite_charts.php")


class Chart(NamedTuple):
    """A graph on the service's page: the template it is of, its curves by name, its picture."""

    template: str
    title: str
    curves: dict[str, graphite.Curve]
    picture: bytes

    @property
    def last(self) -> dict[str, float]:
        """The last value of each curve."""
        return {name: graphite.last(curve) for name, curve in self.curves.items()}


def charts(
    folder: Path,
    metrics: Mapping[str, Sequence[float | None]],
    host: str = "mx_example",
    service: str = "smtp",
    command: str = "smtp_health",
) -> list[Chart]:
    """Return all graphs of a service, in their order.

    ``metrics`` are what Graphite has: values by name, a minute apart. What PHP complains of,
    be it a notice, is an error.
    """
    php = needs.program("php")
    if not MODULE.exists():
        needs.leave_out("needs icingaweb2-module-graphite")
    template = CONTRIB / "graphite" / "smtp_health.ini"
    with graphite.running(folder, metrics) as address:
        done = subprocess.run(
            [php, CHARTS, MODULE, template, address, host, service, command],
            capture_output=True,
            text=True,
            env={"PATH": os.defpath, "ICINGAWEB_CONFIGDIR": os.devnull},
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [
            Chart(name, title, graphite.drawn(url), base64.b64decode(picture))
            for name, title, url, picture in json.loads(done.stdout)
        ]
