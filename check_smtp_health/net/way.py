"""How a run connects to hosts other than its targets: mailboxes, policy hosts.

What the command line says of name servers, family and source holds for each of them, and an address
that is dead costs a fraction of a second where another one answers.
"""

from __future__ import annotations

from check_smtp_health.errors import (
    Expired,
    LocalFault,
    SessionFault,
    TimedOut,
    Unreachable,
    deciding,
)
from check_smtp_health.net import addresses
from check_smtp_health.net.operations import Call, Connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.net.addresses import Address
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.report import Host


def look_up(
    servers: Servers | None, host: Host, port: int, family: int | None
) -> Procedure[tuple[Address, ...]]:
    """Return the addresses of a host, from name servers or, without any, the system's resolver.

    Raises:
        Unresolvable: there is none, or none of that family.
        LocalFault: this machine cannot ask.
    """
    if host.kind == "address":
        return (addresses.literal(host.ascii, port),)
    wanted = (host.ascii, port, family)
    if servers is not None:
        from check_smtp_health.net import dns

        return (yield from dns.resolve(servers, *wanted)).addresses
    found: tuple[Address, ...] = yield Call(addresses.resolve, wanted)
    return found


class Way:
    """How the connections of a run are made, and which address of each host answered.

    ``servers`` are the name servers to ask, where that is not left to the system's resolver. A
    fault has the address that it is about for a subject where the way ``tells_addresses``.
    """

    def __init__(
        self,
        servers: Servers | None,
        family: int | None,
        source: str | None,
        *,
        tells_addresses: bool = False,
    ) -> None:
        self._servers = servers
        self._family = family
        self._source = source
        self._tells_addresses = tells_addresses
        self._known: dict[tuple[str, int], tuple[Address, ...]] = {}

    def connect(self, host: Host, port: int) -> Procedure[None]:
        """Connect to the first of the host's addresses that answers; the next time, begin there.

        Raises:
            Unresolvable: the host has no address.
            SessionFault: none of them answers, or this machine cannot ask.
        """
        key = (host.ascii, port)
        if key not in self._known:
            self._known[key] = yield from look_up(self._servers, host, port, self._family)
        found = self._known[key]
        faults: list[SessionFault] = []
        remaining = list(found)
        for address, share, limit in addresses.tries(remaining):
            try:
                yield Connect(address, self._source, share, limit)
            except Expired:
                raise
            except TimedOut as fault:
                faults.append(self._about(address, fault))
            except (Unreachable, LocalFault) as fault:
                faults.append(self._about(address, fault))
                remaining.remove(address)
            else:
                return self._remember(key, address)
        raise deciding(faults)

    def _about(self, address: Address, fault: SessionFault) -> SessionFault:
        if self._tells_addresses:
            fault.subject = address.host
        return fault

    def _remember(self, key: tuple[str, int], address: Address) -> None:
        others = [other for other in self._known[key] if other != address]
        self._known[key] = (address, *others)
