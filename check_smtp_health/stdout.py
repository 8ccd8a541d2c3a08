"""Standard output: the answer's way out, in bytes for engines, to a reader who may be slow.

What is written is ASCII, or in an encoding that extends it: engines look for bars and line ends as
bytes, and in some encodings those are parts of characters that a server can choose.
"""

from __future__ import annotations

import os
import signal
import sys

PIPE_LEAST = 4096
"""Bytes that every pipe takes before it blocks."""

PIPE_USUAL = 64 * 1024
"""Those that most take (pipe(7)); less is not asked for."""

PIPE_MOST = 1024 * 1024
"""Those that are asked for at most: what Linux gives to anybody (/proc/sys/fs/pipe-max-size)."""

STALLED = 1.0
"""Seconds for which a reader who has begun to read a long answer may pause."""

BLOCK = 16 * 1024
"""Characters that are encoded at once."""

PLACE = "@@"
"""What stands for the problem in a last word, which must be ready before it is needed."""

POLL = 0.01
"""Seconds between looks at whether the reader has begun to read."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HIGH = bytes(range(128, 256))
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux, which fcntl names from Python 3.10 on


class _Last:
    """The last word and its exit code; a signal handler has nobody else to ask."""

    word = f"SMTP UNKNOWN - {PLACE}\n".encode()
    code = 3
    before = b""
    is_busy = False
    late = ""


def is_terminal() -> bool:
    """Whether a person sees what is written, on a terminal whose cursor can be moved."""
    return os.isatty(1) and os.isatty(2) and os.environ.get("TERM") != "dumb"


def erase_first() -> None:
    """Have the last word written over a line that may be half full."""
    _Last.before = b"\r\x1b[K"


def last_word(answer: str, code: int = 3) -> None:
    """Make ready what is said, by ``give_up``, where the run comes to no other end."""
    _Last.word, _Last.code = encoded(answer), code


def give_up(problem: str) -> int:
    """Write the last word, with the problem in its place, and return the exit code.

    Nothing is written if standard output is full: that would block.
    """
    if _Last.word and _is_writable():
        os.write(1, _Last.before + _Last.word.replace(PLACE.encode(), problem.encode()))
    return _Last.code


def _is_writable() -> bool:
    """Whether standard output takes more; too early to load what can tell, it is still empty."""
    try:
        import select
    except (ImportError, MemoryError, OSError):
        return True
    return bool(select.select((), (1,), (), 0)[1])


def encoded(answer: str) -> bytes:
    """Return an answer as it is written; what the encoding lacks becomes an escape."""
    try:
        data = answer.encode(sys.stdout.encoding, "backslashreplace")
        said = data.decode(sys.stdout.encoding)
        if data.translate(None, _HIGH) == said.encode("ascii", "ignore"):
            return data
    except (UnicodeError, LookupError):
        pass  # such as "idna", which is not an encoding for texts
    return answer.encode("ascii", "backslashreplace")


def can_say(text: str) -> bool:
    """Whether a text is written as it is."""
    return b"\\" not in encoded(text)


def write(answer: Iterable[str], short: str = "", code: int = 3) -> None:
    """Write an answer; if nobody begins to read it, the ``short`` one is written in the end.

    The answer comes in pieces; no more of them are held than fit into a pipe. While none is
    written, the short one is the last word. ``code`` is the exit code that either has.

    Raises:
        OSError: it cannot be written.
    """
    brief = encoded(short)
    if brief:
        _Last.word, _Last.code = brief, code
    rest = _blocks(answer)
    data = b""
    for block in rest:
        data += block
        if len(data) > PIPE_MOST:
            break
    if len(data) > PIPE_LEAST and not _has_room(len(data)):
        data = data[_write_beginning(data, brief) :]
        _Last.code = code
        _await_reader()
    _Last.word, _Last.code = b"", code
    _write(data)
    del data
    for block in rest:
        # Half an answer is useless: a reader who has begun may go on after the deadline.
        signal.setitimer(signal.ITIMER_REAL, STALLED)
        _write(block)


def _blocks(answer: Iterable[str]) -> Iterator[bytes]:
    """Give an answer as it is written, in fewer pieces: encoding each one would be slow."""
    pieces: list[str] = []
    size = 0
    for piece in answer:
        pieces.append(piece)
        size += len(piece)
        if size > BLOCK:
            yield encoded("".join(pieces))
            pieces, size = [], 0
    yield encoded("".join(pieces))


def must_wait(problem: str) -> bool:
    """Whether the last word has to wait, since just now the beginning of it is written.

    It is said then, as soon as that is known, and the process ended.
    """
    if _Last.is_busy:
        _Last.late = problem
    return _Last.is_busy


def _write_beginning(data: bytes, brief: bytes) -> int:
    """Write how both answers begin, leave the rest of the short one to say; return its length.

    Amid that a handler would say the beginning twice, or never. It does not take long: nothing is
    written where it might block.
    """
    import itertools

    same = (one == other for one, other in zip(data, brief[:PIPE_LEAST]))
    begun = sum(itertools.takewhile(bool, same))
    if not _is_writable():
        return 0
    _Last.is_busy = True
    _write(data[:begun])
    _Last.word = brief[begun:]
    _Last.is_busy = False
    if _Last.late:
        os._exit(give_up(_Last.late))
    return begun


def _has_room(size: int) -> bool:
    """Whether a pipe can take so many bytes at once, however late its reader is.

    Anything but a pipe is written to at once. An answer over the largest size may be longer still.
    """
    import fcntl

    try:
        fcntl.fcntl(1, _SET_PIPE_SIZE, min(max(size, PIPE_USUAL), PIPE_MOST))
    except PermissionError:  # more than /proc/sys/fs/pipe-max-size
        return False
    except OSError:
        return True
    return size <= PIPE_MOST


def _await_reader() -> None:
    """Wait until the pipe is empty: from then on the reader is there."""
    import fcntl
    import select
    import termios

    while any(fcntl.ioctl(1, termios.FIONREAD, bytes(4))):
        select.select((), (), (), POLL)


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(1, rest) :]
