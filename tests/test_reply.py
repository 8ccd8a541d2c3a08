"""The reply parser: the same replies, or the same violation, wherever the pieces were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.smtp.session import LINE_LIMIT, LINES_LIMIT, REPLY_LIMIT, Reply, ReplyParser
from tests.replies import Outcome, parse

REPLIES: tuple[tuple[bytes, Outcome], ...] = (
    (b"220 mx\r\n", [Reply(220, (b"220 mx",))]),
    (b"220 mx\n", [Reply(220, (b"220 mx",))]),
    (b"220\r\n", [Reply(220, (b"220",))]),
    (b"220-\r\n220 \r\n", [Reply(220, (b"220-", b"220 "))]),
    (b"220-a\r\n220-b\r\n220 c\r\n", [Reply(220, (b"220-a", b"220-b", b"220 c"))]),
    (b"250 a\rb\0\xff\r\r\n", [Reply(250, (b"250 a\rb\0\xff\r",))]),
    (b"571 no\r\n", [Reply(571, (b"571 no",))]),
    (b"220 a\r\n250 b\r\n", [Reply(220, (b"220 a",)), Reply(250, (b"250 b",))]),
    (b"\r\n", [("an empty line, not a reply", b"")]),
    (b"22\r\n", [("not an SMTP reply", b"22")]),
    (b"22x\r\n", [("not an SMTP reply", b"22x")]),
    (b" 220 a\r\n", [("not an SMTP reply", b" 220 a")]),
    (b"220_a\r\n", [("not an SMTP reply", b"220_a")]),
    (b"2200 a\r\n", [("not an SMTP reply", b"2200 a")]),
    ("\u0662\u0662\u0660 a\r\n".encode(), [("not an SMTP reply", "\u0662\u0662\u0660 a".encode())]),
    (b"099 a\r\n", [("not an SMTP reply code", b"099 a")]),
    (b"120 a\r\n", [("not an SMTP reply code", b"120 a")]),
    (b"620 a\r\n", [("not an SMTP reply code", b"620 a")]),
    (b"220-a\r\n250 b\r\n", [("different codes in one reply", b"220-a\n250 b")]),
    (b"220-a\r\nb\r\n", [("not an SMTP reply", b"b")]),
    (b"\x15\x03\x03\0\x02", [("TLS instead of SMTP", b"\x15\x03")]),
    (
        b"220 " + b"x" * (LINE_LIMIT - 6) + b"\r\n",
        [Reply(220, (b"220 " + b"x" * (LINE_LIMIT - 6),))],
    ),
    (
        b"220 " + b"x" * (LINE_LIMIT - 5) + b"\r\n",
        [(f"a line longer than {LINE_LIMIT} bytes", b"220 " + b"x" * (LINE_LIMIT - 5) + b"\r")],
    ),
    (
        b"220-a\r\n" * (LINES_LIMIT - 1) + b"220 a\r\n",
        [Reply(220, (b"220-a",) * (LINES_LIMIT - 1) + (b"220 a",))],
    ),
    (b"220-a\r\n" * LINES_LIMIT, [(f"a reply of more than {LINES_LIMIT} lines", b"220-a")]),
    (
        b"220-%s\r\n" % (b"x" * 1020) * 65,
        [(f"a reply longer than {REPLY_LIMIT} bytes", b"220-" + b"x" * 1020)],
    ),
)


@pytest.mark.parametrize(("data", "outcome"), REPLIES, ids=[repr(row[0][:24]) for row in REPLIES])
def test_whole_bytewise_and_with_a_tail(data: bytes, outcome: Outcome) -> None:
    assert parse([data]) == outcome
    assert parse(bytes([byte]) for byte in data) == outcome
    assert parse([data + b"25"]) == outcome


@pytest.mark.parametrize("data", [b"", b"2", b"220", b"220 a", b"220-a\r\n", b"220-a\r\n220 b"])
def test_incomplete(data: bytes) -> None:
    parser = ReplyParser()
    parser.feed(data)
    assert parser.next_reply() is None
    assert parser.unread == data.replace(b"\r", b"")


@given(
    st.lists(
        st.sampled_from(
            [b"220", b"250", b"5", b" ", b"-", b"a", b"\r", b"\n", b"\r\n", b"\x15\x03"]
        )
        | st.binary(max_size=8),
        max_size=40,
    ),
    st.data(),
)
def test_any_cut_gives_the_same(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    cut = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)])]
    assert parse(cut) == parse([whole])


@given(st.binary(max_size=4096))
def test_garbage_gives_a_reply_or_a_violation(data: bytes) -> None:
    parse([data])


@given(
    st.lists(
        st.tuples(
            st.integers(200, 599),
            st.lists(st.binary(max_size=30), min_size=1, max_size=4),
            st.sampled_from([b"\r\n", b"\n"]),
        ),
        max_size=4,
    )
)
def test_what_is_well_formed_is_read_as_it_is(made: list[tuple[int, list[bytes], bytes]]) -> None:
    replies: Outcome = []
    sent = b""
    for code, texts, end in made:
        # What ends a line cannot be in it.
        clean = [text.replace(b"\n", b"").rstrip(b"\r") for text in texts]
        marks = [b"-"] * (len(clean) - 1) + [b" "]
        lines = tuple(b"%d%s%s" % (code, mark, text) for mark, text in zip(marks, clean))
        replies.append(Reply(code, lines))
        sent += b"".join(line + end for line in lines)
    assert parse([sent]) == replies


def test_texts_and_raw() -> None:
    reply = Reply(550, (b"550-5.7.1 no", b"550-", b"550 5.7.1 way"))
    assert reply.texts == (b"5.7.1 no", b"", b"5.7.1 way")
    assert reply.raw == b"550 5.7.1 no\n\n5.7.1 way"
    assert Reply(220, (b"220",)).raw == b"220"
    assert [Reply(code, (b"",)).is_positive for code in (220, 354, 421, 550)] == [
        True,
        True,
        False,
        False,
    ]
