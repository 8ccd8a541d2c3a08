"""Checks take turns: each ends by itself, whatever becomes of the others, and leaves its place."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from check_smtp_health.errors import Unreachable
from check_smtp_health.net import turns
from check_smtp_health.net.addresses import Address
from check_smtp_health.net.operations import Connect, Pause, Read, Together, Within, untimed
from check_smtp_health.net.turns import Ended, Ticket
from tests.servers.loopback import free_port
from tests.servers.scripted import Hang, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from check_smtp_health.net.operations import Operation, Outcome, Procedure

    Session = Generator[Operation, Outcome, Any]

BANNERS = (b"220 mx.example ESMTP\r\n", Hang())


def pauses(seconds: float, said: str = "done", *, is_idle: bool = False) -> Session:
    yield Pause(seconds, is_idle=is_idle)
    return said


def connects(port: int, *operations: Operation) -> Session:
    outcome = yield Connect(Address(socket.AF_INET, ("127.0.0.1", port)), is_session=True)
    for operation in operations:
        outcome = yield operation
    return outcome.value if outcome.fault is None else outcome.fault


def is_buggy() -> Session:
    yield Pause(0.1)
    raise ValueError("wrong")


def ticket(*sessions: Callable[[], Session], keys: tuple[str, ...] = ()) -> Ticket:
    """Return a check of these sessions, whose value is what they return."""
    return Ticket(lambda: ([one() for one in sessions], list), 2, keys)


def ran(*tickets: Ticket, at_once: int = 9) -> dict[int, Ended]:
    """Run the checks, and return what each has come to."""
    ended: dict[int, Ended] = {}
    turns.run(tickets, at_once, 0, ended.__setitem__)
    assert len(ended) == len(tickets)
    return ended


def test_two_at_a_time_use_what_they_name() -> None:
    now, most = 0, 0

    def counted() -> Session:
        nonlocal now, most
        now += 1
        most = max(most, now)
        yield Pause(0.05)
        now -= 1

    ended = ran(*[ticket(counted, keys=("box", "other"))] * 5, ticket(lambda: pauses(0)))
    assert most == 2
    assert next(iter(ended)) == 5  # who names nothing does not wait
    assert [ended[number].value for number in range(5)] == [[None]] * 5


def test_who_cannot_begin_leaves_room_for_others() -> None:
    def begin() -> Any:
        raise ValueError("wrong")

    ended = ran(*[Ticket(begin, 2, ("box",))] * 3, ticket(lambda: pauses(0), keys=("box",)))
    assert [repr(ended[number].value) for number in range(3)] == ["ValueError('wrong')"] * 3
    assert ended[3].value == ["done"]


def test_idle_pauses_end_with_the_last_who_is_not_idle() -> None:
    began = time.monotonic()
    together = Together(
        [untimed(pauses(9, "idle", is_idle=True)), untimed(pauses(0.02, "at work"))]
    )

    def both() -> Session:
        return (yield together).value

    ended = ran(
        ticket(lambda: pauses(9, "idle", is_idle=True), lambda: pauses(0.05, "at work")),
        ticket(lambda: pauses(0.01, "at work"), lambda: pauses(0.01, "at work, too")),
        ticket(lambda: pauses(9, "alone", is_idle=True)),
        ticket(both),
    )
    assert [ended[number].value for number in range(4)] == [
        ["idle", "at work"],
        ["at work", "at work, too"],
        ["alone"],
        [["idle", "at work"]],
    ]
    assert time.monotonic() - began < 1


def test_a_bug_ends_a_check_with_all_that_it_does() -> None:
    """Its other session is connected, a third waits for a place, a fourth has others below it."""
    with ScriptedServer(BANNERS).running() as server:
        read = (Read(9), Read(9))

        def asks() -> Session:
            return connects(server.port, Pause(0.3))

        def has_others() -> Session:
            return (yield Together([untimed(pauses(9)), untimed(pauses(9))])).value

        ended = ran(
            ticket(asks),
            ticket(
                lambda: connects(server.port, *read),
                lambda: connects(server.port, *read),
                has_others,
                is_buggy,
            ),
            ticket(asks),
        )
    assert repr(ended[1].value) == "ValueError('wrong')"
    assert [ended[number].value for number in (0, 2)] == [[None], [None]]
    assert ended[1].seconds < 0.25
    assert server.connections == 3  # who was dropped while waiting does not connect


def test_a_deadline_below_the_checks_own() -> None:
    def briefly() -> Session:
        (one,) = (yield Within(0.05, [untimed(pauses(9))])).value
        return type(one).__name__

    assert ran(ticket(briefly))[0].value == ["Expired"]


def test_a_session_of_another_session_waits_for_no_place() -> None:
    """Who has a connection may ask for more, or two such would wait for each other for ever."""
    with ScriptedServer(BANNERS).running() as server:
        connect = Connect(Address(socket.AF_INET, ("127.0.0.1", server.port)), is_session=True)

        def reads() -> Procedure[Any]:
            yield connect
            return (yield Read(99))

        def asks_again() -> Session:
            yield connect
            return (yield Together([untimed(reads())])).value

        ended = ran(*[ticket(asks_again)] * 3)
    assert [ended[number].value for number in range(3)] == [[[BANNERS[0]]]] * 3


def test_a_bug_as_the_turn_comes() -> None:
    with ScriptedServer(BANNERS).running() as server:

        def asks() -> Session:
            return connects(server.port, Pause(0.1))

        def is_wrong() -> Session:
            yield Connect(Address(socket.AF_INET, (None, server.port)), is_session=True)

        other = Address(socket.AF_INET, ("127.0.0.1", "no port"))

        def has_no_port() -> Session:
            return (yield Connect(other, is_session=True)).value

        ended = ran(ticket(asks), ticket(asks), ticket(has_no_port), ticket(is_wrong))
    assert [ended[number].value for number in range(2)] == [[None]] * 2
    assert [type(ended[number].value) for number in (2, 3)] == [TypeError] * 2


@pytest.mark.parametrize("at_once", [1, 9])
def test_who_is_refused_leaves_the_place_to_the_next(at_once: int) -> None:
    port = free_port()
    ended = ran(*[ticket(lambda: connects(port))] * 5, at_once=at_once)
    assert [type(ended[number].value[0]) for number in range(5)] == [Unreachable] * 5
