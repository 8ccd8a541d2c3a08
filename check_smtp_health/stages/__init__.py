"""THE STAGE TABLE. Each stage is a dialogue that reads from top to bottom.

A stage yields operations (``net.operations``), is sent their values, raises a ``SessionFault``
where it cannot go on and adds its findings to the state. It touches nothing and reads no clock.
Rows name their functions, which are imported while planning: a run loads what it is going to do.
"""

from __future__ import annotations

from check_smtp_health.loading import load
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.stages.state import Prepared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Untrusted
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.stages.state import ProbeState, StageRun

QUIT_LIMIT = 1.0
"""Seconds that QUIT may take: what it could tell is not worth a wait."""

EXPLAIN_LIMIT = 2.0
"""Seconds that finding out more about a rejected certificate may take."""


class Row(NamedTuple):
    """A row. ``name`` is threshold key, perfdata label and ``-v`` label; without one, unreported.

    ``run`` and ``explain`` are ``"module:function"`` below this package; ``limit`` is in seconds.
    ``explain`` finds out more about a fault of this stage, while no clock runs. ``is_due`` says, of
    what has been learned, whether there is anything to do.
    """

    name: str
    applies: Callable[[Settings], bool]
    run: str
    limit: float | None = None
    explain: str = ""
    is_due: Callable[[ProbeState], bool] = lambda state: True


class Stage(NamedTuple):
    """A stage that is going to be run: its row, with the functions themselves."""

    name: str
    run: Callable[[ProbeState], StageRun]
    limit: float | None = None
    explain: Callable[[ProbeState, Untrusted], Procedure[Untrusted]] | None = None
    is_due: Callable[[ProbeState], bool] = lambda state: True


class Plan(NamedTuple):
    """What a run is going to do with each target: ``session`` from ``connect`` on, in this order.

    ``resolve`` comes first where the target is a name whose addresses are not known yet, ``reset``
    follows where a transaction was begun, ``quit`` wherever the connection still stands, and
    ``delivery``, which has a time limit of its own, after it.
    """

    resolve: Stage
    session: tuple[Stage, ...]
    reset: Stage | None
    quit: Stage
    delivery: Stage | None


def _always(settings: Settings) -> bool:
    return True


def _implicit_tls(settings: Settings) -> bool:
    return settings.tls.mode == "implicit"


def _starttls(settings: Settings) -> bool:
    return settings.tls.mode == "starttls"


_RESOLVE = Row("resolve", _always, "connection:resolve")

_SESSION = (
    Row("connect", _always, "connection:connect"),
    Row("tls", _implicit_tls, "encryption:handshake", explain="encryption:explain"),
    Row("banner", _always, "connection:banner"),
    Row("helo", _always, "greeting:helo"),
    Row("starttls", _starttls, "encryption:starttls"),
    Row("tls", _starttls, "encryption:handshake", explain="encryption:explain"),
    Row("helo", _starttls, "greeting:helo"),
    Row("auth", lambda settings: settings.login is not None, "login:auth"),
    Row("mail", lambda settings: settings.transaction.is_wanted, "transaction:mail"),
    Row("rcpt", lambda settings: bool(settings.transaction.recipients), "transaction:rcpt"),
    Row("relay", lambda settings: bool(settings.transaction.no_relay), "transaction:relay"),
    Row("command", lambda settings: bool(settings.transaction.commands), "transaction:command"),
    Row(
        "data",
        lambda settings: settings.roundtrip is not None,
        "delivery:data",
        is_due=lambda state: bool(state.transaction.accepted),
    ),
)

_RESET = Row(
    "",
    lambda settings: settings.transaction.is_wanted,
    "transaction:reset",
    QUIT_LIMIT,
    is_due=lambda state: state.transaction.is_open,
)

_QUIT = Row("quit", _always, "connection:leave", QUIT_LIMIT)

_DELIVERY = Row(
    "delivery",
    lambda settings: settings.roundtrip is not None and bool(settings.roundtrip.mailboxes),
    "delivery:delivery",
    is_due=lambda state: state.transaction.sent is not None,
)

NAMES = tuple(dict.fromkeys(row.name for row in (_RESOLVE, *_SESSION, _QUIT, _DELIVERY)))
"""All stage names, in the order of a session."""


def plan(settings: Settings) -> Plan:
    """Return the stages that the settings ask for, imported."""

    def wanted(row: Row) -> Stage | None:
        return _stage(row) if row.applies(settings) else None

    return Plan(
        resolve=_stage(_RESOLVE),
        session=tuple(_stage(row) for row in _SESSION if row.applies(settings)),
        reset=wanted(_RESET),
        quit=_stage(_QUIT),
        delivery=wanted(_DELIVERY),
    )


def prepare(settings: Settings) -> Prepared:
    """Import what the stages need, read all files, and return what came of it.

    Raises:
        UsageFault: a file cannot be used, a package is missing.
    """
    return Prepared(
        trust=_call("encryption:trust", settings) if settings.tls.mode else None,
        mechanisms=_call("login:mechanisms", settings) if settings.login is not None else (),
        servers=_call("connection:servers", settings) if _asks_dns(settings) else None,
        roundtrip=_call("delivery:tools", settings) if settings.roundtrip is not None else None,
    )


def _asks_dns(settings: Settings) -> bool:
    """Whether something is to be looked up that the system's resolver cannot look up."""
    return bool(settings.endpoint.mx or settings.policies.given or settings.endpoint.nameservers)


def _stage(row: Row) -> Stage:
    explain = load(f"stages.{row.explain}") if row.explain else None
    return Stage(row.name, load(f"stages.{row.run}"), row.limit, explain, row.is_due)


def _call(function: str, settings: Settings) -> Any:
    return load(f"stages.{function}")(settings)
