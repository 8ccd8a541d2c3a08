"""What is said of a keyword that a server does not offer, or that a firewall has masked.

Loaded where one is missed.
"""

from __future__ import annotations

from check_smtp_health.errors import NotOffered
from check_smtp_health.smtp import firewall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.stages.state import ProbeState


def not_offered(state: ProbeState, what: str, hint: str = "") -> NotOffered:
    """Return the fault of what is not offered, and who may be to blame for that."""
    masked = masked_by(state)
    return NotOffered(f"{what} is not offered{hint}{masked}", reason="masked" if masked else "")


def masked_by(state: ProbeState) -> str:
    """Return what a firewall has made of the server's words, empty where none has."""
    found = firewall.masked(state.names.get("banner", b""), state.connection.session.keywords)
    return f" (a firewall masks the server's words: {', '.join(found)})" if found else ""
