"""Trust anchors that are not in a file but in a TLSA record (RFC 7671 section 5.2.1).

Loaded only by runs that look at such records. The package cryptography (extra ``tls``) reads them.
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
_END = dt.datetime(9999, 12, 31, tzinfo=dt.timezone.utc)
"""A key has no dates."""


def is_certificate(der: bytes) -> bool:
    """Whether this is a certificate, whole, with a key that can be used."""
    try:
        x509.load_der_x509_certificate(der).public_key()
    except Exception:  # cryptography's for what is malformed have nothing in common
        return False
    return True


def is_key(der: bytes) -> bool:
    """Whether this is the SubjectPublicKeyInfo of a key that can be used."""
    return _key(der) is not None


def anchors_of_key(der: bytes, shown: bytes) -> list[bytes]:
    """Return what to trust so that a certificate signed with a bare key is trusted, and no other.

    ``der`` is the SubjectPublicKeyInfo, ``shown`` the certificate (DER). OpenSSL by way of Python
    takes no key, so one is made for it: the issuer's, of which only name and key count.
    """
    try:
        certificate = x509.load_der_x509_certificate(shown)
        key = _key(der)
        _verify(key, certificate)
        builder = (
            x509.CertificateBuilder()
            .subject_name(certificate.issuer)
            .issuer_name(certificate.issuer)
            .public_key(key)
            .serial_number(_serial_number(certificate))
            .not_valid_before(_BEGINNING)
            .not_valid_after(_END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        # Nobody verifies what a trust anchor is signed with.
        made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    except Exception:  # not signed by it, malformed, or of a kind that cryptography does not know
        return []
    if certificate.issuer == certificate.subject:
        return [shown]
    return [made.public_bytes(serialization.Encoding.DER)]


def _key(der: bytes) -> Any:
    try:
        return serialization.load_der_public_key(der)
    except Exception:  # as above
        return None


def _verify(key: Any, certificate: x509.Certificate) -> None:
    """Verify the signature, by the algorithm that goes with the key."""
    digest: Any = certificate.signature_hash_algorithm
    arguments: tuple[Any, ...] = ()
    if isinstance(key, rsa.RSAPublicKey):
        arguments = (
            getattr(certificate, "signature_algorithm_parameters", None) or padding.PKCS1v15(),
            digest,
        )
    elif isinstance(key, ec.EllipticCurvePublicKey):
        arguments = (ec.ECDSA(digest),)
    elif isinstance(key, dsa.DSAPublicKey):
        arguments = (digest,)
    key.verify(certificate.signature, certificate.tbs_certificate_bytes, *arguments)


def _serial_number(certificate: x509.Certificate) -> int:
    """Return the issuer's, where the certificate says it: it must agree (RFC 5280, 4.2.1.1)."""
    try:
        named = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return 1
    return named.authority_cert_serial_number or 1
