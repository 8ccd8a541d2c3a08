"""The one gate through which everything a peer said must pass before anyone sees it."""

from __future__ import annotations

REPLY_LIMIT = 256
"""Characters shown of one reply: an operator reads one line, and Nagios keeps 8 KiB at most."""

STATUS_LIMIT = 1000 - len("SMTP CRITICAL - ")
"""Characters of the status line behind its state: Icinga DB Web shows no more than 1,000."""

# The bar starts perfdata; angle brackets are tags to web front ends, and Icinga Web colours
# every "[CRITICAL]" it finds, so neither may come from a server.
_HARMLESS = str.maketrans({"<": "(", ">": ")", "[": "(", "]": ")"})

MARKS = ("OK", "WARNING", "CRITICAL", "UNKNOWN", "UP", "DOWN")
"""Words that Icinga Web takes for the mark of a state, in square brackets and in round ones."""


def printable(said: bytes | str, limit: int = REPLY_LIMIT) -> str:
    """Return what a peer said as one harmless line of at most ``limit`` characters.

    Bytes are decoded as UTF-8 with replacement. Newlines become `` / ``; whatever is not
    printable (controls, DEL, C1, bidi and other format characters, surrogates) an escape.
    """
    if isinstance(said, bytes):
        said = said.decode("utf-8", "replace")
    # No character shrinks below one, so a longer prefix could not show.
    line = said.strip("\r\n")[: 2 * limit].replace("\r\n", "\n").replace("\n", " / ")
    line = line.translate(_HARMLESS)
    if "\\" in line:
        # To Icinga Web a backslash and an n are a line break, as they are in Icinga's own API.
        line = line.replace("\\n", "\\x5cn").replace("\\t", "\\x5ct")
    if "(" in line:
        for mark in MARKS:
            line = line.replace(f"({mark})", f"({mark} )")
    return shortened(escaped(line), limit)


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


def octets(text: str) -> bytes:
    """Return a text as the bytes that it came from: UTF-8, and what was not UTF-8 as it was."""
    return text.encode("utf-8", "surrogateescape")


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
