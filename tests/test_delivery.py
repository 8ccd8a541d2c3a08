"""DATA and the mailbox: what servers do that follow a script, and what is said and sent."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from check_smtp_health.roundtrip.message import mark
from tests import masking, plugin
from tests.servers.authority import Authority, after
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.loopback import free_port
from tests.servers.network import private
from tests.servers.roundtrip import (
    CAPABLE,
    EXPUNGED,
    FETCHED,
    FLAGGED,
    FOUND,
    HEADER,
    HI,
    IN,
    LOGIN,
    LOGOUT,
    NOOP,
    NOT_STALE,
    NOTHING,
    PASSWORD,
    PLACE,
    POOR,
    SEEN,
    SELECT,
    UNREAD,
    WHOLE,
    named,
)
from tests.servers.scripted import (
    Act,
    Expect,
    Forever,
    Handshake,
    Hang,
    Message,
    Reset,
    ScriptedServer,
    Sleep,
    Slowly,
    Step,
    Swallow,
    Tagged,
)
from tests.servers.system_resolver import NameServer, silence

Script = tuple[Step, ...]

HOW = "--mailbox-oauth, or ;AUTH=XOAUTH2 in the URL"
"""What helps where only a token opens a mailbox."""

OK = b"250 ok\r\n"
GO = (Expect(b"DATA\r\n"), b"354 go\r\n")
RSET = (Expect(b"RSET\r\n"), OK)
BEGUN = (Sleep(0.05), BANNER, *HELO, Expect(b"MAIL FROM:<>\r\n"), OK)
ONE = (*BEGUN, Expect(b"RCPT TO:<a@x>\r\n"), OK)
QUEUED = (*ONE, *GO, Message(), b"250 queued as 4711\r\n", *QUIT)
LMTP = (Sleep(0.05), BANNER, Expect(b"LHLO me.example\r\n"), OK, Expect(b"MAIL"), OK)

WITH_CONTROL = "the password contains a control character, such as a line break"

HEALTHY = "SMTP OK - answered in # s (slowest: # # s)"


INSECURE = ("--auth-insecure",)


def asked(smtp: ScriptedServer, *arguments: str) -> plugin.Outcome:
    """Run the plugin against a running server; it must come to an end in time."""
    done = plugin.run(
        *("-H", "127.0.0.1", "-p", str(smtp.port), "-t", "1", "-F", "me.example", *arguments),
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
    )
    assert (done.stderr, smtp.faults) == ("", [])
    assert done.seconds < 1 + plugin.SLACK
    return done


def sends(script: Script, *arguments: str) -> plugin.Checked:
    """Send a message; the labels are those from MAIL on."""
    done = plugin.check(script, "--deliver", *arguments)
    return done._replace(labels=" ".join(done.labels.split()[4:]))


@pytest.mark.parametrize(
    ("script", "code", "said", "labels"),
    [
        ((*QUEUED,), 0, f"{HEALTHY}, 1 recipient accepted", "mail rcpt data quit"),
        (
            (*ONE, Expect(b"DATA"), b"451 4.3.0 later\r\n", *RSET, *QUIT),
            1,
            "SMTP WARNING - data: 451 4.3.0 later (after # s)",
            "mail rcpt quit",
        ),
        (
            (*ONE, Expect(b"DATA"), b"250 what for?\r\n", *RSET, *QUIT),
            2,
            "SMTP CRITICAL - data: 250 what for? instead of 354 (after # s)",
            "mail rcpt quit",
        ),
        (
            (*ONE, *GO, Message(), b"452 4.2.2 mailbox full\r\n", *QUIT),
            2,
            "SMTP CRITICAL - data: 452 4.2.2 mailbox full (after # s), cause: mailbox full",
            "mail rcpt quit",
        ),
        (
            (*ONE, *GO, Message(), b"554 5.7.1 looks like spam\r\n", *QUIT),
            2,
            "SMTP CRITICAL - data: 554 5.7.1 looks like spam (after # s), cause: content",
            "mail rcpt quit",
        ),
        (
            (*ONE, *GO, Message(), b"251 well\r\n", *QUIT),
            2,
            "SMTP CRITICAL - data: 251 well instead of 250 (after # s)",
            "mail rcpt quit",
        ),
        (
            (*ONE, *GO, Message()),
            2,
            "SMTP CRITICAL - data: connection closed by the server (after # s)",
            "mail rcpt",
        ),
        (
            (*ONE, *GO, Message(), b"250 a\r\n250 b\r\n", Hang()),
            2,
            "SMTP CRITICAL - data: unexpected extra reply: '250 b' (after # s)",
            "mail rcpt",
        ),
        (
            (*ONE, *GO, Hang()),
            2,
            "SMTP CRITICAL - data: no answer within 1 s, cause: silent",
            "mail rcpt",
        ),
        # Greylisted: there is nobody to send it to.
        (
            (*BEGUN, Expect(b"RCPT"), b"450 4.2.0 Greylisted\r\n", *RSET, *QUIT),
            1,
            "SMTP WARNING - rcpt: a@x: 450 4.2.0 Greylisted (after # s), cause: greylisted",
            "mail quit",
        ),
        # What the server does once it has the message is no more of its business.
        ((*QUEUED[:-1],), 0, f"{HEALTHY}, 1 recipient accepted", "mail rcpt data quit"),
    ],
)
def test_data(script: Script, code: int, said: str, labels: str) -> None:
    assert sends(script, "--rcpt", "a@x") == (code, said, labels)


def test_the_accepted_recipients_get_it() -> None:
    script = (*ONE, Expect(b"RCPT TO:<b@x>\r\n"), b"550 no\r\n", Expect(b"RCPT TO:<c@x>"), OK)
    assert sends(
        (*script, *GO, Message(), OK, *QUIT), "--rcpt", "a@x", "--rcpt", "b@x", "--rcpt", "c@x"
    ) == (2, "SMTP CRITICAL - rcpt: b@x: 550 no (after # s)", "mail data quit")


def test_nobody_else_gets_it() -> None:
    """Who was named to test relaying, or by a command, must not be in the transaction."""
    tainted = (*ONE, Expect(b"RCPT TO:<b@y>\r\n"), OK, Expect(b"RCPT TO:<c@z>\r\n"), OK)
    again = (*RSET, Expect(b"MAIL FROM:<>\r\n"), OK, Expect(b"RCPT TO:<a@x>\r\n"))
    arguments = ("--rcpt", "a@x", "--no-relay", "b@y", "-C", "RCPT TO:<c@z>")
    opened = "relay: accepts b@y, an open relay: 250 ok (after # s)"
    assert sends((*tainted, *again, OK, *GO, Message(), OK, *QUIT), *arguments) == (
        2,
        f"SMTP CRITICAL - {opened}",
        "mail rcpt command data quit",
    )
    assert sends((*tainted, *again, b"450 not again\r\n", *RSET, *QUIT), *arguments) == (
        2,
        f"SMTP CRITICAL - {opened}, also data: 450 not again (a@x) (after # s)",
        "mail rcpt command quit",
    )


@pytest.mark.parametrize(
    ("replies", "code", "said", "labels"),
    [
        (
            b"250 a\r\n250 b\r\n",
            0,
            f"{HEALTHY}, 2 recipients accepted",
            "mail rcpt data quit",
        ),
        (
            b"250 a\r\n552 5.2.2 full\r\n",
            2,
            "SMTP CRITICAL - data: b@x: 552 5.2.2 full (after # s), cause: mailbox full",
            "mail rcpt quit",
        ),
        (
            b"452 4.2.2 full\r\n450-4.2.1 not\r\n450 4.2.1 now\r\n",
            2,
            "SMTP CRITICAL - data: a@x: 452 4.2.2 full (after # s), cause: mailbox full, also "
            "data: b@x: 450 4.2.1 not / 4.2.1 now (after # s)",
            "mail rcpt quit",
        ),
        (
            b"250 a\r\n250 b\r\n250 c\r\n",
            2,
            "SMTP CRITICAL - data: unexpected extra reply: '250 c' (after # s)",
            "mail rcpt",
        ),
        (
            b"250 a\r\n421 bye\r\n",
            1,
            "SMTP WARNING - data: 421 bye (b@x) (after # s)",
            "mail rcpt quit",
        ),
    ],
)
def test_lmtp_has_a_reply_for_each(replies: bytes, code: int, said: str, labels: str) -> None:
    script = (*LMTP, Expect(b"RCPT TO:<a@x>"), OK, Expect(b"RCPT TO:<b@x>"), OK, *GO, Message())
    assert sends((*script, replies, *QUIT), "-L", "--rcpt", "a@x", "--rcpt", "b@x") == (
        code,
        said,
        labels,
    )


def test_what_lmtp_has_taken_is_looked_for_whatever_comes_next() -> None:
    """The server says goodbye before it has said what becomes of the second recipient."""
    begun = (*LMTP, Expect(b"RCPT TO:<a@x>"), OK, Expect(b"RCPT TO:<b@x>"), OK, *GO, Message())
    found = (*SEEN, FLAGGED, EXPUNGED, NOT_STALE, NOT_STALE, LOGOUT)
    leave = ScriptedServer((*begun, b"250 a\r\n421 bye\r\n", *QUIT))
    with leave.running() as smtp, ScriptedServer(found, edit=named(smtp)).running() as box:
        done = plugin.run(
            *(*plugin.at(smtp.port), "-L", "--rcpt", "a@x", "--rcpt", "b@x", "--deliver"),
            *("--mailbox", f"imap://me@127.0.0.1:{box.port}", "--delivery-timeout", "2"),
            *INSECURE,
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
        )
    said = "data: 421 bye (b@x) (after # s)"
    assert (done.code, done.line) == (1, f"SMTP WARNING - 127.0.0.1:{smtp.port} {said}")
    assert (box.faults, "delivery" in done.times()) == ([], True)


def test_what_is_sent() -> None:
    greeted = (Sleep(0.05), BANNER, *HELO, Expect(b"MAIL FROM:<.m@x>\r\n"), OK)
    script = (*greeted, *QUEUED[len(BEGUN) :])
    with ScriptedServer(script).running() as smtp:
        asked(smtp, "--deliver", "-f", ".m@x", "--rcpt", "a@x")
    sent = smtp.received[-2].decode("ascii")
    token, date = (re.search(pattern, sent) for pattern in (r"Token: (\w{32})\r", r"Date: (.*)\r"))
    assert token
    assert date
    assert re.fullmatch(r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d \+0000", date[1])
    assert 500 < len(sent) < 1000
    assert sent.replace(token[1], "#").replace(date[1], "#") == (
        "Date: #\r\n"
        "From: <.m@x>\r\n"
        "To: <a@x>\r\n"
        "Subject: check_smtp_health: does mail arrive?\r\n"
        "Message-ID: <#@me.example>\r\n"
        "Auto-Submitted: auto-generated\r\n"
        "X-Auto-Response-Suppress: All\r\n"
        "X-Check-SMTP-Health-Token: #\r\n"
        f"X-Check-SMTP-Health-Recipients: {mark('a@x')}\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\n"
        "Content-Transfer-Encoding: 7bit\r\n"
        "\r\n"
        "This message was sent to find out whether mail arrives, and how long that takes.\r\n"
        "It is deleted as soon as it has been seen in its mailbox. If you read it, nobody\r\n"
        "was looking there, and you may delete it.\r\n"
        ".\r\n"
    )


# The mailbox.


class Trip:
    """A round trip: what the plugin said, and the two servers."""

    def __init__(self, done: plugin.Outcome, smtp: ScriptedServer, box: ScriptedServer) -> None:
        self.done = done
        self.code = done.code
        line = done.line.replace(f" 127.0.0.1:{smtp.port}", "")
        self.line = line.partition(" - ")[2].replace("me@127.0.0.1", "BOX")
        self.box = box


def trip(
    script: Script,
    *arguments: str,
    scheme: str = "imap",
    folder: str = "",
    seconds: float = 0.6,
    prefix: tuple[str, ...] = (),
    later: Script | None = None,
) -> Trip:
    """Send a message and look for it in a mailbox that follows the script."""
    with ScriptedServer(QUEUED).running() as smtp:
        with ScriptedServer(script, edit=named(smtp), later=later).running() as box:
            began = time.monotonic()
            done = plugin.run(
                *("-H", "127.0.0.1", "-p", str(smtp.port), "-F", "me.example", "-t", "2:ok"),
                *("--rcpt", "a@x", "--deliver", "--delivery-timeout", str(seconds)),
                *("--mailbox", f"{scheme}://me@127.0.0.1:{box.port}{folder}", *arguments),
                environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
                prefix=prefix,
            )
            assert time.monotonic() - began < 2 + seconds + plugin.SLACK
        is_sent = done.code != 3 or "local" in done.stdout or "not verified" in done.stdout
        assert (smtp.faults, is_sent) == ([], True)
    if not prefix:
        assert done.stderr == ""
    return Trip(done, smtp, box)


DELIVERED = "answered in # s (slowest: # # s), 1 recipient accepted, delivered to {} after # s"


@pytest.mark.parametrize(
    "script",
    [
        WHOLE,
        (b"* PREAUTH welcome\r\n", CAPABLE, *WHOLE[len(IN) - 1 :]),
        (*WHOLE[:-1], Expect(b"")),
        (*WHOLE[:-1], Tagged(b"LOGOUT", b"TAG BAD not yet\r\n")),
    ],
    ids=["polite", "begins logged in", "ends without a reply", "will not log out"],
)
def test_found_and_deleted(script: Script) -> None:
    run = trip(script, *INSECURE, seconds=4)
    assert (run.code, run.box.faults) == (0, [])
    assert run.line == DELIVERED.format("INBOX")
    assert run.done.times()["delivery"] < 0.5


def test_a_list_has_no_say_in_where_the_mailbox_is(tmp_path: Path) -> None:
    """The system's resolver knows the host, and the name servers of a policy need not."""
    smtp = ScriptedServer(QUEUED)
    with smtp.running(), ScriptedServer(WHOLE, edit=named(smtp)).running() as box:
        done = plugin.run(
            *(*plugin.at(smtp.port), "-t", "2:ok", "--rcpt", "a@x", "--deliver"),
            *("--mailbox", f"imap://me@box.example:{box.port}", *INSECURE),
            *("--delivery-timeout", "2", "--dnsbl", "list.example"),
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
            prefix=private(tmp_path, hosts="127.0.0.1 box.example\n", resolver="127.0.0.99"),
        )
    assert (box.faults, "delivery" in done.times()) == ([], True)


