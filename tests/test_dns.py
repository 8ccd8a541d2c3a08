"""Questions to name servers of every kind: who is asked, how often, and what is an answer."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.errors import Expired, Unresolvable
from check_smtp_health.faults import DnsUnanswered
from check_smtp_health.net import addresses, dns_answer, driver
from check_smtp_health.net import dns as look_ups
from check_smtp_health.net.dns import Servers
from check_smtp_health.net.driver import Deadline
from check_smtp_health.net.operations import Together, untimed
from tests.servers.name_server import (
    GARBAGE,
    LOOP,
    NONE,
    NXDOMAIN,
    SHORT,
    SILENCE,
    WRONG_ID,
    WRONG_QUESTION,
    Answer,
    NameServer,
    fails,
    over_tcp,
    records,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from check_smtp_health.net.operations import Procedure

GOOD = records("A 127.0.0.9")

NAME = "mx.test"

LONG = Answer(("A 127.0.0.9",), raw=lambda reply: reply + bytes(look_ups.PAYLOAD))
"""More than was asked for by UDP."""

HUGE = over_tcp("answers", *(f'TXT "{index:03} {"x" * 200}"' for index in range(160)))

CUT = Answer(raw=lambda reply: reply[:2] + b"\x87\x80" + reply[4:])
"""Says by TCP, too, that there is more."""


@contextmanager
def serving(*answers: Answer, kind: str = "A", **options: Any) -> Iterator[Servers]:
    """Procedure a name server for each answer, the first one at 127.0.0.1."""
    with ExitStack() as stack:
        found = []
        for number, answer in enumerate(answers, 1):
            address = f"127.0.0.{number}"
            server = NameServer({(NAME, kind): answer}, address=address, **options)
            stack.enter_context(server.running())
            found.append(addresses.literal(address, server.port))
        yield Servers(tuple(found), are_trusted=True)


def outcome(run: Procedure[Any], seconds: float = 5) -> Any:
    """Return what a look-up returns, or the fault that ends it."""

    def both() -> Procedure[Any]:
        return (yield Together([untimed(run)]))[0]

    return driver.run([untimed(both())], Deadline(seconds))[0]


def values(found: Any) -> list[str]:
    return [str(value) for value in found.values]


@pytest.mark.parametrize("before", [SILENCE, fails("SERVFAIL"), fails("REFUSED"), WRONG_QUESTION])
def test_the_next_server_is_asked(before: Answer) -> None:
    with serving(before, GOOD) as servers:
        found = outcome(look_ups.query(servers, NAME, "A"))
    assert values(found) == ["127.0.0.9"]


def test_a_question_that_got_lost_is_asked_again() -> None:
    # The first datagram is kept until the second has come.
    with serving(GOOD, awaited=2) as servers:
        found = outcome(look_ups.query(servers, NAME, "A"))
    assert values(found) == ["127.0.0.9"]


def test_all_that_is_wrong_is_told() -> None:
    with serving(fails("SERVFAIL"), fails("REFUSED"), takes_tcp=False) as servers:
        found = outcome(look_ups.query(servers, NAME, "A"))
    assert (type(found), found.sentence) == (
        DnsUnanswered,
        "A of mx.test: SERVFAIL from 127.0.0.1, REFUSED from 127.0.0.2",
    )


def test_a_code_that_nobody_knows() -> None:
    with serving(Answer(raw=lambda reply: reply[:3] + b"\x8d" + reply[4:])) as servers:
        found = outcome(look_ups.query(servers, NAME, "A"))
    assert found.sentence == "A of mx.test: 13 from 127.0.0.1"


@pytest.mark.parametrize(
    ("answer", "options", "problem"),
    [
        (over_tcp("answers", "A 127.0.0.9"), {"takes_tcp": False}, "connection refused"),
        (over_tcp("closes", "A 127.0.0.9"), {}, "an incomplete answer"),
        (over_tcp("garbles", "A 127.0.0.9"), {}, "no answer to the question"),
        (LONG, {"takes_tcp": False}, "connection refused"),
        (HUGE, {}, "an answer of 34756 bytes"),
        (CUT, {}, "no answer to the question"),
    ],
)
def test_tcp_that_does_not_help(answer: Answer, options: dict[str, Any], problem: str) -> None:
    with serving(answer, **options) as servers:
        found = outcome(look_ups.query(servers, NAME, "A"))
    assert found.sentence == f"A of mx.test: 127.0.0.1: a truncated answer, and over TCP {problem}"


@pytest.mark.parametrize("answer", [SILENCE, WRONG_ID, WRONG_QUESTION, GARBAGE, SHORT])
def test_the_deadline_ends_the_wait(answer: Answer) -> None:
    with serving(answer) as servers:
        found = outcome(look_ups.query(servers, NAME, "A"), 0.3)
    assert (type(found), found.sentence) == (Expired, "no answer within 0.3 s")


def test_who_is_silent_is_asked_no_more_than_that_often() -> None:
    with serving(SILENCE, SILENCE) as servers:
        found = outcome(look_ups.query(servers, NAME, "A", rounds=(0.05, 0.1)))
    assert (type(found), found.sentence) == (
        DnsUnanswered,
        "A of mx.test: no answer from 127.0.0.1, no answer from 127.0.0.2",
    )


def test_somebody_who_answers_all_but_the_question() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            _, peer = server.recvfrom(512)
            for _ in range(look_ups.STRAYS):
                server.sendto(b"something else", peer)

        thread = threading.Thread(target=answer)
        thread.start()
        servers = Servers((addresses.literal(*server.getsockname()),), are_trusted=True)
        found = outcome(look_ups.query(servers, NAME, "A", rounds=(2,)))
        thread.join()
    assert (type(found), found.sentence) == (
        DnsUnanswered,
        "A of mx.test: 127.0.0.1: answers to something else",
    )


def test_what_is_too_long_for_udp_comes_by_tcp() -> None:
    with serving(LONG) as servers:
        found = outcome(look_ups.query(servers, NAME, "A"))
    assert values(found) == ["127.0.0.9"]


def test_a_loop_of_aliases() -> None:
    with serving(LOOP) as servers:
        found = outcome(look_ups.query(servers, NAME, "A"))
    assert (type(found), found.sentence) == (
        DnsUnanswered,
        "A of mx.test: 127.0.0.1: the aliases (CNAME) do not end",
    )


def test_a_name_that_no_question_can_be_about() -> None:
    found = outcome(look_ups.query(Servers((), are_trusted=False), "a..b", "A"))
    assert (type(found), found.sentence) == (DnsUnanswered, "a..b is not a valid DNS name")


@pytest.mark.parametrize(
    ("answer", "exists", "is_secure"),
    [
        (NXDOMAIN, False, False),
        (NONE, True, False),
        (Answer(is_secure=True), True, True),
        (Answer(rcode="NXDOMAIN", is_secure=True), False, True),
    ],
)
def test_what_there_is_not(answer: Answer, exists: bool, is_secure: bool) -> None:
    with serving(answer) as servers:
        found = outcome(look_ups.query(servers, NAME, "A"))
        distant = outcome(look_ups.query(servers._replace(are_trusted=False), NAME, "A"))
    assert (found.values, found.exists, found.is_secure) == ((), exists, is_secure)
    assert distant == found._replace(is_secure=False)


def test_an_alias() -> None:
    with serving(
        records("CNAME a.test.", "a.test.: CNAME b.test.", "b.test.: A 127.0.0.9")
    ) as servers:
        found = outcome(look_ups.query(servers, NAME, "A"))
    assert (values(found), found.canonical) == (["127.0.0.9"], "b.test")


@pytest.mark.parametrize(
    ("answer", "family", "problem"),
    [
        (NXDOMAIN, None, "no such host name"),
        (NONE, 4, "the name has no address (for IPv4)"),
        (NXDOMAIN, 6, "no such host name (for IPv6)"),
        (fails("SERVFAIL"), 4, "A of mx.test: SERVFAIL from 127.0.0.1"),
    ],
)
def test_a_host_without_address(answer: Answer, family: int | None, problem: str) -> None:
    with serving(answer) as servers:
        found = outcome(look_ups.resolve(servers, NAME, 25, family))
    assert (type(found), found.sentence) == (Unresolvable, problem)


def test_the_deadline_ends_the_wait_for_an_address() -> None:
    with serving(SILENCE) as servers:
        found = outcome(look_ups.resolve(servers, NAME, 25, 4), 0.2)
    assert (type(found), found.sentence) == (Expired, "no answer within 0.2 s")


def test_one_family_is_enough() -> None:
    with serving(GOOD) as servers:
        found = outcome(look_ups.resolve(servers, NAME, 25, None))
    assert [address.host for address in found.addresses] == ["127.0.0.9"]
    assert found.unknown == ""


# What comes back, as bytes


def asked(kind: str = "A") -> bytes:
    made = dns.message.make_query(NAME, kind, use_edns=0, payload=look_ups.PAYLOAD)
    made.id = 0x1234  # or the names of the tests would differ from run to run
    return made.to_wire()


def answered(query: bytes, *found: bytes, flags: int = 0x8180, others: int = 0) -> bytes:
    counts = struct.pack("!5H", flags, 1, len(found) - others, 0, others)
    return query[:2] + counts + dns_answer.question_of(query) + b"".join(found)


OWNER = b"\xc0\x0c"
"""A pointer to the name in the question (RFC 1035 section 4.1.4)."""

A, CNAME, MX, TXT, OPT, UNKNOWN = 1, 5, 15, 16, 41, 65280


def record(kind: int, data: bytes, owner: bytes = OWNER, own_class: int = 1, ttl: int = 9) -> bytes:
    return owner + struct.pack("!HHIH", kind, own_class, ttl, len(data)) + data


def pointer(to: int) -> bytes:
    return struct.pack("!H", 0xC000 | to)


def begin(query: bytes) -> int:
    """Return where the data of an answer's first record is, with ``OWNER`` as its owner."""
    return len(answered(query)) + len(OWNER) + 10


