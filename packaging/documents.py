"""Writes the man page and the shells' completions, all of them generated from the option table.

Below the folder of the first argument they are laid out as below ``/usr``. They are not in version
control: ``packaging/build`` makes them anew.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
import time
from pathlib import Path

import shtab

from check_smtp_health import __version__, definitions
from check_smtp_health.cli import PROGRAM
from check_smtp_health.config import manual
from check_smtp_health.config.option_table import GROUPS, OPTIONS, Option
from check_smtp_health.config.states import STATES
from check_smtp_health.output import FORMATS
from check_smtp_health.smtp.sasl import MECHANISMS

MAN_PAGE = f"share/man/man1/{PROGRAM}.1"

COMPLETIONS = {
    "bash": f"share/bash-completion/completions/{PROGRAM}",
    "zsh": f"share/zsh/site-functions/_{PROGRAM}",
    "fish": f"share/fish/vendor_completions.d/{PROGRAM}.fish",
}

NAME = "check that a mail server does its job, stage by stage"

SECTIONS = Path(__file__).with_name("man-sections")
"""What the tables do not know, in the language of troff; each section under its name."""

WORDS = {
    "--authtype": tuple(one.name for one in MECHANISMS),
    "--output-format": tuple(FORMATS),
    "--print-definition": tuple(definitions.FILES),
    "--proxy": ("v1", "v2"),
    "--tempfail": STATES,
    "--tls-min": ("1.0", "1.1", "1.2", "1.3"),
}
"""The words that an option's value is one of."""

FILES = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}
"""What an option's value names, by what the help calls it."""

# groff sets these as typographic marks, unless they are escaped.
_ESCAPES = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "~": r"\(ti", "^": r"\(ha"}


def man_page() -> str:
    """Return the man page, in the language of troff."""
    texts = SECTIONS.read_text()
    written = dict(re.findall(r"^\[=([^\]]+)\]\n(.*?)(?=^\[=|\Z)", texts, re.MULTILINE | re.DOTALL))
    now = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    title = f'.TH {PROGRAM.upper()} 1 "{time.strftime("%Y-%m-%d", now)}" "{PROGRAM} {__version__}"'
    rest = manual.USAGE.removeprefix(PROGRAM).strip()
    sections = {
        "name": f"{PROGRAM} \\- {NAME}\n",
        "synopsis": f".B {PROGRAM}\n{_escaped(rest)}\n",
        "description": written.pop("description"),
        "options": "".join(map(_man_group, *zip(*GROUPS))) + _man_ranges(),
        "exit status": written.pop("exit status"),
        "environment": written.pop("environment"),
        "examples": "".join(
            f".TP\n{_escaped(question)}\n.B {PROGRAM} {_escaped(given)}\n"
            for question, given in manual.EXAMPLES
        ),
        **written,
    }
    body = "".join(f".SH {name.upper()}\n{text}" for name, text in sections.items())
    return f'{title} "User Commands"\n{body}'


def _man_group(title: str, options: tuple[Option, ...]) -> str:
    return f".SS {title[:1].upper()}{title[1:]}\n" + "".join(map(_man_option, options))


def _man_option(option: Option) -> str:
    flags = ", ".join(rf"\fB{_escaped(flag)}\fR" for flag in option.flags)
    value = rf" \fI{_escaped(option.value)}\fR" if option.value else ""
    return f".TP\n{flags}{value}\n{_man_text(manual.about(option))}"


def _man_ranges() -> str:
    rows = (
        f".TP\n\\fB\\-w {_escaped(given)}\\fR\n{_man_text(meaning)}"
        for given, meaning in manual.RANGES
    )
    return ".SS Ranges\n" + "".join(rows)


def _man_text(text: str) -> str:
    """Return a text in lines of which none is taken for a request."""
    rows = (_escaped(row) for row in textwrap.wrap(text, 64, break_on_hyphens=False))
    return "".join(re.sub(r"^\.", r"\\&.", row) + "\n" for row in rows)


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def completion(shell: str) -> str:
    """Return what has that shell complete the options, and of their values words and files."""
    made = argparse.ArgumentParser(prog=PROGRAM, add_help=False)
    for option in OPTIONS:
        _add(made, option)
    return shtab.complete(made, shell)


def _add(made: argparse.ArgumentParser, option: Option) -> None:
    text = option.help.replace("%", "%%")
    if not option.value:
        action = "count" if option.repeatable else "store_true"
        made.add_argument(*option.flags, action=action, help=text)
        return
    added = made.add_argument(
        *option.flags,
        action="append" if option.repeatable else "store",
        # shtab does not quote it for zsh, to which a colon is the end of it.
        metavar=option.value.replace(":", r"\:"),
        choices=WORDS.get(f"--{option.name}"),
        help=text,
    )
    if option.value in FILES:
        added.complete = FILES[option.value]  # type: ignore[attr-defined]


def main(folder: Path) -> None:
    """Write them all below ``folder``."""
    texts = {MAN_PAGE: man_page()}
    texts.update((path, completion(shell)) for shell, path in COMPLETIONS.items())
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
