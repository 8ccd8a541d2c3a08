"""What holds of every output, whatever a server, a certificate or a name server has said."""

from __future__ import annotations

import json
import re
from typing import Any

from check_smtp_health.config.option_table import POLICIES
from check_smtp_health.stages import NAMES

CODES = {"OK": 0, "WARNING": 1, "CRITICAL": 2, "UNKNOWN": 3}

LINE_LIMIT = 1000
"""Characters of the status line: Icinga DB Web shows no more."""

MORE_LIMIT = 500
"""Characters of any other line: a reply is cut at 256, and a stage's line has its bar before it."""

_MARK = re.compile(r"[\[(](OK|WARNING|CRITICAL|UNKNOWN|UP|DOWN)[\])]")
_OURS = re.compile(
    rf"(?:(?:{'|'.join(NAMES)}) +\d+\.\d{{6}} s [\u2588\u2591#.]{{20}} "
    rf"|(?:mx|{'|'.join(POLICIES)}) +)?"
    rf"\[(?:{'|'.join(CODES)})\](?= |$)"
)
_METRIC = re.compile(
    r"(?:time|certificate_days|spf_lookups|dkim_bits|"
    + "|".join(NAMES)
    + r")=-?\d+(?:\.\d{6})?s?(?:;[-0-9.:@~]*){0,4}"
)


def check_text(stdout: str, code: int, *, verbose: bool = False) -> None:
    """Hold a text answer to what engines, terminals and web pages can take."""
    assert code in CODES.values()
    assert stdout.endswith("\n")
    first, *more = stdout[:-1].split("\n")
    perfdata = more.pop() if verbose and more and more[-1].startswith("| ") else ""
    if not verbose:
        first, bar, perfdata = first.partition(" | ")
        perfdata = f"| {perfdata}" if bar else ""
        assert more == []
    state = re.match(r"SMTP (\w+) - ", first)
    assert state is not None
    assert CODES[state[1]] == code
    assert len(first) <= LINE_LIMIT
    assert [line for line in more if len(line) > MORE_LIMIT] == []
    for line in (first, *more, perfdata):
        assert line.isprintable(), line
    # One bar, and it is ours: what follows it are metrics of ours alone.
    assert "|" not in "".join((first, *more))
    assert [item for item in perfdata[2:].split(" ") if item and not _METRIC.fullmatch(item)] == []
    # A web page colours every mark it finds, and may take a tag for one of its own.
    assert [line for line in (first, *map(_unmarked, more)) if _MARK.search(line)] == []
    said = [line for line in (first, *more) if not re.match(r" *\d+\.\d{6} C: ", line)]
    assert [line for line in said if re.search(r"<|>|\\[nt]", line)] == []
    check_calm(stdout)


def _unmarked(line: str) -> str:
    """Return a line without the mark of ours that it may have."""
    ours = _OURS.match(line)
    return line[ours.end() :] if ours else line


def check_json(stdout: str, code: int) -> dict[str, Any]:
    """Hold a JSON answer to the same, and return it."""
    assert stdout.endswith("\n")
    assert stdout[:-1].isascii()
    assert stdout[:-1].isprintable()
    assert "|" not in stdout
    document: dict[str, Any] = json.loads(stdout)
    assert (document["exit_code"], CODES[document["state"]]) == (code, code)
    assert "<" not in stdout
    assert not _MARK.search(stdout)
    texts = strings(document)
    assert [text for text in texts if not text.isprintable() or _MARK.search(text)] == []
    assert [text for text in texts if len(text) > LINE_LIMIT] == []
    check_calm(stdout)
    return document


def check_calm(stdout: str) -> None:
    """Hold any answer to saying nothing of a bug."""
    assert "internal error" not in stdout
    assert "Traceback" not in stdout
    assert "removed illegal characters" not in stdout


def strings(value: Any) -> set[str]:
    """Return all texts within a JSON value but the raw ones, names of members included."""
    found: set[str] = set()
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.add(one)
        elif isinstance(one, dict):
            found.update(one)
            left += [member for name, member in one.items() if name != "raw"]
        elif isinstance(one, list):
            left += one
    return found
