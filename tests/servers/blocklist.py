"""What DNS blocklists answer, for ``name_server`` to say."""

from __future__ import annotations

from check_smtp_health.policy import dnsbl
from tests.servers.name_server import NXDOMAIN, Answer, records

LISTED = records("A 127.0.0.2")


def points(
    name: str, form: int, *, listed: Answer = LISTED, unlisted: Answer = NXDOMAIN
) -> dict[tuple[str, str], Answer]:
    """Return what a list answers about its test points for IPv4, IPv6 or (0) domains."""
    positive, negative = dnsbl.TEST_POINTS[form]
    return {
        (dnsbl.name(name, positive).lower(), "A"): listed,
        (dnsbl.name(name, negative).lower(), "A"): unlisted,
    }


def zone(
    name: str,
    answer: Answer = NXDOMAIN,
    *,
    address: str = "192.0.2.9",
    reason: Answer = NXDOMAIN,
    listed: Answer = LISTED,
    unlisted: Answer = NXDOMAIN,
) -> dict[tuple[str, str], Answer]:
    """Return what a list answers about an address and about its test points, well by default."""
    form = 6 if ":" in address else 4
    return {
        **points(name, form, listed=listed, unlisted=unlisted),
        (dnsbl.name(name, address), "A"): answer,
        (dnsbl.name(name, address), "TXT"): reason,
    }
