"""Whether a message answers ours (``--reply``): it refers to it, or has it attached.

A notification that ours could not be delivered does both, and is no answer. Reads and sends
nothing; all of it was written by somebody else, so that everything has a limit.
"""

from __future__ import annotations

import binascii
import re

from check_smtp_health.roundtrip import header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from check_smtp_health.roundtrip.header import Fields

PARTS_LIMIT = 50
"""Parts of a message that are looked at; an answer with attachments has three or four."""

_ID = re.compile(r"<[^<>\s]+>")
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_EMPTY_LINE = re.compile(rb"\n\r?\n")


def refers_to(read: Fields, message_id: str) -> bool:
    """Whether the header of a message names ours as what it replies to (RFC 5322 3.6.4)."""
    named = (*header.values(read, "In-Reply-To"), *header.values(read, "References"))
    return any(message_id in _ID.findall(value) for value in named) and not is_report(read)


def may_enclose(read: Fields) -> bool:
    """Whether the header of a message says that there may be another one in it."""
    kind = _kind(read)
    return kind.startswith(("multipart/", "message/")) and not is_report(read)


def enclosed(head: bytes, body: bytes) -> Iterator[bytes]:
    """Give what is attached as a message (RFC 2046 section 5.2), each from its header on."""
    waiting = [(head, body)]
    for _ in range(PARTS_LIMIT):
        if not waiting:
            return
        head, body = waiting.pop()
        read = header.fields(head)
        if _kind(read) in ("message/rfc822", "message/global"):
            inner = _decoded(read, body)
            yield inner
            waiting.append(_parted(inner))
        elif _kind(read).startswith("multipart/"):
            waiting += [_parted(part) for part in _parts(read, body)][:PARTS_LIMIT]


def is_report(read: Fields) -> bool:
    """Whether it is a notification of what became of a message, in one of its known forms."""
    sender = "".join(header.values(read, "From")).lower()
    # RFC 3464 section 2: nobody is to answer it. An echo may have no return path, either.
    is_null = header.values(read, "Return-Path")[:1] == ["<>"]
    return (
        _kind(read) == "multipart/report"
        or bool(header.values(read, "X-Failed-Recipients"))  # Exim's
        or re.search(r"\bmailer-daemon\b", sender) is not None
        or (is_null and re.search(r"\bpostmaster\b", sender) is not None)
    )


def _kind(read: Fields) -> str:
    kinds = header.values(read, "Content-Type") or [""]
    return kinds[0].partition(";")[0].strip().lower()


def _parts(read: Fields, body: bytes) -> list[bytes]:
    match = _BOUNDARY.search(header.values(read, "Content-Type")[0])
    if match is None:
        return []
    boundary = re.escape((match[1] or match[2]).encode())
    return re.split(rb"\n--%s[ \t]*\r?\n" % boundary, b"\n" + body)[1:]


def _parted(part: bytes) -> tuple[bytes, bytes]:
    """Return the header and the body of a part, which may have no header."""
    match = _EMPTY_LINE.search(b"\n" + part)
    return (part, b"") if match is None else (part[: match.start()], part[match.end() - 1 :])


def _decoded(read: Fields, body: bytes) -> bytes:
    encodings = header.values(read, "Content-Transfer-Encoding")
    if [one.lower() for one in encodings] != ["base64"]:
        return body
    data = b"".join(body.split())
    try:
        # Cut off at a limit, it may end in the middle of a group of four.
        return binascii.a2b_base64(data[: len(data) // 4 * 4])
    except binascii.Error:
        return b""
