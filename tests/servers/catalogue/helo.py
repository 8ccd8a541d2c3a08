"""What comes of HELO and EHLO, and what EHLO offers."""

from __future__ import annotations

from tests.servers.catalogue.behaviour import (
    BANNER,
    DONE,
    EHLO,
    GREETED,
    HELO,
    PAUSE,
    QUIT,
    Behaviour,
    Question,
    critical,
    hangs,
    ok,
    warning,
)
from tests.servers.scripted import Forever, Hang, Reset, Sleep, Slowly

REFUSED = f"{GREETED} quit"

ASKED = (BANNER, HELO[0])

SAY_EHLO = Question(("--ehlo",), ())

NEED_SIZE = Question(("--require", "SIZE"), unasked="no --require")

ROWS = (
    critical(
        "refuses HELO for good",
        "helo: 550 5.7.1 Access denied (after # s)",
        REFUSED,
        *(*ASKED, b"550 5.7.1 Access denied\r\n", *QUIT),
    ),
    critical(
        "refuses HELO in two lines",
        "helo: 550 5.7.1 Access denied / 5.7.1 see (a) (after # s)",
        REFUSED,
        *(*ASKED, b"550-5.7.1 Access denied\r\n550 5.7.1 see <a>\r\n", *QUIT),
    ),
    warning(
        "refuses HELO for now",
        "helo: 450 4.7.1 Try again later (after # s)",
        REFUSED,
        *(*ASKED, b"450 4.7.1 Try again later\r\n", *QUIT),
    ),
    critical(
        "refuses HELO for now, which is to count as a failure",
        "helo: 450 later (after # s)",
        REFUSED,
        *(*ASKED, b"450 later\r\n", *QUIT),
        asks=Question(("--tempfail", "critical"), unasked="no --tempfail"),
    ),
    Behaviour(
        "refuses HELO for now, which is to be tolerated",
        (*ASKED, b"450 later\r\n", *QUIT),
        "OK",
        "helo: 450 later (after # s)",
        REFUSED,
        Question(("--tempfail", "ok"), unasked="no --tempfail"),
    ),
    warning(
        "answers HELO with 421 and closes",
        "helo: 421 4.3.2 Shutting down (after # s)",
        REFUSED,
        *(*ASKED, b"421 4.3.2 Shutting down\r\n"),
    ),
    critical(
        "answers HELO with 354",
        "helo: 354 go on instead of 250 (after # s)",
        REFUSED,
        *(*ASKED, b"354 go on\r\n", *QUIT),
    ),
    critical(
        "answers HELO with something that is not SMTP",
        "helo: not an SMTP reply: 'hello' (after # s)",
        GREETED,
        *(*ASKED, b"hello\r\n", *QUIT),
    ),
    critical(
        "answers HELO with 250 and 550 in one reply",
        "helo: different codes in one reply: "
        "'250-mail.example.org / 550 5.7.1 Access denied' (after # s)",
        GREETED,
        *(*ASKED, b"250-mail.example.org\r\n550 5.7.1 Access denied\r\n", *QUIT),
    ),
    critical(
        "answers HELO twice",
        "helo: unexpected extra reply: '250 b' (after # s)",
        GREETED,
        *(*ASKED, b"250 a\r\n250 b\r\n", Hang()),
    ),
    critical(
        "answers HELO before it is asked",
        "banner: unexpected extra reply: '250 mx' (after # s)",
        "time connect",
        *(BANNER + b"250 mx\r\n", Hang()),
    ),
    hangs(
        "never answers HELO", "helo: no answer within 1 s, cause: silent", GREETED, *ASKED, Hang()
    ),
    hangs(
        "answers HELO a byte now and then",
        "helo: no complete answer within 1 s: '25'",
        GREETED,
        *(*ASKED, Slowly(b"250 mx\r\n", 0.6)),
    ),
    hangs(
        "never stops answering EHLO, slowly",
        "helo: no complete answer within 1 s: '250-X / 250-X'",
        GREETED,
        *(BANNER, EHLO, Forever(b"250-X\r\n", 0.6)),
        asks=SAY_EHLO,
    ),
    critical(
        "closes when it is sent HELO",
        "helo: connection closed by the server (after # s)",
        GREETED,
        *ASKED,
    ),
    critical(
        "closes in the middle of its reply to HELO",
        "helo: connection closed in the middle of a reply: '250-mx' (after # s)",
        GREETED,
        *(*ASKED, b"250-mx\r\n"),
    ),
    critical(
        "resets the connection when it is sent HELO",
        "helo: connection reset by the server (after # s), cause: reset",
        GREETED,
        *(*ASKED, Reset()),
    ),
    critical(
        "resets the connection in the middle of its reply to HELO",
        "helo: connection reset by the server: '250-a / 25' (after # s), cause: reset",
        GREETED,
        *(*ASKED, b"250-a\r\n25", Sleep(0.1), Reset()),
    ),
    ok(
        "does not know EHLO, but HELO",
        *(BANNER, EHLO, PAUSE, b"502 what\r\n", *HELO, *QUIT),
        asks=SAY_EHLO,
        slowest="helo",
    ),
    critical(
        "knows neither EHLO nor HELO",
        "helo: 500 what (after # s)",
        REFUSED,
        *(BANNER, EHLO, b"500 what\r\n", HELO[0], b"500 what\r\n", *QUIT),
        asks=SAY_EHLO,
    ),
    critical(
        "refuses EHLO",
        "helo: 550 no (after # s)",
        REFUSED,
        *(BANNER, EHLO, b"550 no\r\n", *QUIT),
        asks=SAY_EHLO,
    ),
    critical(
        "does not know EHLO, where extensions are needed",
        "helo: 502 what (after # s)",
        REFUSED,
        *(BANNER, EHLO, b"502 what\r\n", *QUIT),
        asks=NEED_SIZE,
    ),
    critical(
        "lacks what is required, and offers what is forbidden",
        "helo: STARTTLS is not offered, also helo: AUTH=PLAIN is not offered, "
        "also helo: VRFY is offered",
        DONE,
        *(BANNER, EHLO, b"250-mx STARTTLS\r\n250-xstarttlsx\r\n250-auth=login\r\n250 vrfy\r\n"),
        *QUIT,
        asks=Question(
            (
                *("--require", "STARTTLS", "--require", "AUTH=PLAIN"),
                *("--require", "auth=LOGIN", "--forbid", "VRFY"),
            ),
            unasked="neither --require nor --forbid",
        ),
    ),
    ok(
        "offers what is required, in lower case and with blanks behind it",
        *(BANNER, EHLO, PAUSE, b"250-mx\r\n250 size  \r\n", *QUIT),
        asks=NEED_SIZE,
        slowest="helo",
    ),
    ok(
        "has bytes beyond ASCII among its extensions",
        *(BANNER, EHLO, PAUSE, b"250-mx\r\n250-\xff\xfe\r\n250 SIZE\r\n", *QUIT),
        asks=NEED_SIZE,
        slowest="helo",
    ),
    ok(
        "offers 60 extensions",
        *(BANNER, EHLO, PAUSE),
        b"250-mx\r\n" + b"250-XKEYWORD some parameters\r\n" * 60 + b"250 HELP\r\n",
        *QUIT,
        asks=SAY_EHLO,
        slowest="helo",
    ),
    critical(
        "offers 10,000 extensions",
        "helo: a reply of more than 256 lines: '250-a' (after # s)",
        GREETED,
        *(BANNER, EHLO, b"250-a\r\n" * 10_000, Hang()),
        asks=SAY_EHLO,
    ),
    critical(
        "offers 500 KB of extensions",
        f"helo: a reply longer than 65536 bytes: '250-{'x' * 249}...' (after # s)",
        GREETED,
        *(BANNER, EHLO, b"250-%s\r\n" % (b"x" * 2000) * 250, Hang()),
        asks=SAY_EHLO,
    ),
    critical(
        "is slow to answer HELO",
        "answered in # s (limit 0.25 s, slowest: helo # s), also helo took # s (limit 0.2 s)",
        DONE,
        *(BANNER, HELO[0], Sleep(0.3), HELO[1], *QUIT),
        asks=Question(("-w", "helo=0.2", "-c", "0.25"), ("-c", "0.25")),
    ),
)
