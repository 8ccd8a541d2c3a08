"""Graphite Web, with the metrics that each test gives it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional
from urllib.request import Request, urlopen

from tests import needs
from tests.servers import process

PYTHON = "/usr/bin/python3"
"""What has Debian's packages."""

INSTALLED = Path("/usr/lib/python3/dist-packages/graphite/wsgi.py")


Metrics = Mapping[str, Sequence[Optional[float]]]
"""Values by name, a minute apart, the last of them of now."""


class Graphite(NamedTuple):
    """A running one."""

    address: str

    def keep(self, metrics: Metrics) -> None:
        """Have it keep these, and no others any more."""
        body = json.dumps(metrics).encode()
        with urlopen(Request(self.address, body, method="PUT")):
            pass


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Graphite]:
    """Run one, without any metrics at first, until the block ends."""
    if not INSTALLED.exists():
        needs.leave_out("needs graphite-web")
    port = folder / "port"
    script = Path(__file__).with_name("graphite_web.py")
    with process.started([PYTHON, "-I", str(script), str(folder)], folder / "output", port.exists):
        yield Graphite(f"http://127.0.0.1:{port.read_text()}")


Curve = list[Optional[float]]
"""The values of a curve, from left to right; None where there is none."""


def curves(answer: str | bytes) -> dict[str, Curve]:
    """Return the curves, by name, of what Graphite answers where it is asked for JSON.

    Of curves that are stacked, each value is the sum up to it.
    """
    return {
        one["target"]: [
            None if value is None else round(value, 3) for value, _ in one["datapoints"]
        ]
        for one in json.loads(answer)
    }


def last(curve: Curve) -> float:
    """Return the last value that there is."""
    return next(value for value in reversed(curve) if value is not None)
