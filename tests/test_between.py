"""What stands before the server, or what we say first, is not mistaken for the server's fault."""

from __future__ import annotations

import pytest

from tests import plugin
from tests.plugin import check
from tests.servers.catalogue import BANNER, EHLO, HELO, QUIT
from tests.servers.scripted import Expect, ScriptedServer, Sleep, Step, Swallow

STARS = b"220 ****************************************\r\n"
MASKED = b"250-mx.example.org\r\n250-XXXXXXXA\r\n250-SIZE 37748736\r\n250 XXXB\r\n"
WORDS = "(a firewall masks the server's words: 220 ****, XXXXXXXA, XXXB), cause: keywords masked"
LOGIN = ("-U", "monitor", "-P", "s3cret", "--auth-insecure")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-S",), "starttls: STARTTLS is not offered"),
        (LOGIN, "auth: AUTH is not offered"),
        (("--require", "STARTTLS"), "helo: STARTTLS is not offered"),
    ],
)
def test_masked_keywords(arguments: tuple[str, ...], said: str) -> None:
    answer = check((STARS, EHLO, MASKED, *QUIT), *arguments)
    assert (answer.code, answer.line) == (2, f"SMTP CRITICAL - {said} {WORDS}")


@pytest.mark.parametrize(
    ("banner", "keywords", "said"),
    [
        (
            BANNER,
            b"250-mx\r\n250 XXXA\r\n",
            " (a firewall masks the server's words: XXXA), cause: keywords masked",
        ),
        (
            STARS,
            b"250-mx\r\n250 SIZE\r\n",
            " (a firewall masks the server's words: 220 ****), cause: keywords masked",
        ),
        (BANNER, b"250-mx\r\n250 X-EXPS\r\n", ""),
        (BANNER, b"250-mx\r\n250 XCLIENT\r\n", ""),
        (b"220 *** mx ***\r\n", b"250-mx\r\n250 XX\r\n", ""),
    ],
)
def test_what_is_a_mask(banner: bytes, keywords: bytes, said: str) -> None:
    answer = check((banner, EHLO, keywords, *QUIT), "--require", "ETRN")
    assert (answer.code, answer.line) == (2, f"SMTP CRITICAL - helo: ETRN is not offered{said}")


def test_a_masked_banner_and_a_name_in_the_reply_to_helo() -> None:
    script = (Sleep(0.05), STARS, HELO[0], b"250 mx.example.org\r\n", *QUIT)
    answer = check(script, "-e", "mx.example.org")
    assert (answer.code, answer.line) == (0, "SMTP OK - answered in # s (slowest: # # s)")
    answer = check((STARS, *HELO, *QUIT), "-e", "mx.example.org")
    assert (answer.code, answer.line) == (
        1,
        "SMTP WARNING - helo: neither this reply nor the banner contains 'mx.example.org' "
        "(a firewall masks the server's words: 220 ****): "
        "'220 ****************************************', cause: keywords masked",
    )


UNKNOWN = b"502 5.5.2 Error: command not recognized\r\n"
BAD = b"500 5.5.2 Error: bad syntax\r\n"
UNCLEAR = "(to our greeting, or to the PROXY header: then leave out -r)"
ANSWERED = "the server answered the PROXY header, so it expects none, leave out -r"


@pytest.mark.parametrize(
    "arguments", [("-r",), ("-r", "v1", "--ehlo"), ("-r", "v1", "--require", "SIZE"), ("-r", "v2")]
)
@pytest.mark.parametrize("replies", [UNKNOWN, UNKNOWN * 3, BAD * 3 + b"221 2.0.0 Bye\r\n"])
def test_a_proxy_header_is_answered_with_the_banner(
    arguments: tuple[str, ...], replies: bytes
) -> None:
    answer = check((Swallow(), Sleep(0.05), BANNER + replies), *arguments)
    assert (answer.code, answer.line.partition(": '")[0]) == (
        2,
        f"SMTP CRITICAL - banner: {ANSWERED}",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("-r", "v1"),
        ("-r", "v1", "--ehlo"),
        ("-r", "v2", "--ehlo"),
        ("-r", "v1", "--ehlo", "--rcpt", "a@example.org", "--no-relay", "b@example.net"),
    ],
)
@pytest.mark.parametrize("greeted", [b"", b"250 mx.example\r\n"])
@pytest.mark.parametrize("reply", [UNKNOWN, BAD, b"221 2.7.0 Error: I can break rules, too\r\n"])
def test_a_proxy_header_is_answered_later(
    arguments: tuple[str, ...], greeted: bytes, reply: bytes
) -> None:
    script = (BANNER, Sleep(0.03), Expect(b"PROXY" if "v1" in arguments else b""), reply + greeted)
    with ScriptedServer(script).running() as server:
        done = plugin.run(*plugin.at(server.port), "-t", "1", *arguments)
    said = reply.decode().strip()
    assert (done.code, done.stderr) == (2, "")
    told = f"{ANSWERED}: '{said}' (after # s), cause: no proxy expected"
    if not greeted:
        told = f"{said} {UNCLEAR} (after # s)"
    assert done.line == f"SMTP CRITICAL - 127.0.0.1:{server.port} helo: {told}"


