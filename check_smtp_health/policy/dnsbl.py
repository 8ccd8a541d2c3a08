"""What DNS blocklists say of an address (RFC 5782)."""

from __future__ import annotations

import ipaddress

from check_smtp_health.config import parsers
from check_smtp_health.errors import PeerFault, UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.dns import ask, together
from check_smtp_health.policy import need_addresses, server_address
from check_smtp_health.report import Finding, PolicyResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Kind
    from check_smtp_health.net.dns import Records, Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.stages.state import ProbeState

TEST_POINTS = {4: ("127.0.0.2", "127.0.0.1"), 6: ("::ffff:7f00:2", "::ffff:7f00:1")}
"""The address that every list has to list, and the one that none may (RFC 5782 section 5)."""

LISTINGS = "127."
"""How the answer begins that is a listing (RFC 5782 section 2.1)."""

REFUSALS = "127.255.255."
"""How it begins where the list refuses this resolver: it is public, or asks too much (Spamhaus)."""

CODES_SHOWN = 8


class Dnsbl(NamedTuple):
    """A DNS blocklist, and the ``address`` to look up in it; empty for the server's own."""

    zone: str
    address: str = ""


class Opinion(NamedTuple):
    """What one list says of an address: the codes of its listings, none where there is none.

    ``reason`` is why, in the list's words; ``trouble`` why what it says does not count.
    """

    zone: str
    address: str
    codes: tuple[str, ...] = ()
    reason: bytes = b""
    trouble: str = ""


class Lists(NamedTuple):
    """The lists to ask, and whom to ask about them."""

    servers: Servers
    lists: tuple[Dnsbl, ...]


def prepare(values: Sequence[str], settings: Settings, servers: Servers) -> Lists:
    """Return the lists that the option names.

    Raises:
        UsageFault: one is no list, or has no address to look up.
    """
    lists = tuple(dict.fromkeys(map(parse, values)))
    if not all(one.address for one in lists):
        need_addresses("dnsbl", settings.endpoint.hosts)
    return Lists(servers, lists)


def parse(given: str) -> Dnsbl:
    """Return the list of ``--dnsbl``, and the address to look up in it, where one is given.

    Raises:
        UsageFault: it is none.
    """
    zone, slash, address = given.partition("/")
    zone = zone.rstrip(".").lower()
    # The name of an IPv6 address, 64 octets, comes before it.
    if not parsers.is_name(zone) or len(zone) > parsers.FQDN_LIMIT - 64:
        raise UsageFault("dnsbl", f"{quoted(given)} is not a zone of DNS")
    if slash and (parsers.ip_version(address) is None or "%" in address):
        raise UsageFault("dnsbl", f"{quoted(address)} is not an IP address")
    return Dnsbl(zone, address)


def check(asked: Lists, state: ProbeState) -> Procedure[PolicyResult | None]:
    """Ask all lists at the same time, about the server's address or one of their own.

    None is returned where the server's address is needed and not known.
    """
    address = server_address(state)
    if not (address or all(one.address for one in asked.lists)):
        return None
    opinions: list[Opinion] = yield from together(
        _consult(asked.servers, one.zone, one.address or address) for one in asked.lists
    )
    listings = [one for one in opinions if one.codes]
    troubled = [one for one in opinions if one.trouble]
    # A list is somebody else's service: it is to alarm nobody, unless there is no other.
    kind: Kind = "unanswered" if len(troubled) == len(opinions) else "noted"
    return PolicyResult(
        "dnsbl",
        (
            *(Finding("listed", _listing(one), one.reason) for one in listings),
            *(Finding(kind, f"{one.zone} {one.trouble}") for one in troubled),
        ),
        tuple(_notes(opinions)),
        listings=len(listings),
        held="" if listings else _unlisted([one.zone for one in opinions if not one.trouble]),
    )


def _unlisted(zones: Sequence[str]) -> str:
    """Return where nobody is listed, by the lists whose word counts."""
    if len(zones) == 1:
        return f"not on {zones[0]}"
    return f"on none of {len(zones)} blocklists" if zones else ""


def _listing(opinion: Opinion) -> str:
    return f"{opinion.address} is listed in {opinion.zone} ({', '.join(opinion.codes)})"


def _notes(opinions: Sequence[Opinion]) -> Iterator[str]:
    for opinion in opinions:
        if not (opinion.codes or opinion.trouble):
            yield f"{opinion.address} is not listed in {opinion.zone}"
    for address in dict.fromkeys(opinion.address for opinion in opinions):
        if not ipaddress.ip_address(address).is_global:
            yield f"{address} is not a public address, hardly a list knows it"


def name(zone: str, address: str) -> str:
    """Return the name that stands for an address in a list (RFC 5782 sections 2.1 and 2.4)."""
    reverse = ipaddress.ip_address(address).reverse_pointer
    return f"{reverse.rsplit('.', 2)[0]}.{zone}"


def _consult(servers: Servers, zone: str, address: str) -> Procedure[Opinion]:
    points = (address, *TEST_POINTS[ipaddress.ip_address(address).version])
    answers = yield from together(ask(servers, name(zone, one), "A") for one in points)
    trouble = _trouble(points, answers)
    codes = () if trouble else _codes(answers[0])
    reason = b""
    if codes:
        try:
            records = yield from ask(servers, name(zone, address), "TXT")
        except PeerFault:
            pass  # the listing is what matters
        else:
            reason = b"\n".join(b"".join(value.strings) for value in records.values)
    return Opinion(zone, address, codes[:CODES_SHOWN], reason, trouble)


def _codes(answer: Records | PeerFault) -> tuple[str, ...]:
    if isinstance(answer, PeerFault):
        return ()
    return tuple(sorted(value.address for value in answer.values))


def _trouble(points: Sequence[str], answers: Sequence[Records | PeerFault]) -> str:
    """Return why a list's word on the first of the points does not count, if it does not."""
    if isinstance(answers[0], PeerFault):
        return f"gives no answer ({answers[0].problem})"
    codes, listed, unlisted = map(_codes, answers)
    for code in codes + listed:
        if code.startswith(REFUSALS):
            return f"refuses to answer this resolver ({code})"
    for code in codes + unlisted:
        if not code.startswith(LISTINGS):
            return f"answers with {code}, which is not a listing"
    if unlisted:
        return f"lists {points[2]}, and so everything"
    if codes or listed:
        return ""
    # Only a list that is seen to list something says by its silence that an address is not on it.
    if isinstance(answers[1], PeerFault):
        return f"gives no answer about {points[1]}, which every list has ({answers[1].problem})"
    return f"does not list {points[1]}, and so nothing"
