"""Cyrus and Courier, which answer otherwise than Dovecot: what is found and deleted there."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from check_smtp_health.roundtrip.message import RECIPIENTS, TOKEN, mark
from tests import plugin
from tests.servers import courier, cyrus, embedded
from tests.servers.authority import Authority
from tests.servers.courier import Courier
from tests.servers.cyrus import Cyrus

COME = "answered in # s (slowest: # # s), 1 recipient accepted, delivered to INBOX after # s"
COME_BY = {"imap": COME, "pop3": COME.replace("INBOX", "localhost")}
OTHER = b"From: <a@example.net>\r\nSubject: not yours\r\n\r\nHello\r\n" + b"x" * 600 + b"\r\n"


def trip(
    port: int, *arguments: str, seconds: float = 5, password: str = cyrus.PASSWORD
) -> plugin.Outcome:
    """Send a message to this port and look for it."""
    done = plugin.run(
        *("-H", "127.0.0.1", "-p", str(port), "-F", "client.example", "--rcpt", cyrus.USER),
        *("--deliver", "--delivery-timeout", str(seconds), *arguments),
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": password},
    )
    assert done.stderr == ""
    return done


def said(done: plugin.Outcome) -> tuple[int, str]:
    """Return exit code and status line without the target."""
    line = done.line
    return done.code, re.sub(r"^SMTP \w+ - \S+ ", "", line)


def notes(done: plugin.Outcome) -> list[str]:
    """Return what -v says of the clean-up."""
    lines = [line for line in done.stdout.splitlines() if line.startswith("delivery: ")]
    return [line for line in lines if not re.search("seen in|: connect |after .* s$", line)]


# Cyrus.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "Private CA")


@pytest.fixture(scope="module")
def certificate(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> str:
    return authority.written(tmp_path_factory.mktemp("site") / "certificate", "localhost")


@pytest.fixture(scope="module")
def store(authority: Authority, certificate: str) -> Iterator[Cyrus]:
    """A Cyrus that has some mail of somebody's."""
    with cyrus.running(certificate) as running:
        send(running.ports["lmtp"], OTHER)
        yield running


def send(port: int, message: bytes, rcpt: str = cyrus.USER) -> None:
    """Deliver somebody's message over LMTP."""
    with socket.create_connection(("127.0.0.1", port), 5) as server:
        lines = server.makefile("rb")
        for command in ("", "LHLO a.example", "MAIL FROM:<>", f"RCPT TO:<{rcpt}>", "DATA"):
            server.sendall(f"{command}\r\n".encode() if command else b"")
            while (line := lines.readline())[3:4] == b"-":
                pass
            assert line[:1] in b"23", line
        server.sendall(message + b".\r\n")
        assert lines.readline()[:3] == b"250"


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_cyrus(store: Cyrus, authority: Authority, scheme: str) -> None:
    """In TLS, and nothing is touched but the message."""
    where = ("--mailbox", store.url(scheme), "--ca-file", authority.path)
    done = trip(store.ports["lmtp"], "-L", *where, "-v")
    assert said(done) == (0, COME_BY[scheme])
    assert [b"not yours" in one for one in store.messages()] == [True]


def test_cyrus_at_the_second_look(store: Cyrus, authority: Authority) -> None:
    """A message that comes while the folder is selected is heard of."""
    where = ("--mailbox", store.url(), "--ca-file", authority.path)

    def later(message: bytes) -> None:
        threading.Timer(0.7, send, (store.ports["lmtp"], message)).start()

    with embedded.smtp(later) as port:
        done = trip(port, *where)
    assert said(done) == (0, COME)
    assert 0.5 < done.times()["delivery"] < 3
    assert len(store.messages()) == 1


def test_cyrus_cleans(store: Cyrus, authority: Authority) -> None:
    """A copy in another folder goes, and that a folder is missing is told only."""

    def twice(message: bytes) -> None:
        store.put(message)
        store.put(message, "Sent")

    urls = [store.url(folder=name) for name in ("Sent", "None")]
    where = ("--mailbox", store.url(), *itertools.chain(*(("--clean", url) for url in urls)))
    with embedded.smtp(twice) as port:
        done = trip(port, *where, "--ca-file", authority.path, "-v")
    assert said(done) == (0, COME)
    assert notes(done) == [
        f"delivery: {cyrus.USER}@localhost/None: not cleaned: folder refused: "
        "'NO Mailbox does not exist'"
    ]
    assert (len(store.messages()), store.messages("Sent")) == (1, [])


