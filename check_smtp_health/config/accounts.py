"""Who logs in, to the server and to mailboxes: groups of settings that few runs have."""

from __future__ import annotations

from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from check_smtp_health.config.mailbox_url import Mailbox
    from check_smtp_health.report import Host


class Secret:
    """A password that cannot be printed by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the password itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not to be copied or stored")


class OAuth(NamedTuple):
    """How to get an access token (RFC 6749): from ``path`` on ``host``, by HTTPS.

    ``fields`` are the form that is sent, without its secrets; those are in ``secrets``.
    """

    host: Host
    port: int
    path: str
    fields: tuple[tuple[str, str], ...]
    secrets: tuple[tuple[str, Secret], ...]


class Login(NamedTuple):
    """``mechanism`` is None where the best is to be chosen.

    ``oauth`` is how to get an access token, which is then the password.
    """

    user: str
    password: Secret
    mechanism: str | None = None
    may_show_password: bool = False
    """Whether a mechanism may be used that sends the password in plain text: in TLS, for one."""
    oauth: OAuth | None = None


class RoundTrip(NamedTuple):
    """A message to send, and where to look for it within ``timeout`` seconds.

    ``clean`` are further folders to delete copies from; with ``takes_replies`` an answer to the
    message is as good as the message. ``oauth`` is how to get an access token, which is then the
    password.
    """

    mailboxes: tuple[Mailbox, ...] = ()
    password: Secret | None = None
    timeout: float = 60.0
    require_auth_results: tuple[str, ...] = ()
    may_show_password: bool = False
    """Whether the password may be sent without TLS."""
    clean: tuple[Mailbox, ...] = ()
    takes_replies: bool = False
    oauth: OAuth | None = None
