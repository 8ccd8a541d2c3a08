"""An authority that puts into a certificate what no sane one would."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.servers.authority import after


def tagged(tag: int, data: bytes) -> bytes:
    """Return a value in DER."""
    length = len(data)
    size = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2, "big")
    return bytes([tag]) + size + data


class Signer:
    """An authority that puts anything into a certificate; its own is in the file ``path``."""

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
