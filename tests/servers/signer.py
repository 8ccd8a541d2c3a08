"""An authority that puts into a certificate what no sane one would."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.servers.authority import after


def tagged(tag: int, data: bytes) -> bytes:
    """Return a value in DER."""
    length = len(data)
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return (
        bytes([tag]) + (bytes([length]) if length < 128 else bytes([128 + len(size)]) + size) + data
    )


def pieces(der: bytes) -> list[bytes]:
    """Return the values in a constructed value in DER, each with its tag."""
    found = []
    rest = _content(der)
    while rest:
        length = len(rest) - len(_after(rest))
        found.append(rest[:length])
        rest = rest[length:]
    return found


def _content(der: bytes) -> bytes:
    begin, end = _bounds(der)
    return der[begin:end]


def _after(der: bytes) -> bytes:
    return der[_bounds(der)[1] :]


def _bounds(der: bytes) -> tuple[int, int]:
    size = der[1] & 0x7F if der[1] & 0x80 else 0
    length = int.from_bytes(der[2 : 2 + size], "big") if size else der[1]
    return 2 + size, 2 + size + length


Change = Callable[[bytes], bytes]

VERSION, VALIDITY, SUBJECT, EXTENSIONS = 0, 4, 5, 7
"""Places of the parts that are changed."""


def _version(number: int) -> tuple[int, Change]:
    return VERSION, lambda part: tagged(0xA0, tagged(2, number.to_bytes(1, "big", signed=True)))


def _dates(begin: bytes, end: bytes) -> tuple[int, Change]:
    return VALIDITY, lambda part: tagged(0x30, begin + end)


def _alternatives(change: Change) -> tuple[int, Change]:
    """Change the first name."""

    def changed(part: bytes) -> bytes:
        value = tagged(0x30, change(tagged(0x82, b"mx.example")))
        extension = tagged(6, b"\x55\x1d\x11") + tagged(4, value)
        return tagged(0xA3, tagged(0x30, tagged(0x30, extension)))

    return EXTENSIONS, changed


def _not_critical(part: bytes) -> bytes:
    """Write out what DER forbids to: the default."""
    ((oid, value),) = (pieces(one) for one in pieces(pieces(part)[0]))
    extension = oid + b"\x01\x01\x00" + value
    return tagged(0xA3, tagged(0x30, tagged(0x30, extension)))


COMMON_NAME = tagged(6, b"\x55\x04\x03")

DIRECTORY_NAME = tagged(
    0xA4, tagged(0x30, tagged(0x31, tagged(0x30, COMMON_NAME + tagged(12, b"a|b"))))
)

EARLY, LATE = tagged(23, b"200101000000Z"), tagged(24, b"20990101000000Z")

VERSION_4 = _version(3)[1]

CHAIN = "a chain element of version 4"

ODD: dict[str, tuple[int, Change]] = {
    "version 1, written out": _version(0),
    "version 2": _version(1),
    "version 4": _version(3),
    "version 5": _version(4),
    "version 0": _version(-1),
    "critical FALSE": (EXTENSIONS, _not_critical),
    "a date that is none": _dates(EARLY, tagged(23, b"991399999999Z")),
    "a date in words": _dates(EARLY, tagged(23, b"next summer..")),
    "a date without a zone": _dates(EARLY, tagged(24, b"20990101000000")),
    "a date in the year 0": _dates(tagged(24, b"00000101000000Z"), LATE),
    "an end in the year 0": _dates(EARLY, tagged(24, b"00000101000000Z")),
    "a common name that is a SEQUENCE": (
        SUBJECT,
        lambda part: tagged(0x30, tagged(0x31, tagged(0x30, COMMON_NAME + tagged(0x30, b"")))),
    ),
    "a directory name": _alternatives(lambda name: DIRECTORY_NAME + name),
    "an address of three bytes": _alternatives(lambda name: tagged(0x87, b"abc") + name),
}
"""What is odd in a certificate: which part, and what is made of it."""


class Signer:
    """An authority that puts anything into a certificate; its own is in the file ``path``.

    ``shown`` is the last odd one that it made.
    """

    shown = b""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.path = str(folder / "signer.pem")
        own = self._begun(self._name, self._key, 365).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        Path(self.path).write_bytes(_pem(own.sign(self._key, hashes.SHA256())))

    def serving(
        self, subject: str, *names: bytes, days: float = 90, serial: int = 5
    ) -> ssl.SSLContext:
        """Return a server's context with a certificate for this subject and these DNS names."""
        key = ec.generate_private_key(ec.SECP256R1())
        begun = self._begun(_named(subject), key, days)
        if names:
            value = tagged(0x30, b"".join(tagged(0x82, name) for name in names))
            alternatives = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), value)
            begun = begun.add_extension(alternatives, critical=False)
        made = begun.sign(self._key, hashes.SHA256())
        der = made.public_bytes(serialization.Encoding.DER)
        # No builder makes a certificate of the number 0; the signature is wrong then, too.
        der = der.replace(b"\x02\x01\x05", bytes([2, 1, serial]), 1)
        path = self._folder / "leaf.pem"
        path.write_bytes(ssl.DER_cert_to_PEM_cert(der).encode() + _pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def odd(self, kind: str, name: str) -> ssl.SSLContext:
        """Return a server's context with a certificate of that kind of ``ODD``, valid otherwise."""
        path = self._folder / "odd.pem"
        key = ec.generate_private_key(ec.SECP256R1())
        begun = self._begun(_named("mx"), key, 90).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
        der = begun.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        own = Path(self.path).read_text()
        if kind == CHAIN:
            own = ssl.DER_cert_to_PEM_cert(
                self._changed(ssl.PEM_cert_to_DER_cert(own), 0, VERSION_4)
            )
        else:
            der = self._changed(der, *ODD[kind])
        self.shown = der
        path.write_bytes(ssl.DER_cert_to_PEM_cert(der).encode() + own.encode() + _pem(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _changed(self, der: bytes, part: int, change: Change) -> bytes:
        """Return a certificate with one of its parts (RFC 5280 section 4.1) changed and signed."""
        body, algorithm, _ = pieces(der)
        parts = pieces(body)
        parts[part] = change(parts[part])
        body = tagged(0x30, b"".join(parts))
        signature = tagged(3, b"\0" + self._key.sign(body, ec.ECDSA(hashes.SHA256())))
        return tagged(0x30, body + algorithm + signature)

    def _begun(self, subject: x509.Name, key: Any, days: float) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(5)
            .not_valid_before(after(-30))
            .not_valid_after(after(days))
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)])


def _pem(made: Any) -> bytes:
    encoding = serialization.Encoding.PEM
    if isinstance(made, x509.Certificate):
        return made.public_bytes(encoding)
    key: bytes = made.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key
