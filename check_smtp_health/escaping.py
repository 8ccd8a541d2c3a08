"""The one gate through which everything a peer said must pass before anyone sees it.

A peer's words pass ``printable``. Our own sentences pass ``harmless``, all of them and at the last
moment, because they quote names from DNS and certificates; so nobody has to remember it.
"""

from __future__ import annotations

import os

REPLY_LIMIT = 256
"""Characters shown of one reply: an operator reads one line, and Nagios keeps 8 KiB at most."""

STATUS_LIMIT = 1000 - len("SMTP CRITICAL - ")
"""Characters of the status line behind its state: Icinga DB Web shows no more than 1,000."""

# The bar starts perfdata; angle brackets are tags to web front ends, and Icinga Web colours
# every "[CRITICAL]" it finds, so neither may come from a server.
_UNTAGGED = {"<": "(", ">": ")"}
_HARMLESS = {**_UNTAGGED, "[": "(", "]": ")"}

_PLAIN = bytes(range(0x20, 0x7F)).translate(None, b"|<>[](\\")
"""Characters that nobody takes for anything else, alone or together."""


def keep_tags() -> None:
    """Let angle brackets be: at a terminal they are no tags, and are searched for in the log."""
    for bracket in "<>":
        del _HARMLESS[bracket], _UNTAGGED[bracket]


MARKS = ("OK", "WARNING", "CRITICAL", "UNKNOWN", "UP", "DOWN")
"""Words that Icinga Web takes for the mark of a state, in square brackets and in round ones."""


def printable(said: bytes | str, limit: int = REPLY_LIMIT) -> str:
    """Return what a peer said as one harmless line of at most ``limit`` characters.

    Bytes are decoded as UTF-8 with replacement. Newlines become `` / ``; whatever is not
    printable (controls, DEL, C1, bidi and other format characters, surrogates) an escape.
    """
    # No character shrinks below one, nor has more than four bytes: a longer prefix could not show.
    if isinstance(said, bytes):
        said = said.strip(b"\r\n")
        if len(said) <= limit and not said.translate(None, _PLAIN):
            return said.decode("ascii")  # most of what servers say
        said = said[: 8 * limit].decode("utf-8", "replace")
    line = said.strip("\r\n")[: 2 * limit].replace("\r\n", "\n").replace("\n", " / ")
    line = line[: limit + 1]
    return shortened(escaped(_unmarked(_replaced(line, _HARMLESS))), limit)


def harmless(sentence: str) -> str:
    """Return a sentence of ours as one harmless line, no matter whom it quotes.

    Brackets that are part of a folder's name or an address stay; those of a tag do not, nor those
    of the mark of a state.
    """
    return shortened(escaped(_unmarked(_replaced(sentence, _UNTAGGED))), STATUS_LIMIT)


def _replaced(line: str, brackets: dict[str, str]) -> str:
    """Return a line with other brackets; most have none, of which ``translate`` knows nothing."""
    for bracket, other in brackets.items():
        if bracket in line:
            line = line.replace(bracket, other)
    return line


def _unmarked(line: str) -> str:
    """Return a line in which no front end finds a line break or the mark of a state."""
    if "\\" in line:
        # To Icinga Web a backslash and an n are a line break, as they are in Icinga's own API.
        line = line.replace("\\n", "\\x5cn").replace("\\t", "\\x5ct")
    if "(" in line or "[" in line:
        for mark in MARKS:
            if mark in line:
                for opening in "([":
                    for closing in ")]":
                        line = line.replace(f"{opening}{mark}{closing}", f"({mark} )")
    return line


def shortened(line: str, limit: int) -> str:
    """Return ``line`` cut to ``limit`` characters, the last three of them dots where it was cut."""
    return line if len(line) <= limit else line[: limit - 3] + "..."


def quoted(given: str, limit: int = 80) -> str:
    """Return what the user gave, in quotes, as one line that cannot break the output.

    Unlike a peer's words the user's own stay as typed where they are printable.
    """
    dots = "..." if len(given) > limit else ""
    return f"'{escaped(given[:limit])}{dots}'"


def escaped(text: str) -> str:
    """Return our own words with only that escaped which would break the output."""
    text = text.replace("|", "\\x7c")
    return (
        text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)
    )


def has_controls(text: str | bytes) -> bool:
    """Whether there is a control character (C0, DEL, and of text C1), which may end a line.

    Bytes from 0x80 on are parts of characters.
    """
    if isinstance(text, bytes):
        return any(byte < 0x20 or byte == 0x7F for byte in text)
    return any(character < " " or "\x7f" <= character <= "\x9f" for character in text)


def octets(text: str) -> bytes:
    """Return a text as the bytes that it came from: UTF-8, and what was not UTF-8 as it was."""
    return text.encode("utf-8", "surrogateescape")


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def internal_error(error: Exception) -> str:
    """Return what is said of a bug: the kind of the exception, where it arose, and its text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
    # The text of a UnicodeError quotes what it was about, which might be a password.
    what = "" if isinstance(error, UnicodeError) else f": {printable(str(error))}"
    return f"internal error: {type(error).__name__}{where}{what}"
