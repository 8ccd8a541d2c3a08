"""``--output-format nagios``: external commands for the command file of Nagios, Naemon, Icinga.

A line is written at once or not at all: a pipe takes that much in one piece, whoever else writes.
"""

from __future__ import annotations

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

    The receiver makes a line break of a backslash and an n, and one backslash of two. What does not
    fit is left out: first lines of the long output, then items of the perfdata, both from the end.
    """
    text = _escaped(answer.status)
    data = text.encode()
    if len(data) > limit:
        # The middle of an escape, or of a character, would not be harmless.
        return data[: limit - 3].decode("utf-8", "ignore").rstrip("\\") + "..."
    items = [f" {_escaped(item)}" for item in answer.perfdata]
    items[:1] = [f" |{item}" for item in items[:1]]
    left = limit - len(data)
    for piece in (*items, *(f"\\n{_escaped(line)}" for line in long_output(answer))):
        left -= len(piece.encode())
        if left < 0:
            break
        text += piece
    return text


def _escaped(line: str) -> str:
    # Icinga looks for line breaks before it looks for two backslashes.
    return line.replace("\\n", "\\x5cn").replace("\\", "\\\\")
