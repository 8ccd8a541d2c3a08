"""``--output-format icinga2``: bodies of requests to the action ``process-check-result``.

https://icinga.com/docs/icinga-2/latest/doc/12-icinga2-api/#process-check-result
"""

from __future__ import annotations

import json
import os

from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.output.answer import long_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from check_smtp_health.output.answer import Answer


SOURCE = os.uname().nodename
"""Where the checks run, as Icinga shows it."""


class Request(NamedTuple):
    """What submits an answer: the name of the service object, and the body, a line of its own."""

    service: str
    body: str


def record(answer: Answer) -> Request:
    """Return the request that submits an answer."""
    service = f"{answer.host}!{answer.service}"
    body = {
        "type": "Service",
        "service": service,
        "exit_status": answer.code,
        "plugin_output": "\n".join((answer.status, *long_output(answer))),
        "performance_data": list(answer.perfdata),
        "check_source": SOURCE,
        "execution_start": answer.began,
        "execution_end": answer.finished,
    }
    return Request(service, json.dumps(body) + "\n")


def document(records: Iterable[Request]) -> Iterator[str]:
    """Give one body a line."""
    return (one.body for one in records)
