"""Round trips to mailboxes with random behaviour: one good line, no false OK, no other mail lost.

The same ones in each run of the suite; ``RANDOM_SERVERS=400`` tries as many new ones.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from check_smtp_health.roundtrip.message import TOKEN
from tests import harmless, plugin
from tests.launcher import Launcher, launcher
from tests.servers import embedded
from tests.servers.moody import Leave, Mood, Proper
from tests.servers.moody_mailbox import OURS, THEIRS, MoodyMailbox, deletes_others
from tests.servers.scripted import Forever, Hang, Reset, Sleep, Slowly

TRIES = int(os.environ.get("RANDOM_SERVERS", "0"))

AS_USUAL = 48

MEMORY_LIMIT = 64 * 1024
"""KiB of the peak of any run."""

TIMEOUT = 0.7
"""Seconds for the message to be found."""

LONGEST = TIMEOUT + 1.5
"""Seconds of any run, without those for which others had the processor."""

PASSWORD = "s3cret"

MOMENTS = {
    "imap": (
        *("greeting", "CAPABILITY", "AUTHENTICATE", "ID", "SELECT", "SEARCH", "FETCH", "NOOP"),
        *("STORE", "EXPUNGE", "MOVE", "LIST", "LOGOUT"),
    ),
    "pop3": ("greeting", "CAPA", "USER", "PASS", "LIST", "UIDL", "TOP", "DELE", "QUIT"),
}
"""When a mailbox may have a mood."""

PIECES = (
    *(b"", b"\r\n", b"TAG OK\r\n", b"* ", b"+ \r\n", b"+OK\r\n", b".\r\n", b"-ERR no\r\n"),
    *(b"-ERR [IN-USE] x\r\n", b"-ERR [SYS/TEMP] x\r\n", b"-ERR [LOGIN-DELAY] x\r\n"),
    *(b"* BYE bye\r\n", b"* PREAUTH hi\r\n", b"a1 NO [UNAVAILABLE] x\r\n", b"a2 NO no\r\n"),
    *(b"a3 BAD User is authenticated but not connected.\r\n", b"a4 NO [INUSE] x\r\n"),
    *(b"* SEARCH 3 7\r\n", b"* SEARCH 1:99999999\r\n", b"* ESEARCH UID 3\r\n", b"* 9999999 EXISTS"),
    *(b"* 1 EXPUNGE\r\n", b"* 1 FETCH (UID 7)\r\n", b"* 1 FETCH (FLAGS (\\Seen))\r\n", b"{4}\r\n"),
    *(b"{99999999999}\r\n", b"* OK [UIDVALIDITY 9] x\r\n", b"* OK [READ-ONLY] x\r\n"),
    *(b'* LIST (\\Junk) "/" "a\\"b"\r\n', b"* CAPABILITY IMAP4rev2 LOGINDISABLED\r\n"),
    *(b"SASL XOAUTH2\r\n.\r\n", b"LOGIN-DELAY 9\r\n", b"1 3\r\n7 99999999999\r\n", b"x" * 3000),
    "a5 NO |time=9 [CRITICAL] <script>\0\x1b[31m\x85\u202e\u2028 'x'\r\n".encode(),
)

SAID = st.one_of(st.sampled_from(PIECES), st.binary(max_size=60))
ENDS: st.SearchStrategy[Mood] = st.sampled_from(
    (
        *((Leave(),), (Reset(),), (), (Hang(),), (Forever(b"* OK still here\r\n"),)),
        *((Forever(b"\0" * 999),), (), (), (Leave(),)),
    )
)
ACTS = st.one_of(
    SAID,
    st.builds(
        Proper, st.integers(0, 300), st.integers(0, 6), st.sampled_from(PIECES) | st.binary()
    ),
    st.builds(Proper, end=st.integers(0, 40)),
    st.just(Proper()),
    st.builds(Sleep, st.floats(0.0, 0.1)),
    st.builds(Slowly, st.binary(max_size=10), st.floats(0.0, 0.02)),
)
MOODS: st.SearchStrategy[Mood] = st.builds(
    lambda acts, end: (*acts, *end), st.lists(ACTS, max_size=3), ENDS
)


@dataclass(frozen=True)
class Visit:
    """A mailbox, and how it is looked into."""

    protocol: str
    moment: str
    mood: Mood
    archives: bool
    arguments: tuple[str, ...]


def visits(protocol: str, moment: str) -> st.SearchStrategy[Visit]:
    """Return visits to mailboxes with a mood at that moment."""
    arguments = (("--tempfail", "ok"), ("--reply",), ("-vv",), ("--output-format", "json"), ())
    return st.builds(
        Visit,
        st.just(protocol),
        st.just(moment),
        MOODS,
        st.just(moment == "MOVE"),
        st.sampled_from(arguments),
    )


class World:
    """An SMTP server that takes messages, and what runs the plugin."""

    def __init__(self, port: int, sent: list[bytes], starter: Launcher) -> None:
        self._port = port
        self._sent = sent
        self._launcher = starter
        self.codes: Counter[tuple[str, int]] = Counter()

    def _header(self) -> bytes:
        return (self._sent or [b""])[-1].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def meet(self, visit: Visit) -> None:
        """Hold a run to being harmless."""
        self._sent.clear()
        box = MoodyMailbox(
            protocol=visit.protocol,
            moods={visit.moment: visit.mood},
            header=self._header,
            archives=visit.archives,
        )
        with box.running():
            url = f"{visit.protocol}://me@127.0.0.1:{box.port}"
            clean = ("--clean", f"{url}/Sent") if visit.protocol == "imap" else ()
            run = self._launcher.run(
                *(str(plugin.SCRIPT), "-H", "127.0.0.1", "-p", str(self._port), "-t", "2"),
                *("-F", "me.example", "--rcpt", "a@x", "--deliver", "--auth-insecure"),
                *("--mailbox", url, *clean, "--delivery-timeout", str(TIMEOUT)),
                *visit.arguments,
                environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
            )
        # Whatever a server does, it is not our own inability.
        assert (run.stderr, run.code != 3 or run.stdout) == ("", True)
        if "json" in visit.arguments:
            harmless.check_json(run.stdout, run.code)
        elif "-vv" in visit.arguments:
            harmless.check_text(run.stdout, run.code, verbose=True)
        else:
            harmless.check_text(run.stdout, run.code)
        assert PASSWORD not in run.stdout.replace("PASS s3cret", "")
        assert run.peak < MEMORY_LIMIT
        assert run.seconds < LONGEST
        self.codes[visit.moment, run.code] += 1
        said = b"".join(box.received)
        # A mood may show a letter of somebody's under our number: then it is the server that lies.
        if visit.moment not in ("FETCH", "TOP"):
            assert [line for line in box.received if deletes_others(line)] == []
        if run.code == 0 and "ok" not in visit.arguments:
            assert (b"FETCH" if visit.protocol == "imap" else b"TOP") in said
            assert TOKEN.encode() in self._header()


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    sent: list[bytes] = []
    with ExitStack() as stack:
        port = stack.enter_context(embedded.smtp(sent.append))
        yield World(port, sent, stack.enter_context(launcher()))


@pytest.mark.hypothesis
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_whatever_a_mailbox_does(world: World, protocol: str) -> None:
    moments = MOMENTS[protocol]
    with_settings = settings(
        max_examples=max(2, (TRIES or AS_USUAL) // sum(map(len, MOMENTS.values()))),
        # Simplifying what fails takes minutes.
        phases=list(Phase) if TRIES else [Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    world.codes.clear()
    for number, moment in enumerate(moments):
        seeded = seed(random.getrandbits(64) if TRIES else number)
        seeded(with_settings(given(visits(protocol, moment))(world.meet)))()
    print(world.codes)
    assert {moment for moment, _ in world.codes} == set(moments)
    assert {code for _, code in world.codes} >= {0, 2}


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("archives", [True, False])
def test_one_in_a_good_mood(world: World, protocol: str, archives: bool) -> None:
    """Otherwise the others would come to nothing: the message is found, and deleted."""
    world.codes.clear()
    world.meet(Visit(protocol, "greeting", (Proper(),), archives, ()))
    assert world.codes == {("greeting", 0): 1}


@pytest.mark.parametrize(
    ("line", "is_bad"),
    [
        (f"a1 UID STORE {OURS} +FLAGS", False),
        (f"a1 UID STORE {OURS},{THEIRS} +FLAGS", True),
        (f"a1 UID MOVE {THEIRS} Trash", True),
        ("a1 EXPUNGE", True),
        (f"a1 UID EXPUNGE {OURS}", False),
        (f"DELE {THEIRS}", True),
        (f"DELE {OURS}", False),
    ],
)
def test_what_would_cost_somebody_a_letter(line: str, is_bad: bool) -> None:
    assert deletes_others(line.encode()) is is_bad
