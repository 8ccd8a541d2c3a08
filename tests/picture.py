"""Draws docs/phases.png: the stages of real runs, stacked, and the response time.

A server of ours answers like one that comes under load: its banner takes longer and longer, then
its login does. The plugin asks it once a second. Needs rrdtool.
"""

from __future__ import annotations

import math
import random
import subprocess
import tempfile
import time
from pathlib import Path

from contrib.generate.colours import COLOURS, STACKED, TIME
from tests import needs, plugin
from tests.servers.authority import NAME, Authority
from tests.servers.scripted import Expect, Handshake, ScriptedServer, Sleep, Step

RUNS = 300
PICTURE = Path(__file__).parents[1] / "docs" / "phases.png"

GREETING = b"250-mx.example\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"


def main(runs: int, picture: Path) -> None:
    """Run the plugin so many times, and draw what it measured."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority.made(folder, "authority")
        began = math.ceil(time.time())
        measured = []
        for second in range(runs):
            time.sleep(max(0.0, began + second - time.time()))
            measured.append(_measure(authority, _delays(second / runs, chance)))
        _draw(folder, began, measured, picture)


def _delays(moment: float, chance: random.Random) -> dict[str, float]:
    """Return the seconds that each reply takes, when so much of the time is over."""
    waves = {"banner": _wave(moment, 0.35), "auth": _wave(moment, 0.75)}
    usual = {"banner": 0.02, "helo": 0.008, "starttls": 0.004, "auth": 0.03, "mail": 0.01}
    return {
        stage: seconds * chance.uniform(0.7, 1.6) + 0.15 * waves.get(stage, 0)
        for stage, seconds in {**usual, "rcpt": 0.02}.items()
    }


def _wave(moment: float, middle: float) -> float:
    return math.exp(-(((moment - middle) / 0.09) ** 2))


def _measure(authority: Authority, delays: dict[str, float]) -> dict[str, float]:
    def reply(stage: str, text: bytes) -> tuple[Step, ...]:
        return (Sleep(delays[stage]), text)

    script: tuple[Step, ...] = (
        *reply("banner", b"220 mx.example ESMTP\r\n"),
        *(Expect(b"EHLO"), *reply("helo", GREETING)),
        *(Expect(b"STARTTLS"), *reply("starttls", b"220 2.0.0 Ready\r\n")),
        *(Handshake(authority.serving(NAME)), Expect(b"EHLO"), *reply("helo", GREETING)),
        *(Expect(b"AUTH PLAIN"), *reply("auth", b"235 2.7.0 Accepted\r\n")),
        *(Expect(b"MAIL"), *reply("mail", b"250 2.1.0 Ok\r\n")),
        *(Expect(b"RCPT"), *reply("rcpt", b"250 2.1.5 Ok\r\n")),
        *(Expect(b"RSET"), b"250 2.0.0 Ok\r\n", Expect(b"QUIT"), b"221 2.0.0 Bye\r\n"),
    )
    with ScriptedServer(script).running() as server:
        outcome = plugin.run(
            *("-H", "localhost", "-4", "-p", str(server.port), "-S", "--sni", NAME),
            *("-U", "monitor", "--rcpt", "postmaster@mx.example"),
            environment={"SSL_CERT_FILE": authority.path, "CHECK_SMTP_HEALTH_AUTHPASS": "s3cret"},
        )
    if outcome.code != 0:
        raise RuntimeError(outcome.stdout)
    return outcome.times()


def _draw(folder: Path, began: int, measured: list[dict[str, float]], picture: Path) -> None:
    stages = [stage for stage in STACKED if stage in measured[0]]
    data = folder / "data.rrd"
    end = began + len(measured) - 1
    _rrdtool(
        *("create", str(data), "--step", "1", "--start", str(began - 1)),
        *(f"DS:{label}:GAUGE:2:0:U" for label in (*stages, "time")),
        f"RRA:AVERAGE:0.5:1:{len(measured)}",
    )
    for second, times in enumerate(measured, began):
        values = [f"{times[label]:.6f}" for label in (*stages, "time")]
        _rrdtool("update", str(data), ":".join([str(second), *values]))
    lines = []
    for stage in stages:
        stack = ":STACK" if stage != stages[0] else ""
        lines += [
            f"DEF:{stage}={data}:{stage}:AVERAGE",
            f"AREA:{stage}{COLOURS[stage]}:{stage}{stack}",
        ]
    lines += [f"DEF:time={data}:time:AVERAGE", f"LINE1:time{TIME}:time"]
    _rrdtool(
        *("graph", str(picture), "--start", str(began), "--end", str(end)),
        *("--width", "640", "--height", "240", "--lower-limit", "0", "--full-size-mode"),
        *("--vertical-label", "seconds", "--color", "BACK#ffffff", "--border", "0"),
        *("--x-grid", "SECOND:30:MINUTE:1:MINUTE:1:0:%H:%M", "--disable-rrdtool-tag"),
        *lines,
    )


def _rrdtool(*arguments: str) -> None:
    subprocess.run([needs.program("rrdtool"), *arguments], stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main(RUNS, PICTURE)
