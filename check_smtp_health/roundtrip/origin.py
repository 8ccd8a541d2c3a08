"""Where a message entered the receiving site from, and as whose, according to that site.

Reads a header only. Each server writes a ``Received`` field on top, with the client that it had the
message from. The topmost one is the receiving server's. Where its client is inside the site, that
client wrote the next one below, and so on, until a client is outside: its address is what others
judge, by SPF and by blocklists. Anyone may have invented what is below.

Inside is what has a private address. A client with a public one, but a name of the server's own
site, may be either: a step within a big site, or the site's own sender. Then it takes the server's
word on whom it has judged (``Received-SPF``), and where it has none, nobody knows.
"""

from __future__ import annotations

import ipaddress
import re

from check_smtp_health.config.hosts import to_ascii
from check_smtp_health.escaping import printable
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.roundtrip import header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Union

    from check_smtp_health.roundtrip.header import Fields

    Ip = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

AUTHORS_LIMIT = 5
"""Domains of authors that are told apart; DMARC is for messages of one (RFC 9989 section 5.3.1)."""

INSIDE = tuple(
    map(
        ipaddress.ip_network,
        (
            *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
            *("100.64.0.0/10", "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"),
        ),
    )
)
"""Networks inside a site: no client there is a stranger (RFC 6890). Those for documentation
are left out: what they stand for in an example is public."""

_PIECES = re.compile(r'\\.|["()]|[^\\"()]+', re.DOTALL)
_BRACKETED = re.compile(r"(?<!=)\[(?:IPv6:)?([0-9A-F:.]{2,45})(?:%[^\]]{0,40})?\]", re.IGNORECASE)
_BARE = re.compile(r"\s*([0-9A-F:.]{2,45})\s*\Z", re.IGNORECASE)
_HELO = re.compile(r"\bhelo[= ]\[?([^\s\])]+)", re.IGNORECASE)
_NAME = re.compile(r"\s*([^\s\[\]]+)\s*\[")
_ENVELOPE = re.compile(r"\benvelope-from\s*<([^<>\s]*)>", re.IGNORECASE)


class Origin(NamedTuple):
    """Who handed the message over, None where nobody knows: ``problem`` says why.

    ``helo`` is what that one called itself, ``sender`` the reverse-path, None where it is not
    known.
    """

    address: Ip | None
    helo: str = ""
    sender: str | None = None
    problem: str = ""


class _Handover(NamedTuple):
    """A ``Received`` by which a message was handed from one server to another; ``at`` is where."""

    at: int
    by: str
    helo: str
    address: Ip | None
    is_of_site: bool
    sender: str | None


def of(read: Fields) -> Origin:
    """Return where the message came from."""
    known, own_sender = header.judged_client(read)
    doubtful: list[_Handover] = []
    for one in _handovers(read):
        if one.address is None:
            if one.is_of_site or one.helo.lower() == "localhost":
                continue
            if doubtful:
                break
            where = (
                f"the Received field of {printable(one.by, 80)}" if one.by else "a Received field"
            )
            return Origin(None, problem=f"{where} names no address")
        if any(one.address in network for network in INSIDE):
            continue
        doubtful.append(one)
        if not one.is_of_site:
            break
    border = doubtful[:1]
    if len(doubtful) > 1:
        border = [one for one in doubtful if str(one.address) == known][:1]
    if not border:
        problem = "no Received field of the receiving server names a public address"
        if doubtful:
            problem = "the Received fields do not tell who handed it over to the receiving site"
        return Origin(None, problem=problem)
    (found,) = border
    above = [value for name, value in read[: found.at] if name == "return-path"]
    paths = [value.strip().strip("<>") for value in above[:1]]
    told = [one for one in (*paths, found.sender, own_sender) if one is not None]
    return Origin(found.address, found.helo, told[0] if told else None)


def authors(read: Fields) -> tuple[str, ...]:
    """Return the domains of the authors, as DNS has them, each once."""
    domains: dict[str, None] = {}
    for value in header.values(read, "From"):
        pieces = _pieces(value, ())
        text = "".join(text for text, is_comment in pieces if not is_comment)
        marked = re.findall(r"<([^<>]*)>", text) or [text]
        for one in marked:
            for domain in re.findall(r"@\s*([^\s@<>,;:\[\]]+)", one):
                name = plain_name(domain)
                domains[name if name.isascii() else to_ascii(name)] = None
                if len(domains) > AUTHORS_LIMIT:
                    return tuple(domains)
    return tuple(domains)


def _handovers(read: Fields) -> Iterator[_Handover]:
    places = [at for at, (name, _) in enumerate(read) if name == "received"]
    for at in places[: header.HOPS_LIMIT]:
        value = read[at][1]
        trace = header.trace(value)
        if not trace.is_handed_over:
            continue
        texts = _pieces(value, ("by",))
        words = "".join(text for text, is_comment in texts if not is_comment).split()[1:]
        comments = [text for text, is_comment in texts if is_comment]
        said = [*filter(None, map(_HELO.search, comments))]
        first = (*words, "")[0].strip("[]")
        helo = said[0][1] if said else first
        names = [match[1] for match in map(_NAME.match, comments) if match]
        envelope = _ENVELOPE.search(value)
        yield _Handover(
            at,
            trace.by,
            helo,
            _address(words, comments),
            any(header.is_of_one_site(name, trace.by) for name in (first, helo, *names[:1])),
            envelope[1] if envelope else None,
        )


def _pieces(value: str, ends: tuple[str, ...]) -> list[tuple[str, bool]]:
    """Return the texts in and outside of comments, up to one of these words outside of them.

    What is quoted is left out: a name, in which there may be anything.
    """
    found: list[tuple[list[str], bool]] = []
    depth, is_quoted = 0, False
    for piece in _PIECES.findall(value):
        if not depth and (piece == '"' or is_quoted):
            is_quoted ^= piece == '"'
            continue
        depth += (piece == "(") - (piece == ")" and depth > 0)
        if piece == "(" and depth == 1:
            found.append(([], True))
        elif depth:
            found[-1][0].append(piece)
        elif piece != ")":
            words = piece.split()
            at = next((at for at, word in enumerate(words) if word.lower() in ends), None)
            found.append((["".join(f"{word} " for word in words[:at])], False))
            if at is not None:
                break
    return [("".join(texts), is_comment) for texts, is_comment in found]


def _address(words: list[str], comments: list[str]) -> Ip | None:
    """Return the client's address, which is in brackets, or all that there is in a comment.

    What the client says itself, in the place of its name, may be one, too: it counts last.
    """
    texts = [match[1] for comment in comments for match in _BRACKETED.finditer(comment)]
    texts += [match[1] for match in map(_BARE.match, comments) if match]
    texts += [match[1] for match in map(_BRACKETED.match, words[:1]) if match]
    for text in texts:
        try:
            found = ipaddress.ip_address(text)
        except ValueError:
            continue
        return getattr(found, "ipv4_mapped", None) or found
    return None
