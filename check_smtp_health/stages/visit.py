"""What one walk through the stages has learned, and the two things all stages do: ask and judge."""

from __future__ import annotations

from check_smtp_health.errors import Disconnected, Rejected, TimedOut
from check_smtp_health.net.wishes import Read, Write
from check_smtp_health.smtp.session import Session, command
from check_smtp_health.values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from check_smtp_health.arguments import Host
    from check_smtp_health.net.certificate import Agreed
    from check_smtp_health.net.lookup import Servers
    from check_smtp_health.net.tls import Trust
    from check_smtp_health.net.wishes import Address, Wish
    from check_smtp_health.observation import Delivery, Finding
    from check_smtp_health.settings import Settings
    from check_smtp_health.smtp.reply import Reply
    from check_smtp_health.sought import Sought

    Run = Generator[Wish, Any, None]


READ = Read()
"""The commonest of all wishes, made once."""


class Post(NamedTuple):
    """What it takes to send a message: ``stamp`` makes a token and a date, ``search`` finds it."""

    stamp: Callable[[], tuple[str, str]]
    search: Callable[..., Any] | None = None


class Kit(NamedTuple):
    """What was made ready for all targets, before any clock ran.

    ``mechanisms`` are the SASL mechanisms that may be used, best first; ``servers`` the name
    servers to ask, where there is something that only they know; ``web_trust`` is for HTTPS.
    """

    trust: Trust | None = None
    mechanisms: tuple[str, ...] = ()
    servers: Servers | None = None
    web_trust: Trust | None = None
    post: Post | None = None


class Target(NamedTuple):
    """Whom to probe. ``server_name`` is sent and verified in TLS, None where there is no name.

    ``addresses`` are known already where only these are to be probed; ``label`` tells its metrics
    from those of others, where there are others.
    """

    host: Host
    server_name: str | None
    label: str = ""
    addresses: tuple[Address, ...] = ()


class Visit:
    """What one walk through the stages has learned so far. The only thing that stages change.

    ``findings`` are those of the stage under way: they outlive a fault that ends it. ``secrets``
    must not be shown even where the server repeats them; ``is_over`` says that all there is to
    learn is learned; ``names`` has the text of the banner and of the reply to HELO, which begin
    with the server's name for itself. ``accepted`` are the recipients that the server takes,
    ``is_tainted`` says that the transaction may hold others. ``sent`` is the message that was
    handed over, ``receipt`` the reply to it, ``delivery`` what is known of its way.
    """

    __slots__ = (
        "accepted",
        "address",
        "addresses",
        "delivery",
        "findings",
        "is_connected",
        "is_in_transaction",
        "is_over",
        "is_tainted",
        "kit",
        "local",
        "names",
        "receipt",
        "secrets",
        "sent",
        "session",
        "settings",
        "target",
        "tls",
    )

    def __init__(self, target: Target, settings: Settings, kit: Kit) -> None:
        self.target = target
        self.settings = settings
        self.kit = kit
        self.addresses = target.addresses
        self.address: Address | None = None
        self.local: Address | None = None
        self.findings: list[Finding] = []
        self.names: dict[str, bytes] = {}
        self.is_connected = False
        self.is_in_transaction = False
        self.is_over = False
        self.session = Session()
        self.tls: Agreed | None = None
        self.secrets: list[bytes] = []
        self.accepted: list[str] = []
        self.is_tainted = False
        self.sent: Sought | None = None
        self.receipt = b""
        self.delivery: Delivery | None = None

    def masked(self, data: bytes) -> bytes:
        """Return what a peer said with the secrets taken out that it repeats."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            data = data.replace(secret, b"***")
        return data


def ask(visit: Visit, verb: str, argument: str = "") -> Generator[Wish, Any, Reply]:
    """Send a command and return the reply to it."""
    return send(visit, Write(command(verb, argument)))


def send(visit: Visit, line: Write) -> Generator[Wish, Any, Reply]:
    """Send a line and return the reply to it."""
    try:
        yield line
    except Disconnected:
        pass  # what the server said before it left is more telling: read it
    return (yield from listen(visit))


def listen(visit: Visit) -> Generator[Wish, Any, Reply]:
    """Return the next reply."""
    session = visit.session
    while True:
        reply = session.next_reply()
        if reply is not None:
            return reply
        try:
            data = yield READ
        except (Disconnected, TimedOut) as fault:
            if session.unread:
                fault.problem = fault.problem.replace("no answer", "no complete answer")
                fault.said = session.unread
            raise
        if not data:
            raise session.closed()
        session.receive(data)


def due(reply: Reply, code: int) -> None:
    """Hold a reply to the code that was due.

    Raises:
        Rejected: it has another one.
    """
    if reply.code != code:
        # A refusal speaks for itself; a code that only surprises does not.
        problem = f"instead of {code}" if reply.is_positive else ""
        raise Rejected(problem, reply.raw, reply.code)