@pytest.mark.parametrize("header", ["v1", "v2"])
def test_the_proxy_header_or_the_greeting(header: str) -> None:
    """One reply alone may be to either; nothing more is asked, whose reply might be another's."""
    late = (Swallow(), BANNER, Expect(b"EHLO"), UNKNOWN, Sleep(0.6), b"250 late\r\n")
    assert check((*late, *QUIT), "-r", header, "--ehlo", "--rcpt", "a@x", "-t", "3").line == (
        f"SMTP CRITICAL - helo: {UNKNOWN.decode().strip()} {UNCLEAR} (after # s)"
    )
    refusal = b"501 Syntactically invalid HELO argument(s)\r\n"
    assert check((Swallow(), BANNER, HELO[0], refusal, *QUIT), "-r", header).line == (
        "SMTP CRITICAL - helo: 501 Syntactically invalid HELO argument(s) "
        f"{UNCLEAR} (after # s), cause: helo rejected"
    )


def test_a_server_that_was_to_be_heard_first() -> None:
    refusal = b"554 SMTP synchronization error\r\n"
    answer = check((Swallow(), refusal), "-r")
    assert (answer.code, answer.line) == (
        2,
        f"SMTP CRITICAL - banner: {ANSWERED}: '554 SMTP synchronization error' (after # s), "
        "cause: no proxy expected",
    )
    answer = check((refusal, *QUIT))
    assert answer.line == "SMTP CRITICAL - banner: 554 SMTP synchronization error (after # s)"


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (
            "421-4.7.0 Try again later, closing connection. (EHLO)\r\n421 4.7.0 - gsmtp",
            1,
            "421 4.7.0 Try again later, closing connection. (EHLO) / 4.7.0 - gsmtp",
        ),
        (
            "550-Access denied - Invalid HELO name (See RFC2821 4.1.1.1)\r\n550 no",
            2,
            "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1) / no",
        ),
        ("550 5.5.0 Invalid EHLO domain.", 2, "550 5.5.0 Invalid EHLO domain."),
        ("550 5.5.2 (me) is not a full name", 2, "550 5.5.2 (me) is not a full name"),
    ],
)
def test_a_name_that_the_server_dislikes(reply: str, code: int, said: str) -> None:
    end = () if code == 1 else QUIT
    answer = check((BANNER, HELO[0], f"{reply}\r\n".encode(), *end))
    state = ("OK", "WARNING", "CRITICAL")[code]
    assert (answer.code, answer.line) == (
        code,
        f"SMTP {state} - helo: {said} (we said HELO me.example, try -F) (after # s), "
        "cause: helo rejected",
    )


@pytest.mark.parametrize(
    "reply", ["550 5.7.1 Access denied", "502 5.5.1 HELO not implemented", "503 5.5.1 HELO twice"]
)
def test_a_refusal_that_another_name_does_not_change(reply: str) -> None:
    answer = check((BANNER, HELO[0], f"{reply}\r\n".encode(), *QUIT))
    assert answer.line == f"SMTP CRITICAL - helo: {reply} (after # s)"


def test_what_is_only_repeated_is_no_reason() -> None:
    later: tuple[Step, ...] = (
        *(BANNER, *HELO, Expect(b"MAIL"), b"250 ok\r\n", Expect(b"RCPT")),
        *(b"550 helo@x: User unknown\r\n", Expect(b"RSET"), b"250 ok\r\n", *QUIT),
    )
    answer = check(later, "--rcpt", "helo@x")
    assert answer.line == (
        "SMTP CRITICAL - rcpt: helo@x: 550 helo@x: User unknown (after # s), "
        "cause: unknown recipient"
    )


def test_a_name_that_is_disliked_later() -> None:
    later: tuple[Step, ...] = (
        *(BANNER, *HELO, Expect(b"MAIL"), b"250 ok\r\n", Expect(b"RCPT")),
        *(b"504 5.5.2 Helo command rejected\r\n", Expect(b"RSET"), b"250 ok\r\n", *QUIT),
    )
    answer = check(later, "--rcpt", "a@x")
    assert answer.line == (
        "SMTP CRITICAL - rcpt: a@x (we said HELO me.example, try -F): "
        "504 5.5.2 Helo command rejected (after # s), cause: helo rejected"
    )


TEASED = b"220-mx.example ESMTP\r\n"


@pytest.mark.parametrize(
    ("refusal", "arguments", "code", "line"),
    [
        (
            b"521 5.7.1 Service unavailable; client [127.0.0.1] blocked using zen.example\r\n",
            (),
            2,
            "SMTP CRITICAL - banner: 521 5.7.1 Service unavailable; client (127.0.0.1) blocked "
            "using zen.example (after # s), cause: blocklisted by zen.example",
        ),
        (
            b"421 4.3.2 All screening ports are busy\r\n",
            (),
            1,
            "SMTP WARNING - banner: 421 4.3.2 All screening ports are busy (after # s)",
        ),
        (
            b"502 5.5.2 Error: command not recognized\r\n",
            ("-r",),
            2,
            "SMTP CRITICAL - banner: 502 5.5.2 Error: command not recognized (after # s), "
            "cause: no proxy expected",
        ),
        (
            b"250 hello\r\n",
            (),
            2,
            "SMTP CRITICAL - banner: different codes in one reply: "
            "'220-mx.example ESMTP / 250 hello' (after # s)",
        ),
    ],
)
def test_a_refusal_behind_the_first_lines_of_a_banner(
    refusal: bytes, arguments: tuple[str, ...], code: int, line: str
) -> None:
    """As Postfix's postscreen has it, which makes up its mind meanwhile."""
    done = check((TEASED, Sleep(0.05), refusal), *arguments)
    assert (done.code, done.line) == (code, line)
