"""A session is served from a script of answers: no socket, no thread, no clock."""

from __future__ import annotations

import contextlib
import errno
import gc
import socket
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from check_smtp_health import stages
from check_smtp_health.errors import (
    Disconnected,
    Interrupted,
    SessionFault,
    TimedOut,
    Unreachable,
    Unresolvable,
)
from check_smtp_health.net import addresses
from check_smtp_health.net.addresses import ATTEMPT, Address
from check_smtp_health.net.operations import Call, Connect, Outcome, Read, Write
from check_smtp_health.probing.probe import ProbePlan, probe
from check_smtp_health.report import Exchange, Failure, Host, Observation, Report
from check_smtp_health.stages.state import Prepared, Target, own_fault
from tests import command_line

if TYPE_CHECKING:
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.operations import Operation, TimedProcedure

FIRST, SECOND = (Address(socket.AF_INET, (f"192.0.2.{n}", 25)) for n in (1, 2))
LOCAL = Address(socket.AF_INET, ("198.51.100.7", 40000))
ADDRESSES = Call(addresses.resolve, ("mx.example", 25, None))


def settings(*arguments: str) -> Settings:
    """Return the settings of a command line."""
    return command_line.settings("-vv", *arguments)


def begun(chosen: Settings) -> TimedProcedure[Report]:
    """Return the session that these settings ask for."""
    (host,) = chosen.endpoint.hosts
    plan = stages.plan(chosen)
    session = (plan.resolve, *plan.session) if host.kind == "name" else plan.session
    return probe(Target(host, host.ascii), ProbePlan(chosen, plan, Prepared()), session)


def serve(chosen: Settings, script: Sequence[tuple[Operation, Any, float]]) -> Report:
    """Serve a session: each row is the operation that must come, its value, and how long it takes.

    Ten seconds have passed before the first operation, and one second passes between two.
    """
    dialogue = begun(chosen)
    now = 10.0
    answer: Any = None
    for operation, value, seconds in script:
        assert dialogue.send(answer) == operation
        answer = Outcome(value, now, now + seconds)
        now += seconds + 1
    with pytest.raises(StopIteration) as stop:
        dialogue.send(answer)
    report = stop.value.value
    assert isinstance(report, Report)
    return report


def test_a_bug_elsewhere_is_told_with_its_place() -> None:
    """In a thread that was asked for addresses, say."""
    session = begun(settings("mx.example"))
    next(session)
    try:
        raise KeyError("x")
    except KeyError as error:
        bug = error
    with pytest.raises(KeyError) as raised:
        session.send(Outcome(bug, 10.0, 10.0))
    assert Path(raised.traceback[-1].path) == Path(__file__)


GREETED = (LOCAL, b"220 mx\r\n", None, b"250 mx\r\n")


@pytest.mark.parametrize(
    "before",
    [
        pytest.param((), id="no connection"),
        pytest.param((LOCAL,), id="no banner"),
        pytest.param((LOCAL, b"220-a\r\n22"), id="half a banner"),
        pytest.param(GREETED, id="not to be left"),
        pytest.param((*GREETED, None), id="no farewell"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "about"), [(TimedOut, 1.0), (Disconnected, "gone"), (Interrupted, "SIGTERM")]
)
def test_what_ends_a_session_is_let_go(
    kind: Callable[[Any], SessionFault], about: object, before: tuple[object, ...]
) -> None:
    """Nothing collects circles in a run, and of thousands of sessions each would leave one."""
    fault = kind(about)
    left = weakref.ref(fault)
    chosen = settings("192.0.2.1")
    session = begun(chosen)
    operation = next(session)
    assert isinstance(operation, Connect)
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        values: list[Any] = [*before, fault]
        del fault
        with contextlib.suppress(StopIteration):
            while True:  # until it has taken its leave, where it does
                session.send(Outcome(values.pop(0) if values else b"", 10.0, 10.0))
        del session
        assert left() is None
    finally:
        if is_enabled:
            gc.enable()


def test_healthy() -> None:
    report = serve(
        settings("mx.example"),
        [
            (ADDRESSES, (FIRST,), 0.5),
            (Connect(FIRST, None, 1.0, is_session=True), LOCAL, 0.25),
            (Read(), b"220-a\r\n22", 2),
            (Read(), b"0 b\r\n", 3),
            (Write(b"HELO [198.51.100.7]\r\n"), None, 0),
            (Read(), b"250 mx\r\n", 4),
            (Write(b"QUIT\r\n", limit=1.0), None, 0.125),
            (Read(limit=0.875), b"221 bye\r\n", 0.5),
        ],
    )
    # A stage that begins with listening begins where the one before ended.
    assert report == Report(
        host=Host("mx.example", "mx.example", "name"),
        port=25,
        address="192.0.2.1",
        seconds=14.75,
        observations=(
            Observation("resolve", 0.0, 0.5),
            Observation("connect", 1.5, 0.25),
            Observation("banner", 1.75, 7.0),
            Observation("helo", 9.75, 5.0),
            Observation("quit", 15.75, 1.625),
        ),
        transcript=(
            Exchange(1.75, "*", b"connected to 192.0.2.1"),
            Exchange(4.75, "S", b"220-a\r\n"),
            Exchange(8.75, "S", b"220 b\r\n"),
            Exchange(9.75, "C", b"HELO [198.51.100.7]\r\n"),
            Exchange(14.75, "S", b"250 mx\r\n"),
            Exchange(15.875, "C", b"QUIT\r\n"),
            Exchange(17.375, "S", b"221 bye\r\n"),
        ),
    )


def test_unresolvable_never_began_to_connect() -> None:
    report = serve(
        settings("mx.example"),
        [(ADDRESSES, Unresolvable("no such host name"), 0.5)],
    )
    assert (report.seconds, report.address, report.observations) == (
        None,
        "",
        (Observation("resolve", 0.0, 0.5, Failure("unresolvable", "no such host name")),),
    )


def test_each_address_has_its_share() -> None:
    report = serve(
        settings("mx.example", "-F", "me.example"),
        [
            (ADDRESSES, (FIRST, SECOND), 0.5),
            (Connect(FIRST, None, 0.125, ATTEMPT, is_session=True), TimedOut(0.3), 0.5),
            (Connect(SECOND, None, 0.125, ATTEMPT, is_session=True), TimedOut(0.3), 0.5),
            (Connect(FIRST, None, 0.5, is_session=True), TimedOut(3), 3),
            (Connect(SECOND, None, 1.0, is_session=True), LOCAL, 0.25),
            (Read(), b"554 no\r\n", 0.5),
            (Write(b"QUIT\r\n", limit=1.0), Disconnected("gone"), 0),
            (Read(limit=1.0), b"", 0),
        ],
    )
    assert report.address == "192.0.2.2"
    assert report.observations == (
        Observation("resolve", 0.0, 0.5),
        Observation("connect", 1.5, 7.25),
        Observation("banner", 8.75, 1.5, Failure("rejected", "", b"554 no", 554)),
        Observation("quit", 11.25, 1.0),
    )


def test_no_address_answers() -> None:
    report = serve(
        settings("mx.example"),
        [
            (ADDRESSES, (FIRST, SECOND), 0.5),
            (Connect(FIRST, None, 0.125, ATTEMPT, is_session=True), TimedOut(0.3), 0.5),
            (
                Connect(SECOND, None, 0.125, ATTEMPT, is_session=True),
                Unreachable("connection refused", reason="refused"),
                1,
            ),
            (Connect(FIRST, None, 1.0, is_session=True), TimedOut(5), 4.5),
        ],
    )
    assert (report.address, report.observations[-1]) == (
        "",
        Observation(
            "connect",
            1.5,
            8.0,
            Failure(
                "unreachable",
                "192.0.2.1 no answer, 192.0.2.2 connection refused",
                reason="partly refused",
            ),
        ),
    )


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Disconnected("connection reset by the server"), "disconnected"),
        (TimedOut(10), "timed_out"),
        (Interrupted("interrupted by SIGTERM"), "interrupted"),
    ],
)
def test_nobody_takes_leave_after(fault: Exception, failure: str) -> None:
    report = serve(
        settings("192.0.2.1", "-F", "me.example"),
        [
            (Connect(FIRST, None, 1.0, is_session=True), LOCAL, 0.5),
            (Read(), b"220 mx\r\n", 0.5),
            (Write(b"HELO me.example\r\n"), None, 0),
            (Read(), fault, 0.5),
        ],
    )
    assert [seen.failure.kind if seen.failure else "" for seen in report.observations] == [
        "",
        "",
        failure,
    ]


