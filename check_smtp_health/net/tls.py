"""A TLS connection: OpenSSL never sees the socket, but is fed from memory, piece by piece.

Loaded only by runs that use TLS.
"""

from __future__ import annotations

import selectors
import ssl

from check_smtp_health.errors import Disconnected, Untrusted, Violation
from check_smtp_health.faults import HandshakeFailed, NotTls
from check_smtp_health.net.certificate import Handshake
from check_smtp_health.net.flight import Flight
from check_smtp_health.net.transport import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.errors import Why
    from check_smtp_health.net.transport import Transport

PIECE = 4 * 1024
"""Bytes that OpenSSL is given at once. It works through all that there is before it returns, and
nothing else is served meanwhile: a few ms, for no record is shorter than 5 bytes (819 records), and
the KeyUpdates of TLS 1.3 have 27 (151 of 30 µs). It costs most where one record of 16 KiB has
come in pieces: of the smallest session tickets that holds 910, which take up to 0.1 s."""

HANDSHAKE_LIMIT = 256 * 1024
"""Bytes of a handshake: OpenSSL itself takes 100 KiB of certificates (SSL_MAX_CERT_LIST_DEFAULT)
and 100 KiB of a key exchange (SERVER_KEY_EXCH_MAX_LENGTH); the rest is small."""

EMPTY_LIMIT = 64 * 1024
"""Bytes in a row, after the handshake, that hold no data: session tickets, requests for new keys or
another handshake. A server sends two or three; Go's crypto/tls takes 16 (maxUselessRecords)."""

OVERHEAD_LIMIT = 256 * 1024
"""Bytes of a session, after the handshake, that are more than twice the data in them. So 16 of the
costliest records are the most, whatever data comes between them; 9,000 bytes may come in records of
one byte."""

# What OpenSSL found wrong (X509_V_ERR_* of x509_vfy.h), in our words.
_REASONS: dict[int, Why] = {
    2: "unknown issuer",
    9: "not yet valid",
    10: "expired",
    18: "self-signed",
    19: "unknown issuer",
    20: "unknown issuer",
    21: "unknown issuer",
    24: "bad authority",  # INVALID_CA
    26: "wrong purpose",  # INVALID_PURPOSE
    32: "bad authority",  # KEYUSAGE_NO_CERTSIGN
    62: "wrong name",
    64: "wrong name",
    66: "weak key",  # EE_KEY_TOO_SMALL
    67: "weak authority",  # CA_KEY_TOO_SMALL
    79: "bad authority",  # INVALID_CA of OpenSSL 3: no basic constraints
}