def test_cyrus_names_its_folder_for_junk(store: Cyrus, authority: Authority) -> None:
    with embedded.smtp(lambda message: store.put(message, "Junk")) as port:
        done = trip(port, "--mailbox", store.url(), "--ca-file", authority.path)
    assert said(done) == (1, f"delivery: came into {cyrus.USER}@localhost/Junk")
    assert store.messages("Junk") == []


@pytest.mark.parametrize(
    ("scheme", "folder", "password", "problem"),
    [
        ("imap", "", "wrong", "/INBOX: login refused (PLAIN): 'NO authentication failure'"),
        ("pop3", "", "wrong", ": login refused (USER): '-ERR (AUTH) Invalid login'"),
        ("imap", "None", cyrus.PASSWORD, "/None: folder refused: 'NO Mailbox does not exist'"),
    ],
)
def test_cyrus_says_no(  # noqa: PLR0917
    store: Cyrus, authority: Authority, scheme: str, folder: str, password: str, problem: str
) -> None:
    usual = ("--mailbox", store.url(), "--ca-file", authority.path)
    where = ("--mailbox", store.url(scheme, folder), "--ca-file", authority.path)
    done = trip(store.ports["lmtp"], "-L", *where, password=password)
    cause = ", cause: login rejected" if "login" in problem else ""
    assert said(done) == (2, f"delivery: {cyrus.USER}@localhost{problem} (after # s){cause}")
    # What is left behind is deleted by no run of the same day.
    others = len(store.messages())
    assert said(trip(store.ports["lmtp"], "-L", *usual)) == (0, COME)
    assert len(store.messages()) == others
    assert any(TOKEN.encode() in one for one in store.messages())


def test_cyrus_that_is_full(certificate: str, authority: Authority) -> None:
    with cyrus.running(certificate, quota=1) as small:
        where = ("--mailbox", small.url(), "--ca-file", authority.path)
        done = trip(small.ports["lmtp"], "-L", *where, seconds=1)
        while done.code == 0:
            send(small.ports["lmtp"], OTHER)
            done = trip(small.ports["lmtp"], "-L", *where, seconds=1)
    # Although it says "not now": nobody's mail gets there until somebody makes room.
    assert done.code == 2, done.line
    assert "452 4.2.2 Over quota" in done.line
    assert done.line.endswith("cause: mailbox full")


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_cyrus_with_too_many_connections(
    certificate: str, authority: Authority, scheme: str
) -> None:
    """It says so without a code, and it is "not now" all the same."""
    with cyrus.running(certificate, further="maxlogins_per_user: 1") as store:
        where = ("--mailbox", store.url(scheme), "--ca-file", authority.path)
        with store.client():
            done = trip(store.ports["lmtp"], "-L", *where, seconds=3)
        code, line = said(done)
        line = re.sub(r"\(\d of", "(# of", line)
        assert (code, line.partition(" refused")[2]) == (
            1,
            f" ({'PLAIN' if scheme == 'imap' else 'USER'}): "
            f"'{'NO' if scheme == 'imap' else '-ERR'} Too many open connections "
            f"(# of 1 for {cyrus.USER})' (after # s), cause: too many connections",
        )
        assert done.seconds > 3


def test_pop3_of_cyrus_has_a_least_delay(certificate: str, authority: Authority) -> None:
    """One login a minute: the first finds the message and deletes it, the next is "not now"."""
    with cyrus.running(certificate, further="popminpoll: 1") as store:
        where = ("--mailbox", store.url("pop3"), "--ca-file", authority.path)
        assert said(trip(store.ports["lmtp"], "-L", *where)) == (0, COME_BY["pop3"])
        assert store.messages() == []
        code, line = said(trip(store.ports["lmtp"], "-L", *where, seconds=2))
    assert (code, "(LOGIN-DELAY)" in line) == (1, True)


# Courier.


