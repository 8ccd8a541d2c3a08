"""``--output-format nsca``: what ``send_nsca`` reads, that of NSCA and that of NSCA-ng.

To both a line break is a part of a result, and the character ETB is what parts two of them. They
escape what Nagios needs escaped.
"""

from __future__ import annotations

from check_smtp_health.output.answer import long_output
from check_smtp_health.output.nagios import LINE_LIMIT, fitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from check_smtp_health.output.answer import Answer

SEPARATOR = "\x17"


def record(answer: Answer) -> str:
    """Return an answer, with its line end."""
    head = f"{answer.host}\t{answer.service}\t{answer.code}\t"
    # NSCA takes no more than that (MAX_PLUGINOUTPUT_LENGTH), nor does the pipe that it writes to.
    room = LINE_LIMIT - len(head.encode()) - len("[0123456789] PROCESS_SERVICE_CHECK_RESULT;\n")
    more = (f"\n{line}" for line in long_output(answer))
    return f"{head}{fitted(answer.status, answer.perfdata, more, room)}\n"


def document(records: Iterable[str]) -> Iterator[str]:
    """Give all results, with a separator between two."""
    before = ""
    for one in records:
        yield before + one
        before = SEPARATOR
