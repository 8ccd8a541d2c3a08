"""A terminal of 80 columns, drawn as a page: what the plugin writes to one, escapes and all."""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import shlex
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

from tests.plugin import SCRIPT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.screenshots.mail import World

ROWS, COLUMNS = 24, 80

PAGE = """<!doctype html>
<meta charset="utf-8">
<style>
  body {{ margin: 0; padding: 12px 16px; background: #1c2128; color: #d8dee4 }}
  pre {{ margin: 0; font: 14px/17px "DejaVu Sans Mono", monospace; width: {columns}ch }}
  .red {{ color: #ff6b6b }} .green {{ color: #57d977 }} .yellow {{ color: #f5d547 }}
  .magenta {{ color: #d58cf0 }} .bold {{ font-weight: bold }} .dim {{ opacity: .55 }}
</style>
<pre>{screen}</pre>
"""

STYLES = {
    1: "bold",
    2: "dim",
    31: "red",
    32: "green",
    33: "yellow",
    35: "magenta",
    91: "red",
    92: "green",
    93: "yellow",
    95: "magenta",
}
"""What ``ESC [ n m`` means, as far as it is used here; others are an error."""


def draw(world: World, host: str) -> Path:
    """Check a host with ``-v``; return the page of the terminal in which that was done."""
    command = (SCRIPT.name, *world.options(host), "-v")
    written = _written([str(SCRIPT), *command[1:]], world)
    rows = _wrapped(f"$ {shlex.join(command)}\n{written.rstrip()}\n$ \u2588")
    page = world.folder / f"terminal-{host}.html"
    page.write_text(PAGE.format(columns=COLUMNS, screen="\n".join(rows)))
    return page


def _written(command: list[str], world: World) -> str:
    """Return what a command writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
    environment = {"PATH": os.defpath, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=world.folder,
        env={**environment, **world.environment},
    ):
        os.close(theirs)
        written = b""
        while True:
            try:
                written += os.read(ours, 4096)
            except OSError:  # how Linux says that nobody has the other end open any more
                break
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


def _wrapped(text: str) -> list[str]:
    """Return the rows as HTML, broken at the last column as a terminal breaks them."""
    rows, row, column, styles = [], "", 0, ""
    for escape, character in re.findall(r"(\x1b\[[\d;]*m|\r|\x1b\[K)|(.|\n)", text):
        if escape.endswith("m"):
            numbers = [int(number or 0) for number in escape[2:-1].split(";")]
            styles = " ".join(STYLES[number] for number in numbers if number)
        elif escape:  # a line that says what is waited for is erased by these
            row, column = "", 0
        elif character == "\n":
            rows.append(row)
            row, column = "", 0
        else:
            if column == COLUMNS:
                rows.append(row)
                row, column = "", 0
            one = html.escape(character)
            row += f'<span class="{styles}">{one}</span>' if styles else one
            column += 1
    return [*rows, row]
