"""Which causes and kinds of failure a run can have: another one in ``--state`` has no effect.

What is not certain counts as possible. Loaded for ``--state`` only.
"""

from __future__ import annotations

from check_smtp_health.errors import UsageFault
from check_smtp_health.judge.cause_table import CAUSES, KINDS, ROWS, STATUSES
from check_smtp_health.judge.states import FAILURES
from check_smtp_health.stages import measured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Kind, Reason

    Condition = Callable[[Settings], object]


def _has_tls(settings: Settings) -> bool:
    """Whether anything may be asked in TLS: the server, a mailbox, a policy host, an endpoint."""
    by_token = settings.login is not None and settings.login.oauth is not None
    return bool(settings.tls.mode or settings.roundtrip or settings.policies.given or by_token)


def _has_mailbox(settings: Settings) -> bool:
    return settings.roundtrip is not None and bool(settings.roundtrip.mailboxes)


def _asks(option: str) -> Condition:
    return lambda settings: settings.policies.asks(option)


_KINDS: Mapping[Kind, Condition] = {
    **dict.fromkeys(("handshake_failed", "untrusted"), _has_tls),
    "open_relay": lambda settings: settings.transaction.no_relay,
    "backscatter": lambda settings: settings.transaction.no_rcpt,
    "unproven": lambda settings: settings.transaction.tests,
    "forbidden": lambda settings: settings.greeting.forbid,
    **dict.fromkeys(
        ("undelivered", "bounced", "duplicated", "misplaced", "undeleted", "unauthenticated"),
        _has_mailbox,
    ),
    "listed": _asks("dnsbl"),
    "insecure": _asks("dane"),
    "unauthorised": _asks("sender"),
}
"""Kinds of failure that only some runs can have."""

_REASONS: Mapping[Reason, Condition] = {
    **dict.fromkeys(
        ("controls silent", "other ports only"), lambda settings: settings.endpoint.controls
    ),
    **dict.fromkeys(("client certificate wanted", "client certificate rejected"), _has_tls),
    "mechanism": lambda settings: settings.login or settings.roundtrip,
    "proxy answered": lambda settings: settings.endpoint.proxy,
}
"""Reasons that only some runs can meet."""


def need_possible(settings: Settings) -> None:
    """Check that whatever ``--state`` names can happen in this run.

    Raises:
        UsageFault: something cannot.
    """
    stages = measured(settings)
    for name in settings.judging.states:
        # Some names are those of a cause and of a kind.
        is_cause = name in CAUSES and _can_be_cause(name, settings, stages)
        if not (is_cause or (name in FAILURES and _can(name, settings))):
            raise UsageFault("state", f"{name} cannot happen in this run")


def _can(kind: str, settings: Settings) -> bool:
    condition = _KINDS.get(kind)  # type: ignore[call-overload]
    return condition is None or bool(condition(settings))


def _can_be_cause(name: str, settings: Settings, stages: set[str]) -> bool:
    """Whether a reply in one of the stages may have this cause, or a failure without a reply."""
    if any(row.cause == name and _meets(row.stages, stages) for row in ROWS):
        return True
    if any(one.cause == name and _meets(one.stages, stages) for one in STATUSES.values()):
        return True
    return any(
        _can(row.kind, settings) and _REASONS.get(row.reason, bool)(settings)
        for row in KINDS
        if row.cause == name and _meets(row.stages, stages)
    )


def _meets(stages: Iterable[str], planned: set[str]) -> bool:
    return not stages or not planned.isdisjoint(stages)
