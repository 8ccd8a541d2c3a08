"""THE STAGE TABLE. Each stage is a dialogue that reads from top to bottom.

A stage yields wishes (``net.wishes``), is sent their values, raises a ``SessionFault`` where it
cannot go on and returns its findings. It touches nothing and reads no clock.
"""

from __future__ import annotations

from check_smtp_health.stages import connection, encryption, greeting, login, transaction
from check_smtp_health.stages.visit import Kit, Visit
from check_smtp_health.values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from check_smtp_health.errors import Untrusted
    from check_smtp_health.net.wishes import Wish
    from check_smtp_health.settings import Settings
    from check_smtp_health.stages.visit import Post, Run

QUIT_LIMIT = 1.0
"""Seconds that QUIT may take: what it could tell is not worth a wait."""

EXPLAIN_LIMIT = 2.0
"""Seconds that finding out more about a rejected certificate may take."""


class Stage(NamedTuple):
    """A row. ``name`` is threshold key, perfdata label and ``-v`` label; ``limit`` in seconds.

    One without name is not reported.

    ``explain`` finds out more about a fault of this stage, while no clock runs. ``is_due`` says, of
    what has been learned, whether there is anything to do.
    """

    name: str
    applies: Callable[[Settings], bool]
    run: Callable[[Visit], Run]
    limit: float | None = None
    explain: Callable[[Visit, Untrusted], Generator[Wish, Any, Untrusted]] | None = None
    is_due: Callable[[Visit], bool] = lambda visit: True


def plan(settings: Settings) -> tuple[Stage, ...]:
    """Return the stages that the settings ask for, in their order, from ``connect`` on."""
    return tuple(stage for stage in STAGES if stage.applies(settings))


def prepare(settings: Settings) -> Kit:
    """Import what the stages need, read all files, and return what came of it.

    Raises:
        UsageFault: a file cannot be used, a package is missing.
    """
    return Kit(
        trust=encryption.trust(settings) if settings.tls else None,
        mechanisms=login.mechanisms(settings) if settings.user is not None else (),
        servers=connection.servers(settings) if settings.asking_dns else None,
        web_trust=encryption.web_trust(settings) if settings.policies.mta_sts else None,
        post=_post(settings) if settings.deliver else None,
    )


# What a run needs that sends a message is loaded by no other.
def _post(settings: Settings) -> Post:
    from check_smtp_health.stages import delivery

    return delivery.post(settings)


def _data(visit: Visit) -> Run:
    from check_smtp_health.stages import delivery

    return delivery.data(visit)


def _delivery(visit: Visit) -> Run:
    from check_smtp_health.stages import delivery

    return delivery.delivery(visit)


def _always(settings: Settings) -> bool:
    return True


def _implicit_tls(settings: Settings) -> bool:
    return settings.tls == "implicit"


def _starttls(settings: Settings) -> bool:
    return settings.tls == "starttls"


STAGES = (
    Stage("connect", _always, connection.connect),
    Stage("tls", _implicit_tls, encryption.handshake, explain=encryption.explain),
    Stage("banner", _always, connection.banner),
    Stage("helo", _always, greeting.helo),
    Stage("starttls", _starttls, encryption.starttls),
    Stage("tls", _starttls, encryption.handshake, explain=encryption.explain),
    Stage("helo", _starttls, greeting.helo),
    Stage("auth", lambda settings: settings.user is not None, login.auth),
    Stage("mail", lambda settings: settings.has_transaction, transaction.mail),
    Stage("rcpt", lambda settings: bool(settings.recipients), transaction.rcpt),
    Stage("relay", lambda settings: bool(settings.no_relay), transaction.relay),
    Stage("command", lambda settings: bool(settings.commands), transaction.command),
    Stage(
        "data",
        lambda settings: settings.deliver,
        _data,
        is_due=lambda visit: bool(visit.accepted),
    ),
)

RESOLVE = Stage("resolve", _always, connection.resolve)
"""Not in the plan: it comes first where the target is a name whose addresses are not known yet."""

RESET = Stage("", _always, transaction.reset, QUIT_LIMIT)
"""Not in the plan: it follows where a transaction was begun."""

QUIT = Stage("quit", _always, connection.leave, QUIT_LIMIT)
"""Not in the plan: it follows wherever the connection still stands."""

DELIVERY = Stage(
    "delivery",
    lambda settings: bool(settings.mailboxes),
    _delivery,
    is_due=lambda visit: visit.sent is not None,
)
"""Not in the plan: it follows QUIT, and has a time limit of its own."""

NAMES = tuple(dict.fromkeys(stage.name for stage in (RESOLVE, *STAGES, QUIT, DELIVERY)))
"""All stage names, in the order of a session."""