def offering(words: bytes) -> Tagged:
    """Return what a server does that has these capabilities."""
    return Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1 %s\r\nTAG OK x\r\n" % words)


@pytest.mark.parametrize(
    ("greeted", "said"),
    [
        ((HI, POOR, Tagged(b"LOGIN", b"TAG NO [AUTHENTICATIONFAILED] no way\r\n")),
         "login refused (LOGIN): 'NO (AUTHENTICATIONFAILED) no way' (after # s), "
         "cause: login rejected"),
        ((HI, CAPABLE, Tagged(b"AUTHENTICATE PLAIN", b"TAG NO s3cret\r\n")),
         "login refused (PLAIN): 'NO ***' (after # s)"),
        ((b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 AUTH=PLAIN] hi\r\n",
          Tagged(b"AUTHENTICATE PLAIN", b"TAG NO basic is disabled.\r\n")),
         "login refused (PLAIN; XOAUTH2 is offered, too: "
         f"{HOW}): 'NO basic is disabled.' (after # s)"),
        ((HI, CAPABLE, Tagged(b"AUTHENTICATE PLAIN", b"+ \r\n"), Expect(b"AG1lAHMzY3JldA=="),
          b"+ again\r\n"),
         "not IMAP: '+ again' (after # s)"),
        ((HI, POOR, Tagged(b"LOGIN", b"+ \r\n")), "not IMAP: '+ ' (after # s)"),
        ((HI, POOR, Tagged(b"LOGIN", b"other OK in\r\n")), "not IMAP: 'other OK in' (after # s)"),
        ((HI, POOR, LOGIN, CAPABLE, Tagged(b"SELECT", b"TAG NO no such folder\r\n")),
         "folder refused: 'NO no such folder' (after # s)"),
        ((b"220 ESMTP\r\n",), "not IMAP: '220 ESMTP' (after # s)"),
        ((b"* 1 EXISTS\r\n",), "not IMAP: '* 1 EXISTS' (after # s)"),
        ((HI, Tagged(b"CAPABILITY", b"TAG BAD what?\r\n")),
         "session refused: 'BAD what?' (after # s)"),
        ((HI, Tagged(b"CAPABILITY", b"* CAPABILITY \xff\r\nTAG OK x\r\n")),
         "not IMAP: 'a1 OK x' (after # s)"),
        ((HI, Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1 LOGINDISABLED\r\nTAG OK x\r\n")),
         "no login is offered (after # s)"),
        ((HI, offering(b"LOGINDISABLED AUTH=XOAUTH2 AUTH=OAUTHBEARER SASL-IR")),
         "only OAUTHBEARER and XOAUTH2 are offered, which need an access token instead of a "
         "password (--mailbox-oauth, or ;AUTH=XOAUTH2 in the URL) (after # s)"),
        ((HI, offering(b"LOGINDISABLED AUTH=XOAUTH2")),
         "only XOAUTH2 is offered, which needs an access token instead of a password "
         "(--mailbox-oauth, or ;AUTH=XOAUTH2 in the URL) (after # s)"),
        ((HI, offering(b"LOGINDISABLED AUTH=CRAM-MD5 AUTH=LOGIN AUTH=XOAUTH2")),
         "only CRAM-MD5, LOGIN and XOAUTH2 are offered, and this plugin cannot use them with a "
         "password (after # s)"),
        ((HI, offering(b"AUTH=XOAUTH2 AUTH=OAUTHBEARER"),
          Tagged(b"LOGIN", b"TAG NO not like this\r\n")),
         "login refused (LOGIN; OAUTHBEARER and XOAUTH2 are offered, too: "
         f"{HOW}): 'NO not like this' "
         "(after # s)"),
        ((HI, offering(b"AUTH=XOAUTH2 AUTH=PLAIN"),
          Tagged(b"AUTHENTICATE", b"TAG NO [AUTHENTICATIONFAILED] wrong\r\n")),
         "login refused (PLAIN): 'NO (AUTHENTICATIONFAILED) wrong' (after # s), "
         "cause: login rejected"),
        ((*IN, Tagged(b"UID SEARCH", b"* SEARCH 7 {4000000000}\r\n")),
         "not IMAP: '* SEARCH' (after # s)"),
        ((*IN, FOUND, Tagged(b"UID FETCH", b"* 1 FETCH (UID 7 BODY[] {4000000000}\r\n")),
         "a literal that is too long: '* 1 FETCH (UID 7 BODY() {4000000000}' (after # s)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_imap_server_that_misbehaves(greeted: Script, said: str) -> None:
    """Whatever the state for a timeout of the session, here it is CRITICAL."""
    run = trip(greeted, *INSECURE)
    assert (run.code, run.line) == (2, f"delivery: BOX/INBOX: {said}")


@pytest.mark.parametrize(
    ("greeted", "said"),
    [
        ((HI, CAPABLE, Tagged(b"AUTHENTICATE PLAIN", b"+ \r\n"), Expect(b"AG1lAHMzY3JldA=="),
          b"* BYE too many\r\n"), "the server ends the session: 'BYE too many'"),
        ((b"* BYE down for today\r\n",), "the server ends the session: 'BYE down for today'"),
        ((b"* OK",), "connection closed by the server"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_imap_server_that_goes_away(greeted: Script, said: str) -> None:
    """It is asked again, and who never stays is not there for now."""
    run = trip(greeted, *INSECURE, seconds=1)
    assert (run.code, run.line) == (1, f"delivery: BOX/INBOX: {said} (after # s)")
    assert run.box.connections == 2


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ((Hang(),), "BOX/INBOX: no answer within 0.6 s"),
        (
            (Slowly(b"* OK hi hi hi hi hi hi hi hi hi hi hi", 0.2), Hang()),
            "BOX/INBOX: no answer within 0.6 s",
        ),
        (
            (HI, Tagged(b"CAPABILITY", b""), Forever(b"* OK still there\r\n", 0.1)),
            "BOX/INBOX: no answer within 0.6 s: '* OK still there'",
        ),
        (
            (*IN, NOTHING, UNREAD, *(NOOP, NOTHING) * 20),
            "not in BOX/INBOX within 0.6 s, although accepted: '250 queued as 4711'",
        ),
        (
            (*IN, NOTHING, UNREAD, Hang()),
            "not in BOX/INBOX within 0.6 s, although accepted: '250 queued as 4711'",
        ),
    ],
)
def test_it_does_not_come(script: Script, said: str) -> None:
    run = trip(script, *INSECURE)
    assert (run.code, run.line) == (2, f"delivery: {said}")
    assert "delivery" not in run.done.times()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ((HI, POOR), "no STARTTLS, it is not offered"),
        (
            (b"* PREAUTH welcome\r\n", CAPABLE),
            "no STARTTLS, the session begins logged in (PREAUTH)",
        ),
    ],
)
def test_no_password_without_tls(script: Script, said: str) -> None:
    run = trip(script)
    assert (run.code, run.line) == (2, f"delivery: BOX/INBOX: {said} (after # s)")
    assert not any(PASSWORD.encode() in line for line in run.box.received)


@pytest.mark.parametrize("words", [b"", b"STLS\r\n"])
def test_no_password_without_tls_over_pop3(words: bytes) -> None:
    capa = b"+OK\r\nTOP\r\n.\r\n" if not words else b"-ERR what?\r\n"
    run = trip((b"+OK hi\r\n", Expect(b"CAPA"), capa), scheme="pop3")
    assert (run.code, run.line) == (2, "delivery: BOX: no STLS, it is not offered (after # s)")


INJECTED = (
    (
        "imap",
        (HI, Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1 STARTTLS\r\nTAG OK x\r\n")),
        Tagged(b"STARTTLS", b"TAG OK go\r\n* PREAUTH mine\r\n"),
        "unexpected plaintext after STARTTLS: '* PREAUTH mine'",
    ),
    (
        "pop3",
        (b"+OK hi\r\n", Expect(b"CAPA"), b"+OK\r\nSTLS\r\n.\r\n"),
        (Expect(b"STLS"), b"+OK go\r\n+OK mine\r\n"),
        "unexpected plaintext after STARTTLS: '+OK mine'",
    ),
    (
        "imap",
        (HI, Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1 STARTTLS\r\nTAG OK x\r\n")),
        (Tagged(b"STARTTLS", b"TAG OK go\r\n"), Sleep(0.1), b"* PREAUTH mine\r\n", Hang()),
        "unexpected plaintext instead of the TLS handshake",
    ),
    (
        "imap",
        (HI, Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1 STARTTLS\r\nTAG OK x\r\n")),
        Tagged(b"STARTTLS", b"TAG NO not today\r\n"),
        "STARTTLS refused: 'NO not today'",
    ),
)


@pytest.mark.parametrize(("scheme", "greeted", "then", "said"), INJECTED)
def test_plaintext_where_tls_is_due(
    scheme: str, greeted: Script, then: Step | Script, said: str
) -> None:
    run = trip((*greeted, *(then if isinstance(then, tuple) else (then,))), scheme=scheme)
    place = "BOX/INBOX" if scheme == "imap" else "BOX"
    assert (run.code, run.line) == (2, f"delivery: {place}: {said} (after # s)")


def test_what_was_offered_before_tls_does_not_count(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path, "CA")
    offer = b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\nTAG OK x\r\n"
    script = (
        *(HI, Tagged(b"CAPABILITY", offer), Tagged(b"STARTTLS", b"TAG OK go\r\n")),
        Handshake(authority.serving("127.0.0.1")),
        *WHOLE[1:],
    )
    run = trip(script, "--ca-file", authority.path)
    assert (run.code, run.box.faults) == (0, [])


@pytest.mark.parametrize(
    ("names", "days", "said", "code"),
    [
        (
            ("other.example",),
            90,
            "certificate is not for 127.0.0.1, use a name in the URL that it is for, or "
            "--no-verify",
            0,
        ),
        (("127.0.0.1",), -3, "certificate has expired", 2),
    ],
)
def test_untrusted(names: tuple[str, ...], days: int, said: str, code: int, tmp_path: Path) -> None:
    authority = Authority.made(tmp_path, "CA")
    script = (Handshake(authority.serving(*names, days=days)), *WHOLE)
    run = trip(script, "--ca-file", authority.path, scheme="imaps")
    line = f"delivery: BOX/INBOX: {said} (after # s), cause: certificate"
    assert (run.code, run.line) == (2, line)
    run = trip(script, "--no-verify", scheme="imaps")
    assert (run.code, run.box.faults) == (code, [])
    expired = f"delivery: the certificate of 127.0.0.1 expired 3 days ago, {after(-3):%Y-%m-%d}"
    assert (run.line == expired) is bool(code)


@pytest.mark.parametrize(
    ("days", "options", "code", "said"),
    [
        (2, (), 2, "expires in 2 days, {} (limit 3)"),
        (13, (), 1, "expires in 13 days, {} (limit 14)"),
        (13, ("--no-verify",), 1, "expires in 13 days, {} (limit 14)"),
        (2, ("--ignore-certificate-expiration",), 0, ""),
        (20, (), 0, ""),
    ],
)
def test_the_mailboxes_certificate_counts(
    tmp_path: Path, days: int, options: tuple[str, ...], code: int, said: str
) -> None:
    authority = Authority.made(tmp_path, "CA")
    script = (Handshake(authority.serving("127.0.0.1", days=days)), *WHOLE)
    trust = () if "--no-verify" in options else ("--ca-file", authority.path)
    run = trip(script, *trust, *options, scheme="imaps")
    assert (run.code, run.box.faults) == (code, [])
    if said:
        expiry = said.format(f"{after(days):%Y-%m-%d}")
        assert run.line == f"delivery: the certificate of 127.0.0.1 {expiry}"


def test_unreachable() -> None:
    with ScriptedServer(QUEUED).running() as smtp:
        port = free_port()
        where = ("--mailbox", f"imaps://me@127.0.0.1:{port}")
        done = asked(smtp, "--deliver", "--rcpt", "a@x", *where)
    assert done.line.partition(" delivery: ")[2] == (
        "me@127.0.0.1/INBOX: connection refused (after # s), cause: refused"
    )
    assert done.code == 2


def test_a_host_without_address(tmp_path: Path) -> None:
    """However long the resolver takes: it is asked in a thread that can be left behind."""
    resolver = NameServer(silence, address="127.0.0.54")
    with ScriptedServer(QUEUED).running() as smtp, resolver.running([]):
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(smtp.port), "-F", "me.example", "--rcpt", "a@x"),
            *("--deliver", "--delivery-timeout", "0.5", "--mailbox", "imaps://me@mail.example"),
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
            prefix=private(tmp_path, resolver="127.0.0.54"),
        )
    assert (done.code, done.line.partition(" delivery: ")[2]) == (
        2,
        "me@mail.example/INBOX: no answer within 0.5 s",
    )


@pytest.mark.parametrize(("scheme", "port"), [("imap", 993), ("pop3", 995)])
def test_tls_is_due_from_the_first_byte(tmp_path: Path, scheme: str, port: int) -> None:
    box = ScriptedServer((Swallow(),), address="127.0.0.56", port=port)
    with ScriptedServer(QUEUED).running() as smtp, box.running():
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(smtp.port), "-F", "me.example", "--rcpt", "a@x"),
            *("--deliver", "--delivery-timeout", "0.5"),
            *("--mailbox", f"{scheme}://me@127.0.0.56:{port}"),
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
        )
    folder = "/INBOX" if scheme == "imap" else ""
    assert (done.code, done.line.partition(" delivery: ")[2]) == (
        2,
        f"me@127.0.0.56{folder}: no answer within 0.5 s (port {port} expects TLS, try {scheme}s://)",
    )


ONLY_FLAGGED = (
    "\ndelivery: me@127.0.0.1/INBOX: only flagged as deleted: there are other messages, and "
    "without UIDPLUS the server might delete some of them as well\n"
)


def test_without_uidplus_leftovers_are_only_flagged_either() -> None:
    """What there is to say of that is said once."""
    poor = tuple(POOR if step is CAPABLE else step for step in SEEN)
    all_of_it = Tagged(b"UID SEARCH ALL\r\n", b"* SEARCH 3 5 7\r\nTAG OK x\r\n")
    other = b"* 1 FETCH (UID %d BODY[HEADER]<0> {5}\r\nA: b\n)\r\nTAG OK x\r\n"
    foreign = (
        Tagged(b"UID FETCH 5 ", other % 5),
        Tagged(b"UID SEARCH DELETED HEADER", b"* SEARCH 7\r\nTAG OK x\r\n"),
    )
    header = HEADER.replace(PLACE, b"u" * 32).replace(b"2001 00", b"1999 00")
    stale = Tagged(
        b"UID FETCH 3 ",
        b'* 1 FETCH (UID 3 INTERNALDATE " 1-Jan-1999 00:00:00 +0000" BODY[HEADER]<0> {%d}\r\n'
        b"%s)\r\nTAG OK x\r\n" % (len(header), header),
    )
    script = (
        *(*poor, FLAGGED, all_of_it, *foreign),
        *(Tagged(b"UID SEARCH UNDELETED", b"* SEARCH 3\r\nTAG OK x\r\n"), stale),
        *(Tagged(b"UID STORE 3 ", b"TAG OK x\r\n"), all_of_it),
        *(Tagged(b"UID FETCH 7 ", other % 7), foreign[1], LOGOUT),
    )
    run = trip(script, *INSECURE, "-v", seconds=4)
    assert (run.code, run.line, run.box.faults) == (0, DELIVERED.format("INBOX"), [])
    assert run.done.stdout.count(ONLY_FLAGGED) == 1


def test_without_uidplus() -> None:
    """EXPUNGE takes all that is flagged, be it since a moment ago: never where others have mail."""
    script = (*(POOR if step is CAPABLE else step for step in SEEN), FLAGGED)
    all_of_it = Tagged(b"UID SEARCH ALL\r\n", b"* SEARCH 3 7\r\nTAG OK x\r\n")
    foreign = Tagged(
        b"UID FETCH 3 ", b"* 1 FETCH (UID 3 BODY[HEADER]<0> {5}\r\nA: b\n)\r\nTAG OK x\r\n"
    )
    flagged = Tagged(
        b'UID SEARCH DELETED HEADER X-Check-SMTP-Health-Token ""\r\n',
        b"* SEARCH 7\r\nTAG OK x\r\n",
    )
    run = trip((*script, all_of_it, foreign, flagged, NOT_STALE, LOGOUT), *INSECURE, "-v")
    assert (run.code, run.box.faults) == (0, [])
    assert ONLY_FLAGGED in run.done.stdout
    # What an earlier run has left flagged is ours as well.
    earlier = Tagged(
        b"UID FETCH 3 ",
        b"* 1 FETCH (UID 3 FLAGS (\\Deleted) BODY[HEADER]<0> {%d}\r\n%s)\r\nTAG OK x\r\n"
        % (len(HEADER), HEADER.replace(PLACE, b"u" * 32)),
    )
    expunged = Tagged(b"EXPUNGE\r\n", b"TAG OK x\r\n")
    run = trip((*script, all_of_it, earlier, expunged, NOT_STALE, LOGOUT), *INSECURE, "-v")
    assert (run.code, run.box.faults) == (0, [])
    assert ONLY_FLAGGED not in run.done.stdout
    # A folder with so many messages is somebody's, and so many of ours nobody needs.
    many = b" ".join(b"%d" % number for number in range(1, 109))
    all_of_it = Tagged(b"UID SEARCH ALL\r\n", b"* SEARCH %s\r\nTAG OK x\r\n" % many)
    flagged = Tagged(b"UID SEARCH DELETED", b"* SEARCH %s\r\nTAG OK x\r\n" % many)
    run = trip((*script, all_of_it, flagged, NOT_STALE, LOGOUT), *INSECURE)
    assert (run.code, run.line, run.box.faults) == (
        1,
        "delivery: 108 messages of this plugin in BOX/INBOX are flagged as deleted and stay, "
        "because the server does not offer UIDPLUS: expunge them with a mail client",
        [],
    )


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (
            (FLAGGED, Tagged(b"UID EXPUNGE", b"TAG NO [READ-ONLY] may not\r\n")),
            "UID EXPUNGE refused: 'NO (READ-ONLY) may not'",
        ),
        (
            (Tagged(b"UID STORE", b"TAG NO s3cret\r\n"),),
            "UID STORE refused: 'NO ***'",
        ),
        # It hears the command out, so that nothing is left unread, which would be a reset.
        ((Tagged(b"UID STORE", b""),), "connection closed by the server: '#'"),
        ((Hang(),), "no answer within 0.6 s"),
    ],
)
def test_seen_but_not_deleted(tail: Script, said: str) -> None:
    run = trip((*SEEN, *tail), *INSECURE)
    line = re.sub(r"(?<=by the server: ').*(?=')", "#", run.line)
    assert (run.code, line) == (1, f"delivery: not deleted from BOX/INBOX: {said}")
    assert run.done.times()["delivery"] < 0.3


