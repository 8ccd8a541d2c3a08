"""Questions to name servers of every kind: who is asked, how often, and what is an answer."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from check_smtp_health.errors import DnsUnanswered, Expired, Unresolvable
from check_smtp_health.net import addresses, dns, driver
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
    from collections.abc import Iterator

    from check_smtp_health.net.operations import Procedure

GOOD = records("A 127.0.0.9")

NAME = "mx.test"


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
        found = outcome(dns.query(servers, NAME, "A"))
    assert values(found) == ["127.0.0.9"]


def test_a_question_that_got_lost_is_asked_again() -> None:
    # The first datagram is kept until the second has come.
    with serving(GOOD, awaited=2) as servers:
        found = outcome(dns.query(servers, NAME, "A"))
    assert values(found) == ["127.0.0.9"]


def test_all_that_is_wrong_is_told() -> None:
    with serving(fails("SERVFAIL"), fails("REFUSED"), takes_tcp=False) as servers:
        found = outcome(dns.query(servers, NAME, "A"))
    assert (type(found), found.sentence) == (
        DnsUnanswered,
        "A of mx.test: SERVFAIL from 127.0.0.1, REFUSED from 127.0.0.2",
    )


@pytest.mark.parametrize(
    ("answer", "options", "problem"),
    [
        (over_tcp("answers", "A 127.0.0.9"), {"takes_tcp": False}, "connection refused"),
        (over_tcp("closes", "A 127.0.0.9"), {}, "an answer that breaks off"),
        (over_tcp("garbles", "A 127.0.0.9"), {}, "no answer to the question"),
    ],
)
def test_tcp_that_does_not_help(answer: Answer, options: dict[str, Any], problem: str) -> None:
    with serving(answer, **options) as servers:
        found = outcome(dns.query(servers, NAME, "A"))
    assert found.sentence == f"A of mx.test: 127.0.0.1: a truncated answer, and by TCP {problem}"


@pytest.mark.parametrize("answer", [SILENCE, WRONG_ID, WRONG_QUESTION, GARBAGE, SHORT])
def test_the_deadline_ends_the_wait(answer: Answer) -> None:
    with serving(answer) as servers:
        found = outcome(dns.query(servers, NAME, "A"), 0.3)
    assert (type(found), found.sentence) == (Expired, "no answer within 0.3 s")


def test_a_loop_of_aliases() -> None:
    with serving(LOOP) as servers:
        found = outcome(dns.query(servers, NAME, "A"))
    assert (type(found), found.sentence) == (
        DnsUnanswered,
        "mx.test: the aliases (CNAME) do not end",
    )


def test_a_name_that_no_question_can_be_about() -> None:
    found = outcome(dns.query(Servers((), are_trusted=False), "a..b", "A"))
    assert (type(found), found.sentence) == (DnsUnanswered, "a..b is no name that DNS could know")


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
        found = outcome(dns.query(servers, NAME, "A"))
        distant = outcome(dns.query(servers._replace(are_trusted=False), NAME, "A"))
    assert (found.values, found.exists, found.is_secure) == ((), exists, is_secure)
    assert distant == found._replace(is_secure=False)


def test_an_alias() -> None:
    with serving(
        records("CNAME a.test.", "a.test.: CNAME b.test.", "b.test.: A 127.0.0.9")
    ) as servers:
        found = outcome(dns.query(servers, NAME, "A"))
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
        found = outcome(dns.resolve(servers, NAME, 25, family))
    assert (type(found), found.sentence) == (Unresolvable, problem)


def test_the_deadline_ends_the_wait_for_an_address() -> None:
    with serving(SILENCE) as servers:
        found = outcome(dns.resolve(servers, NAME, 25, 4), 0.2)
    assert (type(found), found.sentence) == (Expired, "no answer within 0.2 s")


def test_one_family_is_enough() -> None:
    with serving(GOOD) as servers:
        found = outcome(dns.resolve(servers, NAME, 25, None))
    assert [address.host for address in found] == ["127.0.0.9"]
