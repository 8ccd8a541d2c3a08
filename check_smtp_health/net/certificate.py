"""What a server's certificate says, verified by OpenSSL or not. Read while no stage is timed.

Names that cannot be read are left out. A certificate whose dates cannot be read is reported as
such: without dates nobody can say that it is valid.
"""

from __future__ import annotations

import functools
import ssl
import time

from check_smtp_health.loading import shared
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.report import Finding
from check_smtp_health.report.tls import Certificate, TlsFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Literal, TypeVar

    from check_smtp_health.report.tls import Key

    _T = TypeVar("_T")

DAY = 86400

_INFINITE = float("inf")

UNREADABLE = Finding("untrusted", "its dates cannot be read")

NO_PACKAGE = Finding("local", "its dates cannot be read without the package cryptography")

_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)

_EPOCH = 719468
"""Days from March 1st of the year 0 to 1970."""

NAMES = ("DNS", "IP Address")
"""Kinds of names, as OpenSSL calls them, that a server can be verified by (RFC 9525)."""

_VERSION = 0xA0
"""The tag of a certificate's version."""

TITLES = ("commonName", "organizationName", "organizationalUnitName")
"""Parts of a distinguished name as OpenSSL calls them, the most telling first."""


class Handshake(NamedTuple):
    """What a handshake agreed on, raw; the certificate parsed by OpenSSL or, unverified, DER.

    ``chain`` has all certificates that the server showed, its own first, as DER; empty where
    nobody needs it, or this Python cannot tell. ``authorities`` are those that it was verified by
    and that the server did not show.
    """

    version: str
    cipher: tuple[str, str, int] | None
    certificate: Any
    chain: tuple[bytes, ...] = ()
    authorities: tuple[bytes, ...] = ()

    def facts(self, host: str = "", key: Key = "") -> TlsFacts:
        """Return it as it is reported.

        ``host`` is who showed it, unless the session's server, ``key`` the kind of key that was
        asked for.
        """
        # OpenSSL's name for 1.0, which was the first.
        version = "TLS 1.0" if self.version == "TLSv1" else self.version.replace("TLSv", "TLS ")
        read, unread = None, None
        if self.certificate:
            try:
                read = _read(self.certificate)
                unread = UNREADABLE if read is None else None
            except ImportError:
                unread = NO_PACKAGE
        if read is not None:
            read = read._replace(host=host, key=key)
        return TlsFacts(
            version=version,
            cipher=self.cipher[0] if self.cipher else "",
            certificate=read,
            unread=unread,
            is_pinned=False,
            issuers=tuple(
                one._replace(host=host, key=key)
                for one in self._issuers(read.lifetime if read is not None else _INFINITE)
            ),
        )

    def certificates(self, host: str = "", key: Key = "") -> tuple[Certificate, ...]:
        """Return all that it stands on and that can be read, its own first."""
        facts = self.facts(host, key)
        return (() if facts.certificate is None else (facts.certificate,)) + facts.issuers

    def _issuers(self, term: float) -> Iterator[Certificate]:
        shown = tuple(one for one in dict.fromkeys(self.chain[1:]) if one != self.chain[0])
        for der, read in zip(shown + self.authorities, issuers(shown + self.authorities)):
            if read is not None:
                origin: Literal["", "authorities"] = "authorities" if der not in shown else ""
                term = min(term, read.lifetime)
                yield read._replace(term=term, origin=origin)


def issuers(chain: Sequence[bytes]) -> list[Certificate | None]:
    """Return what certificates of authorities (DER) say, None for each that cannot be read.

    OpenSSL itself reads those that may issue others, which all do that a verified one stands on.
    Only for the rest is the package cryptography needed, and they are left out where it is missing.
    """
    read = shared(_read_by_openssl, tuple(chain)) if chain else {}
    return [_issuer(der, read.get(der)) for der in chain]


def _read_by_openssl(chain: Sequence[bytes]) -> dict[bytes, Any]:
    """Return what OpenSSL reads of those that may issue others: its only way to be shown one."""
    store = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for der in chain:
        _unless_malformed(functools.partial(store.load_verify_locations, None, None, der), None)
    try:
        return dict(zip(store.get_ca_certs(binary_form=True), store.get_ca_certs()))
    except (ValueError, OSError):
        # One has a malformed name, and hides the others.
        alone = map(_read_by_openssl, ((der,) for der in chain)) if len(chain) > 1 else ()
        return {der: read for one in alone for der, read in one.items()}


def _issuer(der: bytes, parsed: dict[str, Any] | None) -> Certificate | None:
    try:
        read = _read(der if parsed is None else parsed)
    except ImportError:
        return None
    if read is None:
        return None
    return read._replace(role="root" if read.subject == read.issuer else "intermediate")


def _read(certificate: dict[str, Any] | bytes) -> Certificate | None:
    if isinstance(certificate, bytes):
        return read_certificate(certificate)
    return _unless_malformed(lambda: _parsed(certificate), None)


def read_certificate(der: bytes) -> Certificate | None:
    """Return what a certificate says that OpenSSL has not verified, None where it is unreadable.

    Raises:
        ImportError: the package cryptography (extra ``tls``) is not there.
    """
    from cryptography import x509

    keys = {
        x509.NameOID.COMMON_NAME: "commonName",
        x509.NameOID.ORGANIZATION_NAME: "organizationName",
        x509.NameOID.ORGANIZATIONAL_UNIT_NAME: "organizationalUnitName",
    }

    def title(name: Any) -> dict[str, str]:
        return {keys[part.oid]: str(part.value) for part in name if part.oid in keys}

    def alternatives() -> tuple[str, ...]:
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return (
            *names.get_values_for_type(x509.DNSName),
            *map(str, names.get_values_for_type(x509.IPAddress)),
        )

    read: Any = _unless_malformed(lambda: x509.load_der_x509_certificate(der), None)
    if read is None:
        return None
    dates = _unless_malformed(lambda: _dates(read), None)
    if dates is None:
        return None
    # What is malformed in the names must not hide that the certificate has expired.
    return _made(
        _unless_malformed(lambda: title(read.subject), {}),
        _unless_malformed(lambda: title(read.issuer), {}),
        _unless_malformed(alternatives, ()),
        *dates,
    )