def test_a_server_that_has_left_before_it_is_asked() -> None:
    """That nothing can be sent is less telling than what it said before."""
    run = trip((*IN, FOUND, FETCHED, Reset()), *INSECURE, later=(Reset(),))
    assert (run.code, run.line) == (
        1,
        "delivery: not deleted from BOX/INBOX: connection closed by the server: 'a6 OK x'",
    )


def test_a_server_that_is_gone_for_now() -> None:
    """It was there a moment ago, so that it is being restarted."""
    begun, over = threading.Event(), threading.Event()
    leave = Act(lambda connection, _: over.set())
    box = ScriptedServer((HI, CAPABLE, leave))

    def serve() -> None:
        with box.running():
            begun.set()
            over.wait(5)

    with ScriptedServer(QUEUED).running() as smtp, ThreadPoolExecutor() as pool:
        pool.submit(serve)
        begun.wait(5)
        done = plugin.run(
            *(*plugin.at(smtp.port), "--rcpt", "a@x", "--deliver", "--delivery-timeout", "1"),
            *("--mailbox", f"imap://me@127.0.0.1:{box.port}", *INSECURE),
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
        )
    said = "delivery: me@127.0.0.1/INBOX: connection refused (after # s)"
    assert (done.code, done.line, done.stderr) == (
        1,
        f"SMTP WARNING - 127.0.0.1:{smtp.port} {said}",
        "",
    )


