"""Postfix hands a message to Dovecot, and the plugin finds it there: all that can become of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from check_smtp_health.roundtrip.message import RECIPIENTS, SUBJECT, TOKEN, mark
from tests import needs, plugin
from tests.servers import mailbox, postfix
from tests.servers.authority import Authority
from tests.servers.mailbox import DOMAIN, OTHER, PASSWORD, USER, Mailboxes
from tests.servers.postfix import Postfix

DAY = 86400

ALIASES = {
    "twice": f"{USER}, copy@{DOMAIN}",
    "held": USER,
    "judged": USER,
    "junk": f"monitor+Junk@{DOMAIN}",
}

ACCESS = {
    "grey": "450 4.2.0 Greylisted",
    "held": "HOLD",
    "judged": "PREPEND Authentication-Results: mx.example.org; spf=pass; dkim=fail (bad)",
}

NOTHING = {"": 0, "Junk": 0}


def table(rows: dict[str, str]) -> str:
    """Return a table of Postfix's for addresses of our domain."""
    pairs = ", ".join(f"{{{name}@{DOMAIN}={row}}}" for name, row in rows.items())
    return f"inline:{{{pairs}}}"


class Site:
    """A mail server and the mailboxes behind it."""

    def __init__(self, server: Postfix, boxes: Mailboxes, authority: Authority) -> None:
        self.server = server
        self.boxes = boxes
        self.authority = authority

    def trip(
        self, rcpt: str, *arguments: str, seconds: float = 5, password: str = PASSWORD
    ) -> plugin.Outcome:
        """Send a message for that recipient and look for it."""
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(self.server.port), "-F", "client.example"),
            *("--rcpt", f"{rcpt}@{DOMAIN}", "--deliver", "--delivery-timeout", str(seconds)),
            *("--ca-file", self.authority.path, *arguments),
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": password},
        )
        assert done.stderr == ""
        return done

    def said(self, done: plugin.Outcome) -> tuple[int, str]:
        """Return exit code and status line without the target."""
        line = done.line
        return done.code, line.partition(" - ")[2].partition(f"127.0.0.1:{self.server.port} ")[2]

    def left(self) -> dict[str, int]:
        """Return how many messages there are."""
        return {name: len(self.boxes.messages(name)) for name in NOTHING}

    def clear(self) -> None:
        """Delete all messages."""
        for name in NOTHING:
            for path in self.boxes.messages(name):
                path.unlink()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "Private CA")


