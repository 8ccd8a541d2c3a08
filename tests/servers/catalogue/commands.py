"""Commands of one's own, and the words that their replies must have."""

from __future__ import annotations

from tests.servers.catalogue.behaviour import HELOED, QUIT, Question, critical, hangs, ok, warning
from tests.servers.catalogue.transaction import GREETED, REFUSED
from tests.servers.scripted import Expect, Hang


def commands(*pairs: tuple[str, str]) -> Question:
    """Return the question whether commands have these texts in their replies."""
    return Question(tuple(word for line, text in pairs for word in ("-C", line, "-R", text)))


ROWS = (
    critical(
        "refuses the command of `-C`, without `-R`",
        "command: VRFY me: 550 5.1.1 Unknown (after # s), cause: unknown recipient",
        REFUSED,
        *(*GREETED, Expect(b"VRFY me"), b"550 5.1.1 Unknown\r\n", *QUIT),
        asks=Question(("-C", "VRFY me")),
    ),
    warning(
        "defers the command of `-C`",
        "command: NOOP: 450 hm (after # s)",
        REFUSED,
        *(*GREETED, Expect(b"NOOP"), b"450 hm\r\n", *QUIT),
        asks=Question(("-C", "NOOP")),
    ),
    critical(
        "answers one command in other words, and does not know the others",
        "command: VRFY x: 550 no (after # s), also command: EXPN y: 502 no (after # s), "
        "also command: HELP: the reply does not contain '214': '211 ask'",
        REFUSED,
        *(*GREETED, Expect(b"HELP"), b"211 ask\r\n", Expect(b"VRFY x"), b"550 no\r\n"),
        *(Expect(b"EXPN y"), b"502 no\r\n", *QUIT),
        asks=Question(
            ("-C", "HELP", "-C", "VRFY x", "-C", "EXPN y", "-R", "214", "-R", "252"),
        ),
    ),
    ok(
        "answers commands as regular expressions have it",
        *(*GREETED, Expect(b"VRFY"), b"252 hm\r\n", Expect(b"NOOP"), b"250 ok\r\n", *QUIT),
        asks=commands(("VRFY me", "^25[02] "), ("NOOP", "ok$|never")),
        labels=f"{HELOED} command quit",
    ),
    ok(
        "does not know a command, as it should",
        *(*GREETED, Expect(b"HELP"), b"502 no\r\n", *QUIT),
        asks=commands(("HELP", "502 no")),
        labels=f"{HELOED} command quit",
    ),
    hangs(
        "never answers a command",
        "command: no answer within 1 s, cause: silent",
        HELOED,
        *(*GREETED, Expect(b"NOOP"), Hang()),
        asks=Question(("-C", "NOOP")),
    ),
    critical(
        "closes on a command",
        "command: connection closed by the server (after # s)",
        HELOED,
        *(*GREETED, Expect(b"NOOP")),
        asks=Question(("-C", "NOOP")),
    ),
)
