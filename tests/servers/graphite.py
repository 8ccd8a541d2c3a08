"""Graphite Web, with the metrics that a test gives it."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests import needs
from tests.servers import process

PYTHON = "/usr/bin/python3"
"""What has Debian's packages."""

INSTALLED = Path("/usr/lib/python3/dist-packages/graphite/wsgi.py")


@contextlib.contextmanager
def running(folder: Path, metrics: Mapping[str, Sequence[float | None]]) -> Iterator[str]:
    """Serve the metrics, whose values are a minute apart; the block gets the server's address."""
    if not INSTALLED.exists():
        needs.leave_out("needs graphite-web")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    port = folder / "port"
    script = Path(__file__).with_name("graphite_web.py")
    with process.started([PYTHON, "-I", str(script), str(folder)], folder / "output", port.exists):
        yield f"http://127.0.0.1:{port.read_text()}"


def drawn(picture: str) -> dict[str, float | None]:
    """Return the last value of each series in a picture, by name; it is the picture's address.

    Of series that are stacked, each value is the sum up to it.
    """
    with urllib.request.urlopen(f"{picture}&format=json&noNullPoints=true") as answer:
        series = json.load(answer)
    return {one["target"]: round(one["datapoints"][-1][0], 3) for one in series}
