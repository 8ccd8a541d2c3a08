"""How the access tokens of a run are got, and what came of it. ``token`` gets them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.settings import OAuth
    from check_smtp_health.net.https import Client


class Tokens:
    """How the tokens of a run are got, for AUTH and for the mailboxes, and what came of it.

    The two may be one. ``found`` are those that were got.
    """

    __slots__ = ("client", "found", "login", "mailbox")

    def __init__(self, client: Client, login: OAuth | None, mailbox: OAuth | None) -> None:
        self.client = client
        self.login = login
        self.mailbox = mailbox
        self.found: list[tuple[OAuth, str]] = []

    def of(self, asked: OAuth | None) -> str | None:
        """Return the token that was got in this way, None where there is none."""
        return next((token for one, token in self.found if one is asked), None)