def test_read_only_folder() -> None:
    select = Tagged(b"SELECT", b"* OK [READ-ONLY] x\r\nTAG OK [READ-ONLY] done\r\n")
    script = tuple(select if step is SELECT else step for step in SEEN)
    run = trip((*script, NOT_STALE, LOGOUT), *INSECURE)
    assert (run.code, run.line, run.box.faults) == (
        1,
        "delivery: not deleted from BOX/INBOX: the folder is read-only",
        [],
    )


def test_what_only_looks_like_it_is_left_alone() -> None:
    """A server may find by parts of words, or anything at all; the header itself decides."""
    other = HEADER.replace(PLACE, PLACE + b"x")
    fetched = Tagged(
        b"UID FETCH 7",
        b'* 3 FETCH (BODY[HEADER]<0> {%d}\r\n%s UID 7 INTERNALDATE "x")\r\nTAG OK x\r\n'
        % (len(other), other),
    )
    gone = Tagged(b"UID FETCH 8", b"TAG OK x\r\n")
    wrong = Tagged(
        b"UID FETCH 9",
        b"* 3 FETCH (UID 77 BODY[HEADER]<0> {%d}\r\n%s)\r\nTAG OK x\r\n" % (len(HEADER), HEADER),
    )
    found = Tagged(b"UID SEARCH", b"* SEARCH 7 8 9 x 0 99999999999\r\nTAG OK x\r\n")
    run = trip((*IN, found, wrong, gone, fetched, UNREAD, Hang()), *INSECURE)
    assert (run.code, run.line.partition(",")[0], run.box.faults) == (
        2,
        "delivery: not in BOX/INBOX within 0.6 s",
        [],
    )


def test_a_large_folder_is_not_searched_whole() -> None:
    """The message has only just been sent, so it is among the newest."""
    select = Tagged(b"SELECT", b"* 9 EXISTS\r\n* OK [UIDNEXT 5000] x\r\nTAG OK x\r\n")
    found = Tagged(b"UID SEARCH UID 4000:* HEADER", b"* SEARCH 7\r\nTAG OK x\r\n")
    steps = [select if step is SELECT else step for step in WHOLE]
    steps[steps.index(FOUND)] = found
    run = trip(tuple(steps), *INSECURE)
    assert (run.code, run.box.faults) == (0, [])


@pytest.mark.parametrize(
    ("first", "then"),
    [
        # Somebody has just deleted one of them.
        ((NOTHING, Tagged(b"FETCH 1:3 ", b"TAG NO some of these have gone\r\n")), (NOOP, FOUND)),
        # There is more to say than what was asked for.
        (
            (
                Tagged(b"UID SEARCH", b"* 3 EXISTS\r\n* OK still there\r\nTAG OK x\r\n"),
                Tagged(
                    b"FETCH 1:3 ",
                    b"* 3 EXISTS\r\n* OK still there\r\n* 1 FETCH (FLAGS (\\Seen))\r\n"
                    b"* 2 FETCH (UID x FLAGS (\\Seen))\r\n* 3 FETCH (UID 5)\r\nTAG OK x\r\n",
                ),
            ),
            (NOOP, FOUND),
        ),
    ],
    ids=["refused", "amid other things"],
)
def test_the_next_look_finds_it(first: Script, then: Script) -> None:
    """What a look at the newest headers has not shown is looked for again."""
    run = trip((*IN, *first, *then, *WHOLE[len(IN) + 1 :]), *INSECURE, seconds=4)
    assert (run.code, run.line, run.box.faults) == (0, DELIVERED.format("INBOX"), [])


def selecting(name: bytes, validity: int = 1) -> Tagged:
    """Return what a server does that has this folder."""
    reply = b"* 3 EXISTS\r\n* OK [UIDVALIDITY %d] x\r\n* OK [UIDNEXT 10] x\r\nTAG OK x\r\n"
    return Tagged(b'SELECT "%s"\r\n' % name, reply % validity)


