"""The one loop that touches the world: it serves the operations of all sessions with one selector.

Theory of operation
-------------------

A session is a generator (``TimedProcedure``). It never touches a socket or a clock: it yields an
operation (``net.operations``) and sleeps until it is sent the ``Outcome``, which has the value, or
the fault, and the two moments at which the operation began and ended.

The driver keeps a ``Task`` per session. A task is always in one of three places:

* in ``_ready``: its last outcome is known, and it can go on;
* in ``_waiting``: its operation has begun and is not done. Its socket is watched, or a thread
  works for it, or it pauses;
* nowhere: its generator has returned.

``_serve`` is one turn of the loop. It first looks at everything that has happened (``_look``):
sockets that became ready, threads that returned, a signal, the deadline, limits that have passed.
Each gives an outcome, whose moment is taken at once. Only then do some of the ready sessions go on
(``_continue``), because what one session computes must not distort the times of another; ``BATCH``
bounds how many, until the next look. A session's next operation is begun immediately, and most are
done immediately, without the selector.

A session may have others served meanwhile (``Together``), each a task with a connection of its
own; it goes on when the last of them has returned. They have its deadline, but for ``Within``,
which gives them one of their own.

Once its deadline has passed, or a signal has come, every operation of a task but ``Close`` fails at
once. So each session ends by itself, with whatever it has learned, and the loop with the last of
them. A ``Call`` runs in a thread, which nobody can end: the driver leaves it behind.

While OpenSSL, or anything else in C, works, no session is served and no signal taken. So a
transport hands over little at a time, and comes back, through the selector, for the rest. What
takes long even so, and cannot be cut, it leaves to be computed in a thread.
"""

from __future__ import annotations

import bisect
import collections
import os
import selectors
import signal
import threading
import time

from check_smtp_health.errors import Expired, Interrupted, LocalFault, SessionFault, TimedOut
from check_smtp_health.net.operations import (
    Call,
    Close,
    Connect,
    Outcome,
    Pause,
    Read,
    StartTls,
    Timestamped,
    Together,
    Within,
    Write,
)
from check_smtp_health.net.transport import CHUNK, Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any, TypeVar

    from check_smtp_health.net.operations import Operation, TimedProcedure

    _T = TypeVar("_T")

BATCH = 8
"""Sessions that go on before the next look at what has come meanwhile: a time is wrong by no more
than they take, about 0.03 ms each."""


READ_AT_ONCE = 4 * 1024 * 1024
"""Bytes that are read before those who read them go on: thousands may have something at once."""


_ALWAYS_SERVED = (Close, Together, Within)
"""Operations that neither a deadline nor a signal keeps anybody from."""


class Deadline:
    """One moment that ends everything: ``seconds`` from now, on a clock that nobody sets."""

    __slots__ = ("clock", "expires", "seconds")

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.clock = clock
        self.expires = clock() + seconds

    def remaining(self) -> float:
        """Return the seconds left, 0.0 where there are none."""
        return max(0.0, self.expires - self.clock())


def run(
    sessions: Sequence[TimedProcedure[_T]],
    deadline: Deadline,
    signals: Sequence[signal.Signals] = (),
) -> list[_T]:
    """Run all sessions at the same time and return what each returned, in the same order.

    Once the deadline has passed, or one of the ``signals`` came, every operation but ``Close``
    fails, so that each session can still return what it has learned. Only what is served
    ``Within`` a limit has that instead of the deadline. Signals are taken even if they were
    blocked, and are blocked again when this returns. Connections that sessions leave open are
    closed. A thread that a ``Call`` left behind may still be blocked: the process should end by
    ``os._exit``.
    """
    return Driver(deadline).run(sessions, signals)


class Task:
    """One session, and what it waits for."""

    __slots__ = (
        *("began", "children", "deadline", "ended", "limit", "operation", "parent", "procedure"),
        *("result", "running", "transport", "turn", "watched"),
    )

    def __init__(
        self, procedure: TimedProcedure[Any], deadline: Deadline, parent: Task | None = None
    ) -> None:
        self.procedure = procedure
        self.deadline = deadline
        self.parent = parent
        self.children: list[Task] = []
        self.running = 0  # how many of the children
        self.result: Any = None
        self.ended = 0.0  # when that was so, which may be earlier than its return
        self.operation: Operation | None = None
        self.turn = (
            0  # counts operations, so that the late outcome of an older one is known as such
        )
        self.began = 0.0
        self.limit = 0.0
        self.transport: Any = None  # a Transport, or a TlsTransport once TLS has begun
        self.watched = 0


