"""What the unencrypted part of a server's TLS handshake says: how long OpenSSL will compute.

It is read before OpenSSL sees it, and only its size is judged: OpenSSL reports what is malformed.
TLS 1.2 encrypts nothing up to ServerHelloDone (RFC 5246 section 7.3), TLS 1.3 all that follows
ServerHello (RFC 8446 section 2).
"""

from __future__ import annotations

from check_smtp_health.faults import HandshakeFailed

GROUP_LIMIT = 8192
"""Bits of a Diffie-Hellman group: the largest of RFC 7919. It takes OpenSSL 0.8 s; 10,000 bits,
which OpenSSL takes too, 2.4 s."""

SLOW_SIZE = 6 * 1024
"""Bytes of a handshake that may take long: a certificate for 16,384 bits of RSA, the
most that OpenSSL takes, and a signature made with it, 30 ms each. Most chains are shorter."""

_HANDSHAKE, _APPLICATION_DATA = 22, 23
"""Types of records (RFC 8446 section 5.1); of other types is only what ends a handshake."""

_SERVER_HELLO, _SERVER_KEY_EXCHANGE, _SERVER_HELLO_DONE = 2, 12, 14
"""Types of messages (RFC 5246 section 7.4)."""

_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""What a ServerHello has for random data where it asks for another group (RFC 8446, 4.1.3)."""

# The suites of TLS 1.3, and those with ECDHE of RFC 5289, 7905 and 8422. What else the two sides
# may have agreed on is Diffie-Hellman with numbers, for all that is known here.
_QUICK = {
    *range(0x1301, 0x1306),
    *(0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9),
    *(0xC009, 0xC00A, 0xC013, 0xC014, 0xC023, 0xC024, 0xC027, 0xC028),
}


class Flight:
    """Reads along what the server sends; ``is_slow`` once OpenSSL may compute for long with it."""

    __slots__ = ("_is_encrypted", "_is_quick", "_messages", "_records", "_size", "is_slow")

    def __init__(self) -> None:
        self._records = bytearray()
        self._messages = bytearray()
        self._size = 0
        self._is_quick = True
        self._is_encrypted = False
        self.is_slow = False

    def note(self, data: bytes) -> None:
        """Read the next piece, however it is cut.

        Raises:
            HandshakeFailed: it would take far too long.
        """
        self._size += len(data)
        if self._size > SLOW_SIZE:
            self.is_slow = True
        if not self._is_encrypted:
            self._records += data
            self._read_records()

    def _read_records(self) -> None:
        records = self._records
        while len(records) >= 5 and not self._is_encrypted:
            end = 5 + int.from_bytes(records[3:5], "big")
            if len(records) < end:
                return
            if records[0] == _APPLICATION_DATA:
                self._is_encrypted = True
            elif records[0] == _HANDSHAKE:
                self._messages += records[5:end]
                self._read_messages()
            del records[:end]

    def _read_messages(self) -> None:
        messages = self._messages
        while len(messages) >= 4 and not self._is_encrypted:
            end = 4 + int.from_bytes(messages[1:4], "big")
            if len(messages) < end:
                return
            kind, body = messages[0], bytes(messages[4:end])
            del messages[:end]
            if kind == _SERVER_HELLO:
                self._read_hello(body)
            elif kind == _SERVER_KEY_EXCHANGE and not self._is_quick:
                _limit_group(body)
            self._is_encrypted = kind in (_SERVER_KEY_EXCHANGE, _SERVER_HELLO_DONE)

    def _read_hello(self, body: bytes) -> None:
        """Note what was agreed on: after version and random comes the session, then the suite."""
        session = int.from_bytes(body[34:35], "big")
        suite = int.from_bytes(body[35 + session : 37 + session], "big")
        self._is_quick = suite in _QUICK
        # The share that the first ClientHello has is of a curve: another may be of a number.
        if not self._is_quick or body[2:34] == _RETRY:
            self.is_slow = True


def _limit_group(body: bytes) -> None:
    """Read ServerDHParams (RFC 5246 section 7.4.3), which begin with the prime.

    For a curve (RFC 8422 section 5.4) that would have 8,184 bits at most.
    """
    size = int.from_bytes(body[:2], "big")
    bits = int.from_bytes(body[2 : 2 + size], "big").bit_length()
    if bits > GROUP_LIMIT:
        raise HandshakeFailed(
            f"the server's Diffie-Hellman group has {bits} bits, more than {GROUP_LIMIT}"
        )
