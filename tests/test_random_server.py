"""Whole sessions against servers in every mood: whatever they do, the plugin gives one good line.

The same ones in each run of the suite; ``RANDOM_SERVERS=5000`` tries as many new ones, as ``make
fuzz`` does with fewer.
"""

from __future__ import annotations

import os
import random
import re
import ssl
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from check_smtp_health.stages import NAMES
from tests import harmless, plugin
from tests.launcher import Launcher, Run, launcher
from tests.servers.authority import Authority, self_signed
from tests.servers.moody import Leave, Mood, MoodyServer, Proper
from tests.servers.scripted import Forever, Hang, Reset, Sleep, Slowly

TRIES = int(os.environ.get("RANDOM_SERVERS", "0"))

AS_USUAL = 96

TRUSTS = ("good", "stranger", "unverified", "good", "good")

MEMORY_LIMIT = 64 * 1024
"""KiB of the peak of any run."""

TIMEOUT = 0.5
"""Seconds of every run's deadline."""

LONGEST = TIMEOUT + 0.5
"""Seconds of any run, without those for which others had the processor."""

TOGETHER = 2
"""Sessions at a time: most of them wait for something."""

PASSWORD = "s3cret w\u00f6rd"

PIECES = (
    *(b"", b"\r\n", b"\n", b"22", b"220\r\n", b"250-\r\n", b"250 \r\n", b"250-a\r\n250 b\r\n"),
    *(b"421 bye\r\n", b"450 later\r\n", b"454 no TLS\r\n", b"500 what\r\n", b"502 no\r\n"),
    *(b"535 wrong\r\n", b"550-no\r\n550 way\r\n", b"554 no\r\n", b"354 go on\r\n", b"235 in\r\n"),
    *(b"334 \r\n", b"334 !!\r\n", b"334 QQ==\r\n", b"334 cj14LHM9UVE9PSxpPTQwOTY=\r\n"),
    *(b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03\x00\x7a\x02\x00", b"SSH-2.0-x\r\n"),
    *(b"HTTP/1.1 400 Bad\r\n\r\n", b"* OK IMAP\r\n", b"250-a\r\n" * 300, b"x" * 5000),
    "550 |time=9 [CRITICAL] <script>\0\x1b[31m\x85\u202e\u2028 'x'\r\n".encode(),
)

SAID = st.one_of(
    st.sampled_from(PIECES),
    st.builds(lambda code, text: b"%d %s\r\n" % (code, text), st.integers(0, 999), st.binary()),
    st.binary(max_size=80),
)
ENDS: st.SearchStrategy[Mood] = st.sampled_from(
    (
        *((Leave(),), (Reset(),), (), (Hang(),), (Forever(b"250-more\r\n"),)),
        *((Forever(b"\0" * 999),), (), (Leave(),), (Reset(),)),
    )
)
PAUSES = st.floats(0.0, 0.1)
ACTS = st.one_of(
    SAID,
    st.builds(
        Proper, st.integers(0, 200), st.integers(0, 6), st.sampled_from(PIECES) | st.binary()
    ),
    st.builds(Proper, end=st.integers(0, 12)),
    st.just(Proper()),
    st.builds(Sleep, PAUSES),
    st.builds(Slowly, st.binary(max_size=10), st.floats(0.0, 0.02)),
)
MOODS: st.SearchStrategy[Mood] = st.builds(
    lambda acts, end: (*acts, *end),
    st.lists(ACTS, max_size=3),
    ENDS,
)

Words = tuple[str, ...]


def some(*choices: Words) -> st.SearchStrategy[Words]:
    """Return one of several pieces of a command line, or none of them."""
    return st.sampled_from(((), *choices))


SENT = ("--rcpt", "a@mx.example", "--deliver")

OPTIONS = (
    some(("--ehlo",), ("-L",), ("--ehlo",)),
    some(("-r",), ("--proxy=v2",)),
    some(("-e", "220 mx"), ("-e", "ESMTP|x")),
    some(("--require", "SIZE", "--require", "AUTH=LOGIN"), ("--forbid", "HELP")),
    some(("-f", "me@x.example"), ("--size", "10"), ("-f", "\u00fc|b@x.example")),
    some(("--rcpt", "a@mx.example", "--rcpt", "b|c@mx.example"), *[SENT] * 2),
    some(("--no-relay", "a|b@relay.example")),
    some(("-U", "monitor", "--auth-insecure", "-A", "PLAIN")),
    some(("-C", "NOOP", "-C", "HELP a|b", "-R", "250"), ("-C", "AUTH LOGIN", "-C", "bWU=")),
    some(("-w", "0.001", "-c", "banner=0.05,9"), ("--tempfail", "ok")),
    some(("-t", f"{TIMEOUT}:unknown")),
    some(("--output-format", "json"), ("--output-format", "json")),
)
LOGINS = tuple(
    ("-U", "monitor", "--auth-insecure", *mechanism)
    for mechanism in (
        *(("-A", "LOGIN"), ("-A", "CRAM-MD5"), ("-A", "SCRAM-SHA-256")),
        *(("-A", "PLAIN"), ("-A", "XOAUTH2"), ()),
    )
)

MOMENTS = (
    *("banner", "greeting", "STARTTLS", "greeting in TLS", "AUTH", "login"),
    *("MAIL", "RCPT", "relay", "NOOP", "DATA", "message", "RSET", "QUIT"),
)
"""When a server may have a mood; those of a row of ``TOGETHER`` are tried at the same time."""

NEEDED: dict[str, tuple[Words, ...]] = {
    "AUTH": LOGINS,
    "login": LOGINS[:3],
    "MAIL": (("-f", "me@x.example"),),
    "RCPT": (("--rcpt", "a@mx.example"),),
    "relay": (("--no-relay", "a@relay.example", "--no-relay", "b@relay.example"),),
    "NOOP": (("-C", "NOOP"), ("-C", "NOOP", "-R", "250")),
    **dict.fromkeys(("DATA", "message"), (SENT,)),
    "RSET": (("-f", ""),),
    "QUIT": ((), SENT),
}
"""What brings a session to its moment; and some to the end, behind a message."""


@dataclass(frozen=True)
class Session:
    """A command line without the host, and the server that it meets."""

    moment: str
    mood: Mood
    arguments: Words
    tls: str
    trust: str
    host: str


def sessions(moment: str) -> st.SearchStrategy[Session]:
    """Return sessions with a mood at that moment."""
    always = moment in ("STARTTLS", "greeting in TLS")
    return st.builds(
        Session,
        st.just(moment),
        MOODS,
        st.tuples(st.sampled_from(NEEDED.get(moment, ((),))), *OPTIONS).map(
            lambda pieces: tuple(word for piece in pieces for word in piece)
        ),
        st.just("-S") if always else st.sampled_from(("", "-S", "--ssl", "")),
        st.sampled_from(("good", "unverified", "good") if always else TRUSTS),
        # Nobody listens on the one in the middle; hypothesis likes the ends best.
        st.sampled_from(("127.0.0.1",) * 5 + ("127.0.0.2",) + ("localhost",) * 5),
    )


@dataclass
class Seen:
    """How often each stage completed, and failed; how often each state was given."""

    completed: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    states: Counter[int] = field(default_factory=Counter)

    def note(self, run: Run, *, is_json: bool) -> None:
        """Hold the output to being harmless, and count what it tells."""
        self.states[run.code] += 1
        if is_json:
            for target in harmless.check_json(run.stdout, run.code)["targets"]:
                for stage in target["stages"]:
                    is_good = stage["failure"] is None and not stage["findings"]
                    (self.completed if is_good else self.failed)[stage["name"]] += 1
            return
        harmless.check_text(run.stdout, run.code)
        line, _, perfdata = run.stdout.partition("| ")
        self.completed.update(re.findall(r"(\w+)=\d+\.\d{6}s", perfdata))
        self.failed.update(re.findall(rf"\b({'|'.join(NAMES)}): ", line))


@dataclass(frozen=True)
class World:
    """Who is trusted, the servers' certificates, and what runs the sessions."""

    authority: Authority
    contexts: dict[str, ssl.SSLContext]
    launchers: list[Launcher]
    threads: ThreadPoolExecutor


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    authority = Authority.made(folder, "good")
    contexts = {"good": authority.serving(), "stranger": self_signed(folder)}
    contexts["unverified"] = contexts["stranger"]
    with ExitStack() as stack:
        launchers = [stack.enter_context(launcher()) for _ in range(TOGETHER)]
        threads = stack.enter_context(ThreadPoolExecutor(TOGETHER))
        yield World(authority, contexts, launchers, threads)


def meet(session: Session, world: World, launcher: Launcher) -> Run:
    """Run the plugin against the server."""
    server = MoodyServer(
        moods={session.moment: session.mood},
        context=world.contexts[session.trust] if session.tls else None,
        implicit=session.tls == "--ssl",
        is_behind_proxy=bool({"-r", "--proxy=v2"} & set(session.arguments)),
        password=PASSWORD,
    )
    authority = ("--ca-file", world.authority.path)
    trust = ("--no-verify",) if session.trust == "unverified" else authority
    with server.running():
        return launcher.run(
            *(str(plugin.SCRIPT), "-H", session.host, "-4", "-p", str(server.port)),
            *("-F", "me.example", "-t", str(TIMEOUT), *session.arguments),
            *((session.tls, "--sni", "mx.example", *trust) if session.tls else ()),
            environment={"CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD},
        )


@pytest.mark.hypothesis
def test_whatever_a_server_does(world: World) -> None:
    seen = Seen()

    def meets(group: tuple[Session, ...]) -> None:
        runs = world.threads.map(meet, group, [world] * TOGETHER, world.launchers)
        for session, run in zip(group, runs):
            assert run.stderr == ""
            assert "s3cret" not in run.stdout
            assert run.peak < MEMORY_LIMIT
            assert run.seconds < LONGEST
            seen.note(run, is_json="json" in session.arguments)

    with_settings = settings(
        max_examples=(TRIES or AS_USUAL) // len(MOMENTS),
        # Simplifying what fails takes minutes.
        phases=list(Phase) if TRIES else [Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    for first in range(0, len(MOMENTS), TOGETHER):
        group = st.tuples(*map(sessions, MOMENTS[first : first + TOGETHER]))
        number = random.getrandbits(64) if TRIES else first
        seed(number)(with_settings(given(group)(meets)))()
    # A strategy that no longer gets deep would go on finding nothing: that is a failure, too.
    print(seen)
    # What a mailbox may say is tried by test_random_mailbox, what gives out tokens by test_oauth.
    stages = [stage for stage in NAMES if stage not in ("delivery", "token")]
    assert [stage for stage in stages if not seen.completed[stage]] == []
    # Which addresses a name has, no server of this test can say.
    assert [stage for stage in stages[1:] if not seen.failed[stage]] == []
    assert set(seen.states) == {0, 1, 2, 3}
