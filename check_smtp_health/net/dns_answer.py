"""Parses a name server's answer (RFC 1035 section 4.1) at a bounded cost.

It may be anybody's. So what does not answer the question is known by its first bytes; names are
followed for a few steps only; and dnspython, which bounds neither records nor steps, is given no
record but those that were asked for.
"""

from __future__ import annotations

import struct

import dns.exception
import dns.flags
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from check_smtp_health.faults import DnsUnanswered
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Labels = tuple[bytes, ...]

HEADER = 12
"""Bytes before the question (RFC 1035 section 4.1.1)."""

RECORDS_LIMIT = 256
"""Records of an answer: more than any mail host has, and with the longest names read in 0.05 s."""

POINTERS_LIMIT = 10
"""Pointers in one name, as in Go's resolver (``dnsmessage``); compressors rarely write three."""

LABELS_LIMIT = 127
"""Labels of a name, which has 255 octets at most (RFC 1035 section 3.1)."""

ALIASES_LIMIT = 16
"""Aliases that lead from one to the next, as in dnspython; resolvers follow about as many."""

_QR, _OPCODE = 0x8000, 0x7800

_WITHOUT_QUESTION = (
    dns.rcode.FORMERR,
    dns.rcode.SERVFAIL,
    dns.rcode.NOTIMP,
    dns.rcode.REFUSED,
)
"""Codes that a server may send without having understood the question (RFC 1035 section 4.1.1)."""

_NAMES = {dns.rdatatype.CNAME: 0, dns.rdatatype.PTR: 0, dns.rdatatype.MX: 2}
"""Where in a record's data a name begins that may be compressed (RFC 3597 section 4)."""


class Answer(NamedTuple):
    """What a server says. ``values`` are dnspython's, of the name that aliases lead to.

    ``is_authentic`` is whether the server says that DNSSEC vouches for it; ``canonical`` is that
    name, without final dot.
    """

    rcode: int
    is_authentic: bool
    values: tuple[Any, ...]
    canonical: str


def question_of(query: bytes) -> bytes:
    """Return the question in a query of ours: name, type, class."""
    return query[HEADER : query.index(b"\0", HEADER) + 5]


def is_answer(query: bytes, data: bytes) -> bool:
    """Whether this is an answer, to this query and no other (RFC 5452 section 9.1)."""
    if len(data) < HEADER or data[:2] != query[:2]:
        return False
    flags, questions = struct.unpack_from("!HH", data, 2)
    if flags & (_QR | _OPCODE) != _QR:
        return False
    if questions == 0:
        return flags & 0xF in _WITHOUT_QUESTION
    asked = question_of(query)
    said = data[HEADER : HEADER + len(asked)]
    # Some servers change the case of a name.
    return questions == 1 and said[-4:] == asked[-4:] and said[:-4].lower() == asked[:-4].lower()


def is_truncated(data: bytes) -> bool:
    """Whether an answer is truncated, so that TCP is needed for the rest."""
    return bool(struct.unpack_from("!H", data, 2)[0] & dns.flags.TC)


def read(query: bytes, data: bytes) -> Answer:
    """Return what an answer says, one that ``is_answer`` knows as such.

    Raises:
        DnsUnanswered: it is malformed or too long.
    """
    try:
        return _read(question_of(query), data)
    except (IndexError, struct.error, ValueError, dns.exception.DNSException) as error:
        raise DnsUnanswered("a malformed answer") from error


def _read(question: bytes, data: bytes) -> Answer:
    flags, questions, answers, *others = struct.unpack_from("!5H", data, 2)
    count = answers + sum(others)
    if count > RECORDS_LIMIT:
        raise DnsUnanswered(f"an answer of {count} records")
    kind = int.from_bytes(question[-4:-2], "big")
    rcode = flags & 0xF
    found: dict[Labels, dict[bytes, Any]] = {}
    aliases: dict[Labels, Labels] = {}
    at = HEADER + (len(question) if questions else 0)
    for number in range(count):
        owner, at = _name(data, at)
        own_kind, own_class, ttl, length = struct.unpack_from("!HHIH", data, at)
        at += 10
        if at + length > len(data):
            raise ValueError("an incomplete record")
        if own_kind == dns.rdatatype.OPT:
            rcode |= ttl >> 24 << 4  # RFC 6891 section 6.1.3
        elif number < answers and own_class == dns.rdataclass.IN:
            name = _name(data, at + _NAMES[own_kind])[0] if own_kind in _NAMES else ()
            if own_kind == kind:
                value = dns.rdata.from_wire(own_class, own_kind, data, at, length)
                found.setdefault(owner, {}).setdefault(data[at : at + length], value)
            elif own_kind == dns.rdatatype.CNAME:
                aliases.setdefault(owner, name)
        at += length
    name, _ = _name(question, 0)
    for _ in range(ALIASES_LIMIT):
        if name in found or name not in aliases:
            break
        name = aliases[name]
    else:
        raise DnsUnanswered("the aliases (CNAME) do not end")
    values = tuple(found.get(name, {}).values())
    if values and rcode == dns.rcode.NXDOMAIN:
        raise ValueError("records of a name that does not exist")
    canonical = dns.name.Name([*name, b""]).to_text(omit_final_dot=True)
    return Answer(rcode, bool(flags & dns.flags.AD), values, canonical)


def _name(data: bytes, at: int) -> tuple[Labels, int]:
    """Return the name that begins there, in lower case, and where it ends (section 4.1.4)."""
    labels: list[bytes] = []
    end = pointers = 0
    while data[at]:
        length = data[at]
        if length >= 0xC0:
            end = end or at + 2
            pointers += 1
            at = (length & 0x3F) << 8 | data[at + 1]
        else:
            labels.append(data[at + 1 : at + 1 + length].lower())
            at += 1 + length
        # What else is wrong with a label, or their sum, dnspython tells of names that matter.
        if pointers > POINTERS_LIMIT or len(labels) > LABELS_LIMIT:
            raise ValueError("a name that does not end")
    return tuple(labels), end or at + 1
