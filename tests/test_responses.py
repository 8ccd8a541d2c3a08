"""IMAP's responses mean the same however they are cut, and cost no more than they may."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.errors import Violation
from check_smtp_health.roundtrip.responses import (
    DEPTH_LIMIT,
    ITEMS_LIMIT,
    LINE_LIMIT,
    LITERAL_LIMIT,
    LITERALS_LIMIT,
    NEWEST,
    REPLY_LIMIT,
    RESPONSES_LIMIT,
    TOKENS_LIMIT,
    Response,
    ResponseParser,
    quoted,
)
from tests import memory

Outcome = list[Union[tuple[object, ...], str]]


def seen(response: Response) -> tuple[object, ...]:
    """Return a response as values that can be compared."""
    tag, name, number, pieces, line, numbers = response
    listed = None if numbers is None else (numbers.count, numbers.newest)
    return tag, name, number, pieces, line, listed


def parse(pieces: Iterable[bytes]) -> Outcome:
    """Return all responses, and last the violation if there is one."""
    parser = ResponseParser()
    found: Outcome = []
    for piece in pieces:
        parser.feed(piece)
        try:
            while (response := parser.next_response()) is not None:
                found.append(seen(response))
        except Violation as violation:
            return [*found, violation.problem]
    return found


def each_way(data: bytes) -> Outcome:
    """Parse it whole, bytewise and with a tail, and return what comes of it each time."""
    whole = parse([data])
    assert parse(bytes([byte]) for byte in data) == whole
    if not whole or not isinstance(whole[-1], str):
        assert parse([data + b"* OK ta"])[: len(whole)] == whole
    return whole


def one(data: bytes) -> Response:
    """Return the only response that this makes."""
    parser = ResponseParser()
    parser.feed(data)
    response = parser.next_response()
    assert response is not None
    assert parser.next_response() is None
    assert len(each_way(data)) == 1
    return response


@pytest.mark.parametrize(
    ("data", "tag", "name", "number", "pieces"),
    [
        (b"* OK hi\r\n", b"*", b"OK", 0, (b"hi",)),
        (b"* ok\n", b"*", b"OK", 0, (b"",)),
        (b"a1 NO [LIMIT] x\r\n", b"a1", b"NO", 0, (b"[LIMIT] x",)),
        (b"* 12 EXISTS\r\n", b"*", b"EXISTS", 12, (b"",)),
        (b"+ go on\r\n", b"+", b"", 0, (b"go on",)),
        (b"+\r\n", b"+", b"", 0, (b"",)),
        (b"* CAPABILITY IMAP4rev1 ID\r\n", b"*", b"CAPABILITY", 0, (b"IMAP4rev1 ID",)),
        # Section 7.1: what is text for people ends with its line.
        (b"* OK a literal? {3}\r\n", b"*", b"OK", 0, (b"a literal? {3}",)),
        (b"a2 BAD {3}\r\n", b"a2", b"BAD", 0, (b"{3}",)),
        (b"* 3 FETCH (X {3}\r\nabc)\r\n", b"*", b"FETCH", 3, (b"(X ", b"abc", b")")),
        (b"* 3 FETCH (X {0}\r\n Y {2+}\r\n\r\n)\r\n", b"*", b"FETCH", 3,
         (b"(X ", b"", b" Y ", b"\r\n", b")")),
    ],
)  # fmt: skip
def test_a_response(
    data: bytes, tag: bytes, name: bytes, number: int, pieces: tuple[bytes, ...]
) -> None:
    response = one(data)
    assert response[:4] == (tag, name, number, pieces)
    assert response.line == re.split(rb"\r?\n", data)[0]


@pytest.mark.parametrize(
    "data",
    [
        *(b"\r\n", b"220 ESMTP\r\n", b"+OK hi\r\n", b"* \r\n", b"*\r\n", b" OK x\r\n", b"a1\r\n"),
        *(b"a1 FETCH x\r\n", b"* 99999999999 EXISTS\r\n", b"* (x\r\n", b"* SEARCH 7 {3}\r\n"),
        *(b"* \xff\r\n", b"\x16\x03\x01\n"),
    ],
)
def test_no_response(data: bytes) -> None:
    assert each_way(data) == ["not IMAP"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"[UNAVAILABLE] x", (b"UNAVAILABLE", b"")),
        (b"[unavailable]", (b"UNAVAILABLE", b"")),
        (b"[UIDNEXT 4] x", (b"UIDNEXT", b"4")),
        (b"[CAPABILITY IMAP4rev1 ID] x", (b"CAPABILITY", b"IMAP4rev1 ID")),
        *((text, (b"", b"")) for text in (b"x [LIMIT]", b"[LIMIT", b"[]", b"")),
    ],
)
def test_response_code(text: bytes, code: tuple[bytes, bytes]) -> None:
    assert one(b"a1 NO " + text + b"\r\n").code == code
    assert one(b"* LIST " + text + b"\r\n").code == (b"", b"")


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"* X\r\n", []),
        (b"* X a NIL nil \"NIL\" \"\"\r\n", [b"a", None, None, b"NIL", b""]),
        (b'* X "a \\"b\\" \\\\" c\r\n', [b'a "b" \\', b"c"]),
        (b"* X (a (b) ()) c\r\n", [[b"a", [b"b"], []], b"c"]),
        (b"* X {2}\r\n)( a\r\n", [b")(", b"a"]),
        (b"* X BODY[HEADER.FIELDS (A B)]<0> {1}\r\n)\r\n", [b"BODY[HEADER.FIELDS (A B)]<0>", b")"]),
        (b"* X \\Junk\r\n", [b"\\Junk"]),
    ],
)  # fmt: skip
def test_values(data: bytes, values: list[object]) -> None:
    assert one(data).values() == values


@pytest.mark.parametrize(
    "text",
    [
        *(b"(a", b"a)", b")", b'"a', b"BODY[x", b"]", b"x" + b" a" * (TOKENS_LIMIT // 2 + 1)),
        b"(" * DEPTH_LIMIT + b")" * DEPTH_LIMIT,
    ],
    ids=lambda text: str(text[:9]),
)
def test_no_values(text: bytes) -> None:
    with pytest.raises(Violation, match="not IMAP"):
        one(b"* X " + text + b"\r\n").values()


def test_attributes() -> None:
    """In any order, as any kind of string, and whatever else there is."""
    data = (
        b'* 3 FETCH (FLAGS (\\Seen) body[header]<0> "A: b" ENVELOPE (("x" NIL)) uid 7 '
        b'INTERNALDATE {5}\r\n1-Jan MODSEQ (4) BODY[2] NIL)\r\n'
    )  # fmt: skip
    assert one(data).attributes() == {
        b"BODY[HEADER]": b"A: b",
        b"UID": b"7",
        b"INTERNALDATE": b"1-Jan",
    }
    for nothing in (b"* 3 FETCH\r\n", b"* 3 FETCH x\r\n", b"* 3 FETCH (UID)\r\n"):
        assert one(nothing).attributes() == {}


@pytest.mark.parametrize(
    ("data", "count", "newest"),
    [
        (b"* SEARCH\r\n", 0, []),
        (b"* search 3 1 2\r\n", 3, [3, 2, 1]),
        (b"* SEARCH 7 7 x 0 99999999999 4294967296 8 \r\n", 3, [8, 7]),
        (b"* SEARCH 2 (MODSEQ 917162500)\n", 1, [2]),
        (b'* ESEARCH (TAG "a1") UID ALL 1:3,9,7:5\r\n', 7, [9, 7, 6, 5, 3, 2, 1]),
        (b'* ESEARCH (TAG "a1") UID\r\n', 0, []),
        (b"* SEARCH " + b" ".join(b"%d" % n for n in range(1, 5001)) + b"\r\n", 5000,
         list(range(5000, 5000 - NEWEST, -1))),
        (b"* ESEARCH ALL 1:4294967295\r\n", 4294967295,
         list(range(4294967295, 4294967295 - NEWEST, -1))),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_numbers(data: bytes, count: int, newest: list[int]) -> None:
    numbers = one(data).numbers
    assert numbers is not None
    assert (numbers.count, numbers.newest) == (count, newest)


@pytest.mark.parametrize(
    ("first", "data", "said"),
    [
        (b"* X ", b"y" * 9999, f"a line longer than {LINE_LIMIT} bytes: b'* X {'y' * 16}'"),
        (b"* SEARCH ", b"7" * 9999, f"a line longer than {LINE_LIMIT} bytes: b'* SEARCH'"),
        (b"* SEARCH", b" 7" * 9999, f"a reply of more than {ITEMS_LIMIT} numbers: b'* SEARCH'"),
        (b"* ESEARCH ALL ", b"1:4294967295," * 999,
         f"a reply of more than {ITEMS_LIMIT} numbers: b'* ESEARCH'"),
        (b"", b"* 1 EXISTS %s\r\n" % (b"x" * 30) * 999,
         f"a reply of more than {RESPONSES_LIMIT} responses: b'* 1 EXISTS {'x' * 9}'"),
        (b"", b"* OK %s\r\n" % (b"x" * 9990),
         f"a reply longer than {REPLY_LIMIT} bytes: b'* OK {'x' * 15}'"),
        (b"* X {16000000}\r\n", b"y" * 9999,
         f"a line longer than {LINE_LIMIT} bytes: b'* X {'y' * 16}'"),
        (b"* X", b" {0}\r\n" * 99,
         f"a response with more than {LITERALS_LIMIT} literals: b'* X {{0}}'"),
        (b"* X {16777217}\r\n", b"", "a literal that is too long: b'* X {16777217}'"),
        (b"* X {%s}\r\n" % (b"1" * 9999), b"",
         f"a literal that is too long: b'* X {{{'1' * 15}'"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_limits(first: bytes, data: bytes, said: str) -> None:
    """Each is noticed, and none takes memory until it is."""
    parser = ResponseParser()
    parser.feed(first)

    def step() -> None:
        while parser.next_response():
            pass
        parser.feed(data)

    violation = memory.flooded(step, len(data))
    assert violation is not None
    assert f"{violation.problem}: {violation.said[:20]!r}" == said


def test_limits_hold_for_each_command() -> None:
    parser = ResponseParser()
    for _ in range(3):
        parser.expect()
        for _ in range(RESPONSES_LIMIT // 2500):
            parser.feed(b"* 1 EXISTS\r\n" * 1000)
            while parser.next_response():
                pass


def test_a_literal_is_kept_up_to_its_limit() -> None:
    data = b"* 1 FETCH (X {%d}\r\n%s Y {1}\r\nz)\r\n" % (
        LITERAL_LIMIT + 9,
        b"x" * (LITERAL_LIMIT + 9),
    )
    assert one(data).attributes() == {b"X": b"x" * LITERAL_LIMIT, b"Y": b"z"}


def test_unread() -> None:
    parser = ResponseParser()
    parser.feed(b"* OK a\r\n* 1 FETCH (X {3}\r\na")
    assert parser.next_response() is not None
    assert parser.next_response() is None
    assert parser.unread == b"* 1 FETCH (X "
    assert parser.last == b"* 1 FETCH (X {3}"


def test_quoted() -> None:
    assert quoted('a "b" \\') == b'"a \\"b\\" \\\\"'
    for text in ("\r", "\n", "\0", "\x7f", "\u00fc"):
        with pytest.raises(ValueError, match="not a quoted string"):
            quoted(text)


WORDS = (
    *(b"* ", b"a1 ", b"+ ", b"OK ", b"NO ", b"BYE ", b"[", b"]", b"(", b")", b"\r\n", b"\n", b"\r"),
    *(b"{3}\r\n", b"{0}\r\n", b"{-1}", b"{1", b"1 ", b"99999999999 ", b"SEARCH", b"ESEARCH ", b","),
    *(b"FETCH ", b"LIST ", b"NIL ", b"BODY[", b" ", b"7", b":", b"\\", b'"', b"\xff", b"\0"),
)


@given(st.lists(st.sampled_from(WORDS), max_size=20).map(b"".join), st.integers(0, 30))
def test_whatever_comes(data: bytes, cut: int) -> None:
    whole = each_way(data)
    assert parse([data[:cut], data[cut:]]) == whole
    parser = ResponseParser()
    parser.feed(data)
    try:
        while (response := parser.next_response()) is not None:
            try:
                response.attributes()
            except Violation:
                pass
            assert len(response.code) == 2
    except Violation:
        pass
