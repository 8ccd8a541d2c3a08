"""A terminal's window: runs the plugin on a pseudo-terminal, and shows the screen it leaves."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pyte

from tests import plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROWS = 30

PATIENCE = 10.0
"""Seconds that a run may take to show something."""


class Window:
    """The window of one run, which is begun when this is made.

    ``written`` is all that was written, ``keyboard`` takes what is typed.
    """

    def __init__(
        self,
        *arguments: str,
        columns: int = 80,
        environment: Mapping[str, str] | None = None,
        command: tuple[str, ...] = (str(plugin.SCRIPT),),
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        self.keyboard, terminal = pty.openpty()
        self._screen = pyte.Screen(columns or 80, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self.resize(columns)
        self.written = b""
        own = {name: text for name, text in os.environ.items() if name not in ("NO_COLOR", "TERM")}
        self.process = subprocess.Popen(
            # So that what is typed reaches it as a signal.
            ["setsid", "--ctty", *command, *arguments],
            stdin=terminal,
            stdout=terminal if stdout is None else stdout,
            stderr=terminal if stderr is None else stderr,
            env={**own, "TERM": "xterm", **(environment or {})},
        )
        os.close(terminal)

    def resize(self, columns: int) -> None:
        """Make the window so wide."""
        size = struct.pack("HHHH", ROWS, columns, 0, 0)
        fcntl.ioctl(self.keyboard, termios.TIOCSWINSZ, size)
        self._screen.resize(ROWS, columns or 80)

    @property
    def rows(self) -> list[str]:
        """What stands in the window, times as ``#`` and bars by their length."""
        rows = [row.rstrip() for row in self._screen.display]
        text = re.sub(r"[█░]+", lambda bar: f"<{len(bar[0])}>", "\n".join(rows).rstrip())
        text = re.sub(r" *\b\d+\.\d{6} s(?= <)", " # s", text)
        text = re.sub(r"\b\d+\.\d{6}s\b", "#s", text)
        return re.sub(r"\b(?:\d+\.\d{3} s|[\d.]+ ms)\b", "# s", text).split("\n")

    def colours(self, row: int) -> list[tuple[str, str]]:
        """Return what is coloured in a row, and how."""
        cells = [self._screen.buffer[row][column] for column in range(self._screen.columns)]
        found: list[tuple[str, str]] = []
        before = "default"
        for cell in cells:
            if cell.fg != "default":
                text = found.pop()[1] if cell.fg == before else ""
                found.append((cell.fg, text + cell.data))
            before = cell.fg
        return found

    def until(self, is_shown: Callable[[list[str]], bool]) -> list[str]:
        """Return what stands in the window as soon as that is shown."""
        limit = time.monotonic() + PATIENCE
        while not is_shown(self.rows):
            assert time.monotonic() < limit, self.rows
            assert self._read(), self.rows
        return self.rows

    def end(self) -> int:
        """Wait for the end of the run, and return its exit code."""
        while self._read():
            pass
        os.close(self.keyboard)
        return self.process.wait()

    def _read(self) -> bool:
        """Take what has been written; return whether more may come."""
        if not select.select([self.keyboard], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self.keyboard, 65536)
        except OSError:
            return False  # Linux says EIO once nobody has the terminal open
        self.written += data
        self._stream.feed(data)
        return bool(data)
