"""The header of a message (RFC 5322): its fields, and what they tell of the way it came.

Reads and sends nothing. All of it was written by somebody else, so nothing is taken for granted.
"""

from __future__ import annotations

import re
from email.utils import mktime_tz, parsedate_tz

from check_smtp_health.report import Hop

TYPE_CHECKING = False
if TYPE_CHECKING:
    Fields = list[tuple[str, str]]

HOPS_LIMIT = 100
"""Servers after which RFC 5321 section 6.3 takes a message for one that goes round in circles."""

NESTING_LIMIT = 5
"""Comments within comments that are read; nobody writes more."""

MOMENT_LIMIT = 253402300800.0
"""Seconds from 1970 to the year 10000, which no date has (RFC 5322 section 3.3: four digits).

The zone of one may have any number of digits, and of such numbers the difference is infinite.
"""

SPAM_LIMIT = 10
"""Fields of spam filters that are reported; a filter writes three or four."""

METHODS = ("spf", "dkim", "dmarc")
"""Methods of authentication (RFC 8601) whose results are reported."""

_SPAM = ("x-spam", "x-rspamd", "x-bogosity", "x-virus", "x-ms-exchange-organization-scl")


def fields(header: bytes) -> Fields:
    """Return the fields of a header, unfolded, topmost first; names are in lower case."""
    found: list[tuple[str, list[str]]] = []
    for line in header.split(b"\n"):
        text = line.rstrip(b"\r").decode("utf-8", "replace")
        if not text:
            break
        name, colon, value = text.partition(":")
        if text[0] in " \t":
            if found:
                found[-1][1].append(text.strip())
        elif colon:
            found.append((name.strip().lower(), [value.strip()]))
    return [(name, " ".join(parts).strip()) for name, parts in found]


def values(read: Fields, name: str) -> list[str]:
    """Return the values of all fields of that name, topmost first."""
    return [value for known, value in read if known == name.lower()]


def moment(date: str) -> float | None:
    """Return a date as seconds since 1970, None where it is none."""
    try:
        parsed = parsedate_tz(date)
        found = None if parsed is None else float(mktime_tz(parsed))
        return found if found is not None and abs(found) < MOMENT_LIMIT else None
    except (ValueError, OverflowError, TypeError, IndexError):
        return None  # email.utils takes more for a date than the calendar has


def received(read: Fields) -> float | None:
    """Return when the last server took the message, by its own clock."""
    newest = values(read, "Received")[:1]
    return moment(newest[0].rpartition(";")[2]) if newest else None


def hops(read: Fields) -> tuple[Hop, ...]:
    """Return each server on the way and how long after the one before it took the message.

    The first is counted from the message's own date. Clocks differ, so it may be less than none.
    """
    dates = values(read, "Date")[:1]
    before = moment(dates[0]) if dates else None
    found = []
    for value in reversed(values(read, "Received")[:HOPS_LIMIT]):
        trace, _, date = value.rpartition(";")
        now = moment(date)
        by = re.search(r"\bby\s+(\S+)", trace)
        seconds = now - before if now is not None and before is not None else None
        found.append(Hop(by[1] if by else "", seconds))
        before = now if now is not None else before
    return tuple(found)


def authentication_results(read: Fields) -> tuple[tuple[str, str], ...]:
    """Return the result of each method, by the last server that judged it (RFC 8601)."""
    found: dict[str, str] = {}
    for value in values(read, "Authentication-Results"):
        judged: dict[str, str] = {}
        for part in _bare(value).split(";")[1:]:
            match = re.match(r"\s*([A-Za-z0-9-]+)(?:\s*/\s*\d+)?\s*=\s*([A-Za-z]+)", part)
            method = match[1].lower() if match else ""
            # Of several signatures one that passes is enough.
            if match and method in METHODS and judged.get(method) != "pass":
                judged[method] = match[2].lower()
        found = {**judged, **found}
    return tuple((method, found[method]) for method in METHODS if method in found)


def spam(read: Fields) -> tuple[tuple[str, str], ...]:
    """Return the fields that spam filters left, names in lower case."""
    return tuple((name, value) for name, value in read if name.startswith(_SPAM))[:SPAM_LIMIT]


def _bare(value: str) -> str:
    """Return a value without its comments, which may hold what looks like results."""
    value = re.sub(r'"(?:[^"\\]|\\.)*"', '""', value)
    for _ in range(NESTING_LIMIT):
        shorter = re.sub(r"\([^()]*\)", " ", value)
        if shorter == value:
            break
        value = shorter
    return value
