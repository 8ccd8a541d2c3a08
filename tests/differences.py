"""Where check_smtp 2.3 is wrong: one row a server, both answers measured by test_check_smtp.

The README's table is made of these rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from tests.servers.scripted import Expect, Hang, Sleep, Step

BANNER = b"220 mail.example.org ESMTP\r\n"
HELO = (BANNER, Expect(b"HELO"))
HELOED = (*HELO, b"250 mail.example.org\r\n")
QUIT = (Expect(b"QUIT"), b"221 2.0.0 Bye\r\n")
MAIL = (*HELOED, Expect(b"MAIL FROM:<me@example.org>"))
EHLO = (Expect(b"EHLO"), b"250-mail.example.org\r\n250 STARTTLS\r\n")
IN_LOWER_CASE = (
    # This makes the banner the slowest stage beyond doubt.
    *(Sleep(0.1), BANNER),
    *(Expect(b"EHLO"), b"250-mail.example.org\r\n250-starttls\r\n250 SIZE\r\n"),
)
STARTTLS = (Expect(b"STARTTLS"), b"220 2.0.0 Ready\r\n")

SNI = ("--sni", "mail.example.org")

THEIR_OK = "SMTP OK - # sec. response time"
TARGET = "127.0.0.1:25"


@dataclass(frozen=True)
class Answer:
    """An exit code and a first line without the program's own perfdata.

    Times and dates are ``#``, the port is 25.
    """

    code: int
    line: str


@dataclass(frozen=True)
class Certificate:
    """The server's side of a TLS handshake, with a certificate of a kind that the tests know."""

    kind: str


ServerStep = Union[Step, Certificate]


@dataclass(frozen=True)
class Row:
    """What ``server`` does in plain English and as a script, and the answer of each program.

    The script is what check_smtp runs through; ``our_script`` is there where the same server takes
    us further. ``our_arguments`` come on top, where check_smtp has no such option.
    """

    server: str
    theirs: Answer
    ours: Answer
    script: tuple[ServerStep, ...]
    arguments: tuple[str, ...] = ()
    our_script: tuple[ServerStep, ...] = ()
    our_arguments: tuple[str, ...] = ()