@pytest.mark.parametrize(
    ("change", "is_one"),
    [
        (lambda query, data: data, True),
        (lambda query, data: query, False),
        (lambda query, data: bytes([data[0] ^ 1]) + data[1:], False),
        (lambda query, data: data[:2] + b"\x89" + data[3:], False),  # a STATUS
        (lambda query, data: data[:11], False),
        (lambda query, data: data[:12], False),
        (lambda query, data: data[:5] + b"\2" + data[6:], False),
        (lambda query, data: data.replace(b"test", b"TeSt"), True),
        (lambda query, data: data.replace(b"test", b"nest"), False),
        (lambda query, data: data.replace(b"\0\0\1\0\1", b"\0\0\1\0\3"), False),
        (lambda query, data: data.replace(b"\0\0\1\0\1", b"\0\0\x0f\0\1"), False),
        # A server that did not understand the question need not repeat it.
        (lambda query, data: data[:2] + b"\x81\x82" + bytes(8), True),
        (lambda query, data: data[:2] + b"\x81\x83" + bytes(8), False),
        (lambda query, data: b"", False),
    ],
)
def test_what_answers_a_question(change: Callable[[bytes, bytes], bytes], is_one: bool) -> None:
    query = asked()
    data = change(query, answered(query, record(A, bytes(4))))
    assert dns_answer.is_answer(query, data) is is_one


