"""The help in words: all options for ``--help``, those that matter for ``-h``; examples, ranges.

The man page is made of the same tables.
"""

from __future__ import annotations

import textwrap

from check_smtp_health.config.option_table import GROUPS, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from check_smtp_health.config.option_table import Option

USAGE = "check_smtp_health -H HOST [options]"

ABOUT = "Check that a mail server does its job, and say which stage fails if not."

MATTER = (
    *("hostname", "port", "starttls", "ssl", "authuser", "authpass-file", "rcpt", "warning"),
    *("critical", "verbose"),
)
"""The options that ``-h`` shows: with these a first check can be written."""

EXAMPLES = (
    ("Does the server answer within a second?", "-H mx.example.org -w 1 -c 5"),
    ("Does STARTTLS work, and is the certificate good?", "-H mx.example.org -S"),
    (
        "Can a user log in? The first line of the file is the password.",
        "-H mail.example.org -p submission -S -U monitor --authpass-file FILE",
    ),
    ("What takes so long, and what does the server say?", "-H mx.example.org -S -vv"),
    (
        "Does it accept mail for us, and refuse mail for others?",
        "-H mx.example.org --rcpt postmaster@example.org --no-relay a@example.net",
    ),
    ("Are all mail servers of a domain well?", "-H example.org --mx -S"),
    (
        "Does a message arrive in its mailbox?",
        "-H mx.example.org --rcpt probe@example.org --deliver "
        "--mailbox imaps://probe@imap.example.org --mailbox-pass-file FILE",
    ),
    ("Which definitions does Icinga 2 need?", "--print-definition icinga2"),
)
"""Questions, and the command that answers each; the first of them are those of ``-h``."""

FIRST = 4

RANGES = (
    ("5", "0 to 5 is fine; anything else raises an alert"),
    ("10:", "10 or more is fine"),
    ("'~:5'", "5 or less is fine, and so are negative numbers; the shell needs the quotes"),
    ("1:5", "1 to 5 is fine"),
    ("@1:5", "1 to 5 raises an alert; anything else is fine"),
    ("helo=0.5", "seconds for one stage; several: -w 2,helo=0.5,banner=1"),
)
"""What may stand behind ``-w`` and ``-c``, in seconds unless it is for something else."""

EXIT_CODES = "Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN."

LEAST, MOST = 80, 100
"""Columns: a narrower window is for nobody who reads help, longer lines are hard to read."""

INDENT = 24
"""Column at which the text about an option begins."""


def full(columns: int) -> str:
    """Return the whole help, for a window that wide."""
    width = min(max(columns, LEAST), MOST)
    sections = [(title, _options(options, width)) for title, options in GROUPS]
    return _joined(
        *_head(width),
        *(f"{title}:\n{text}" for title, text in sections),
        f"examples:\n{_examples(EXAMPLES, width)}",
        "ranges, for -w and -c:\n" + "\n".join(_ranges(width)),
        EXIT_CODES,
    )


def short(columns: int) -> str:
    """Return the help that fits one screen, for a window that wide."""
    width = min(max(columns, LEAST), MOST)
    options = [option for name in MATTER for option in OPTIONS if option.name == name]
    return _joined(
        *_head(width),
        f"the most important options:\n{_options(map(_brief, options), width)}",
        f"examples:\n{_examples(EXAMPLES[:FIRST], width)}",
        f"All options and more examples: check_smtp_health --help\n{EXIT_CODES}",
    )


def _joined(*paragraphs: str) -> str:
    return "\n\n".join(paragraphs) + "\n"


def _head(width: int) -> tuple[str, str]:
    return f"usage: {USAGE}", textwrap.fill(ABOUT, width)


def _brief(option: Option) -> Option:
    """Return an option with the first part of what there is to say about it."""
    return option._replace(help=option.help.partition(";")[0], repeatable=False)


def about(option: Option) -> str:
    """Return what an option is for, in words."""
    return f"{option.help} (repeatable)" if option.repeatable else option.help


def flags(option: Option) -> str:
    """Return the flags of an option, and its value."""
    return ", ".join(option.flags) + (f" {option.value}" if option.value else "")


def _options(options: Iterable[Option], width: int) -> str:
    return "\n".join(_row(flags(option), about(option), INDENT, width) for option in options)


def _row(name: str, text: str, indent: int, width: int) -> str:
    """Return a row of two columns; a name that is too long for its own has a line of its own."""
    rows = textwrap.wrap(text, width - indent, break_on_hyphens=False)
    first = f"  {name:<{indent - 4}}  {rows.pop(0)}" if len(name) <= indent - 4 else f"  {name}"
    return "\n".join((first, *(" " * indent + row for row in rows)))


def _examples(examples: Iterable[tuple[str, str]], width: int) -> str:
    return "\n".join(f"  {question}\n{_command(given, width)}" for question, given in examples)


def _command(given: str, width: int) -> str:
    rows = textwrap.wrap(f"check_smtp_health {given}", width - 8, break_on_hyphens=False)
    return "    " + " \\\n        ".join(rows)


def _ranges(width: int) -> Iterator[str]:
    for given, meaning in RANGES:
        yield _row(f"-w {given}", meaning, 16, width)
