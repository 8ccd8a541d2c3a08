"""Finds and hides secrets in what servers say, in every form in which they might repeat them.

A server knows the password that it was sent, and may have it from another place before that. What
it says is shown to people who must not know it.
"""

from __future__ import annotations

import binascii
import re

from check_smtp_health import report
from check_smtp_health.escaping import octets, printable
from check_smtp_health.report import delivery, tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeVar

    _T = TypeVar("_T", bytes, str)
    _V = TypeVar("_V")

STARS = "***"
"""What is shown in place of a secret."""

SHORTEST = 4
"""Bytes below which a form is not looked for: shorter ones are in every other word, and to mask
those would make the output unreadable, and show by what is missing what the secret is."""

# What a zone of Spamhaus's Data Query Service begins with: its customer's key. Zones may be quoted.
_KEY = r"(?i)(?<![^\s'\",=/])[^\s'\",=/.]+(?=(?:\.[^\s'\",=/.]*)*\.dq\.spamhaus\.net)"

# The fields that have other people's words in them. All others are ours, and judged by.
_WORDS: dict[type, tuple[str, ...]] = {
    report.Report: ("observations", "transcript", "tls", "delivery", "policies", "held"),
    report.Observation: ("failure", "findings", "notes"),
    report.Failure: ("problem", "said"),
    report.Finding: ("problem", "said"),
    report.PolicyResult: ("findings", "notes", "held", "certificates"),
    report.Exchange: ("data",),
    tls.TlsFacts: ("certificate", "issuers"),
    tls.Certificate: ("subject", "issuer", "names"),
    delivery.Delivery: ("hops", "authentication", "spam", "notes", "certificates"),
    delivery.Hop: ("host",),
}


class Mask:
    """Hides secrets in texts, in upper or lower case."""

    __slots__ = ("_forms", "_patterns")

    def __init__(self, forms: Iterable[bytes] = ()) -> None:
        self._forms: set[bytes] = set()
        self._patterns: tuple[re.Pattern[bytes], re.Pattern[str]] | None = None
        self.add(*forms)

    def add(self, *forms: bytes) -> None:
        """Take more forms of secrets."""
        new = {form.lower() for form in forms if len(form) >= SHORTEST} - self._forms
        if new:
            self._forms |= new
            self._patterns = None

    def applied(self, said: _T) -> _T:
        """Return a text with stars in place of each secret."""
        if not self._forms:
            return said
        if isinstance(said, bytes):
            # Looking for each first takes a fraction of what the expression does.
            low = said.lower()
            if not any(form in low for form in self._forms):
                return said
            return self._compiled()[0].sub(STARS.encode(), said)
        return self._compiled()[1].sub(STARS, said)

    def _compiled(self) -> tuple[re.Pattern[bytes], re.Pattern[str]]:
        if self._patterns is None:
            # The longest first: it may begin with another one.
            forms = b"|".join(map(re.escape, sorted(self._forms, key=len, reverse=True)))
            text = forms.decode("utf-8", "surrogateescape")
            self._patterns = re.compile(forms, re.IGNORECASE), re.compile(text, re.IGNORECASE)
        return self._patterns

    def over(self, value: _V) -> _V:
        """Return a report, or a part of one, with all that other people said in it masked."""
        masked: Any = self._over(value) if self._forms else value
        same: _V = masked
        return same

    def _over(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return self.applied(value)
        if isinstance(value, str):
            return self.applied(value)
        fields = _WORDS.get(type(value))
        if fields is not None:
            return value._replace(**{name: self._over(getattr(value, name)) for name in fields})
        if type(value) is tuple:
            return tuple(map(self._over, value))
        return value


def without_key(text: str) -> str:
    """Return a text in which no zone of a DNS blocklist shows the key that it begins with."""
    return re.sub(_KEY, STARS, text)


def forms(password: str, *users: str) -> Iterator[bytes]:
    """Give every form in which a password is looked for in other people's words."""
    secret = octets(password)
    yield secret
    yield printable(password).encode("utf-8", "replace")  # our own gate may have seen it first
    yield re.sub(rb'(["\\])', rb"\\\1", secret)  # quoted by IMAP
    yield re.sub(rb'(["().;\\@$])', rb"\\\1", secret)  # in a name of DNS
    yield _base64(secret)
    for user in map(octets, users):
        for pair in (
            user + b"\0" + user + b"\0" + secret,
            b"\0" + user + b"\0" + secret,
            user + b"\0" + secret,
            user + b":" + secret,
        ):
            yield _base64(pair)
    yield secret.hex().encode()
    yield b"".join(b"%%%02x" % byte for byte in secret)
    encoded = re.sub(rb"[^A-Za-z0-9._~-]", lambda found: b"%%%02x" % found[0][0], secret)
    yield encoded
    yield encoded.replace(b"%20", b"+")  # in a form
    yield secret.replace(b"/", rb"\/")  # in JSON


def token_forms(token: str, *users: str) -> Iterator[bytes]:
    """Give the same for what may be an access token: in base64 it is known wherever it begins.

    A login has it in the middle of a response (XOAUTH2, RFC 7628).
    """
    yield from forms(token, *users)
    secret = octets(token)
    for shift in range(3):
        # Each character stands for six bits: the first and the last have some of their neighbours.
        encoded = _base64(bytes(shift) + secret).rstrip(b"=")
        whole = len(encoded) if (shift + len(secret)) % 3 == 0 else -1
        yield encoded[-(-shift * 8 // 6) : whole]


def _base64(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False)
