"""Which message is looked for, which are its kin, and which tells of its fate. Judges headers only.

Nothing is deleted but by what is said here: the header itself must be seen, for what a server finds
may only look like it.
"""

from __future__ import annotations

import re

from check_smtp_health import header
from check_smtp_health.values import NamedTuple

STALE_AFTER = 24 * 3600
"""Seconds after which nobody waits for a message any more, whoever sent it."""


class Copy(NamedTuple):
    """A message in a mailbox: its number there, its header, raw, and when it arrived.

    ``arrived`` is empty where the mailbox does not say; then the header must.
    """

    number: str
    header: bytes
    arrived: str = ""


class Sought(NamedTuple):
    """The message by the value of one field; its kin have one of several values in another.

    ``size`` is that of the message as it was sent.
    """

    field: str
    value: str
    kin_field: str
    kin: tuple[str, ...]
    size: int

    def is_it(self, copy: Copy) -> bool:
        """Whether it is the message itself."""
        return self.value in header.values(header.fields(copy.header), self.field)

    def concerns(self, copy: Copy) -> bool:
        """Whether it is the message or of its kin."""
        marks = " ".join(header.values(header.fields(copy.header), self.kin_field)).split()
        return self.is_it(copy) or bool(set(marks) & set(self.kin))

    def is_stale(self, copy: Copy, newest: Copy) -> bool:
        """Whether it is an earlier one to the same recipient, a day older than ``newest``.

        Both by its date, which this plugin set elsewhere, and by its arrival: no clock that is
        wrong may cost somebody else a message that is still waited for.
        """
        if self.is_it(copy) or not self.concerns(copy):
            return False
        before, now = _moments(copy), _moments(newest)
        return all(
            old is not None and new is not None and new - old > STALE_AFTER
            for old, new in zip(before, now)
        )

    def is_notification(self, copy: Copy) -> bool:
        """Whether it is a delivery status notification (RFC 3464)."""
        kinds = header.values(header.fields(copy.header), "Content-Type")
        return any(
            "report-type" in kind and "delivery-status" in kind for kind in map(str.lower, kinds)
        )

    def reason(self, status: bytes) -> bytes | None:
        """Return why delivery failed, by a notification's second part; None where it did not."""
        # Its groups of fields are parted by empty lines: one of the message, one a recipient.
        for group in re.split(rb"\r?\n\r?\n", status):
            read = header.fields(group)
            if header.values(read, "Action") == ["failed"]:
                found = header.values(read, "Diagnostic-Code") or header.values(read, "Status")
                return (found or [""])[0].encode()
        return None


def _moments(copy: Copy) -> tuple[float | None, float | None]:
    read = header.fields(copy.header)
    dates = header.values(read, "Date")
    arrived = header.moment(copy.arrived) if copy.arrived else header.received(read)
    return (header.moment(dates[0]) if dates else None), arrived
