"""The grammar of a record of SPF (RFC 7208 section 12), from its text to its terms."""

from __future__ import annotations

import functools
import ipaddress
import re

from check_smtp_health.escaping import printable
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    Result = Literal["none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"]

RECORD_LIMIT = 4096
"""Octets of a record. One that fits into a datagram has 450 (section 3.4)."""

PARSED = 30
"""Records that are kept as parsed: those of an evaluation."""

_QUALIFIERS: Mapping[str, Result] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_DIRECTIVE = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9._-]*)(?:([:/])(.*))?", re.DOTALL)
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)=(.*)", re.DOTALL)
MACRO = re.compile(r"%(?:([%_-])|\{([A-Za-z])([0-9]*)([Rr]?)([-.+,/_=]*)\})")
"""A macro: an escape, or a letter, how many parts, reversed or not, delimiters."""

_LITERAL = re.compile(r"[\x21-\x24\x26-\x7e]*")
_TOP_LABEL = re.compile(
    r"\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?\Z"
)
_CIDR = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_CIDR_AT_END = re.compile(r"(?:(?<!/)/[0-9]*)?(?://[0-9]*)?\Z")
_LAST_MACRO = re.compile(r"%(?:[%_-]|\{[^}]*\})\Z")


class Term(NamedTuple):
    """A mechanism as it stands in a record. ``target`` is its domain, its network, or nothing."""

    text: str
    result: Result
    name: str
    target: str = ""
    prefix4: int = 32
    prefix6: int = 128


class Record(NamedTuple):
    """A record, parsed; ``redirect`` is where the modifier leads, empty where there is none."""

    terms: tuple[Term, ...]
    redirect: str = ""


class Malformed(Exception):
    """A record breaks the grammar; its text says how."""


def is_record(text: str) -> bool:
    """Whether a TXT record is one of SPF (section 4.5)."""
    return re.match(r"v=spf1(?: |\Z)", text, re.IGNORECASE) is not None


@functools.lru_cache(maxsize=PARSED)  # each is looked at as often as answers come
def parsed(text: str) -> Record:
    """Return what a record says (section 12).

    Raises:
        Malformed: it breaks the grammar anywhere, which makes all of it an error (section 4.6).
    """
    if len(text) > RECORD_LIMIT:
        raise Malformed(f"the record has {len(text)} octets, more than {RECORD_LIMIT}")
    if re.search(r"[^\x20-\x7e]", text):
        raise Malformed("the record has characters that are not ASCII")
    terms = []
    modifiers: dict[str, str] = {}
    for word in text[len("v=spf1") :].split(" "):
        if not word:
            continue
        modifier = _MODIFIER.fullmatch(word)
        if modifier is None:
            terms.append(_term(word))
            continue
        name, value = modifier[1].lower(), modifier[2]
        if name in ("redirect", "exp"):
            if name in modifiers:
                raise Malformed(f"'{name}=' appears twice")
            _need_domain(word, value)
            modifiers[name] = value
        else:
            _need_macros(word, value)
    return Record(tuple(terms), modifiers.get("redirect", ""))


def uses_ptr(text: str) -> bool:
    """Whether a record has the mechanism that section 5.5 says not to use."""
    return re.search(r"(?: [-+?~]?ptr(?:[ :]|\Z))|%\{p", text, re.IGNORECASE) is not None


def _term(word: str) -> Term:
    found = _DIRECTIVE.fullmatch(word)
    if found is None:
        raise Malformed(f"'{printable(word)}' is not an SPF term")
    sign, name, mark, rest = found[1], found[2].lower(), found[3] or "", found[4] or ""
    read = _MECHANISMS.get(name)
    if read is None:
        raise Malformed(f"'{printable(word)}' is not an SPF mechanism")
    target, prefix4, prefix6 = read(word, mark, rest)
    return Term(word, _QUALIFIERS[sign or "+"], name, target, prefix4, prefix6)


def _all(word: str, mark: str, _rest: str) -> tuple[str, int, int]:
    if mark:
        raise Malformed(f"'{printable(word)}': all takes no value")
    return "", 32, 128


def _network4(word: str, mark: str, rest: str) -> tuple[str, int, int]:
    return _network(word, mark, rest, 4)


def _network6(word: str, mark: str, rest: str) -> tuple[str, int, int]:
    return _network(word, mark, rest, 6)


def _network(word: str, mark: str, rest: str, version: int) -> tuple[str, int, int]:
    address, slash, length = rest.partition("/")
    longest = 32 if version == 4 else 128
    try:
        ip = ipaddress.IPv4Address(address) if version == 4 else ipaddress.IPv6Address(address)
    except ValueError:
        ip = None
    if (
        mark != ":"
        or ip is None
        or "%" in address
        or (slash and not re.fullmatch("0|[1-9][0-9]{0,2}", length))
        or (slash and int(length) > longest)
    ):
        raise Malformed(f"'{printable(word)}' is not a network of IPv{version}")
    prefix = int(length) if slash else longest
    return str(ip), prefix, prefix


def _domain_only(word: str, mark: str, rest: str) -> tuple[str, int, int]:
    if mark != ":":
        raise Malformed(f"'{printable(word)}' needs a domain")
    _need_domain(word, rest)
    return rest, 32, 128


def _optional_domain(word: str, mark: str, rest: str) -> tuple[str, int, int]:
    if not mark:
        return "", 32, 128
    return _domain_only(word, mark, rest)


def _domain_and_prefixes(word: str, mark: str, rest: str) -> tuple[str, int, int]:
    if mark == "/":
        target, cidr = "", f"/{rest}"
    else:
        cidr = _CIDR_AT_END.search(rest)[0]  # type: ignore[index]
        target = rest[: len(rest) - len(cidr)]
        if mark:
            _need_domain(word, target)
    found = _CIDR.fullmatch(cidr)
    if found is None:
        raise Malformed(f"'{printable(word)}' has an invalid prefix length")
    prefix4 = int(found[1]) if found[1] else 32
    prefix6 = int(found[2]) if found[2] else 128
    if prefix4 > 32 or prefix6 > 128:
        raise Malformed(f"'{printable(word)}' has an invalid prefix length")
    return target, prefix4, prefix6


_MECHANISMS = {
    "all": _all,
    "include": _domain_only,
    "a": _domain_and_prefixes,
    "mx": _domain_and_prefixes,
    "ptr": _optional_domain,
    "ip4": _network4,
    "ip6": _network6,
    "exists": _domain_only,
}


def _need_macros(word: str, text: str) -> list[str]:
    """Return the letters of the macros in a text (section 7.1)."""
    letters: list[str] = []
    at = 0
    while True:
        at = _LITERAL.match(text, at).end()  # type: ignore[union-attr]
        if at == len(text):
            return letters
        macro = MACRO.match(text, at)
        if macro is None or (macro[2] and macro[2].lower() not in "slodiphcrtv"):
            raise Malformed(f"'{printable(word)}' has an invalid macro")
        if macro[3] and int(macro[3]) == 0:
            raise Malformed(f"'{printable(word)}' has a macro of no parts")
        letters.append((macro[2] or "").lower())
        at = macro.end()


def _need_domain(word: str, text: str) -> None:
    """Check that a text is a domain-spec (section 7.1)."""
    letters = _need_macros(word, text)
    if {"c", "r", "t"} & set(letters):
        raise Malformed(f"'{printable(word)}' has a macro that is for explanations only")
    if not _LAST_MACRO.search(text) and not _TOP_LABEL.search(text):
        raise Malformed(f"'{printable(word)}' has no domain")
