"""Time limits, and the ranges that times, days and counts are compared with.

Reads and sends nothing.
"""

from __future__ import annotations

import re

from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from check_smtp_health.config.getopt import Options

    Threshold = Literal["warning", "critical"]

TIMEOUT_LEAST = 0.001
"""Seconds of the shortest deadline; below it no server could answer."""

TIMEOUT_LIMIT = 86400.0
"""Seconds of the longest deadline: a day, so that a typing error does not last for ever."""

TIME = "time"
"""The label of the seconds that the session took."""

DAYS = "certificate_days"
"""The label of the days that a certificate is still valid."""

DNSBL = "dnsbl"
"""The label of the number of listings in DNSBLs."""

HEALTHY = "healthy"
"""The label of the number of targets that are OK or WARNING."""

DEFAULT_DAYS = {"warning": ("14", 1 / 3), "critical": ("3", 1 / 10)}
"""Days of validity left below which a certificate is WARNING, CRITICAL, and the part of its
lifetime that they are at most: one of 6 days is renewed when 2 are left."""

# Patterns are compiled by the run that uses them: all of them together take 2 ms.
_DAYS = r"\d{1,5}(?:\.\d{1,3})?"
_SHARE = r"\d{1,2}(?:\.\d{1,3})?%"

RANGE_LIMIT = 40
"""Characters of a threshold range: two numbers more exact than any clock."""

_NUMBER = r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_RANGE = f"@?(?:(?P<start>~|{_NUMBER})?:)?(?P<end>{_NUMBER})?"
_INFINITE = float("inf")


class Range(NamedTuple):
    """What is fine, both ends included; inverted: what is not. ``text`` is its shortest form.

    Of days that a certificate has left, ``share`` is the part of its lifetime that they need be at
    most: ``applied_to`` a lifetime, it is a range like any other.
    """

    start: float
    end: float
    is_inverted: bool
    text: str
    share: float | None = None

    def is_violated(self, value: float) -> bool:
        """Whether the value raises an alert."""
        return (self.start <= value <= self.end) is self.is_inverted

    def applied_to(self, lifetime: float, term: float) -> Range:
        """Return the range for a certificate of that lifetime, in days.

        It has a share only where that is what it comes from; of nothing but a share, an authority's
        certificate is given that of the ``term`` of the one that it vouches for.
        """
        least = _INFINITE
        if self.share is not None:
            least = self.share * (term if self.start == _INFINITE else lifetime)
        if self.start <= least:
            return self._replace(share=None)
        return Range(least, self.end, self.is_inverted, f"{_rounded(least)}:", self.share)


class Limits(NamedTuple):
    """The ranges of both states, by the label that they are for."""

    warning: Mapping[str, Range]
    critical: Mapping[str, Range]

    def has(self, label: str) -> bool:
        """Whether there is any range for that label."""
        return label in self.warning or label in self.critical

    def of_certificate(self, lifetime: float, term: float) -> Limits:
        """Return the limits for a certificate, see ``Range.applied_to``."""
        return Limits(
            *(
                {DAYS: ranges[DAYS].applied_to(lifetime, term)} if DAYS in ranges else {}
                for ranges in self
            )
        )

    def violated(self, label: str, value: float) -> tuple[Threshold, Range] | None:
        """Return the worst state whose range the value violates, and that range."""
        critical, warning = self.critical.get(label), self.warning.get(label)
        if critical is not None and critical.is_violated(value):
            return "critical", critical
        if warning is not None and warning.is_violated(value):
            return "warning", warning
        return None


def is_number(text: str) -> bool:
    """Whether the text is a number of seconds: digits, with a point among them or without."""
    return text.isascii() and text.replace(".", "", 1).isdigit()


def seconds(option: str, given: str, text: str) -> float:
    """Return the seconds of a time limit; ``text`` is the part of what was ``given`` that has them.

    Raises:
        UsageFault: they are not a number, or out of bounds; ``option`` is to blame.
    """
    if not is_number(text):
        from check_smtp_health.config import remedies

        remedy = remedies.number(text, remedies.SECONDS)
        raise UsageFault(option, f"{quoted(given)} is not a number of seconds{remedy}")
    if not TIMEOUT_LEAST <= float(text) <= TIMEOUT_LIMIT:
        raise UsageFault(
            option,
            f"{quoted(given)} is not between {TIMEOUT_LEAST} and {TIMEOUT_LIMIT:.0f} seconds",
        )
    return float(text)


def limits(options: Options, labels: tuple[str, ...], *, has_tls: bool) -> Limits:
    """Return the limits that the options ask for; a run with TLS has some for the days left, too.

    ``labels`` are those of all that is ever measured, which may have a range.

    Raises:
        UsageFault: one is not a range, is given twice or is for something unknown.
    """
    return Limits(
        _ranges(options, "warning", labels, has_tls=has_tls),
        _ranges(options, "critical", labels, has_tls=has_tls),
    )


