"""The driver of many checks: each has a deadline of its own, and waits for its turn.

Theory of operation
-------------------

A check is a ``Ticket``: what begins it gives its sessions, and what makes its value of what they
return. Tickets wait in a line. At most ``at_once`` of those that have begun are at work at a
time; the line goes on where one has ended, where the two that may use the same mailbox leave room,
and, with a ``spread``, where its moment has come.

A connection for SMTP (``Connect.is_session``) is opened in turn as well: at most ``at_once`` stand
at a time, and ``PER_ADDRESS`` of them at one address. Whoever waits for that is no longer at work,
so that a hundred checks of one server hold up nobody else. Only a task whose ancestors have no
connection waits: whoever waits holds nothing that others wait for.

**No check is to know that it has waited.** What a task has waited is its ``shift``: its outcomes
bear moments on an axis from which that is taken out, and its deadline is so much later. So stages
have the times, and sessions the deadlines, that they would have alone.

What nobody foresaw ends the check in which it happens, and no other: all its tasks are dropped.

Checks that have ended are reported when no session has anything to do, a few at a time, for whoever
hears of them may have much to compute.
"""

from __future__ import annotations

import bisect
import collections
import heapq
import math
import select
import time

from check_smtp_health.errors import Expired, SessionFault
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.driver import BATCH, Deadline, Driver, Task
from check_smtp_health.net.operations import Connect, Outcome, Pause, Timestamped
from check_smtp_health.net.poller import Poller

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from check_smtp_health.net.operations import Operation, TimedProcedure, Together, Within

PER_ADDRESS = 2
"""Sessions at one address at a time: servers count those of a client, and some allow no more than
ten (smtpd_client_connection_count_limit of Postfix has 50, Exchange 20)."""

UNREPORTED = 64
"""Checks that have ended and may be kept until nobody has anything to do."""

REPORTING = 0.0002
"""Seconds that reports may take before the next look, beside the one that has begun: as much as a
``BATCH`` of sessions does."""

IDLE = 3600.0
"""Seconds to wait for whatever comes where nothing is due."""


class Ticket(NamedTuple):
    """A check that waits for its turn.

    ``begin`` gives its sessions, which have so many ``seconds``, and what makes the check's value
    of what they return. ``keys`` name what at most ``PER_ADDRESS`` checks may use at a time.
    """

    begin: Callable[[], tuple[Sequence[TimedProcedure[Any]], Callable[[list[Any]], Any]]]
    seconds: float
    keys: Sequence[str] = ()


class Ended(NamedTuple):
    """What a check has come to, or the exception that ended it.

    ``moment`` is when that was, in seconds since 1970, ``seconds`` how long it took, without what
    it has waited; 0.0 where it never began.
    """

    value: Any
    moment: float
    seconds: float


def run(
    tickets: Sequence[Ticket],
    at_once: int,
    spread: float,
    report: Callable[[int, Ended], None],
    signals: Sequence[signal.Signals] = (),
) -> None:
    """Run all checks, and report on each by its number, in the order in which they end.

    A signal ends those under way as it would alone; those that have not begun are reported as
    ``Interrupted``. ``report`` must not raise.
    """
    _TurnDriver(tickets, at_once, spread, report).run((), signals)


class _Check:
    """A check that has begun: its number, its sessions, and how many of its tasks do what.

    ``running`` sessions have not ended, ``idle`` of them only wait for the others; ``queued`` tasks
    wait for their turn, ``connected`` have theirs; ``waited`` is the longest that any has waited.
    """

    __slots__ = (
        *("began", "connected", "finish", "idle", "is_over", "is_resting", "keys", "number"),
        *("queued", "running", "tasks", "waited"),
    )

    def __init__(self, number: int, keys: Sequence[str], began: float) -> None:
        self.number = number
        self.keys = keys
        self.began = began
        self.tasks: list[_TurnTask] = []
        self.finish: Callable[[list[Any]], Any] = list
        self.running = 0
        self.idle = 0
        self.waited = 0.0
        self.queued = 0
        self.connected = 0
        self.is_resting = False  # does nothing but wait for its turn
        self.is_over = False


class _TurnTask(Task):
    """A task, the check it belongs to, what it has waited, and the address that it may use."""

    __slots__ = ("check", "idle", "place", "shift", "since")

    def __init__(
        self, procedure: TimedProcedure[Any], deadline: Deadline, parent: _TurnTask | None = None
    ) -> None:
        super().__init__(procedure, deadline, parent)
        self.idle = 0  # how many of its children only wait for the others
        self.place: str | None = None
        self.since: float | None = None  # when it began to wait for its turn, if it does
        if parent is None:
            self.check: Any = None  # whoever makes it sets it
            self.shift = 0.0
        else:
            self.check = parent.check
            self.shift = parent.shift