def _unless_malformed(part: Callable[[], _T], otherwise: _T) -> _T:
    try:
        return part()
    except Exception:  # cryptography's for a malformed certificate have nothing in common
        return otherwise


def key_information(der: bytes) -> bytes | None:
    """Return the SubjectPublicKeyInfo in a certificate, None where it cannot be read.

    It is cut out as it is there: written anew, a key of RSASSA-PSS would be one of plain RSA.
    """
    from cryptography import x509

    def information() -> bytes:
        body = x509.load_der_x509_certificate(der).tbs_certificate_bytes
        at, _ = _bounds(body, 0)
        # RFC 5280 section 4.1: before it come serial number, algorithm, issuer, dates and subject,
        # and ahead of these the version, where it is not 1.
        for _ in range(6 if body[at] == _VERSION else 5):
            _, at = _bounds(body, at)
        return body[at : _bounds(body, at)[1]]

    return _unless_malformed(information, None)


def key_bits(der: bytes) -> int | None:
    """Return the size of a certificate's key in bits, None where it cannot be read."""
    try:
        from cryptography import x509
    except ImportError:
        return None
    key: Any = _unless_malformed(lambda: x509.load_der_x509_certificate(der).public_key(), None)
    return getattr(key, "key_size", None)


def _bounds(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content of a value in DER begins, and where it ends."""
    begin, length = at + 2, data[at + 1]
    if length & 0x80:
        begin += length & 0x7F
        length = int.from_bytes(data[at + 2 : begin], "big")
    return begin, begin + length


def host_names(handshake: Handshake) -> tuple[str, ...]:
    """Return the names of hosts that a verified certificate is for, as OpenSSL reads them.

    Without any, that is its common names (RFC 6125 section 6.4.4).
    """
    certificate = handshake.certificate
    if isinstance(certificate, bytes):  # a name in it is malformed
        read = read_certificate(certificate)
        return () if read is None else read.names
    names = tuple(name for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS")
    return names or tuple(
        value for part in certificate["subject"] for key, value in part if key == "commonName"
    )


def is_for(names: Sequence[str], host: str) -> bool:
    """Whether a host is among a certificate's names, as OpenSSL has it.

    A star stands for one whole label, the first (RFC 6125 section 6.4.3), and not for a domain
    right below the root.
    """
    host = plain_name(host)
    above = host.partition(".")[2]
    wanted = {host, f"*.{above}"} if "." in above else {host}
    return any(plain_name(name) in wanted for name in names)


def _parsed(parsed: dict[str, Any]) -> Certificate:
    return _made(
        dict(pair for part in parsed["subject"] for pair in part),
        dict(pair for part in parsed["issuer"] for pair in part),
        tuple(name for kind, name in parsed.get("subjectAltName", ()) if kind in NAMES),
        seconds(parsed["notBefore"]),
        seconds(parsed["notAfter"]),
    )


def seconds(moment: str) -> float:
    """Return the seconds since 1970 until a date of OpenSSL's, ``Jan  5 09:34:43 2018 GMT``.

    ``ssl.cert_time_to_seconds`` does the same with ``strptime``, and takes fifty times as long.

    Raises:
        ValueError: it is none.
    """
    month, day, year = _MONTHS.index(moment[:3]) + 1, int(moment[4:6]), int(moment[16:20])
    hour, minute, second = map(int, moment[7:15].split(":"))
    # A year begins with March, so that a leap day is its last one.
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1
    return ((days - _EPOCH) * 24.0 + hour) * 3600 + minute * 60 + second


def _made(
    subject: dict[str, str],
    issuer: dict[str, str],
    names: tuple[str, ...],
    not_before: float,
    not_after: float,
) -> Certificate:
    now = time.time()
    return Certificate(
        subject=_title(subject),
        issuer=_title(issuer),
        names=names,
        not_before=time.strftime("%Y-%m-%d", time.gmtime(not_before)),
        not_after=time.strftime("%Y-%m-%d", time.gmtime(not_after)),
        is_expired=not_after < now,
        is_early=now < not_before,
        days=int((not_after - now) / DAY),
        days_until_valid=int((not_before - now) / DAY),
        left=(not_after - now) / DAY,
        lifetime=(not_after - not_before) / DAY,
        term=(not_after - not_before) / DAY,
    )


def _dates(certificate: Any) -> tuple[float, float]:
    return _moment(certificate, "not_valid_before"), _moment(certificate, "not_valid_after")


def _moment(certificate: Any, name: str) -> float:
    """Return a date of the certificate; cryptography before 42 has it without time zone, in UTC."""
    aware = getattr(certificate, f"{name}_utc", None)
    if aware is None:
        from datetime import timezone

        aware = getattr(certificate, name).replace(tzinfo=timezone.utc)
    moment: float = aware.timestamp()
    return moment


def _title(name: dict[str, str]) -> str:
    """Return the most telling part of a distinguished name."""
    return next((name[part] for part in TITLES if part in name), "nobody")
