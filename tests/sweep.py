"""Runs the plugin with a file of checks, and reads what it says of the whole and of each."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests import plugin
from tests.masking import timeless

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Sweep:
    """What came of one run: its outcome, and the JSON object of each service, by its name."""

    outcome: plugin.Outcome
    answers: Mapping[str, Any]

    @property
    def whole(self) -> str:
        """The line about the whole with its perfdata, every measured time as ``#``."""
        return timeless(self.outcome.stdout.rstrip("\n"))

    def status(self, service: str) -> str:
        """Return the status line of a service, every measured time as ``#``."""
        return timeless(self.answers[service]["status"])


def line(service: str, *arguments: str) -> str:
    """Return a line of the file."""
    return f"host;{service};{shlex.join(arguments)}"


def run(
    folder: Path,
    lines: Iterable[str],
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> Sweep:
    """Run the checks of these lines."""
    path, to = folder / "checks", folder / "answers"
    path.write_text("\n".join(lines))
    outcome = plugin.run(
        *("--checks", str(path), "--output-format", "json", "--output-to", str(to), *arguments),
        environment=environment,
        timeout=timeout,
    )
    assert outcome.stderr == ""
    told = map(json.loads, to.read_text().splitlines()) if to.exists() else ()
    return Sweep(outcome, {one.get("service", ""): one for one in told})