@pytest.fixture(scope="module")
def box() -> Iterator[Courier]:
    with courier.running() as running:
        running.put(OTHER)
        running.make("Sent")
        running.put(OTHER, "Sent")
        yield running


INSECURE = ("--auth-insecure",)


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_courier(box: Courier, scheme: str) -> None:
    with embedded.smtp(box.put) as port:
        done = trip(port, "--mailbox", box.url(scheme), *INSECURE)
    assert said(done) == (0, COME_BY[scheme])
    assert [b"not yours" in one.read_bytes() for one in box.messages()] == [True]


def test_courier_cleans(box: Courier) -> None:
    stale = b"%s: x\r\n%s: %s\r\n" % (
        *(TOKEN.encode(), RECIPIENTS.encode()),
        mark(courier.USER).encode(),
    )
    old = b"Date: Mon, 1 Jan 2001 00:00:00 +0000\r\n" + stale + OTHER
    box.put(old, "Sent")  # by its arrival
    clean = ("--clean", box.url(folder="INBOX.Sent"), "--clean", box.url(folder="INBOX.None"))

    def twice(message: bytes) -> None:
        box.put(message)
        box.put(message, "Sent")

    with embedded.smtp(twice) as port:
        done = trip(port, "--mailbox", box.url(), *clean, *INSECURE, "-v")
    assert said(done) == (0, COME)
    assert notes(done) == [
        f"delivery: {courier.USER}@localhost/INBOX.None: not cleaned: folder refused: "
        "'NO Mailbox does not exist, or must be subscribed to.'"
    ]
    assert [b"not yours" in one.read_bytes() for one in box.messages("Sent")] == [True, True]
    assert len(box.messages()) == 1


@pytest.mark.parametrize(
    ("scheme", "folder", "password", "problem"),
    [
        ("imap", "", "wrong", "/INBOX: login refused (PLAIN): 'NO Login failed.'"),
        ("pop3", "", "wrong", ": login refused (USER): '-ERR Login failed.'"),
        (
            "imap",
            "INBOX.None",
            courier.PASSWORD,
            "/INBOX.None: folder refused: 'NO Mailbox does not exist, or must be subscribed to.'",
        ),
    ],
)
def test_courier_says_no(
    box: Courier, scheme: str, folder: str, password: str, problem: str
) -> None:
    with embedded.smtp() as port:
        done = trip(
            port, "--mailbox", box.url(scheme, folder), *INSECURE, password=password, seconds=9
        )
    cause = ", cause: login rejected" if "(AUTH)" in problem or "failure" in problem else ""
    assert said(done) == (2, f"delivery: {courier.USER}@localhost{problem} (after # s){cause}")


def test_courier_without_uidplus() -> None:
    """Where others have mail, the message is only flagged."""
    poor = courier.CAPABILITIES.replace("UIDPLUS ", "")
    with courier.running(poor) as box, embedded.smtp(box.put) as port:
        where = ("--mailbox", box.url(), *INSECURE, "-v")
        assert said(trip(port, *where)) == (0, COME)
        assert box.messages() == []
        box.put(OTHER)
        done = trip(port, *where)
        assert said(done) == (0, COME)
        assert notes(done) == [
            f"delivery: {courier.USER}@localhost/INBOX: only flagged as deleted: there are other "
            "messages, and without UIDPLUS the server might delete some of them as well"
        ]
        flags = [one.name.partition(",")[2] for one in box.messages()]
        assert sorted(flags) == ["", "T"]


@contextlib.contextmanager
def welcomed(port: int) -> Iterator[None]:
    """Have a connection that the server has greeted; it may still know of one that is closed."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port), 5) as other:
            if other.recv(1):
                yield
                return
    raise TimeoutError


def test_courier_with_too_many_connections() -> None:
    """It closes them at once, which is "not now"."""
    with courier.running(connections=1) as box, embedded.smtp(box.put) as port:
        with welcomed(box.ports["imap"]):
            done = trip(port, "--mailbox", box.url(), *INSECURE, seconds=2)
            assert said(done) == (
                1,
                f"delivery: {courier.USER}@localhost/INBOX: connection closed by the server "
                "(after # s)",
            )
        assert said(trip(port, "--mailbox", box.url(), *INSECURE))[1] == COME
