"""``--output-format nagios``: external commands for the command file of Nagios, Naemon, Icinga.

A line is written at once or not at all: a pipe takes that much in one piece, whoever else writes.
"""

from __future__ import annotations

import re

from check_smtp_health.output.answer import long_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from check_smtp_health.output.answer import Answer

LINE_LIMIT = 4096
"""Bytes of a line: PIPE_BUF of Linux (pipe(7)). Nagios itself takes 8 KiB of one."""


def record(answer: Answer) -> str:
    """Return the command that submits an answer, with its line end."""
    name = f"{answer.host};{answer.service};{answer.code};"
    head = f"[{int(answer.finished)}] PROCESS_SERVICE_CHECK_RESULT;{name}"
    return f"{head}{output(answer, LINE_LIMIT - len(head.encode()) - 1)}\n"


def document(records: Iterable[str]) -> Iterator[str]:
    """Give one command a line."""
    return iter(records)


def output(answer: Answer, limit: int) -> str:
    """Return status line, perfdata and long output as one line of at most ``limit`` bytes.

    A backslash and an n are a line break to the receiver.
    """
    more = (f"\\n{_escaped(line)}" for line in long_output(answer))
    return fitted(_escaped(answer.status), map(_escaped, answer.perfdata), more, limit)


def fitted(status: str, perfdata: Iterable[str], more: Iterable[str], limit: int) -> str:
    """Return what fits into ``limit`` bytes of a status line, perfdata, and what follows.

    What does not is left out from the end.
    """
    items = [f" {item}" for item in perfdata]
    items[:1] = [f"|{item[1:]}" for item in items[:1]]  # Icinga would keep a space before the bar
    data = status.encode()
    if len(data) > limit:
        return data[: limit - 3].decode("utf-8", "ignore") + "..."
    text, left = status, limit - len(data)
    for piece in (*items, *more):
        left -= len(piece.encode())
        if left < 0:
            break
        text += piece
    return text


def _escaped(line: str) -> str:
    """Return a line without line break: neither for Nagios nor for Icinga, to whom it is escaped.

    Of two backslashes Nagios makes one, and Icinga leaves two.
    """
    return re.sub(r"\\(?=[\\n]|$)", r"\\x5c", line) if "\\" in line else line
