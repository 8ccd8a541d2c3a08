"""What was observed of TLS: what a handshake agreed on, and the certificates."""

from __future__ import annotations

from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from check_smtp_health.report import Finding

    Key = Literal["", "RSA", "ECDSA"]


class Certificate(NamedTuple):
    """What a server's certificate says, raw. Dates are in UTC; ``names`` are those it is for.

    ``days`` are the whole days that it is still valid, or, negative, has no longer been;
    ``days_until_valid`` those until it becomes valid. ``left`` and ``lifetime`` are in days, too,
    with their fractions; ``term`` is the lifetime of the certificate that the chain is for, where
    that is shorter: once it is renewed, it may have a chain of its own. ``role`` is what it is in
    a chain, empty for the server's own; ``origin`` where it comes from, where the server did not
    show it, ``host`` whose it is, where that is not the server of the session, ``key`` the kind of
    key by which it was asked for.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: str
    not_after: str
    is_expired: bool
    is_early: bool
    days: int
    days_until_valid: int
    left: float = 0.0
    lifetime: float = 0.0
    term: float = 0.0
    role: Literal["", "intermediate", "root"] = ""
    origin: Literal["", "authorities"] = ""
    host: str = ""
    key: Key = ""

    @property
    def expiry(self) -> str:
        """When it expires or expired, in words."""
        if self.is_expired:
            ago = f"{_counted(-self.days)} ago" if self.days else "today"
            return f"expired {ago}, {self.not_after}"
        when = f"in {_counted(self.days)}" if self.days else "today"
        return f"expires {when}, {self.not_after}"

    @property
    def beginning(self) -> str:
        """When it becomes valid, in words."""
        days = self.days_until_valid
        when = f"in {_counted(days)}" if days else "today"
        return f"not valid before {self.not_before}, {when}"


def _counted(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


class TlsFacts(NamedTuple):
    """What a handshake agreed on. ``certificate`` is None where it could not be read.

    Then ``unread`` is what is to be said of that. ``issuers`` are the other certificates that it
    stands on: those that the server showed, and the authority's. ``is_pinned`` says that the dates
    do not matter, see ``PolicyResult``.
    """

    version: str
    cipher: str
    certificate: Certificate | None = None
    unread: Finding | None = None
    is_pinned: bool = False
    issuers: tuple[Certificate, ...] = ()
