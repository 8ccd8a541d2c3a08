"""TLS: the context that options ask for, and a connection that shakes hands with it.

Loaded only by runs that use TLS.
"""

from __future__ import annotations

import os
import selectors
import ssl

from check_smtp_health.errors import (
    Disconnected,
    HandshakeFailed,
    NotTls,
    Untrusted,
    UnusableFile,
)
from check_smtp_health.escaping import quoted
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.certificate import Handshake
from check_smtp_health.net.transport import CHUNK, lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import TypeVar

    _T = TypeVar("_T")

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which the ssl module has no name."""

_PARTIAL_CHAIN = 0x80000
"""X509_V_FLAG_PARTIAL_CHAIN, whose name the ssl module has from Python 3.10 on."""

# What OpenSSL found wrong (X509_V_ERR_* of x509_vfy.h), in our words.
_REASONS = {
    2: "unknown issuer",
    9: "not yet valid",
    10: "expired",
    18: "self-signed",
    19: "unknown issuer",
    20: "unknown issuer",
    21: "unknown issuer",
    62: "wrong name",
    64: "wrong name",
}

# The reasons of ssl.SSLError that an admin can do something about.
_NOT_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_TOO_SMALL"}
_TOO_OLD = {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_SSL_VERSION"}
_NOTHING_SHARED = {"SSLV3_ALERT_HANDSHAKE_FAILURE", "NO_SHARED_CIPHER"}
_WANTS_CERTIFICATE = {"TLSV13_ALERT_CERTIFICATE_REQUIRED"}
_REJECTS_CERTIFICATE = {
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "TLSV1_ALERT_UNKNOWN_CA",
}


class TlsOptions(NamedTuple):
    """What to trust, what to show, what to insist on. Files are PEM; ``minimum`` as in ``1.2``.

    ``tells_chain`` says that somebody needs all certificates that the server shows.
    """

    verify: bool = True
    ca_file: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    minimum: str = "1.2"
    judge_expiry: bool = True
    tells_chain: bool = False


class Trust:
    """What to trust and what to show: made once, before the clock runs, used for every target."""

    __slots__ = ("_context", "_options")

    def __init__(
        self, options: TlsOptions, unchecked: str = "", anchor: bytes | None = None
    ) -> None:
        """Read all files that the options name, unless an ``anchor`` replaces them.

        ``unchecked`` is why a certificate was rejected: that is left unchecked then.

        Raises:
            UnusableFile: one is unreadable, or holds no certificate or no key.
            Untrusted: the ``anchor`` is malformed.
        """
        self._options = options
        self._context = _context(options, anchor)
        if not options.verify or unchecked not in ("", "wrong name", "expired", "not yet valid"):
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        elif unchecked == "wrong name":
            self._context.check_hostname = False
        if unchecked or not options.judge_expiry:
            self._context.verify_flags |= _NO_CHECK_TIME

    def upgrade(self, plain: socket.socket, name: str | None) -> TlsTransport:
        """Return the TLS connection that takes the plain one's place; ``name`` is verified.

        Raises:
            Disconnected: the plain one is down already.
        """
        # Bytes: for a str, Python would load its IDNA codec inside the timed stage.
        server = name.encode("ascii") if name is not None else None
        try:
            wrapped = self._context.wrap_socket(
                plain, server_hostname=server, do_handshake_on_connect=False
            )
        except OSError as error:
            raise _failed(error) from error
        return TlsTransport(wrapped, tells_chain=self._options.tells_chain)

    def anchored(self, anchor: bytes) -> Trust:
        """Return a trust in what leads up to one certificate (DER), wherever that comes from."""
        return Trust(self._options._replace(verify=True), anchor=anchor)

    def without_checking(self, why: str) -> Trust:
        """Return a trust that ignores what the certificate was rejected for."""
        return Trust(self._options, why)


class TlsTransport:
    """A TLS connection that never waits; methods as in ``transport.Transport``, and a handshake."""

    __slots__ = ("_is_up", "_rest", "_socket", "_tells_chain", "wants")

    def __init__(self, wrapped: ssl.SSLSocket, *, tells_chain: bool = False) -> None:
        self._socket = wrapped
        self._tells_chain = tells_chain
        self._rest = memoryview(b"")
        self._is_up = False
        self.wants = selectors.EVENT_READ

    def fileno(self) -> int:
        """Return the file descriptor, for a selector."""
        return self._socket.fileno()

    def handshake(self) -> bool:
        """Go on with the handshake; True once it is done, else ``wants`` says what to wait for.

        Raises:
            Untrusted: the certificate was rejected.
            HandshakeFailed: the two sides could not agree on TLS.
            Disconnected: the connection ended meanwhile.
        """
        try:
            self._is_up = self._unless_waiting(self._shake_hands) is True
        except ssl.SSLCertVerificationError as error:
            why = _REASONS.get(error.verify_code, error.verify_message)
            raise Untrusted(f"certificate {why}", why) from error
        except OSError as error:
            raise _failed(error) from error
        return self._is_up

    def _shake_hands(self) -> bool:
        self._socket.do_handshake()
        return True

    def result(self) -> Handshake:
        """Return what the handshake has agreed on; reading it takes time, and so waits."""
        try:
            parsed = self._socket.getpeercert()
        except (ValueError, OSError):  # trusted, although a name in it is malformed
            parsed = None
        return Handshake(
            self._socket.version() or "",
            self._socket.cipher(),
            parsed or self._socket.getpeercert(binary_form=True),
            _chain(self._socket) if self._tells_chain else (),
        )

    def receive(self) -> bytes | None:
        """Return what has come, ``b""`` at the end, None if ``wants`` must be waited for."""
        try:
            return self._unless_waiting(lambda: self._socket.recv(CHUNK))
        except OSError as error:
            raise _broken(error) from error

    def send(self, data: bytes | None = None) -> bool:
        """Send ``data``, or without it what was left last time; True once nothing is left."""
        if data is not None:
            self._rest = memoryview(data)
        try:
            while self._rest:
                sent = self._unless_waiting(lambda: self._socket.send(self._rest))
                if sent is None:
                    return False
                self._rest = self._rest[sent:]
        except OSError as error:
            raise _broken(error) from error
        return True

    def _unless_waiting(self, action: Callable[[], _T]) -> _T | None:
        """Return what the action returns, None where it must wait for what ``wants`` says."""
        try:
            return action()
        except ssl.SSLWantReadError:
            self.wants = selectors.EVENT_READ
        except ssl.SSLWantWriteError:
            self.wants = selectors.EVENT_WRITE
        return None

    def close(self) -> None:
        """Say goodbye as far as that can be done at once, and close the connection."""
        if self._is_up:
            try:
                self._socket.unwrap()
            except (OSError, ValueError):
                pass  # close_notify is sent, the server's own is not waited for
        self._socket.close()


def _chain(connection: ssl.SSLSocket) -> tuple[bytes, ...]:
    """Return the certificates that the server showed; none before Python 3.10."""
    if hasattr(connection, "get_unverified_chain"):
        return tuple(connection.get_unverified_chain())
    # Before 3.13 it is there, but without a public name.
    hidden = getattr(connection._sslobj, "get_unverified_chain", None)  # type: ignore[attr-defined]
    if hidden is None:
        return ()
    return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in hidden())


def _context(options: TlsOptions, anchor: bytes | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = VERSIONS[options.minimum]
    if anchor is not None:
        try:
            context.load_verify_locations(cadata=anchor)
        except (ValueError, OSError) as error:
            raise Untrusted("the authority's certificate cannot be read", "malformed") from error
        context.verify_flags |= _PARTIAL_CHAIN
    elif options.verify:
        _load_authorities(context, options)
    if options.certfile is not None:
        _load_own(context, options.certfile, options.keyfile)
    return context


def _load_authorities(context: ssl.SSLContext, options: TlsOptions) -> None:
    if options.ca_file is None and options.ca_path is None:
        _load_system_authorities(context)
    if options.ca_file is not None:
        try:
            context.load_verify_locations(cafile=options.ca_file)
        except (OSError, ValueError) as error:
            raise _unusable("ca_file", options.ca_file, error, "certificate") from error
    if options.ca_path is not None:
        if not os.path.isdir(options.ca_path):
            raise UnusableFile("ca_path", f"{quoted(options.ca_path)} is not a directory")
        context.load_verify_locations(capath=options.ca_path)


def _load_system_authorities(context: ssl.SSLContext) -> None:
    paths = ssl.get_default_verify_paths()
    # Parsing a bundle takes 20 ms; a directory of hashed links is read as far as it is needed.
    if paths.openssl_cafile_env not in os.environ and paths.capath and _is_hashed(paths.capath):
        context.load_verify_locations(capath=paths.capath)
    else:
        context.set_default_verify_paths()


def _is_hashed(path: str) -> bool:
    with os.scandir(path) as entries:
        return any(entry.name.endswith(".0") for entry in entries)


def _load_own(context: ssl.SSLContext, certfile: str, keyfile: str | None) -> None:
    def encrypted() -> str:
        raise UnusableFile("keyfile", f"{quoted(keyfile or certfile)} is encrypted")

    try:
        context.load_cert_chain(certfile, keyfile, encrypted)
    except (OSError, ValueError) as error:
        # Of a path with a NUL, os.path alone says that it is not there.
        is_there = keyfile is None or (os.path.exists(keyfile) and os.access(keyfile, os.R_OK))
        path = certfile if is_there or keyfile is None else keyfile
        field = "keyfile" if path == keyfile else "certfile"
        raise _unusable(field, path, error, "certificate and key that fit") from error


def _unusable(field: str, path: str, error: Exception, wanted: str) -> UnusableFile:
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError):
        return UnusableFile(field, f"{quoted(path)} holds no {wanted}")
    return UnusableFile(field, f"cannot read {quoted(path)}: {error.strerror}")


def _failed(error: OSError) -> HandshakeFailed | Disconnected:
    reason = getattr(error, "reason", None) or ""
    # Which of the three an end in mid-handshake is depends on the version of Python and OpenSSL.
    ends = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    if isinstance(error, ends) or reason == "UNEXPECTED_EOF_WHILE_READING":
        return Disconnected("connection closed by the server")
    if not isinstance(error, ssl.SSLError):
        return lost(error)
    if reason in _NOT_TLS:
        return NotTls("the server does not speak TLS here")
    if reason in _TOO_OLD:
        return HandshakeFailed("the server's TLS is too old", reason="tls too old")
    if reason in _NOTHING_SHARED:
        return HandshakeFailed("the server found no common cipher, or wants a client certificate")
    if reason in _REJECTS_CERTIFICATE:
        return HandshakeFailed(
            "the server rejects the client certificate", reason="client certificate rejected"
        )
    return HandshakeFailed(f"handshake failed: {_words(reason, error)}")


def _broken(error: OSError) -> Disconnected:
    if not isinstance(error, ssl.SSLError):
        return lost(error)
    reason = error.reason or ""
    if reason in _WANTS_CERTIFICATE:
        return Disconnected(
            "the server wants a client certificate", reason="client certificate wanted"
        )
    if reason in _REJECTS_CERTIFICATE:
        return Disconnected(
            "the server rejects the client certificate", reason="client certificate rejected"
        )
    return Disconnected(f"TLS broke: {_words(reason, error)}")


def _words(reason: str, error: OSError) -> str:
    return reason.lower().replace("_", " ") if reason else str(error)