USES = offering(b"AUTH=PLAIN UIDPLUS SPECIAL-USE")
WITH_JUNK = (HI, POOR, LOGIN, USES, SELECT, NOTHING, UNREAD)


@pytest.mark.parametrize(
    "listed",
    [
        b"",
        b"* OK there are none\r\n* 3 EXISTS\r\n",
        b'* LIST\r\n* LIST x\r\n* LIST (\\Junk)\r\n* LIST \\Junk "/" Spam\r\n',
        b'* LIST (\\Junk) "/" NIL\r\n* LIST (\\Junk) "/" &AAo-\r\n',
    ],
    ids=["nothing", "other things", "too little", "no name"],
)
def test_a_list_without_a_folder_for_junk(listed: bytes) -> None:
    """It is looked into what is known, as if nobody had asked."""
    listing = Tagged(b'LIST "" "*"\r\n', listed + b"TAG OK x\r\n")
    run = trip((*WITH_JUNK, listing, NOOP, FOUND, *WHOLE[len(IN) + 1 :]), *INSECURE, seconds=4)
    assert (run.code, run.line, run.box.faults) == (0, DELIVERED.format("INBOX"), [])


SPAM = Tagged(b'LIST "" "*"\r\n', b'* LIST (\\Junk) "/" Spam\r\nTAG OK x\r\n')


def test_a_folder_for_junk_that_cannot_be_opened() -> None:
    """It is not tried again."""
    refused = Tagged(b'SELECT "Spam"\r\n', b"TAG NO not you\r\n")
    script = (*WITH_JUNK, SPAM, refused, SELECT, FOUND, *WHOLE[len(IN) + 1 :])
    run = trip(script, *INSECURE, seconds=4)
    assert (run.code, run.line, run.box.faults) == (0, DELIVERED.format("INBOX"), [])


def test_a_folder_for_junk_that_spoils_the_session() -> None:
    """Another one is begun without it."""
    nonsense = Tagged(b'SELECT "Spam"\r\n', b"what?\r\n")
    again = tuple(USES if step is CAPABLE else step for step in WHOLE)
    run = trip((*WITH_JUNK, SPAM, nonsense), *INSECURE, later=again, seconds=2)
    assert (run.code, run.line, run.box.faults, run.box.connections) == (
        0,
        DELIVERED.format("INBOX"),
        [],
        2,
    )


def test_a_notification_of_something_else() -> None:
    """It is somebody else's message that has not arrived."""
    kind = b"Content-Type: multipart/report; report-type=delivery-status\r\n\r\n"
    found = Tagged(b"UID SEARCH", b"* SEARCH 6\r\nTAG OK x\r\n")
    header = Tagged(
        b"UID FETCH 6 (UID INTERNALDATE BODY.PEEK[HEADER]<0.65536>)\r\n",
        b"* 2 FETCH (UID 6 BODY[HEADER]<0> {%d}\r\n%s)\r\nTAG OK x\r\n" % (len(kind), kind),
    )
    body = Tagged(
        b"UID FETCH 6 (UID BODY.PEEK[2]<0.4096> BODY.PEEK[TEXT]<0.65536>)\r\n",
        b'* 2 FETCH (UID 6 BODY[2]<0> "Action: failed" BODY[TEXT]<0> "x")\r\nTAG OK x\r\n',
    )
    look = (NOOP, FOUND, *WHOLE[len(IN) + 1 :])
    run = trip((*IN, found, header, UNREAD, NOOP, body, *look), *INSECURE, seconds=4)
    assert (run.code, run.line, run.box.faults) == (0, DELIVERED.format("INBOX"), [])


def test_a_folder_by_imap4rev2() -> None:
    """Its name goes as it is, not in the encoding that IMAP had before."""
    rev2 = Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev2 AUTH=PLAIN\r\nTAG OK x\r\n")
    begun = (HI, rev2, Tagged(b"AUTHENTICATE PLAIN AG1lAHMzY3JldA==\r\n", b"TAG OK in\r\n"))
    select = selecting('M\u00fcll \\"x\\"'.encode())
    listing = Tagged(b'LIST (SPECIAL-USE) "" "*"\r\n', b"TAG OK x\r\n")
    script = (*begun, rev2, select, *WHOLE[len(IN) : len(SEEN)], listing, *WHOLE[len(SEEN) :])
    run = trip(script, *INSECURE, folder="/M%C3%BCll%20%22x%22", seconds=4)
    assert (run.code, run.line, run.box.faults) == (0, DELIVERED.format('M\u00fcll "x"'), [])


RENUMBERED = Tagged(
    b"UID FETCH 8 (UID INTERNALDATE BODY.PEEK[HEADER]<0.65536>)\r\n",
    b"* 3 FETCH (UID 8 BODY[HEADER]<0> {%d}\r\n%s)\r\nTAG OK x\r\n" % (len(HEADER), HEADER),
)


@pytest.mark.parametrize(
    ("now", "deleted", "said"),
    [
        (
            (
                Tagged(b"UID SEARCH", b"* SEARCH 8\r\nTAG OK x\r\n"),
                RENUMBERED,
                Tagged(
                    b"UID FETCH 8 (UID BODY.PEEK[]<0.65536>)\r\n",
                    b"* 3 FETCH (UID 8 BODY[]<0> {%d}\r\n%s)\r\nTAG OK x\r\n"
                    % (len(HEADER), HEADER),
                ),
            ),
            (
                Tagged(b"UID STORE 8 ", b"TAG OK x\r\n"),
                Tagged(b"UID EXPUNGE 8\r\n", b"TAG OK x\r\n"),
            ),
            "the message has no DKIM signature, cause: unauthenticated, also verify-message: From "
            "names no domain, so DMARC does not apply, cause: unauthenticated, also "
            "verify-message: SPF was not evaluated: no Received field of the receiving server "
            "names a public address",
        ),
        ((NOTHING, UNREAD), (), "the message was not verified: it has gone"),
    ],
    ids=["renumbered", "gone"],
)
def test_the_number_of_the_message_does_not_hold_any_more(
    now: Script, deleted: Script, said: str
) -> None:
    """What was found in one folder is fetched once the next one has been looked into."""
    two = b'* LIST (\\Junk) "/" Spam\r\n* LIST (\\Junk) "/" Junk\r\nTAG OK x\r\n'
    script = (
        *(*WITH_JUNK, Tagged(b'LIST "" "*"\r\n', two)),
        *(selecting(b"Spam"), FOUND, FETCHED, selecting(b"Junk"), NOTHING, UNREAD),
        *(selecting(b"Spam", 2), NOOP, *now),
        *(SELECT, NOTHING, selecting(b"Spam", 2), NOTHING, *deleted, selecting(b"Junk"), NOTHING),
        *(SELECT, NOT_STALE, selecting(b"Spam", 2), NOT_STALE, selecting(b"Junk"), NOT_STALE),
        LOGOUT,
    )
    verifying = ("--verify-message", "--nameserver", "127.0.0.1:1")
    run = trip(script, *INSECURE, *verifying, seconds=4)
    came = "delivery: came into BOX/Spam"
    assert (run.code, run.line, run.box.faults) == (1, f"{came}, also verify-message: {said}", [])


def test_a_folder_for_junk_that_is_gone_before_the_message_is_deleted() -> None:
    """Nothing is deleted in the folder that was selected before."""
    gone = Tagged(b'SELECT "Spam"\r\n', b"TAG NO [NONEXISTENT] gone\r\n")
    script = (
        *(*WITH_JUNK, SPAM, selecting(b"Spam"), FOUND, FETCHED),
        *(SELECT, NOTHING, gone, SELECT, NOT_STALE, gone, LOGOUT),
    )
    run = trip(script, *INSECURE, seconds=4)
    assert (run.code, run.line, run.box.faults) == (
        1,
        "delivery: came into BOX/Spam, also delivery: not deleted from BOX/Spam: folder refused: "
        "'NO (NONEXISTENT) gone'",
        [],
    )


def test_numbers_do_not_outlive_a_session_without_validity() -> None:
    """The message has another one in the next session, and its old one is somebody else's."""
    first = (*IN, FOUND, FETCHED, Tagged(b"NOOP", b"* BYE\r\n"))
    again = (
        *(*IN, Tagged(b"UID SEARCH", b"* SEARCH 8\r\nTAG OK x\r\n"), RENUMBERED),
        *(Tagged(b"UID STORE 8 ", b"TAG OK x\r\n"), Tagged(b"UID EXPUNGE 8\r\n", b"TAG OK x\r\n")),
        *(NOT_STALE, LOGOUT),
    )
    run = trip(first, *INSECURE, later=again, seconds=4)
    assert (run.code, run.line, run.box.faults) == (0, DELIVERED.format("INBOX"), [])


def test_stale_ones_are_deleted_with_it() -> None:
    stale = re.sub(b"2001 00", b"1999 00", HEADER.replace(PLACE, b"u" * 32))
    fresh = HEADER.replace(PLACE, b"v" * 32)
    others = re.sub(mark("a@x").encode(), b"w" * 32, stale)

    def fetched(uid: int, header: bytes, year: int) -> Tagged:
        date = b'INTERNALDATE " 1-Jan-%d 00:00:00 +0000"' % year
        literal = b"BODY[HEADER]<0> {%d}\r\n%s" % (len(header), header)
        reply = b"* 1 FETCH (UID %d %s %s)\r\nTAG OK x\r\n" % (uid, date, literal)
        return Tagged(b"UID FETCH %d " % uid, reply)

    script = (
        *(*SEEN, FLAGGED, EXPUNGED),
        Tagged(b"UID SEARCH UNDELETED", b"* SEARCH 1 2 3 4\r\nTAG OK x\r\n"),
        *(fetched(4, stale, 2001), fetched(3, others, 1999)),
        *(fetched(2, fresh, 1999), fetched(1, stale, 1999)),
        Tagged(rb"UID STORE 1 +FLAGS", b"TAG OK x\r\n"),
        Tagged(b"UID EXPUNGE 1\r\n", b"TAG OK x\r\n"),
        LOGOUT,
    )
    run = trip(script, *INSECURE, "-v")
    assert (run.code, run.box.faults) == (0, [])
    assert "\ndelivery: me@127.0.0.1/INBOX: leftovers deleted: 1\n" in run.done.stdout


