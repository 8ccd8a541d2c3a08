"""Writes the man page and the shells' completions, all of them generated from the option table.

Below the folder of the first argument they are laid out as below ``/usr``. They are not in version
control: ``packaging/build`` makes them anew.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage

from check_smtp_health import __version__, definitions
from check_smtp_health.cli import PROGRAM, parser
from check_smtp_health.config.parsers import STATES
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
"""What the option table does not know."""

WORDS = {
    "--authtype": tuple(one.name for one in MECHANISMS),
    "--output-format": tuple(FORMATS),
    "--print-definition": tuple(definitions.FILES),
    "--proxy": ("v1", "v2"),
    "--tempfail": STATES,
    "--tls-min": ("1.0", "1.1", "1.2", "1.3"),
}
"""The words that an option's value is one of."""


def man_page() -> str:
    """Return the man page, in the language of troff."""
    made = parser()
    made.description = made.epilog = None
    titles = [group.title or "" for group in made._action_groups if group._group_actions]
    # It leaves --help out, which is told by its flags.
    (helping,) = (action for action in made._actions if "--help" in action.option_strings)
    helping.option_strings = ["-h", "--help "]
    facts = {"description": NAME, "version": __version__, "manual_title": "User Commands"}
    page = str(Manpage(made, {**facts, "include": str(SECTIONS)}))
    page = page.replace(r"\-\-help \fR", r"\-\-help\fR")
    for title in titles:
        heading = f"\n.SS {title[:1].upper()}{title[1:]}\n"
        page = page.replace(f"\n.SH {title.upper()}\n", heading, 1)
    page = page.replace("\n.SS ", "\n.SH OPTIONS\n.SS ", 1)
    head, _, rest = page.partition("\n")
    page = head.replace(r"\-", "-") + "\n" + rest  # or mandoc does not know the date
    # groff sets these as typographic marks, and takes a line that begins with ' for a request.
    return page.translate({ord("'"): r"\(aq", ord("~"): r"\(ti", ord("^"): r"\(ha"})


def completion(shell: str) -> str:
    """Return what has that shell complete the options, and of their values words and files."""
    made = parser()
    for action in made._actions:
        for flag in action.option_strings:
            action.choices = WORDS.get(flag, action.choices)
        if action.metavar == "FILE":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        # shtab does not quote it for zsh, to which a colon is the end of it.
        action.metavar = str(action.metavar or "").replace(":", r"\:") or None
    return shtab.complete(made, shell)


def main(folder: Path) -> None:
    """Write them all below ``folder``."""
    os.environ["COLUMNS"] = (
        "72"  # argparse wraps text at the terminal's width, man pages at 80 bytes
    )
    texts = {MAN_PAGE: man_page()}
    texts.update((path, completion(shell)) for shell, path in COMPLETIONS.items())
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
