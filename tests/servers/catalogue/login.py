"""AUTH."""

from __future__ import annotations

import base64

from tests.servers.catalogue.behaviour import (
    BANNER,
    EHLO,
    HELOED,
    PAUSE,
    QUIT,
    Behaviour,
    Question,
    critical,
    hangs,
    ok,
    warning,
)
from tests.servers.certificates import ServerStep
from tests.servers.scripted import Expect, Hang, Slowly

USER, PASSWORD = "monitor", "s3cret w\u00f6rd"


def encoded(text: str) -> bytes:
    """Return a text as it goes over the wire."""
    return base64.b64encode(text.encode())


FORMS = (
    PASSWORD,
    "s3cret",
    *(
        encoded(form).decode()
        for form in (
            PASSWORD,
            f"\0{USER}\0{PASSWORD}",
            f"{USER}\0{PASSWORD}",
            f"user={USER}\1auth=Bearer {PASSWORD}\1\1",
        )
    ),
)
"""Every form in which the password could leak."""

BOTH = f"\0{USER}\0{PASSWORD}"
REFUSED = f"{HELOED} quit"


def offer(mechanisms: bytes) -> tuple[ServerStep, ...]:
    """Return the steps up to an EHLO reply that offers these mechanisms."""
    return (BANNER, EHLO, b"250-mx.example\r\n250 AUTH %s\r\n" % mechanisms)


GREETED = offer(b"PLAIN LOGIN CRAM-MD5 XOAUTH2")
PLAIN = (*GREETED, Expect(b"AUTH PLAIN "))
LOGIN = (*GREETED, Expect(b"AUTH LOGIN\r\n"))
NAMED = (*LOGIN, b"334 VXNlcm5hbWU6\r\n", Expect(encoded(USER) + b"\r\n"))
GIVEN = (*NAMED, b"334 UGFzc3dvcmQ6\r\n", Expect(encoded(PASSWORD) + b"\r\n"))


def log_in(mechanism: str, *options: str) -> Question:
    """Return the question whether one can log in by that mechanism."""
    login = ("-A", mechanism, "-U", USER, "-P", PASSWORD, *options)
    unasked = "" if mechanism == "LOGIN" else "no mechanism but LOGIN"
    return Question((*login, "--auth-insecure"), login, unasked)


BY_PLAIN = log_in("PLAIN")
BY_LOGIN = log_in("LOGIN")


def refuses(
    name: str, words: str, *before: ServerStep, by: Question, hint: str = "", cause: str = ""
) -> Behaviour:
    """Return the row of a server that ends a login with these words and quits well."""
    ending = f", cause: {cause}" if cause else ""
    said = f"auth: {by.ours[1]}: {words}{hint} (after # s){ending}"
    return critical(name, said, REFUSED, *before, f"{words}\r\n".encode(), *QUIT, asks=by)


