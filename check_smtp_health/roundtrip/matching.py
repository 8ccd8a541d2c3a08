"""Tells the message that is looked for, leftovers of earlier runs and notifications apart.

Only headers are judged. Only what is recognised here is deleted: the header itself must be seen,
because what a server finds may only look like it.
"""

from __future__ import annotations

import re

from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.roundtrip import answers, header

STALE_AFTER = 24 * 3600
"""Seconds after which no run waits for a message any more, whoever sent it."""


class FoundMessage(NamedTuple):
    """A message in a mailbox: its number there, its header, raw, and when it arrived.

    ``arrived`` is empty where the mailbox does not say; then the header must. ``encloses_it`` says
    that the message which is looked for has been seen attached.
    """

    number: str
    header: bytes
    arrived: str = ""
    encloses_it: bool = False


class MessageQuery(NamedTuple):
    """The message by the value of one field; all messages to a recipient have its mark in another.

    ``size`` is that of the message as it was sent; ``message_id`` tells it, too, where something on
    the way has dropped the other fields. With ``takes_replies`` an answer is as good.
    """

    field: str
    value: str
    marks_field: str
    recipient_marks: tuple[str, ...]
    size: int
    message_id: str = ""
    takes_replies: bool = False

    def is_it(self, message: FoundMessage) -> bool:
        """Whether it is the message itself."""
        fields = header.fields(message.header)
        is_named = self.message_id and self.message_id in header.values(fields, "Message-ID")
        return bool(is_named) or self.value in header.values(fields, self.field)

    def is_answer(self, message: FoundMessage) -> bool:
        """Whether it is an answer to the message, and counts."""
        if not self.takes_replies:
            return False
        read = header.fields(message.header)
        return message.encloses_it or answers.refers_to(read, self.message_id)

    def is_sought(self, message: FoundMessage) -> bool:
        """Whether it is what is looked for."""
        return self.is_it(message) or self.is_answer(message)

    def may_enclose(self, message: FoundMessage) -> bool:
        """Whether it takes the body to know if it is an answer."""
        return self.takes_replies and answers.may_enclose(header.fields(message.header))

    def encloses(self, message: FoundMessage, body: bytes) -> bool:
        """Whether it has the message attached."""
        attached = answers.enclosed(message.header, body)
        return any(self.is_it(FoundMessage("", one)) for one in attached)

    def is_ours(self, message: FoundMessage) -> bool:
        """Whether it is a message of this plugin, whoever sent it to whom."""
        return bool(header.values(header.fields(message.header), self.field))

    def concerns(self, message: FoundMessage) -> bool:
        """Whether it is the message, or another one of ours to the same recipients."""
        marks = " ".join(header.values(header.fields(message.header), self.marks_field)).split()
        return self.is_it(message) or bool(set(marks) & set(self.recipient_marks))

    def is_stale(self, message: FoundMessage, newest: FoundMessage) -> bool:
        """Whether it is an earlier one to the same recipient, a day older than ``newest``.

        Both by its date, which this plugin set elsewhere, and by its arrival: no clock that is
        wrong may cost somebody else a message that is still waited for.
        """
        if self.is_it(message) or not self.concerns(message):
            return False
        before, now = _moments(message), _moments(newest)
        return all(
            old is not None and new is not None and new - old > STALE_AFTER
            for old, new in zip(before, now)
        )

    def is_notification(self, message: FoundMessage) -> bool:
        """Whether it is a delivery status notification (RFC 3464)."""
        kinds = header.values(header.fields(message.header), "Content-Type")
        return any(
            "report-type" in kind and "delivery-status" in kind for kind in map(str.lower, kinds)
        )

    def reason(self, status: bytes) -> bytes | None:
        """Return why delivery failed, by a notification's second part; None where it did not."""
        # Empty lines separate its groups of fields: one for the message, one per recipient.
        for group in re.split(rb"\r?\n\r?\n", status):
            read = header.fields(group)
            if [_word(one) for one in header.values(read, "Action")] == ["failed"]:
                found = header.values(read, "Diagnostic-Code") or header.values(read, "Status")
                return (found or [""])[0].encode()
        return None


def _word(value: str) -> str:
    """Return a keyword in lower case, without a comment behind it (RFC 3464 section 2.1)."""
    return value.partition("(")[0].strip().lower()


def _moments(message: FoundMessage) -> tuple[float | None, float | None]:
    read = header.fields(message.header)
    dates = header.values(read, "Date")
    arrived = header.moment(message.arrived) if message.arrived else header.received(read)
    return (header.moment(dates[0]) if dates else None), arrived
