"""Server certificates by kind, each made when it is first needed."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Union

import trustme

from tests.servers.authority import Authority, self_signed
from tests.servers.scripted import Handshake, Step

DAYS = {"good": 90, "5 days": 5, "2 days": 2, "expired": -3}
"""Kinds of the right name, and the days that they are still valid."""

NAMES = {
    "other name": ("www.example.org",),
    "too wide a wildcard": ("*.org",),
    "many names": ("a.example", "b.example", "c.example", "*.d.example", "e.example"),
    "2,000 names": tuple(f"host{number}.example" for number in range(2000)),
    "an address": ("127.0.0.1",),
}
"""Kinds that are valid, and their names."""


@dataclass(frozen=True)
class Certificate:
    """A step: the server's side of a TLS handshake, with a certificate of that kind."""

    kind: str


ServerStep = Union[Step, Certificate]


class Certificates:
    """Those that a server of that name may have, and the authority that made most of them."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.good = Authority.made(folder, "good")
        self._name = name
        self._made: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    @cached_property
    def other(self) -> Authority:
        """An authority that nobody trusts."""
        return Authority.made(self.folder, "other")

    def script(self, steps: Sequence[ServerStep]) -> tuple[Step, ...]:
        """Return the steps with certificates in place of their kinds."""
        return tuple(
            Handshake(self._once(step.kind)) if isinstance(step, Certificate) else step
            for step in steps
        )

    def _once(self, kind: str) -> ssl.SSLContext:
        with self._lock:
            if kind not in self._made:
                self._made[kind] = self.context(kind)
            return self._made[kind]

    def context(self, kind: str) -> ssl.SSLContext:
        """Return a server's context of that kind, which the caller may change."""
        if kind in DAYS:
            return self.good.serving(self._name, days=DAYS[kind])
        if kind in NAMES:
            return self.good.serving(*NAMES[kind])
        make: Callable[[], ssl.SSLContext] = {
            "not yet valid": lambda: self.good.serving(self._name, since=7),
            "other name, expired": lambda: self.good.serving("www.example.org", days=-3),
            "right name in the wrong place": self._named_by_common_name,
            "self-signed": lambda: self_signed(self.folder, self._name),
            "unknown issuer": lambda: self.other.serving(self._name),
            "hostile issuer": self._of_a_hostile_issuer,
            "without its intermediate": self._without_its_intermediate,
            "TLS 1.2": self._of_tls_1_2,
            "asks the client": lambda: self._asking(ssl.CERT_OPTIONAL),
            # With TLS 1.3 the client is done before it learns that its certificate is missed.
            "wants the client's": lambda: self._asking(ssl.CERT_REQUIRED, self._of_tls_1_2()),
        }[kind]
        return make()

    def _named_by_common_name(self) -> ssl.SSLContext:
        leaf = self.good.authority.issue_cert("www.example.org", common_name=self._name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        return context

    def _of_a_hostile_issuer(self) -> ssl.SSLContext:
        hostile = trustme.CA(organization_name="CA|time=0\n[OK] <b>\x1b[31m\u202e")
        return Authority(hostile, "").serving(self._name)

    def _without_its_intermediate(self) -> ssl.SSLContext:
        leaf = trustme.CA(
            parent_cert=self.good.authority, organization_name="intermediate"
        ).issue_cert(self._name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        alone = leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes()
        with trustme.Blob(alone).tempfile() as path:
            context.load_cert_chain(path)
        return context

    def _of_tls_1_2(self) -> ssl.SSLContext:
        context = self.context("good")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _asking(
        self, mode: ssl.VerifyMode, context: ssl.SSLContext | None = None
    ) -> ssl.SSLContext:
        context = context or self.context("good")
        context.verify_mode = mode
        context.load_verify_locations(self.good.path)
        return context
