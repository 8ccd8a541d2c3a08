"""Run a target under atheris: ``target`` (sessions) or ``parts``. Other arguments go to libFuzzer.

``python -m fuzz target -help=1`` lists them.
"""

from __future__ import annotations

import importlib
import sys

import atheris

NAMES = ("target", "parts")

if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
    sys.exit(f"usage: python -m fuzz {'|'.join(NAMES)} [libFuzzer's arguments]")
name = sys.argv.pop(1)
with atheris.instrument_imports(include=["check_smtp_health"]):
    one_input = importlib.import_module(f"fuzz.{name}").one_input

atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
