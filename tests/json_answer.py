"""The answer of ``--output-format json``, held to its published form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests import masking

if TYPE_CHECKING:
    from tests import plugin

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "docs" / "output.schema.json").read_text()
)
VALIDATOR = Draft202012Validator(SCHEMA)


def read(outcome: plugin.Outcome) -> dict[str, Any]:
    """Return the object, having held it to its form."""
    assert (outcome.stderr, outcome.stdout.count("\n"), outcome.stdout[-2:]) == ("", 1, "}\n")
    assert outcome.stdout.isascii()
    seen: dict[str, Any] = json.loads(outcome.stdout)
    assert [error.message for error in VALIDATOR.iter_errors(seen)] == []
    assert seen["exit_code"] == outcome.code
    assert seen["state"] == ("OK", "WARNING", "CRITICAL", "UNKNOWN")[outcome.code]
    assert seen["status"].startswith(f"SMTP {seen['state']} - ")
    return seen


def masked(value: Any, port: int) -> Any:
    """Return a value without what differs from run to run: the port, and each time as ``#``."""
    if isinstance(value, dict):
        return {
            key: "#"
            if key in ("began", "seconds") and isinstance(one, float)
            else masked(one, port)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [masked(one, port) for one in value]
    if isinstance(value, str):
        return masking.unraced(masking.timeless(value.replace(f":{port}", ":25")))
    return 25 if value == port else value
