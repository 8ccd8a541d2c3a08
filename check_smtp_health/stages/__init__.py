"""THE STAGE TABLE. Each stage is a dialogue that reads from top to bottom.

A stage yields operations (``net.operations``), is sent their values, raises a ``SessionFault``
where it cannot go on and adds its findings to the state. It touches nothing and reads no clock.
Rows name their functions, which are imported while planning: a run loads what it is going to do.
"""

from __future__ import annotations

from check_smtp_health.config.thresholds import DAYS, DNSBL, HEALTHY, TIME
from check_smtp_health.errors import UsageFault
from check_smtp_health.loading import load
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.stages.state import Prepared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Untrusted
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.stages.state import ProbeState, StageRun

TOKEN, CONNECT, TLS, QUIT, DELIVERY = "token", "connect", "tls", "quit", "delivery"
"""Stages that others have to tell from the rest."""

OUTSIDE = (TOKEN, QUIT, DELIVERY)
"""Stages that are no part of what ``time`` counts."""

QUIT_LIMIT = 1.0
"""Seconds that QUIT may take: its reply is not worth waiting for."""

EXPLAIN_LIMIT = 2.0
"""Seconds that finding out more about a rejected certificate may take."""


class Row(NamedTuple):
    """A row. ``name`` is threshold key, perfdata label and ``-v`` label; without one, unreported.

    ``run`` and ``explain`` are ``"module:function"`` below this package; ``limit`` is in seconds.
    ``explain`` finds out more about a fault of this stage, while no clock runs. ``is_due`` says, of
    what has been learned, whether there is anything to do. ``is_secret`` says that the server may
    be told what only the right one may know.
    """

    name: str
    applies: Callable[[Settings], bool]
    run: str
    limit: float | None = None
    explain: str = ""
    is_due: Callable[[ProbeState], bool] = lambda state: True
    is_secret: bool = False


class Stage(NamedTuple):
    """A stage that is going to be run: its row, with the functions themselves."""

    name: str
    run: Callable[[ProbeState], StageRun]
    limit: float | None = None
    explain: Callable[[ProbeState, Untrusted], Procedure[Untrusted]] | None = None
    is_due: Callable[[ProbeState], bool] = lambda state: True
    is_secret: bool = False


class Plan(NamedTuple):
    """What a run is going to do with each target: ``session`` from ``connect`` on, in this order.

    ``resolve`` comes first where the target is a name whose addresses are not known yet, ``reset``
    follows where a transaction was begun, ``quit`` wherever the connection still stands, and
    ``delivery``, which has a time limit of its own, after it. ``token`` comes before them all, once
    a run.
    """

    resolve: Stage
    session: tuple[Stage, ...]
    reset: Stage | None
    quit: Stage
    delivery: Stage | None
    token: Stage | None = None


def _always(settings: Settings) -> bool:
    return True


def _implicit_tls(settings: Settings) -> bool:
    return settings.tls.mode == "implicit"


def _starttls(settings: Settings) -> bool:
    return settings.tls.mode == "starttls"


def _has_name(settings: Settings) -> bool:
    return any(host.kind == "name" for host in settings.endpoint.hosts)


def _is_welcome(settings: Settings) -> bool:
    """Whether the banner is to be a yes: after a no a server takes only QUIT (RFC 5321, 3.1)."""
    return settings.greeting.expect.code < 400


def _by_token(settings: Settings) -> bool:
    """Whether an access token is to be got."""
    login, roundtrip = settings.login, settings.roundtrip
    return (login is not None and login.oauth is not None) or (
        roundtrip is not None and roundtrip.oauth is not None
    )


_TOKEN = Row(TOKEN, _by_token, "token:fetch")

_RESOLVE = Row("resolve", _has_name, "connection:resolve")

