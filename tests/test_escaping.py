"""The gate: whatever a peer says comes out as one harmless line of bounded length."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.escaping import REPLY_LIMIT, printable, quoted, shortened


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"", ""),
        (b"550 5.7.1 no", "550 5.7.1 no"),
        (b"a\r\nb\nc\r\n", "a / b / c"),
        (b"\n\n", ""),
        (b"a|b <c> [CRITICAL]", "a\\x7cb (c) (CRITICAL )"),
        (b"\0\a\x1b[0m\x7f", "\\x00\\x07\\x1b(0m\\x7f"),
        (b"lone\rCR", "lone\\x0dCR"),
        (b"\xff\xc3\xa4", "\ufffd\u00e4"),
        ("\x85\xa0", "\\x85\\xa0"),
        ("\u202e\u2028\u200b\ufeff", "\\u202e\\u2028\\u200b\\ufeff"),
        ("\U000e0041\ud800", "\\U000e0041\\ud800"),
        ("%s {0} \\n \\\\t \\r\\", "%s {0} \\x5cn \\\\x5ct \\r\\"),
        (b"x" * 256, "x" * 256),
        (b"x" * 257, "x" * 253 + "..."),
        (b"\r\n" * 300 + b"x", "x"),
        (b"a" + b"\r\n" * 300 + b"x", "a" + " / " * 84 + "..."),
    ],
)
def test_printable(said: bytes | str, shown: str) -> None:
    assert printable(said) == shown


STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN", "UP", "DOWN")

MARK = re.compile(rf"[\[(]({'|'.join(STATES)})[\])]")
"""What Icinga Web makes a coloured ball of."""

BREAK = re.compile(r"\\[nt]")
"""What it makes a line break or a tab of."""


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("[{}]", "({} )"),
        ("({})", "({} )"),
        ("<{}>", "({} )"),
        ("[{})", "({} )"),
        ("<{}]", "({} )"),
        ("(({}))", "(({} ))"),
        ("[({})]", "(({} ))"),
        ("({}[{}]{})", "({}({} ){})"),
        ("[{}][{}]", "({} )({} )"),
        ("[{} ]", "({} )"),
        ("[{}\r\n]", "({} / )"),
        ("[{}\0]", "({}\\x00)"),
        ("[{}", "({}"),
        ("{}", "{}"),
    ],
)
def test_no_mark_comes_of_a_peers_words(state: str, said: str, shown: str) -> None:
    assert printable(said.replace("{}", state)) == shown.replace("{}", state)


PIECES = st.sampled_from(
    (*STATES, "O", "K", *"[]()<>", "\r\n", "\n", "\0", "\u200b", " ", "|", "\xff", *"\\nt", "x" * 7)
)


@given(
    st.binary(max_size=2000) | st.text(max_size=2000) | st.lists(PIECES).map("".join),
    st.integers(4, 300),
)
def test_printable_is_one_harmless_bounded_line(said: bytes | str, limit: int) -> None:
    shown = printable(said, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert not set(shown) & set("|<>[]")
    assert not MARK.search(shown)
    assert not BREAK.search(shown)


@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from(STATES))
def test_no_mark_comes_of_a_cut(said: str, state: str) -> None:
    for limit in range(4, 40):
        assert not MARK.search(printable(f"{said}[{state}]{said}", limit))


def test_limit() -> None:
    assert len(printable(b"\0" * 1000)) == REPLY_LIMIT
    assert shortened("abcdef", 5) == "ab..."
    assert shortened("abcde", 5) == "abcde"


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("[a] <b>", "'[a] <b>'"),
        ("a|b\r\n", "'a\\x7cb\\x0d\\x0a'"),
        ("x" * 80, f"'{'x' * 80}'"),
        ("x" * 81, f"'{'x' * 80}...'"),
    ],
)
def test_quoted(given_: str, shown: str) -> None:
    assert quoted(given_) == shown
