"""A server that says nothing, for it waits for TLS; and others that say nothing, or late."""

from __future__ import annotations

from pathlib import Path

from tests import plugin
from tests.servers.authority import Authority
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.scripted import Handshake, Hang, ScriptedServer, Sleep, Step

TIMEOUT = ("-t", "4")


def answered(*script: Step) -> tuple[int, str, int]:
    """Return what is said of a server with this script, and how often it is connected to."""
    with ScriptedServer(script).running() as server:
        done = plugin.run(*plugin.at(server.port), *TIMEOUT)
    assert done.stderr == ""
    line = done.line.replace(f"127.0.0.1:{server.port} ", "")
    return done.code, line, server.connections


def test_a_server_that_waits_for_tls(tmp_path: Path) -> None:
    """On any port but 25, where senders would never get through."""
    context = Authority.made(tmp_path, "Private CA").serving("mx.example")
    assert answered(Handshake(context), BANNER, *HELO, *QUIT) == (
        2,
        "SMTP CRITICAL - banner: TLS instead of SMTP, try --ssl (after # s), cause: tls required",
        2,
    )


def test_a_server_that_is_silent() -> None:
    assert answered(Hang()) == (
        2,
        "SMTP CRITICAL - banner: no answer within 4 s, cause: silent",
        2,
    )


def test_a_server_that_is_slow() -> None:
    """It is heard out: its connection stays open meanwhile."""
    code, line, _ = answered(Sleep(3.3), BANNER, *HELO, *QUIT)
    assert (code, line) == (0, "SMTP OK - answered in # s (slowest: # # s)")
