"""The message of a round trip (RFC 5322): what it says, and how it is recognised."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timezone
from email.utils import format_datetime

TOKEN = "X-Check-SMTP-Health-Token"  # noqa: S105  # nosec B105
"""The field that only one message has with this value."""

RECIPIENTS = "X-Check-SMTP-Health-Recipients"
"""The field that all messages to a recipient have in common: ``mark`` of each."""

SUBJECT = "check_smtp_health: does mail arrive?"

BODY = """\
This message was sent to find out whether mail arrives, and how long that takes.
It is deleted as soon as it has been seen in its mailbox. If you read it, nobody
was looking there, and you may delete it.
"""


def compose(token: str, date: str, sender: str, recipients: list[str], name: str) -> bytes:
    """Return the message, with CRLF and without dot-stuffing; no line has 998 octets.

    ``token`` is what makes it unlike any other. ``sender`` may be empty, as the reverse-path is;
    ``name`` is what this host calls itself. It is ASCII where the addresses are (else UTF-8,
    RFC 6532).
    """
    fields = (
        f"Date: {date}",
        f"From: <{sender or f'check_smtp_health@{name}'}>",
        "To: " + ",\n ".join(f"<{address}>" for address in recipients),
        f"Subject: {SUBJECT}",
        f"Message-ID: <{token}@{name}>",
        # RFC 3834: no answer from a machine, please; the second is Exchange's word for it.
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: All",
        f"{TOKEN}: {token}",
        f"{RECIPIENTS}: " + "\n ".join(mark(address) for address in recipients),
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: 7bit",
    )
    return "\n".join((*fields, "", BODY)).replace("\n", "\r\n").encode("utf-8")


def mark(address: str) -> str:
    """Return what stands for a recipient in the header: ASCII, and no part of another's."""
    return hashlib.sha256(address.lower().encode("utf-8")).hexdigest()[:32]


def stamp() -> tuple[str, str]:
    """Return a token that nobody guesses, and the date in UTC (RFC 5322 section 3.3)."""
    return os.urandom(16).hex(), format_datetime(datetime.now(timezone.utc))
