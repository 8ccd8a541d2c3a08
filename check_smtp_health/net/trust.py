"""What TLS trusts, presents and requires: the context that options ask for, with its files read.

Loaded only by runs that use TLS.
"""

from __future__ import annotations

import os
import ssl
import warnings

from check_smtp_health.errors import Untrusted
from check_smtp_health.escaping import quoted
from check_smtp_health.faults import UnusableFile
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.tls import TlsTransport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.errors import Why
    from check_smtp_health.net.transport import Transport
    from check_smtp_health.report.tls import Key

VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}

CIPHERS = "HIGH:MEDIUM:!aNULL:!eNULL:!aDSS:!PSK:!SRP"
"""What mail servers offer each other, much as Postfix's ``medium``: it is worth less than what a
browser wants, but more than the plain text that would follow. Not left to Python, which is built
with one list here and another there, nor to a system-wide configuration."""

SECURITY_LEVELS = {"1.0": 0, "1.1": 0}
"""OpenSSL's levels where they are lower than 2 (112 bits), for lack of a better signature: below
TLS 1.2 it is made by MD5 and SHA-1, which levels above 0 refuse (SSL_CTX_set_security_level)."""

KEYS: dict[Key, str] = {"RSA": "!aECDSA", "ECDSA": "!aRSA"}
"""Kinds of keys that a certificate may have, and the ciphers that leave only such ones to choose
from, in TLS 1.2: the ciphers of TLS 1.3 do not say."""

_BEARABLE = ("wrong name", "expired", "not yet valid")
"""Reasons that leave the chain intact, so that it can still be verified."""

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, for which the ssl module has no name."""

_PARTIAL_CHAIN = 0x80000
"""X509_V_FLAG_PARTIAL_CHAIN, whose name the ssl module has from Python 3.10 on."""

_NO_RENEGOTIATION = getattr(ssl, "OP_NO_RENEGOTIATION", 0)
"""A second handshake, which a server of TLS 1.2 may ask for at any time, has no use here; LibreSSL
knows none."""


class TlsOptions(NamedTuple):
    """What to trust, what to show, what to insist on. Files are PEM; ``minimum`` as in ``1.2``.

    ``tells_chain`` says that somebody needs all certificates that the server shows; ``key`` is the
    kind of key that its own must have, one of ``KEYS``, where it must; ``needs_san`` that
    only a subject alternative name counts, not the common name.
    """

    verify: bool = True
    ca_file: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    minimum: str = "1.2"
    judge_expiry: bool = True
    tells_chain: bool = False
    key: Key = ""
    needs_san: bool = False


class Trust:
    """What to trust and what to show: made once, before the clock runs, used for every target."""

    __slots__ = ("_context", "_options")

    def __init__(
        self, options: TlsOptions, unchecked: Why | None = None, anchor: bytes | None = None
    ) -> None:
        """Read all files that the options name, unless an ``anchor`` replaces them.

        ``unchecked`` is why a certificate was rejected: that is left unchecked then.

        Raises:
            UnusableFile: one is unreadable, or contains no certificate or no key.
            Untrusted: the ``anchor`` is malformed.
        """
        self._options = options
        self._context = _context(options, anchor)
        if anchor is not None:
            self._context.check_hostname = False  # there are several names that it may be for
        if not options.verify or unchecked not in (None, *_BEARABLE):
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        elif unchecked == "wrong name":
            self._context.check_hostname = False
        if unchecked or not options.judge_expiry:
            self._context.verify_flags |= _NO_CHECK_TIME

    def upgrade(self, plain: Transport, name: str | None) -> TlsTransport:
        """Return the TLS connection that takes the plain one's place; ``name`` is verified."""
        return TlsTransport(
            plain,
            self._context,
            name,
            shows_certificate=self._options.certfile is not None,
            tells_chain=self._options.tells_chain,
        )

    def anchored(self, anchor: bytes) -> Trust:
        """Return a trust in what leads up to given certificates, wherever they come from.

        ``anchor`` has them in DER, one after the other. No name is verified.
        """
        return Trust(self._options._replace(verify=True), anchor=anchor)

    def without_checking(self, why: Why) -> Trust:
        """Return a trust that ignores what the certificate was rejected for."""
        return Trust(self._options, why)

    def limited_to(self, key: Key) -> Trust:
        """Return the same trust in a server's certificate with a key of that kind."""
        return Trust(self._options._replace(key=key))


def _context(options: TlsOptions, anchor: bytes | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _set_version(context, options)
    level = SECURITY_LEVELS.get(options.minimum, 2)
    limit = f":{KEYS[options.key]}" if options.key else ""
    context.set_ciphers(f"{CIPHERS}{limit}:@SECLEVEL={level}")
    context.options |= _NO_RENEGOTIATION
    context.hostname_checks_common_name = not options.needs_san
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


def _set_version(context: ssl.SSLContext, options: TlsOptions) -> None:
    minimum = VERSIONS[options.minimum]
    if options.key:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        minimum = min(minimum, ssl.TLSVersion.TLSv1_2)
    with warnings.catch_warnings():
        # The versions before 1.2 are deprecated; whether to use them is the admin's decision.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = minimum


def _load_authorities(context: ssl.SSLContext, options: TlsOptions) -> None:
    if options.ca_file is None and options.ca_path is None:
        _load_system_authorities(context)
    else:
        # What is named is trusted, as it stands: an intermediate, or the server's own.
        context.verify_flags |= _PARTIAL_CHAIN
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
        raise _unusable(field, path, error, "matching certificate and key") from error


def _unusable(field: str, path: str, error: Exception, wanted: str) -> UnusableFile:
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError):
        return UnusableFile(field, f"{quoted(path)} contains no {wanted}")
    return UnusableFile(field, f"cannot read {quoted(path)}: {error.strerror}")
