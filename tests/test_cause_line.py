"""What a cause does to an answer: its words, its state, its advice, and what decides otherwise."""

from __future__ import annotations

import json

import pytest

from check_smtp_health.judge.cause_table import CAUSES
from tests import plugin
from tests.servers.catalogue import BANNER, EHLO, HELO, QUIT
from tests.servers.scripted import Expect, Hang, ScriptedServer, Sleep, Step

FULL = b"452 4.3.1 Insufficient system storage\r\n"
LISTED = (
    b"554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; "
    b"https://www.spamhaus.org/query/ip/192.0.2.1\r\n"
)

RESET = (Expect(b"RSET"), b"250 ok\r\n")


def at_mail(reply: bytes) -> tuple[Step, ...]:
    """Return the script of a server that says that to MAIL."""
    return (BANNER, *HELO, Expect(b"MAIL"), reply, *QUIT)


def answered(script: tuple[Step, ...], *arguments: str) -> tuple[int, str]:
    """Return exit code and status line of a check."""
    return plugin.check(script, *arguments)[:2]


@pytest.mark.parametrize(
    ("options", "code", "state"),
    [
        ((), 2, "CRITICAL"),
        (("--tempfail", "ok"), 2, "CRITICAL"),
        (("--state", "transient=ok"), 2, "CRITICAL"),
        (("--state", "disk-full=warning"), 1, "WARNING"),
        (("--state", "transient=critical,disk-full=3"), 3, "UNKNOWN"),
    ],
)
def test_a_cause_goes_before_a_kind(options: tuple[str, ...], code: int, state: str) -> None:
    said = "mail: 452 4.3.1 Insufficient system storage (after # s), cause: disk full"
    assert answered(at_mail(FULL), "-f", "a@x", *options) == (code, f"SMTP {state} - {said}")


@pytest.mark.parametrize(
    ("options", "code", "state"),
    [
        ((), 1, "WARNING"),
        (("--state", "transient=critical"), 2, "CRITICAL"),
        (("--tempfail", "ok", "--state", "transient=unknown"), 3, "UNKNOWN"),
        (("--state", "rejected=ok"), 1, "WARNING"),
    ],
)
def test_the_kind_decides_where_there_is_no_cause(
    options: tuple[str, ...], code: int, state: str
) -> None:
    said = "mail: 450 4.7.1 later (after # s)"
    script = at_mail(b"450 4.7.1 later\r\n")
    assert answered(script, "-f", "a@x", *options) == (code, f"SMTP {state} - {said}")


def test_list_and_address() -> None:
    with ScriptedServer(at_mail(LISTED)).running() as server:
        shown = plugin.run(*plugin.at(server.port), "-f", "a@x", "-v")
        seen = json.loads(
            plugin.run(*plugin.at(server.port), "-f", "a@x", "--output-format", "json").stdout
        )
    advice = CAUSES["blocklisted"].advice
    assert shown.line.endswith(" (after # s), cause: blocklisted by zen.spamhaus.org")
    assert shown.stdout.splitlines()[2] == (
        "cause    blocklisted by zen.spamhaus.org (blocklist), 192.0.2.1 is listed: " + advice
    )
    assert [problem["cause"] for problem in seen["problems"]] == [
        {
            "name": "blocklisted",
            "group": "blocklist",
            "advice": advice,
            "list": "zen.spamhaus.org",
            "listed": "192.0.2.1",
        }
    ]


def test_a_list_with_a_hostile_name_is_harmless() -> None:
    said = "554 5.7.1 blocked using \u202eevil|x.[CRITICAL].example.net\r\n".encode()
    with ScriptedServer(at_mail(said)).running() as server:
        done = plugin.run(*plugin.at(server.port), "-f", "a@x", "-v")
    assert done.code == 2
    assert done.stdout.count("|") == 1
    assert "\u202e" not in done.stdout
    assert "[CRITICAL].example" not in done.stdout


MASKED = (EHLO, b"250-mx.example\r\n250-SIZE\r\n250 XXXXXXXA\r\n", *QUIT)


