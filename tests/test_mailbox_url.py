"""A mailbox's URL: what it may be, whatever a user's name holds, and a folder's name in IMAP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.config.mailbox_url import SCHEMES, Mailbox, imap_name, parse
from check_smtp_health.errors import UsageFault
from check_smtp_health.report import Host


@pytest.mark.parametrize(
    ("url", "mailbox"),
    [
        ("imap://me@x", Mailbox("imap", "me", Host("x", "x", "name"), 143, "INBOX")),
        ("IMAPS://me@x/", Mailbox("imaps", "me", Host("x", "x", "name"), 993, "INBOX")),
        ("pop3://me@x", Mailbox("pop3", "me", Host("x", "x", "name"), 110, "")),
        ("pop3s://me@x:1/", Mailbox("pop3s", "me", Host("x", "x", "name"), 1, "")),
        (
            "imap://me@y@x:144/A/b@c:d",
            Mailbox("imap", "me@y", Host("x", "x", "name"), 144, "A/b@c:d"),
        ),
        (
            "imap://me%40y%3A%2F%25@x",
            Mailbox("imap", "me@y:/%", Host("x", "x", "name"), 143, "INBOX"),
        ),
        ("imap://me@[::1]:144/A", Mailbox("imap", "me", Host("::1", "::1", "address"), 144, "A")),
        ("imap://me@[::1]", Mailbox("imap", "me", Host("::1", "::1", "address"), 143, "INBOX")),
        ("imap://me@x./%C3%BC", Mailbox("imap", "me", Host("x.", "x.", "name"), 143, "\u00fc")),
        (
            "imap://\u00fc@\u00fc.x",
            Mailbox("imap", "\u00fc", Host("\u00fc.x", "xn--tda.x", "name"), 143, "INBOX"),
        ),
    ],
)
def test_parse(url: str, mailbox: Mailbox) -> None:
    assert parse(url) == mailbox


@pytest.mark.parametrize(
    ("url", "is_the_same"),
    [
        ("imaps://me@x/Other", True),
        ("imaps://me@x:993", True),
        ("imaps://me@x:994", False),
        ("imap://me@x", False),
        ("imaps://you@x", False),
        ("imaps://me@y", False),
    ],
)
def test_an_account_is_a_user_at_a_port_of_a_host(url: str, is_the_same: bool) -> None:
    """Two ports of a host are two servers, and two folders of an account are not."""
    assert (parse(url).account == parse("imaps://me@x/INBOX").account) is is_the_same


def test_what_is_shown_breaks_no_output() -> None:
    assert str(parse("imap://a|b@x/c|d")) == "a\\x7cb@x/c\\x7cd"
    assert str(parse("pop3s://me@y@x:99")) == "me@y@x"


def escaped(text: str) -> str:
    """Return text with all of it escaped that has a meaning in a URL."""
    return "".join(
        f"%{byte:02X}" if chr(byte) in "%@:/" or byte > 126 else chr(byte) for byte in text.encode()
    )


PRINTABLE = st.text(min_size=1, max_size=30).filter(str.isprintable)


@given(st.sampled_from(sorted(SCHEMES)), PRINTABLE, st.integers(1, 65535), PRINTABLE)
def test_every_user_and_folder_can_be_named(scheme: str, user: str, port: int, folder: str) -> None:
    path = f"/{escaped(folder)}" if scheme.startswith("imap") else ""
    read = parse(f"{scheme}://{escaped(user)}@mail.example:{port}{path}")
    assert (read.user, read.port, read.host.given) == (user, port, "mail.example")
    assert read.folder == (folder if path else "")
    assert str(read).isprintable()


def problem(url: str) -> str:
    """Return what is wrong with a URL, or nothing."""
    try:
        parse(url)
    except UsageFault as fault:
        return fault.problem
    return ""


@given(st.text())
def test_anything_else_is_a_sentence(text: str) -> None:
    for url in (text, f"imap://{text}", f"imap://me@{text}"):
        assert problem(url).isprintable()


@given(st.text(alphabet="ab:/@%[]?#", max_size=12), st.text(alphabet="ab:/@%[]", max_size=6))
def test_a_password_is_never_repeated(before: str, after: str) -> None:
    for url in (f"imap://me:s3cret{before}@{after}", f"{before}me:s3cret@{after}"):
        assert "s3cret" not in problem(url)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("INBOX", '"INBOX"'),
        ('a "b" \\c', '"a \\"b\\" \\\\c"'),
        ("M\u00fcll & \u65e5\u672c", '"M&APw-ll &- &ZeVnLA-"'),
        # The examples of RFC 3501 section 5.1.3.
        ("~peter/mail/\u53f0\u5317/\u65e5\u672c\u8a9e", '"~peter/mail/&U,BTFw-/&ZeVnLIqe-"'),
        ("\U0001f4e7", '"&2D3c5w-"'),
    ],
)
def test_imap_name(folder: str, name: str) -> None:
    assert imap_name(folder) == name


@given(PRINTABLE)
def test_every_folder_has_a_name_in_ascii(folder: str) -> None:
    name = imap_name(folder)
    assert name.isascii()
    assert name.isprintable()