ROWS = (
    ok(
        "takes a login",
        *(PAUSE, *GIVEN, b"235 2.7.0 in\r\n", *QUIT),
        asks=BY_LOGIN,
        labels=f"{HELOED} auth quit",
        besides=", logged in by LOGIN",
    ),
    refuses("refuses a login", "535 5.7.8 no", *GIVEN, by=BY_LOGIN, cause="login rejected"),
    refuses(
        "refuses a login by PLAIN", "535 5.7.8 no", *PLAIN, by=BY_PLAIN, cause="login rejected"
    ),
    refuses("refuses the user name", "535 5.7.8 who?", *NAMED, by=BY_LOGIN),
    refuses("does not know AUTH, although it offers it", "502 5.5.1 what", *LOGIN, by=BY_LOGIN),
    critical(
        "repeats the password while it refuses it",
        "auth: PLAIN: 535 who is \\x00monitor\\x00*** or ***? (after # s)",
        REFUSED,
        *(*PLAIN, b"535 who is %s or %s?\r\n" % (BOTH.encode(), encoded(BOTH)), *QUIT),
        asks=BY_PLAIN,
    ),
    warning(
        "cannot tell for now",
        "auth: LOGIN: 454 4.7.0 later (after # s)",
        REFUSED,
        *(*GIVEN, b"454 4.7.0 later\r\n", *QUIT),
        asks=BY_LOGIN,
    ),
    refuses(
        "wants TLS before a login",
        "530 5.7.0 no",
        *LOGIN,
        by=BY_LOGIN,
        hint=" (the server wants TLS first)",
    ),
    refuses(
        "wants another mechanism",
        "534 5.7.9 too weak",
        *LOGIN,
        by=BY_LOGIN,
        hint=", try -A CRAM-MD5",
    ),
    refuses(
        "wants TLS for this mechanism",
        "538 5.7.11 no",
        *LOGIN,
        by=BY_LOGIN,
        hint=" (the server wants TLS for this mechanism)",
        cause="tls required",
    ),
    critical(
        "says 250 to a login instead of 235",
        "auth: LOGIN: 250 fine instead of 235 (after # s)",
        REFUSED,
        *(*GIVEN, b"250 fine\r\n", *QUIT),
        asks=BY_LOGIN,
    ),
    critical(
        "takes a login without the password",
        "auth: LOGIN: success before the login was complete: '235 2.7.0 in' (after # s)",
        HELOED,
        *(*NAMED, b"235 2.7.0 in\r\n", *QUIT),
        asks=BY_LOGIN,
    ),
    warning(
        "answers a login with 421 and closes",
        "auth: LOGIN: 421 bye (after # s)",
        REFUSED,
        *(*GIVEN, b"421 bye\r\n"),
        asks=BY_LOGIN,
    ),
    critical(
        "closes when it is sent the password",
        "auth: LOGIN: connection closed by the server (after # s)",
        HELOED,
        *GIVEN,
        asks=BY_LOGIN,
    ),
    hangs(
        "never answers the password",
        "auth: LOGIN: no answer within 1 s, cause: silent",
        HELOED,
        *(*GIVEN, Hang()),
        asks=BY_LOGIN,
    ),
    hangs(
        "answers the password a byte now and then",
        "auth: LOGIN: no complete answer within 1 s: '23'",
        HELOED,
        *(*GIVEN, Slowly(b"235 in\r\n", 0.6)),
        asks=BY_LOGIN,
    ),
    critical(
        "sends a challenge that is not base64",
        "auth: CRAM-MD5: a challenge that is not base64: '!!' (after # s)",
        HELOED,
        *(*GREETED, Expect(b"AUTH CRAM-MD5\r\n"), b"334 !!\r\n", Hang()),
        asks=log_in("CRAM-MD5"),
    ),
    critical(
        "sends a challenge of 1 MB",
        f"auth: LOGIN: a line longer than 12294 bytes: '334 {'A' * 249}...' (after # s)",
        HELOED,
        *(*LOGIN, b"334 " + b"A" * 1_000_000, Hang()),
        asks=BY_LOGIN,
    ),
    critical(
        "never stops asking",
        "auth: LOGIN: more challenges than the mechanism has answers: '334' (after # s)",
        HELOED,
        *(*LOGIN, *((b"334 \r\n", Expect(b"")) * 2), b"334 \r\n", Expect(b"*\r\n")),
        asks=BY_LOGIN,
    ),
    critical(
        "asks, where PLAIN has nothing more to say",
        "auth: PLAIN: more challenges than the mechanism has answers: '334' (after # s)",
        HELOED,
        *(*PLAIN, b"334 \r\n", Expect(b"*\r\n"), b"501 no\r\n"),
        asks=BY_PLAIN,
    ),
    critical(
        "refuses an access token, and says why in a challenge",
        "auth: XOAUTH2: 535 no (after # s)",
        REFUSED,
        *(*GREETED, Expect(b"AUTH XOAUTH2"), b"334 e30=\r\n", Expect(b"\r\n"), b"535 no\r\n"),
        *QUIT,
        asks=log_in("XOAUTH2"),
    ),
    critical(
        "does not know the password itself, which SCRAM finds out",
        "auth: SCRAM-SHA-256: the server's SCRAM message is wrong (after # s)",
        HELOED,
        *(*offer(b"SCRAM-SHA-256"), Expect(b"AUTH SCRAM-SHA-256 ")),
        *(b"334 " + encoded("r=other,s=QSXCR+Q6sek8bf92,i=4096") + b"\r\n", Hang()),
        asks=log_in("SCRAM-SHA-256"),
    ),
    critical(
        "takes a login without proof that it knows the password itself",
        "auth: SCRAM-SHA-256: success before the login was complete: '235 in' (after # s)",
        HELOED,
        *(*offer(b"SCRAM-SHA-256"), Expect(b"AUTH SCRAM-SHA-256 "), b"235 in\r\n", *QUIT),
        asks=log_in("SCRAM-SHA-256"),
    ),
    critical(
        "does not offer AUTH",
        "auth: AUTH is not offered",
        REFUSED,
        *(BANNER, EHLO, b"250-mx\r\n250 SIZE\r\n", *QUIT),
        asks=BY_LOGIN,
    ),
    critical(
        "offers another mechanism, with hostile words",
        "auth: LOGIN is not offered, only NTLM (x), cause: login mechanism",
        REFUSED,
        *(*offer(b"NTLM [x]"), *QUIT),
        asks=BY_LOGIN,
    ),
    Behaviour(
        "would be sent the password in clear",
        (*offer(b"PLAIN LOGIN"), *QUIT),
        "UNKNOWN",
        "auth: PLAIN without TLS would expose the password, use -S, --ssl or --auth-insecure",
        REFUSED,
        Question(("-U", USER, "-P", PASSWORD), unasked="minds no password in clear"),
    ),
)
