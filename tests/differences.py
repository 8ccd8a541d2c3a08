"""Where check_smtp 2.3 is wrong: one row a server, both answers measured by test_check_smtp.

The README's table is made of these rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.servers.scripted import Expect, Hang, Sleep, Step

BANNER = b"220 mail.example.org ESMTP\r\n"
HELO = (BANNER, Expect(b"HELO"))
HELOED = (*HELO, b"250 mail.example.org\r\n")
QUIT = (Expect(b"QUIT"), b"221 2.0.0 Bye\r\n")

THEIR_OK = "SMTP OK - # sec. response time"
TARGET = "127.0.0.1:25"


@dataclass(frozen=True)
class Answer:
    """An exit code and a first line without the program's own perfdata.

    Times are ``#``, the port is 25.
    """

    code: int
    line: str


@dataclass(frozen=True)
class Row:
    """What ``server`` does in plain English and as a script, and the answer of each program.

    The script is what check_smtp runs through.
    """

    server: str
    theirs: Answer
    ours: Answer
    script: tuple[Step, ...]
    arguments: tuple[str, ...] = ()


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
)
