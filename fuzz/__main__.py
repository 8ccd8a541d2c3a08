"""Run the target under atheris; arguments are libFuzzer's (``python -m fuzz -help=1``)."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["check_smtp_health"]):
    from fuzz.target import one_input

atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
