"""No operation in C may hold the loop: whatever a TLS server sends, others are served meanwhile."""

from __future__ import annotations

import dataclasses
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from check_smtp_health.net import driver, trust
from check_smtp_health.net.addresses import Address
from check_smtp_health.net.driver import Deadline
from check_smtp_health.net.operations import Close, Connect, Pause, Read, StartTls, Write
from tests import plugin
from tests.launcher import Launcher, Run, launcher
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.certificates import Certificates
from tests.servers.moody import MoodyServer
from tests.servers.scripted import (
    Act,
    Expect,
    Forever,
    Handshake,
    Hang,
    ScriptedServer,
    Sleep,
    Step,
    Swallow,
)
from tests.servers.tls_flood import (
    HELLO_REQUEST,
    at_once,
    diffie_hellman,
    hello_requests,
    key_updates,
    record,
    tickets_between_data,
    with_group,
)

NAME = "mx.example"

TIMEOUT = 1

AMPLE = 4
"""Seconds of the timeout where it is not what ends the flood: a busy machine floods slowly."""

QUICK = TIMEOUT / 2
"""Seconds that a healthy server beside it takes at most: it shares an interpreter with the flood,
and takes 0.01 to 0.3 s."""

MEMORY_LIMIT = 64 * 1024
"""KiB of the peak of any run."""

WELL = (BANNER, *HELO)

ENDLESS = "more than 65536 bytes of TLS records without data (after # s)"
LONG = "tls: the server's handshake is longer than 262144 bytes (after # s)"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"), NAME)


@pytest.fixture(scope="module")
def started() -> Iterator[Launcher]:
    with launcher() as one:
        yield one


def tickets(pki: Certificates) -> Handshake:
    context = pki.context("good")
    context.num_tickets = 500_000
    return Handshake(context)


