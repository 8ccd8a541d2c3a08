"""The misbehaving servers by name: what each does, and what the plugin must say of it.

``make faults`` shows them all, beside what check_smtp says, and writes docs/faults.md.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.servers.catalogue import (
    banner,
    commands,
    encryption,
    farewell,
    helo,
    implicit_tls,
    login,
    names,
    transaction,
    validity,
    way,
)
from tests.servers.catalogue.behaviour import (
    BANNER,
    EHLO,
    HELO,
    NAME,
    QUIT,
    Answer,
    Behaviour,
    Question,
)

__all__ = [
    "BANNER",
    "CATALOGUE",
    "EHLO",
    "GROUPS",
    "HELO",
    "NAME",
    "QUIT",
    "Answer",
    "Behaviour",
    "Group",
    "Question",
]


class Group(NamedTuple):
    """Rows that belong together; ``subject`` is what the rows' names are about."""

    title: str
    rows: tuple[Behaviour, ...]
    subject: str = "the server"


GROUPS = (
    Group("`resolve`", names.ROWS, "the name server"),
    Group("`connect`", way.CONNECTING, "on the way"),
    Group("The wire", way.ROWS, "on the way"),
    Group("`banner`", banner.ROWS),
    Group("`helo`", helo.ROWS),
    Group("`starttls`", encryption.STARTTLS),
    Group("`tls` after STARTTLS", encryption.HANDSHAKE),
    Group("`tls` after STARTTLS: the certificate", validity.ROWS),
    Group("`tls` from the first byte", implicit_tls.ROWS),
    Group("`auth`", login.ROWS),
    Group("`mail`", transaction.SENDERS),
    Group("`rcpt`", transaction.RECIPIENTS),
    Group("`relay`", transaction.RELAY),
    Group("`command`", commands.ROWS),
    Group("`quit`", farewell.QUITTING),
    Group("Words that must stay harmless", farewell.WORDS),
)

CATALOGUE = tuple(row for group in GROUPS for row in group.rows)
