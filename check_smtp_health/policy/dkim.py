"""Whether a domain's DKIM keys are published and can be used (RFC 6376, RFC 8301, RFC 8463)."""

from __future__ import annotations

import base64
import binascii
import re

from check_smtp_health.config import hosts
from check_smtp_health.errors import PeerFault, UsageFault
from check_smtp_health.escaping import printable, quoted
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.dns import ask
from check_smtp_health.net.operations import together
from check_smtp_health.policy.records import repeated, tags, texts
from check_smtp_health.policy.sender import senders
from check_smtp_health.report import Finding, PolicyResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Kind
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.policy import Topic

BITS_LEAST, BITS_GOOD = 1024, 2048
"""Bits of an RSA key: fewer than the first do not count, the second are due (RFC 8301)."""

ED25519_OCTETS = 32
ED25519_BITS = 256


class Key(NamedTuple):
    """What a key's record says: its bits, 0 where they are not known, and what is wrong."""

    bits: int
    findings: tuple[Finding, ...]


def prepare(values: Sequence[str], settings: Settings, servers: Servers) -> tuple[Topic, ...]:
    """Return the keys to look for, by domain.

    Raises:
        UsageFault: a value is not a selector, no domain is known, or the package that reads keys
            is missing.
    """
    from check_smtp_health.policy import Topic

    domains = [one.domain for one in senders(settings.policies.given.get("sender", ()))]
    selectors: dict[str, dict[str, None]] = {}
    for value in values:
        selector, colon, domain = value.partition(":")
        if not domains:
            raise UsageFault("dkim", "needs --sender DOMAIN")
        if not colon and len(domains) > 1:
            raise UsageFault("dkim", f"{quoted(value)} needs a domain, SELECTOR:DOMAIN")
        if not hosts.is_name(selector) or (colon and not hosts.is_name(domain)):
            raise UsageFault("dkim", f"{quoted(value)} is not SELECTOR[:DOMAIN]")
        selectors.setdefault(plain_name(domain) if colon else domains[0], {})[
            plain_name(selector)
        ] = None
    try:
        import cryptography.hazmat.primitives.serialization  # noqa: F401
    except ImportError as error:
        from check_smtp_health.config.remedies import missing

        raise UsageFault("dkim", missing("cryptography")) from error
    return tuple(
        Topic(domain, (servers, domain, tuple(several))) for domain, several in selectors.items()
    )


def check(
    asked: tuple[Servers, str, Sequence[str]], _about: object
) -> Procedure[PolicyResult | None]:
    """Look up the keys, and say which cannot be used."""
    servers, domain, selectors = asked
    names = [f"{selector}._domainkey.{domain}" for selector in selectors]
    answers = yield from together(ask(servers, name, "TXT") for name in names)
    findings: list[Finding] = []
    notes = []
    bits = []
    for name, answer in zip(names, answers):
        if isinstance(answer, PeerFault):
            findings.append(Finding("unanswered", answer.sentence))
            continue
        own = texts(answer)
        if not own:
            findings.append(Finding("unauthorised", f"there is no key at {name}"))
            continue
        if len(own) > 1:
            problem = f"{name} has {len(own)} records, and receivers may use any of them"
            findings.append(Finding("misconfigured", problem))
        key = read(own[0], name)
        findings += key.findings
        if key.bits:
            bits.append(key.bits)
        notes.append(f"{name}: {printable(own[0])}")
    least = min(bits, default=0)
    held = "" if any(one.kind != "noted" for one in findings) else f"DKIM {least} bits"
    measures = (("dkim_bits", least),) if bits else ()
    return PolicyResult("dkim", tuple(findings), tuple(notes), held=held, measures=measures)


def read(text: bytes, name: str) -> Key:
    """Return what the record of a key says (RFC 6376 section 3.6.1)."""
    fields, twice = tags(text), repeated(text)
    if twice:
        return _useless(f"the record at {name} has {printable(twice)}= twice, so it is invalid")
    if "v" in fields and not text.lstrip().startswith(b"v"):
        return _useless(f"the record at {name} does not begin with v=", text)
    if fields.get("v", "DKIM1") != "DKIM1" or "p" not in fields:
        return _useless(f"the record at {name} is not a DKIM key", text)
    encoded = re.sub(r"\s", "", fields["p"])
    if not encoded:
        return _useless(f"the key at {name} is revoked")
    kind = fields.get("k", "rsa")
    try:
        bits = _BITS[kind](base64.b64decode(encoded, validate=True))
    except KeyError:
        return _useless(f"the key at {name} is of an unknown kind", kind.encode())
    except (ValueError, binascii.Error):
        return _useless(f"the key at {name} cannot be read", encoded.encode())
    findings = []
    if kind == "rsa" and bits < BITS_GOOD:
        weak: Kind = "unauthorised" if bits < BITS_LEAST else "misconfigured"
        least = BITS_LEAST if bits < BITS_LEAST else BITS_GOOD
        problem = f"the key at {name} has {bits} bits, fewer than {least}"
        findings.append(Finding(weak, problem))
    hashes = [one.strip() for one in fields.get("h", "sha256").split(":")]
    if "sha256" not in hashes:
        problem = f"the key at {name} does not allow sha256, which signatures use"
        findings.append(Finding("unauthorised", problem, fields["h"].encode()))
    services = [one.strip() for one in fields.get("s", "*").split(":")]
    if not {"*", "email"} & set(services):
        problem = f"the key at {name} is not for mail"
        findings.append(Finding("unauthorised", problem, fields["s"].encode()))
    if "y" in [one.strip() for one in fields.get("t", "").split(":")]:
        findings.append(Finding("noted", f"the key at {name} is in test mode (t=y)"))
    return Key(bits, tuple(findings))


def _useless(problem: str, said: bytes = b"") -> Key:
    return Key(0, (Finding("unauthorised", problem, said),))


def _rsa_bits(data: bytes) -> int:
    """Return the bits of a key; some leave the wrapping out, and receivers take it all the same.

    Raises:
        ValueError: it is not an RSA key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(data)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    if not isinstance(key, RSAPublicKey):
        raise ValueError("another kind of key")
    return key.key_size


def _ed25519_bits(data: bytes) -> int:
    if len(data) != ED25519_OCTETS:
        raise ValueError("not an Ed25519 key")
    return ED25519_BITS


_BITS = {"rsa": _rsa_bits, "ed25519": _ed25519_bits}
