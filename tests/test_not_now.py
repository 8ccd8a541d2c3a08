"""What a mailbox says for now only is asked again; what its search says is not believed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests import plugin
from tests.servers.inbox import Inbox
from tests.servers.roundtrip import SENDING
from tests.servers.scripted import ScriptedServer

DELIVERED = "answered in # s (slowest: # # s), 1 recipient accepted, delivered to INBOX after # s"
DELIVERED_BY_POP3 = DELIVERED.replace("INBOX", "127.0.0.1")


class Trip:
    """A round trip to a mailbox: what the plugin said, and the mailbox."""

    def __init__(self, *arguments: str, seconds: float = 10, **told: Any) -> None:
        with ScriptedServer(SENDING).running() as smtp, Inbox(smtp, **told).running() as inbox:
            self.inbox = inbox
            self.done = plugin.run(
                *("-H", "127.0.0.1", "-p", str(smtp.port), "-F", "me.example", "-t", "2"),
                *("--rcpt", "a@x", "--deliver", "--delivery-timeout", str(seconds)),
                *("--mailbox", f"{inbox.protocol}://me@127.0.0.1:{inbox.port}"),
                *("--auth-insecure", *arguments),
                environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret"},
            )
        assert (self.done.stderr, smtp.faults) == ("", [])
        self.code = self.done.code
        line = re.sub(r"slowest: \w+", "slowest: #", self.done.line)
        self.line = line.partition(" - ")[2].replace(f"127.0.0.1:{smtp.port} ", "")

    @property
    def result(self) -> tuple[int, str, bool]:
        """Exit code, line, and whether the message has been deleted."""
        return self.code, self.line, self.inbox.is_deleted


UNAVAILABLE = "NO [UNAVAILABLE] Temporary authentication failure."
MANY = "NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded"
LIMIT = "NO [LIMIT] Maximum number of connections exceeded"
LOCKED = "NO [INUSE] Mailbox is locked"
BUG = "NO [SERVERBUG] Internal error occurred."
NOT_CONNECTED = "BAD User is authenticated but not connected."


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("AUTHENTICATE", UNAVAILABLE),
        ("AUTHENTICATE", LIMIT),
        ("AUTHENTICATE", ""),
        ("CAPABILITY", UNAVAILABLE),
        ("SELECT", LOCKED),
        ("SELECT", NOT_CONNECTED),
        ("AUTHENTICATE", "NO [ALERT] Too many simultaneous connections. (Failure)"),
        ("AUTHENTICATE", "BAD Request is throttled. Suggested Backoff Time: 899 milliseconds"),
        ("SELECT", ""),
        ("SEARCH", BUG),
        ("SEARCH", NOT_CONNECTED),
        ("SEARCH", ""),
        ("FETCH", BUG),
        ("FETCH", ""),
        ("NOOP", UNAVAILABLE),
        ("STORE", LOCKED),
        ("STORE", NOT_CONNECTED),
        ("EXPUNGE", LOCKED),
        ("EXPUNGE", ""),
    ],
)
def test_imap_not_now(command: str, said: str) -> None:
    """Once, and then it is granted."""
    run = Trip(refusals={command: [said]})
    assert run.result == (0, DELIVERED, True)
    assert 0.5 < run.done.seconds < 5


@pytest.mark.parametrize(
    ("protocol", "command", "said", "delivered"),
    [
        ("imap", "AUTHENTICATE", UNAVAILABLE, DELIVERED),
        ("imap", "EXPUNGE", "", DELIVERED),
        ("pop3", "LIST", "-ERR [SYS/TEMP] try again", DELIVERED_BY_POP3),
        ("pop3", "QUIT", "", DELIVERED_BY_POP3),
    ],
)
def test_twice_not_now(protocol: str, command: str, said: str, delivered: str) -> None:
    run = Trip(protocol=protocol, refusals={command: [said, said]})
    assert run.result == (0, delivered, True)
    assert 1.5 < run.done.seconds < 6


@pytest.mark.parametrize(
    ("command", "said", "problem"),
    [
        ("AUTHENTICATE", UNAVAILABLE, "login refused (PLAIN)"),
        ("AUTHENTICATE", MANY, "login refused (PLAIN)"),
        ("SELECT", LOCKED, "folder refused"),
        ("SEARCH", NOT_CONNECTED, "UID SEARCH refused"),
    ],
)
def test_imap_not_now_if_it_lasts(command: str, said: str, problem: str) -> None:
    """It is a 4yz, after all the time there was, and after few attempts."""
    run = Trip("--tempfail", "warning", seconds=2, lasts=True, refusals={command: [said]})
    shown = said.replace("[", "(").replace("]", ")")
    cause = ", cause: too many connections" if said in (MANY, LIMIT) else ""
    assert run.result == (
        1,
        f"delivery: me@127.0.0.1/INBOX: {problem}: '{shown}' (after # s){cause}",
        False,
    )
    after = re.search(r"after (\d+\.\d+) s", run.done.stdout)
    assert after
    assert 2 <= float(after[1]) < 2.5
    asked = [line for line in run.inbox.commands if command in line]
    assert len(asked) == 3  # the others after 0.5 s and after 1 s
    assert Trip("--tempfail", "ok", seconds=0.3, lasts=True, refusals={command: [said]}).code == 0


@pytest.mark.parametrize(
    "said", ["NO [AUTHENTICATIONFAILED] Authentication failed.", "NO no", "BAD what?"]
)
def test_imap_no_is_no(said: str) -> None:
    run = Trip(seconds=4, refusals={"AUTHENTICATE": [said]})
    shown = said.replace("[", "(").replace("]", ")")
    cause = ", cause: login rejected" if "AUTHENTICATIONFAILED" in said else ""
    assert (run.code, run.line) == (
        2,
        f"delivery: me@127.0.0.1/INBOX: login refused (PLAIN): '{shown}' (after # s){cause}",
    )
    assert sum("AUTHENTICATE" in one for one in run.inbox.commands) == 1


def test_a_server_that_is_restarted() -> None:
    """The connection is dropped while the message is waited for."""
    run = Trip(seconds=9, comes_after=0.3, refusals={"NOOP": [""]})
    assert run.result == (0, DELIVERED, True)


def test_deletion_is_not_asked_for_ever() -> None:
    run = Trip(seconds=2, lasts=True, refusals={"STORE": [LOCKED]})
    assert run.result == (
        1,
        "delivery: not deleted from me@127.0.0.1/INBOX: UID STORE refused: "
        "'NO (INUSE) Mailbox is locked'",
        False,
    )
    assert run.done.times()["delivery"] < 0.5


def test_pop3_login_delay() -> None:
    """The announced delay is kept, and the session that finds the message deletes it."""
    run = Trip(
        seconds=15,
        protocol="pop3",
        capabilities="TOP,LOGIN-DELAY 4,RESP-CODES",
        delay=4,
        late="-ERR [LOGIN-DELAY] wait between logins",
    )
    assert run.result == (0, DELIVERED_BY_POP3, True)
    assert len(run.inbox.logins) == 1


@pytest.mark.parametrize(
    ("capabilities", "late", "logins"),
    [
        ("TOP,LOGIN-DELAY 4,RESP-CODES", "-ERR [LOGIN-DELAY] wait between logins", 2),
        ("TOP", "-ERR [IN-USE] another session is running", 6),
    ],
    ids=["LOGIN-DELAY", "IN-USE"],
)
def test_pop3_lets_nobody_in_for_some_seconds(capabilities: str, late: str, logins: int) -> None:
    """The message comes later: waiting for it takes another login, deleting it does not."""
    told = {"protocol": "pop3", "capabilities": capabilities, "delay": 4, "late": late}
    run = Trip(seconds=15, comes_after=2, **told)
    assert run.result == (0, DELIVERED_BY_POP3, True)
    assert len(run.inbox.logins) == logins


def test_pop3_login_delay_beyond_the_limit() -> None:
    run = Trip(
        seconds=2, comes_after=1, protocol="pop3", capabilities="TOP,LOGIN-DELAY 180", delay=180
    )
    assert (run.code, len(run.inbox.logins)) == (1, 1)
    assert run.line == (
        "delivery: me@127.0.0.1: not there at once, and the server allows one login in 180 s "
        "(after # s)"
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        *(("LIST", said) for said in ("-ERR [SYS/TEMP] try again", "")),
        *(("TOP", said) for said in ("-ERR [SYS/TEMP] try again", "")),
        *(("DELE", said) for said in ("-ERR [SYS/TEMP] try again", "")),
        *(("QUIT", said) for said in ("-ERR [SYS/TEMP] try again", "")),
        ("PASS", ""),
    ],
)
def test_pop3_not_now(command: str, said: str) -> None:
    run = Trip(protocol="pop3", capabilities="TOP", refusals={command: [said]})
    assert run.result == (0, DELIVERED_BY_POP3, True)


def test_pop3_a_foreign_header_with_a_long_line() -> None:
    """It is no failure, and nothing of it is shown."""
    run = Trip(
        "-vvv", protocol="pop3", capabilities="TOP", foreign=b"Subject: secret" + b"x" * 5000
    )
    assert run.result == (0, DELIVERED_BY_POP3, True)
    assert "secret" not in run.done.stdout
    assert re.search(r"\d \*: \d+ bytes, not shown\n", run.done.stdout)


@pytest.mark.parametrize(
    "search",
    [
        ("* SEARCH", "TAG OK done"),
        ("TAG NO Querying this header is not supported.",),
        ("TAG NO [CANNOT] Server error - Please try again later",),
        ("TAG BAD Unknown search key",),
        ('* ESEARCH (TAG "TAG") UID COUNT 1 ALL 1:4', "TAG OK done"),
    ],
)
@pytest.mark.parametrize("seconds", [0, 0.5])
def test_search_is_not_the_truth(search: tuple[str, ...], seconds: float) -> None:
    run = Trip(seconds=4, search=search, comes_after=seconds)
    assert run.result == (0, DELIVERED, True)
    assert run.done.times()["delivery"] < 2
    assert sum("HEADER X-Check-SMTP-Health-Token" in one for one in run.inbox.commands) <= 6


def test_message_id_serves_as_well() -> None:
    """Something on the way has dropped the fields that are not known to everybody."""
    run = Trip(seconds=4, search=("* SEARCH", "TAG OK done"), drops_fields=True)
    assert run.result == (0, DELIVERED, True)


def test_id_is_sent_where_it_is_offered() -> None:
    run = Trip(capabilities="IMAP4rev1 AUTH=PLAIN ID UIDPLUS", needs_id=True)
    assert run.result == (0, DELIVERED, True)
    verbs = [line.split()[0] for line in run.inbox.commands]
    assert verbs[:5] == ["CAPABILITY", "AUTHENTICATE", "CAPABILITY", "ID", "SELECT"]
    for said in ("BAD what?", UNAVAILABLE):
        run = Trip(capabilities="IMAP4rev1 AUTH=PLAIN ID UIDPLUS", refusals={"ID": [said]})
        assert run.result == (0, DELIVERED, True)


JUNK = {"capabilities": "IMAP4rev1 AUTH=PLAIN UIDPLUS SPECIAL-USE", "folder": "[X]/Spam"}


def test_junk_is_looked_at_without_being_asked_for() -> None:
    run = Trip(seconds=4, **JUNK)
    assert run.result == (1, "delivery: came into me@127.0.0.1/(X)/Spam", True)


@pytest.mark.parametrize("said", ["NO no", LOCKED, "BAD what?"])
def test_junk_that_nobody_has_asked_for_decides_nothing(said: str) -> None:
    run = Trip(seconds=0.5, refusals={"LIST": [said]}, **JUNK)
    assert run.line.startswith("delivery: not in me@127.0.0.1/INBOX within 0.5 s, although")


def test_transcript() -> None:
    run = Trip("-vv", capabilities="IMAP4rev1 AUTH=PLAIN UIDPLUS")
    lines = [re.sub(r"^ *\d+\.\d+ ", "", line) for line in run.done.stdout.splitlines()]
    begin = lines.index("S: * OK hi") - 1
    end = lines.index("C: a6 UID FETCH 4 (UID INTERNALDATE BODY.PEEK[HEADER]<0.65536>)") + 2
    token = re.search(r"HEADER X-Check-SMTP-Health-Token (\w{32})", run.done.stdout)
    assert token
    shown = [line.replace(token[1], "#") for line in lines[begin:end]]
    assert [re.sub(r"^\*: \d+ bytes", "*: # bytes", line) for line in shown] == [
        "*: connected to 127.0.0.1",
        "S: * OK hi",
        "C: a1 CAPABILITY",
        "S: * CAPABILITY IMAP4rev1 AUTH=PLAIN UIDPLUS",
        "S: a1 OK done",
        "C: a2 AUTHENTICATE PLAIN",
        "S: + ",
        "C: ***",
        "S: a2 OK done",
        "C: a3 CAPABILITY",
        "S: * CAPABILITY IMAP4rev1 AUTH=PLAIN UIDPLUS",
        "S: a3 OK done",
        'C: a4 SELECT "INBOX"',
        "S: * 1 EXISTS",
        "S: * OK (UIDNEXT 5) x",
        "S: * OK (UIDVALIDITY 1) x",
        "S: a4 OK done",
        "C: a5 UID SEARCH UID 1:* HEADER X-Check-SMTP-Health-Token #",
        "S: * SEARCH 4",
        "S: a5 OK done",
        "C: a6 UID FETCH 4 (UID INTERNALDATE BODY.PEEK[HEADER]<0.65536>)",
        "*: # bytes, not shown",
    ]
    assert "s3cret" not in run.done.stdout
