"""MAIL, RCPT, and the relay test."""

from __future__ import annotations

from tests.servers.catalogue.behaviour import (
    BANNER,
    EHLO,
    HELO,
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
from tests.servers.scripted import Expect, Hang

REFUSED = f"{HELOED} quit"
ACCEPTED = f"{HELOED} mail quit"

OK = b"250 2.0.0 Ok\r\n"
RSET = (Expect(b"RSET\r\n"), OK)
GREETED = (PAUSE, BANNER, *HELO)
MAIL = (*GREETED, Expect(b"MAIL FROM:<me@example.org>\r\n"))
NULL = (*GREETED, Expect(b"MAIL FROM:<>\r\n"), OK)

FROM = Question(("-f", "me@example.org"))


def rcpt(address: str, reply: str) -> tuple[ServerStep, ...]:
    """Return the steps that answer RCPT for an address."""
    return (Expect(f"RCPT TO:<{address}>\r\n".encode()), f"{reply}\r\n".encode())


def extended(*keywords: str) -> tuple[ServerStep, ...]:
    """Return the steps up to an EHLO reply that offers the keywords."""
    lines = "".join(f"250-{word}\r\n" for word in keywords)
    return (PAUSE, BANNER, EHLO, f"250-mx.example\r\n{lines}250 HELP\r\n".encode())


def may_mail(*addresses: str) -> Question:
    """Return the question whether these recipients are accepted."""
    ours = [word for address in addresses for word in ("--rcpt", address)]
    return Question(tuple(ours), _as_commands(addresses, "250"))


def may_not_relay(*addresses: str) -> Question:
    """Return the question whether these recipients are refused."""
    ours = [word for address in addresses for word in ("--no-relay", address)]
    return Question(tuple(ours), _as_commands(addresses, "^5"))


def _as_commands(addresses: tuple[str, ...], response: str) -> tuple[str, ...]:
    rows = [("-C", f"RCPT TO:<{address}>", "-R", response) for address in addresses]
    return ("-f", "", *(word for row in rows for word in row))


_NO_SIZE = Question(("--size", "99"), unasked="no --size")

SENDERS = (
    ok(
        "takes a sender",
        *(*MAIL, OK, *RSET, *QUIT),
        asks=FROM,
        labels=f"{HELOED} mail quit",
    ),
    critical(
        "refuses MAIL of `-f` for good",
        "mail: 530 5.7.0 Must issue STARTTLS (after # s)",
        REFUSED,
        *(*MAIL, b"530 5.7.0 Must issue STARTTLS\r\n", *QUIT),
        asks=FROM,
    ),
    critical(
        "refuses MAIL of `-f` for now, its disk being full",
        "mail: 452 4.3.1 Insufficient storage (after # s), cause: disk full",
        REFUSED,
        *(*MAIL, b"452 4.3.1 Insufficient storage\r\n", *QUIT),
        asks=FROM,
    ),
    warning(
        "answers MAIL with 421 and closes",
        "mail: 421 4.3.2 bye (after # s)",
        REFUSED,
        *(*MAIL, b"421 4.3.2 bye\r\n"),
        asks=FROM,
    ),
    critical(
        "answers MAIL with 354",
        "mail: 354 go on instead of 250 (after # s)",
        REFUSED,
        *(*MAIL, b"354 go on\r\n", *QUIT),
        asks=FROM,
    ),
    critical(
        "answers MAIL with 250 and 550 in one reply",
        "mail: different codes in one reply: '250-ok / 550 no' (after # s)",
        HELOED,
        *(*MAIL, b"250-ok\r\n550 no\r\n", *QUIT),
        asks=FROM,
    ),
    critical(
        "closes when it is sent MAIL",
        "mail: connection closed by the server (after # s)",
        HELOED,
        *MAIL,
        asks=FROM,
    ),
    hangs(
        "never answers MAIL",
        "mail: no answer within 1 s, cause: silent",
        HELOED,
        *MAIL,
        Hang(),
        asks=FROM,
    ),
    critical(
        "has no room for a message of that size",
        "mail: 552 5.3.4 too big (after # s), cause: message too big, also mail: the server "
        "announces at most 10 bytes",
        REFUSED,
        *(*extended("SIZE 10"), Expect(b"MAIL FROM:<> SIZE=99"), b"552 5.3.4 too big\r\n", *QUIT),
        asks=_NO_SIZE,
    ),
    critical(
        "does not offer SIZE",
        "mail: SIZE is not offered",
        REFUSED,
        *(*extended(), *QUIT),
        asks=_NO_SIZE,
    ),
    critical(
        "does not offer SMTPUTF8, for an address beyond ASCII",
        "mail: SMTPUTF8 is not offered",
        REFUSED,
        *(*extended(), *QUIT),
        asks=Question(("--rcpt", "\u00e4@example.org"), unasked="no SMTPUTF8"),
    ),
)

RECIPIENTS = (
    ok(
        "takes recipients, forwards for one, and leaves it open with another",
        *(*NULL, *rcpt("a@x", "250 ok"), *rcpt("b@x", "251 there"), *rcpt("c@x", "252 well")),
        *(*RSET, *QUIT),
        asks=Question(
            ("--rcpt", "a@x", "--rcpt", "b@x", "--rcpt", "c@x"),
            (
                *("-f", "", "-C", "RCPT TO:<a@x>", "-R", "^25[012]"),
                *("-C", "RCPT TO:<b@x>", "-R", "^25[012]", "-C", "RCPT TO:<c@x>"),
                *("-R", "^25[012]"),
            ),
        ),
        labels=f"{HELOED} mail rcpt quit",
        besides=", 3 recipients accepted",
    ),
    critical(
        "does not know the recipient",
        "rcpt: a@x: 550 5.1.1 unknown (after # s), cause: unknown recipient",
        ACCEPTED,
        *(*NULL, *rcpt("a@x", "550 5.1.1 unknown"), *RSET, *QUIT),
        asks=may_mail("a@x"),
    ),
    warning(
        "greylists the recipient",
        "rcpt: b@x: 450 4.2.0 greylisted (after # s), cause: greylisted",
        ACCEPTED,
        *(*NULL, *rcpt("b@x", "450 4.2.0 greylisted"), *RSET, *QUIT),
        asks=may_mail("b@x"),
    ),
    critical(
        "does not know one recipient, greylists another, and refuses to relay",
        "rcpt: a@x: 550 5.1.1 unknown (after # s), cause: unknown recipient, "
        "also rcpt: b@x: 450 4.2.0 greylisted (after # s), cause: greylisted",
        f"{HELOED} mail relay quit",
        *(*NULL, *rcpt("a@x", "550 5.1.1 unknown"), *rcpt("b@x", "450 4.2.0 greylisted")),
        *(*rcpt("c@y", "551 not here"), *RSET, *QUIT),
        asks=Question(
            ("--rcpt", "a@x", "--rcpt", "b@x", "--no-relay", "c@y"),
            (
                *("-f", "", "-C", "RCPT TO:<a@x>", "-R", "250", "-C", "RCPT TO:<b@x>"),
                *("-R", "250", "-C", "RCPT TO:<c@y>", "-R", "^5"),
            ),
        ),
    ),
    critical(
        "answers RCPT with 354",
        "rcpt: a@x: 354 go on (after # s)",
        ACCEPTED,
        *(*NULL, *rcpt("a@x", "354 go on"), *RSET, *QUIT),
        asks=may_mail("a@x"),
    ),
    warning(
        "answers RCPT with 421, and closes on the next command",
        "rcpt: 421 too many (a@x) (after # s)",
        f"{HELOED} mail",
        *(*NULL, *rcpt("a@x", "421 too many"), Expect(b"")),
        asks=may_mail("a@x", "b@x"),
    ),
    critical(
        "closes when it is sent RCPT",
        "rcpt: connection closed by the server (after # s)",
        f"{HELOED} mail",
        *(*NULL, Expect(b"RCPT")),
        asks=may_mail("a@x"),
    ),
    hangs(
        "never answers RCPT",
        "rcpt: no answer within 1 s, cause: silent",
        f"{HELOED} mail",
        *(*NULL, Expect(b"RCPT"), Hang()),
        asks=may_mail("a@x"),
    ),
    Behaviour(
        "does not know one recipient, and never answers for the next, which is to be tolerated",
        (*NULL, *rcpt("a@x", "550 no"), Expect(b"RCPT"), Hang()),
        "CRITICAL",
        "rcpt: a@x: 550 no (after # s), also rcpt: no answer within 1 s, cause: silent",
        f"{HELOED} mail",
        Question(("--rcpt", "a@x", "--rcpt", "b@x", "-t", "1:ok"), unasked="no state for -t"),
        quick=False,
    ),
    # What is known is known, whatever RSET leads to.
    ok(
        "takes a recipient, and answers RSET with 421",
        *(*NULL, *rcpt("a@x", "250 ok"), Expect(b""), b"421 bye\r\n"),
        asks=may_mail("a@x"),
        labels=f"{HELOED} mail rcpt quit",
        besides=", 1 recipient accepted",
    ),
    ok(
        "takes a recipient, and never answers RSET",
        *(*NULL, *rcpt("a@x", "250 ok"), Expect(b""), Hang()),
        asks=may_mail("a@x"),
        labels=f"{HELOED} mail rcpt",
        besides=", 1 recipient accepted",
        quick=False,
    ),
)

RELAY = (
    ok(
        "refuses to relay",
        *(
            *NULL,
            *rcpt("a@x", "554 5.7.1 Relaying denied"),
            *rcpt("b%c@x", "550 relay not permitted"),
            *RSET,
            *QUIT,
        ),
        asks=may_not_relay("a@x", "b%c@x"),
        labels=f"{HELOED} mail relay quit",
        besides=", relaying refused",
    ),
    critical(
        "relays",
        "relay: accepts a@y, an open relay: 250 why not (after # s)",
        ACCEPTED,
        *(*NULL, *rcpt("a@y", "250 why not"), *RSET, *QUIT),
        asks=may_not_relay("a@y"),
    ),
    critical(
        "forwards what is none of its business",
        "relay: accepts a@y, an open relay: 251 will forward (after # s)",
        ACCEPTED,
        *(*NULL, *rcpt("a@y", "251 will forward"), *RSET, *QUIT),
        asks=may_not_relay("a@y"),
    ),
    ok(
        "refuses to relay, by a code that says for now",
        *(*NULL, *rcpt("a@y", "454 4.7.1 Relay access denied"), *RSET, *QUIT),
        asks=may_not_relay("a@y"),
        labels=f"{HELOED} mail relay quit",
        besides=", relaying refused",
    ),
    ok(
        "takes no mail without a login",
        *(*GREETED, Expect(b"MAIL FROM:<>\r\n"), b"530 5.7.0 Authentication required\r\n", *QUIT),
        asks=may_not_relay("a@y"),
        labels=f"{HELOED} mail quit",
        besides=", relaying refused: no mail at all without a login",
    ),
    warning(
        "refuses a relay attempt for the HELO name",
        "relay: a@y proves nothing, refused for our HELO name (we said HELO me.example, try -F): "
        "504 5.5.2 Helo command rejected (after # s)",
        ACCEPTED,
        *(*NULL, *rcpt("a@y", "504 5.5.2 Helo command rejected"), *RSET, *QUIT),
        asks=may_not_relay("a@y"),
    ),
    warning(
        "refuses a relay attempt because the client is on a blocklist",
        "relay: a@y proves nothing, refused because our address is on a blocklist: "
        "554 5.7.1 Client host blocked using bl.example (after # s)",
        ACCEPTED,
        *(*NULL, *rcpt("a@y", "554 5.7.1 Client host blocked using bl.example"), *RSET, *QUIT),
        asks=may_not_relay("a@y"),
    ),
    critical(
        "takes mail for an unknown user",
        "relay: accepts a@x, which should be unknown (its bounces go to strangers): "
        "250 why not (after # s)",
        ACCEPTED,
        *(*NULL, *rcpt("a@x", "250 why not"), *RSET, *QUIT),
        asks=Question(("--no-rcpt", "a@x"), _as_commands(("a@x",), "^5")),
    ),
    warning(
        "refuses to relay for now, which proves nothing",
        "relay: b@y proves nothing, refused for now only: 450 later (after # s)",
        ACCEPTED,
        *(*NULL, *rcpt("b@y", "450 later"), *RSET, *QUIT),
        asks=may_not_relay("b@y"),
    ),
    critical(
        "relays for one address, and defers another",
        "relay: accepts a@y, an open relay: 250 why not (after # s), "
        "also relay: b@y proves nothing, refused for now only: 450 later (after # s)",
        ACCEPTED,
        *(*NULL, *rcpt("a@y", "250 why not"), *rcpt("b@y", "450 later"), *RSET, *QUIT),
        asks=may_not_relay("a@y", "b@y"),
    ),
    # What was found stays found, whatever comes of the next.
    Behaviour(
        "relays for one address, and never answers for the next",
        (*NULL, *rcpt("a@y", "250 why not"), Expect(b"RCPT"), Hang()),
        "CRITICAL",
        "relay: no answer within 1 s, cause: silent, "
        "also relay: accepts a@y, an open relay: 250 why not (after # s)",
        f"{HELOED} mail",
        may_not_relay("a@y", "b@y"),
        quick=False,
    ),
    critical(
        "closes on the relay test",
        "relay: connection closed by the server (after # s)",
        f"{HELOED} mail",
        *(*NULL, Expect(b"RCPT")),
        asks=may_not_relay("a@y"),
    ),
    warning(
        "answers the relay test with 421 and closes",
        "relay: 421 go away (a@y proves nothing) (after # s)",
        f"{HELOED} mail",
        *(*NULL, *rcpt("a@y", "421 go away")),
        asks=may_not_relay("a@y"),
    ),
)
