"""SASL mechanisms (RFC 4954) as generators: they yield responses and are sent challenges, decoded.

The first response yielded is the initial one, or None where the mechanism lets the server begin.
``MECHANISMS`` is the table: a mechanism is a generator and its row.
"""

from __future__ import annotations

import base64
import binascii
import hmac

from check_smtp_health.errors import LocalFault, Violation
from check_smtp_health.escaping import octets, printable
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from typing import Literal

    Proof = Literal["password", "token", "certificate"]
    Exchange = Generator["bytes | None", bytes, None]

ITERATIONS_LEAST = 4096
"""RFC 7677 section 4. With fewer, passwords could be tried the faster on what a server was sent."""

ITERATION_DIGITS = 10
"""Digits of an iteration count: with more, no client would ever finish."""


CHALLENGE_LIMIT = 12288
"""Bytes of an error challenge that are read: RFC 4954 section 4 has such a line no longer."""

REASON_LIMIT = 200
"""Characters of a status or scope; Google's scope for mail has 24."""


class Mechanism(NamedTuple):
    """A row. ``run`` takes user and password, and is the exchange.

    ``responses`` are needed before a server's 235 counts: an earlier yes proves nothing.
    ``is_clear`` says that the password is sent in plain text; ``is_slow`` that computing takes as
    long as the server likes; ``proof`` is what the password is: an access token, or none where the
    client's certificate is shown in TLS. ``package`` is the library that it needs.
    ``heeds_challenges`` says that it depends on what the server's challenges are: those of others
    are prompts, or the reason of a refusal, whatever they say.
    """

    name: str
    run: Callable[[str, str], Exchange]
    responses: int
    is_clear: bool = False
    is_slow: bool = False
    proof: Proof = "password"
    package: str | None = None
    heeds_challenges: bool = False


def plain(user: str, password: str) -> Exchange:
    """RFC 4616: all at once, in plain text."""
    yield octets(f"\0{user}\0{password}")


def login(user: str, password: str) -> Exchange:
    """Never standardised (draft-murchison-sasl-login): user, then password, in plain text."""
    yield None
    yield octets(user)
    yield octets(password)


def cram_md5(user: str, password: str) -> Exchange:
    """RFC 2195: a keyed digest of the server's challenge."""
    challenge = yield None
    digest = hmac.new(octets(password), challenge, "md5").hexdigest()
    yield octets(f"{user} {digest}")


def xoauth2(user: str, password: str) -> Exchange:
    """Google's and Microsoft's: the password is an OAuth 2.0 access token."""
    yield octets(f"user={user}\1auth=Bearer {password}\1\1")
    # A challenge here is the reason of a refusal; the empty response asks for the reply to it.
    yield b""


def oauthbearer(user: str, password: str) -> Exchange:
    """RFC 7628: as XOAUTH2, but standardised; host and port are for other kinds of tokens."""
    name = user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 section 4
    yield octets(f"n,a={name},\1auth=Bearer {password}\1\1")
    # Section 3.2.3: this asks for the reply to a refusal whose reason was the challenge.
    yield b"\1"


def external(user: str, password: str) -> Exchange:
    """RFC 4422 appendix A: the certificate shown in TLS says who we are, ``user`` for whom."""
    del password
    yield octets(user)


def scram_sha_256(user: str, password: str) -> Exchange:
    """RFC 7677: neither side learns what it did not know; the server proves itself, too."""
    return _scram("SCRAM-SHA-256", user, password)


def scram_sha_1(user: str, password: str) -> Exchange:
    """RFC 5802: the same with an older hash, which is still good for this."""
    return _scram("SCRAM-SHA-1", user, password)


