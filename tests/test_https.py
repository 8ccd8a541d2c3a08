"""HTTP as bytes: what makes a page, in whatever pieces it comes, and that garbage makes a fault."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.errors import PeerFault, Rejected, Violation
from check_smtp_health.net.https import Page, Response, page

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; x=y\r\n"
LENGTH = HEAD + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nX: y\r\n\r\n"
OPEN = HEAD + b"\r\nhello"

HELLO = Page("text/plain", b"hello")


@pytest.mark.parametrize("data", [LENGTH, CHUNKED])
def test_a_page_is_there_once_it_is_whole(data: bytes) -> None:
    assert page(data, is_over=False) == HELLO
    assert page(data + b"tail", is_over=False) == HELLO
    # The trailer of a chunked body adds nothing.
    whole = data.index(b"X: y") if data is CHUNKED else len(data)
    assert {page(data[:length], is_over=False) for length in range(whole - 4)} == {None}


@pytest.mark.parametrize("data", [LENGTH, CHUNKED[:-20]])
def test_a_page_that_breaks_off(data: bytes) -> None:
    for length in range(len(data)):
        with pytest.raises(Violation):
            page(data[:length], is_over=True)


def test_a_page_that_ends_with_the_connection() -> None:
    assert page(OPEN, is_over=False) is None
    assert page(OPEN, is_over=True) == HELLO


def test_anything_but_200_is_told_as_soon_as_it_is_known() -> None:
    with pytest.raises(Rejected) as raised:
        page(b"HTTP/1.1 503 Not \xff now\r\n\r\n", is_over=False)
    assert (raised.value.code, raised.value.said) == (503, b"503 Not \xff now")


def test_a_size_beyond_all_numbers() -> None:
    with pytest.raises(Violation):
        page(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"9" * 99, is_over=True)


@given(st.binary() | st.binary().map(lambda tail: HEAD + tail), st.booleans())
def test_garbage_is_a_page_or_a_fault(data: bytes, is_over: bool) -> None:
    try:
        found = page(data, is_over=is_over)
    except PeerFault:
        return
    assert found is None or isinstance(found, Page)


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("data", [LENGTH, CHUNKED, INTERIM + LENGTH, INTERIM * 3 + CHUNKED])
def test_bytewise(data: bytes) -> None:
    response = Response()
    for at in range(len(data)):
        response.feed(data[at : at + 1])
        found = response.page(is_over=False)
        if found is not None:
            break
    assert found == HELLO


def test_a_hundred_continue_alone_is_no_answer_yet() -> None:
    assert page(INTERIM, is_over=False) is None
    with pytest.raises(Violation):
        page(INTERIM, is_over=True)


def test_what_comes_in_drops_is_read_once() -> None:
    """Each look costs what has come since: all of them, a second; each on its own, a minute."""
    fields = b"".join(b"X%d: %s\r\n" % (number, b"y" * 300) for number in range(90))
    chunks = b"1\r\nx\r\n" * 5000
    data = HEAD + fields + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n"
    response = Response()
    began = time.process_time()
    for at in range(0, len(data), 4):
        response.feed(data[at : at + 4])
        found = response.page(is_over=False)
    assert found == Page("text/plain", b"x" * 5000)
    assert time.process_time() - began < 2
