"""STARTTLS, the handshake, and certificates: their own and, on request, the client's."""

from __future__ import annotations

from tests.servers.catalogue.behaviour import (
    BANNER,
    EHLO,
    HELOED,
    PAUSE,
    QUIT,
    Question,
    critical,
    hangs,
    ok,
    warning,
)
from tests.servers.certificates import Certificate, ServerStep
from tests.servers.scripted import Expect, Hang, Reset, Sleep, Slowly, Swallow

OFFER = (BANNER, EHLO, b"250-mail.example.org\r\n250 STARTTLS\r\n")
ASKED = (*OFFER, Expect(b"STARTTLS\r\n"))
GO = (*ASKED, b"220 2.0.0 Ready\r\n")
AGAIN = (EHLO, b"250-mail.example.org\r\n250 SIZE\r\n", *QUIT)

REFUSED = f"{HELOED} quit"
BEGUN = f"{HELOED} starttls"
DONE = "time connect tls banner helo starttls quit certificate_days"

WITH_STARTTLS = Question(("-S",))
WITH_TLS = Question(("--ssl",), unasked="no --ssl before 3.0")


def shows(certificate: str) -> tuple[ServerStep, ...]:
    """Return the script of a server that is well, but for its certificate."""
    return (PAUSE, *GO, Certificate(certificate), *AGAIN)


def expires(days: int) -> str:
    """Return what is said of a certificate that is fine."""
    return f", TLS 1.3, certificate expires in {days} days, #"


STARTTLS = (
    critical(
        "does not offer STARTTLS",
        "starttls: STARTTLS is not offered",
        REFUSED,
        *(BANNER, EHLO, b"250-mail.example.org\r\n250 SIZE\r\n", *QUIT),
        asks=WITH_STARTTLS,
    ),
    critical(
        "has STARTTLS in its name and in another keyword, but does not offer it",
        "starttls: STARTTLS is not offered",
        REFUSED,
        *(BANNER, EHLO, b"250-mx STARTTLS\r\n250 XSTARTTLSX\r\n", *QUIT),
        asks=WITH_STARTTLS,
    ),
    ok(
        "offers STARTTLS in lower case",
        *(PAUSE, BANNER, EHLO, b"250-mail.example.org\r\n250-starttls\r\n250 SIZE\r\n"),
        *(Expect(b"STARTTLS"), b"220 2.0.0 Ready\r\n", Certificate("good"), *AGAIN),
        asks=WITH_STARTTLS,
        labels=DONE,
        besides=expires(90),
    ),
    critical(
        "does not know EHLO",
        "helo: 502 what (after # s)",
        "time connect banner quit",
        *(BANNER, EHLO, b"502 what\r\n", *QUIT),
        asks=WITH_STARTTLS,
    ),
    warning(
        "refuses STARTTLS for now",
        "starttls: 454 4.7.0 not now (after # s)",
        REFUSED,
        *(*ASKED, b"454 4.7.0 not now\r\n", *QUIT),
        asks=WITH_STARTTLS,
    ),
    critical(
        "refuses STARTTLS for good",
        "starttls: 503 no (after # s)",
        REFUSED,
        *(*ASKED, b"503 no\r\n", *QUIT),
        asks=WITH_STARTTLS,
    ),
    critical(
        "answers STARTTLS with 250",
        "starttls: 250 well instead of 220 (after # s)",
        REFUSED,
        *(*ASKED, b"250 well\r\n", *QUIT),
        asks=WITH_STARTTLS,
    ),
    warning(
        "answers STARTTLS with 421 and closes",
        "starttls: 421 bye (after # s)",
        REFUSED,
        *(*ASKED, b"421 bye\r\n"),
        asks=WITH_STARTTLS,
    ),
    hangs(
        "never answers STARTTLS",
        "starttls: no answer within 1 s, cause: silent",
        HELOED,
        *(*ASKED, Hang()),
        asks=WITH_STARTTLS,
    ),
    critical(
        "closes when it is sent STARTTLS",
        "starttls: connection closed by the server (after # s)",
        HELOED,
        *ASKED,
        asks=WITH_STARTTLS,
    ),
    ok(
        "answers STARTTLS in two lines",
        *(PAUSE, *ASKED, b"220-2.0.0 Ready\r\n220 2.0.0 go\r\n", Certificate("good"), *AGAIN),
        asks=WITH_STARTTLS,
        labels=DONE,
        besides=expires(90),
    ),
    *(
        critical(
            f"has {what} injected behind its answer to STARTTLS",
            f"starttls: unexpected plaintext after STARTTLS: '{text}' (after # s)",
            HELOED,
            *(*ASKED, b"220 go\r\n" + text.encode() + end, Hang()),
            asks=WITH_STARTTLS,
        )
        for what, text, end in (
            ("a reply", "250 evil", b"\r\n"),
            ("421", "421 evil", b"\r\n"),
            ("half a reply", "4", b""),
        )
    ),
)