_SESSION = (
    Row(CONNECT, _always, "connection:connect"),
    Row(TLS, _implicit_tls, "encryption:handshake", explain="encryption:explain"),
    Row("banner", _always, "connection:banner"),
    Row("helo", _is_welcome, "greeting:helo"),
    Row("starttls", _starttls, "encryption:starttls"),
    Row(TLS, _starttls, "encryption:handshake", explain="encryption:explain"),
    Row("helo", _starttls, "greeting:helo"),
    Row("auth", lambda settings: settings.login is not None, "login:auth", is_secret=True),
    Row("mail", lambda settings: settings.transaction.is_wanted, "transaction:mail"),
    Row("rcpt", lambda settings: bool(settings.transaction.recipients), "transaction:rcpt"),
    Row(
        "relay",
        lambda settings: bool(settings.transaction.tests),
        "transaction:relay",
        is_due=lambda state: state.transaction.is_open,
    ),
    Row(
        "command",
        lambda settings: bool(settings.transaction.commands),
        "transaction:command",
        is_secret=True,
    ),
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

_QUIT = Row(QUIT, _always, "connection:leave", QUIT_LIMIT)

_DELIVERY = Row(
    DELIVERY,
    lambda settings: settings.roundtrip is not None and bool(settings.roundtrip.mailboxes),
    "delivery:delivery",
    is_due=lambda state: state.transaction.sent is not None,
)

_ROWS = (_TOKEN, _RESOLVE, *_SESSION, _QUIT, _DELIVERY)

NAMES = tuple(dict.fromkeys(row.name for row in _ROWS))
"""All stage names, in the order of a session."""


# THE LABEL TABLE: what is measured beside the times of stages, and whether a run measures it.
LABELS: dict[str, Callable[[Settings], object]] = {
    TIME: _always,
    DNSBL: lambda settings: settings.policies.asks("dnsbl"),
    HEALTHY: lambda settings: settings.endpoint.has_several,
    DAYS: lambda settings: settings.tls.mode or settings.roundtrip is not None,
}

MEASURES = (*NAMES, *LABELS)
"""The labels of all that is ever measured."""


def measured(settings: Settings) -> set[str]:
    """Return the labels of all that a run with these settings measures if nothing fails."""
    labels = {row.name for row in _ROWS if row.applies(settings)}
    return labels.union(label for label, applies in LABELS.items() if applies(settings))


def _need_measured(settings: Settings) -> None:
    """Check that each limit is for something that is measured.

    Raises:
        UsageFault: one is not, so that it could never be violated.
    """
    known = measured(settings)
    limits = settings.judging.limits
    for option, ranges in (("warning", limits.warning), ("critical", limits.critical)):
        for label in ranges:
            if label not in known:
                raise UsageFault(option, f"this run does not measure {label}")


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
        token=wanted(_TOKEN),
    )


def prepare(settings: Settings) -> Prepared:
    """Import what the stages need, read all files, and return what came of it.

    Raises:
        UsageFault: a limit has no effect, a file cannot be used, a package is missing.
    """
    _need_measured(settings)
    if settings.transaction.no_relay or settings.transaction.no_rcpt:
        load("smtp.refusal:about")  # a refusal is what is hoped for: no stage is to wait for that
    servers = _call("connection:servers", settings) if _asks_dns(settings) else None
    return Prepared(
        trust=_call("encryption:trust", settings) if settings.tls.mode else None,
        mechanisms=_call("login:mechanisms", settings) if settings.login is not None else (),
        servers=servers,
        roundtrip=_call("delivery:tools", settings) if settings.roundtrip is not None else None,
        secrets=tuple(_secrets(settings)),
        tokens=load("stages.token:prepare")(settings, servers) if _by_token(settings) else None,
    )


def _secrets(settings: Settings) -> Iterator[bytes]:
    """Give the forms of all passwords of the run, the mailbox's as well while SMTP is spoken."""
    login, roundtrip = settings.login, settings.roundtrip
    if login is None and roundtrip is None:
        return
    from check_smtp_health.masking import forms, token_forms

    users = [] if login is None else [login.user]
    if roundtrip is not None:
        users += [mailbox.user for mailbox in roundtrip.mailboxes]
    for one in (login, roundtrip):
        if one is None:
            continue
        if one.oauth is not None:
            client = dict(one.oauth.fields)["client_id"]
            for _, secret in one.oauth.secrets:
                yield from forms(secret.reveal(), client, *users)
        elif one.password is not None and one.password.reveal():
            # It may be a token, and what a server repeats of it is longer than it.
            yield from token_forms(one.password.reveal(), *users)


def _asks_dns(settings: Settings) -> bool:
    """Whether something is to be looked up that the system's resolver cannot look up."""
    endpoint = settings.endpoint
    return bool(endpoint.mx or settings.policies.of_dns or endpoint.nameservers)


def _stage(row: Row) -> Stage:
    explain = load(f"stages.{row.explain}") if row.explain else None
    return Stage(row.name, load(f"stages.{row.run}"), row.limit, explain, row.is_due, row.is_secret)


def _call(function: str, settings: Settings) -> Any:
    return load(f"stages.{function}")(settings)
