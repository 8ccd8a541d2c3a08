"""SASL mechanisms against servers that say anything: a response, or one of our own faults."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scramp import ScramMechanism

from check_smtp_health.errors import LocalFault, Violation
from check_smtp_health.smtp import sasl
from tests import plugin
from tests.servers.catalogue import BANNER, EHLO
from tests.servers.catalogue.login import PASSWORD, USER
from tests.servers.scripted import Expect, Hang, ScriptedServer, Step

WRONG = "the server's SCRAM message is wrong"
FEW = "less than 4096 iterations"
FORBIDDEN = "SCRAM-SHA-256 forbids a character of the user name or password (RFC 4013)"

# What a command line or a file can hold: text, and bytes that are none.
TEXTS = st.text(max_size=12) | st.binary(max_size=12).map(
    lambda said: said.decode("utf-8", "surrogateescape")
)


@pytest.mark.parametrize("mechanism", sasl.MECHANISMS, ids=lambda one: one.name)
@given(user=TEXTS, password=TEXTS, challenges=st.lists(st.binary(max_size=40), max_size=5))
def test_anything_gets_a_response_or_a_fault(
    mechanism: sasl.Mechanism, user: str, password: str, challenges: list[bytes]
) -> None:
    # One that some characters could not be told from by chance.
    exchange = mechanism.run(user, f"s3cret {password}")
    caught: Exception | None = None
    try:
        initial = next(exchange)
        assert initial is None or isinstance(initial, bytes)
        for challenge in challenges:
            assert isinstance(exchange.send(challenge), bytes)
    except (StopIteration, Violation, LocalFault) as fault:
        caught = fault
    assert "s3cret" not in f"{caught!r} {getattr(caught, 'args', '')}"


@given(st.binary(max_size=40))
def test_a_challenge_is_base64_or_a_violation(challenge: bytes) -> None:
    with contextlib.suppress(Violation):
        assert base64.b64encode(sasl.decode(challenge)) == challenge


def test_scram_sha_256() -> None:
    """The server's side is scramp's too; it proves that it knows the password."""
    salt, stored, server_key, count = ScramMechanism("SCRAM-SHA-256").make_auth_info(PASSWORD)
    made = ScramMechanism("SCRAM-SHA-256").make_server(lambda _: (salt, stored, server_key, count))
    mechanism = sasl.scram_sha_256(USER, PASSWORD)
    first = next(mechanism)
    assert first is not None
    made.set_client_first(first.decode())
    final = mechanism.send(made.get_server_first().encode())
    assert final is not None
    made.set_client_final(final.decode())
    assert mechanism.send(made.get_server_final().encode()) == b""


def scram(challenge: str) -> bytes:
    """Return the response to a server's first message; ``NONCE`` in it is the client's."""
    mechanism = sasl.scram_sha_256("monitor", "s3cret")
    first = next(mechanism)
    assert first is not None
    response = mechanism.send(challenge.encode().replace(b"NONCE", first.rpartition(b"r=")[2]))
    assert response is not None
    return response


@pytest.mark.parametrize(
    ("challenge", "problem"),
    [
        ("r=NONCEx,s=QSXCR+Q6sek8bf92,i=4096", ""),
        ("r=NONCEx,s=QSXCR+Q6sek8bf92,i=4095", FEW),
        ("r=NONCEx,s=QSXCR+Q6sek8bf92,i=1", FEW),
        ("r=NONCEx,s=QSXCR+Q6sek8bf92,i=-1", WRONG),
        ("r=NONCEx,s=QSXCR+Q6sek8bf92,i=many", WRONG),
        ("r=NONCEx,s=QSXCR+Q6sek8bf92,i=", WRONG),
        ("r=NONCEx,s=QSXCR+Q6sek8bf9,i=4096", WRONG),
        ("r=NONCEx,s=QSXCR+Q6sek8bf92", WRONG),
        ("r=somebody's,s=QSXCR+Q6sek8bf92,i=4096", WRONG),
        ("i=4096,s=QSXCR+Q6sek8bf92,r=NONCEx", WRONG),
        ("e=other-error", WRONG),
        ("", WRONG),
    ],
)
def test_what_a_scram_server_may_say(challenge: str, problem: str) -> None:
    said = ""
    try:
        assert scram(challenge).startswith(b"c=biws,r=")
    except Violation as violation:
        said = violation.problem
    assert said == problem


@given(st.text(max_size=10), st.text(max_size=10), st.sampled_from(["", "0", "\u0664", "1e3"]))
def test_any_scram_server(nonce: str, salt: str, count: str) -> None:
    with pytest.raises(Violation):
        scram(f"r=NONCE{nonce},s={salt},i={count}")


@pytest.mark.parametrize(
    ("user", "password"), [("monitor", "s3cret\x01"), ("mon\udcff", "s3cret"), ("m", "s3\udce9")]
)
def test_what_scram_forbids_is_our_own_fault(user: str, password: str) -> None:
    with pytest.raises(LocalFault) as caught:
        next(sasl.scram_sha_256(user, password))
    assert caught.value.args == (FORBIDDEN, b"")


@pytest.mark.usefixtures("uncovered")
def test_a_server_cannot_have_us_compute_beyond_the_deadline() -> None:
    server = ScriptedServer(())

    def script() -> Iterator[Step]:
        yield from (BANNER, EHLO, b"250-mx\r\n250 AUTH SCRAM-SHA-256\r\n")
        yield Expect(b"AUTH SCRAM-SHA-256 ")
        nonce = base64.b64decode(server.received[-1].split()[2]).rpartition(b"r=")[2]
        first = b"r=%sx,s=QSXCR+Q6sek8bf92,i=10000000" % nonce  # scramp 1.5 refuses more itself
        yield b"334 " + base64.b64encode(first) + b"\r\n"
        yield Hang()

    server.script = script()
    with server.running():
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-t", "1"),
            *("-U", "monitor"),
            environment={"CHECK_SMTP_HEALTH_AUTHPASS": "s3cret"},
        )
    assert (done.code, done.line, done.stderr, server.faults) == (
        2,
        f"SMTP CRITICAL - 127.0.0.1:{server.port} auth: SCRAM-SHA-256: the server asks for "
        "more computing than there is time for",
        "",
        [],
    )
    assert done.seconds < 1 + plugin.SLACK
