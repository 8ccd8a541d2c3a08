"""Files that the user names; only regular ones, because reading others may never end.

Opening a FIFO waits for somebody to write, and reading a device may never end.
"""

from __future__ import annotations

import os
import stat

from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.loading import shared


def read(option: str, path: str, limit: int, *, is_secret: bool = False) -> bytes:
    """Return at most ``limit`` bytes of a file; a secret one must not be readable by everyone.

    Raises:
        UsageFault: it cannot be read, is not a regular file, or is not secret.
    """
    return shared(_read, option, path, limit, is_secret)


def _read(option: str, path: str, limit: int, is_secret: bool) -> bytes:  # noqa: FBT001
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            mode = os.fstat(file.fileno()).st_mode
            _need_regular(option, path, mode)
            if is_secret and mode & stat.S_IROTH:
                raise UsageFault(
                    option, f"{quoted(path)} can be read by everyone, run chmod o-r on it"
                )
            return file.read(limit)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageFault(option, f"cannot read {quoted(path)}: {reason}") from error


def need_regular(option: str, path: str) -> None:
    """Check that a file which a library is going to open is a regular one.

    Raises:
        UsageFault: it is not a regular file. A missing one is reported by whoever opens it.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    _need_regular(option, path, mode)


def _need_regular(option: str, path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise UsageFault(option, f"{quoted(path)} is not a regular file")
