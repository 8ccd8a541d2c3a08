"""Questions that are asked at the same time."""

from __future__ import annotations

from check_smtp_health.errors import Expired, PeerFault, SessionFault, Unanswered
from check_smtp_health.net import lookup
from check_smtp_health.net.wishes import Together, answered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from check_smtp_health.net.lookup import Records, Servers
    from check_smtp_health.net.wishes import Run


def ask(servers: Servers, name: str, kind: str, *, unchecked: bool = False) -> Run[Records]:
    """Return the records of a name, as ``lookup.ask`` does.

    Raises:
        Unanswered: nobody gives an answer, or not before the deadline.
    """
    try:
        return (yield from lookup.ask(servers, name, kind, unchecked=unchecked))
    except Expired as fault:
        raise Unanswered(f"{kind} of {name}: {fault.problem}") from fault


def together(runs: Iterable[Run[Any]]) -> Run[list[Any]]:
    """Return what each run returns, or the fault of whoever was asked.

    Raises:
        SessionFault: it is not they who are to blame: a signal came, for example.
    """
    results: list[Any] = yield Together([answered(run) for run in runs])
    for result in results:
        if isinstance(result, SessionFault) and not isinstance(result, PeerFault):
            raise result
    return results
