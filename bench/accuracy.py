"""How far the reported times are from what the server did, for each stage.

The server records a monotonic time for everything that it receives and sends. Both run on one
machine, so the clock is the same. What the plugin reports beyond that is the way there and back.
"""

from __future__ import annotations

import functools
import operator
import re
import socket
import subprocess
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from check_smtp_health.net import driver, turns
from check_smtp_health.net.addresses import Address
from check_smtp_health.net.driver import Deadline
from check_smtp_health.net.operations import Connect, Read
from tests.servers.scripted import Expect, Handshake, Hang, ScriptedServer, Sleep, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    _T = TypeVar("_T")

    from check_smtp_health.net.operations import TimedProcedure
    from tests.servers.authority import Authority

NAME = "mx.example"
PASSWORD = "secret"

ARGUMENTS = (
    *("-H", "127.0.0.1", "-t", "5", "-S", "--sni", NAME, "-A", "LOGIN", "-U", "monitor"),
    *("-f", "monitor@example.org", "--rcpt", "info@example.org", "--no-relay", "a@example.net"),
    *("-C", "NOOP"),
)
"""A session with every stage but ``resolve``, which has no other side on this machine."""

PAUSE = 0.003
"""Seconds that the server waits before it answers."""

BOUNDED = ("connect",)
"""The kernels shake hands: the server sees the end alone, so all that is reported may be wrong."""

_EHLO = Expect(b"EHLO"), Sleep(PAUSE)
_OFFER = b"250-mx.example\r\n250-AUTH LOGIN\r\n"


def _stages(handshake: Handshake) -> tuple[tuple[str, tuple[Step, ...]], ...]:
    """Return what the server does, stage by stage."""
    return (
        ("banner", (Sleep(PAUSE), b"220 mx.example ESMTP\r\n")),
        ("helo", (*_EHLO, _OFFER + b"250 STARTTLS\r\n")),
        ("starttls", (Expect(b"STARTTLS"), Sleep(PAUSE), b"220 2.0.0 Ready\r\n")),
        ("tls", (handshake,)),
        ("helo", (*_EHLO, _OFFER + b"250 SIZE\r\n")),
        ("auth", (*_login(b"AUTH"), *_login(b""), Expect(b""), Sleep(PAUSE), b"235 2.7.0 Yes\r\n")),
        ("mail", (Expect(b"MAIL"), Sleep(PAUSE), b"250 2.1.0 Ok\r\n")),
        ("rcpt", (Expect(b"RCPT"), Sleep(PAUSE), b"250 2.1.5 Ok\r\n")),
        ("relay", (Expect(b"RCPT"), Sleep(PAUSE), b"554 5.7.1 Relay access denied\r\n")),
        ("command", (Expect(b"NOOP"), Sleep(PAUSE), b"250 2.0.0 Ok\r\n")),
        ("", (Expect(b"RSET"), b"250 2.0.0 Ok\r\n")),
        ("quit", (Expect(b"QUIT"), Sleep(PAUSE), b"221 2.0.0 Bye\r\n", Hang())),
    )


def _login(verb: bytes) -> tuple[Step, ...]:
    return Expect(verb), Sleep(PAUSE), b"334 VXNlcm5hbWU6\r\n"


def errors(command: Sequence[str], authority: Authority, runs: int) -> dict[str, list[float]]:
    """Return by how many seconds each stage's time was off, run by run.

    ``command`` is the plugin.
    """
    stages = _stages(Handshake(authority.serving(NAME)))
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        with ScriptedServer([step for _, steps in stages for step in steps]).running() as server:
            done = subprocess.run(
                [*command, *ARGUMENTS, "-p", str(server.port), "--ca-file", authority.path],
                env={"CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD},
                capture_output=True,
                text=True,
                check=True,
            )
        reported = {
            label: float(seconds)
            for label, seconds in re.findall(r"(\w+)=(\d+\.\d{6})s", done.stdout)
        }
        took = _took(stages, [moment for _, moment in server.moments])
        if set(reported) != set(took):
            raise AssertionError(done.stdout)
        for label, seconds in took.items():
            found[label].append(abs(reported[label] - seconds))
    return found


def _took(
    stages: Sequence[tuple[str, tuple[Step, ...]]], moments: Sequence[float]
) -> dict[str, float]:
    """Return the seconds that each stage took the server."""
    took: dict[str, float] = defaultdict(float)
    took["connect"] = 0.0
    end = 1 + sum(_noted(step) for step in stages[0][1])
    took["banner"] = moments[end - 1] - moments[0]
    for stage, steps in stages[1:]:
        began, end = end, end + sum(_noted(step) for step in steps)
        if stage:
            took[stage] += moments[end - 1] - moments[began]
        if stage == "command":
            took["time"] = moments[end - 1] - moments[0]
    return took


def _noted(step: Step) -> int:
    """Return how many moments the server notes for a step."""
    return {Sleep: 0, Hang: 0, Handshake: 2}.get(type(step), 1)


_CROWD = """\
import asyncio, random, sys, time
sent = []
async def serve(reader, writer):
    await asyncio.sleep(random.uniform(0.2, 0.5))
    moment = time.monotonic()
    writer.write(b"220 mx.example\\r\\n")
    sent.append(f"{writer.get_extra_info('peername')[1]}={moment}")
    if len(sent) == int(sys.argv[1]):
        print(*sent, flush=True)
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
"""A server for a crowd, which tells when it spoke to whom."""


def lateness(count: int = 200, *, as_checks: bool = False) -> list[float]:
    """Return by how many seconds each of so many sessions at the same time heard the server late.

    They are those of one run, or of as many checks.
    """

    def session(port: int) -> TimedProcedure[tuple[int, float]]:
        connected = yield Connect(Address(socket.AF_INET, ("127.0.0.1", port)))
        answer = yield Read()
        sum(range(10_000))  # what comes is parsed, too
        return connected.value.sockaddr[1], answer.ended

    with subprocess.Popen(
        [sys.executable, "-c", _CROWD, str(count)], stdout=subprocess.PIPE
    ) as crowd:
        assert crowd.stdout is not None
        port = int(crowd.stdout.readline())
        sessions = [session(port) for _ in range(count)]
        if as_checks:
            found: list[tuple[int, float]] = []
            tickets = [turns.Ticket(functools.partial(_begun, one), 60.0) for one in sessions]
            turns.run(tickets, count, 0.0, lambda _, ended: found.append(ended.value))
            heard = dict(found)
        else:
            heard = dict(driver.run(sessions, Deadline(60)))
        sent = dict(pair.split("=") for pair in crowd.stdout.readline().decode().split())
        crowd.terminate()
    return [heard[int(peer)] - float(moment) for peer, moment in sent.items()]


def _begun(session: TimedProcedure[_T]) -> tuple[list[TimedProcedure[_T]], Callable[[Any], _T]]:
    """Return a check of one session, whose value is that of the session."""
    return [session], operator.itemgetter(0)