def chain(pki: Certificates) -> Handshake:
    """Return a handshake that shows more certificates than OpenSSL takes, behind a good one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf = pki.good.authority.issue_cert(NAME)
    shown = leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes() * 250
    with trustme.Blob(shown).tempfile() as path:
        context.load_cert_chain(path)
    return Handshake(context)


def good(pki: Certificates) -> Handshake:
    return Handshake(pki.context("good"))


def tls_1_2(pki: Certificates) -> Handshake:
    return Handshake(pki.context("TLS 1.2"))


Script = tuple[Step, ...]

FLOODS: dict[str, tuple[Callable[[Certificates], Script], str]] = {
    "HelloRequests before the handshake": (
        lambda pki: (Swallow(), Forever(HELLO_REQUEST * 450)),
        LONG,
    ),
    "HelloRequests after it": (
        lambda pki: (tls_1_2(pki), hello_requests()),
        f"banner: {ENDLESS}",
    ),
    "HelloRequests in place of a reply": (
        lambda pki: (tls_1_2(pki), BANNER, Expect(b"HELO"), hello_requests()),
        f"helo: {ENDLESS}",
    ),
    "tickets": (lambda pki: (tickets(pki),), f"banner: {ENDLESS}"),
    "KeyUpdates": (lambda pki: (good(pki), key_updates()), f"banner: {ENDLESS}"),
    "tickets, and now and then a byte": (
        lambda pki: (good(pki), b"220", tickets_between_data()),
        "banner: more than 262144 bytes of TLS records with hardly any data (after # s)",
    ),
    "records of one byte, without end": (
        lambda pki: (Swallow(), Forever(record(b"\2"), pause=0.001)),
        "tls: handshake failed: excessive message size (after # s)",
    ),
    "a record, byte by byte": (
        lambda pki: (Swallow(), b"\x16\x03\x03\x40\x00", Forever(b"\2", pause=0.01)),
        "tls: no answer within 1 s, cause: silent",
    ),
    "empty records": (
        lambda pki: (Swallow(), Forever(record(b"") * 1000)),
        "tls: the server does not speak TLS here (after # s)"
        if ssl.OPENSSL_VERSION_INFO < (3, 2)
        else "tls: handshake failed: record layer failure (after # s)",
    ),
    "warnings": (
        lambda pki: (Swallow(), Forever(record(b"\1\x5a", 21) * 1000)),
        "tls: handshake failed: too many warn alerts (after # s)",
    ),
    "certificates": (
        lambda pki: (chain(pki),),
        "tls: handshake failed: excessive message size (after # s)",
    ),
    "a group of 10,000 bits": (
        lambda pki: (diffie_hellman(10_000, pki.good.authority, NAME), Hang()),
        "tls: the server's Diffie-Hellman group has 10000 bits, more than 8192 (after # s)",
    ),
    "a group of 8,192 bits": (
        lambda pki: (diffie_hellman(8192, pki.good.authority, NAME), Hang()),
        "tls: no answer within 1 s, cause: silent",
    ),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_ends_and_a_healthy_server_beside_it_stays_so(
    pki: Certificates, started: Launcher, what: str
) -> None:
    script, due = FLOODS[what]
    timeout = TIMEOUT if "no answer" in due else AMPLE
    done = beside_a_healthy_one(pki, started, script(pki), timeout)
    line = plugin.Outcome(done.code, done.stdout, done.stderr, done.seconds).line
    expected = f"SMTP CRITICAL - 127.0.0.1 {due}, 1 of 2 healthy"
    assert (done.code, line) == (2, expected)


LEAVING: dict[str, Callable[[Certificates], Script]] = {
    "HelloRequests in place of an answer": lambda pki: (
        *(tls_1_2(pki), *WELL, Expect(b"QUIT"), hello_requests()),
    ),
    "KeyUpdates in place of an answer": lambda pki: (
        *(good(pki), *WELL, Expect(b"QUIT"), key_updates()),
    ),
    "HelloRequests behind the answer": lambda pki: (tls_1_2(pki), *WELL, *QUIT, hello_requests()),
    "KeyUpdates behind the answer": lambda pki: (good(pki), *WELL, *QUIT, key_updates()),
    "replies": lambda pki: (good(pki), *WELL, Expect(b"QUIT"), Forever(b"221-bye\r\n" * 99)),
}


@pytest.mark.parametrize("what", LEAVING)
def test_a_server_that_was_well_stays_so_however_it_leaves(
    pki: Certificates, started: Launcher, what: str
) -> None:
    done = beside_a_healthy_one(pki, started, LEAVING[what](pki))
    assert done.code == 0
    assert done.stdout.startswith("SMTP OK - 2 of 2 healthy, slowest: ")


def beside_a_healthy_one(
    pki: Certificates, started: Launcher, script: Script, timeout: float = TIMEOUT
) -> Run:
    """Check two servers in one run; return what came of it, without the port."""
    with ScriptedServer(script).running() as flood:
        healthy = MoodyServer(
            address="127.0.0.2", port=flood.port, context=pki.context("good"), implicit=True
        )
        with healthy.running():
            done = started.run(
                *(str(plugin.SCRIPT), "-H", "127.0.0.1", "-H", "127.0.0.2", "-t", str(timeout)),
                *("-p", str(flood.port), "-F", "me.example", "--ssl", "--sni", NAME),
                *("--ca-file", pki.good.path),
                environment={},
            )
        assert (done.stderr, flood.faults) == ("", [])
    assert done.seconds < timeout + plugin.SLACK
    assert done.peak < MEMORY_LIMIT
    healthy_time = plugin.Outcome(0, done.stdout, "", 0).times_of("127.0.0.2")["time"]
    assert healthy_time - done.waited < QUICK
    return dataclasses.replace(done, stdout=done.stdout.replace(f":{flood.port}", ""))


def session(server: ScriptedServer, trust: trust.Trust, *operations: Any) -> Any:
    """Shake hands, have the operations done, and return what came of each, faults as their text."""
    yield Connect(Address(socket.AF_INET, (server.address, server.port)))
    outcomes = []
    for operation in (StartTls(trust, NAME), *operations):
        outcomes.append((yield operation))  # noqa: PERF401
    return [one.value if one.fault is None else one.fault.problem for one in outcomes]


def trusting(pki: Certificates) -> trust.Trust:
    return trust.Trust(trust.TlsOptions(ca_file=pki.good.path))


def test_the_deadline_ends_a_handshake_that_is_being_computed(pki: Certificates) -> None:
    hard = diffie_hellman(8192, pki.good.authority, NAME)
    with ScriptedServer((hard, Hang())).running() as server:
        began = time.monotonic()
        (values,) = driver.run([session(server, trusting(pki), Close())], Deadline(0.2))
        seconds = time.monotonic() - began
    assert values == ["no answer within 0.2 s", None]
    assert seconds < 0.5


def test_a_group_that_is_computed_in_a_thread_is_as_good_as_a_curve(
    pki: Certificates, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf = pki.good.authority.issue_cert(NAME, key_type=trustme.KeyType.RSA)
    leaf.configure_cert(context)
    finite = Handshake(with_group(context, 2048, tmp_path / "group.pem"))
    with ScriptedServer((finite, b"220 hi\r\n", Hang())).running() as server:
        (values,) = driver.run([session(server, trusting(pki), Read())], Deadline(5))
    assert (values[0].version, values[0].cipher[0][:8]) == ("TLSv1.2", "DHE-RSA-")
    assert values[1] == b"220 hi\r\n"


def test_a_handshake_that_fails_in_a_thread_fails_as_any_other(
    pki: Certificates, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf = pki.other.authority.issue_cert(NAME, key_type=trustme.KeyType.RSA)
    leaf.configure_cert(context)
    finite = Handshake(with_group(context, 2048, tmp_path / "group.pem"))
    with ScriptedServer((finite, Hang())).running() as server:
        (values,) = driver.run([session(server, trusting(pki))], Deadline(5))
    assert values == ["certificate unknown issuer"]


def test_what_comes_with_the_last_message_of_the_handshake_needs_no_wait(pki: Certificates) -> None:
    together = at_once(pki.context("TLS 1.2"), b"220 hi\r\n")
    with ScriptedServer((together, Hang())).running() as server:
        (values,) = driver.run([session(server, trusting(pki), Read())], Deadline(2))
    assert values[1] == b"220 hi\r\n"


def test_what_openssl_has_decrypted_already_needs_no_wait(pki: Certificates) -> None:
    data = b"x" * 100_000

    def reading(server: ScriptedServer) -> Any:
        yield Connect(Address(socket.AF_INET, (server.address, server.port)))
        yield StartTls(trusting(pki), NAME)
        yield Pause(0.2)
        received = b""
        while len(received) < len(data):
            outcome = yield Read(limit=1)
            if outcome.fault is not None:
                break
            received += outcome.value
        return received

    with ScriptedServer((good(pki), data, Hang())).running() as server:
        (received,) = driver.run([reading(server)], Deadline(5))
    assert received == data


def test_a_large_write_arrives_whole(pki: Certificates) -> None:
    data = b"x" * 8_000_000 + b"\n"
    with ScriptedServer((good(pki), Sleep(0.1), Expect(b"x"), b"done")).running() as server:
        (values,) = driver.run([session(server, trusting(pki), Write(data), Read())], Deadline(10))
    assert (values[1:], server.received) == ([None, b"done"], [data])


def test_a_connection_that_is_broken_stays_so(pki: Certificates) -> None:
    def breaks(connection: socket.socket, over: threading.Event) -> None:
        os.write(connection.fileno(), record(b"x" * 100, 23))
        over.wait()

    with ScriptedServer((good(pki), Act(breaks))).running() as server:
        broken = session(server, trusting(pki), Read(), Write(b"x"), Read())
        (values,) = driver.run([broken], Deadline(5))
    assert values[1:] == [
        "TLS failed: decryption failed or bad record mac",
        "TLS failed: OpenSSL gives no reason",
        "TLS failed: OpenSSL gives no reason",
    ]


@pytest.mark.parametrize(
    "what", ["HelloRequests before the handshake", "tickets, and now and then a byte"]
)
def test_a_flood_ends_where_nobody_else_is_served(pki: Certificates, what: str) -> None:
    def reads_on(server: ScriptedServer) -> Any:
        yield Connect(Address(socket.AF_INET, (server.address, server.port)))
        outcome = yield StartTls(trusting(pki), NAME)
        while outcome.fault is None:
            outcome = yield Read()
        return outcome.fault.problem

    script, due = FLOODS[what]
    with ScriptedServer(script(pki)).running() as server:
        (problem,) = driver.run([reads_on(server)], Deadline(AMPLE))
    assert f": {problem} (after # s)" in f": {due}"


def test_a_server_that_does_not_take_our_answers_is_given_no_more_of_them(
    pki: Certificates,
) -> None:
    """It asks for new keys and takes none: what it sends is left with the kernel in the end."""
    with ScriptedServer((good(pki), key_updates())).running() as server:
        (values,) = driver.run([session(server, trusting(pki), Read(limit=2))], Deadline(5))
    assert values[1] == "more than 65536 bytes of TLS records without data"


def test_close_notify_is_sent_and_none_is_waited_for(pki: Certificates) -> None:
    with ScriptedServer((good(pki), Expect(b""), Hang())).running() as server:
        began = time.monotonic()
        driver.run([session(server, trusting(pki), Write(b"x\n"), Close())], Deadline(5))
        assert time.monotonic() - began < 1