# The reasons of ssl.SSLError that an admin can do something about.
_NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_TOO_SMALL"}
_TOO_OLD = {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_SSL_VERSION"}
_NOTHING_SHARED = {"SSLV3_ALERT_HANDSHAKE_FAILURE", "NO_SHARED_CIPHER"}
_NO_SUCH_NAME = {"TLSV1_UNRECOGNIZED_NAME"}
_WANTS_CERTIFICATE = {"TLSV13_ALERT_CERTIFICATE_REQUIRED"}
# Said to a client that showed none, these mean something else, whatever that is.
_REJECTS_CERTIFICATE = {
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "TLSV1_ALERT_UNKNOWN_CA",
}


LINE_KEPT = 80
"""Octets that are kept of a line that came instead of TLS."""


class TlsTransport:
    """A TLS connection that never waits; methods as in ``transport.Transport``, and a handshake."""

    __slots__ = (
        *("_error", "_first", "_flight", "_incoming", "_is_read", "_is_up", "_name"),
        *("_outgoing", "_overhead", "_plain", "_rest", "_shows_certificate"),
        *("_tells_chain", "_tls"),
        *("_without_data", "wants"),
    )

    def __init__(
        self,
        plain: Transport,
        context: ssl.SSLContext,
        name: str | None,
        *,
        shows_certificate: bool,
        tells_chain: bool,
    ) -> None:
        """Begin the handshake, which sends and verifies ``name``, where there is one.

        ``shows_certificate`` is whether the context has one of ours, ``tells_chain`` whether
        somebody needs all certificates that the server shows.
        """
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        # Bytes: for a str, Python would load its IDNA codec inside the timed stage.
        server = name.encode("ascii") if name is not None else None
        self._name = name
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server)
        self._shows_certificate = shows_certificate
        self._tells_chain = tells_chain
        self._flight = Flight()
        self._without_data = self._overhead = 0
        self._rest = memoryview(b"")
        self._first = b""  # that came: what it is, where it is not TLS
        self._error: ssl.SSLError | None = None
        self._is_up = False
        self._is_read = False  # all that has come: OpenSSL is slow to say so again
        self.wants = selectors.EVENT_READ
        self.compute()  # the ClientHello

    def fileno(self) -> int:
        """Return the file descriptor, for a selector."""
        return self._plain.fileno()

    def handshake(self) -> bool:
        """Go on with the handshake; True once it is done, else ``wants`` says what to wait for.

        Where that is nothing (0), ``compute`` takes long. It must have run, best in a thread,
        before the next call.

        Raises:
            Untrusted: the certificate was rejected.
            HandshakeFailed: the two sides could not agree on TLS.
            Disconnected: the connection ended meanwhile.
        """
        if self.wants and not self._is_up and self._error is None:
            if not (self._flush() and self._take_piece_of_handshake()):
                return False
            if self._flight.is_slow:
                self.wants = 0
                return False
            self.compute()
        self.wants = selectors.EVENT_READ
        if self._error is not None:
            self._flush_if_possible()
            raise _failed(
                self._error,
                shows_certificate=self._shows_certificate,
                name=self._name,
                first=self._first,
            ) from self._error
        return self._flush() and self._is_up

    def _take_piece_of_handshake(self) -> bool:
        piece = self._plain.receive(PIECE)
        if piece is None:
            self.wants = selectors.EVENT_READ
            return False
        if not piece:
            raise Disconnected("connection closed by the server")
        self._without_data += len(piece)
        if self._without_data > HANDSHAKE_LIMIT:
            raise HandshakeFailed(f"the server's handshake is longer than {HANDSHAKE_LIMIT} bytes")
        if len(self._first) < LINE_KEPT:
            self._first += piece[:LINE_KEPT]
        self._flight.note(piece)
        self._incoming.write(piece)
        return True

    def compute(self) -> None:
        """Have OpenSSL work on what has come of the handshake; ``handshake`` tells the outcome.

        It touches no socket, and holds no lock that other threads need.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            self._error = error.with_traceback(None)  # which holds a frame that holds us
            return
        self._without_data = 0
        self._is_up = True

    def result(self) -> Handshake:
        """Return what the handshake has agreed on; reading it takes time, and so waits."""
        try:
            parsed = self._tls.getpeercert()
        except (ValueError, OSError):  # trusted, although a name in it is malformed
            parsed = None
        return Handshake(
            self._tls.version() or "",
            self._tls.cipher(),
            parsed or self._tls.getpeercert(binary_form=True),
            *self._chains(),
        )

    def _chains(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Return what the server showed, and what it was verified by beyond that."""
        if not self._tells_chain:
            return (), ()
        shown = _chain(self._tls, "get_unverified_chain")
        if self._tls.context.verify_mode is ssl.CERT_NONE:
            return shown, ()
        verified = _chain(self._tls, "get_verified_chain")
        return shown, tuple(one for one in verified if one not in shown)

    def receive(self, size: int = CHUNK) -> bytes | None:
        """Return what has come, ``b""`` at the end, None if ``wants`` must be waited for."""
        data = self._decrypted(size)  # what came before may hold more than was asked for
        # A server that only talks, and so takes no answer, must not fill our memory with them.
        if data is not None or not self._flush_if_possible():
            return data
        piece = self._plain.receive(PIECE)
        if piece:
            self._without_data += len(piece)
            self._overhead += len(piece)
            if self._without_data > EMPTY_LIMIT:
                raise Violation(f"more than {EMPTY_LIMIT} bytes of TLS records without data")
            if self._overhead > OVERHEAD_LIMIT:
                raise Violation(
                    f"more than {OVERHEAD_LIMIT} bytes of TLS records with hardly any data"
                )
            self._incoming.write(piece)
            self._is_read = False
            piece = self._decrypted(size)
        self.wants = selectors.EVENT_READ
        if piece is None:
            self._flush_if_possible()
        return piece

    def _decrypted(self, size: int) -> bytes | None:
        """Return the data in what has come, ``b""`` at its end, None where there is none yet."""
        if self._is_read:
            return None
        try:
            data = self._tls.read(size)
        except ssl.SSLWantReadError:
            self._is_read = True
            return None
        except ssl.SSLError as error:
            self._flush_if_possible()
            raise _broken(error, shows_certificate=self._shows_certificate) from error
        self._without_data = 0
        self._overhead = max(0, self._overhead - 2 * len(data))
        return data

    def send(self, data: bytes | None = None) -> bool:
        """Send ``data``, or without it what was left last time; True once nothing is left."""
        if data is not None:
            self._rest = memoryview(data)
        while self._flush():
            if not self._rest:
                return True
            try:
                taken = self._tls.write(self._rest[:CHUNK])
            except ssl.SSLError as error:
                raise _broken(error, shows_certificate=self._shows_certificate) from error
            self._rest = self._rest[taken:]
        return False

    def _flush(self) -> bool:
        """Send what OpenSSL has to say; True once nothing is left, else ``wants`` says so."""
        done = self._plain.send()
        if done and self._outgoing.pending:
            done = self._plain.send(self._outgoing.read())
        if not done:
            self.wants = selectors.EVENT_WRITE
        return done

    def _flush_if_possible(self) -> bool:
        """Do the same for a server that may take nothing any more: what it said still counts."""
        try:
            return self._flush()
        except Disconnected:
            return True

    def close(self) -> None:
        """Send close_notify if that can be done at once, and close the connection."""
        if self._is_up:
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # close_notify is ready, the server's own is not waited for
            self._flush_if_possible()
        self._plain.close()