ROWS = (
    Row(
        "refuses HELO for good",
        Answer(0, THEIR_OK),
        Answer(2, f"SMTP CRITICAL - {TARGET} helo: 550 5.7.1 Access denied (after # s)"),
        (*HELO, b"550 5.7.1 Access denied\r\n", *QUIT),
    ),
    Row(
        "refuses HELO for now",
        Answer(0, THEIR_OK),
        Answer(1, f"SMTP WARNING - {TARGET} helo: 450 4.7.1 Try again later (after # s)"),
        (*HELO, b"450 4.7.1 Try again later\r\n", *QUIT),
    ),
    Row(
        "answers HELO with 421 and closes",
        Answer(0, THEIR_OK),
        Answer(1, f"SMTP WARNING - {TARGET} helo: 421 4.3.2 Shutting down (after # s)"),
        (*HELO, b"421 4.3.2 Shutting down\r\n"),
    ),
    Row(
        "answers HELO with something that is not SMTP",
        Answer(0, THEIR_OK),
        Answer(2, f"SMTP CRITICAL - {TARGET} helo: not an SMTP reply: 'hello' (after # s)"),
        (*HELO, b"hello\r\n", *QUIT),
    ),
    Row(
        "answers HELO with 250 and 550 in one reply",
        Answer(0, THEIR_OK),
        Answer(
            2,
            f"SMTP CRITICAL - {TARGET} helo: differing codes in one reply: "
            "'250-mail.example.org / 550 5.7.1 Access denied' (after # s)",
        ),
        (*HELO, b"250-mail.example.org\r\n550 5.7.1 Access denied\r\n", *QUIT),
    ),
    Row(
        "closes when it is sent HELO",
        Answer(1, "recv() failed"),
        Answer(2, f"SMTP CRITICAL - {TARGET} helo: connection closed by the server (after # s)"),
        HELO,
    ),
    Row(
        "refuses every session, with `220` somewhere in its words",
        Answer(0, THEIR_OK),
        Answer(2, f"SMTP CRITICAL - {TARGET} banner: 554 smtp220.example (after # s)"),
        (b"554 smtp220.example\r\n", Expect(b"HELO"), b"503 5.5.1 Error\r\n", *QUIT),
    ),
    Row(
        "refuses every session",
        Answer(
            1, "Invalid SMTP response received from host on port 25: 554 5.7.1 No service for you"
        ),
        Answer(2, f"SMTP CRITICAL - {TARGET} banner: 554 5.7.1 No service for you (after # s)"),
        (b"554 5.7.1 No service for you\r\n", Expect(b"HELO"), b"503 5.5.1 Error\r\n"),
    ),
    Row(
        "closes without a banner",
        Answer(1, "recv() failed"),
        Answer(2, f"SMTP CRITICAL - {TARGET} banner: connection closed by the server (after # s)"),
        (),
    ),
    Row(
        "says 421 instead of a banner, and why, and closes",
        Answer(1, "recv() failed"),
        Answer(1, f"SMTP WARNING - {TARGET} banner: 421 4.3.2 Too many connections (after # s)"),
        (b"421 4.3.2 Too many connections\r\n",),
    ),
    Row(
        "says something that looks like perfdata",
        Answer(1, "Invalid SMTP response received from host on port 25: 554 No|time=0.001s;;;0"),
        Answer(2, f"SMTP CRITICAL - {TARGET} banner: 554 No\\x7ctime=0.001s;;;0 (after # s)"),
        (b"554 No|time=0.001s;;;0\r\n", Expect(b"HELO"), b"503 5.5.1 Error\r\n"),
    ),
    Row(
        "never answers QUIT, having answered everything else",
        Answer(2, "CRITICAL - Socket timeout after 1 seconds"),
        Answer(0, f"SMTP OK - {TARGET} answered in # s (slowest: banner # s)"),
        (Sleep(0.02), *HELOED, Expect(b"QUIT"), Hang()),
        ("-t", "1"),
    ),
    Row(
        "would be sent a second command, hidden in `-F` behind a line break",
        Answer(0, THEIR_OK),
        Answer(
            3,
            "SMTP UNKNOWN - -F: 'me\\x0d\\x0aMAIL FROM:<me@example.org>' is not a name of 1 to "
            "255 visible ASCII characters",
        ),
        (*HELOED, Expect(b"MAIL FROM:<me@example.org>"), b"250 2.1.0 Ok\r\n", *QUIT),
        ("-F", "me\r\nMAIL FROM:<me@example.org>"),
    ),
    Row(
        "refuses MAIL of `-f` for good",
        Answer(0, THEIR_OK),
        Answer(2, f"SMTP CRITICAL - {TARGET} mail: 530 5.7.0 Must issue STARTTLS (after # s)"),
        (*MAIL, b"530 5.7.0 Must issue STARTTLS\r\n", *QUIT),
        ("-f", "me@example.org"),
    ),
    Row(
        "refuses MAIL of `-f` for now, its disk being full",
        Answer(0, THEIR_OK),
        Answer(1, f"SMTP WARNING - {TARGET} mail: 452 4.3.1 Insufficient storage (after # s)"),
        (*MAIL, b"452 4.3.1 Insufficient storage\r\n", *QUIT),
        ("-f", "me@example.org"),
    ),
    Row(
        "refuses the command of `-C`, without `-R`",
        Answer(0, THEIR_OK),
        Answer(2, f"SMTP CRITICAL - {TARGET} command: VRFY me: 550 5.1.1 Unknown (after # s)"),
        (*HELOED, Expect(b"VRFY me"), b"550 5.1.1 Unknown\r\n", *QUIT),
        ("-C", "VRFY me"),
    ),
    Row(
        "does not offer STARTTLS, with `-S`",
        Answer(1, "WARNING - TLS not supported by server"),
        Answer(2, f"SMTP CRITICAL - {TARGET} starttls: STARTTLS is not offered (after # s)"),
        (BANNER, Expect(b"EHLO"), b"250-mail.example.org\r\n250 SIZE\r\n", *QUIT),
        ("-S",),
    ),
    Row(
        "offers STARTTLS in lower case, with `-S`",
        Answer(1, "WARNING - TLS not supported by server"),
        Answer(
            0,
            f"SMTP OK - {TARGET} answered in # s (slowest: banner # s), TLS 1.3, certificate "
            "expires in 90 days, #",
        ),
        (*IN_LOWER_CASE, *QUIT),
        ("-S",),
        (*IN_LOWER_CASE, *STARTTLS, Certificate("good"), *EHLO, *QUIT),
        SNI,
    ),
    *(
        Row(
            server,
            Answer(0, THEIR_OK),
            Answer(2, f"SMTP CRITICAL - {TARGET} tls: {problem} (after # s)"),
            (BANNER, *EHLO, *STARTTLS, Certificate(kind), *EHLO, *QUIT),
            ("-S",),
            (),
            SNI,
        )
        for server, kind, problem in (
            (
                "has a certificate for another name, with `-S`",
                "foreign",
                "certificate is for www.example.org, not mail.example.org, try --sni or "
                "--no-verify",
            ),
            (
                "has a certificate that vouches for itself, with `-S`",
                "self-signed",
                "certificate self-signed, try --ca-file or --no-verify",
            ),
            (
                "has a certificate that has expired, with `-S` but without `-D`",
                "expired",
                "certificate expired 3 days ago, #",
            ),
        )
    ),
)