ARRIVED = b"".join(
    (
        b"Authentication-Results: mx.x; spf=pass; dkim=fail (bad); dmarc=none\r\n",
        b"Received: from mx.x by store.x; Mon, 1 Jan 2001 00:00:09 +0000\r\n",
        b"Received: from me by mx.x|[OK]; Mon, 1 Jan 2001 00:00:02 +0000\r\n",
        b"X-Spam-Status: No\r\n",
        HEADER,
    )
)
TRACED = Tagged(
    b"UID FETCH 7",
    b"* 3 FETCH (UID 7 BODY[HEADER]<0> {%d}\r\n%s)\r\nTAG OK x\r\n" % (len(ARRIVED), ARRIVED),
)


def test_what_is_learned_on_the_way() -> None:
    script = tuple(TRACED if step is FETCHED else step for step in WHOLE)
    run = trip(script, *INSECURE, "-v")
    assert run.code == 0
    assert run.done.stdout.split("\n")[-8:-3] == [
        "delivery: seen in me@127.0.0.1/INBOX",
        "delivery: mx.x\\x7c(OK ) after 2 s",
        "delivery: store.x after 7 s",
        "delivery: spf pass, dkim fail, dmarc none",
        "delivery: x-spam-status: No",
    ]


@pytest.mark.parametrize(
    ("required", "said"),
    [
        (
            "spf",
            f"{DELIVERED.format('INBOX')}, SPF pass",
        ),
        ("spf,dkim", "delivery: dkim is fail, cause: unauthenticated"),
        (
            "DKIM,dmarc",
            "delivery: dkim is fail, "
            "cause: unauthenticated, also delivery: dmarc is none, cause: unauthenticated",
        ),
    ],
)
def test_required_results(required: str, said: str) -> None:
    script = tuple(TRACED if step is FETCHED else step for step in WHOLE)
    run = trip(script, *INSECURE, "--require-auth-results", required)
    assert (run.code, run.line) == (0 if required == "spf" else 1, said)


BEFORE = b"".join(
    (
        b"Authentication-Results: store.x; dkim=pass (spf=pass; dmarc=pass)\r\n",
        b"Received: from relay.y by store.x; Mon, 1 Jan 2001 00:00:09 +0000\r\n",
        b"Authentication-Results: relay.y; spf=pass; dmarc=pass\r\n",
        b"Received-SPF: pass\r\n",
        b"Received: from me by relay.y; Mon, 1 Jan 2001 00:00:02 +0000\r\n",
        HEADER,
    )
)


def test_nobody_else_s_results() -> None:
    """Neither those of servers before, nor what stands in a comment."""
    fetched = Tagged(
        b"UID FETCH 7",
        b"* 3 FETCH (UID 7 BODY[HEADER]<0> {%d}\r\n%s)\r\nTAG OK x\r\n" % (len(BEFORE), BEFORE),
    )
    script = tuple(fetched if step is FETCHED else step for step in WHOLE)
    run = trip(script, *INSECURE, "--require-auth-results", "spf,dkim,dmarc")
    assert (run.code, run.line) == (
        1,
        "delivery: no result of spf, also delivery: no result of dmarc",
    )


def test_no_results_at_all() -> None:
    run = trip(WHOLE, *INSECURE, "--require-auth-results", "spf", "-w", "delivery=9")
    assert (run.code, run.line) == (1, "delivery: no result of spf")
    assert run.done.perfdata.endswith("delivery=#s;9;;0")


def test_threshold() -> None:
    run = trip(WHOLE, *INSECURE, "-w", "delivery=0.000001")
    assert (run.code, run.line) == (1, "delivery took # s (limit 0.000001 s)")


# POP3


POP = (b"+OK hi\r\n", Expect(b"CAPA"), b"+OK\r\nTOP\r\n.\r\n")
POP_IN = (*POP, Expect(b"USER me\r\n"), b"+OK\r\n", Expect(b"PASS s3cret\r\n"), b"+OK\r\n")
LISTED = (
    *(Expect(b"LIST"), b"+OK\r\n1 900\r\n2 900000\r\n3 900\r\n.\r\n"),
    *(Expect(b"UIDL"), b"+OK\r\n1 one\r\n2 two\r\n3 three\r\n.\r\n"),
)
TOPPED = (Expect(b"TOP 3 0\r\n"), b"+OK\r\n%s.\r\n" % HEADER)
OTHER = (Expect(b"TOP 1 0\r\n"), b"+OK\r\nSubject: a\r\n\r\n.\r\n")
POP_QUIT = (Expect(b"QUIT"), b"+OK\r\n")


DELETED = (Expect(b"DELE 3\r\n"), b"+OK\r\n", *POP_QUIT)
LEFT = (
    *(Expect(b"LIST"), b"+OK\r\n1 900\r\n2 900000\r\n.\r\n"),
    *(Expect(b"UIDL"), b"+OK\r\n1 one\r\n2 two\r\n.\r\n"),
)
LOCKED = (*POP_IN[:-1], b"-ERR [IN-USE] somebody else reads it\r\n")


@pytest.mark.parametrize(
    "later",
    [
        (*POP_IN, *LEFT, *POP_QUIT),
        (*POP_IN, *LEFT, Expect(b"QUIT")),
        (*POP_IN, *LEFT, Expect(b"QUIT"), b"-ERR what for?\r\n"),
        LOCKED,
        (b"-ERR come back tomorrow\r\n",),
    ],
    ids=["polite", "ends without a reply", "will not quit", "locked", "closed"],
)
def test_pop3_found_and_deleted(later: Script) -> None:
    """One session finds and deletes it, the next looks again; the large one is not even read.

    What comes of the other one is of no importance: nothing is left to delete.
    """
    first = (*POP_IN, *LISTED, *TOPPED, *OTHER, *DELETED)
    # What is known to be of no interest is not looked at again.
    run = trip(first, *INSECURE, scheme="pop3", later=later, seconds=4)
    assert (run.code, run.box.faults, run.box.connections) == (0, [], 2)
    assert run.line == DELIVERED.format("127.0.0.1")


def test_pop3_somebody_else_deletes_it() -> None:
    """It has been seen, and there is nothing to delete in the session that was to do so."""
    first = (*POP_IN, *LISTED, *TOPPED, *OTHER, Expect(b"RETR 3"), b"-ERR has gone\r\n")
    verifying = ("--verify-message", "--nameserver", "127.0.0.1:1")
    later = (*POP_IN, *LEFT, *POP_QUIT)
    run = trip(first, *INSECURE, *verifying, scheme="pop3", later=later, seconds=4)
    assert (run.code, run.line, run.box.faults, run.box.connections) == (
        3,
        "verify-message: the message was not verified: RETR refused",
        [],
        3,
    )


def test_pop3_a_delay_that_is_no_number() -> None:
    """It is as good as none."""
    announced = (b"+OK hi\r\n", Expect(b"CAPA"), b"+OK\r\nTOP\r\nLOGIN-DELAY soon\r\n.\r\n")
    first = (*announced, *POP_IN[len(POP) :], *LISTED, *TOPPED, *OTHER, *DELETED)
    run = trip(first, *INSECURE, scheme="pop3", later=(*POP_IN, *LEFT, *POP_QUIT), seconds=4)
    assert (run.code, run.line, run.box.faults, run.box.connections) == (
        0,
        DELIVERED.format("127.0.0.1"),
        [],
        2,
    )


def test_pop3_a_long_header() -> None:
    """What is beyond the limit is not kept; nobody writes that much below our fields."""
    header = HEADER.removesuffix(b"\r\n") + b"X-Long: y\r\n" * 7000 + b"\r\n"
    topped = (Expect(b"TOP 3 0\r\n"), b"+OK\r\n%s.\r\n" % header)
    first = (*POP_IN, *LISTED, *topped, *OTHER, *DELETED)
    run = trip(first, *INSECURE, scheme="pop3", later=(*POP_IN, *LEFT, *POP_QUIT), seconds=4)
    assert (run.code, run.line, run.box.faults) == (0, DELIVERED.format("127.0.0.1"), [])


@pytest.mark.parametrize("encloses", [True, False])
def test_pop3_an_answer_is_read_whole(encloses: bool) -> None:
    """Where there is no TOP, what came for the header has the body as well."""
    kind = b"From: <echo@far.example>\r\nContent-Type: message/rfc822\r\n\r\n"
    attached = HEADER if encloses else b"Subject: not ours\r\n\r\n"
    listed = (
        *(Expect(b"LIST"), b"+OK\r\n1 900\r\n.\r\n", Expect(b"UIDL"), b"-ERR what?\r\n"),
        *(Expect(b"TOP 1 0"), b"-ERR what?\r\n"),
        *(Expect(b"RETR 1"), b"+OK\r\n%s%sHello\r\n.\r\n" % (kind, attached)),
    )
    deleted = (Expect(b"DELE 1\r\n"), b"+OK\r\n", *POP_QUIT)
    nothing = (*POP_IN, Expect(b"LIST"), b"+OK\r\n.\r\n", *POP_QUIT)
    first = (*POP_IN, *listed, *(deleted if encloses else POP_QUIT))
    run = trip(first, *INSECURE, "--reply", "-v", scheme="pop3", later=nothing, seconds=0.8)
    assert (run.box.faults, "\ndelivery: me@127.0.0.1: an answer\n" in run.done.stdout) == (
        [],
        encloses,
    )
    assert (run.code, run.line) == (
        (0, DELIVERED.format("127.0.0.1"))
        if encloses
        else (2, "delivery: not in BOX within 0.8 s, although accepted: '250 queued as 4711'")
    )


