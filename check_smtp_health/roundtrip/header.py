"""The header of a message (RFC 5322): its fields, and what they tell of the way it came.

Reads and sends nothing. All of it was written by somebody else, so nothing is taken for granted,
and everything is read in one pass: what is twice as long takes twice the time.

Whose word on SPF, DKIM and DMARC counts
----------------------------------------

Each server on the way puts its fields on top, ``Received`` among them, and anyone before it may
have written any field below. So what stands above the first ``Received`` by which the message was
handed over to somebody is the receiving server's. (One without ``from`` is a step within a server,
and LMTP one from the server to its mailboxes.) Some servers write their results below that
``Received`` (Gmail), or hand the message on among themselves (Microsoft 365). These are known by
their name: that in the field itself (the authserv-id), or in the next ``Received`` below.
"""

from __future__ import annotations

import re
from email.utils import mktime_tz, parsedate_tz

from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.report.delivery import Hop

TYPE_CHECKING = False
if TYPE_CHECKING:
    Fields = list[tuple[str, str]]

SIZE_LIMIT = 64 * 1024
"""Bytes of a header that are read: 100 hops and their signatures have less."""

LINES_LIMIT = 4000
"""Lines of it; a header that long has lines of 16 bytes."""

DATE_LIMIT = 128
"""Characters of a date: RFC 5322 has 31, and a comment may follow."""

HOPS_LIMIT = 100
"""Servers after which RFC 5321 section 6.3 takes a message for one that goes round in circles."""

MOMENT_LIMIT = 253402300800.0
"""Seconds from 1970 to the year 10000, which no date has (RFC 5322 section 3.3: four digits).

The zone of one may have any number of digits, and of such numbers the difference is infinite.
"""

SPAM_LIMIT = 10
"""Fields of spam filters that are reported; a filter writes three or four."""

METHODS = ("spf", "dkim", "dmarc")
"""Methods of authentication (RFC 8601) whose results are reported."""

_RESULTS, _RECEIVED, _RECEIVED_SPF = "authentication-results", "received", "received-spf"

_BESIDE = ("arc-", "dkim-filter", "dmarc-filter", _RECEIVED_SPF, "x-")
"""How fields begin that the filters of one server leave between their results."""

_OF_MANY = {"ac", "co", "com", "edu", "go", "gob", "gov", "gv", "ne", "net", "or", "org"}
"""Labels of domains below a country's in which anybody can have one, as in ``co.uk``."""

_TOKENS = re.compile(r'\\.|[\\"();]|[^\\"();]+', re.DOTALL)

_RESULT = re.compile(r"\s*([A-Za-z0-9-]+)\s*(?:/\s*\d+\s*)?=\s*([A-Za-z]+)(?!\S)")

_CLIENT = re.compile(r'\b(client-ip|envelope-from|receiver)="?<?([^\s;">]*)')

_NO_NAME = re.compile(r"[^A-Za-z0-9.-]")

_SPAM = ("x-spam", "x-rspamd", "x-bogosity", "x-virus", "x-ms-exchange-organization-scl")


def fields(header: bytes) -> Fields:
    """Return the fields of a header, unfolded, topmost first; names are in lower case."""
    found: list[tuple[str, list[str]]] = []
    for line in header[:SIZE_LIMIT].split(b"\n", LINES_LIMIT)[:LINES_LIMIT]:
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
    """Return a date as seconds since 1970, None if it is not one."""
    try:
        parsed = parsedate_tz(date[:DATE_LIMIT])
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
        now = moment(value.rpartition(";")[2])
        seconds = now - before if now is not None and before is not None else None
        found.append(Hop(trace(value).by, seconds))
        before = now if now is not None else before
    return tuple(found)


def authentication_results(read: Fields) -> tuple[tuple[str, str], ...]:
    """Return the result of each method by the receiving server's own word (RFC 8601).

    That is its topmost field, with those of the same authserv-id that follow; where there is none,
    what its Received-SPF says (RFC 7208 section 9.1).
    """
    traces = _traces(read)
    at = _topmost(read, _RESULTS)
    if at is not None:
        name, found = _results(read[at][1])
        if _is_own(traces, at, name):
            for further, value in read[at + 1 :]:
                own_name, more = _results(value) if further == _RESULTS else (name, [])
                if own_name != name or not further.startswith((_RESULTS, *_BESIDE)):
                    break
                found += more
            results = ((method, _decided(method, found)) for method in METHODS)
            return tuple((method, result) for method, result in results if result)
    at = _topmost(read, _RECEIVED_SPF)
    if at is not None:
        words = " ".join(_parts(read[at][1])).lower().split() or [""]
        names = [word[len("receiver=") :] for word in words if word.startswith("receiver=")]
        if words[0].isalpha() and _is_own(traces, at, (*names, "")[0]):
            return (("spf", words[0]),)
    return ()


