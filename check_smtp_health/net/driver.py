"""The one loop that touches the world: it serves the wishes of all sessions with one selector."""

from __future__ import annotations

import bisect
import collections
import os
import selectors
import signal
import threading

from check_smtp_health.errors import Expired, Interrupted, LocalFault, SessionFault, TimedOut
from check_smtp_health.net.transport import Transport
from check_smtp_health.net.wishes import (
    Answer,
    Call,
    Close,
    Connect,
    Dated,
    Pause,
    Read,
    StartTls,
    Together,
    Write,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from typing import Any, TypeVar

    from check_smtp_health.net.deadline import Deadline
    from check_smtp_health.net.wishes import Dialogue, Wish

    _T = TypeVar("_T")

BATCH = 8
"""Sessions that go on before the next look at what has come meanwhile: it blurs a time by no more
than they take, some 0.03 ms each."""


def run(
    sessions: Sequence[Dialogue[_T]], deadline: Deadline, signals: Sequence[signal.Signals] = ()
) -> list[_T]:
    """Run all sessions at the same time and return what each returned, in the same order.

    Once the deadline has passed, or one of the ``signals`` came, every wish but ``Close`` is
    answered with a fault, so that each session can still return what it has learned. A ``Call``
    that outlives the deadline has its limit instead. Signals that are blocked are taken here all
    the same, and blocked again when this returns. Connections that sessions leave open are closed.
    A thread that a ``Call`` left behind may still be blocked: the process should end by
    ``os._exit``.
    """
    return _Driver(deadline).run(sessions, signals)


class _Task:
    """One session, and what it waits for."""

    __slots__ = (
        *("began", "children", "dialogue", "limit", "parent", "result", "running", "transport"),
        *("turn", "watched", "wish"),
    )

    def __init__(self, dialogue: Dialogue[Any], parent: _Task | None = None) -> None:
        self.dialogue = dialogue
        self.parent = parent
        self.children: list[_Task] = []
        self.running = 0  # how many of the children
        self.result: Any = None
        self.wish: Wish | None = None
        self.turn = 0  # counts wishes, so that a late answer to an older one is known as such
        self.began = 0.0
        self.limit = 0.0
        self.transport: Any = None  # a Transport, or a TlsTransport once TLS has begun
        self.watched = 0


class _Driver:
    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._clock = deadline.clock
        self._selector = selectors.DefaultSelector()
        self._waiting: set[_Task] = set()
        self._outliving: set[_Task] = set()  # those of them that the deadline does not end
        self._limits: list[tuple[float, int, int, _Task]] = []
        self._answered: collections.deque[tuple[_Task, Answer | None]] = collections.deque()
        self._returned: list[tuple[_Task, int, Any, float]] = []
        self._order = 0
        self._signal = 0
        self._is_crowded = False

    def run(self, sessions: Sequence[Dialogue[_T]], signals: Sequence[signal.Signals]) -> list[_T]:
        tasks = [_Task(session) for session in sessions]
        # Threads and signal handlers write here to wake the selector.
        wake_out, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        self._selector.register(wake_out, selectors.EVENT_READ)
        handlers = [(number, signal.signal(number, self._on_signal)) for number in signals]
        # From C, at once: Python's own handler might not run before the selector waits again.
        before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        try:
            self._answered += [(task, None) for task in tasks]
            while self._answered or self._waiting:
                self._serve()
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

    def _on_signal(self, number: int, frame: object) -> None:
        self._signal = number

    def _serve(self) -> None:
        """Let some sessions go on, having noted everything that has happened until now.

        Moments are noted first, so that what one session does next blurs nobody else's times.
        """
        if self._is_crowded or not self._answered:
            self._look()
        for _ in range(min(BATCH, len(self._answered))):
            self._go_on(*self._answered.popleft())
        self._is_crowded = bool(self._answered)

    def _look(self) -> None:
        """Note what has happened; where no session can go on, wait for it."""
        patience = 0.0 if self._answered else self._patience()
        ready = self._selector.select(patience)
        if patience and not ready:
            # At once, again: what came while this process was stopped has come in time.
            ready = self._selector.select(0)
        for key, _ in ready:
            if isinstance(key.data, _Task):
                self._ready(key.data)
            else:
                os.read(key.fd, 4096)
        self._collect_returned()
        if self._signal:
            self._answer_all(Interrupted(f"interrupted by {signal.Signals(self._signal).name}"))
        now = self._clock()
        if now >= self._deadline.expires:
            self._answer_all(Expired(_no_answer(self._deadline.seconds)), self._outliving)
        while self._limits and self._limits[0][0] <= now:
            _, _, turn, task = self._limits.pop(0)
            if turn == task.turn and task in self._waiting:
                is_over = isinstance(task.wish, Pause)
                self._answer(task, None if is_over else TimedOut(_no_answer(task.limit)))

    def _patience(self) -> float:
        """Return the seconds until the next limit, or the deadline where somebody is held to it."""
        while self._limits and self._limits[0][2] != self._limits[0][3].turn:
            self._limits.pop(0)
        expires = [self._limits[0][0]] if self._limits else []
        if len(self._waiting) > len(self._outliving):
            expires.append(self._deadline.expires)
        return max(0.0, min(expires) - self._clock())

    def _answer_all(self, fault: SessionFault, but: Collection[_Task] = ()) -> None:
        for task in [task for task in self._waiting if task not in but]:
            self._answer(task, fault)

    def _collect_returned(self) -> None:
        while self._returned:
            task, turn, value, moment = self._returned.pop()
            if turn == task.turn and task in self._waiting:
                self._answer(task, value, moment)

    def _answer(self, task: _Task, value: Any, moment: float | None = None) -> None:
        self._waiting.discard(task)
        if self._outliving:
            self._outliving.discard(task)
        ended = self._clock() if moment is None else moment
        self._answered.append((task, Answer._make((value, task.began, ended))))

    def _go_on(self, task: _Task, answer: Answer | None) -> None:
        """Give the session its answer and take up its next wish."""
        try:
            wish = task.dialogue.send(answer)  # type: ignore[arg-type]
        except StopIteration as stop:
            self._end(task, stop.value)
            return
        except SessionFault as fault:
            if task.parent is None:
                raise
            self._end(task, fault)
            return
        task.wish = wish
        task.turn += 1
        task.began = self._clock()
        if isinstance(wish, Together):
            self._begin_together(task, wish)
            return
        if isinstance(wish, Close):
            self._close(task)
            self._answer(task, None)
        elif self._signal:
            self._answer(task, Interrupted(f"interrupted by {signal.Signals(self._signal).name}"))
        elif task.began >= self._deadline.expires and not _outlives(wish):
            self._answer(task, Expired(_no_answer(self._deadline.seconds)))
        else:
            try:
                is_answered = self._begin(task, wish)
            except SessionFault as fault:
                self._answer(task, fault)
            else:
                if not is_answered:
                    self._wait(task, wish)

    def _end(self, task: _Task, result: Any) -> None:
        task.result = result
        self._close(task)
        parent = task.parent
        if parent is not None:
            parent.running -= 1
            if not parent.running:
                self._answer(parent, [child.result for child in parent.children])

    def _begin_together(self, task: _Task, wish: Together) -> None:
        task.children = [_Task(dialogue, task) for dialogue in wish.dialogues]
        task.running = len(task.children)
        self._answered += [(child, None) for child in task.children]
        if not task.children:
            self._answer(task, [])

    def _wait(self, task: _Task, wish: Connect | Read | Write | StartTls | Call | Pause) -> None:
        self._waiting.add(task)
        if _outlives(wish):
            self._outliving.add(task)
        limit = wish.limit
        if isinstance(wish, Connect) and wish.share < 1:
            share = wish.share * self._deadline.remaining()
            limit = share if limit is None else min(limit, share)
        if limit is not None:
            task.limit = limit
            self._order += 1
            entry = (task.began + limit, self._order, task.turn, task)
            bisect.insort(self._limits, entry)

    def _begin(self, task: _Task, wish: Wish) -> bool:
        """Take a wish up; whether it has been answered already."""
        if isinstance(wish, (Read, Write)):  # most are
            return self._attempt(task, wish, is_first=True)
        if isinstance(wish, Pause):
            return False
        if isinstance(wish, Call):
            thread = threading.Thread(
                target=self._call, args=(task, task.turn, wish), name="call", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                raise LocalFault("no further thread can be started here") from error
            return False
        if isinstance(wish, Connect):
            self._close(task)
            task.transport = Transport(wish.address, wish.source, datagrams=wish.datagrams)
        elif isinstance(wish, StartTls):
            self._watch(task, 0)
            task.transport = wish.trust.upgrade(task.transport.release(), wish.name)
        task.began = self._clock()  # making a socket ready is no part of any stage
        return self._attempt(task, wish, is_first=True)

    def _attempt(self, task: _Task, wish: Wish, *, is_first: bool) -> bool:
        """Do what can be done at once, and have the socket watched where that is not all.

        Return whether the wish has been answered.
        """
        transport = task.transport
        value: Any = None
        if isinstance(wish, Read):
            value = transport.receive()
            done = value is not None
        elif isinstance(wish, Write):
            done = transport.send(wish.data if is_first else None)
        elif isinstance(wish, Connect):
            done = transport.connect(wish.address) if is_first else transport.connected()
        else:
            done = transport.handshake()
        if not done:
            self._watch(task, transport.wants)
            return False
        moment = self._clock()
        if isinstance(wish, Connect):
            value = transport.local()
        elif isinstance(wish, StartTls):
            value = transport.agreed()
        self._answer(task, value, moment)
        return True

    def _ready(self, task: _Task) -> None:
        """The session's socket is ready: go on with what it waits for."""
        if task not in self._waiting or isinstance(task.wish, (Call, Pause)):
            self._watch(task, 0)
            return
        assert task.wish is not None
        try:
            self._attempt(task, task.wish, is_first=False)
        except SessionFault as fault:
            self._answer(task, fault)

    def _watch(self, task: _Task, events: int) -> None:
        """Have the selector watch for these events; kept from wish to wish, for that is cheap."""
        if events == task.watched:
            return
        if not task.watched:
            self._selector.register(task.transport, events, task)
        elif not events:
            self._selector.unregister(task.transport)
        else:
            self._selector.modify(task.transport, events, task)
        task.watched = events

    def _close(self, task: _Task) -> None:
        if task.transport is not None:
            self._watch(task, 0)
            task.transport.close()
            task.transport = None

    def _close_all(self, tasks: Sequence[_Task]) -> None:
        for task in tasks:
            self._close(task)
            self._close_all(task.children)

    def _call(self, task: _Task, turn: int, wish: Call) -> None:
        """Run in a thread of its own; the moment is taken here, before the loop wakes up."""
        value: Any
        try:
            value = wish.function(*wish.arguments)
        except BaseException as error:
            value = error
        moment = self._clock()
        if isinstance(value, Dated):
            value, moment = value
        self._returned.append((task, turn, value, moment))
        try:
            os.write(self._wake, b"\0")
        except OSError:
            pass  # full of wake-ups already, or nobody waits for them any more


def _outlives(wish: Wish) -> bool:
    return isinstance(wish, Call) and wish.outlives


def _no_answer(seconds: float) -> str:
    return f"no answer within {round(seconds, 3):g} s"