@pytest.fixture(scope="module")
def running(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    certificate = authority.written(tmp_path_factory.mktemp("site") / "certificate", "localhost")
    with (
        mailbox.running(certificate) as boxes,
        postfix.delivering(
            boxes.port,
            virtual_alias_maps=table(ALIASES),
            smtpd_recipient_restrictions=f"check_recipient_access {table(ACCESS)}, permit",
            # Released messages are deferred ones, for which it looks but every five minutes.
            queue_run_delay="1s",
            minimal_backoff_time="1s",
        ) as server,
    ):
        yield Site(server, boxes, authority)


@pytest.fixture
def site(running: Site) -> Site:
    """Return the servers with empty mailboxes."""
    running.clear()
    return running


COME = "answered in # s (slowest: # # s), 1 recipient accepted, delivered to INBOX after # s"


def come(scheme: str) -> str:
    """Return the line of a message that came; POP3 has no folders to name."""
    return COME if scheme.startswith("imap") else COME.replace("INBOX", "localhost")


@pytest.mark.parametrize("scheme", ["imap", "imaps", "pop3", "pop3s"])
def test_delivered_at_once(site: Site, scheme: str) -> None:
    done = site.trip("monitor", "--mailbox", site.boxes.url(scheme), "-w", "delivery=4")
    assert site.said(done) == (0, come(scheme))
    assert " ".join(done.times()) == "time connect banner helo mail rcpt data quit delivery"
    assert done.times()["delivery"] < done.seconds
    assert done.times()["time"] < done.times()["delivery"] + 1
    assert site.left() == NOTHING
    protocol = scheme[:4]
    (login,) = re.findall(rf"{protocol}-login: Info: Login: .*", site.boxes.log())[-1:]
    assert ", TLS, " in login


def test_what_is_told_of_its_way(site: Site) -> None:
    done = site.trip("monitor", "--mailbox", site.boxes.url(), "-v")
    lines = [line for line in done.stdout.splitlines() if line.startswith("delivery: ")]
    assert [re.sub(r"-?\d[\d.]* s", "# s", line) for line in lines] == [
        f"delivery: seen in {USER}@localhost/INBOX",
        "delivery: mail.example.org after # s",
        "delivery: mail.example.org after # s",
        f"delivery: {USER}@localhost/INBOX: connect # s, login # s, search # s",
    ]


@pytest.mark.parametrize(
    ("required", "code", "said"),
    [
        ("spf", 0, f"{COME}, SPF pass"),
        (
            "spf,dkim,dmarc",
            1,
            "delivery: dkim is fail, cause: unauthenticated, also delivery: no result of dmarc",
        ),
    ],
)
def test_required_results(site: Site, required: str, code: int, said: str) -> None:
    where = ("--mailbox", site.boxes.url())
    done = site.trip("judged", *where, "--require-auth-results", required, "-v")
    assert site.said(done) == (code, said)
    assert "\ndelivery: spf pass, dkim fail\n" in done.stdout
    assert site.left() == NOTHING


@pytest.mark.parametrize("scheme", ["imaps", "pop3s"])
def test_twice(site: Site, scheme: str) -> None:
    place = f"{USER}@localhost" + ("/INBOX" if scheme == "imaps" else "")
    done = site.trip("twice", "--mailbox", site.boxes.url(scheme))
    assert site.said(done) == (1, f"delivery: came 2 times into {place}")
    assert site.left() == NOTHING


def test_into_junk(site: Site) -> None:
    inbox, junk = (("--mailbox", site.boxes.url(folder=name)) for name in ("INBOX", "Junk"))
    done = site.trip("junk", *inbox, *junk)
    assert site.said(done) == (1, f"delivery: came into {USER}@localhost/Junk")
    assert site.left() == NOTHING
    # Where only that folder is asked for, it is where the message belongs.
    assert site.said(site.trip("junk", *junk)) == (0, COME.replace("INBOX", "Junk"))
    done = site.trip("junk", *inbox, seconds=1)
    assert site.said(done)[1].startswith(f"delivery: not in {USER}@localhost/INBOX within 1 s")
    assert site.left() == {"": 0, "Junk": 1}


def test_a_folder_beyond_ascii(site: Site) -> None:
    folder = "M%C3%BCll%20%26%20\u65e5\u672c"
    name = "M\u00fcll & \u65e5\u672c"
    for sub in ("", "cur", "new", "tmp"):
        path = site.boxes.folder("M&APw-ll &- &ZeVnLA-") / sub
        path.mkdir(exist_ok=True)
        shutil.chown(path, "dovecot", "dovecot")
    done = site.trip("junk", "--mailbox", site.boxes.url(folder=folder), seconds=0.5)
    assert site.said(done)[1].startswith(f"delivery: not in {USER}@localhost/{name} within 0.5 s, ")
    site.clear()


@pytest.mark.parametrize(
    ("scheme", "folder", "password", "said"),
    [
        (
            "imaps",
            "",
            "wrong",
            "login refused (PLAIN): 'NO (AUTHENTICATIONFAILED) Authentication failed.'",
        ),
        ("pop3s", "", "wrong", "login refused (USER): '-ERR (AUTH) Authentication failed.'"),
        (
            "imap",
            "None",
            PASSWORD,
            "folder refused: 'NO Mailbox doesn't exist: None (#).'",
        ),
    ],
)
def test_no_way_in(site: Site, scheme: str, folder: str, password: str, said: str) -> None:
    done = site.trip(
        "monitor", "--mailbox", site.boxes.url(scheme, folder), password=password, seconds=2
    )
    place = f"{USER}@localhost" + ("" if scheme == "pop3s" else f"/{folder or 'INBOX'}")
    code, line = site.said(done)
    line = re.sub(r"\(0\.\d+ \+ .* secs\)", "(#)", line)
    cause = ", cause: login rejected" if "Authentication failed" in said else ""
    assert (code, line) == (2, f"delivery: {place}: {said} (after # s){cause}")
    assert PASSWORD not in done.stdout


@pytest.mark.parametrize("scheme", ["imap", "imaps", "pop3", "pop3s"])
def test_untrusted(site: Site, scheme: str, tmp_path: Path) -> None:
    other = Authority.made(tmp_path, "Other CA")
    done = site.trip("monitor", "--mailbox", site.boxes.url(scheme), "--ca-file", other.path)
    place = f"{USER}@localhost" + ("/INBOX" if scheme.startswith("imap") else "")
    assert site.said(done) == (
        2,
        f"delivery: {place}: certificate unknown issuer, try --ca-file or --no-verify (after # s), "
        "cause: certificate",
    )
    login = site.boxes.log().rpartition("login: Info: Login: ")[2]
    assert "Other" not in login


def test_greylisted(site: Site) -> None:
    done = site.trip("grey", "--mailbox", site.boxes.url())
    assert site.said(done) == (
        1,
        f"rcpt: grey@{DOMAIN}: 450 4.2.0 (grey@{DOMAIN}): Recipient address rejected: Greylisted "
        "(after # s), cause: greylisted",
    )
    assert " ".join(done.times()) == "time connect banner helo mail quit"


def test_bounced(site: Site) -> None:
    done = site.trip("nobody", "-f", USER, "--mailbox", site.boxes.url())
    assert site.said(done) == (
        2,
        f"delivery: failed, according to a notification in {USER}@localhost/INBOX: 'smtp; "
        f"550 5.1.1 (nobody@{DOMAIN}) User doesn't exist: nobody@{DOMAIN}' (after # s), "
        "cause: unknown recipient",
    )
    # It is the sender's, and not the plugin's to delete.
    assert site.left() == {"": 1, "Junk": 0}


@pytest.mark.parametrize("scheme", ["imaps", "pop3s"])
def test_never_arriving(site: Site, scheme: str) -> None:
    """To the null sender nobody tells of a failure."""
    done = site.trip("nobody", "--mailbox", site.boxes.url(scheme), "-t", "5:ok", seconds=1)
    place = f"{USER}@localhost" + ("/INBOX" if scheme == "imaps" else "")
    code, line = site.said(done)
    assert (code, re.sub(r"as [0-9A-F]+'", "as #'", line)) == (
        2,
        f"delivery: not in {place} within 1 s, although accepted: '250 2.0.0 Ok: queued as #'",
    )
    assert done.seconds < 2 + plugin.SLACK
    assert " ".join(done.times()) == "time connect banner helo mail rcpt data quit"


class Held:
    """A run whose message is held back until somebody lets go of it."""

    def __init__(self, site: Site, *arguments: str) -> None:
        self.site = site
        self.done: plugin.Outcome | None = None
        self._thread = threading.Thread(target=self._run, args=arguments)
        self._thread.start()

    def _run(self, *arguments: str) -> None:
        self.done = self.site.trip("held", *arguments, seconds=9)

    def token(self) -> str:
        """Wait until the message is held, and return its token."""
        hold = self.site.server.directory / "queue" / "hold"
        end = time.monotonic() + 5
        while time.monotonic() < end:
            for path in hold.iterdir():
                found = re.search(rb"Token: (\w{32})", path.read_bytes())
                if found:
                    return found[1].decode()
            time.sleep(0.01)
        raise TimeoutError(self.site.server.log())

    def released(self) -> plugin.Outcome:
        """Let the message go, and return what the plugin said in the end."""
        postsuper = needs.program("postsuper")
        subprocess.run(
            [postsuper, "-c", str(self.site.server.directory), "-H", "ALL"],
            check=True,
            capture_output=True,
        )
        self._thread.join()
        assert self.done is not None
        return self.done


def test_delayed(site: Site) -> None:
    held = Held(site, "--mailbox", site.boxes.url(), "-t", "2", "-w", "delivery=0.5")
    held.token()
    time.sleep(1)
    done = held.released()
    assert site.said(done) == (1, "delivery took # s (limit 0.5 s)")
    assert 1 < done.times()["delivery"] < done.seconds
    assert site.left() == NOTHING


def put(site: Site, text: str, age: float = 0, flags: str = "", folder: str = "") -> Path:
    """Put a message into a folder that came ``age`` seconds ago; return where it is."""
    path = site.boxes.folder(folder) / "cur" / f"{time.time_ns()}.test:2,{flags}"
    path.write_text(text)
    shutil.chown(path, "dovecot", "dovecot")
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def letter(fields: dict[str, str] | None = None, body: str = "Hello", age: float = 0) -> str:
    """Return a message of that age with these fields."""
    date = formatdate(time.time() - age)
    lines = {"From": "<a@example.net>", "Date": date, "Subject": SUBJECT, **(fields or {})}
    header = "".join(f"{name}: {value}\n" for name, value in lines.items())
    # As large as a message of ours, so that POP3 looks at its header, too.
    return f"Received: from a by mail.example.org; {date}\n{header}\n{body}\n{'x' * 600}\n"


def is_one_of(path: Path, others: list[Path]) -> bool:
    """Whether a message is one of those, perhaps with other flags."""
    return any(path.name.startswith(other.name.partition(":")[0]) for other in others)


def is_there(site: Site, path: Path) -> bool:
    """Whether a message is still there."""
    return any(is_one_of(one, [path]) for name in NOTHING for one in site.boxes.messages(name))


@pytest.mark.parametrize("scheme", ["imaps", "pop3s"])
def test_look_alikes_stay(site: Site, scheme: str) -> None:
    held = Held(site, "--mailbox", site.boxes.url(scheme))
    token = held.token()
    ours = f"{TOKEN}: {token}\n{RECIPIENTS}: {mark(f'held@{DOMAIN}')}\n"
    forwarded = f"--x\nContent-Type: message/rfc822\n\n{ours}Subject: {SUBJECT}\n\nHello\n--x--"
    marked = {RECIPIENTS: mark(f"held@{DOMAIN}")}
    paths = [
        put(site, letter()),
        put(site, letter({"References": f"<{token}@client.example>"}, body=f"> {ours}")),
        put(site, letter({"Subject": f"Fwd: {TOKEN}: {token}"}, body=ours)),
        put(site, letter({"Content-Type": "multipart/mixed; boundary=x"}, body=forwarded)),
        put(site, letter({TOKEN: f"{token}0"})),
        put(site, letter({TOKEN: f"see {token}"})),
        # Another run's, which is still waited for: by its date, or by its arrival.
        put(site, letter({TOKEN: "0" * 32, **marked})),
        put(site, letter({TOKEN: "1" * 32, **marked}, age=2 * DAY)),
        put(site, letter({TOKEN: "2" * 32, **marked}), age=2 * DAY),
        # A stale one for another recipient, and an old one of somebody who quotes us.
        put(site, letter({TOKEN: "3" * 32, RECIPIENTS: mark("a@b")}, age=9 * DAY), age=9 * DAY),
        put(site, letter(body=ours, age=9 * DAY), age=9 * DAY),
    ]
    if scheme == "pop3s":
        # There is no other arrival than the one that the header tells.
        paths.pop(7).unlink()
    done = held.released()
    assert site.said(done) == (0, come(scheme))
    assert [path for path in paths if not is_there(site, path)] == []
    # Dovecot did know of them.
    known = (site.boxes.folder() / "dovecot-uidlist").read_text()
    assert [path for path in paths if path.name.partition(":")[0] not in known] == []
    assert site.left()[""] == len(paths)


@pytest.mark.parametrize("scheme", ["imaps", "pop3s"])
def test_stale_ones_go(site: Site, scheme: str) -> None:
    fields = {TOKEN: "0" * 32, RECIPIENTS: f"{mark('a@b')} {mark(USER)}"}
    path = put(site, letter(fields, age=1.1 * DAY), age=1.1 * DAY)
    other = put(site, letter(), flags="T")
    done = site.trip("monitor", "--mailbox", site.boxes.url(scheme), "-v")
    assert site.said(done) == (0, come(scheme))
    assert "leftovers deleted: 1\n" in done.stdout
    assert (is_there(site, path), is_there(site, other)) == (False, True)


def test_two_runs_at_the_same_time(site: Site) -> None:
    said: dict[str, tuple[int, str]] = {}

    def run(scheme: str) -> None:
        said[scheme] = site.said(site.trip("monitor", "--mailbox", site.boxes.url(scheme)))

    threads = [threading.Thread(target=run, args=(way,)) for way in ("imaps", "imap", "pop3s")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {way: (0, come(way)) for way in ("imaps", "imap", "pop3s")}
    assert site.left() == NOTHING


def test_two_accounts(site: Site) -> None:
    """Each has a right to the message; over LMTP each has a reply of its own."""
    done = plugin.run(
        *("-H", site.boxes.path, "-L", "--rcpt", USER, "--rcpt", OTHER, "--deliver"),
        *("--mailbox", site.boxes.url(), "--mailbox", site.boxes.url("pop3s", user=OTHER)),
        *("--ca-file", site.authority.path, "--delivery-timeout", "5", "-v"),
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
    )
    assert (done.code, done.line.partition(", ")[2]) == (
        0,
        "2 recipients accepted, delivered to INBOX and localhost after # s",
    )
    assert f"\ndelivery: seen in {USER}@localhost/INBOX, {OTHER}@localhost\n" in done.stdout
    assert (site.left(), site.boxes.messages(user=OTHER)) == (NOTHING, [])


@pytest.fixture(scope="module")
def rich(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Dovecot that says which folder is for junk."""
    certificate = authority.written(tmp_path_factory.mktemp("rich") / "certificate", "localhost")
    with (
        mailbox.running(certificate, junk="special_use = \\Junk") as boxes,
        postfix.delivering(boxes.port, virtual_alias_maps=table(ALIASES)) as server,
    ):
        yield Site(server, boxes, authority)


def test_junk_is_looked_at_without_being_asked_for(rich: Site) -> None:
    done = rich.trip("junk", "--mailbox", rich.boxes.url())
    assert rich.said(done) == (1, f"delivery: came into {USER}@localhost/Junk")
    assert rich.left() == NOTHING


@pytest.fixture(scope="module")
def poor(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Dovecot without UIDPLUS in which there is room for some messages."""
    certificate = authority.written(tmp_path_factory.mktemp("poor") / "certificate", "localhost")
    further = """\
imap_capability = IMAP4rev1 LITERAL+
mail_plugins = quota
plugin {
  quota = maildir:User quota
  quota_rule = *:messages=5
}
"""
    with (
        mailbox.running(certificate, further) as boxes,
        postfix.delivering(boxes.port) as server,
    ):
        yield Site(server, boxes, authority)


def test_without_uidplus(poor: Site) -> None:
    """Where others have mail nothing is expunged, and once they have not, nothing is left."""
    poor.clear()
    where = ("--mailbox", poor.boxes.url(), "-v")
    assert poor.said(poor.trip("monitor", *where)) == (0, COME)
    assert poor.left() == NOTHING
    others = [put(poor, letter(), flags="T"), put(poor, letter())]
    for number in (1, 2):
        done = poor.trip("monitor", *where)
        assert poor.said(done) == (0, COME)
        assert (
            f"\ndelivery: {USER}@localhost/INBOX: only flagged as deleted: there are other "
            "messages, and without UIDPLUS the server might delete some of them as well\n"
        ) in done.stdout
        assert [is_there(poor, other) for other in others] == [True, True]
        assert poor.left()[""] == 2 + number
    for path in poor.boxes.messages():
        if not path.name.endswith("T") or is_one_of(path, others):
            path.unlink()
    assert poor.left()[""] == 2
    done = poor.trip("monitor", *where)
    assert (poor.said(done), poor.left()) == ((0, COME), NOTHING)
    assert "only flagged" not in done.stdout


def test_over_quota(poor: Site) -> None:
    poor.clear()
    for _ in range(6):
        put(poor, letter())
    (poor.boxes.folder() / "maildirsize").unlink(missing_ok=True)
    done = poor.trip("monitor", "-f", USER, "--mailbox", poor.boxes.url(), seconds=1)
    code, line = poor.said(done)
    assert (code, line.partition(", ")[0]) == (
        2,
        f"delivery: not in {USER}@localhost/INBOX within 1 s",
    )
    assert "552 5.2.2" in poor.server.log()
    done = plugin.run(
        *("-H", poor.boxes.path, "-L", "--rcpt", USER, "--deliver"),
        *("--mailbox", poor.boxes.url(), "--ca-file", poor.authority.path),
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
    )
    said = done.line.partition(f"{poor.boxes.path} ")[2]
    assert (done.code, said) == (
        2,
        f"data: {USER}: 552 5.2.2 ({USER}) Quota exceeded (mailbox for user is full) (after # s), "
        "cause: mailbox full",
    )
    assert poor.left() == {"": 6, "Junk": 0}