@pytest.mark.parametrize(
    ("script", "options", "line"),
    [
        (
            (BANNER, *MASKED),
            ("-S",),
            "CRITICAL - starttls: STARTTLS is not offered (a firewall masks the server's words: "
            "XXXXXXXA), cause: keywords masked",
        ),
        (
            (BANNER, *MASKED),
            ("--require", "STARTTLS"),
            "CRITICAL - helo: STARTTLS is not offered (a firewall masks the server's words: "
            "XXXXXXXA), cause: keywords masked",
        ),
        (
            (b"220 **************2********\r\n", *HELO, *QUIT),
            ("-e", "ESMTP"),
            "WARNING - helo: neither this reply nor the banner contains 'ESMTP' (a firewall masks "
            "the server's words: 220 ****): '220 **************2********', cause: keywords masked",
        ),
        (
            (BANNER, EHLO, b"250-mx.example\r\n250 XCLIENT NAME\r\n", *QUIT),
            ("-S",),
            "CRITICAL - starttls: STARTTLS is not offered",
        ),
    ],
)
def test_a_firewall_that_rewrites(
    script: tuple[Step, ...], options: tuple[str, ...], line: str
) -> None:
    assert answered(script, *options)[1] == f"SMTP {line}"


def test_a_server_that_expects_no_proxy() -> None:
    script = (BANNER, Expect(b"PROXY"), b"502 5.5.2 Error: command not recognized\r\n")
    code, line = answered((*script, Expect(b"HELO"), b"250 mx\r\n", *QUIT), "-r", "v1")
    assert (code, line.rpartition(", ")[2]) == (2, "cause: no proxy expected")


def test_to_refuse_a_relay_attempt_is_no_fault() -> None:
    begun = (BANNER, *HELO, Expect(b"MAIL"), b"250 ok\r\n", Expect(b"RCPT"))
    script = (*begun, b"554 5.7.1 Relay access denied\r\n", *RESET, *QUIT)
    assert answered(script, "--no-relay", "a@other.example")[0] == 0


def test_a_token_that_is_rejected() -> None:
    offer = (EHLO, b"250-mx.example\r\n250 AUTH XOAUTH2\r\n")
    refusal = b"535 5.7.8 Username and Password not accepted\r\n"
    script = (BANNER, *offer, Expect(b"AUTH XOAUTH2"), refusal, *QUIT)
    login = ("-A", "XOAUTH2", "-U", "me", "-P", "t0ken-t0ken", "--auth-insecure")
    assert answered(script, *login) == (
        2,
        "SMTP CRITICAL - auth: XOAUTH2: 535 5.7.8 Username and Password not accepted (after # s), "
        "cause: token rejected",
    )


def test_causes_give_way_to_problems() -> None:
    """The line has room for a thousand characters: the server's words come first."""
    unknown = b"550 5.1.1 User unknown " + b"x" * 200 + b"\r\n"
    begun = (BANNER, *HELO, Expect(b"MAIL"), b"250 ok\r\n")
    script = (*begun, *(Expect(b"RCPT"), unknown) * 4, *RESET, *QUIT)
    recipients = [word for name in "abcd" for word in ("--rcpt", f"{name}@x")]
    code, line = answered(script, *recipients)
    assert (code, line.count("550 5.1.1"), line.count("cause:")) == (2, 4, 0)
    assert len(line) <= 1000


def test_a_server_that_is_only_slow_is_not_silent() -> None:
    script = (Sleep(0.7), BANNER, Expect(b"HELO"), Hang())
    assert answered(script) == (2, "SMTP CRITICAL - helo: no answer within 1 s")


def test_to_relay_for_nobody_is_a_cause_where_it_is_not_to_be() -> None:
    """Of an own recipient it is CRITICAL, of a command what it is; of a stranger it is right."""
    denied = b"454 4.7.1 Relay access denied\r\n"
    begun = (BANNER, *HELO, Expect(b"MAIL"), b"250 ok\r\n", Expect(b"RCPT"))
    script = (*begun, denied, *RESET, *QUIT)
    said = "454 4.7.1 Relay access denied (after # s)"
    assert answered(script, "--rcpt", "a@x") == (
        2,
        f"SMTP CRITICAL - rcpt: a@x: {said}, cause: relay denied",
    )
    assert answered(script, "--no-rcpt", "a@x") == (
        1,
        f"SMTP WARNING - relay: a@x proves nothing, refused as a relay attempt: {said}",
    )
    asked = ("-C", "RCPT TO:<a@x>", "-R", "250")
    code, line = answered((BANNER, *HELO, Expect(b"RCPT"), denied, *QUIT), *asked)
    assert (code, line.rpartition(", ")[2]) == (1, "cause: relay denied")
