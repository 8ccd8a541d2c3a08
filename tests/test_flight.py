"""A server's part of a handshake is read along, to know before OpenSSL how hard it is."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from check_smtp_health.faults import HandshakeFailed
from check_smtp_health.net.flight import SLOW_SIZE, Flight
from tests.servers.certificates import Certificates
from tests.servers.tls_flood import (
    DHE_RSA,
    HELLO_REQUEST,
    group,
    message,
    record,
    server_hello,
    with_group,
)

ECDHE = b"\xc0\x2f"
TLS_1_3 = b"\x13\x01"
RSA_ALONE = b"\x00\x9c"

RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

CURVE = b"\x03\x00\x17\x41" + b"p" * 65 + b"\x04\x01\x01\x00" + b"s" * 256

TOO_LARGE = "the server's Diffie-Hellman group has 8193 bits, more than 8192"


def hello(suite: bytes, random: bytes = b"r" * 32) -> bytes:
    return message(2, server_hello(suite, random, b"s" * 32))


def exchange(body: bytes) -> bytes:
    return message(12, body)


def told(data: bytes, cut: int) -> bool | str:
    """Have it read in pieces of that size; return whether it is slow, or why it is refused."""
    flight = Flight()
    try:
        for at in range(0, len(data), cut):
            flight.note(data[at : at + cut])
    except HandshakeFailed as fault:
        return fault.problem
    return flight.is_slow


TELLS: dict[str, tuple[bytes, bool | str]] = {
    "nothing": (b"", False),
    "TLS 1.3": (record(hello(TLS_1_3)) + record(b"e" * 99, 23), False),
    "another group in TLS 1.3": (record(hello(TLS_1_3, RETRY)) + record(b"\1", 20), True),
    "a curve": (record(hello(ECDHE)) + record(exchange(CURVE)), False),
    "a large group": (record(hello(DHE_RSA)) + record(exchange(group(8192))), True),
    "too large a group": (record(hello(DHE_RSA)) + record(exchange(group(8193))), TOO_LARGE),
    "messages in one record": (record(hello(DHE_RSA) + exchange(group(8193))), TOO_LARGE),
    "a message in many records": (
        b"".join(record(bytes([one])) for one in hello(DHE_RSA) + exchange(group(8193))),
        TOO_LARGE,
    ),
    "what is ignored before it": (
        record(b"\1\x5a", 21) + HELLO_REQUEST + record(hello(DHE_RSA) + exchange(group(8193))),
        TOO_LARGE,
    ),
    "zeros before the number": (
        record(hello(DHE_RSA) + exchange(b"\x04\x10" + bytes(16) + b"\xff" * 1024)),
        True,
    ),
    "no exchange": (record(hello(RSA_ALONE) + message(14, b"")), True),
    "what is not known": (record(hello(b"\xff\xff") + exchange(CURVE)), True),
    "a hello cut short": (record(message(2, b"\3\3" + b"r" * 20)), True),
    "an exchange cut short": (record(hello(DHE_RSA) + exchange(b"\xff")), True),
    # What is encrypted is not read; TLS 1.2 does not say so.
    "what is encrypted": (record(b"e", 23) + record(hello(DHE_RSA)), False),
    "a second exchange": (record(hello(ECDHE) + exchange(CURVE) + hello(DHE_RSA)), False),
    "a long one": (record(hello(ECDHE)) + record(b"\x0b\x00\xff\xff" + b"c" * SLOW_SIZE), True),
}


@pytest.mark.parametrize("what", TELLS)
def test_whole_bytewise_and_with_a_tail(what: str) -> None:
    data, due = TELLS[what]
    assert [told(data, cut) for cut in (1, 7, len(data) + 1)] == [due] * 3
    assert told(data + record(b"")[:3], len(data) + 9) == due


def flights(server: ssl.SSLContext) -> Iterator[bytes]:
    """Give what a server sends in a handshake with a client of ours."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_client, from_client, to_server, from_server = (ssl.MemoryBIO() for _ in range(4))
    client_side = client.wrap_bio(to_client, from_client)
    server_side = server.wrap_bio(to_server, from_server, server_side=True)
    for _ in range(3):
        with contextlib.suppress(ssl.SSLWantReadError):
            client_side.do_handshake()
        to_server.write(from_client.read())
        with contextlib.suppress(ssl.SSLWantReadError):
            server_side.do_handshake()
        flight = from_server.read()
        to_client.write(flight)
        yield flight


def test_of_real_servers(tmp_path: Path) -> None:
    pki = Certificates(tmp_path, "mx.example")
    retrying = pki.context("good")
    retrying.set_ecdh_curve("secp521r1")
    finite = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf = pki.good.authority.issue_cert("mx.example", key_type=trustme.KeyType.RSA)
    leaf.configure_cert(finite)
    servers = {
        "TLS 1.2": pki.context("TLS 1.2"),
        "TLS 1.3": pki.context("good"),
        "another curve": retrying,
        "2,000 names": pki.context("2,000 names"),
        "a group": with_group(finite, 2048, tmp_path / "group.pem"),
    }
    slow = {what: told(b"".join(flights(server)), 4096) for what, server in servers.items()}
    assert slow == {
        "TLS 1.2": False,
        "TLS 1.3": False,
        "another curve": True,
        "2,000 names": True,
        "a group": True,
    }