def _scram(name: str, user: str, password: str) -> Exchange:
    from scramp import ScramClient, ScramException
    from scramp.core import saslprep

    # The exceptions' own texts may quote what was exchanged, or the password.
    try:
        client = ScramClient([name], user, password)
        first = client.get_client_first()
        # What else tells before the server's turn that a character of the password is forbidden
        # computes for as long as the answer will.
        saslprep(password)
    except (ScramException, ValueError, AssertionError):
        raise LocalFault(
            f"{name} forbids a character of the user name or password (RFC 4013)"
        ) from None
    try:
        challenge = yield first.encode()
        _, _, rest = challenge.partition(b",i=")
        _need(_number(rest.partition(b",")[0]))
        client.set_server_first(challenge.decode("utf-8", "replace"))
        _need(int(client.iterations))  # of several counts the library may take another
        challenge = yield client.get_client_final().encode()
        client.set_server_final(challenge.decode("utf-8", "replace"))
    except (ScramException, ValueError):
        raise Violation("the server's SCRAM message is wrong") from None
    yield b""


def _number(text: bytes) -> int:
    """Return an iteration count (RFC 5802 section 7).

    Raises:
        ValueError: it is not one.
    """
    if not text.isdigit() or len(text) > ITERATION_DIGITS:
        raise ValueError
    return int(text)


def _need(iterations: int) -> None:
    if iterations < ITERATIONS_LEAST:
        raise Violation(f"less than {ITERATIONS_LEAST} iterations")


# THE MECHANISM TABLE; first those that reveal least to an eavesdropper.
MECHANISMS = (
    Mechanism(
        *("SCRAM-SHA-256", scram_sha_256, 3),
        is_slow=True,
        package="scramp",
        heeds_challenges=True,
    ),
    Mechanism(
        *("SCRAM-SHA-1", scram_sha_1, 3),
        is_slow=True,
        package="scramp",
        heeds_challenges=True,
    ),
    Mechanism("CRAM-MD5", cram_md5, 1, heeds_challenges=True),
    Mechanism("PLAIN", plain, 1, is_clear=True),
    Mechanism("LOGIN", login, 2, is_clear=True),
    # The large providers document XOAUTH2 first.
    Mechanism("XOAUTH2", xoauth2, 1, is_clear=True, proof="token"),
    Mechanism("OAUTHBEARER", oauthbearer, 1, is_clear=True, proof="token"),
    Mechanism("EXTERNAL", external, 1, proof="certificate"),
)


def named(name: str) -> Mechanism | None:
    """Return the row of that name, None where there is none."""
    return next((one for one in MECHANISMS if one.name == name), None)


def best(offered: Iterable[str], usable: Sequence[Mechanism]) -> Mechanism | None:
    """Return the first usable mechanism that is offered, None where there is none."""
    known = {name.upper() for name in offered}
    return next((one for one in usable if one.name in known), None)


def respond(exchange: Exchange, challenge: bytes | None) -> bytes | None:
    """Return what a mechanism says to a challenge, None where it has nothing more to say.

    The first challenge is None, and begins it.
    """
    try:
        return exchange.send(challenge)  # type: ignore[arg-type]
    except StopIteration:
        return None


def refusal(challenge: bytes) -> str:
    """Return what an error challenge (RFC 7628 section 3.2.2) says, empty where it is none.

    ``challenge`` is as it came, in base64. What is too long to be shown whole is left out: of half
    a secret nobody would know that it is one.
    """
    import json

    try:
        said = json.loads(base64.b64decode(challenge[:CHALLENGE_LIMIT]))
    except (ValueError, RecursionError):
        return ""
    if not isinstance(said, dict):
        return ""
    parts = []
    for name in ("status", "scope"):
        value = said.get(name)
        if isinstance(value, (str, int)) and 0 < len(str(value)) <= REASON_LIMIT:
            parts.append(f"{name} {printable(str(value))}")
    return ", ".join(parts)


def encode(response: bytes) -> bytes:
    """Return a response as it goes over the wire."""
    return base64.b64encode(response)


def decode(challenge: bytes) -> bytes:
    """Return a challenge as the mechanism wants it.

    Raises:
        Violation: it is not base64.
    """
    try:
        return base64.b64decode(challenge, validate=True)
    except binascii.Error as error:
        raise Violation("a challenge that is not base64", challenge) from error
