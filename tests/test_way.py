"""What holds for every connection of a run holds for those to the mailbox."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import plugin
from tests.servers.inbox import Inbox
from tests.servers.loopback import free_port
from tests.servers.name_server import NameServer, records
from tests.servers.network import full_backlog, private
from tests.servers.roundtrip import SENDING, WHOLE, named
from tests.servers.scripted import ScriptedServer

ADDRESSES = {
    ("mail.test", "A"): records("A 127.0.0.1"),
    ("mail.test", "AAAA"): records("AAAA 2001:db8::25"),
}

DEAD = "127.0.0.1 dead.test\n127.0.0.7 dead.test\n"
"""The first of the addresses, as the system sorts them, is behind a filter that drops all."""


def trip(
    smtp: ScriptedServer, url: str, *arguments: str, prefix: tuple[str, ...] = ()
) -> plugin.Outcome:
    """Send a message and look for it in that mailbox."""
    done = plugin.run(
        *("-H", "127.0.0.1", "-p", str(smtp.port), "-F", "me.example", "--auth-insecure"),
        *("--rcpt", "a@x", "--deliver", "--delivery-timeout", "5", "-vv", "--mailbox", url),
        *arguments,
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret"},
        prefix=prefix,
    )
    assert done.stderr == ""
    return done


def connected(done: plugin.Outcome) -> list[str]:
    """Return where connections led, and what became of those that failed, after the session's."""
    told = r"\*: (?:connected to )?((?:\d+\.){3}\d+|[a-f\d:]+|no answer .*|.*un\w*)$"
    return re.findall(told, done.stdout, re.MULTILINE)[1:]


def test_name_server_and_family() -> None:
    """Only the name server knows the mailbox's host, and with -4 nobody asks for the other kind."""
    with NameServer(ADDRESSES).running() as names, ScriptedServer(SENDING).running() as smtp:
        box = ScriptedServer(WHOLE, edit=named(smtp))
        with box.running():
            url = f"imap://me@mail.test:{box.port}"
            done = trip(smtp, url, "-4", "--nameserver", names.nameserver)
        assert (done.code, box.faults) == (0, [])
        assert connected(done) == ["127.0.0.1"]
        assert names.asked == [("udp", "mail.test", "A")]


def test_source() -> None:
    with ScriptedServer(SENDING).running() as smtp:
        box = ScriptedServer(WHOLE, edit=named(smtp))
        with box.running():
            done = trip(smtp, f"imap://me@127.0.0.1:{box.port}", "--source", "127.0.0.3")
    assert (done.code, box.peers, smtp.peers) == (0, ["127.0.0.3"], ["127.0.0.3"])


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_a_dead_address_costs_a_fraction_of_a_second(protocol: str, tmp_path: Path) -> None:
    """And that only once: the next connection of the run begins with the one that answered."""
    with (
        ScriptedServer(SENDING).running() as smtp,
        Inbox(smtp, protocol, "IMAP4rev1 UIDPLUS", address="127.0.0.7").running() as inbox,
        full_backlog("127.0.0.1", inbox.port),
    ):
        url = f"{protocol}://me@dead.test:{inbox.port}"
        done = trip(smtp, url, prefix=private(tmp_path, hosts=DEAD))
    assert (done.code, inbox.is_deleted) == (0, True)
    looks = 2 if protocol == "pop3" else 1
    assert connected(done) == ["no answer within 0.3 s", *["127.0.0.7"] * looks]
    assert 0.3 < done.times()["delivery"] < 0.8


@pytest.mark.parametrize(("seconds", "attempts"), [("1", 4), ("0.2", 4)])
def test_no_address_answers(seconds: str, attempts: int, tmp_path: Path) -> None:
    """Each has its share of the time, if there is enough."""
    with (
        ScriptedServer(SENDING).running() as smtp,
        full_backlog("127.0.0.7", free_port()) as port,
        full_backlog("127.0.0.1", port),
    ):
        url = f"imap://me@dead.test:{port}"
        prefix = private(tmp_path, hosts=DEAD)
        done = trip(smtp, url, "--delivery-timeout", seconds, prefix=prefix)
    assert done.code == 2
    assert done.line.endswith(f"/INBOX: no answer within {seconds} s")
    assert len(connected(done)) == attempts
