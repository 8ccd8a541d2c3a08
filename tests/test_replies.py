"""``--reply``: an answer counts, too, and a notification of a failure never does."""

from __future__ import annotations

import base64
import re
import shutil
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.roundtrip.matching import FoundMessage, MessageQuery
from check_smtp_health.roundtrip.message import RECIPIENTS, TOKEN
from tests import plugin
from tests.servers import embedded, mailbox
from tests.servers.authority import Authority
from tests.servers.mailbox import PASSWORD, USER, Mailboxes

COME = "answered in # s (slowest: # # s), 1 recipient accepted, delivered to INBOX after # s"
COME_BY_POP3 = COME.replace("INBOX", "localhost")

LETTER = b"From: <echo@far.example>\r\nSubject: Re: x\r\nDate: Mon, 1 Jan 2001 00:00:00 +0000\r\n"

BODY = b"\r\nThank you.\r\n"


def message_id(message: bytes) -> bytes:
    found = re.search(rb"\nMessage-ID: (\S+)", message)
    assert found
    return found[1]


def answered(message: bytes) -> bytes:
    return LETTER + b"In-Reply-To: %s\r\n" % message_id(message) + BODY


def referred(message: bytes) -> bytes:
    return LETTER + b"References: <a@b>\r\n\t%s <c@d>\r\n" % message_id(message) + BODY


def wrapped(message: bytes, kind: bytes = b"message/rfc822", top: bytes = b"mixed") -> bytes:
    return (
        LETTER
        + b'Content-Type: multipart/%s; boundary="=_x"\r\n\r\nMIME\r\n' % top
        + b"--=_x\r\nContent-Type: text/plain\r\n\r\nSee there.\r\n"
        + b"--=_x \r\nContent-Type: %s\r\n\r\n%s\r\n--=_x--\r\n" % (kind, message)
    )


def nested(message: bytes) -> bytes:
    return wrapped(wrapped(message))


def whole(message: bytes) -> bytes:
    return LETTER + b"Content-Type: message/rfc822\r\n\r\n" + message


def encoded(message: bytes) -> bytes:
    lines = base64.encodebytes(message).replace(b"\n", b"\r\n")
    return (
        LETTER
        + b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + lines
    )


def unmarked(message: bytes) -> bytes:
    """Attached by somebody who keeps only what he knows: the Message-ID tells it."""
    return wrapped(re.sub(rb"X-Check[^\r]*\r\n", b"", message))


ANSWERS = (answered, referred, wrapped, nested, whole, encoded, unmarked)


def quoted(message: bytes) -> bytes:
    """The text of ours as text: some bounces do that, too."""
    return LETTER + b"Content-Type: text/plain\r\n\r\n-- Below is a copy:\r\n\r\n" + message


def other(message: bytes) -> bytes:
    return answered(message.replace(message_id(message), b"<0%s" % message_id(message)[1:]))


def report(message: bytes) -> bytes:
    return b"In-Reply-To: %s\r\n" % message_id(message) + wrapped(
        message, top=b"report; report-type=delivery-status"
    )


def from_exim(message: bytes) -> bytes:
    return b"X-Failed-Recipients: a@x\r\n" + answered(message)


def from_daemon(message: bytes) -> bytes:
    return answered(message).replace(b"<echo@", b"Mail Delivery System <MAILER-DAEMON@")


def from_nobody(message: bytes) -> bytes:
    return answered(message).replace(b"<echo@far.example>", b"MAILER-DAEMON")


def from_postmaster(message: bytes) -> bytes:
    sent = answered(message).replace(b"<echo@", b"Undeliverable <postmaster@")
    return b"Return-Path: <>\r\n" + sent


def enclosing_another(message: bytes) -> bytes:
    return wrapped(LETTER + BODY)


NO_ANSWERS = (
    quoted,
    other,
    report,
    from_exim,
    from_daemon,
    from_nobody,
    from_postmaster,
    enclosing_another,
)


class Site:
    """A mailbox, and an SMTP server at which somebody answers what is sent."""

    def __init__(self, boxes: Mailboxes, authority: Authority) -> None:
        self._boxes = boxes
        self._authority = authority

    def put(self, message: bytes, folder: str = "") -> None:
        path = self._boxes.folder(folder) / "new" / f"{time.time_ns()}.test"
        waiting = path.parent.parent / "tmp" / path.name
        waiting.parent.mkdir(exist_ok=True)
        waiting.write_bytes(message)
        shutil.chown(waiting, "dovecot", "dovecot")
        waiting.rename(path)

    def trip(
        self,
        *made: Callable[[bytes], bytes],
        scheme: str = "imaps",
        seconds: float = 5,
        arguments: tuple[str, ...] = ("--reply", "-v"),
    ) -> plugin.Outcome:
        """Send a message that is answered by these."""

        def answer(message: bytes) -> None:
            for one in made:
                self.put(one(message))

        for name in ("", "Junk"):
            for path in self._boxes.messages(name):
                path.unlink()
        with embedded.smtp(answer) as port:
            done = plugin.run(
                *("-H", "127.0.0.1", "-p", str(port), "-F", "client.example"),
                *("--rcpt", "echo@far.example", "--deliver", "--delivery-timeout", str(seconds)),
                *("--ca-file", self._authority.path, "--mailbox", self._boxes.url(scheme)),
                *arguments,
                environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
            )
        assert done.stderr == ""
        return done

    def left(self) -> int:
        return len(self._boxes.messages())


