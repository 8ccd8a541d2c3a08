"""Copies of the message that stay in other folders, and providers that only archive."""

from __future__ import annotations

import re

import pytest

from check_smtp_health.roundtrip.message import TOKEN
from tests import plugin
from tests.servers import embedded
from tests.servers.labels import ALL, CAPABILITIES, JUNK, TRASH, Labels

COME = "answered in # s (slowest: # # s), 1 recipient accepted, delivered to INBOX after # s"

LETTER = b"From: <a@x>\r\nSubject: not yours\r\n\r\nHello\r\n"

EVERYWHERE = ("INBOX", ALL, TRASH, JUNK, "Sent")


class Trip:
    """A round trip to such a mailbox, in each folder of which somebody has a letter."""

    def __init__(
        self,
        box: Labels,
        *arguments: str,
        into: tuple[str, ...] = (),
        clean: tuple[str, ...] = (),
        seconds: float = 5,
        letters: tuple[str, ...] = EVERYWHERE,
    ) -> None:
        for name in letters:
            box.put(LETTER, name)
        with box.running(), embedded.smtp(lambda message: box.put(message, *into)) as port:
            url = f"imap://me@127.0.0.1:{box.port}"
            self.done = plugin.run(
                *("-H", "127.0.0.1", "-p", str(port), "-F", "me.example", "--rcpt", "a@x"),
                *("--deliver", "--delivery-timeout", str(seconds), "--auth-insecure", "-v"),
                *("--mailbox", url, *arguments),
                *(word for name in clean for word in ("--clean", f"{url}/{name}")),
                environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret"},
            )
        assert self.done.stderr == ""
        line = self.done.line
        self.result = self.done.code, re.sub(r"^SMTP \w+ - \S+ ", "", line)
        self.notes = [
            line.removeprefix("delivery: me@127.0.0.1").replace(f":{box.port}", "")
            for line in self.done.stdout.splitlines()
            if line.startswith("delivery: me@") and ": connect " not in line
        ]
        self.left = {
            name: [TOKEN.encode() in one for one in messages.values()]
            for name, messages in box.folders.items()
        }
        self.verbs = [
            " ".join(line.split()[: 2 if line.startswith("UID") else 1]) for line in box.commands
        ]


UNTOUCHED = {name: [False] for name in EVERYWHERE}


def test_what_is_deleted_is_moved_to_the_trash_first() -> None:
    """Where there is a folder of all mail, nothing else gets rid of it."""
    run = Trip(Labels())
    assert (run.result, run.notes, run.left) == ((0, COME), [], UNTOUCHED)
    assert "UID MOVE" in run.verbs


def test_a_mailbox_like_others() -> None:
    """There it is deleted at once, and nothing is asked about folders."""
    box = Labels(archives=False, capabilities=CAPABILITIES.replace(" SPECIAL-USE", ""))
    run = Trip(box)
    assert (run.result, run.notes, run.left) == ((0, COME), [], UNTOUCHED)
    assert {"LIST", "UID MOVE"} & set(run.verbs) == set()


@pytest.mark.parametrize("archives", [True, False])
@pytest.mark.parametrize("capabilities", [CAPABILITIES, CAPABILITIES.replace(" MOVE", "")])
def test_further_folders(capabilities: str, archives: bool) -> None:
    """Copies there are deleted and not judged, and nothing else is."""
    box = Labels(archives=archives, capabilities=capabilities)
    run = Trip(box, into=("INBOX", ALL, "Sent"), clean=(ALL, "Sent"))
    assert run.result == (0, COME)
    if archives and "MOVE" not in capabilities:
        assert run.notes == [f"/{ALL}: the server keeps what is deleted there"]
        run.left[ALL].remove(True)
    else:
        assert run.notes == []
    assert run.left == UNTOUCHED


def test_a_server_that_does_not_say_which_folder_is_for_all_mail() -> None:
    """What is still there once it is deleted goes into the trash as well."""
    box = Labels(uses={TRASH: "\\Trash"})
    run = Trip(box, clean=(ALL,))
    assert (run.result, run.notes) == ((0, COME), [])
    assert run.left == UNTOUCHED


