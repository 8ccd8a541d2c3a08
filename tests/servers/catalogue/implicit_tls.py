"""TLS from the first byte."""

from __future__ import annotations

from tests.servers.catalogue.behaviour import (
    BANNER,
    CONNECTED,
    HELO,
    PAUSE,
    QUIT,
    Behaviour,
    critical,
    hangs,
    ok,
)
from tests.servers.catalogue.encryption import WITH_TLS, expires
from tests.servers.catalogue.validity import REJECTED
from tests.servers.certificates import Certificate, ServerStep
from tests.servers.scripted import Hang, Reset, Swallow

UP = "time connect tls certificate_days"
DONE = "time connect tls banner helo quit certificate_days"


def tls_fails(name: str, problem: str, *script: ServerStep, cause: str = "") -> Behaviour:
    """Return the row of a server with which there is no TLS."""
    said = f"tls: {problem} (after # s){cause and f', cause: {cause}'}"
    return critical(name, said, CONNECTED, *script, asks=WITH_TLS)


ROWS = (
    ok(
        "does all it should within TLS",
        *(Certificate("good"), PAUSE, BANNER, *HELO, *QUIT),
        asks=WITH_TLS,
        labels=DONE,
        besides=expires(90),
    ),
    tls_fails(
        "speaks plain SMTP",
        "the server does not speak TLS here, try -S",
        *(BANNER, Hang()),
    ),
    tls_fails(
        "speaks plain IMAP",
        "the server does not speak TLS here: '* OK IMAP4rev1 ready'",
        *(b"* OK IMAP4rev1 ready\r\n", Hang()),
    ),
    hangs(
        "never begins its handshake",
        "tls: no answer within 1 s, cause: silent",
        CONNECTED,
        Hang(),
        asks=WITH_TLS,
    ),
    tls_fails("closes at once", "connection closed by the server", Swallow()),
    tls_fails(
        "resets the connection at once",
        "connection reset by the server",
        *(Swallow(), Reset()),
        cause="reset",
    ),
    hangs(
        "never says a word within TLS",
        "banner: no answer within 1 s, cause: silent",
        UP,
        *(Certificate("good"), Hang()),
        asks=WITH_TLS,
    ),
    critical(
        "closes once TLS is up",
        "banner: connection closed by the server (after # s)",
        UP,
        Certificate("good"),
        asks=WITH_TLS,
    ),
    critical(
        "refuses every session within TLS",
        "banner: 554 no (after # s)",
        "time connect tls quit certificate_days",
        *(Certificate("good"), b"554 no\r\n", *QUIT),
        asks=WITH_TLS,
    ),
    critical(
        "is an HTTPS server",
        "banner: not an SMTP reply: 'HTTP/1.1 400 Bad Request' (after # s)",
        UP,
        *(Certificate("good"), b"HTTP/1.1 400 Bad Request\r\n\r\n", Hang()),
        asks=WITH_TLS,
    ),
    # A rejected certificate is looked at twice.
    *(
        critical(
            name,
            f"tls: {problem} (after # s), cause: certificate",
            f"{CONNECTED} certificate_days",
            *(Certificate(kind), BANNER, *QUIT),
            asks=WITH_TLS,
        )
        for name, kind, problem in REJECTED
    ),
)