@pytest.mark.parametrize(
    ("found", "values"),
    [
        ((record(A, b"\x7f\0\0\1"), record(A, b"\x7f\0\0\1")), ["127.0.0.1"]),
        ((record(A, bytes(4), own_class=3), record(UNKNOWN, b""), record(TXT, b"\1x")), []),
        ((record(A, bytes(4), owner=b"\1x\0"),), []),
        ((record(CNAME, b"\1X\xc0\x0c"), record(A, bytes(4), b"\1x\2MX\4test\0")), ["0.0.0.0"]),
    ],
)
def test_only_what_was_asked_for_counts(found: tuple[bytes, ...], values: list[str]) -> None:
    query = asked()
    answer = dns_answer.read(query, answered(query, *found))
    assert [str(value) for value in answer.values] == values


def test_a_code_that_is_longer() -> None:
    """RFC 6891 section 6.1.3: without its other half, BADVERS is NOERROR."""
    query = asked()
    answer = dns_answer.read(
        query, answered(query, record(OPT, b"", b"\0", own_class=1232, ttl=1 << 24), others=1)
    )
    assert (answer.rcode, answer.values) == (16, ())


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (answered(asked(), record(A, bytes(3))), "a malformed answer"),
        (answered(asked(), record(A, bytes(4))[:-1]), "a malformed answer"),
        (answered(asked(), record(A, bytes(4))[:-5]), "a malformed answer"),
        (answered(asked(), b"\xc0"), "a malformed answer"),
        (answered(asked(), record(A, bytes(4), owner=pointer(0xFFF))), "a malformed answer"),
        (answered(asked(), record(A, bytes(4), owner=b"\1a" * 200 + b"\0")), "a malformed answer"),
        (answered(asked(), record(A, bytes(4)), flags=0x8183), "a malformed answer"),
        (answered(asked(), *[record(A, bytes(4))] * 257), "an answer of 257 records"),
        (
            answered(asked(), record(A, bytes(4), owner=pointer(begin(asked()) - 12))),
            "a malformed answer",
        ),
    ],
)
def test_what_is_no_answer(data: bytes, problem: str) -> None:
    with pytest.raises(DnsUnanswered, match=f"^\\('{problem}'"):
        dns_answer.read(asked(), data)