_AFTER = "time connect tls banner starttls certificate_days"

HANDSHAKE = (
    critical(
        "has plaintext injected in place of its handshake",
        "tls: unexpected plaintext instead of the TLS handshake (after # s)",
        BEGUN,
        *(*GO, Sleep(0.1), b"250 evil\r\n", Hang()),
        asks=WITH_STARTTLS,
    ),
    hangs(
        "never begins its handshake",
        "tls: no answer within 1 s, cause: silent",
        BEGUN,
        *(*GO, Hang()),
        asks=WITH_STARTTLS,
    ),
    hangs(
        "shakes hands a byte now and then",
        "tls: no answer within 1 s, cause: silent",
        BEGUN,
        *(*GO, Sleep(0.1), Slowly(b"\x16\x03\x03\x00\x7a\x02\x00", 0.2), Hang()),
        asks=WITH_STARTTLS,
    ),
    critical(
        "closes when it is to shake hands",
        "tls: connection closed by the server (after # s)",
        BEGUN,
        *(*GO, Swallow()),
        asks=WITH_STARTTLS,
    ),
    critical(
        "resets the connection when it is to shake hands",
        "tls: connection reset by the server (after # s), cause: reset",
        BEGUN,
        *(*GO, Swallow(), Reset()),
        asks=WITH_STARTTLS,
    ),
    critical(
        "finds no common cipher",
        "tls: the server found no common cipher, has no certificate, or wants one of the client "
        "(after # s)",
        BEGUN,
        *(*GO, Sleep(0.1), b"\x15\x03\x03\x00\x02\x02\x28", Hang()),
        asks=WITH_STARTTLS,
    ),
    critical(
        "finds our TLS too new",
        "tls: the server's TLS is older than --tls-min (after # s), cause: tls broken",
        BEGUN,
        *(*GO, Sleep(0.1), b"\x15\x03\x01\x00\x02\x02\x46", Hang()),
        asks=WITH_STARTTLS,
    ),
    critical(
        "has an internal error",
        "tls: handshake failed: tlsv1 alert internal error (after # s)",
        BEGUN,
        *(*GO, Sleep(0.1), b"\x15\x03\x03\x00\x02\x02\x50", Hang()),
        asks=WITH_STARTTLS,
    ),
    critical(
        "has TLS 1.2, where 1.3 is the least",
        "tls: the server's TLS is older than --tls-min (after # s), cause: tls broken",
        BEGUN,
        *(*GO, Certificate("TLS 1.2"), *AGAIN),
        asks=Question(("-S", "--tls-min", "1.3"), unasked="no --tls-min"),
    ),
    ok(
        "has TLS 1.2, which is good enough",
        *shows("TLS 1.2"),
        asks=WITH_STARTTLS,
        labels=DONE,
        besides=", TLS 1.2, certificate expires in 90 days, #",
    ),
    ok(
        "would like a client certificate",
        *shows("asks the client"),
        asks=WITH_STARTTLS,
        labels=DONE,
        besides=expires(90),
    ),
    critical(
        "wants a client certificate",
        "tls: the server found no common cipher, has no certificate, or wants one of the client "
        "(after # s)",
        BEGUN,
        *(*GO, Certificate("wants the client's"), *AGAIN),
        asks=WITH_STARTTLS,
    ),
    hangs(
        "never says a word within TLS",
        "helo: no answer within 1 s, cause: silent",
        _AFTER,
        *(*GO, Certificate("good"), Hang()),
        asks=WITH_STARTTLS,
    ),
    critical(
        "closes once TLS is up",
        "helo: connection closed by the server (after # s)",
        _AFTER,
        *(*GO, Certificate("good"), EHLO),
        asks=WITH_STARTTLS,
    ),
    warning(
        "answers EHLO within TLS with 421 and closes",
        "helo: 421 bye (after # s)",
        "time connect tls banner starttls quit certificate_days",
        *(*GO, Certificate("good"), EHLO, b"421 bye\r\n"),
        asks=WITH_STARTTLS,
    ),
    critical(
        "refuses EHLO within TLS",
        "helo: 550 no (after # s)",
        "time connect tls banner starttls quit certificate_days",
        *(*GO, Certificate("good"), EHLO, b"550 no\r\n", *QUIT),
        asks=WITH_STARTTLS,
    ),
    critical(
        "offers AUTH before TLS alone, and STARTTLS within it, too",
        "helo: AUTH is not offered, also helo: STARTTLS is offered",
        DONE,
        *(BANNER, EHLO, b"250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"),
        *(Expect(b"STARTTLS"), b"220 go\r\n", Certificate("good")),
        *(EHLO, b"250-mx\r\n250 STARTTLS\r\n", *QUIT),
        asks=Question(
            ("-S", "--require", "AUTH", "--forbid", "STARTTLS"),
            unasked="neither --require nor --forbid",
        ),
    ),
)
