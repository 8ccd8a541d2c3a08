"""The ranges that times and days are held against. Reads and sends nothing."""

from __future__ import annotations

import re

from check_smtp_health.arguments import SECONDS, is_digits
from check_smtp_health.errors import UsageFault
from check_smtp_health.text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.options import Options

DAYS = ("14", "3")
"""Days of validity left below which a certificate is WARNING, CRITICAL."""

STATES = ("warning", "critical")

RANGE_LIMIT = 40
"""Characters of a threshold range: two numbers more exact than any clock."""

_NUMBER = f"-?(?:{SECONDS})"
_RANGE = f"@?(?:(?P<start>~|{_NUMBER})?:)?(?P<end>{_NUMBER})?"


def ranges(options: Options, option: str, keys: tuple[str, ...], tls: str) -> dict[str, str]:
    """Return the ranges of ``warning`` or ``critical`` by what they judge, as Nagios writes them.

    ``keys`` are the words that may name a range; a run with TLS has one for the days left, too.

    Raises:
        UsageFault: one is no range, is given twice or judges something unknown.
    """
    given = _given(options, option, keys)
    return {**_listings(options, option), **given, **_days(options, tls, option)}


def _given(options: Options, option: str, keys: tuple[str, ...]) -> dict[str, str]:
    ranges: dict[str, str] = {}
    for part in ",".join(options.all(option)).split(",") if options.count(option) else ():
        key, equals, text = part.rpartition("=")
        key = key if equals else "time"
        if key not in keys:
            known = f"{', '.join(keys[:-1])} or {keys[-1]}"
            raise UsageFault(option, f"{quoted(key)} is not a stage ({known})")
        limit = _range(option, text)
        if key in ranges:
            raise UsageFault(option, f"{key} has two ranges, {ranges[key]} and {limit}")
        ranges[key] = limit
    return ranges


def _listings(options: Options, option: str) -> dict[str, str]:
    """Return the range for the listings in DNSBLs, where none is given: one is CRITICAL."""
    is_given = any("dnsbl=" in text for name in STATES for text in options.all(name))
    return (
        {"dnsbl": "0"} if option == "critical" and options.count("dnsbl") and not is_given else {}
    )


def _days(options: Options, tls: str, state: str) -> dict[str, str]:
    given = options.last("certificate")
    if not tls or options.count("ignore-certificate-expiration"):
        return {}
    parts = DAYS if given is None else given.split(",")
    if len(parts) > 2 or not all(is_digits(part) and len(part) <= 5 for part in parts):
        raise UsageFault("certificate", f"{quoted(given or '')} is not a number of days W[,C]")
    days = int((*parts, "0")[0 if state == "warning" else 1])
    return {"certificate_days": f"{days}:"} if days else {}


def _range(option: str, text: str) -> str:
    """Return a range as Nagios writes it, in the plainest form that means the same."""
    match = re.fullmatch(_RANGE, text[:RANGE_LIMIT])
    if match is None or len(text) > RANGE_LIMIT or text.lstrip("@") in ("", ":"):
        # What bash makes of an unquoted ~:5 is worth a word.
        hint = " (quote '~:N' in the shell)" if text.startswith("/") and ":" in text else ""
        raise UsageFault(option, f"{quoted(text)} is not a threshold range{hint}")
    start, end = match["start"] or "0", match["end"]
    if start != "~" and end is not None and float(start) > float(end):
        raise UsageFault(
            option,
            f"{quoted(text)} is not a threshold range: its start, {start}, is above its end, {end}",
        )
    # Graph writers drop thresholds that are not plain numbers, and 0:5 means 5.
    at = "@" if text.startswith("@") else ""
    if start != "~" and float(start) == 0 and end is not None:
        return at + _plain(end)
    start = start if start == "~" else _plain(start)
    return f"{at}{start}:{_plain(end) if end is not None else ''}"


def _plain(number: str) -> str:
    """Return a number with a digit on both sides of its point, or without point."""
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    return sign + ("0" if digits.startswith(".") else "") + digits.rstrip(".")
