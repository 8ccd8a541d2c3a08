"""Why a server is silent: one that speaks TLS from the first byte waits for us to begin.

Loaded only where a server has been silent for most of the time.
"""

from __future__ import annotations

from check_smtp_health.errors import SessionFault
from check_smtp_health.net.operations import Connect, StartTls, Together, untimed
from check_smtp_health.stages.encryption import made, tls_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.net.trust import Trust
    from check_smtp_health.stages.state import ProbeState

SHARE = 0.1
"""Part of the deadline that connecting may take, and shaking hands."""


def awaits_tls(state: ProbeState) -> Procedure[bool]:
    """Shake hands with the server over a connection of its own, and return whether that worked.

    The session's own connection stays as it is: the server may only be slow.
    """
    trust = made(tls_options(state.settings)._replace(verify=False, judge_expiry=False))
    results = yield Together([untimed(_shaken(state, trust))])
    return not isinstance(results[0], SessionFault)


def _shaken(state: ProbeState, trust: Trust) -> Procedure[None]:
    endpoint, address = state.settings.endpoint, state.connection.address
    assert address is not None
    limit = SHARE * endpoint.timeout
    yield Connect(address, endpoint.source, limit=limit)
    yield StartTls(trust, state.target.server_name, limit=limit)
