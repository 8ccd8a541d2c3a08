"""Whoever signs mail: keys, their records, and signatures of any kind, by dkimpy."""

from __future__ import annotations

import base64
import functools
from dataclasses import dataclass
from typing import Any

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key


@dataclass(frozen=True)
class Key:
    """A pair of keys."""

    private: Any

    @property
    def record(self) -> str:
        """What is published of it, as the text of a TXT record."""
        encoding, form = serialization.Encoding.DER, serialization.PublicFormat
        public = self.private.public_key()
        if isinstance(self.private, RSAPrivateKey):
            data = public.public_bytes(encoding, form.SubjectPublicKeyInfo)
            return f"v=DKIM1; k=rsa; p={base64.b64encode(data).decode()}"
        data = public.public_bytes(serialization.Encoding.Raw, form.Raw)
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(data).decode()}"

    @property
    def pem(self) -> bytes:
        """The private one, as signers read it."""
        data: bytes = self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        return data

    @property
    def algorithm(self) -> bytes:
        """That by which it signs."""
        return b"rsa-sha256" if isinstance(self.private, RSAPrivateKey) else b"ed25519-sha256"

    def signing(self, message: bytes, domain: str, selector: str = "s1", **options: Any) -> bytes:
        """Return the field that signs a message."""
        seed = serialization.Encoding.Raw, serialization.PrivateFormat.Raw
        pem = (
            self.pem
            if isinstance(self.private, RSAPrivateKey)
            else base64.b64encode(self.private.private_bytes(*seed, serialization.NoEncryption()))
        )
        told: dict[str, Any] = {
            "signature_algorithm": self.algorithm,
            "canonicalize": (b"relaxed", b"relaxed"),
            **options,
        }
        field: bytes = dkim.sign(message, selector.encode(), domain.encode(), pem, **told)
        return field

    def signed(self, message: bytes, domain: str, selector: str = "s1", **options: Any) -> bytes:
        """Return a message with its signature on top."""
        return self.signing(message, domain, selector, **options) + message


@functools.cache
def key(name: str, bits: int = 2048) -> Key:
    """Return the key of that name, made once; of no bits it is one of Ed25519."""
    del name
    return Key(generate_private_key(65537, bits) if bits else Ed25519PrivateKey.generate())


def split(record: str) -> str:
    """Return a TXT record's text in strings of 255 (RFC 6376 section 3.6.2.2)."""
    return " ".join(f'"{record[at : at + 255]}"' for at in range(0, len(record), 255))