class Driver:
    """Serves sessions; see the top of this file. That of many checks is in ``net.turns``."""

    task_type: type[Task] = Task

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._clock = deadline.clock
        self._selector = self._new_selector()
        self._waiting: set[Task] = set()
        self._outliving: set[Task] = set()  # those of them that have a deadline of their own
        self._idle: set[Task] = set()  # those that only wait for the others to end
        self._limits: list[tuple[float, int, int, Task]] = []
        self._ready: collections.deque[tuple[Task, Outcome | None]] = collections.deque()
        self._returned: list[tuple[Task, int, Any, float]] = []
        self._order = 0
        self._signal = 0
        self._is_crowded = False
        self._count = 0  # of tasks that have not ended
        self._chunk = CHUNK
        # THE OPERATION TABLES: what begins each, and what goes on with it once its socket is ready.
        self._begin: dict[type, Callable[[Any, Any], bool]] = {
            Read: self._read,
            Write: self._write,
            Connect: self._connect,
            StartTls: self._start_tls,
            Call: self._begin_call,
            Pause: self._pause,
            Close: self._close_now,
            Together: self._begin_together,
            Within: self._begin_within,
        }
        self._go_on: dict[type, Callable[[Any, Any], bool]] = {
            Read: self._read,
            Write: self._go_on_writing,
            Connect: self._go_on_connecting,
            StartTls: self._shake_hands,
        }

    def _new_selector(self) -> Any:
        return selectors.DefaultSelector()

    def run(
        self, sessions: Sequence[TimedProcedure[_T]], signals: Sequence[signal.Signals]
    ) -> list[_T]:
        """Run all sessions, as the function of that name does."""
        tasks = [self.task_type(session, self._deadline) for session in sessions]
        self._note_tasks(len(tasks))
        # Threads and signal handlers write here to wake the selector.
        wake_out, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._selector.register(wake_out, selectors.EVENT_READ)
        handlers = [(number, signal.signal(number, self._on_signal)) for number in signals]
        # Written by C code at once: Python's own handler might run after the next wait only.
        before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        try:
            self._ready += [(task, None) for task in tasks]
            self._loop()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            signal.set_wakeup_fd(before)
            for number, handler in handlers:
                signal.signal(number, handler)
            self._close_all(tasks)
            self._selector.close()
            os.close(wake_out)
            # The other end stays open, for an abandoned thread to write to.
        return [task.result for task in tasks]

    def _loop(self) -> None:
        while self._ready or self._waiting:
            if self._idle and not self._ready and self._idle == self._waiting:
                for task in tuple(self._idle):
                    self._complete(task, None)
            self._serve()

    def _note_tasks(self, count: int) -> None:
        """Have each read less at once, the more there are."""
        self._count += count
        self._chunk = min(CHUNK, READ_AT_ONCE // max(1, self._count))

    def _on_signal(self, number: int, frame: object) -> None:
        self._signal = number

    def _serve(self) -> None:
        """Note everything that has happened, then let some sessions go on."""
        if self._is_crowded or not self._ready:
            self._look()
        for _ in range(min(BATCH, len(self._ready))):
            self._continue(*self._ready.popleft())
        self._is_crowded = bool(self._ready)

    def _look(self) -> None:
        """Note what has happened; where no session can go on, wait for it."""
        patience = 0.0 if self._ready else self._patience()
        ready = self._selector.select(patience)
        if patience and not ready:
            # At once, again: what came while this process was stopped has come in time.
            ready = self._selector.select(0)
        for key, _ in ready:
            if isinstance(key.data, Task):
                self._on_ready(key.data)
            else:
                os.read(key.fd, 4096)
        self._collect_returned()
        if self._signal:
            self._complete_all(self._interrupted)
        now = self._clock()
        if now >= self._deadline.expires:
            self._complete_all(lambda: Expired(self._deadline.seconds), self._outliving)
        while self._limits and self._limits[0][0] <= now:
            _, _, turn, task = self._limits.pop(0)
            if turn == task.turn and task in self._waiting:
                self._complete(task, _over(task, now))

    def _patience(self) -> float:
        """Return the seconds until the next limit, or the deadline where it holds for somebody."""
        while self._limits and self._limits[0][2] != self._limits[0][3].turn:
            self._limits.pop(0)
        expires = [self._limits[0][0]] if self._limits else []
        if len(self._waiting) > len(self._outliving):
            expires.append(self._deadline.expires)
        return max(0.0, min(expires) - self._clock())

    def _complete_all(self, fault: Callable[[], SessionFault], but: Collection[Task] = ()) -> None:
        """Fail all operations under way, each by a fault of its own: sessions add to them."""
        for task in [task for task in self._waiting if task not in but]:
            self._complete(task, fault())

    def _interrupted(self) -> Interrupted:
        return Interrupted(f"interrupted by {signal.Signals(self._signal).name}")

    def _collect_returned(self) -> None:
        while self._returned:
            task, turn, value, moment = self._returned.pop()
            if turn != task.turn or task not in self._waiting:
                continue
            if isinstance(task.operation, StartTls) and value is None:
                self._on_ready(task)  # what it had to compute is ready
            else:
                self._complete(task, value, moment)

    def _complete(self, task: Task, value: Any, moment: float | None = None) -> None:
        self._waiting.discard(task)
        if self._idle:
            self._idle.discard(task)
        if self._outliving:
            self._outliving.discard(task)
        ended = self._clock() if moment is None else moment
        self._ready.append((task, Outcome._make((value, task.began, ended))))

    def _continue(self, task: Task, outcome: Outcome | None) -> None:
        """Send the session its outcome and begin its next operation."""
        try:
            operation = task.procedure.send(outcome)  # type: ignore[arg-type]
        except StopIteration as stop:
            self._end(task, stop.value)
            return
        except SessionFault as fault:
            if task.parent is None:
                raise
            self._end(task, fault)
            return
        task.operation = operation
        task.turn += 1
        task.began = now = self._clock()
        kind = type(operation)
        if (self._signal or now >= task.deadline.expires) and kind not in _ALWAYS_SERVED:
            expired = Expired(task.deadline.seconds)
            self._complete(task, self._interrupted() if self._signal else expired)
            return
        try:
            if not self._begin[kind](task, operation):
                self._wait(task, operation)
        except SessionFault as fault:
            self._complete(task, fault)

    def _end(self, task: Task, result: Any) -> None:
        if isinstance(result, Timestamped):
            task.result, task.ended = result
        else:
            task.result, task.ended = result, self._clock()
        self._close(task)
        self._count -= 1
        parent = task.parent
        if parent is not None:
            parent.running -= 1
            if not parent.running:
                children = parent.children
                results = [child.result for child in children]
                self._complete(parent, results, max(child.ended for child in children))

    def _wait(self, task: Task, operation: Any) -> None:
        self._waiting.add(task)
        limit = operation.limit
        if isinstance(operation, Connect) and operation.share < 1:
            share = operation.share * task.deadline.remaining()
            limit = share if limit is None else min(limit, share)
        if task.deadline is not self._deadline:
            # Few have one of their own, so that it is watched as a limit of each operation.
            self._outliving.add(task)
            left = task.deadline.expires - task.began
            limit = left if limit is None else min(limit, left)
        if limit is not None:
            task.limit = limit
            self._order += 1
            entry = (task.began + limit, self._order, task.turn, task)
            bisect.insort(self._limits, entry)

    # What is done for each operation, see the tables: whether that is all there is to do

    def _read(self, task: Task, operation: Read) -> bool:
        data = task.transport.receive(self._chunk)
        if data is None:
            return self._watch_for_more(task)
        self._complete(task, data)
        return True

    def _write(self, task: Task, operation: Write) -> bool:
        if not task.transport.send(operation.data):
            return self._watch_for_more(task)
        self._complete(task, None)
        return True

    def _go_on_writing(self, task: Task, operation: Write) -> bool:
        if not task.transport.send():
            return self._watch_for_more(task)
        self._complete(task, None)
        return True

    def _connect(self, task: Task, operation: Connect) -> bool:
        address = operation.address
        if task.transport is not None:
            self._close(task)
        task.transport = Transport(address, operation.source, datagrams=operation.datagrams)
        task.began = self._clock()  # making a socket ready is no part of any stage
        if not task.transport.connect(address):
            return self._watch_for_more(task)
        self._complete_connect(task, self._clock())
        return True

    def _go_on_connecting(self, task: Task, operation: Connect) -> bool:
        task.transport.connected()
        self._complete_connect(task, self._clock())
        return True

    def _complete_connect(self, task: Task, moment: float) -> None:
        self._complete(task, task.transport.local(), moment)

    def _start_tls(self, task: Task, operation: StartTls) -> bool:
        self._watch(task, 0)
        task.transport = operation.trust.upgrade(task.transport, operation.name)
        task.began = self._clock()
        return self._shake_hands(task, operation)

    def _shake_hands(self, task: Task, operation: StartTls) -> bool:
        if not task.transport.handshake():
            return self._watch_for_more(task)
        moment = self._clock()
        self._complete(task, task.transport.result(), moment)
        return True

    def _watch_for_more(self, task: Task) -> bool:
        """Have the socket watched for what it can go on with, or a thread do what it waits for."""
        wants = task.transport.wants
        self._watch(task, wants)
        if not wants:
            self._begin_call(task, Call(task.transport.compute))
        return False

    def _begin_call(self, task: Task, operation: Call) -> bool:
        thread = threading.Thread(
            target=self._call, args=(task, task.turn, operation), name="call", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            raise LocalFault("this host cannot start another thread") from error
        return False

    def _pause(self, task: Task, operation: Pause) -> bool:
        if operation.is_idle:
            self._idle.add(task)
        return False

    def _close_now(self, task: Task, operation: Close) -> bool:
        self._close(task)
        self._complete(task, None)
        return True

    def _begin_within(self, task: Task, operation: Within) -> bool:
        return self._begin_children(task, operation, Deadline(operation.seconds, self._clock))

    def _begin_together(self, task: Task, operation: Together) -> bool:
        deadline = task.deadline
        if operation.share < 1:
            deadline = Deadline(operation.share * deadline.remaining(), self._clock)
        return self._begin_children(task, operation, deadline)

    def _begin_children(self, task: Task, operation: Together | Within, deadline: Deadline) -> bool:
        task.children = [
            self.task_type(procedure, deadline, task) for procedure in operation.procedures
        ]
        task.running = len(task.children)
        self._note_tasks(task.running)
        self._ready += [(child, None) for child in task.children]
        if not task.children:
            self._complete(task, [])
        return True  # the last of them completes it

    def _on_ready(self, task: Task) -> None:
        """The session's socket is ready: go on with what it waits for."""
        operation = task.operation
        go_on = self._go_on.get(type(operation))
        if go_on is None or task not in self._waiting:
            self._watch(task, 0)
            return
        try:
            go_on(task, operation)
        except SessionFault as fault:
            self._complete(task, fault)

    def _watch(self, task: Task, events: int) -> None:
        """Have the selector watch for these events; a socket stays watched between operations."""
        if events == task.watched:
            return
        if not task.watched:
            self._selector.register(task.transport, events, task)
        elif not events:
            self._selector.unregister(task.transport)
        else:
            self._selector.modify(task.transport, events, task)
        task.watched = events

    def _close(self, task: Task) -> None:
        if task.transport is not None:
            self._watch(task, 0)
            task.transport.close()
            task.transport = None

    def _close_all(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._close(task)
            self._close_all(task.children)

    def _call(self, task: Task, turn: int, operation: Call) -> None:
        """Run in a thread of its own; the moment is taken here, before the loop wakes up."""
        value: Any
        try:
            value = operation.function(*operation.arguments)
        except BaseException as error:
            value = error
        moment = self._clock()
        self._returned.append((task, turn, value, moment))
        try:
            os.write(self._wake, b"\0")
        except OSError:
            pass  # full of wake-ups already, or nobody waits for them any more


def _over(task: Task, now: float) -> TimedOut | None:
    """Return the fault of an operation whose limit has passed; a pause is over without one."""
    if now >= task.deadline.expires:
        return Expired(task.deadline.seconds)
    return None if isinstance(task.operation, Pause) else TimedOut(task.limit)
