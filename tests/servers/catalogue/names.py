"""What name servers do."""

from __future__ import annotations

from tests.servers import system_resolver as name_server
from tests.servers.catalogue.behaviour import (
    BANNER,
    HELO,
    PAUSE,
    QUIT,
    WELL,
    Behaviour,
    Question,
)
from tests.servers.network import FAR, Network
from tests.servers.system_resolver import NameServer, Says

HEALTHY = (PAUSE, BANNER, *HELO, *QUIT)
DONE = "time resolve connect banner helo quit"
HOST = "mx.example"
TARGET = f"{HOST}:25"

_GOOD = name_server.address(FAR)
_TEMPORARY = "the name servers gave no answer (temporary failure)"


def fails(name: str, problem: str, server: NameServer | None) -> Behaviour:
    """Return the row of a name that is known at once to lead nowhere."""
    return Behaviour(
        name,
        HEALTHY,
        "CRITICAL",
        f"resolve: {problem} (after # s), cause: unresolvable",
        "",
        target=TARGET,
        host=HOST,
        network=Network(name_server=server),
    )


def hangs(name: str, udp: Says, tcp: Says | None = None) -> Behaviour:
    """Return the row of a name server that gives no usable answer."""
    return Behaviour(
        name,
        HEALTHY,
        "CRITICAL",
        "resolve: no answer within 1 s, cause: unresolvable",
        "",
        quick=False,
        target=TARGET,
        host=HOST,
        network=Network(name_server=NameServer(udp, tcp)),
    )


def answers(
    name: str,
    network: Network,
    *,
    state: str = "OK",
    said: str = f"[{FAR}] answered in # s (slowest: banner # s)",
    asks: Question = WELL,
    timeout: int = 1,
    seconds: tuple[float, float] = (0, 0.2),
) -> Behaviour:
    """Return the row of a name that leads to the server in the end, after so many seconds."""
    return Behaviour(
        name,
        HEALTHY,
        state,
        said,
        DONE,
        asks,
        target=TARGET,
        timeout=timeout,
        host=HOST,
        network=network,
        times={"resolve": seconds},
    )


ROWS = (
    answers("answers", Network(name_server=NameServer(_GOOD))),
    fails("says NXDOMAIN", "no such host name", NameServer(name_server.code(3))),
    fails("says SERVFAIL", _TEMPORARY, NameServer(name_server.code(2))),
    fails("says REFUSED", _TEMPORARY, NameServer(name_server.code(5))),
    fails("says NOTIMP", _TEMPORARY, NameServer(name_server.code(4))),
    fails("knows no address", "the name has no address", NameServer(name_server.code(0))),
    fails("is not there", _TEMPORARY, None),
    hangs("never answers", name_server.silence),
    answers(
        "truncates, and answers by TCP",
        Network(name_server=NameServer(name_server.truncated, _GOOD)),
    ),
    fails("truncates, and refuses TCP", _TEMPORARY, NameServer(name_server.truncated)),
    hangs("truncates, and never answers by TCP", name_server.truncated, name_server.silence),
    hangs("answers garbage", name_server.garbage),
    fails("answers three bytes", _TEMPORARY, NameServer(name_server.stump)),
    hangs("answers under another number, as a forger would", name_server.forged(_GOOD)),
    hangs("answers a question that was not asked", name_server.astray(_GOOD)),
    hangs("breaks off in its answer", name_server.cut(_GOOD)),
    fails("answers a loop of aliases", "no such host name", NameServer(name_server.loop)),
    hangs("answers for IPv4, but never for IPv6", name_server.for_ipv4_alone(_GOOD)),
    answers(
        "answers for IPv4, but never for IPv6, with `-4`",
        Network(name_server=NameServer(name_server.for_ipv4_alone(_GOOD))),
        asks=Question(("-4",)),
    ),
    answers(
        "says SERVFAIL for IPv6",
        Network(name_server=NameServer(name_server.for_ipv4_alone(_GOOD, name_server.code(2)))),
    ),
    answers(
        "answers late, with a limit of 0.2 s",
        Network(name_server=NameServer(_GOOD, seconds=0.15)),
        state="WARNING",
        said=f"resolve took # s (limit 0.2 s) [{FAR}]",
        asks=Question(("-w", "resolve=0.2"), ("-w", "0.2")),
        seconds=(0.3, 0.45),
    ),
    answers(
        "is the second of two, and the first is not there",
        Network(name_server=NameServer(_GOOD), resolvers="127.0.0.9 127.0.0.1"),
    ),
    answers(
        "is the second of two, and the first never answers",
        Network(
            name_server=NameServer(_GOOD),
            far=("route add blackhole 198.51.100.0/24",),
            resolvers="198.51.100.53 127.0.0.1",
        ),
        said=f"[{FAR}] answered in # s (slowest: resolve # s)",
        timeout=3,
        seconds=(1, 1.3),
    ),
)