class _TurnDriver(Driver):
    task_type: type[Task] = _TurnTask

    def __init__(
        self,
        tickets: Sequence[Ticket],
        at_once: int,
        spread: float,
        report: Callable[[int, Ended], None],
    ) -> None:
        super().__init__(Deadline(math.inf))
        self._tickets = tickets
        self._at_once = at_once
        self._interval = spread / max(1, len(tickets))
        self._report = report
        self._started = self._clock()
        self._line = collections.deque(range(len(tickets)))
        self._aside: dict[str, collections.deque[int]] = {}  # whose key two others have
        self._keys: dict[str, int] = {}
        self._at_work = 0
        self._sessions: dict[str, int] = {}
        self._connected = 0
        self._queues: dict[str, collections.deque[_TurnTask]] = {}
        self._full: collections.deque[str] = collections.deque()  # queues that at_once holds up
        self._deadlines: list[tuple[float, int, Deadline, Sequence[_TurnTask]]] = []
        self._ended: collections.deque[tuple[int, Ended]] = collections.deque()
        self._wrong: list[tuple[_Check, Exception]] = []  # to be dropped once this turn is over

    def _new_selector(self) -> Any:
        return Poller() if hasattr(select, "epoll") else super()._new_selector()

    # The line

    def _loop(self) -> None:
        while self._ready or self._waiting or self._is_unfinished():
            self._serve()

    def _is_unfinished(self) -> bool:
        """Whether somebody is still to begin, or to be reported on."""
        if self._signal:
            self._send_home()
        return bool(self._line or self._ended)

    def _send_home(self) -> None:
        """Report on those that have not begun: they are not going to."""
        aside = (one for several in self._aside.values() for one in several)
        waiting = sorted((*self._line, *aside))
        self._line.clear()
        self._aside.clear()
        now = time.time()
        self._ended += [(number, Ended(self._interrupted(), now, 0.0)) for number in waiting]

    def _due(self) -> float:
        """Return when the next check may begin, as far as it is for the clock to say."""
        return self._started + self._interval * self._line[0]

    def _admit(self) -> None:
        """Let some checks begin, no more than may before the next look."""
        for _ in range(BATCH):
            if not self._may_begin() or self._due() > self._clock():
                return
            self._admit_next()

    def _may_begin(self) -> bool:
        return bool(self._line) and not self._signal and self._at_work < self._at_once

    def _admit_next(self) -> None:
        number = self._line.popleft()
        ticket = self._tickets[number]
        for key in ticket.keys:
            if self._keys.get(key, 0) >= PER_ADDRESS:
                self._aside.setdefault(key, collections.deque()).append(number)
                return
        for key in ticket.keys:
            self._keys[key] = self._keys.get(key, 0) + 1
        check = _Check(number, ticket.keys, self._clock())
        self._at_work += 1
        try:
            sessions, check.finish = ticket.begin()
        except Exception as bug:
            self._finish(check, bug)
            return
        deadline = Deadline(ticket.seconds, self._clock)
        for session in sessions:
            task = _TurnTask(session, deadline)
            task.check = check
            check.tasks.append(task)
            self._ready.append((task, None))
        check.running = len(check.tasks)
        self._note_tasks(check.running)
        self._watch_deadline(deadline, check.tasks)

    def _finish(self, check: _Check, value: Any) -> None:
        """Note what has come of a check, and make room for others."""
        check.is_over = True
        self._at_work -= 1
        seconds = max(0.0, self._clock() - check.began - check.waited)
        self._ended.append((check.number, Ended._make((value, time.time(), seconds))))
        check.tasks.clear()  # whoever watches a deadline may have the list for long
        for key in check.keys:
            self._keys[key] -= 1
            if not self._keys[key]:
                del self._keys[key]
            others = self._aside.get(key)
            if others:
                self._line.appendleft(others.popleft())
                if not others:
                    del self._aside[key]

    # One turn of the loop

    def _serve(self) -> None:
        self._look()
        ready = self._ready
        for _ in range(min(BATCH, len(ready))):
            task, outcome = ready.popleft()
            check = task.check  # type: ignore[attr-defined]
            if check.is_over:
                continue
            try:
                self._continue(task, outcome)
            except Exception as bug:
                self._drop(check, bug)
        while self._wrong:
            self._drop(*self._wrong.pop())

    def _look(self) -> None:
        super()._look()
        if self._deadlines and self._deadlines[0][0] <= self._clock():
            _, _, deadline, tasks = heapq.heappop(self._deadlines)
            for task in tuple(tasks):
                self._expire(deadline, task)
        if self._line:
            self._admit()
        if self._ended and (not self._ready or len(self._ended) > UNREPORTED):
            until = self._clock() + REPORTING
            while self._ended:
                self._report(*self._ended.popleft())
                if self._clock() >= until:
                    break

    def _patience(self) -> float:
        if self._ended:
            return 0.0
        moments = [self._clock() + IDLE]
        while self._limits and self._limits[0][2] != self._limits[0][3].turn:
            self._limits.pop(0)
        if self._limits:
            moments.append(self._limits[0][0])
        if self._deadlines:
            moments.append(self._deadlines[0][0])
        if self._may_begin():
            moments.append(self._due())
        return max(0.0, min(moments) - self._clock())

    def _expire(self, deadline: Deadline, task: Any) -> None:
        """Fail what is under way for a task and those below it that still have this deadline."""
        for child in tuple(task.children):
            self._expire(deadline, child)
        # Whoever waits for a turn is going to have a later one.
        if task.deadline is deadline and task in self._waiting and task.since is None:
            self._complete(task, Expired(deadline.seconds))

    def _watch_deadline(self, deadline: Deadline, tasks: Sequence[_TurnTask]) -> None:
        """Have a deadline watched, of these tasks and of those below them."""
        self._order += 1
        heapq.heappush(self._deadlines, (deadline.expires, self._order, deadline, tasks))

    # What a task does, as for a single check but for its turn, its axis and its deadline

    def _on_ready(self, task: Any) -> None:
        try:
            super()._on_ready(task)
        except Exception as bug:
            self._drop(task.check, bug)

    def _connect(self, task: Any, operation: Connect) -> bool:
        if operation.is_session and not self._is_let_in(task, operation):
            return False
        return super()._connect(task, operation)

    def _pause(self, task: Any, operation: Pause) -> bool:
        if not operation.is_idle:
            return False
        group = task.parent or task.check
        group.idle += 1
        if group.running > group.idle:
            return False
        self._complete(task, None)
        return True

    def _begin_children(self, task: Any, operation: Together | Within, deadline: Deadline) -> bool:
        super()._begin_children(task, operation, deadline)
        if task.children and deadline is not task.deadline:
            self._watch_deadline(deadline, task.children)
        return True

    def _wait(self, task: Any, operation: Any) -> None:
        self._waiting.add(task)
        if task.since is not None:
            return  # its time does not run
        limit = operation.limit
        if isinstance(operation, Connect) and operation.share < 1:
            share = operation.share * task.deadline.remaining()
            limit = share if limit is None else min(limit, share)
        if limit is not None:
            task.limit = limit
            self._order += 1
            bisect.insort(self._limits, (task.began + limit, self._order, task.turn, task))

    def _complete(self, task: Any, value: Any, moment: float | None = None) -> None:
        self._waiting.discard(task)
        if task.since is not None:
            self._leave_queue(task)
        group = task.parent or task.check
        if group.idle and _is_idle(task.operation):
            group.idle -= 1
        if task.children:
            for child in task.children:
                child.result = None  # whoever watches a deadline may hold it for long
            task.children = []
        ended = self._clock() if moment is None else moment
        shift = task.shift
        self._ready.append((task, Outcome._make((value, task.began - shift, ended - shift))))

    def _end(self, task: Any, result: Any) -> None:
        if isinstance(result, Timestamped):
            result = Timestamped(result.value, result.moment + task.shift)
        super()._end(task, result)
        if task.place is not None:
            self._leave_place(task)
        if task.parent is None:
            self._end_session(task.check)
        elif task.parent.idle:
            self._release_idle(task.parent, task.parent.children)

    def _end_session(self, check: _Check) -> None:
        """Note that a session of a check has ended; the last one ends the check."""
        check.running -= 1
        if not check.running:
            self._finish(check, check.finish([task.result for task in check.tasks]))
        else:
            self._release_idle(check, check.tasks)

    def _release_idle(self, group: _Check | _TurnTask, tasks: Sequence[Task]) -> None:
        """End the pauses of those who only wait for the others, where no other is left."""
        if group.running == group.idle:
            for task in tasks:
                if task in self._waiting and _is_idle(task.operation):
                    self._complete(task, None)

    def _drop(self, check: _Check, bug: Exception) -> None:
        """End a check, in whatever state its tasks are."""
        if check.is_over:
            return
        tasks = [*_with_children(check.tasks)]
        for task in tasks:  # before any place becomes free, which one of them would take
            if task.since is not None:
                self._leave_queue(task)
        for task in tasks:
            self._drop_task(task)
        self._finish(check, bug)

    def _drop_task(self, task: Any) -> None:
        self._waiting.discard(task)
        if not task.ended:
            self._count -= 1
        try:
            self._close(task)
            task.procedure.close()
        except Exception:
            task.transport = None
        if task.place is not None:
            self._leave_place(task)

    # Turns

    def _is_let_in(self, task: _TurnTask, operation: Connect) -> bool:
        """Give a task a place at an address, or have it wait for one."""
        self._close(task)
        if task.place is not None:  # of an attempt that came to no connection
            self._leave_place(task)
        if task.parent is not None and _has_connection(task.parent):
            return True
        host = operation.address.host
        if host not in self._queues and self._has_place(host):
            self._take_place(task, host)
            return True
        self._queues.setdefault(host, collections.deque()).append(task)
        task.since = self._clock()
        self._count_check(task.check, 1, 0)
        if self._connected >= self._at_once and host not in self._full:
            self._full.append(host)
        return False

    def _has_place(self, host: str) -> bool:
        return self._connected < self._at_once and self._sessions.get(host, 0) < PER_ADDRESS

    def _take_place(self, task: _TurnTask, host: str) -> None:
        task.place = host
        self._connected += 1
        self._sessions[host] = self._sessions.get(host, 0) + 1
        self._count_check(task.check, 0, 1)

    def _close(self, task: Any) -> None:
        if task.transport is None:
            return
        super()._close(task)
        if task.place is not None:
            self._leave_place(task)

    def _leave_place(self, task: Any) -> None:
        host, task.place = task.place, None
        self._connected -= 1
        left = self._sessions[host] - 1
        if left:
            self._sessions[host] = left
        else:
            del self._sessions[host]
        self._count_check(task.check, 0, -1)
        if self._queues:
            self._call_next(host)
            while self._full and self._connected < self._at_once:
                self._call_next(self._full.popleft())

    def _call_next(self, host: str) -> None:
        """Let in who waits for an address, as long as there is a place."""
        queue = self._queues.get(host)
        while queue:
            if not self._has_place(host):
                if self._connected >= self._at_once and host not in self._full:
                    self._full.append(host)
                return
            self._let_in(queue.popleft(), host)
        self._queues.pop(host, None)

    def _let_in(self, task: _TurnTask, host: str) -> None:
        assert task.since is not None
        waited = self._clock() - task.since
        task.since = None
        self._waiting.discard(task)
        self._count_check(task.check, -1, 0)
        task.shift += waited
        task.check.waited = max(task.check.waited, task.shift)
        deadline = Deadline(task.deadline.seconds, self._clock)
        deadline.expires = task.deadline.expires + waited
        task.deadline = deadline
        self._watch_deadline(deadline, (task,))
        task.began = self._clock()
        operation: Any = task.operation
        self._take_place(task, host)
        try:
            is_done = super()._connect(task, operation)
        except SessionFault as fault:
            self._complete(task, fault)
        except Exception as bug:
            # Later: it may be a task of the same check that has left its place, and goes on.
            self._wrong.append((task.check, bug))
        else:
            if not is_done:
                self._wait(task, operation)

    def _leave_queue(self, task: _TurnTask) -> None:
        """Have a task wait no longer, without having been let in."""
        host = task.operation.address.host  # type: ignore[union-attr]
        task.since = None
        self._count_check(task.check, -1, 0)
        queue = self._queues[host]
        queue.remove(task)
        if not queue:
            del self._queues[host]

    def _count_check(self, check: _Check, queued: int, connected: int) -> None:
        """Note what a task of a check does, and whether the check is at work."""
        check.queued += queued
        check.connected += connected
        if not check.queued and not check.is_resting:
            return  # as most are
        is_resting = check.queued > 0 and not check.connected
        if is_resting is not check.is_resting and not check.is_over:
            self._at_work += -1 if is_resting else 1
            check.is_resting = is_resting


def _is_idle(operation: Operation | None) -> bool:
    return isinstance(operation, Pause) and operation.is_idle


def _with_children(tasks: Iterable[Any]) -> Iterator[Any]:
    """Yield tasks, and those below them."""
    for task in tasks:
        yield task
        yield from _with_children(task.children)


def _has_connection(task: Task) -> bool:
    """Whether a task, or one above it, has a connection."""
    if task.transport is not None:
        return True
    return task.parent is not None and _has_connection(task.parent)
