"""SASL mechanisms (RFC 4954) as generators: they yield responses and are sent challenges, decoded.

The first response yielded is the initial one, or None where the mechanism lets the server begin.
"""

from __future__ import annotations

from check_smtp_health.errors import LocalFault, Violation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    Mechanism = Generator["bytes | None", bytes, None]

ITERATIONS_LEAST = 4096
"""RFC 7677 section 4. With fewer, passwords could be tried the faster on what a server was sent."""


def plain(user: str, password: str) -> Mechanism:
    """RFC 4616: all at once, in clear."""
    yield octets(f"\0{user}\0{password}")


def login(user: str, password: str) -> Mechanism:
    """Never standardised (draft-murchison-sasl-login): user, then password, in clear."""
    yield None
    yield octets(user)
    yield octets(password)


def cram_md5(user: str, password: str) -> Mechanism:
    """RFC 2195: a keyed digest of the server's challenge."""
    import hmac

    challenge = yield None
    digest = hmac.new(octets(password), challenge, "md5").hexdigest()
    yield octets(f"{user} {digest}")


def xoauth2(user: str, password: str) -> Mechanism:
    """Google's and Microsoft's: the password is an OAuth 2.0 access token."""
    yield octets(f"user={user}\1auth=Bearer {password}\1\1")
    # A challenge here is the reason of a refusal; the empty response asks for the reply to it.
    yield b""


def scram_sha_256(user: str, password: str) -> Mechanism:
    """RFC 7677: neither side learns what it did not know; the server proves itself, too."""
    from scramp import ScramClient, ScramException, ScramMechanism

    # The exceptions' own texts may quote what was exchanged, or the password.
    try:
        client = ScramClient(["SCRAM-SHA-256"], user, password)
        first = client.get_client_first()
        ScramMechanism("SCRAM-SHA-256").make_auth_info(password, iteration_count=1, salt=b"-")
    except (ScramException, ValueError, AssertionError):
        raise LocalFault(
            "SCRAM-SHA-256 forbids a character of the user name or password (RFC 4013)"
        ) from None
    try:
        challenge = yield first.encode()
        client.set_server_first(challenge.decode("utf-8", "replace"))
        if client.iterations < ITERATIONS_LEAST:
            raise Violation(f"SCRAM-SHA-256 with less than {ITERATIONS_LEAST} iterations")
        challenge = yield client.get_client_final().encode()
        client.set_server_final(challenge.decode("utf-8", "replace"))
    except (ScramException, ValueError):
        raise Violation("the server's side of SCRAM-SHA-256 is wrong") from None
    yield b""


MECHANISMS: dict[str, Callable[[str, str], Mechanism]] = {
    "SCRAM-SHA-256": scram_sha_256,
    "CRAM-MD5": cram_md5,
    "PLAIN": plain,
    "LOGIN": login,
    "XOAUTH2": xoauth2,
}
"""Best first."""

RESPONSES = {"SCRAM-SHA-256": 3, "CRAM-MD5": 1, "PLAIN": 1, "LOGIN": 2, "XOAUTH2": 1}
"""What a server must have been sent before it can know who we are, and we that it does."""

CLEAR = ("PLAIN", "LOGIN", "XOAUTH2")
"""Mechanisms that show the password to whoever listens."""

SLOW = ("SCRAM-SHA-256",)
"""Mechanisms that compute for as long as the server likes: it says how many iterations."""

ONLY_IF_ASKED = ("XOAUTH2",)
"""Mechanisms whose password is something else, so that they must be asked for by name."""


def best(offered: Iterable[str], usable: Sequence[str]) -> str | None:
    """Return the best mechanism that is offered and usable, None where there is none."""
    known = {name.upper() for name in offered}
    return next((name for name in MECHANISMS if name in known and name in usable), None)


def respond(mechanism: Mechanism, challenge: bytes | None) -> bytes | None:
    """Return what a mechanism says to a challenge, None where it has nothing more to say.

    The first challenge is None, and begins it.
    """
    try:
        return mechanism.send(challenge)  # type: ignore[arg-type]
    except StopIteration:
        return None


def octets(text: str) -> bytes:
    """Return a user name or password as bytes: UTF-8, and what was not UTF-8 as it was given."""
    return text.encode("utf-8", "surrogateescape")


def encode(response: bytes) -> bytes:
    """Return a response as it goes over the wire."""
    import base64

    return base64.b64encode(response)


def decode(challenge: bytes) -> bytes:
    """Return a challenge as the mechanism wants it.

    Raises:
        Violation: it is not base64.
    """
    import base64
    import binascii

    try:
        return base64.b64decode(challenge, validate=True)
    except binascii.Error as error:
        raise Violation("a challenge that is not base64", challenge) from error