def _ranges(
    options: Options, option: Threshold, labels: tuple[str, ...], *, has_tls: bool
) -> dict[str, Range]:
    # The range of the days is the value of an option of its own.
    given = _given(options, option, tuple(label for label in labels if label != DAYS))
    return {**_listings(options, option), **given, **_days(options, option, has_tls=has_tls)}


def _given(options: Options, option: Threshold, keys: tuple[str, ...]) -> dict[str, Range]:
    ranges: dict[str, Range] = {}
    for label, text in _parts(options, option):
        if not label:
            raise UsageFault(option, f"write {options.flag(option)} {text}, without '='")
        if label not in keys:
            from check_smtp_health.config import remedies

            known = f" ({', '.join(keys[:-1])} or {keys[-1]})"
            remedy = remedies.word(label.lower(), keys) or known
            raise UsageFault(option, f"{quoted(label)} is not a stage{remedy}")
        limit = parse(option, text)
        if label in ranges:
            from check_smtp_health.config import remedies

            both = f"{ranges[label].text} and {limit.text}"
            flag = options.flag(option)
            written = (remedies.two_values(flag, one) for one in options.all(option))
            remedy = next(filter(None, written), "")
            raise UsageFault(option, f"{label} has two ranges, {both}{remedy}")
        ranges[label] = limit
    return ranges


def _parts(options: Options, option: Threshold) -> list[tuple[str, str]]:
    """Return each label, and the text of its range."""
    # An engine passes a missing macro as an empty text.
    given = [text for text in options.all(option) if text]
    parts = [part.rpartition("=") for text in given for part in text.split(",")]
    return [(label if equals else TIME, text) for label, equals, text in parts]


def _listings(options: Options, option: Threshold) -> dict[str, Range]:
    """Return the range for the listings in DNSBLs, where none is given: one is CRITICAL."""
    if option != "critical" or not options.count(DNSBL):
        return {}
    given = {label for label, _ in _parts(options, "warning") + _parts(options, "critical")}
    return {} if DNSBL in given else {DNSBL: parse(option, "0")}


def _days(options: Options, state: Threshold, *, has_tls: bool) -> dict[str, Range]:
    given = options.last("certificate")
    parts = [] if given is None else given.split(",")
    if len(parts) > 2 or not all(re.fullmatch(f"{_DAYS}|{_SHARE}", part, re.A) for part in parts):
        from check_smtp_health.config import remedies

        remedy = remedies.number(given or "", remedies.DAYS)
        problem = f"{quoted(given or '')} is not a number of days W[,C]{remedy}"
        raise UsageFault("certificate", problem)
    if not has_tls or options.count("ignore-certificate-expiration"):
        return {}
    if given is None:
        days, share = DEFAULT_DAYS[state]
        return {DAYS: parse("certificate", f"{days}:")._replace(share=share)}
    part = (*parts, "0")[0 if state == "warning" else 1]
    number = float(part.rstrip("%"))
    if not number:
        return {}
    if part.endswith("%"):
        return {DAYS: Range(_INFINITE, _INFINITE, False, f"{part}:", number / 100)}
    return {DAYS: parse("certificate", f"{number:.3f}".rstrip("0").rstrip(".") + ":")}


def _rounded(days: float) -> str:
    """Return a number of days as exactly as a person wants it."""
    return f"{round(days, 1 if days >= 1 else 3):g}"


def parse(option: str, text: str) -> Range:
    """Return the range that a text stands for.

    Raises:
        UsageFault: it is not a range; ``option`` is to blame.
    """
    match = re.fullmatch(_RANGE, text[:RANGE_LIMIT])
    if match is None or len(text) > RANGE_LIMIT or text.lstrip("@") in ("", ":"):
        from check_smtp_health.config import remedies

        # bash replaces an unquoted ~:5, which deserves a hint.
        is_home = text.startswith("/") and ":" in text
        hint = " (quote '~:N' in the shell)" if is_home else remedies.number(text, remedies.SECONDS)
        raise UsageFault(option, f"{quoted(text)} is not a threshold range{hint}")
    first, last = match["start"] or "0", match["end"]
    start = -_INFINITE if first == "~" else float(first)
    end = _INFINITE if last is None else float(last)
    if start > end:
        problem = f"its start, {first}, is above its end, {last}"
        raise UsageFault(option, f"{quoted(text)} is not a threshold range: {problem}")
    is_inverted = text.startswith("@")
    plain = "" if last is None else _plain(last)
    # Graph writers drop thresholds that are not plain numbers, and 0:5 means 5.
    if start != 0 or last is None:
        plain = f"{first if first == '~' else _plain(first)}:{plain}"
    return Range(start, end, is_inverted, f"{'@' if is_inverted else ''}{plain}")


def _plain(number: str) -> str:
    """Return a number with a digit on both sides of its point, or without point."""
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    return sign + ("0" if digits.startswith(".") else "") + digits.rstrip(".")
