"""What the reply parser makes of bytes that come in pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

from check_smtp_health.errors import Violation
from check_smtp_health.smtp.session import LINE_LIMIT, LINES_LIMIT, REPLY_LIMIT, Reply, ReplyParser

Outcome = list[Union[Reply, tuple[str, bytes]]]

OFTEN = 100
"""Pieces between looks at what is unread."""


def parse(pieces: Iterable[bytes]) -> Outcome:
    """Return all replies, and last the violation if there is one."""
    parser = ReplyParser()
    found: Outcome = []
    for number, piece in enumerate(pieces):
        parser.feed(piece)
        try:
            while (reply := parser.next_reply()) is not None:
                found.append(reply)
        except Violation as violation:
            return [*found, (violation.problem, violation.said)]
        if number % OFTEN:
            continue  # to join the lines at each byte takes far longer than to read them
        assert len(parser.unread) <= LINES_LIMIT + REPLY_LIMIT + 2 * LINE_LIMIT
    return found
