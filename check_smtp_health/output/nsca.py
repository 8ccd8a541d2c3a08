"""``--output-format nsca``: what ``send_nsca`` reads, that of NSCA and that of NSCA-ng.

Both take a line break for a part of a result, and the character ETB for what parts two of them.
"""

from __future__ import annotations

from check_smtp_health.output.nagios import LINE_LIMIT, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from check_smtp_health.output.answer import Answer

SEPARATOR = "\x17"


def record(answer: Answer) -> str:
    """Return an answer as one line, with its line end."""
    # It becomes a command in the command file of the receiver, with which it must be as short.
    room = LINE_LIMIT - len("[0123456789] PROCESS_SERVICE_CHECK_RESULT;;;0;\n")
    room -= len(f"{answer.host}{answer.service}".encode())
    return f"{answer.host}\t{answer.service}\t{answer.code}\t{output(answer, room)}\n"


def document(records: Iterable[str]) -> Iterator[str]:
    """Give all lines, with a separator between two."""
    before = ""
    for line in records:
        yield before + line
        before = SEPARATOR
