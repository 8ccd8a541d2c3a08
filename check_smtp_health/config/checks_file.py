"""``--checks FILE``: one check a line, HOST;SERVICE;ARGUMENTS, the last as a shell reads them.

A line that is wrong is so for itself: it is returned with what is wrong, and the others stand.
Nothing is expanded. A line break is LF or CRLF, whatever else Unicode takes for one.
"""

from __future__ import annotations

import os
import sys

from check_smtp_health.config import files
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import has_controls, quoted
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

STDIN = "-"

SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes of the file; 100,000 checks take no more. A larger one is a mistake (a device, a log)."""

LINE_LIMIT = 8 * 1024
"""Characters of a line; Nagios takes commands of no more than that (MAX_INPUT_BUFFER)."""

NAME_LIMIT = 255
"""Characters of the name of a host or a service; databases of engines have no room for more."""

_ALIKE = str.maketrans("\"'<>", "____")
"""Characters that not every receiver takes: names that differ in these only are one to it."""

FORM = "is not HOST;SERVICE;ARGUMENTS"


class Line(NamedTuple):
    """A check of the file: its line's number, the names of its objects, its arguments.

    ``problem`` is what is wrong with the line, empty where nothing is. ``service`` is empty where
    it cannot be told whose line it is; ``host`` may be.
    """

    number: int
    host: str
    service: str
    arguments: tuple[str, ...] = ()
    problem: str = ""


def read(path: str) -> tuple[Line, ...]:
    """Return the checks of a file, ``-`` for standard input.

    Raises:
        UsageFault: it cannot be read, is too large, or contains no check.
    """
    data = _read(path)
    if len(data) > SIZE_LIMIT:
        raise UsageFault("checks", f"{name(path)} is larger than {SIZE_LIMIT} bytes")
    found = tuple(parse(os.fsdecode(data.removeprefix(b"\xef\xbb\xbf"))))
    if not found:
        raise UsageFault("checks", f"{name(path)} contains no check")
    return found


def name(path: str) -> str:
    """Return a file's name as people read it."""
    return "standard input" if path == STDIN else quoted(path, NAME_LIMIT)


def _read(path: str) -> bytes:
    if path != STDIN:
        return files.read("checks", path, SIZE_LIMIT + 1)
    try:
        return sys.stdin.buffer.read(SIZE_LIMIT + 1)
    except (OSError, ValueError, AttributeError) as error:
        raise UsageFault("checks", "standard input cannot be read") from error


def parse(text: str) -> Iterator[Line]:
    """Give the checks of a text; a service that has two lines stands once, as one that is wrong."""
    known: dict[tuple[str, str], int] = {}
    lines: list[Line] = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(" \t\r")
        if not stripped or stripped.startswith("#"):
            continue
        one = _parsed(number, stripped)
        key = (one.host.translate(_ALIKE), one.service.translate(_ALIKE))
        first = known.setdefault(key, len(lines)) if one.service else len(lines)
        if first == len(lines):
            lines.append(one)
        else:
            # Two answers of one service would contradict each other sooner or later.
            before = lines[first]
            problem = f"is for the same service as line {before.number}"
            lines[first] = before._replace(number=number, problem=problem)
    yield from lines


def _parsed(number: int, line: str) -> Line:
    host, service, rest, problem = "", "", "", ""
    fields = [field.strip(" \t") for field in line.split(";", 2)]
    if not line.isprintable() and has_controls(line.replace("\t", " ")):
        problem = "contains a control character"
    elif not line.isascii() and not _is_unicode(line):
        problem = "is not UTF-8"
    elif len(line) > LINE_LIMIT:
        problem = f"is longer than {LINE_LIMIT} characters"
    elif len(fields) < 2 or not fields[1]:
        problem = FORM
    if len(fields) > 1 and fields[1] and all(map(_is_name, fields[:2])):
        host, service = fields[:2]
    elif not problem:
        problem = f"has a name of more than {NAME_LIMIT} characters, or with unprintable ones"
    if len(fields) == 3:
        rest = fields[2]
    elif not problem:
        problem = FORM
    if problem:
        return Line(number, host, service, (), problem)
    try:
        return Line._make((number, host, service, _words(rest), ""))
    except ValueError:
        return Line(
            number, host, service, (), "has a quote that is not closed, or a backslash at its end"
        )


def _is_name(name: str) -> bool:
    return len(name) <= NAME_LIMIT and name.isprintable()


def _is_unicode(text: str) -> bool:
    """Whether a text was UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _words(arguments: str) -> tuple[str, ...]:
    if "'" in arguments or '"' in arguments or "\\" in arguments:  # a shell takes none as it is
        import shlex

        return tuple(shlex.split(arguments))
    return tuple(filter(None, arguments.replace("\t", " ").split(" ")))
