"""Reads the commands and their variables from ``icinga2-commands.conf``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Variable(NamedTuple):
    """A custom variable: what it is for, and what it holds.

    ``kind`` is ``switch``, ``list`` or ``text``; a secret is a text.
    """

    name: str
    description: str
    kind: str
    is_secret: bool = False


class Command(NamedTuple):
    """A CheckCommand: its comment, its time limit in seconds, and all its variables."""

    name: str
    comment: str
    timeout: int
    variables: tuple[Variable, ...]


def read(path: Path) -> list[Command]:
    """Return the commands in the order of the file; each but the first imports the first."""
    text = path.read_text()
    found = re.findall(
        r'^((?:// [^\n]*\n)*)object CheckCommand "(\w+)" \{\n(.*?)^\}$',
        text,
        re.MULTILINE | re.DOTALL,
    )
    _, _, first = found[0]
    variables = _variables(first)
    return [
        Command(
            name,
            " ".join(re.findall(r"^// (.*)$", comment, re.MULTILINE)),
            _timeout(body) or _timeout(first),
            variables,
        )
        for comment, name, body in found
    ]


def _variables(body: str) -> tuple[Variable, ...]:
    arguments = re.findall(r'^\t\t"--[\w-]+" = \{\n(.*?)^\t\t\}$', body, re.MULTILINE | re.DOTALL)
    secrets = re.findall(r'^\t// (.*)\n\tenv\.\w+ = "\$(\w+)\$"$', body, re.MULTILINE)
    return (
        *map(_variable, arguments),
        *(Variable(name, description, "text", True) for description, name in secrets),
    )


def _variable(argument: str) -> Variable:
    ((key, name),) = re.findall(r'^\t\t\t(value|set_if) = "\$(\w+)\$"$', argument, re.MULTILINE)
    (description,) = re.findall(r'^\t\t\tdescription = "(.*)"$', argument, re.MULTILINE)
    kind = "switch" if key == "set_if" else "list" if "repeat_key = true" in argument else "text"
    return Variable(name, description, kind)


def _timeout(body: str) -> int:
    found = re.search(r"^\ttimeout = (\d+)([sm])$", body, re.MULTILINE)
    return int(found[1]) * {"s": 1, "m": 60}[found[2]] if found else 0
