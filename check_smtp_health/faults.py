"""Faults of what a run may ask beside a plain session: TLS, name servers, policies, mailboxes.

Branches of the tree in ``errors``, in a module of their own: a plain check does not load them.
"""

from __future__ import annotations

from check_smtp_health.errors import CheckFault, LocalFault, PeerFault, Violation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from check_smtp_health.errors import Kind


class UnusableFile(CheckFault):
    """A file that is needed for TLS cannot be used; ``field`` is the field that names it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem


class NotValidating(LocalFault):
    """The name servers that this run asks do not validate DNSSEC, so that nothing is secure."""


class DnsUnanswered(PeerFault):
    """No name server answers a question, or all refuse to; the question is the ``subject``."""

    kind = "unanswered"


class DnsFailed(DnsUnanswered):
    """A name server answers that it cannot find out (SERVFAIL), as where DNSSEC is broken."""


class NoPolicy(PeerFault):
    """There is no policy of the kind that was asked for, or it cannot be followed."""

    kind: ClassVar[Kind] = "no_policy"


class UntestedPolicy(NoPolicy):
    """The policy is malformed, but says that it is only being tested."""

    kind = "misconfigured"


class Insecure(PeerFault):
    """DNSSEC does not vouch for records that count only if it does."""

    kind = "insecure"


class Injected(Violation):
    """Plaintext came where TLS was due; ``where`` completes "unexpected plaintext ...".

    An attacker may have sent it, not the server (CVE-2021-22947, NO STARTTLS).
    """

    def __init__(self, where: str, said: bytes = b"") -> None:
        super().__init__(f"unexpected plaintext {where}", said)


class Refused(PeerFault):
    """A mailbox refuses a login, a folder or a command; its replies have no code."""

    kind = "rejected"


class NotNow(PeerFault):
    """A mailbox refuses something, but only for now, as SMTP does with 4yz."""

    kind = "transient"


class Undelivered(PeerFault):
    """The message was accepted, but is not in its mailbox in time."""

    kind = "undelivered"


class Bounced(PeerFault):
    """A notification came back: the message was accepted, but could not be delivered."""

    kind = "bounced"


class HandshakeFailed(PeerFault):
    """The two sides could not agree on TLS."""

    kind = "handshake_failed"


class NotTls(HandshakeFailed):
    """The server sent something other than a TLS handshake."""
