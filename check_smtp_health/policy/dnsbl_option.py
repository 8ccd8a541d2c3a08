"""The value of ``--dnsbl``: a list, the codes that count, and what to look up in it."""

from __future__ import annotations

import re

from check_smtp_health.config import hosts
from check_smtp_health.config.credentials import KEY_LABEL
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.masking import STARS, without_key
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_address, plain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    Codes = tuple[frozenset[int], ...]

NAME_LIMIT = 253
"""Characters of a name of DNS: 255 octets as it is sent (RFC 1035 section 2.3.4)."""

ADDRESS_LENGTH = 64
"""Characters of the name of an IPv6 address, with its last dot, which comes before the zone."""

_SEQUENCE = r"\[[0-9;.]+\]"
_CODES = r"\.".join([rf"([0-9]{{1,3}}|{_SEQUENCE})"] * 4)
_MEMBER = r"([0-9]{1,3})(?:\.\.([0-9]{1,3}))?"


class Dnsbl(NamedTuple):
    """A DNS blocklist: its zone, as much of that as may be ``shown``, and what to look up in it.

    ``codes`` are the answers that count: what each of the four numbers may be. ``about`` is an
    address or a domain, empty for the server's own addresses.
    """

    zone: str
    shown: str
    codes: Codes = ()
    about: str = ""


def parse(given: str, key: str = "") -> Dnsbl:
    """Return the list of ``--dnsbl``, its codes, and what to look up in it, where that is given.

    Raises:
        UsageFault: it is none.
    """
    place, slash, about = given.partition("/")
    written, equals, codes = place.partition("=")
    harmless = quoted(without_key(given))
    if "*" in place:
        raise UsageFault(
            "dnsbl", f"{harmless} has a weight, which only postscreen uses: leave it out"
        )
    labels = written.rstrip(".").split(".")
    zone = ".".join(key if one == KEY_LABEL else one.lower() for one in labels)
    if not hosts.is_name(zone) or len(zone) > NAME_LIMIT - ADDRESS_LENGTH:
        raise UsageFault("dnsbl", f"{harmless} is not a DNS zone")
    if slash:
        about = _subject(about, zone)
    shown = [STARS if one == KEY_LABEL else one.lower() for one in labels]
    return Dnsbl(zone, without_key(".".join(shown)), _codes(codes) if equals else (), about)


def _subject(given: str, zone: str) -> str:
    """Return what is to be looked up in a zone."""
    if hosts.ip_version(given) is not None and "%" not in given:
        return plain_address(given)
    domain = plain_name(given if given.isascii() else hosts.to_ascii(given))
    is_domain = hosts.is_name(domain) and "." in domain
    if not is_domain or len(f"{domain}.{zone}") > NAME_LIMIT:
        raise UsageFault("dnsbl", f"{quoted(given)} is neither an IP address nor a domain")
    return domain


def _codes(given: str) -> Codes:
    """Return the codes that count, as Postfix writes them (``postscreen_dnsbl_sites``)."""
    found = re.fullmatch(_CODES, given)
    codes = tuple(map(_numbers, found.groups())) if found else ()
    if not codes or not all(codes):
        raise UsageFault(
            "dnsbl", f"{quoted(given)} is not a list of codes, as in 127.0.0.[2;4..11]"
        )
    return codes


def _numbers(field: str) -> frozenset[int]:
    """Return what one number of a code may be, nothing where that cannot be read."""
    numbers: set[int] = set()
    for member in field.strip("[]").split(";"):
        found = re.fullmatch(_MEMBER, member)
        if found is None:
            return frozenset()
        first, last = int(found[1]), int(found[2] or found[1])
        if not first <= last <= 255:
            return frozenset()
        numbers.update(range(first, last + 1))
    return frozenset(numbers)