def test_pop3_comes_later_and_twice() -> None:
    """What came is only seen in a session that began later."""
    first = (*POP_IN, *LEFT, *OTHER, *POP_QUIT)
    # There are no unique ids, or the second one would be the first, which the server keeps.
    listed = (*LISTED[:2], Expect(b"UIDL"), b"-ERR what?\r\n")
    later = (*POP_IN, *listed, *TOPPED, *OTHER, *DELETED)
    run = trip(first, *INSECURE, scheme="pop3", later=later, seconds=2)
    assert (run.code, run.line, run.box.faults, run.box.connections) == (
        1,
        "delivery: came 2 times into BOX",
        [],
        3,
    )


def test_pop3_keeps_what_is_deleted() -> None:
    """What is listed again by the same unique id (RFC 1939 section 7) has not come twice."""
    script = (*POP_IN, *LISTED, *TOPPED, *OTHER, *DELETED)
    again = (*POP_IN, *LISTED, *POP_QUIT)
    run = trip(script, *INSECURE, scheme="pop3", later=again, seconds=2)
    assert (run.code, run.line, run.box.faults) == (0, DELIVERED.format("127.0.0.1"), [])


def test_pop3_without_top_and_unique_ids() -> None:
    """What may be the message is had whole, as far as it is small."""
    listed = (
        *(Expect(b"LIST"), b"+OK\r\n1 900\r\n2 30000\r\n3 900\r\nx y\r\n.\r\n"),
        *(Expect(b"UIDL"), b"-ERR what?\r\n"),
        *(Expect(b"TOP 3 0"), b"-ERR what?\r\n"),
        *(Expect(b"RETR 3"), b"+OK\r\n%sHello\r\n.\r\n" % HEADER),
        *(Expect(b"RETR 1"), b"+OK\r\n\r\nX-Check\r\n.\r\n"),
    )
    again = (Expect(b"LIST"), b"+OK\r\n.\r\n")
    run = trip(
        (*POP_IN, *listed, *DELETED),
        *INSECURE,
        "-v",
        scheme="pop3",
        later=(*POP_IN, *again, *POP_QUIT),
    )
    assert (run.code, run.box.faults) == (0, [])
    assert (
        "\ndelivery: me@127.0.0.1: read whole, because the server does not offer TOP\n"
        in run.done.stdout
    )


