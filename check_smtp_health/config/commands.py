"""``--command``, ``--response``: what is sent as it stands, and what the replies must contain.

Loaded where one is given.
"""

from __future__ import annotations

import re

from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import octets, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.getopt import Options

COMMAND_OCTETS = 510
"""Octets of a command line without CRLF (RFC 5321 section 4.5.3.1.4)."""


def build(options: Options) -> tuple[tuple[str, str | None], ...]:
    """Return each command, and the text that its reply must contain, where there is one.

    Raises:
        UsageFault: the first thing that is wrong.
    """
    lines = [_line(one) for one in options.all("command")]
    # An engine passes a missing macro as an empty text, which every reply contains.
    texts = [_response(text) if text else None for text in options.all("response")]
    if len(texts) > len(lines):
        raise UsageFault("response", f"{quoted(texts[len(lines)] or '')} has no matching -C")
    texts += [None] * (len(lines) - len(texts))
    return tuple(zip(lines, texts))


def _line(given: str) -> str:
    """Return a command line that the user wants to be sent."""
    if given.upper().startswith(("DATA", "BDAT")):
        raise UsageFault("command", f"{quoted(given)} would begin a message")
    is_sane = given.isprintable() and given.strip() == given and given
    if not is_sane or len(given.encode("utf-8")) > COMMAND_OCTETS:
        raise UsageFault(
            "command", f"{quoted(given)} is not a command line of 1 to {COMMAND_OCTETS} bytes"
        )
    return given


def _response(given: str) -> str:
    """Return the text, or regular expression, that a reply must contain.

    check_smtp refuses one that cannot be compiled, too: taken for a text, it might never be found.
    """
    try:
        re.compile(octets(given), re.MULTILINE)
    except (re.error, RecursionError, OverflowError) as error:
        reason = f": {error.msg}" if isinstance(error, re.error) else ""
        problem = f"{quoted(given)} is not a regular expression{reason}"
        raise UsageFault("response", problem) from error
    return given
