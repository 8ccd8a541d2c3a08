"""The driver serves many sessions at once, keeps the deadline and leaves nothing behind."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from check_smtp_health.errors import (
    Disconnected,
    Expired,
    LocalFault,
    TimedOut,
    Unreachable,
    Unresolvable,
)
from check_smtp_health.net import addresses, aside, driver
from check_smtp_health.net.addresses import Address
from check_smtp_health.net.driver import Deadline
from check_smtp_health.net.operations import (
    Call,
    Close,
    Connect,
    Outcome,
    Pause,
    Read,
    Timestamped,
    Together,
    Watch,
    Within,
    Write,
    untimed,
)
from tests.servers.loopback import free_port
from tests.servers.network import full_backlog
from tests.servers.scripted import Expect, Hang, ScriptedServer, Sleep

if TYPE_CHECKING:
    from check_smtp_health.net.operations import Operation, Procedure

    Session = Generator[Operation, Outcome, Any]


def address(server: ScriptedServer) -> Address:
    """Return where the server listens."""
    return Address(socket.AF_INET, (server.address, server.port))


def asks(server: ScriptedServer, *operations: Operation) -> Session:
    """A session that connects, operations, and returns all answers."""
    answers = [(yield Connect(address(server)))]
    for operation in operations:
        answers.append((yield operation))  # noqa: PERF401
    return answers


def values(answers: list[Outcome]) -> list[Any]:
    """Return what came, faults as their text."""
    return [str(a.fault.args[0]) if a.fault is not None else a.value for a in answers]


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Hold the block to closing every file descriptor but the wake-up pipe's one end."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    # The servers run in this process, too, and may take a moment to close their ends.
    for _ in range(100):
        left = set(os.listdir("/proc/self/fd")) - before
        if len(left) == 1:
            return
        time.sleep(0.01)
    pytest.fail(f"file descriptors left: {left}")


class Clock:
    """A clock that goes on by itself, jumps where a test has it jump, and counts who asks it."""

    def __init__(self) -> None:
        self._jumped = 0.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return time.monotonic() + self._jumped

    def jump(self, seconds: float) -> None:
        """Let so much time pass."""
        self._jumped += seconds


def test_one_slow_session_delays_nobody() -> None:
    quick = ScriptedServer((Sleep(0.05), b"quick"))
    slow = ScriptedServer((Sleep(0.3), b"slow"))
    with quick.running(), slow.running(), nothing_left_behind():
        sessions = [asks(slow, Read()), *(asks(quick, Read()) for _ in range(50))]
        results = driver.run(sessions, Deadline(60))
    assert [values(result)[1] for result in results] == [b"slow"] + [b"quick"] * 50
    last, *others = (result[1].ended for result in results)
    assert max(others) < last


def test_what_one_session_computes_blurs_nobodys_times() -> None:
    """All answers are there when the first of the sessions begins to compute, for a long time."""
    clock = Clock()

    def session(server: ScriptedServer) -> Session:
        yield Connect(address(server))
        yield Pause(0.2)
        answer = yield Read()
        clock.jump(1000)
        return answer.value, answer.ended - answer.began

    with ScriptedServer((b"here", Hang())).running() as server:
        results = driver.run([session(server) for _ in range(50)], Deadline(1e6, clock))
    assert [value for value, _ in results] == [b"here"] * 50
    assert max(seconds for _, seconds in results) < 1000


def test_after_the_deadline_nothing_begins() -> None:
    """Not even what would be done at once."""
    clock = Clock()

    def session(server: ScriptedServer) -> Session:
        yield Connect(address(server))
        yield Read()
        clock.jump(60)
        answers = []
        for operation in (
            Read(),
            Write(b"x"),
            Pause(0),
            Call(int, ("7",)),
            Connect(address(server)),
        ):
            answers.append((yield operation))  # noqa: PERF401
        return [*answers, (yield Close())]

    with ScriptedServer((b"ab", Hang())).running() as server, nothing_left_behind():
        (answers,) = driver.run([session(server)], Deadline(60, clock))
    assert values(answers) == ["no answer within 60 s"] * 5 + [None]
    assert {type(answer.fault) for answer in answers[:5]} == {Expired}
    assert all(answer.ended - answer.began < 60 for answer in answers)


def test_dialogues_together() -> None:
    def child(server: ScriptedServer, seconds: float) -> Session:
        yield Connect(address(server))
        answer = yield Read(limit=seconds)
        return answer.value if answer.fault is None else str(answer.fault.args[0])

    def doomed() -> Session:
        yield Pause(0.01)
        raise Unreachable("gone")

    def parent(server: ScriptedServer) -> Session:
        both = yield Together([child(server, 2), doomed(), child(server, 0.05)])
        none = yield Together([])
        return both.value, none.value, both.ended - both.began

    with ScriptedServer((Sleep(0.2), b"here")).running() as server, nothing_left_behind():
        (result,) = driver.run([parent(server)], Deadline(5))
    (first, fault, last), nothing, seconds = result
    assert (first, type(fault), last) == (b"here", Unreachable, "no answer within 0.05 s")
    assert (nothing, seconds > 0.15) == ([], True)


def test_the_deadline_ends_dialogues_together_and_leaves_the_word_to_their_parent() -> None:
    def child() -> Session:
        answer = yield Pause(9)
        return type(answer.fault)

    def parent() -> Session:
        return (yield Together([child(), child()])).value

    (result,) = driver.run([parent()], Deadline(0.1))
    assert result == [Expired, Expired]


def test_a_session_that_raises_is_a_bug() -> None:
    def session() -> Session:
        yield Close()
        raise Unreachable("nobody caught it")

    with pytest.raises(Unreachable, match="nobody caught it"):
        driver.run([session()], Deadline(1))


def test_a_run_that_wants_no_moments() -> None:
    def run() -> Procedure[str]:
        value = yield Call(int, ("7",))
        try:
            yield Pause(9)
        except TimedOut:
            return f"{value} in time"
        return ""

    (result,) = driver.run([untimed(run())], Deadline(0.05))
    assert result == "7 in time"


def test_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def echo() -> None:
            data, peer = server.recvfrom(512)
            server.sendto(b"", peer)
            server.sendto(data * 2, peer)

        def session() -> Session:
            where = Address(socket.AF_INET, server.getsockname())
            yield Connect(where, datagrams=True)
            yield Write(b"ab")
            return [(yield Read()).value, (yield Read()).value]

        thread = threading.Thread(target=echo)
        thread.start()
        (result,) = driver.run([session()], Deadline(2))
        thread.join()
    assert result == [b"", b"abab"]


def test_deadline_answers_every_wish_but_close() -> None:
    with ScriptedServer((Hang(),)).running() as server:
        began = time.monotonic()
        session = asks(server, Read(), Read(), Write(b"x"), Call(time.sleep, (9,)), Close())
        (answers,) = driver.run([session], Deadline(0.2))
        assert time.monotonic() - began < 5
    assert values(answers)[1:] == ["no answer within 0.2 s"] * 4 + [None]
    assert isinstance(answers[1].fault, TimedOut)


def test_a_limit_ends_one_wish_only() -> None:
    with ScriptedServer((Sleep(0.3), b"late")).running() as server:
        (answers,) = driver.run([asks(server, Read(limit=0.1), Read(limit=2))], Deadline(5))
    assert values(answers)[1:] == ["no answer within 0.1 s", b"late"]
    assert answers[1].ended - answers[1].began >= 0.1


def test_an_answer_in_time_makes_its_limit_void() -> None:
    with ScriptedServer((b"a", Expect(b"x"), Sleep(0.2), b"b")).running() as server:
        session = asks(server, Read(limit=0.1), Write(b"x\n"), Read())
        (answers,) = driver.run([session], Deadline(5))
    assert values(answers)[1:] == [b"a", None, b"b"]


def test_a_server_that_does_not_read_holds_up_nobody() -> None:
    data = b"x" * 20_000_000
    with ScriptedServer((Sleep(1),)).running() as server:
        (answers,) = driver.run([asks(server, Write(data, limit=0.2))], Deadline(5))
    assert values(answers)[1] == "no answer within 0.2 s"


def test_a_large_write_arrives_whole() -> None:
    """It is more than the kernel keeps (tcp(7), tcp_wmem has 4 MiB), and so goes in pieces."""
    data = b"x" * 8_000_000 + b"\n"
    with ScriptedServer((Sleep(0.05), Expect(b"x"), b"done")).running() as server:
        (answers,) = driver.run([asks(server, Write(data), Read())], Deadline(10))
    assert (values(answers)[1:], server.received) == ([None, b"done"], [data])


def test_a_call_runs_aside_and_its_moment_is_its_own() -> None:
    def session() -> Session:
        return [(yield Call(lambda: threading.current_thread().name)), (yield Call(int, ("x",)))]

    (answers,) = driver.run([session()], Deadline(5))
    assert answers[0].value == "call"
    assert isinstance(answers[1].fault, ValueError)


def test_a_call_that_never_returns_is_left_behind() -> None:
    blocked = threading.Event()

    def session() -> Session:
        answers = [(yield Call(blocked.wait))]
        return [*answers, (yield Call(int, ("7",)))]

    began = time.monotonic()
    (answers,) = driver.run([session()], Deadline(0.2))
    blocked.set()
    assert time.monotonic() - began < 5
    assert values(answers) == ["no answer within 0.2 s"] * 2


def test_a_call_that_returns_too_late_is_no_answer_to_what_is_asked_then() -> None:
    def session() -> Session:
        answers = [(yield Call(time.sleep, (0.1,), limit=0.05))]
        return [*answers, (yield Pause(0.1)), (yield Call(int, ("7",)))]

    (answers,) = driver.run([session()], Deadline(5))
    assert values(answers) == ["no answer within 0.05 s", None, 7]


def test_a_host_that_cannot_start_another_thread() -> None:
    def session() -> Session:
        answer = yield Call(int, ("7",))
        return type(answer.fault), [answer]

    before = threading.stack_size(1 << 46)  # bytes that no process has room for
    try:
        ((kind, answers),) = driver.run([session()], Deadline(5))
    finally:
        threading.stack_size(before)
    assert (kind, values(answers)) == (LocalFault, ["this host cannot start another thread"])


def test_what_is_served_within_a_limit_of_its_own_outlives_the_deadline() -> None:
    """Nobody else has more time for that, and there is nothing to be busy with meanwhile."""

    def child(server: ScriptedServer) -> Session:
        session = asks(server, Pause(0.3), Read(limit=0.1), Pause(0.01), Read(), Pause(0), Close())
        return (yield from session)

    def parent(server: ScriptedServer) -> Session:
        within = yield Within(0.8, [child(server), child(server)])
        none = yield Within(9, [])
        return within, none, (yield Pause(0.01))

    with ScriptedServer((Sleep(0.35), b"here", Hang())).running() as server, nothing_left_behind():
        began = time.process_time()
        result, others = driver.run([parent(server), asks(server, Read())], Deadline(0.2))
        assert time.process_time() - began < 0.2
    within, none, after = result
    for answers in within.value:
        assert values(answers)[1:] == [None, b"here", None, *["no answer within 0.8 s"] * 2, None]
        assert isinstance(answers[4].fault, Expired)
    assert within.ended - within.began == pytest.approx(0.8, abs=0.1)
    assert (none.value, values([after])) == ([], ["no answer within 0.2 s"])
    assert values(others)[1:] == ["no answer within 0.2 s"]


def test_a_limit_of_its_own_may_end_before_the_deadline_and_holds_for_what_is_begun_in_it() -> None:
    def grandchild() -> Session:
        return [(yield Pause(9)), (yield Call(int, ("7",)))]

    def child() -> Session:
        return (yield Together([grandchild()])).value[0]

    def parent() -> Session:
        return [*(yield Within(0.1, [child()])).value[0], (yield Call(int, ("7",)))]

    (answers,) = driver.run([parent()], Deadline(5))
    assert values(answers) == ["no answer within 0.1 s"] * 2 + [7]


def test_each_address_has_its_share_of_the_limit_that_holds_for_it() -> None:
    def child(port: int) -> Session:
        return [(yield Connect(Address(socket.AF_INET, ("127.0.0.1", port)), share=0.5))]

    def parent(port: int) -> Session:
        return (yield Within(0.4, [child(port)])).value[0]

    with full_backlog("127.0.0.1") as port:
        (answers,) = driver.run([parent(port)], Deadline(0.1))
    (said,) = values(answers)
    share = re.fullmatch(r"no answer within (0\.\d+) s", str(said))
    assert share is not None
    assert 0.1 < float(share[1]) <= 0.2


def test_a_signal_ends_what_outlives_the_deadline() -> None:
    def child() -> Session:
        return [(yield Pause(9)), (yield Pause(9))]

    def parent() -> Session:
        return (yield Within(9, [child()])).value[0]

    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
    (answers,) = driver.run([parent()], Deadline(0.1), (signal.SIGTERM,))
    assert values(answers) == ["interrupted by SIGTERM"] * 2


def test_what_a_procedure_returns_may_be_older() -> None:
    """What it did since is no part of its time, but nothing goes on before."""

    def child(seconds: float) -> Session:
        first = yield Pause(seconds)
        yield Pause(0.1)
        return Timestamped(seconds, first.ended)

    def parent() -> Session:
        within = yield Within(9, [child(0.1), child(0.2)])
        return within, (yield Pause(0))

    ((within, after),) = driver.run([parent()], Deadline(5))
    assert within.value == [0.1, 0.2]
    assert within.ended - within.began == pytest.approx(0.2, abs=0.05)
    assert after.began - within.ended == pytest.approx(0.1, abs=0.05)


def test_a_procedure_that_wants_some_moments() -> None:
    watch = Watch()

    def procedure() -> Procedure[float]:
        before = watch.elapsed
        yield Pause(0.1)
        yield Pause(0.1)
        return before

    (before,) = driver.run([untimed(procedure(), watch)], Deadline(5))
    assert before == 0
    assert watch.elapsed == pytest.approx(0.2, abs=0.05)


def test_data_that_comes_during_a_call_is_kept() -> None:
    with ScriptedServer((b"early", Hang())).running() as server:
        session = asks(server, Call(time.sleep, (0.1,)), Read())
        (answers,) = driver.run([session], Deadline(5))
    assert values(answers)[2] == b"early"


def test_faults() -> None:
    port = free_port()

    def session(where: Address, source: str | None = None) -> Session:
        answer = yield Connect(where, source)
        return answer.fault

    refused, foreign, missing, strange = driver.run(
        [
            session(Address(socket.AF_INET, ("127.0.0.1", port))),
            session(Address(socket.AF_INET, ("127.0.0.1", port)), "192.0.2.1"),
            session(Address(socket.AF_UNIX, "/nonexistent")),
            session(Address(socket.AF_BRIDGE, ("127.0.0.1", port))),
        ],
        Deadline(5),
    )
    assert (type(refused), refused.problem) == (Unreachable, "connection refused")
    assert (type(foreign), foreign.problem) == (
        LocalFault,
        "cannot connect from 192.0.2.1: cannot assign requested address",
    )
    assert (type(missing), missing.problem) == (Unreachable, "no such file or directory")
    assert (type(strange), strange.problem) == (
        Unreachable,
        "address family not supported by protocol",
    )


def test_a_broken_connection_is_a_fault_of_the_write_too() -> None:
    with ScriptedServer(()).running() as server:
        session = asks(
            server, Call(time.sleep, (0.1,)), Write(b"a"), Call(time.sleep, (0.1,)), Write(b"b")
        )
        (answers,) = driver.run([session], Deadline(5))
    assert isinstance(answers[4].fault, Disconnected)
    assert values(answers)[4] == "connection reset by the server"


def test_a_signal_ends_all_sessions_and_is_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ScriptedServer((Hang(),)).running() as server:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        began = time.monotonic()
        sessions = [asks(server, Read(), Read()) for _ in range(3)]
        results = driver.run(sessions, Deadline(60), (signal.SIGTERM,))
        assert time.monotonic() - began < 5
    assert [values(result)[1:] for result in results] == [["interrupted by SIGTERM"] * 2] * 3
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_connect_replaces_the_first() -> None:
    with ScriptedServer((b"a",)).running() as server, nothing_left_behind():
        session = asks(server, Connect(address(server)), Read())
        (answers,) = driver.run([session], Deadline(5))
    assert values(answers)[2] == b"a"


def test_no_file_descriptor_left_is_told_from_a_name_that_does_not_exist() -> None:
    with no_file_descriptor_left(), pytest.raises(LocalFault) as caught:
        addresses.resolve("mx.invalid", 25, None)
    assert caught.value.problem == "too many open files"


@contextmanager
def no_file_descriptor_left() -> Iterator[None]:
    """Have this process open no more files in the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_file_descriptor_left_for_another_process() -> None:
    with no_file_descriptor_left(), pytest.raises(LocalFault) as caught:
        aside.computed(bytes, 1)
    assert caught.value.problem == "this host cannot start another process"


def test_a_name_that_does_not_exist_without_standard_input() -> None:
    before = os.dup(0)
    os.close(0)
    try:
        with pytest.raises(Unresolvable) as caught:
            addresses.resolve("a..b", 25, None)
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert caught.value.problem == "no such host name"