@pytest.mark.parametrize("tail", [POP_QUIT, ()], ids=["stays", "closes"])
def test_pop3_locked_for_a_moment(tail: Script) -> None:
    """Two runs at the same time share a mailbox that only one may open."""
    alone = (Expect(b"LIST"), b"+OK\r\n3 900\r\n.\r\n", Expect(b"UIDL"), b"-ERR\r\n")
    later = (*POP_IN, *alone, *TOPPED, *DELETED)
    run = trip((*LOCKED, *tail), *INSECURE, scheme="pop3", later=later, seconds=2)
    assert (run.line, run.box.faults, run.box.connections) == (
        "delivery: came 2 times into BOX",
        [],
        3,
    )
    assert 0.5 < run.done.times()["delivery"] < 1


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("IN-USE", "locked"),
        ("SYS/TEMP", "login refused (USER)"),
        ("LOGIN-DELAY", "login refused (USER)"),
    ],
)
def test_pop3_not_now(code: str, problem: str) -> None:
    """If it lasts, it is a 4yz."""
    said = f"-ERR [{code}] not now".encode()
    script = (*POP_IN[:-1], said + b"\r\n")
    for state, number in (("warning", 1), ("ok", 0)):
        run = trip(script, *INSECURE, "--tempfail", state, scheme="pop3", seconds=1)
        assert (run.code, run.line) == (
            number,
            f"delivery: BOX: {problem}: '-ERR ({code}) not now' (after # s)",
        )
        assert run.box.connections == 2


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ((b"-ERR down\r\n",), "BOX: session refused: '-ERR down' (after # s)"),
        ((b"220 ESMTP\r\n",), "BOX: not POP3: '220 ESMTP' (after # s)"),
        ((*POP_IN[:-1], b"-ERR s3cret\r\n"), "BOX: login refused (USER): '-ERR ***' (after # s)"),
        (
            (*POP_IN, Expect(b"LIST"), b"-ERR no\r\n"),
            "BOX: LIST refused: '-ERR no' (after # s)",
        ),
        (
            (*POP, Expect(b"USER"), b"+OK\r\n", Expect(b"PASS"), Slowly(b"+OK hi hi", 0.2)),
            "BOX: no answer within 0.6 s: '+OK'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pop3_server_that_misbehaves(script: Script, said: str) -> None:
    run = trip(script, *INSECURE, scheme="pop3")
    assert (run.code, run.line) == (2, f"delivery: {said}")


def capable(*words: bytes) -> Script:
    """Return how a POP3 server begins that has these capabilities."""
    return (b"+OK hi\r\n", Expect(b"CAPA"), b"+OK\r\n%s\r\n.\r\n" % b"\r\n".join(words))


USED = (Expect(b"USER me\r\n"), b"+OK\r\n", Expect(b"PASS s3cret\r\n"))
PLAIN = Expect(b"AUTH PLAIN AG1lAHMzY3JldA==\r\n")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ((*capable(b"SASL XOAUTH2"),),
         "only XOAUTH2 is offered, which needs an access token instead of a password "
         f"({HOW})"),
        ((*capable(b"SASL CRAM-MD5"),),
         "only CRAM-MD5 is offered, and this plugin cannot use it with a password"),
        ((*capable(b"SASL PLAIN XOAUTH2"), PLAIN, b"-ERR basic is disabled\r\n"),
         "login refused (PLAIN; XOAUTH2 is offered, too: "
         f"{HOW}): '-ERR basic is disabled'"),
        ((*capable(b"SASL PLAIN XOAUTH2"), PLAIN, b"-ERR [AUTH] wrong\r\n"),
         "login refused (PLAIN): '-ERR (AUTH) wrong'"),
        ((*capable(b"USER", b"SASL PLAIN XOAUTH2"), *USED, b"-ERR basic is disabled\r\n"),
         "login refused (USER; XOAUTH2 is offered, too: "
         f"{HOW}): '-ERR basic is disabled'"),
        ((*capable(b"TOP"), *USED, b"-ERR no\r\n"), "login refused (USER): '-ERR no'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_how_pop3_lets_nobody_in(script: Script, said: str) -> None:
    """A mechanism is given where USER is not (RFC 2449 section 6.3), and named where it fails."""
    run = trip(script, *INSECURE, scheme="pop3")
    assert (run.code, run.line) == (2, f"delivery: BOX: {said} (after # s)")


SEARCH = b"UID SEARCH"


@pytest.mark.parametrize(
    ("scheme", "script", "said"),
    [
        (
            "imap",
            (*IN, Tagged(SEARCH, b"* 3 FETCH (X {999999999}\r\n"), Forever(b"x" * 9999)),
            "a literal that is too long: '* 3 FETCH (X {999999999}'",
        ),
        (
            "imap",
            (*IN, Tagged(SEARCH, b"* 3 FETCH (X {16000000}\r\n"), Forever(b"x" * 9999)),
            f"a line longer than 65536 bytes: '* 3 FETCH (X {'x' * 240}...'",
        ),
        (
            "imap",
            (*IN, Tagged(SEARCH, b"* SEARCH"), Forever(b" 1234567" * 1000)),
            "a reply of more than 500000 numbers: '* SEARCH'",
        ),
        (
            "imap",
            (*IN, Tagged(SEARCH, b"* SEARCH "), Forever(b"1234567" * 1000)),
            "a line longer than 65536 bytes: '* SEARCH'",
        ),
        (
            "imap",
            (*IN, Tagged(SEARCH, b""), Forever(b"* 1 EXISTS\r\n" * 1000)),
            "a reply of more than 50000 responses: '* 1 EXISTS'",
        ),
        (
            "imap",
            (*IN, Tagged(SEARCH, b""), Forever(b"* OK %s\r\n" % (b"x" * 500) * 99)),
            f"a reply longer than 16777216 bytes: '* OK {'x' * 248}...'",
        ),
        (
            "pop3",
            (*POP_IN, Expect(b"LIST"), b"+OK\r\n", Forever(b"1 900\r\n" * 1000)),
            "a reply of more than 500000 lines: '+OK'",
        ),
        (
            "pop3",
            (*POP_IN, Expect(b"LIST"), b"+OK\r\n", Forever(b"x" * 9999)),
            "a reply longer than 16777216 bytes: '+OK'",
        ),
        (
            "pop3",
            (*POP_IN, Expect(b"LIST"), Forever(b"x" * 9999)),
            f"a line longer than 2048 bytes: '{'x' * 253}...'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("uncovered")
def test_a_flood(scheme: str, script: Script, said: str, tmp_path: Path) -> None:
    """It ends at a limit, and is never held in memory whole."""
    peak = tmp_path / "peak"
    run = trip(script, *INSECURE, scheme=scheme, seconds=20, prefix=plugin.measuring(peak))
    place = "BOX/INBOX" if scheme == "imap" else "BOX"
    expected = f"delivery: {place}: {said[:300]}"
    assert (run.code, run.line[: len(expected)]) == (2, expected)
    assert int(peak.read_text()) < 64 * 1024


MANY = range(1, 100_001)


def measured(script: Script, scheme: str, peak: Path, later: Script | None = None) -> Trip:
    """Make a round trip to a mailbox of 100,000 messages, with the memory that it takes."""
    run = trip(
        script, *INSECURE, scheme=scheme, later=later, seconds=9, prefix=plugin.measuring(peak)
    )
    assert (run.code, run.box.faults) == (0, [])
    return run


@pytest.mark.usefixtures("uncovered")
def test_a_large_mailbox_by_imap(tmp_path: Path) -> None:
    """A server may find all there is: the newest are looked at, in little memory."""
    found = Tagged(SEARCH, b"* SEARCH %s\r\nTAG OK x\r\n" % b" ".join(b"%d" % n for n in MANY))
    ours = Tagged(
        b"UID FETCH 100000 ",
        b"* 9 FETCH (UID 100000 BODY[HEADER] {%d}\r\n%s)\r\nTAG OK x\r\n" % (len(HEADER), HEADER),
    )
    gone = [Tagged(b"UID FETCH %d " % number, b"TAG OK x\r\n") for number in MANY[-2:-21:-1]]
    deleted = (
        Tagged(rb"UID STORE 100000 +FLAGS.SILENT (\Deleted)", b"TAG OK x\r\n"),
        Tagged(b"UID EXPUNGE 100000\r\n", b"TAG OK x\r\n"),
    )
    script: Script = (*IN, found, ours, *gone, NOOP, NOTHING, *deleted, NOTHING, LOGOUT)
    measured(script, "imap", tmp_path / "peak")
    assert int((tmp_path / "peak").read_text()) < 48 * 1024


@pytest.mark.usefixtures("uncovered")
def test_a_large_mailbox_by_pop3(tmp_path: Path) -> None:
    sizes = b"".join(b"%d %d\r\n" % (number, 900_000) for number in MANY)
    ids = b"".join(b"%d %s\r\n" % (number, b"x" * 70) for number in MANY)
    listed = (
        *(Expect(b"LIST"), b"+OK\r\n%s100001 900\r\n.\r\n" % sizes),
        *(Expect(b"UIDL"), b"+OK\r\n%s100001 ours\r\n.\r\n" % ids),
        *(Expect(b"TOP 100001 0\r\n"), b"+OK\r\n%s.\r\n" % HEADER),
        *(Expect(b"DELE 100001\r\n"), b"+OK\r\n", *POP_QUIT),
    )
    left = (*POP_IN, Expect(b"LIST"), b"+OK\r\n%s.\r\n" % sizes, *POP_QUIT)
    measured((*POP_IN, *listed), "pop3", tmp_path / "peak", later=left)
    assert int((tmp_path / "peak").read_text()) < 48 * 1024


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_is_looked_for(number: signal.Signals) -> None:
    with ScriptedServer(QUEUED).running() as smtp, ScriptedServer((Hang(),)).running() as box:
        process = subprocess.Popen(
            [
                *(str(plugin.SCRIPT), "-H", "127.0.0.1", "-p", str(smtp.port), "-F", "me.example"),
                *("--rcpt", "a@x", "--deliver", "--mailbox", f"pop3s://me@127.0.0.1:{box.port}"),
            ],
            stdout=subprocess.PIPE,
            env={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
            text=True,
        )
        end = time.monotonic() + 5
        while not box.connections and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(number)
        stopped = time.monotonic()
        output, _ = process.communicate(timeout=5)
        assert time.monotonic() - stopped < plugin.SLACK
    line = masking.timeless(output.partition(" | ")[0])
    assert (process.returncode, line) == (
        3,
        f"SMTP UNKNOWN - 127.0.0.1:{smtp.port} delivery: interrupted by {number.name} (after # s)",
    )


@pytest.mark.parametrize(
    "begun",
    [
        (*IN, FOUND, FETCHED, Tagged(b"UID FETCH 7 (UID BODY.PEEK[]", b"")),
        (*SEEN, Tagged(b"UID STORE", b"")),
        (*SEEN, FLAGGED, EXPUNGED, Tagged(b"UID SEARCH", b"")),
    ],
    ids=["fetched", "deleted", "leftovers"],
)
def test_a_signal_once_it_has_been_seen(begun: Script) -> None:
    reached = threading.Event()
    box = ScriptedServer((*begun, Act(lambda connection, _: reached.set()), Hang()))
    verifying = ("--verify-message", "--nameserver", "127.0.0.1:1") if begun[-2] is FETCHED else ()
    with ScriptedServer(QUEUED).running() as smtp, box.running():
        box.edit = named(smtp)
        process = subprocess.Popen(
            [
                *(str(plugin.SCRIPT), *plugin.at(smtp.port), "--rcpt", "a@x", "--deliver"),
                *("--mailbox", f"imap://me@127.0.0.1:{box.port}", *INSECURE, *verifying),
            ],
            stdout=subprocess.PIPE,
            env={**os.environ, "CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
            text=True,
        )
        is_reached = reached.wait(9)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=5)
    line = masking.timeless(output.partition(" | ")[0])
    assert (is_reached, box.faults, process.returncode, line) == (
        True,
        [],
        3,
        f"SMTP UNKNOWN - 127.0.0.1:{smtp.port} delivery: interrupted by SIGTERM (after # s)",
    )


def test_one_mailbox_that_fails_ends_the_search_in_the_other() -> None:
    """The answer is known, so that nobody waits any longer."""
    refuses = (HI, POOR, Sleep(0.15), Tagged(b"LOGIN", b"TAG NO not you\r\n"))
    waits = (*IN, NOTHING, UNREAD, *(NOOP, NOTHING) * 9)
    with ScriptedServer(refuses).running() as other:
        run = trip(*(waits, *INSECURE, "--mailbox", f"imap://me@127.0.0.1:{other.port}"), seconds=9)
    assert (run.code, run.line, other.faults) == (
        2,
        "delivery: BOX/INBOX: login refused (LOGIN): 'NO not you' (after # s)",
        [],
    )
    assert run.done.seconds < 5


def test_the_session_s_deadline_does_not_end_the_search() -> None:
    """With ``-t 1`` a message that comes after 1.2 s has come."""
    script = (*IN, Sleep(1.2), *WHOLE[len(IN) :])
    with ScriptedServer(QUEUED[:-1]).running() as smtp:
        began = time.monotonic()
        done = asked(
            *(smtp, "--deliver", "--rcpt", "a@x", "--mailbox", "imap://me@127.0.0.1:1"),
            *("--delivery-timeout", "2"),
        )
        assert time.monotonic() - began < 2
    assert done.code == 2
    run = trip(script, *INSECURE, "-t", "1", seconds=4)
    assert (run.code, run.box.faults) == (0, [])
    assert 1.2 < run.done.times()["delivery"] < 2


@pytest.mark.parametrize(
    ("mode", "text", "problem"),
    [
        (
            0o644,
            "x\n",
            "--mailbox-pass-file: 'password' can be read by everyone, run chmod o-r on it",
        ),
        (0o600, "\n", "--mailbox-pass-file: the first line of 'password' is empty"),
        *(
            (
                0o600,
                f"a{evil}b",
                "--mailbox: the password contains a control character, such as a line break",
            )
            for evil in "\0\r\x85"
        ),
    ],
)
def test_password_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, text: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("password").write_bytes(text.encode())
    Path("password").chmod(mode)
    query = ("--deliver", "--rcpt", "a@x", "--mailbox", "imap://me@x")
    done = plugin.run("-H", "127.0.0.1", *query, "--mailbox-pass-file", "password")
    assert (done.code, done.stdout, done.stderr) == (3, f"SMTP UNKNOWN - {problem}\n", "")


@pytest.mark.parametrize(
    ("url", "password", "arguments", "problem"),
    [
        ("imap://me@[::1]", "x", ("-4",), "-4: cannot be combined with the mailbox's address ::1"),
        ("pop3://me@127.0.0.1", "x", ("-6",),
         "-6: cannot be combined with the mailbox's address 127.0.0.1"),
        ("imap://me@[::1]", "x", ("--source", "127.0.0.1"),
         "--source: cannot be combined with the mailbox's address ::1"),
        *(("pop3s://me@x", f"a{character}b", (), f"--mailbox: {WITH_CONTROL}")
          for character in ("\r", "\n", "\x1b", "\x7f")),
    ],
)  # fmt: skip
def test_what_no_mailbox_can_be_asked(
    url: str, password: str, arguments: tuple[str, ...], problem: str
) -> None:
    done = plugin.run(
        *("-H", "mx.example", "--deliver", "--rcpt", "a@x", "--mailbox", url, *arguments),
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": password},
    )
    assert (done.code, done.stdout, done.stderr) == (3, f"SMTP UNKNOWN - {problem}\n", "")


def test_a_password_from_a_file(tmp_path: Path) -> None:
    """It goes before the environment's."""
    password = tmp_path / "password"
    password.write_text("s3cret\nx\n")
    password.chmod(0o600)
    where = ("--mailbox-pass-file", str(password))
    with ScriptedServer(QUEUED).running() as smtp:
        box = ScriptedServer((HI, POOR, LOGIN, *WHOLE[3:]), edit=named(smtp))
        with box.running():
            url = f"imap://me@127.0.0.1:{box.port}"
            done = plugin.run(
                *("-H", "127.0.0.1", "-p", str(smtp.port), "-F", "me.example", *INSECURE),
                *("--deliver", "--rcpt", "a@x", "--mailbox", url, *where),
                environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "wrong"},
            )
    assert (done.code, box.faults) == (0, [])
