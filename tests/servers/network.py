"""A private view of the network: names, addresses, routes and the wire to the server."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import needs
from tests.servers import wire
from tests.servers.namespace import Namespace
from tests.servers.scripted import ScriptedServer, Step
from tests.servers.system_resolver import NameServer


def private(
    tmp_path: Path, *, hosts: str = "", resolver: str = "", hostname: str = ""
) -> tuple[str, ...]:
    """Return what to put before a command so that it sees this network configuration.

    ``hosts`` is the text of /etc/hosts, ``resolver`` the addresses of name servers.
    """
    needs.root()
    unshare = needs.program("unshare")
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
    name_servers = (f"nameserver {address}\n" for address in (resolver or "127.0.0.1").split())
    (tmp_path / "resolv.conf").write_text(
        "".join((*name_servers, "options timeout:1 attempts:5\n"))
    )
    mounts = [
        f"mount --bind {shlex.quote(str(tmp_path / name))} /etc/{name}"
        for name in ("hosts", "resolv.conf")
    ]
    if hostname:
        mounts.append(f"hostname {shlex.quote(hostname)}")
    script = "; ".join(["set -e", *mounts, 'exec "$@"'])
    return (unshare, "--mount", "--uts", "sh", "-c", script, "sh")


@contextmanager
def full_backlog(address: str, port: int = 0) -> Iterator[int]:
    """Listen where no connection is ever answered, as behind a filter that drops SYN."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(0)
        where = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(where)
        try:
            yield where[1]
        finally:
            for one in waiting:
                one.close()


NEAR = "192.0.2.1"
FAR = "192.0.2.25"
ELSEWHERE = "203.0.113.25"
"""The monitoring host, the server, and an address of the server's in another network."""


@dataclass(frozen=True)
class Network:
    """Two hosts and a wire: the monitoring host (near), and the server, which routes, too (far).

    ``near`` and ``far`` are commands of ``ip`` for them, above all routes: what the monitoring
    host has none for, goes over the wire. ``hosts`` is its /etc/hosts; ``resolvers`` are those
    of its resolv.conf, where ``name_server`` listens, or nobody.
    """

    fault: wire.Fault = wire.perfect
    hosts: str = ""
    name_server: NameServer | None = None
    resolvers: str = "127.0.0.1"
    near: tuple[str, ...] = ()
    far: tuple[str, ...] = ()

    @contextmanager
    def standing(
        self, script: Sequence[Step], folder: Path
    ) -> Iterator[tuple[ScriptedServer, tuple[str, ...], list[float]]]:
        """Have the server listen on port 25.

        Yields it, what to put before a command, and the moments at which anything came of that.
        """
        moments: list[float] = []
        near, far = Namespace(), Namespace()
        with ExitStack() as stack:
            stack.callback(near.close)
            stack.callback(far.close)
            stack.enter_context(wire.between(near, far, self.fault, moments))
            near.ip(
                *_interface(f"{NEAR}/24", "2001:db8::1/64"),
                "route add default dev wire",
                "route add 2001:db8::/32 dev wire",
                *self.near,
            )
            far.ip(
                f"addr add {ELSEWHERE}/32 dev lo",
                *_interface(f"{FAR}/24", "2001:db8::25/64"),
                *self.far,
            )
            with far.entered():
                for family in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                    Path("/proc/sys/net", family).write_text("1")
                server = ScriptedServer(script, address="0.0.0.0", port=25)
                stack.enter_context(server.running())
            if self.name_server is not None:
                with near.entered():
                    stack.enter_context(self.name_server.running(moments))
            names = private(folder, hosts=self.hosts, resolver=self.resolvers)
            yield server, (*near.prefix, *names), moments


def _interface(*addresses: str) -> tuple[str, ...]:
    return ("link set wire up", *(f"addr add {address} dev wire" for address in addresses))
