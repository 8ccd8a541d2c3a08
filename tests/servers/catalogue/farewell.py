"""QUIT, which never matters, and words that must stay harmless."""

from __future__ import annotations

from tests.servers.catalogue.behaviour import (
    BANNER,
    CONNECTED,
    GREETED,
    HELO,
    HELOED,
    PAUSE,
    QUIT,
    TURNED_AWAY,
    Behaviour,
    Question,
    critical,
    ok,
)
from tests.servers.scripted import Expect, Forever, Hang, Reset

REFUSED = f"{CONNECTED} quit"

LEAVING = (PAUSE, BANNER, *HELO, QUIT[0])

QUITTING = (
    ok(
        "never answers QUIT, having answered everything else",
        *LEAVING,
        Hang(),
        labels=HELOED,
        quick=False,
    ),
    ok("closes when it is sent QUIT", *LEAVING),
    ok("resets the connection when it is sent QUIT", *LEAVING, Reset()),
    ok("does not know QUIT", *LEAVING, b"500 what\r\n", labels=HELOED),
    ok("answers QUIT with 421", *LEAVING, b"421 bye\r\n"),
    ok("answers QUIT with garbage", *LEAVING, b"\0\r\n", labels=HELOED),
    ok("never stops answering QUIT", *LEAVING, Forever(b"221-bye\r\n"), labels=HELOED),
)

WORDS = (
    critical(
        "says something that looks like perfdata",
        "banner: 554 No\\x7ctime=0.001s;;;0 (after # s)",
        REFUSED,
        *(b"554 No|time=0.001s;;;0\r\n", *TURNED_AWAY),
    ),
    critical(
        "says something that looks like a state, and like HTML",
        "banner: 554 a (CRITICAL ) (script) &lt; (after # s)",
        REFUSED,
        *(b"554 a [CRITICAL] <script> &lt;\r\n", *TURNED_AWAY),
    ),
    critical(
        "says something that looks like Markdown",
        "banner: 554 `a` (b)(javascript:c) ``` (after # s)",
        REFUSED,
        *(b"554 `a` [b](javascript:c) ```\r\n", *TURNED_AWAY),
    ),
    critical(
        "sends controls, C1, bidi marks and a lone CR",
        "banner: 554 \\x00\\x07\\x1b(1m\\x7f\\x85\\u202e\\u2028\\x0d\u00e4 (after # s)",
        REFUSED,
        "554 \0\a\x1b[1m\x7f\x85\u202e\u2028\r\u00e4\r\n".encode(),
        *TURNED_AWAY,
    ),
    critical(
        "answers HELO with an escape sequence and bytes that are no text",
        "helo: not an SMTP reply: '\\x1b(31m\ufffd\\x7cx=1' (after # s)",
        GREETED,
        *(BANNER, HELO[0], b"\x1b[31m\xff|x=1\r\n", Hang()),
    ),
    critical(
        "says what a program could take for a format",
        "banner: 554 %s%n {0.__class__} \\x5cn $(id) (after # s)",
        REFUSED,
        *(b"554 %s%n {0.__class__} \\n $(id)\r\n", *TURNED_AWAY),
    ),
    critical(
        "refuses in 100 lines",
        "helo: 550 " + " / ".join(["too long a story"] * 13) + " / to... (after # s)",
        f"{GREETED} quit",
        *(BANNER, HELO[0], b"550-too long a story\r\n" * 99 + b"550 too long a story\r\n", *QUIT),
    ),
    Behaviour(
        "would be sent a second command, hidden in `-F` behind a line break",
        (BANNER, Expect(b"HELO"), HELO[1], Expect(b"MAIL"), b"250 2.1.0 Ok\r\n", *QUIT),
        "UNKNOWN",
        "-F: 'me\\x0d\\x0aMAIL FROM:<me@example.org>' is not a name of 1 to "
        "255 visible ASCII characters",
        "",
        Question(("-F", "me\r\nMAIL FROM:<me@example.org>")),
        target="",
    ),
)
