"""A key in a TLSA record becomes a trust anchor for what it has signed, whatever kind it is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from check_smtp_health.net.anchor import anchors_of_key

KEYS: dict[str, Callable[[], Any]] = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "ECDSA": lambda: ec.generate_private_key(ec.SECP256R1()),
    "DSA": lambda: dsa.generate_private_key(1024),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def signed(key: Any, kind: str) -> bytes:
    """Return a server's certificate that an authority with this key has signed (DER)."""
    today = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named("mx.example"))
        .issuer_name(named("authority"))
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(1)
        .not_valid_before(today)
        .not_valid_after(today + dt.timedelta(days=90))
    )
    digest = None if kind == "Ed25519" else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.DER)


def public(key: Any) -> bytes:
    der: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_that_has_signed(kind: str) -> None:
    key = KEYS[kind]()
    (anchor,) = anchors_of_key(public(key), signed(key, kind))
    made = x509.load_der_x509_certificate(anchor)
    assert made.subject == named("authority")
    assert made.public_key() == key.public_key()


@pytest.mark.parametrize("kind", ["RSA", "ECDSA", "Ed25519"])
def test_a_key_that_has_not_signed(kind: str) -> None:
    assert list(anchors_of_key(public(KEYS[kind]()), signed(KEYS[kind](), kind))) == []


def test_what_cannot_be_read_is_no_anchor() -> None:
    key = KEYS["ECDSA"]()
    assert list(anchors_of_key(b"no key", signed(key, "ECDSA"))) == []
    assert list(anchors_of_key(public(key), b"no certificate")) == []