def test_what_was_said_before_the_connection_broke_is_read() -> None:
    report = serve(
        settings("192.0.2.1", "-F", "me.example"),
        [
            (Connect(FIRST, None, 1.0, is_session=True), LOCAL, 0.5),
            (Read(), b"220 mx\r\n", 0.5),
            (Write(b"HELO me.example\r\n"), Disconnected("connection reset by the server"), 0),
            (Read(), b"421 too many\r\n", 0.5),
            (Write(b"QUIT\r\n", limit=1.0), None, 0),
            (Read(limit=1.0), b"", 0),
        ],
    )
    assert report.observations[2].failure == Failure("rejected", "", b"421 too many", 421)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [((), "try --ssl"), (("-S", "--no-verify"), "try --ssl instead of STARTTLS")],
)
def test_port_465_awaits_tls(arguments: tuple[str, ...], hint: str) -> None:
    report = serve(
        settings("192.0.2.1", "-p", "465", *arguments),
        [
            (
                Connect(Address(socket.AF_INET, ("192.0.2.1", 465)), None, 1.0, is_session=True),
                LOCAL,
                0.5,
            ),
            (Read(), TimedOut(10), 10),
        ],
    )
    assert report.observations[-1].failure == Failure(
        "timed_out", f"no answer within 10 s (port 465 expects TLS, {hint})"
    )


@pytest.mark.parametrize(
    ("local", "name"),
    [
        (LOCAL, b"[198.51.100.7]"),
        (Address(socket.AF_INET6, ("fe80::1%eth0", 1, 0, 2)), b"[IPv6:fe80::1]"),
        (Address(socket.AF_UNIX, ""), b"localhost"),
    ],
)
def test_a_host_without_a_name_says_its_address(local: Address, name: bytes) -> None:
    dialogue = begun(settings("192.0.2.1"))
    next(dialogue)
    dialogue.send(Outcome(local, 0, 0))
    assert dialogue.send(Outcome(b"220 mx\r\n", 0, 0)) == Write(b"HELO %s\r\n" % name)


def test_a_bug_in_a_call_is_no_fault_of_the_server() -> None:
    dialogue = begun(settings("mx.example"))
    next(dialogue)
    with pytest.raises(KeyError):
        dialogue.send(Outcome(KeyError("x"), 0, 0))


def test_a_bug_is_a_fault_of_ours_where_there_are_several() -> None:
    bugs: list[Exception] = [ValueError("x"), OSError(errno.EMFILE, "Too many open files")]
    several = settings("-H", "a.example", "-H", "b.example")
    said = [own_fault(bug, several).problem for bug in bugs]
    assert said == ["internal error: ValueError: x", "too many open files"]
    for bug, chosen in ((bugs[0], settings("-H", "a.example")), (MemoryError(), several)):
        with pytest.raises(type(bug)):
            own_fault(bug, chosen)