@pytest.mark.parametrize(
    ("refused", "note"),
    [
        ({}, "/None: not cleaned: folder refused: 'NO (NONEXISTENT) Unknown Mailbox: None'"),
        ({"SELECT None": "NO [INUSE] locked"}, "/None: not cleaned: folder refused: "
         "'NO (INUSE) locked'"),
        ({"SELECT None": "BAD what?"}, "/None: not cleaned: folder refused: 'BAD what?'"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_cleaned(refused: dict[str, str], note: str) -> None:
    """It is told with -v; the next one is cleaned all the same."""
    run = Trip(Labels(refused=refused), into=("INBOX", "Sent"), clean=("None", "Sent"))
    assert (run.result, run.notes, run.left) == ((0, COME), [note], UNTOUCHED)


def test_a_folder_that_takes_too_long() -> None:
    """The message has been seen, and the time that there was is the limit."""
    run = Trip(Labels(refused={"SELECT Sent": ""}), clean=("Sent",), seconds=2)
    assert run.result == (0, COME)
    assert len(run.notes) == 1
    assert re.fullmatch(
        r"/INBOX: the clean-up ended early: no answer within [\d.]+ s", run.notes[0]
    )
    assert run.done.seconds < 4


def test_a_move_that_is_refused() -> None:
    """Then it is deleted as elsewhere."""
    run = Trip(Labels(archives=False, refused={"MOVE": "NO not you"}))
    assert (run.result, run.notes, run.left) == ((0, COME), [], UNTOUCHED)


@pytest.mark.parametrize("said", ["", "WHAT is this?"])
@pytest.mark.parametrize("verb", ["LIST", "ID"])
@pytest.mark.parametrize("into", ["INBOX", JUNK])
def test_a_side_question_without_a_good_answer(verb: str, into: str, said: str) -> None:
    """It costs two seconds at most and another session, and is not asked again."""
    box = Labels(capabilities=f"{CAPABILITIES} ID", refused={verb: said}, archives=False)
    run = Trip(box, into=(into,), seconds=5)
    if (verb, into) == ("LIST", JUNK):
        assert run.result[1].startswith("delivery: not in me@127.0.0.1/INBOX within 5 s")
    elif into == JUNK:
        assert run.result == (1, f"delivery: came into me@127.0.0.1/{JUNK}".replace("[G]", "(G)"))
    else:
        assert (run.result, run.left) == ((0, COME), UNTOUCHED)
    assert (run.verbs.count(verb), box.connections) == (1, 2)


@pytest.mark.parametrize("seconds", [1, 9])
def test_stale_ones_are_not_waited_for(seconds: float) -> None:
    """The search for them is given up after five seconds, the message being deleted already."""
    box = Labels(archives=False, refused={"SEARCH UNDELETED": ""})
    run = Trip(box, seconds=seconds)
    assert (run.result, run.left) == ((0, COME), UNTOUCHED)
    (note,) = run.notes
    assert note.startswith("/INBOX: the clean-up ended early: no answer within ")
    assert min(5, seconds) * 0.8 < run.done.seconds < min(5, seconds) + 3


def test_an_answer_that_the_search_finds() -> None:
    """A search that looks into attachments finds one; so does ours, and it goes from everywhere."""

    class Reflector(Labels):
        def put(self, message: bytes, *names: str) -> None:
            if TOKEN.encode() in message and not names:
                kind = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
                part = b"Content-Type: message/rfc822\r\n\r\n%s\r\n--x--\r\n" % message
                message = b"From: <echo@far.example>\r\n" + kind + part
            super().put(message, *names)

    run = Trip(Reflector(), "--reply", clean=(ALL,))
    assert (run.result, run.notes, run.left) == ((0, COME), ["/INBOX: an answer"], UNTOUCHED)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--clean", "imap://you@x/Sent"),
         "you@x/Sent is not a folder of an account named by --mailbox"),
        (("--clean", "imaps://me@x/Sent"),
         "me@x/Sent is not a folder of an account named by --mailbox"),
        (("--clean", "imap://me@x/INBOX"), "has no effect on me@x/INBOX, which --mailbox names"),
        (("--clean", "imap://me@x"), "has no effect on me@x/INBOX, which --mailbox names"),
        (("--clean", "pop3://me@x"), "needs imap:// or imaps://, POP3 has no folders"),
        (("--clean", "Sent"), "must begin with one of imap://, imaps://, pop3://, pop3s://"),
        (("--clean", "imap://me:s3cret@x/Sent"),
         "contains a password, which everybody could see: use --mailbox-pass-file FILE (a ':' in a "
         "user name is %3A, a '/' %2F)"),
        (("--clean", "imap://me@x/%zz"),
         "'imap://me@x/%zz' has a '%' without two hex digits (it is %25)"),
    ],
)  # fmt: skip
def test_usage(arguments: tuple[str, ...], problem: str) -> None:
    done = plugin.run(
        *("-H", "mx.example", "--rcpt", "a@x", "--deliver", "--mailbox", "imap://me@x"),
        *arguments,
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret"},
    )
    assert (done.code, done.stdout) == (3, f"SMTP UNKNOWN - --clean: {problem}\n")