def dear(kind: str) -> bytes:
    """Return an answer that takes as long to read as any that is read at all."""
    query = asked(kind)
    at = begin(query)
    count = dns_answer.RECORDS_LIMIT
    if kind == "TXT":
        return answered(query, record(TXT, bytes(look_ups.TCP_LIMIT - at)))
    if kind == "MX":
        first = record(MX, b"\0\0" + b"\1a" * 126 + b"\0")
        name = pointer(at + 2)
        more = (record(MX, struct.pack("!H", index) + name, name) for index in range(1, count))
        return answered(query, first, *more)
    # A chain: each pointer leads to the one before it.
    chain = b"\0" + b"".join(pointer(at + max(0, 2 * n - 1)) for n in range(7800))
    last = pointer(at + len(chain) - 2)
    return answered(query, record(UNKNOWN, chain), *[record(UNKNOWN, b"", last)] * (count - 1))


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collect the functions that are called: as many as ever, where the time varies."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event in ("call", "c_call"):
            calls.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize(
    ("kind", "problem"), [("A", "a malformed answer"), ("MX", ""), ("TXT", "")]
)
def test_no_answer_takes_long_to_read(kind: str, problem: str) -> None:
    """A million calls take a tenth of a second. dnspython itself would need 1.4 to 22 million."""
    query, data = asked(kind), dear(kind)
    fails = pytest.raises(DnsUnanswered, match=problem) if problem else nullcontext()
    with counted() as calls, fails:
        dns_answer.read(query, data)
    assert len(calls) < 1_000_000


def test_what_answers_nothing_takes_no_time() -> None:
    query, data = asked("A"), dear("MX")
    with counted() as calls:
        assert not dns_answer.is_answer(query, data)
    assert len(calls) < 20


@given(st.data())
def test_any_answer(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["A", "MX", "TXT", "PTR", "CNAME", "TLSA"]))
    query = asked(kind)
    octets = st.binary(max_size=12) | st.sampled_from([OWNER, b"\1a\0", pointer(30), b"\0\1\0\1"])
    wire = answered(
        query,
        *(
            record(*one)
            for one in data.draw(
                st.lists(
                    st.tuples(st.sampled_from([1, 5, 12, 15, 16, 41, 52]), octets, octets),
                    max_size=4,
                )
            )
        ),
    )
    at = data.draw(st.integers(12, len(wire)))
    wire = wire[:at] + data.draw(st.binary(max_size=3)) + wire[at:]
    if dns_answer.is_answer(query, wire):
        try:
            answer = dns_answer.read(query, wire)
        except DnsUnanswered:
            return
        assert isinstance(answer.canonical, str)
