"""TLS servers that make work: by what they send without end, and by the size of their numbers.

The ssl module has no name for most of it. Its connections have an ``SSL *`` for ``libssl``, though,
and the library is in this process already. What not even OpenSSL would send is made by hand here.
"""

from __future__ import annotations

import _ssl
import contextlib
import ctypes
import secrets
import select
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import trustme
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.servers.scripted import Act
from tests.servers.signer import tagged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LIBSSL = ctypes.CDLL(_ssl.__file__)

_UPDATE_REQUESTED = 1
"""SSL_KEY_UPDATE_REQUESTED of ssl.h: the other side must change its keys, too, and say so."""

HELLO_REQUEST = b"\x16\x03\x03\x00\x04\x00\x00\x00\x00"
"""A record that asks for a (further) handshake, in clear (RFC 5246 section 7.4.1.1)."""

DHE_RSA = b"\x00\x9e"
"""TLS_DHE_RSA_WITH_AES_128_GCM_SHA256 (RFC 5288)."""

_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)


def hello_requests() -> Act:
    """Ask for another handshake, again and again (TLS 1.2)."""
    return Act(lambda connection, over: _repeat(_LIBSSL.SSL_renegotiate, (), connection, over))


def key_updates() -> Act:
    """Have the keys of both sides changed, again and again (TLS 1.3)."""
    update = _LIBSSL.SSL_key_update
    return Act(lambda connection, over: _repeat(update, (_UPDATE_REQUESTED,), connection, over))


def tickets_between_data() -> Act:
    """Send tickets, and before each a byte of data: no row of records is without (TLS 1.3)."""

    def act(connection: socket.socket, over: threading.Event) -> None:
        assert isinstance(connection, ssl.SSLSocket)
        handle = _handle(connection)
        for _ in range(100):
            for _ in range(100):
                _LIBSSL.SSL_new_session_ticket(handle)
            connection.send(b"-")
            if over.is_set() or _is_gone(connection):
                return

    return Act(act)


def _repeat(
    begin: Callable[..., int],
    arguments: tuple[int, ...],
    connection: socket.socket,
    over: threading.Event,
) -> None:
    assert isinstance(connection, ssl.SSLSocket)
    handle = _handle(connection)
    while not over.is_set():
        begin(handle, *arguments)
        while _LIBSSL.SSL_do_handshake(handle) != 1:
            # Whatever the reason is, the client takes no more for now, or has gone.
            _, writable, broken = select.select((), (connection,), (connection,), 0.05)
            if over.is_set() or broken or (writable and _is_gone(connection)):
                return


def _is_gone(connection: socket.socket) -> bool:
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def _handle(connection: ssl.SSLSocket) -> ctypes.c_void_p:
    """Return the ``SSL *``: behind the head of the object, and a reference to its socket."""
    own = connection._sslobj  # type: ignore[attr-defined]
    place = id(own) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    return ctypes.c_void_p.from_address(place)


def record(data: bytes, kind: int = 22) -> bytes:
    """Return a record, of a handshake's kind where no other is given."""
    return bytes([kind, 3, 3]) + _sized(data, 2)


def message(kind: int, body: bytes) -> bytes:
    """Return a message of a handshake."""
    return bytes([kind]) + _sized(body, 3)


def server_hello(suite: bytes, random: bytes = b"r" * 32, session: bytes = b"") -> bytes:
    """Return the body of a ServerHello; without its one extension (RFC 5746) no client goes on."""
    secure = b"\xff\x01" + _sized(b"\x00", 2)
    return b"\x03\x03" + random + _sized(session, 1) + suite + b"\x00" + _sized(secure, 2)


def group(bits: int) -> bytes:
    """Return ServerDHParams with a modulus of that length; no client asks whether it is prime."""
    modulus = modulus_of(bits)
    share = secrets.randbits(bits - 1).to_bytes(len(modulus), "big")
    return _sized(modulus, 2) + _sized(b"\x02", 2) + _sized(share, 2)


def modulus_of(bits: int) -> bytes:
    """Return an odd number of that length."""
    number = secrets.randbits(bits) | 3 << (bits - 2) | 1
    return number.to_bytes((bits + 7) // 8, "big")


def diffie_hellman(bits: int, authority: trustme.CA, name: str) -> Act:
    """Have the client compute in a group of that size, and compute nothing itself."""
    leaf = authority.issue_cert(name, key_type=trustme.KeyType.RSA)
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    chain = b"".join(
        _sized(ssl.PEM_cert_to_DER_cert(pem.bytes().decode()), 3) for pem in leaf.cert_chain_pems
    )

    def act(connection: socket.socket, over: threading.Event) -> None:
        client = _hello(connection, over)
        parameters, random = group(bits), secrets.token_bytes(32)
        signature = key.sign(client + random + parameters, _PSS, hashes.SHA256())
        flight = (
            message(2, server_hello(DHE_RSA, random)),
            message(11, _sized(chain, 3)),
            message(12, parameters + b"\x08\x04" + _sized(signature, 2)),
            message(14, b""),
        )
        connection.sendall(b"".join(record(one) for one in flight))

    return Act(act)


def with_group(context: ssl.SSLContext, bits: int, path: Path) -> ssl.SSLContext:
    """Return the context, which has TLS 1.2 with such a group left; its key must be RSA."""
    parameters = tagged(2, b"\x00" + modulus_of(bits)) + tagged(2, b"\x02")
    pem = ssl.DER_cert_to_PEM_cert(tagged(0x30, parameters))
    path.write_text(pem.replace("CERTIFICATE", "DH PARAMETERS"))
    context.load_dh_params(str(path))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("DHE")
    return context


def at_once(context: ssl.SSLContext, data: bytes) -> Act:
    """Shake hands (TLS 1.2), and send ``data`` together with the last message of it."""

    def act(connection: socket.socket, over: threading.Event) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while not over.is_set():
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                with contextlib.suppress(socket.timeout):
                    incoming.write(connection.recv(4096))
            else:
                tls.write(data)
                connection.sendall(outgoing.read())
                return

    return Act(act)


def _hello(connection: socket.socket, over: threading.Event) -> bytes:
    """Wait for a whole ClientHello; return its random."""
    seen = b""
    while len(seen) < 5 or len(seen) < 5 + int.from_bytes(seen[3:5], "big"):
        if over.is_set():
            raise ConnectionResetError("no ClientHello came")
        with contextlib.suppress(socket.timeout):
            seen += connection.recv(4096)
    return seen[11:43]


def _sized(data: bytes, size: int) -> bytes:
    """Return the data behind its length."""
    return len(data).to_bytes(size, "big") + data