def _chain(connection: ssl.SSLObject, getter: str) -> tuple[bytes, ...]:
    """Return the certificates that one of the getters gives; none before Python 3.10."""
    if hasattr(connection, getter):
        return tuple(getattr(connection, getter)())
    # Before 3.13 it is there, but without a public name.
    hidden = getattr(connection._sslobj, getter, None)  # type: ignore[attr-defined]
    if hidden is None:
        return ()
    return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in hidden() or ())


def _failed(
    error: ssl.SSLError, *, shows_certificate: bool, name: str | None, first: bytes
) -> Untrusted | HandshakeFailed | Disconnected:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _REASONS.get(error.verify_code, "other")
        words = error.verify_message if why == "other" else why
        return Untrusted(f"certificate {words}", why, words)
    if isinstance(error, ssl.SSLZeroReturnError):
        return Disconnected("connection closed by the server")
    reason = error.reason or ""
    if reason in _NOT_TLS:
        line = first.partition(b"\n")[0].rstrip(b"\r")[:LINE_KEPT]
        is_text = line.isascii() and line.decode("ascii").isprintable()
        return NotTls("the server does not speak TLS here", line if is_text else b"")
    if reason in _TOO_OLD:
        return HandshakeFailed("the server's TLS is too old", reason="tls too old")
    if reason in _NOTHING_SHARED:
        return HandshakeFailed(
            "the server found no common cipher, has no certificate, or wants one of the client",
            reason="nothing shared",
        )
    if reason in _NO_SUCH_NAME:
        return HandshakeFailed(
            f"the server has no certificate for {name or 'a client that names no host'}",
            reason="name unknown",
        )
    if reason in _REJECTS_CERTIFICATE and shows_certificate:
        return HandshakeFailed(
            "the server rejects the client certificate", reason="client certificate rejected"
        )
    return HandshakeFailed(f"handshake failed: {_words(reason)}")


def _broken(error: ssl.SSLError, *, shows_certificate: bool) -> Disconnected:
    reason = error.reason or ""
    if reason in _WANTS_CERTIFICATE:
        return Disconnected(
            "the server wants a client certificate", reason="client certificate wanted"
        )
    if reason in _REJECTS_CERTIFICATE and shows_certificate:
        return Disconnected(
            "the server rejects the client certificate", reason="client certificate rejected"
        )
    return Disconnected(f"TLS failed: {_words(reason)}")


def _words(reason: str) -> str:
    """Return what OpenSSL calls a reason; the text that it has besides tells lines of its code."""
    return reason.lower().replace("_", " ") or "OpenSSL gives no reason"
