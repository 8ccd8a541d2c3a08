"""What lies between the monitoring host and the server: addresses, routes, routers and the wire."""

from __future__ import annotations

from collections.abc import Mapping

from tests.servers import wire
from tests.servers.catalogue.behaviour import (
    BANNER,
    CONNECTED,
    DONE,
    EHLO,
    GREETED,
    HELO,
    HELOED,
    PAUSE,
    QUIT,
    WELL,
    Behaviour,
    Question,
)
from tests.servers.catalogue.encryption import AGAIN, GO, WITH_STARTTLS
from tests.servers.certificates import Certificate, ServerStep
from tests.servers.network import ELSEWHERE, FAR, Network
from tests.servers.scripted import Sleep

HEALTHY = (PAUSE, BANNER, *HELO, *QUIT)
PROMPT = (BANNER, *HELO, *QUIT)

DEAD = "198.51.100.7"
"""An address that nobody has; what becomes of packets to it depends on the routes."""

DEAD_6 = "2001:db8:7::7"

SAY_EHLO = Question(("--ehlo",), unasked="always greets with HELO")

LARGE = (
    *(BANNER, EHLO, b"250-mx\r\n" + b"250-XKEYWORD %s\r\n" % (b"x" * 240) * 200),
    *(b"250 HELP\r\n", *QUIT),
)
"""A server whose EHLO reply fills 50 KB."""


def unreachable(
    name: str, problem: str, network: Network, host: str = DEAD, cause: str = ""
) -> Behaviour:
    """Return the row of an address that is known at once to be out of reach."""
    ending = f", cause: {cause}" if cause else ""
    return Behaviour(
        name,
        HEALTHY,
        "CRITICAL",
        f"connect: {problem} (after # s){ending}",
        "time",
        target=f"[{host}]:25" if ":" in host else f"{host}:25",
        host=host,
        network=network,
    )


def named(
    name: str,
    said: str,
    network: Network,
    *,
    labels: str = "time resolve connect banner helo quit",
    state: str = "OK",
    times: Mapping[str, tuple[float, float]] | None = None,
) -> Behaviour:
    """Return the row of a name with more than one address."""
    is_up = state == "OK"
    return Behaviour(
        name,
        HEALTHY,
        state,
        said,
        labels,
        quick=is_up,
        target="mx.example:25" + (f" [{ELSEWHERE}]" if is_up else ""),
        host="mx.example",
        network=network,
        times=times or {},
    )


def by_wire(
    name: str,
    fault: wire.Fault,
    said: str,
    *script: ServerStep,
    state: str = "OK",
    labels: str = DONE,
    asks: Question = WELL,
    quick: bool = True,
    timeout: int = 1,
    times: Mapping[str, tuple[float, float]] | None = None,
) -> Behaviour:
    """Return the row of a server that is well, behind a wire that may not be."""
    return Behaviour(
        name,
        script or PROMPT,
        state,
        said,
        labels,
        asks,
        quick,
        target=f"{FAR}:25",
        timeout=timeout,
        host=FAR,
        network=Network(fault),
        times=times or {},
    )


CONNECTING = (
    unreachable(
        "nobody listens on the port",
        "connection refused",
        Network(hosts=""),
        host="127.0.0.1",
        cause="refused",
    ),
    unreachable(
        "there is no route",
        "network is unreachable",
        Network(near=("route del default",)),
        cause="no route",
    ),
    unreachable(
        "a route of the monitoring host says unreachable",
        "no route to host",
        Network(near=(f"route add unreachable {DEAD}",)),
        cause="no route",
    ),
    unreachable(
        "a route of the monitoring host says prohibit",
        "prohibited by a route, firewall or SELinux (permission denied)",
        Network(near=(f"route add prohibit {DEAD}",)),
    ),
    unreachable(
        "a route of the monitoring host says blackhole",
        "no usable route (invalid argument)",
        Network(near=(f"route add blackhole {DEAD}",)),
        cause="no route",
    ),
    unreachable("a router knows no route", "network is unreachable", Network(), cause="no route"),
    unreachable(
        "a router says that the host is unreachable",
        "no route to host",
        Network(far=(f"route add unreachable {DEAD}",)),
        cause="no route",
    ),
    unreachable(
        "a router prohibits it",
        "no route to host",
        Network(far=(f"route add prohibit {DEAD}",)),
        cause="no route",
    ),
    unreachable(
        "a router prohibits it, by IPv6",
        "prohibited by a route, firewall or SELinux (permission denied)",
        Network(far=(f"route add prohibit {DEAD_6}",)),
        host=DEAD_6,
    ),
    Behaviour(
        "a router drops every packet",
        HEALTHY,
        "CRITICAL",
        "connect: no answer within 1 s, cause: silent",
        "time",
        quick=False,
        target=f"{DEAD}:25",
        host=DEAD,
        network=Network(far=(f"route add blackhole {DEAD}",)),
    ),
    named(
        "the first of two addresses is dropped on the way, the second answers",
        "answered in # s (slowest: banner # s)",
        Network(
            hosts=f"{DEAD} mx.example\n{ELSEWHERE} mx.example\n",
            far=(f"route add blackhole {DEAD}",),
        ),
        times={"connect": (0.1, 0.3)},
    ),
    named(
        "the first of two addresses is refused on the way, the second answers",
        "answered in # s (slowest: banner # s)",
        Network(
            hosts=f"{DEAD} mx.example\n{ELSEWHERE} mx.example\n",
            far=(f"route add prohibit {DEAD}",),
        ),
        times={"connect": (0, 0.1)},
    ),
    named(
        "the IPv6 address is dropped on the way, that of IPv4 answers",
        "answered in # s (slowest: banner # s)",
        Network(
            hosts=f"{DEAD_6} mx.example\n{ELSEWHERE} mx.example\n",
            far=(f"route add blackhole {DEAD_6}",),
        ),
        times={"connect": (0.1, 0.3)},
    ),
    named(
        "two addresses are dropped on the way",
        f"connect: {DEAD} no answer, 198.51.100.8 no answer: no answer within 1 s, cause: silent",
        Network(
            hosts=f"{DEAD} mx.example\n198.51.100.8 mx.example\n",
            far=("route add blackhole 198.51.100.0/24",),
        ),
        labels="time resolve",
        state="CRITICAL",
    ),
)

