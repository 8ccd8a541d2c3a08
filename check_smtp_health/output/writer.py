"""Takes answers one at a time, and brings them to where the user wants them, once all are there.

What the receiver does is no reason to fail: what could not be written is counted. A file is there
whole or not at all, and a pipe whose reader is slow, or not there, holds nobody up.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import stat

from check_smtp_health.escaping import harmless, quoted
from check_smtp_health.net.driver import Deadline
from check_smtp_health.output.answer import Loss

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from check_smtp_health.config.destination import Destination
    from check_smtp_health.output import Format
    from check_smtp_health.output.answer import Answer

LIMIT = 30.0
"""Seconds for all of it, after the checks: with a check's 10 s it is less than the 60 s that Icinga
and Nagios give a plugin."""

PIPE_BUF = 4096
"""Bytes that a pipe takes in one piece or not at all (pipe(7))."""

POLL = 0.1
"""Seconds between looks at whether a signal has come, while a pipe is full."""

PERMISSIONS = 0o666
"""Of a new file, before umask: its reader is another user, such as node_exporter's."""


class Writer:
    """Takes the answers of a run in one format, and writes them to a destination."""

    def __init__(self, form: Format, destination: Destination | None, limit: float = LIMIT) -> None:
        """Make ready; no answer is there yet. ``limit`` is how many seconds writing may take.

        Raises:
            UsageFault: the file with authorities cannot be used.
        """
        self._form = form
        self._record = form.record
        self._destination = destination
        self._limit = limit
        self._records: list[Any] = []
        self._unnamed = 0
        self._submission: Any = None
        if destination is not None and destination.api is not None:
            from check_smtp_health.output.submission import Submission

            self._submission = Submission(destination.api)

    def take(self, answer: Answer) -> None:
        """Keep what the format needs of an answer; one whose host has no name is lost."""
        if self._form.names == "both" and not answer.host:
            self._unnamed += 1
        else:
            self._records.append(self._record(answer))

    def document(self) -> Iterator[str]:
        """Give all that was taken as one text."""
        return self._form.document(self._records)

    def close(self, signals: Sequence[signal.Signals]) -> Loss:
        """Write what was taken, and return what was lost; ``signals`` interrupt it."""
        loss = self._written(signals) if self._records else Loss()
        if not self._unnamed:
            return loss
        problem = "no name of a host" + (f", {loss.problem}" if loss.problem else "")
        return Loss(loss.lost + self._unnamed, problem)

    def _written(self, signals: Sequence[signal.Signals]) -> Loss:
        deadline = Deadline(self._limit)
        if self._submission is not None:
            loss: Loss = self._submission.run(self._records, deadline, signals)
            return loss
        assert self._destination is not None
        path = self._destination.path
        pieces = [piece.encode("utf-8", "backslashreplace") for piece in self.document()]
        done = 0
        try:
            if _is_regular(path):
                _replace(path, b"".join(pieces))
                return Loss()
            for done in _pipe(path, pieces, deadline, signals):  # noqa: B007  # wanted where it ends early
                pass
        except OSError as error:
            lost = len(self._records)
            if self._form.has_lines:
                lost -= done
            reason = "nobody reads it" if error.errno == errno.ENXIO else error.strerror
            return Loss(lost, harmless(f"cannot write {quoted(path)}: {reason}"))
        return Loss()


def _is_regular(path: str) -> bool:
    """Whether there is a file that can be replaced, or none; links are followed.

    Raises:
        OSError: nobody can know.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        # A folder was meant that is not there; without the slash it would become a file.
        mode = stat.S_IFDIR if path.endswith("/") else stat.S_IFREG
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISSOCK(mode):
        raise OSError(errno.ENOTSUP, "it is a socket")
    return stat.S_ISREG(mode)


def _replace(path: str, data: bytes) -> None:
    """Put a new file in the place of the old one; readers see one of both.

    It has the old one's permissions and, as far as we may, its owner.

    Raises:
        OSError: that is not possible.
    """
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    # Hidden, and with another ending: those who read all files of a folder leave it alone.
    new = os.path.join(folder, f".{name[:50]}.{os.urandom(4).hex()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(new, flags, PERMISSIONS)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            _make_like(path, descriptor)
        os.replace(new, path)
    except OSError:
        os.unlink(new)
        raise


def _make_like(path: str, descriptor: int) -> None:
    """Give a new file the owner and the permissions of the old one, if there is one."""
    try:
        known = os.stat(path)
    except FileNotFoundError:
        return
    try:
        os.fchown(descriptor, known.st_uid, known.st_gid)
    except PermissionError:
        pass  # only root may give a file away
    os.fchmod(descriptor, stat.S_IMODE(known.st_mode))


def _pipe(
    path: str, pieces: Sequence[bytes], deadline: Deadline, signals: Sequence[signal.Signals]
) -> Iterator[int]:
    """Write to a pipe, or a device, as it has room; give how many pieces have gone.

    As many pieces as a pipe takes at once go together: none is torn apart by other writers.

    Raises:
        OSError: nobody reads it, or not fast enough, or a signal came.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        at = 0
        while at < len(pieces):
            end, data = at + 1, pieces[at]
            while end < len(pieces) and len(data) + len(pieces[end]) <= PIPE_BUF:
                data += pieces[end]
                end += 1
            _write(descriptor, data, deadline, signals)
            at = end
            yield at
    finally:
        os.close(descriptor)


def _write(
    descriptor: int, data: bytes, deadline: Deadline, signals: Sequence[signal.Signals]
) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            _await_room(descriptor, deadline, signals)


def _await_room(descriptor: int, deadline: Deadline, signals: Sequence[signal.Signals]) -> None:
    """Wait until a pipe has room.

    Raises:
        OSError: it has none in time, or a signal came: they are blocked, so it has to be looked
            for.
    """
    while not select.select((), (descriptor,), (), min(deadline.remaining(), POLL))[1]:
        came = signal.sigpending() & set(signals)
        if came:
            raise OSError(errno.EINTR, f"interrupted by {min(came).name}")
        if not deadline.remaining():
            problem = f"its reader stopped reading, after {deadline.seconds:g} s"
            raise OSError(errno.EAGAIN, problem)
