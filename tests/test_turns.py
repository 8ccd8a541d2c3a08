"""Checks take turns: each ends by itself, whatever becomes of the others, and leaves its place."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from check_smtp_health.errors import Interrupted, LocalFault, Unreachable
from check_smtp_health.net import turns
from check_smtp_health.net.addresses import Address
from check_smtp_health.net.operations import (
    Connect,
    Pause,
    Read,
    StartTls,
    Timestamped,
    Together,
    Within,
    untimed,
)
from check_smtp_health.net.turns import Ended, Ticket
from tests.servers.loopback import free_port
from tests.servers.network import full_backlog
from tests.servers.scripted import Act, Hang, ScriptedServer, Sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from check_smtp_health.net.operations import Operation, Outcome, Procedure

    Session = Generator[Operation, Outcome, Any]

BANNERS = (b"220 mx.example ESMTP\r\n", Hang())


def pauses(seconds: float, said: str = "done", *, is_idle: bool = False) -> Session:
    yield Pause(seconds, is_idle=is_idle)
    return said


def connects(port: int, *operations: Operation, source: str | None = None) -> Session:
    outcome = yield Connect(Address(socket.AF_INET, ("127.0.0.1", port)), source, is_session=True)
    for operation in operations:
        outcome = yield operation
    return outcome.value if outcome.fault is None else outcome.fault


def is_buggy() -> Session:
    yield Pause(0.1)
    raise ValueError("wrong")


def ticket(
    *sessions: Callable[[], Session], keys: tuple[str, ...] = (), seconds: float = 2
) -> Ticket:
    """Return a check of these sessions, whose value is what they return."""
    return Ticket(lambda: ([one() for one in sessions], list), seconds, keys)


def ran(
    *tickets: Ticket, at_once: int = 9, signals: tuple[signal.Signals, ...] = ()
) -> dict[int, Ended]:
    """Run the checks, and return what each has come to."""
    ended: dict[int, Ended] = {}
    turns.run(tickets, at_once, 0, ended.__setitem__, signals)
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


def test_the_deadline_of_a_check_holds_for_what_its_sessions_have_served() -> None:
    def child() -> Session:
        return [str((yield Pause(9)).value.problem), str((yield Pause(9)).value.problem)]

    def has_others() -> Session:
        return (yield Together([child(), child()])).value

    late = ["no answer within 0.05 s"] * 2
    assert ran(ticket(has_others, seconds=0.05))[0].value == [[late, late]]


def test_each_address_has_its_share_of_the_time() -> None:
    def tries(port: int) -> Session:
        address = Address(socket.AF_INET, ("127.0.0.1", port))
        shared = (yield Connect(address, share=0.5, is_session=True)).value
        limited = (yield Connect(address, share=0.5, limit=0.01, is_session=True)).value
        return shared.seconds, limited.seconds

    with full_backlog("127.0.0.1") as port:
        ended = ran(ticket(lambda: tries(port), seconds=0.2))
    ((shared, limited),) = ended[0].value
    assert (shared, limited) == (pytest.approx(0.1, abs=0.05), 0.01)


def test_what_a_procedure_returns_may_be_older_than_its_end() -> None:
    """That it has waited for its turn before is no part of the time."""

    def child() -> Session:
        first = yield Pause(0.01)
        yield Pause(0.1)
        return Timestamped("child", first.ended)

    def waits(port: int) -> Session:
        yield Connect(Address(socket.AF_INET, ("127.0.0.1", port)), is_session=True)
        within = yield Within(1, [child()])
        return within.value, within.ended - within.began

    with ScriptedServer(BANNERS).running() as server:
        ended = ran(
            *[ticket(lambda: connects(server.port, Pause(0.1)))] * 2,
            ticket(lambda: waits(server.port)),
        )
    (((value,), seconds),) = ended[2].value
    assert (value, seconds) == ("child", pytest.approx(0.01, abs=0.05))


def test_a_signal_ends_the_wait_for_a_turn() -> None:
    with ScriptedServer(BANNERS).running() as server:

        def asks() -> Session:
            return connects(server.port, Read(), Read(), Pause(9))

        def interrupts() -> Session:
            yield Pause(0.1)
            os.kill(os.getpid(), signal.SIGTERM)

        ended = ran(*[ticket(asks)] * 4, ticket(interrupts), signals=(signal.SIGTERM,))
    said = [ended[number].value for number in range(4)]
    assert [(type(one), one.problem) for (one,) in said] == [
        (Interrupted, "interrupted by SIGTERM")
    ] * 4
    assert server.connections == 2


def test_a_session_of_another_session_waits_for_no_place() -> None:
    """Who has a connection may ask for more, or two such would wait for each other for ever."""
    with ScriptedServer(BANNERS).running() as server:
        connect = Connect(Address(socket.AF_INET, ("127.0.0.1", server.port)), is_session=True)

        def reads() -> Procedure[Any]:
            yield connect
            return (yield Read(99))

        def has_another() -> Session:
            return (yield Together([untimed(reads())])).value

        def asks_again() -> Session:
            yield connect
            return (yield Together([has_another(), untimed(reads())])).value

        ended = ran(*[ticket(asks_again)] * 3)
    assert [ended[number].value for number in range(3)] == [[[[BANNERS[0]], BANNERS[0]]]] * 3


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


@pytest.mark.parametrize("at_once", [1, 9])
def test_who_cannot_even_try_leaves_the_place_to_the_next(at_once: int) -> None:
    """Some have it at once, and others have waited for it."""
    with ScriptedServer(BANNERS).running() as server:

        def asks() -> Session:
            return connects(server.port, Pause(0.02))

        def cannot() -> Session:
            again = Connect(Address(socket.AF_INET, ("127.0.0.1", server.port)), "192.0.2.1")
            return connects(server.port, again._replace(is_session=True), source="192.0.2.1")

        tickets = (cannot, cannot, asks, asks, cannot, cannot, asks)
        ended = ran(*map(ticket, tickets), at_once=at_once)
    problem = "cannot connect from 192.0.2.1: cannot assign requested address"
    for number, session in enumerate(tickets):
        (value,) = ended[number].value
        if session is asks:
            assert value is None
        else:
            assert (type(value), value.problem) == (LocalFault, problem)
    assert server.connections == 3


def test_who_waits_for_a_unix_socket_is_connected_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    connect = Connect(Address(socket.AF_UNIX, path), is_session=True)

    def reads() -> Session:
        yield connect
        return (yield Read()).value

    with ScriptedServer((Sleep(0.02), *BANNERS), path=path).running():
        ended = ran(*[ticket(reads)] * 5)
    assert [ended[number].value for number in range(5)] == [[BANNERS[0]]] * 5


class WrongTls:
    """A TLS connection that fails, once something has come, as nobody has foreseen."""

    wants = selectors.EVENT_READ

    def __init__(self, plain: Any, name: str | None = None) -> None:
        self.fileno, self.close = plain.fileno, plain.close
        self._is_asked_again = False

    def handshake(self) -> bool:
        """Wait for something, and fail."""
        if self._is_asked_again:
            raise ValueError("wrong")
        self._is_asked_again = True
        return False


class WrongTrust:
    """Makes such connections."""

    upgrade = WrongTls


def test_a_bug_as_something_comes() -> None:
    with ScriptedServer((Sleep(0.05), *BANNERS)).running() as server:
        trust: Any = WrongTrust()
        ended = ran(
            ticket(
                lambda: pauses(0),
                lambda: connects(server.port, StartTls(trust)),
                lambda: connects(server.port, StartTls(trust)),
            ),
            ticket(lambda: connects(server.port, Read())),
        )
    assert repr(ended[0].value) == "ValueError('wrong')"
    assert ended[1].value == [BANNERS[0]]


def test_who_cannot_be_dropped_is_disconnected_all_the_same() -> None:
    """What the server sends then keeps nobody busy, and its place is there for others."""
    gone = threading.Event()

    def talks_until_the_end(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(BANNERS[0] * 2)
        while not over.is_set() and not gone.is_set():
            with contextlib.suppress(socket.timeout):
                if not connection.recv(1):
                    gone.set()

    with ScriptedServer((Act(talks_until_the_end),), later=BANNERS).running() as server:

        def stays() -> Session:
            try:
                yield from connects(server.port, Read(), Pause(9))
            finally:
                raise KeyError("wrong, too")

        def cannot_even_try() -> Session:
            try:
                yield from connects(server.port, Pause(9), source="192.0.2.1")
            finally:
                raise KeyError("wrong, too")

        began = time.process_time()
        ended = ran(
            ticket(stays, cannot_even_try, is_buggy),
            *[ticket(lambda: connects(server.port, Read(), Pause(0.1)))] * 3,
        )
        assert gone.wait(1)
    assert time.process_time() - began < 0.2
    assert repr(ended[0].value) == "ValueError('wrong')"
    assert [ended[number].value for number in (1, 2, 3)] == [[None]] * 3


def test_a_bug_as_another_session_of_the_check_connects_again() -> None:
    """That one leaves its place, to one that cannot use it, and does not go on either."""
    with ScriptedServer(BANNERS).running() as server, full_backlog("127.0.0.1") as silent:
        wrong = Address(socket.AF_INET, ("127.0.0.1", "no port"))
        other = Address(socket.AF_INET, ("127.0.0.1", silent))

        def connects_again() -> Session:
            return connects(server.port, Pause(0.05), Connect(other, is_session=True))

        def is_wrong() -> Session:
            yield Pause(0.02)
            yield Connect(wrong, is_session=True)

        def comes_late() -> Session:
            yield Pause(0.07)
            return (yield from connects(server.port, Pause(0.05)))

        ended = ran(
            ticket(connects_again, is_wrong),
            ticket(lambda: connects(server.port, Pause(0.06))),
            *[ticket(comes_late)] * 2,
        )
    assert type(ended[0].value) is TypeError
    assert [ended[number].value for number in (1, 2, 3)] == [[None]] * 3
    # Both had a place at the same time.
    assert abs(ended[2].moment - ended[3].moment) < 0.04


def test_bugs_as_several_turns_come_at_once() -> None:
    with ScriptedServer(BANNERS).running() as server:
        wrong = Address(socket.AF_INET, ("127.0.0.1", "no port"))

        def stays() -> Session:
            return connects(server.port, Pause(9, is_idle=True))

        def is_wrong() -> Session:
            yield Pause(0.02)
            yield Connect(wrong, is_session=True)

        ended = ran(ticket(stays, stays, lambda: pauses(0.05)), ticket(is_wrong, is_wrong))
    assert ended[0].value == [None, None, "done"]
    assert type(ended[1].value) is TypeError
