"""The session: one reply a command, keywords as RFC 5321 has them, no way to smuggle a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.errors import Rejected, Violation
from check_smtp_health.smtp.session import (
    COMMAND_LIMIT,
    Reply,
    ReplyParser,
    Session,
    command,
    parse_keywords,
)


def ehlo(*lines: bytes) -> Reply:
    """Return an EHLO reply of a name and these lines."""
    return Reply(250, (b"250-mx STARTTLS", *(b"250-" + line for line in lines)))


@pytest.mark.parametrize(
    ("lines", "keywords"),
    [
        ((), {}),
        ((b"STARTTLS",), {"STARTTLS": ()}),
        ((b"starttls ", b"SIZE 100"), {"STARTTLS": (), "SIZE": ("100",)}),
        ((b"AUTH PLAIN LOGIN",), {"AUTH": ("PLAIN", "LOGIN")}),
        ((b"AUTH=LOGIN PLAIN", b"auth CRAM-MD5"), {"AUTH": ("LOGIN", "PLAIN", "CRAM-MD5")}),
        ((b"", b" ", b"\xff"), {"\ufffd": ()}),
    ],
)
def test_keywords(lines: tuple[bytes, ...], keywords: dict[str, tuple[str, ...]]) -> None:
    assert parse_keywords(ehlo(*lines)) == keywords


def test_offers() -> None:
    session = Session()
    session.learn(ehlo(b"XSTARTTLSX", b"Auth Plain"))
    asked = [("STARTTLS", None), ("auth", None), ("AUTH", "PLAIN"), ("AUTH", "LOGIN")]
    assert [session.offers(*one) for one in asked] == [False, True, True, False]


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_any_line_gives_keywords_that_are_offered(lines: list[bytes]) -> None:
    session = Session()
    session.learn(ehlo(*lines))
    for keyword, parameters in session.keywords.items():
        assert keyword == keyword.upper()
        assert keyword.split() in ([], [keyword])
        assert session.offers(keyword.lower())
        assert all(session.offers(keyword, parameter.swapcase()) for parameter in parameters)


def test_command() -> None:
    assert command("QUIT") == b"QUIT\r\n"
    assert command("HELO", "x" * 505) == b"HELO " + b"x" * 505 + b"\r\n"


@pytest.mark.parametrize("argument", ["a\r\nb", "a\nb", "a\0", "x" * (COMMAND_LIMIT - 6)])
def test_no_command_can_hold_another(argument: str) -> None:
    with pytest.raises(ValueError, match=r"^not a command line$"):
        command("HELO", argument)


def test_more_than_the_one_reply() -> None:
    session = Session()
    session.receive(b"220 a\r\n25")
    with pytest.raises(Violation) as caught:
        session.next_reply()
    assert (caught.value.problem, caught.value.said) == (
        "unexpected extra reply",
        b"25",
    )


@pytest.mark.parametrize("rest", [b"421 bye\r\n", b"421-bye\r\n421 now\r\n"])
def test_421_may_come_at_any_time(rest: bytes) -> None:
    session = Session()
    session.receive(b"220 a\r\n" + rest)
    with pytest.raises(Rejected) as caught:
        session.next_reply()
    assert caught.value.code == 421


def test_behind_a_421_nothing_counts() -> None:
    """As Postfix answers a client without certificate: 421, and then its banner."""
    session = Session()
    session.receive(b"421 no certificate\r\n220 mx ESMTP\r\n")
    assert session.next_reply() == Reply(421, (b"421 no certificate",))
    assert (session.next_reply(), session.unread) == (None, b"")


@pytest.mark.parametrize("cut", range(9))
def test_421_does_not_hide_the_refusal_before_it(cut: int) -> None:
    """The refusal comes first, the farewell answers the next command, wherever TCP cuts."""
    session = Session()
    farewell = b"421 bye\r\n"
    session.receive(b"554 no\r\n" + farewell[:cut])
    assert session.next_reply() == Reply(554, (b"554 no",))
    session.receive(farewell[cut:])
    assert session.next_reply() == Reply(421, (b"421 bye",))
    assert session.next_reply() is None


@pytest.mark.parametrize("cut", range(1, 9))
def test_half_a_421_may_still_become_whole(cut: int) -> None:
    session = Session()
    farewell = b"421 bye\r\n"
    session.receive(b"220 a\r\n" + farewell[:cut])
    assert session.next_reply() == Reply(220, (b"220 a",))
    session.receive(farewell[cut:])
    assert session.next_reply() == Reply(421, (b"421 bye",))


def test_closed_quotes_what_had_come() -> None:
    session = Session()
    assert (session.closed().problem, session.closed().said) == (
        "connection closed by the server",
        b"",
    )
    session.receive(b"220-a\r\n22")
    assert session.next_reply() is None
    assert (session.closed().problem, session.closed().said) == (
        "connection closed in the middle of a reply",
        b"220-a\n22",
    )


def test_a_challenge_may_be_longer_than_a_line() -> None:
    """As long as RFC 4954 section 4 has it for the other way."""
    parser = ReplyParser()
    parser.feed(b"334 " + b"A" * 12288 + b"\r\n")
    reply = parser.next_reply()
    assert reply is not None
    assert (reply.code, len(reply.texts[0])) == (334, 12288)
    parser.feed(b"334 " + b"A" * 12290 + b"\r\n")
    with pytest.raises(Violation, match="a line longer than 12294 bytes"):
        parser.next_reply()