ROWS = (
    by_wire(
        "each packet takes 50 ms each way",
        wire.delaying(0.05),
        "answered in # s (slowest: banner # s)",
        *HEALTHY,
        times={
            "connect": (0.1, 0.3),
            "banner": (0.3, 0.5),
            "helo": (0.1, 0.3),
            "quit": (0.1, 0.3),
        },
    ),
    by_wire(
        "each packet takes 0.3 s each way: too slow for the deadline",
        wire.delaying(0.3),
        "banner: no answer within 1 s",
        state="CRITICAL",
        labels=CONNECTED,
        quick=False,
        times={"connect": (0.6, 0.8)},
    ),
    by_wire(
        "the first packet is lost",
        wire.losing_the_first,
        "answered in # s (slowest: connect # s)",
        timeout=3,
        times={"connect": (1, 1.3)},
    ),
    by_wire(
        "the first packet is lost, and the limit for connecting 0.5 s",
        wire.losing_the_first,
        "connect took # s (limit 0.5 s)",
        state="WARNING",
        asks=Question(("-w", "connect=0.5"), ("-w", "0.5")),
        timeout=3,
        times={"connect": (1, 1.3)},
    ),
    by_wire(
        "every fourth packet is lost",
        wire.losing(4),
        "answered in # s (slowest: banner # s)",
        *(Sleep(1), *LARGE),
        asks=SAY_EHLO,
        timeout=5,
        times={"helo": (0.2, 0.9)},
    ),
    by_wire(
        "every sixth packet is damaged",
        wire.corrupting(6),
        "answered in # s (slowest: banner # s)",
        *(Sleep(1), *LARGE),
        asks=SAY_EHLO,
        timeout=5,
    ),
    by_wire(
        "every third packet is overtaken",
        wire.reordering(3, 0.02),
        "answered in # s (slowest: banner # s)",
        *(Sleep(0.3), *LARGE),
        asks=SAY_EHLO,
    ),
    by_wire(
        "every packet comes twice",
        wire.repeating,
        "answered in # s (slowest: banner # s)",
        *(PAUSE, *LARGE),
        asks=SAY_EHLO,
    ),
    by_wire(
        "the wire is cut after the banner",
        wire.cut(b"220 "),
        "helo: no answer within 1 s, cause: silent",
        state="CRITICAL",
        labels=GREETED,
        quick=False,
    ),
    by_wire(
        "the wire is cut after the banner, for half a second",
        wire.cut(b"220 ", 0.5),
        "answered in # s (slowest: helo # s)",
        timeout=5,
        times={"helo": (0.5, 2)},
    ),
    by_wire(
        "the wire is cut in mid-handshake",
        wire.cut(b"220 2.0.0 Ready"),
        "tls: no answer within 1 s, cause: silent",
        *(*GO, Certificate("good"), *AGAIN),
        state="CRITICAL",
        labels=f"{HELOED} starttls",
        asks=WITH_STARTTLS,
        quick=False,
    ),
    by_wire(
        "packets over 576 bytes vanish, so that the certificate does",
        wire.narrow(576),
        "tls: no answer within 1 s, cause: silent",
        *(*GO, Certificate("many names"), *AGAIN),
        state="CRITICAL",
        labels=f"{HELOED} starttls",
        asks=WITH_STARTTLS,
        quick=False,
    ),
)
