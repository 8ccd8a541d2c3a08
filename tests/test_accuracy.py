"""The times that the plugin reports are the ones that the server took, to the millisecond.

The median of a series of runs is held to that. A machine that is busy with something else may
spoil a series, so there are three; a plugin that timed the wrong thing would be wrong in all.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from tests import plugin
from tests.servers.scripted import Expect, ScriptedServer, Sleep

RUNS = 11
SERIES = 3

TOLERANCE = 0.001
"""Seconds that may lie between the two ends of a loopback connection."""

SCRIPT = (
    Sleep(0.02),
    b"220 mail.example.org ESMTP\r\n",
    Expect(b"HELO"),
    Sleep(0.01),
    b"250 mail.example.org\r\n",
    Expect(b"QUIT"),
    Sleep(0.005),
    b"221 2.0.0 Bye\r\n",
)
MOMENTS = 6
"""Moments of one session: connected, banner, HELO, its reply, QUIT, its reply."""


def test_times() -> None:
    for _ in range(SERIES):
        medians = _medians()
        wrong = {stage: error for stage, error in medians.items() if error >= TOLERANCE}
        if not wrong:
            break
    assert wrong == {}


def _medians() -> dict[str, float]:
    """Return how far the reported times are off, by stage."""
    errors: dict[str, list[float]] = defaultdict(list)
    with ScriptedServer(SCRIPT).running() as server:
        for _ in range(RUNS):
            reported = plugin.run("-H", server.address, "-p", str(server.port)).times()
            connected, greeted, helo, heloed, quit_, left = (
                moment for _, moment in server.moments[-MOMENTS:]
            )
            took = {
                "time": heloed - connected,
                "connect": 0.0,
                "banner": greeted - connected,
                "helo": heloed - helo,
                "quit": left - quit_,
            }
            assert list(reported) == list(took)
            for stage, seconds in took.items():
                errors[stage].append(abs(reported[stage] - seconds))
    return {stage: median(several) for stage, several in errors.items()}
