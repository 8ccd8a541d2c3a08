"""What was observed of a message: how it came."""

from __future__ import annotations

from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.report.tls import Certificate


class Hop(NamedTuple):
    """A server on a message's way, raw, and the seconds since the one before it.

    The seconds are None where a date is missing, and less than 0 where clocks differ.
    """

    host: str
    seconds: float | None


class Delivery(NamedTuple):
    """How a message came, raw: where it was seen, the servers on its way, what they said of it.

    ``authentication`` has the results of methods (SPF, DKIM, DMARC), ``spam`` the fields that spam
    filters left; ``notes`` are our own words about the clean-up; ``certificates`` are those of the
    mailboxes' servers.
    """

    places: tuple[str, ...]
    hops: tuple[Hop, ...] = ()
    authentication: tuple[tuple[str, str], ...] = ()
    spam: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    certificates: tuple[Certificate, ...] = ()