def judged_client(read: Fields) -> tuple[str, str | None]:
    """Return the address and the reverse-path that the receiving server says it has judged.

    An address is empty, a path None, where it does not say.
    """
    traces = _traces(read)
    address, sender = "", None
    at = _topmost(read, _RECEIVED_SPF)
    if at is not None:
        # The first of each counts: the last ones may be in what others have chosen.
        pairs = dict(reversed(_CLIENT.findall(read[at][1])))
        if _is_own(traces, at, pairs.get("receiver", "").lower()):
            address, sender = pairs.get("client-ip", ""), pairs.get("envelope-from")
    at = _topmost(read, _RESULTS)
    if sender is None and at is not None and _is_own(traces, at, _results(read[at][1])[0]):
        path = re.search(r"\bsmtp\.mailfrom=([^\s;()]+)", read[at][1])
        sender = path and path[1].strip('"<>')
    return address, sender


def spam(read: Fields) -> tuple[tuple[str, str], ...]:
    """Return the fields that spam filters left, names in lower case."""
    return tuple((name, value) for name, value in read if name.startswith(_SPAM))[:SPAM_LIMIT]


class Trace(NamedTuple):
    """A ``Received`` field: the server ``by`` which, and whether that had it from another one."""

    by: str
    is_handed_over: bool


def trace(value: str) -> Trace:
    """Return what a ``Received`` field says of the way."""
    words = _parts(value)[0].split()
    # The last ones: what stands before may be a HELO of several words, which others have chosen.
    clauses = dict(zip(map(str.lower, words), words[1:]))
    protocol = clauses.get("with", "").upper()
    is_handed_over = words[:1] == ["from"] and not protocol.startswith("LMTP")
    return Trace(clauses.get("by", ""), is_handed_over)


def _traces(read: Fields) -> list[tuple[int, Trace]]:
    """Return each ``Received`` and its place among the fields."""
    places = [at for at, (name, _) in enumerate(read) if name == _RECEIVED][:HOPS_LIMIT]
    return [(at, trace(read[at][1])) for at in places]


def _topmost(read: Fields, name: str) -> int | None:
    return next((at for at, (known, _) in enumerate(read) if known == name), None)


def _is_own(traces: list[tuple[int, Trace]], at: int, name: str) -> bool:
    """Whether the receiving server wrote the field there, which calls its author by that name."""
    above = [trace for place, trace in traces if place < at]
    servers = [trace.by for trace in above if trace.is_handed_over]
    if not servers:
        return True
    below = [trace.by for place, trace in traces if place > at][:1]
    # We sent the message without results: what is below all servers' fields is the last one's.
    authors = [name, *(below or ([] if name else servers[-1:]))]
    return any(all(is_of_one_site(server, one) for server in servers) for one in authors)


def is_of_one_site(one: str, other: str) -> bool:
    """Whether two servers' names are equal, or end in the same domain."""
    first, second = (name.lower().rstrip(".").split(".") for name in (one, other))
    if first == second:
        return first != [""]
    if not first[-1] or first[-1].isdigit():
        return False
    shared = 0
    for label, its in zip(reversed(first), reversed(second)):
        if label != its:
            break
        shared += 1
    is_shared_by_many = len(first[-1]) == 2 and first[-2:][0] in _OF_MANY
    return shared >= (3 if is_shared_by_many else 2)


def _results(value: str) -> tuple[str, list[tuple[str, str, bool]]]:
    """Return the authserv-id, empty where there is none, and method, result, whether of HELO."""
    name, *parts = _parts(value)
    if _RESULT.match(name):  # Microsoft 365 leaves the authserv-id out
        name, parts = "", [name, *parts]
    matches = [(part, _RESULT.match(part)) for part in parts]
    found = [
        (match[1].lower(), match[2].lower(), "smtp.helo" in part.lower())
        for part, match in matches
        if match
    ]
    return (name.split() or [""])[0].lower(), found


def _decided(method: str, found: list[tuple[str, str, bool]]) -> str:
    """Return what several results of one method come to, nothing where there is none."""
    own = [(result, is_of_helo) for known, result, is_of_helo in found if known == method]
    if method == "dkim":
        # Of several signatures one that passes is enough.
        own.sort(key=lambda one: one[0] != "pass")
    else:
        # SPF's of MAIL FROM counts; of two that contradict each other, the worse.
        own.sort(key=lambda one: (one[1], one[0] == "pass"))
    return own[0][0] if own else ""


def _parts(value: str) -> list[str]:
    """Return what semicolons part, without comments, which may nest (RFC 5322 section 3.2.2).

    Of quoted text, all that is in no name becomes ``_``: it may look like results.
    """
    parts: list[list[str]] = [[]]
    depth, is_quoted = 0, False
    for piece in _TOKENS.findall(value):
        if depth:
            depth += (piece == "(") - (piece == ")")
        elif piece == '"':
            is_quoted = not is_quoted
        elif is_quoted:
            parts[-1].append(_NO_NAME.sub("_", piece))
        elif piece == "(":
            depth = 1
            parts[-1].append(" ")
        elif piece == ";":
            parts.append([])
        else:
            parts[-1].append(piece)
    return ["".join(part) for part in parts]