def said(done: plugin.Outcome) -> tuple[int, str]:
    """Return exit code and status line without the target."""
    return done.code, re.sub(r"^SMTP \w+ - \S+ ", "", done.line)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    authority = Authority.made(folder, "CA")
    with mailbox.running(authority.written(folder / "certificate", "localhost")) as boxes:
        done = plugin.run(  # Dovecot makes the folders at the first login
            *("-H", boxes.path, "-L", "--rcpt", USER, "--deliver", "--mailbox", boxes.url()),
            *("--ca-file", authority.path),
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
        )
        assert done.code == 0
        yield Site(boxes, authority)


@pytest.mark.parametrize("scheme", ["imaps", "pop3s"])
@pytest.mark.parametrize("made", ANSWERS)
def test_an_answer(site: Site, made: Callable[[bytes], bytes], scheme: str) -> None:
    """It is deleted as the message is."""
    done = site.trip(made, scheme=scheme)
    has_folders = scheme == "imaps"
    place = f"{USER}@localhost" + ("/INBOX" if has_folders else "")
    come = COME if has_folders else COME_BY_POP3
    assert (*said(done), site.left()) == (0, come, 0)
    assert f"\ndelivery: {place}: an answer\n" in done.stdout


@pytest.mark.parametrize("made", ANSWERS)
def test_an_answer_that_was_not_asked_for(site: Site, made: Callable[[bytes], bytes]) -> None:
    done = site.trip(made, seconds=0.7, arguments=())
    assert (done.code, "delivery: not in" in done.line, site.left()) == (2, True, 1)


@pytest.mark.parametrize("scheme", ["imaps", "pop3s"])
@pytest.mark.parametrize("made", NO_ANSWERS)
def test_no_answer(site: Site, made: Callable[[bytes], bytes], scheme: str) -> None:
    """Nor is it deleted."""
    done = site.trip(made, scheme=scheme, seconds=0.7)
    assert (done.code, "delivery: not in" in done.line, site.left()) == (2, True, 1)


def test_the_message_itself(site: Site) -> None:
    """It serves as well, and answers are no copies of it."""
    done = site.trip(lambda message: message)
    assert (*said(done), site.left()) == (0, COME, 0)
    assert "an answer" not in done.stdout
    done = site.trip(answered, referred, lambda message: message)
    assert (*said(done), site.left()) == (0, COME, 0)
    done = site.trip(lambda message: message, lambda message: message)
    place = f"{USER}@localhost/INBOX"
    assert said(done) == (1, f"delivery: came 2 times into {place}")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--reply",), "--reply: needs --mailbox URL"),
        (
            ("--mailbox", "imap://me@x", "--reply", "--require-auth-results", "spf"),
            "--require-auth-results: cannot be combined with --reply",
        ),
    ],
)
def test_usage(arguments: tuple[str, ...], problem: str) -> None:
    done = plugin.run(
        *("-H", "mx.example", "--rcpt", "a@x", "--deliver", *arguments),
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret"},
    )
    assert (done.code, done.stdout) == (3, f"SMTP UNKNOWN - {problem}\n")


# What is attached, whatever it looks like.

OURS = f"{TOKEN}: t0ken\r\nSubject: x\r\n\r\nHello\r\n".encode()
QUERY = MessageQuery(TOKEN, "t0ken", RECIPIENTS, ("one",), 900, "<t0ken@x>", takes_replies=True)


def split(message: bytes) -> tuple[bytes, bytes]:
    parted = re.split(rb"(?<=\n)\r?\n", message, maxsplit=1)
    return parted[0], parted[-1] if len(parted) > 1 else b""


@pytest.mark.parametrize(
    ("message", "is_enclosed"),
    [
        (wrapped(OURS), True),
        (wrapped(OURS).replace(b"\r\n", b"\n"), True),
        (wrapped(OURS).replace(b'"=_x"', b"=_x"), True),
        (wrapped(OURS, b"message/global"), True),
        (wrapped(OURS, b"text/rfc822-headers"), False),
        (wrapped(OURS, b"text/plain"), False),
        (wrapped(OURS).replace(b"boundary=", b"border="), False),
        (wrapped(OURS).replace(b"t0ken", b"t0kens"), False),
        *(
            (
                b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + text,
                yes,
            )
            for text, yes in (
                (b"!=\r\n", False),
                (b"QQ*Q\r\n", False),
                # Cut off in the middle of a line, wherever that is.
                *((base64.encodebytes(OURS * 9)[:size], True) for size in range(100, 108)),
            )
        ),
        (b"Content-Type: message/rfc822\r\n\r\n", False),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nno header\r\n--x--", False),
        # Deeper than anybody answers.
        (b"Content-Type: message/rfc822\r\n\r\n" * 60 + OURS, False),
        (b"Content-Type: message/rfc822\r\n\r\n" * 40 + OURS, True),
    ],
)
def test_what_is_attached(message: bytes, is_enclosed: bool) -> None:
    head, body = split(message)
    assert QUERY.encloses(FoundMessage("1", head), body) is is_enclosed


PIECES = st.sampled_from(
    (
        *(b"Content-Type: multipart/mixed; boundary=", b"x\r\n", b"\r\n", b"--x\r\n", b"--x--\r\n"),
        *(b"Content-Type: message/rfc822\r\n", b"Content-Transfer-Encoding: base64\r\n"),
        *(TOKEN.encode() + b": t0ken\r\n", b"In-Reply-To: <t0ken@x>\r\n", b"QQ=\r\n", b"\xff\0"),
    )
)


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_whatever_is_attached(message: bytes) -> None:
    head, body = split(message)
    found = FoundMessage("1", head)
    assert QUERY.encloses(found, body) in (True, False)
    assert QUERY.is_answer(found) in (True, False)
    if QUERY.encloses(found, body):
        assert b"t0ken" in body
