"""How to get the access tokens of a run, and the tokens themselves. ``token`` gets them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.accounts import OAuth
    from check_smtp_health.net.https import Client


class Tokens:
    """How to get the tokens of a run, for AUTH and for the mailboxes, and those that were found.

    The two may be one. ``found`` are those that were got.
    """

    __slots__ = ("client", "found", "login", "mailbox")

    def __init__(self, client: Client, login: OAuth | None, mailbox: OAuth | None) -> None:
        self.client = client
        self.login = login
        self.mailbox = mailbox
        self.found: list[tuple[OAuth, str]] = []

    def of(self, asked: OAuth | None) -> str | None:
        """Return the token that was found in this way, None where there is none."""
        return next((token for one, token in self.found if one is asked), None)
