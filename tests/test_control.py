"""Controls tell our own outage from the target's, in networks that are broken in one way each."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests import needs, plugin
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.namespace import Namespace
from tests.servers.network import private
from tests.servers.scripted import Hang, ScriptedServer

TARGET, CONTROL = "192.0.2.25", "192.0.2.9"

HEALTHY = (BANNER, *HELO, *QUIT)

HERE = (f"addr add {TARGET}/32 dev lo", f"addr add {CONTROL}/32 dev lo")
"""The target and the control are on this machine, where only rules are in the way."""

SILENT_GATEWAY = (
    "tuntap add dev out mode tun",
    "link set out up",
    "addr add 198.51.100.1/24 dev out",
    "route add default via 198.51.100.254 dev out",
)
"""What is sent is never heard of again."""


class World:
    """A namespace, and the servers in it."""

    def __init__(self, stack: ExitStack, namespace: Namespace, folder: Path) -> None:
        self._stack = stack
        self._namespace = namespace
        self._folder = folder

    def serve(self, address: str, port: int, *script: object) -> ScriptedServer:
        """Have a server listen."""
        with self._namespace.entered():
            server = ScriptedServer(script, address=address, port=port)  # type: ignore[arg-type]
            return self._stack.enter_context(server.running())

    def drop(self, rule: str, name: str = "t") -> None:
        """Have packets dropped before they arrive."""
        chain = f"type filter hook input priority 0\n{rule} drop"
        ruleset = f"table inet {name} {{\nchain drops {{\n{chain}\n}}\n}}\n"
        subprocess.run(
            [*self._namespace.prefix, needs.program("nft"), "-f", "-"],
            input=ruleset,
            text=True,
            check=True,
        )

    def check(self, *arguments: str, hosts: str = "", resolver: str = "") -> plugin.Outcome:
        """Run the plugin in here; it must keep to its deadline."""
        names = private(self._folder, hosts=hosts, resolver=resolver)
        began = time.monotonic()
        done = plugin.run(*arguments, "-F", "me.example", prefix=(*self._namespace.prefix, *names))
        assert done.stderr == ""
        assert time.monotonic() - began < 1 + plugin.SLACK
        return done


@contextmanager
def network(folder: Path, *commands: str) -> Iterator[World]:
    """Have a network that those commands of ``ip`` make."""
    namespace = Namespace()
    with ExitStack() as stack:
        stack.callback(namespace.close)
        namespace.ip(*commands)
        yield World(stack, namespace, folder)


def at(target: str = TARGET, seconds: str = "1") -> tuple[str, ...]:
    """Return the options that name the target."""
    return ("-H", target, "-t", seconds)


def test_no_route(tmp_path: Path) -> None:
    with network(tmp_path) as world:
        done = world.check(*at(), "--control", CONTROL)
    assert (done.code, done.line) == (
        3,
        f"SMTP UNKNOWN - {TARGET}:25 connect: network is unreachable, and no answer from the "
        f"control {CONTROL}:25 (after # s), cause: our network",
    )


def test_silent_gateway(tmp_path: Path) -> None:
    with network(tmp_path, *SILENT_GATEWAY) as world:
        done = world.check(*at(), "--control", CONTROL, "--control", f"{CONTROL}:443")
    assert (done.code, done.line) == (
        3,
        f"SMTP UNKNOWN - {TARGET}:25 connect: no answer within 1 s, nor from the controls "
        f"{CONTROL}:25, {CONTROL}:443, cause: our network",
    )


def test_deadline_has_another_state_only_where_it_is_not_our_network(tmp_path: Path) -> None:
    with network(tmp_path, *SILENT_GATEWAY) as world:
        done = world.check(*at(seconds="0.5:warning"), "--control", CONTROL)
        told = world.check(*at(seconds="0.5"), "--control", CONTROL, "--state", "our-network=ok")
    assert (done.code, told.code) == (3, 0)


@pytest.mark.parametrize("ports", [("443",), ("25", "443")])
def test_blocked_port(ports: tuple[str, ...], tmp_path: Path) -> None:
    controls = [f"--control={CONTROL}:{port}" for port in ports]
    with network(tmp_path, *HERE) as world:
        world.serve(TARGET, 25, *HEALTHY)
        world.serve(CONTROL, 25)
        world.serve(CONTROL, 443)
        world.serve(TARGET, 587)
        world.drop("tcp dport 25")
        done = world.check(*at(), *controls, "-v")
    line, *rows, _ = done.stdout.splitlines()
    assert (done.code, line) == (
        3,
        f"SMTP UNKNOWN - {TARGET}:25 connect: no answer within 1 s, but {CONTROL}:443 answers, "
        "cause: port blocked",
    )
    assert [row for row in rows if row.startswith(("control", "cause"))] == [
        "cause    port blocked (network): Ask who runs the monitoring host's network whether it "
        "blocks this port: controls answer on other ports only.",
        *(f"control  {CONTROL}:25 does not answer" for port in ports if port == "25"),
        f"control  {CONTROL}:443 answers",
        f"control  {TARGET}:465 does not answer",
        f"control  {TARGET}:587 answers",
    ]


def test_silent_target(tmp_path: Path) -> None:
    with network(tmp_path, *HERE) as world:
        control = world.serve(CONTROL, 25)
        world.drop(f"ip daddr {TARGET}")
        done = world.check(*at(), "--control", CONTROL)
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {TARGET}:25 connect: no answer within 1 s, cause: silent",
    )
    assert control.connections == 1


def test_silent_target_and_a_control_on_another_port(tmp_path: Path) -> None:
    """It is asked on port 25 as well: a refusal there shows that this is not blocked."""
    with network(tmp_path, *HERE) as world:
        world.serve(CONTROL, 443)
        world.drop(f"ip daddr {TARGET}")
        done = world.check(*at(), "--control", f"{CONTROL}:443")
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {TARGET}:25 connect: no answer within 1 s, cause: silent",
    )


def test_a_control_that_overtakes_another(tmp_path: Path) -> None:
    """What the quicker one has shown, the slower one does not take back."""
    slow = "192.0.2.10"
    with network(tmp_path, *HERE, f"addr add {slow}/32 dev lo") as world:
        world.serve(CONTROL, 443)
        world.serve(slow, 443)
        world.serve(CONTROL, 25)
        world.drop(f"ip daddr {TARGET}")
        world.drop(f"ip daddr {slow} tcp dport 25", "slow")
        controls = ("--control", f"{slow}:443", "--control", f"{CONTROL}:443")
        done = world.check(*at(), *controls)
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {TARGET}:25 connect: no answer within 1 s, cause: silent",
    )


def test_other_family_is_tried(tmp_path: Path) -> None:
    both = f"{TARGET} mx.example\n2001:db8::25 mx.example\n"
    with network(tmp_path, *HERE, "addr add 2001:db8::25/128 dev lo nodad") as world:
        world.serve(CONTROL, 25)
        world.serve("2001:db8::25", 25)
        world.drop(f"ip daddr {TARGET}")
        done = world.check(*at("mx.example"), "-4", "--control", CONTROL, "-v", hosts=both)
    assert done.code == 2
    assert "control  mx.example answers at 2001:db8::25" in done.stdout.splitlines()


def test_a_name_of_one_family_and_a_submission_port(tmp_path: Path) -> None:
    """There is nothing else to ask it for."""
    with network(tmp_path, *HERE) as world:
        world.serve(CONTROL, 587)
        world.drop(f"ip daddr {TARGET}")
        asked = (*at("mx.example"), "-p", "587", "--control", CONTROL, "-v")
        done = world.check(*asked, hosts=f"{TARGET} mx.example\n")
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - mx.example:587 connect: no answer within 1 s, cause: silent [{TARGET}]",
    )
    rows = [row for row in done.stdout.splitlines() if row.startswith("control")]
    assert rows == [f"control  {CONTROL}:587 answers"]


def test_controls_say_nothing_of_those_who_answered(tmp_path: Path) -> None:
    healthy, busy = "192.0.2.11", "192.0.2.12"
    more = (f"addr add {one}/32 dev lo" for one in (healthy, busy))
    with network(tmp_path, *HERE, *more) as world:
        world.serve(healthy, 25, *HEALTHY)
        world.serve(busy, 25, Hang())
        world.drop(f"ip daddr {{ {TARGET}, {CONTROL} }}")
        hosts = ("-H", healthy, "-H", busy)
        done = world.check(*at(), *hosts, "--control", CONTROL)
    assert (done.code, done.line) == (
        2,
        f"SMTP CRITICAL - {busy}:25 banner: no answer within 1 s, cause: silent, also {TARGET}:25 "
        f"connect: no answer within 1 s, nor from the control {CONTROL}:25, cause: our network, "
        "1 of 3 healthy",
    )


def test_refusal_is_an_answer(tmp_path: Path) -> None:
    with network(tmp_path, *HERE) as world:
        control = world.serve(CONTROL, 25)
        done = world.check(*at(), "--control", CONTROL)
    assert (done.code, done.line, control.connections) == (
        2,
        f"SMTP CRITICAL - {TARGET}:25 connect: connection refused (after # s), cause: refused",
        0,
    )


def test_healthy_target(tmp_path: Path) -> None:
    with network(tmp_path, *HERE) as world:
        target, control = world.serve(TARGET, 25, *HEALTHY), world.serve(CONTROL, 25)
        done = world.check(*at(seconds="10"), "--control", CONTROL)
    assert (done.code, target.connections, control.connections) == (0, 1, 0)
    assert done.seconds < 5  # half of the time would be over


def test_controls_are_asked_once(tmp_path: Path) -> None:
    targets = [word for number in range(1, 11) for word in ("-H", f"203.0.113.{number}")]
    with network(tmp_path, *HERE) as world:
        control = world.serve(CONTROL, 25)
        done = world.check(*targets, "-t", "1", "--control", CONTROL)
    assert (done.code, control.connections) == (2, 1)
    assert done.line.count("network is unreachable") == 10


@pytest.mark.parametrize("nameserver", [(), ("--nameserver", "192.0.2.53")])
def test_dead_resolver(nameserver: tuple[str, ...], tmp_path: Path) -> None:
    with network(tmp_path, *HERE, "addr add 192.0.2.53/32 dev lo") as world:
        control = world.serve(CONTROL, 25)
        world.drop("udp dport 53")
        asked = (*at("mx.example"), *nameserver, "--control", CONTROL)
        done = world.check(*asked, resolver="192.0.2.53")
        world.drop(f"ip daddr {CONTROL}")
        nobody = world.check(*asked, resolver="192.0.2.53")
    assert (done.code, done.line, control.connections) == (
        2,
        "SMTP CRITICAL - mx.example:25 resolve: no answer within 1 s, cause: unresolvable",
        1,
    )
    assert (nobody.code, nobody.line) == (
        3,
        "SMTP UNKNOWN - mx.example:25 resolve: no answer within 1 s, nor from the control "
        f"{CONTROL}:25, cause: our network",
    )


def test_dead_resolver_of_a_domain(tmp_path: Path) -> None:
    with network(tmp_path) as world:
        done = world.check(
            *at("example.org"), "--mx", "--nameserver", "192.0.2.53", "--control", CONTROL
        )
    assert (done.code, done.line) == (
        3,
        "SMTP UNKNOWN - example.org resolve: MX of example.org: 192.0.2.53: network is "
        f"unreachable, and no answer from the control {CONTROL}:25 (after # s), "
        "cause: our network, 0 of 1 healthy",
    )


def test_control_that_has_to_be_looked_up(tmp_path: Path) -> None:
    with network(tmp_path, *HERE) as world:
        world.serve(CONTROL, 25)
        world.drop(f"ip daddr {TARGET}")
        hosts = f"{CONTROL} control.example\n"
        done = world.check(*at(), "--control", "control.example", hosts=hosts)
        lost = world.check(*at(), "--control", "control.example")
    assert (done.code, lost.code) == (2, 3)


@pytest.mark.parametrize(
    ("targets", "control"),
    [
        (("192.0.2.1",), "192.0.2.1"),
        (("192.0.2.1",), "192.0.2.1:443"),
        (("a.example", "b.example"), "B.example."),
        (("::1",), "[0:0:0:0:0:0:0:1]:25"),
    ],
)
def test_a_target_is_no_control(targets: tuple[str, ...], control: str) -> None:
    """It could only say what the run says itself: that there is no answer."""
    hosts = [word for one in targets for word in ("-H", one)]
    done = plugin.run(*hosts, "--control", control)
    assert (done.code, done.stdout) == (
        3,
        f"SMTP UNKNOWN - --control: '{control}' is a target of this run, name a host elsewhere\n",
    )
