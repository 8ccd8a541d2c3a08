"""What only a person at a terminal sees: colour, rows that fit the window, a line while waiting.

Loaded only where ``stdout.is_terminal()``: what goes to a pipe or an engine knows nothing of this.
"""

from __future__ import annotations

import os
import re
import select

from check_smtp_health import stdout

USUAL_COLUMNS = 80
"""Columns of a terminal that does not know its width."""

LEAST_COLUMNS = 20
"""A narrower window is ignored: nothing could be read in it, however it is cut."""

_COLOURS = {"OK": "32", "WARNING": "33", "CRITICAL": "31", "UNKNOWN": "35"}

_STATE = re.compile(rf"(?<=^SMTP )(?:{'|'.join(_COLOURS)})(?= - )|\[(?:{'|'.join(_COLOURS)})\]")

_PERFDATA = re.compile(r"\| .*")


def columns(number: int = 1) -> int:
    """Return the width of the window behind a file descriptor."""
    try:
        found = os.get_terminal_size(number).columns
    except OSError:
        return USUAL_COLUMNS
    return found if found >= LEAST_COLUMNS else USUAL_COLUMNS


def has_colour() -> bool:
    """Whether the user wants colour (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")


def painted(line: str) -> str:
    """Return a line of the answer with states in their colours and perfdata dimmed.

    A bar begins perfdata and nothing else, and a mark is always ours: ``escaping`` sees to it.
    """
    if not has_colour():
        return line
    line = _STATE.sub(_coloured, line)
    return _PERFDATA.sub(lambda found: f"\x1b[2m{found[0]}\x1b[0m", line)


def _coloured(found: re.Match[str]) -> str:
    return f"\x1b[1;{_COLOURS[found[0].strip('[]')]}m{found[0]}\x1b[0m"


def fitted(line: str, room: int) -> str:
    """Return a line cut to so many columns, with dots where it was cut."""
    if width(line) <= room:
        return line
    dots = _dots()
    if room <= len(dots):
        return ""
    kept, left = "", room - len(dots)
    for character in line:
        left -= width(character)
        if left < 0:
            break
        kept += character
    return kept + dots


def _dots() -> str:
    return "\u2026" if stdout.can_say("\u2026") else "..."


def width(line: str) -> int:
    """Return how many columns a line takes: characters of East Asia two, accents none."""
    if line.isascii():
        return len(line)
    import unicodedata

    return sum(
        0 if unicodedata.combining(one) else 1 + (unicodedata.east_asian_width(one) in "WF")
        for one in line
    )


class Line:
    """One line on standard error that is written over again and again, and erased in the end.

    Nothing is written where that would make us wait, or from the background. Blanks erase it, which
    every terminal understands.
    """

    def __init__(self) -> None:
        self._shown = ""

    def show(self, waiting: str, since: str) -> None:
        """Show what is waited for, as much of it as there is room for, and for how long."""
        end = f" {_dots()} {since}"
        # Behind it there is room for the ^C that somebody may type.
        line = fitted(waiting, columns(2) - 3 - width(end)) + end
        if line != self._shown and _takes_output():
            blanks = " " * max(0, width(self._shown) - width(line))
            self._write(f"\r{line}{blanks}\r{line}")
            self._shown = line

    def erase(self) -> None:
        """Leave the window as it was."""
        if self._shown:
            self._write(f"\r{' ' * (columns(2) - 1)}\r")
            self._shown = ""

    def _write(self, text: str) -> None:
        try:
            os.write(2, stdout.encoded(text))
        except OSError:
            pass  # the window has gone: the answer will find out


def _takes_output() -> bool:
    """Whether the terminal takes output at once, and is ours."""
    try:
        if os.tcgetpgrp(2) != os.getpgrp():
            return False
    except OSError:
        pass  # a terminal that controls nobody
    return bool(select.select((), (2,), (), 0)[1])
