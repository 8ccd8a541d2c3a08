"""Certificates of every kind that a mail server may show, made by a private authority."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NAME = "mx.example"

DAY = dt.timedelta(days=1)


def after(days: float) -> dt.datetime:
    """Return the moment so many days from now; an hour later, so that whole days are whole."""
    hour = dt.timedelta(hours=1 if days >= 0 else -1)
    return dt.datetime.now(dt.timezone.utc) + days * DAY + hour


@dataclass(frozen=True)
class Authority:
    """A certificate authority whose own certificate is in the file ``path``."""

    authority: trustme.CA
    path: str

    @classmethod
    def made(cls, folder: Path, name: str) -> Authority:
        """Make one in a folder."""
        authority = trustme.CA(organization_name=name)
        path = folder / f"{name}.pem"
        authority.cert_pem.write_to_path(path)
        return cls(authority, str(path))

    def child(self) -> Authority:
        """Return an authority below this one, in whose certificates' chain its own is."""
        return Authority(self.authority.create_child_ca(), self.path)

    def serving(self, *names: str, days: float = 90, since: float = -60) -> ssl.SSLContext:
        """Return a server's context with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._issued(names, days, since).configure_cert(context)
        return context

    def written(self, path: Path, *names: str, days: float = 90, since: float = -60) -> str:
        """Write a certificate for these names and its key to one file; return its path."""
        self._issued(names, days, since).private_key_and_cert_chain_pem.write_to_path(path)
        return str(path)

    def _issued(self, names: tuple[str, ...], days: float, since: float) -> trustme.LeafCert:
        return self.authority.issue_cert(
            *(names or (NAME,)), not_after=after(days), not_before=after(since)
        )


def self_signed(folder: Path, common_name: str = NAME) -> ssl.SSLContext:
    """Return a server's context with a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(after(-30))
        .not_valid_after(after(90))
        .sign(key, hashes.SHA256())
    )
    path = folder / "self-signed.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
