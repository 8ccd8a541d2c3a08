"""Real servers asked whether they would take a message: what the plugin says, what they log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import needs, plugin
from tests.servers import dovecot_lmtp, exim, opensmtpd, postfix
from tests.servers.authority import Authority
from tests.servers.dovecot_lmtp import Dovecot
from tests.servers.exim import Exim
from tests.servers.loopback import has_ipv6
from tests.servers.opensmtpd import OpenSmtpd
from tests.servers.postfix import Postfix

KNOWN = "monitor@example.org"
UNKNOWN = "nobody@example.org"
FOREIGN = "someone@other.example"
GREY = "grey@example.org"

STRICT = {
    "mynetworks": "192.0.2.0/24",
    "local_recipient_maps": f"inline:{{{{{KNOWN}=yes}}}}",
    "smtpd_relay_restrictions": "reject_unauth_destination",
}
"""One known recipient, and no client that may send elsewhere."""

HEALTHY = "answered in # s (slowest: # # s)"

CLIENT = "unknown[127.0.0.1]"


def answer(
    server: Postfix | OpenSmtpd | Dovecot | Exim, *arguments: str, host: str = "127.0.0.1"
) -> tuple[int, str, list[str]]:
    """Return exit code, status line without target, and the stages that have a time."""
    port = () if host.startswith("/") else ("-p", str(server.port))
    outcome = plugin.run("-H", host, *port, "-F", "client.example", *arguments)
    assert outcome.stderr == ""
    line = outcome.line
    where = f"{host}:{server.port}" if port else host
    return outcome.code, line.replace(f" - {where}", ""), [*outcome.times()]


def stages(*further: str) -> list[str]:
    """Return the labels of a session that had these stages, too."""
    return ["time", "connect", "banner", "helo", *further, "quit"]


def session(server: Postfix) -> list[str]:
    """Return what smtpd logged between connect and disconnect, and the counts of the latter.

    Queue ids are ``#``. There must be nothing left in the queue.
    """
    connected, *between, disconnected = server.sessions()
    assert connected == f"connect from {CLIENT}"
    began = f"disconnect from {CLIENT} "
    assert disconnected.startswith(began)
    _wait_until_empty(server)
    lines = [re.sub(r"^[0-9A-F]{6,}:", "#:", line) for line in between]
    return [*lines, disconnected[len(began) :]]


def _wait_until_empty(server: Postfix) -> None:
    """Wait for cleanup, which takes back what was begun a moment after smtpd has let go."""
    end = time.monotonic() + 5
    while server.queue() and time.monotonic() < end:
        time.sleep(0.005)
    assert server.queue() == []


BEGUN = f"#: client={CLIENT}"
"""What smtpd logs as soon as a recipient is accepted."""


def rejected(
    what: str, sender: str = "", recipient: str = "", begun: str = "NOQUEUE", protocol: str = "SMTP"
) -> str:
    """Return what smtpd logs of a refusal."""
    to = f" to=<{recipient}>" if recipient else ""
    words = f"from=<{sender}>{to} proto={protocol} helo=<client.example>"
    verb = "RCPT" if recipient else "MAIL"
    return f"{begun}: reject: {verb} from {CLIENT}: {what}; {words}"


@pytest.mark.parametrize(
    ("arguments", "sender"),
    [((), ""), (("-f", ""), ""), (("-f", "<me@example.net>"), "me@example.net")],
)
def test_known_recipient(arguments: tuple[str, ...], sender: str) -> None:
    with postfix.running(**STRICT) as server:
        assert answer(server, *arguments, "--rcpt", KNOWN) == (
            0,
            f"SMTP OK {HEALTHY}, 1 recipient accepted",
            stages("mail", "rcpt"),
        )
        assert session(server) == [BEGUN, "helo=1 mail=1 rcpt=1 rset=1 quit=1 commands=5"]


def test_sender_only() -> None:
    with postfix.running(**STRICT) as server:
        assert answer(server, "-f", "me@example.net") == (
            0,
            f"SMTP OK {HEALTHY}",
            stages("mail"),
        )
        assert session(server) == ["helo=1 mail=1 rset=1 quit=1 commands=4"]


def test_unknown_recipient() -> None:
    with postfix.running(**STRICT) as server:
        assert answer(server, "--rcpt", UNKNOWN) == (
            2,
            f"SMTP CRITICAL rcpt: {UNKNOWN}: 550 5.1.1 ({UNKNOWN}): Recipient address "
            "rejected: User unknown in local recipient table (after # s), cause: unknown recipient",
            stages("mail"),
        )
        what = f"550 5.1.1 <{UNKNOWN}>: Recipient address rejected: User unknown in local "
        assert session(server) == [
            rejected(f"{what}recipient table", recipient=UNKNOWN),
            "helo=1 mail=1 rcpt=0/1 rset=1 quit=1 commands=4/5",
        ]


def test_every_recipient_is_asked_for() -> None:
    with postfix.running(**STRICT) as server:
        code, line, _ = answer(server, "--rcpt", UNKNOWN, "--rcpt", KNOWN, "--no-relay", FOREIGN)
        assert (code, line.count("550 5.1.1"), line.count("554")) == (2, 1, 0)
        *_, counts = session(server)
    assert counts == "helo=1 mail=1 rcpt=1/3 rset=1 quit=1 commands=5/7"


def test_no_open_relay() -> None:
    with postfix.running(**STRICT) as server:
        assert answer(server, "--no-relay", FOREIGN) == (
            0,
            f"SMTP OK {HEALTHY}, relaying refused",
            stages("mail", "relay"),
        )
        assert session(server) == [
            rejected(f"554 5.7.1 <{FOREIGN}>: Relay access denied", recipient=FOREIGN),
            "helo=1 mail=1 rcpt=0/1 rset=1 quit=1 commands=4/5",
        ]


def test_relay_refused_for_now() -> None:
    # Postfix's own default, so that nobody loses mail by a mistake in the configuration.
    with postfix.running(
        **{**STRICT, "smtpd_relay_restrictions": "permit_mynetworks, defer_unauth_destination"}
    ) as server:
        assert answer(server, "--no-relay", FOREIGN) == (
            0,
            f"SMTP OK {HEALTHY}, relaying refused",
            stages("mail", "relay"),
        )
        assert session(server) == [
            rejected(f"454 4.7.1 <{FOREIGN}>: Relay access denied", recipient=FOREIGN),
            "helo=1 mail=1 rcpt=0/1 rset=1 quit=1 commands=4/5",
        ]


def test_open_relay() -> None:
    # Postfix insists on some rule that keeps relaying in bounds, be it never reached.
    settings = {**STRICT, "smtpd_relay_restrictions": "check_client_access static:OK, reject"}
    with postfix.running(**settings) as server:
        assert answer(server, "--rcpt", KNOWN, "--no-relay", FOREIGN) == (
            2,
            f"SMTP CRITICAL relay: accepts {FOREIGN}, an open relay: 250 2.1.5 Ok (after # s)",
            stages("mail", "rcpt"),
        )
        assert session(server) == [BEGUN, "helo=1 mail=1 rcpt=2 rset=1 quit=1 commands=6"]


def test_our_network_may_relay() -> None:
    # What makes the plugin call a server open is that it asks from a network that may send.
    restrictions = "permit_mynetworks, reject_unauth_destination"
    settings = {"mynetworks": "127.0.0.0/8", "smtpd_relay_restrictions": restrictions}
    with postfix.running(**{**STRICT, **settings}) as server:
        code, line, _ = answer(server, "--no-relay", FOREIGN)
        assert (code, line) == (
            2,
            f"SMTP CRITICAL relay: accepts {FOREIGN}, an open relay: 250 2.1.5 Ok (after # s)",
        )
        assert session(server) == [BEGUN, "helo=1 mail=1 rcpt=1 rset=1 quit=1 commands=5"]


@pytest.mark.parametrize(
    ("arguments", "code", "state"),
    [((), 1, "WARNING"), (("--tempfail", "ok"), 0, "OK"), (("--tempfail", "2"), 2, "CRITICAL")],
)
def test_greylisting(arguments: tuple[str, ...], code: int, state: str) -> None:
    access = f"check_recipient_access inline:{{{{{KNOWN}=450 4.2.0 Greylisted}}}}"
    with postfix.running(**STRICT, smtpd_recipient_restrictions=access) as server:
        assert answer(server, "--rcpt", KNOWN, *arguments) == (
            code,
            f"SMTP {state} rcpt: {KNOWN}: 450 4.2.0 ({KNOWN}): Recipient address rejected: "
            "Greylisted (after # s), cause: greylisted",
            stages("mail"),
        )
        assert session(server) == [
            rejected(
                f"450 4.2.0 <{KNOWN}>: Recipient address rejected: Greylisted", recipient=KNOWN
            ),
            "helo=1 mail=1 rcpt=0/1 rset=1 quit=1 commands=4/5",
        ]


@pytest.mark.parametrize("size", ["0", "1000", "20000"])
def test_room_for_a_message(size: str) -> None:
    with postfix.running(**STRICT, message_size_limit="20000") as server:
        assert answer(server, "--size", size, "--rcpt", KNOWN) == (
            0,
            f"SMTP OK {HEALTHY}, 1 recipient accepted",
            stages("mail", "rcpt"),
        )
        assert session(server) == [BEGUN, "ehlo=1 mail=1 rcpt=1 rset=1 quit=1 commands=5"]


def test_too_large_a_message() -> None:
    with postfix.running(**STRICT, message_size_limit="20000") as server:
        assert answer(server, "--size", "20001", "--rcpt", KNOWN) == (
            2,
            "SMTP CRITICAL mail: 552 5.3.4 Message size exceeds fixed limit (after # s), "
            "cause: message too big, also mail: the server announces at most 20000 bytes",
            stages(),
        )
        assert session(server) == [
            rejected("552 5.3.4 Message size exceeds fixed limit", protocol="ESMTP"),
            "ehlo=1 mail=0/1 quit=1 commands=2/3",
        ]


def test_full_disk() -> None:
    with postfix.running(**STRICT, queue_minfree=str(1 << 60), notify_classes="") as server:
        code, line, labels = answer(server, "--size", "1000")
        assert (code, line, labels) == (
            2,
            "SMTP CRITICAL mail: 452 4.3.1 Insufficient system storage (after # s), "
            "cause: disk full",
            stages(),
        )
        *_, counts = session(server)
    assert counts == "ehlo=1 mail=0/1 quit=1 commands=2/3"


def test_sender_refused() -> None:
    access = "check_sender_access inline:{{bad.example=550 5.7.1 Not from there}}"
    settings = {**STRICT, "smtpd_delay_reject": "no", "smtpd_sender_restrictions": access}
    what = "Sender address rejected: Not from there"
    with postfix.running(**settings) as server:
        assert answer(server, "-f", "me@bad.example", "--rcpt", KNOWN) == (
            2,
            f"SMTP CRITICAL mail: 550 5.7.1 (me@bad.example): {what} (after # s), "
            "cause: sender rejected",
            stages(),
        )
        assert session(server) == [
            rejected(f"550 5.7.1 <me@bad.example>: {what}", "me@bad.example"),
            "helo=1 mail=0/1 quit=1 commands=2/3",
        ]


def test_commands() -> None:
    with postfix.running(**STRICT) as server:
        asked = ("-C", f"VRFY {KNOWN}", "-R", "252 2.0.0", "-C", "NOOP", "-C", "HELP me")
        code, line, labels = answer(server, "--rcpt", KNOWN, *asked)
        assert (code, line, labels) == (
            2,
            "SMTP CRITICAL command: HELP me: 500 5.5.2 Error: command not recognized (after # s)",
            stages("mail", "rcpt"),
        )
        *_, counts = session(server)
    assert counts == "helo=1 mail=1 rcpt=1 rset=1 noop=1 vrfy=1 quit=1 unknown=0/1 commands=7/8"


@pytest.mark.parametrize("version", [("-r",), ("--proxy", "v1"), ("-r", "v2")], ids="-".join)
@pytest.mark.parametrize("source", ["127.0.0.9", "::1"])
def test_proxy_protocol(version: tuple[str, ...], source: str) -> None:
    if ":" in source and not has_ipv6():
        needs.leave_out("needs IPv6")
    host = "::1" if ":" in source else "127.0.0.1"
    with postfix.running(**STRICT, smtpd_upstream_proxy_protocol="haproxy") as server:
        arguments = (*version, "--source", source, "--rcpt", KNOWN)
        code, line, labels = answer(server, *arguments, host=host)
        assert (code, labels) == (0, stages("mail", "rcpt")), line
        connected, begun, disconnected = server.sessions()
    assert [connected, re.sub("^[0-9A-F]+", "#", begun), disconnected] == [
        f"connect from unknown[{source}]",
        f"#: client=unknown[{source}]",
        f"disconnect from unknown[{source}] helo=1 mail=1 rcpt=1 rset=1 quit=1 commands=5",
    ]


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("way", ["--ssl", "-S"])
def test_proxy_protocol_comes_before_tls(version: str, way: str, tmp_path: Path) -> None:
    authority = Authority.made(tmp_path, "Private CA")
    settings = {
        "smtpd_tls_cert_file": authority.written(tmp_path / "certificate", postfix.NAME),
        "smtpd_tls_security_level": "may",
        "smtpd_tls_wrappermode": "yes" if way == "--ssl" else "no",
        "smtpd_upstream_proxy_protocol": "haproxy",
    }
    with postfix.running(**STRICT, **settings) as server:
        code, line, _ = answer(
            *(server, "-r", version, way, "--ca-file", authority.path, "--sni", postfix.NAME),
            *("--source", "127.0.0.9", "--no-relay", FOREIGN),
        )
        assert code == 0, line
        connected, _, disconnected = server.sessions()
    greetings = "ehlo=2 starttls=1" if way == "-S" else "helo=1"
    total = "6/7" if way == "-S" else "4/5"
    client = "unknown[127.0.0.9]"
    assert [connected, disconnected] == [
        f"connect from {client}",
        f"disconnect from {client} {greetings} mail=1 rcpt=0/1 rset=1 quit=1 commands={total}",
    ]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_proxy_protocol_that_nobody_wants(version: str) -> None:
    with postfix.running(**STRICT) as server:
        code, line, _ = answer(server, "-r", version)
    # Postfix takes it for a command, and refuses it before or after ours.
    assert code == 2
    assert "the server answered the PROXY header, so it expects none, leave out -r: '500 5" in line


def test_proxy_protocol_that_is_missing() -> None:
    with postfix.running(**STRICT, smtpd_upstream_proxy_protocol="haproxy") as server:
        code, line, labels = answer(server, "-t", "0.5")
    assert (code, line, labels) == (
        2,
        "SMTP CRITICAL banner: no answer within 0.5 s, cause: silent",
        ["time", "connect"],
    )


def test_opensmtpd() -> None:
    with opensmtpd.running(KNOWN) as server:
        assert answer(server, "--rcpt", KNOWN, "--no-relay", FOREIGN) == (
            0,
            f"SMTP OK {HEALTHY}, 1 recipient accepted, relaying refused",
            stages("mail", "rcpt", "relay"),
        )
        assert server.session() == [
            "connected address=127.0.0.1 host=localhost",
            f'failed-command command="RCPT TO:<{FOREIGN}>" result="550 Invalid recipient: '
            f'<{FOREIGN}>"',
            "disconnected reason=quit",
        ]


def test_opensmtpd_unknown_recipient() -> None:
    with opensmtpd.running(KNOWN) as server:
        what = "524 5.2.4 Mailing list expansion problem: "
        assert answer(server, "--rcpt", UNKNOWN) == (
            2,
            f"SMTP CRITICAL rcpt: {UNKNOWN}: {what}({UNKNOWN}) (after # s)",
            stages("mail"),
        )
        assert server.session() == [
            "connected address=127.0.0.1 host=localhost",
            f'failed-command command="RCPT TO:<{UNKNOWN}>" result="{what}<{UNKNOWN}>"',
            "disconnected reason=quit",
        ]


def test_opensmtpd_open_relay() -> None:
    with opensmtpd.running(KNOWN, 'match from any for any action "relay"') as server:
        assert answer(server, "-f", "me@example.net", "--no-relay", FOREIGN) == (
            2,
            f"SMTP CRITICAL relay: accepts {FOREIGN}, an open relay: 250 2.1.5 Destination "
            "address valid: Recipient ok (after # s)",
            stages("mail"),
        )
        assert server.session() == [
            "connected address=127.0.0.1 host=localhost",
            "disconnected reason=quit",
        ]


@pytest.mark.parametrize("way", ["TCP", "Unix socket"])
def test_lmtp(way: str) -> None:
    with dovecot_lmtp.running() as server:
        host = "127.0.0.1" if way == "TCP" else server.path
        assert answer(server, "-L", "--rcpt", dovecot_lmtp.USER, host=host) == (
            0,
            f"SMTP OK {HEALTHY}, 1 recipient accepted",
            stages("mail", "rcpt"),
        )
        assert answer(server, "--lmtp", "--rcpt", UNKNOWN, host=host) == (
            2,
            f"SMTP CRITICAL rcpt: {UNKNOWN}: 550 5.1.1 ({UNKNOWN}) User doesn't exist: "
            f"{UNKNOWN} (after # s), cause: unknown recipient",
            stages("mail"),
        )
        client = "127.0.0.1" if way == "TCP" else "local"
        assert (
            server.sessions(2)
            == [
                f"Connect from {client}",
                f"Disconnect from {client}: Logged out (state=READY)",
            ]
            * 2
        )


ACL = """\
acl_smtp_rcpt = rcpt
message_size_limit = 20000

begin acl

rcpt:
  accept domains = example.org
         local_parts = monitor
  defer domains = example.org
         local_parts = grey
         message = Try again later
  deny message = relay not permitted

begin authenticators
"""

EXIM_CLIENT = "(client.example) [127.0.0.1]"


@pytest.fixture
def exim_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exim]:
    """An Exim with one known recipient, one that it knows too little of, and no relaying."""
    configuration = exim.CONFIGURATION.replace("begin authenticators\n", ACL)
    monkeypatch.setattr(exim, "CONFIGURATION", configuration)
    certificate = Authority.made(tmp_path, "Private CA").written(tmp_path / "certificate")
    with exim.running("secret", certificate) as server:
        yield server


@pytest.mark.parametrize(
    ("arguments", "code", "said", "logged"),
    [
        (
            ("--rcpt", KNOWN, "--no-relay", FOREIGN),
            0,
            f"OK {HEALTHY}, 1 recipient accepted, relaying refused",
            [f"H={EXIM_CLIENT} F=<> rejected RCPT <{FOREIGN}>: relay not permitted"],
        ),
        (
            ("--rcpt", FOREIGN),
            2,
            f"CRITICAL rcpt: {FOREIGN}: 550 relay not permitted (after # s), cause: relay denied",
            [f"H={EXIM_CLIENT} F=<> rejected RCPT <{FOREIGN}>: relay not permitted"],
        ),
        (
            ("--rcpt", GREY),
            1,
            f"WARNING rcpt: {GREY}: 451 Try again later (after # s)",
            [f"H={EXIM_CLIENT} F=<> temporarily rejected RCPT <{GREY}>: Try again later"],
        ),
        (
            ("--no-relay", KNOWN),
            2,
            f"CRITICAL relay: accepts {KNOWN}, an open relay: 250 Accepted (after # s)",
            [],
        ),
        (
            ("--size", "20001", "--rcpt", KNOWN),
            2,
            "CRITICAL mail: 552 Message size exceeds maximum permitted (after # s), "
            "cause: message too big, also mail: the server announces at most 20000 bytes",
            [f"rejected MAIL FROM:<> H={EXIM_CLIENT}: message too big: size=20001 max=20000"],
        ),
    ],
)
def test_exim(
    exim_server: Exim, arguments: tuple[str, ...], code: int, said: str, logged: list[str]
) -> None:
    assert answer(exim_server, *arguments)[:2] == (code, f"SMTP {said}")
    end = time.monotonic() + 5
    while "closed by QUIT" not in exim_server.log() and time.monotonic() < end:
        time.sleep(0.005)
    lines = [line[len("2000-01-01 00:00:00 ") :] for line in exim_server.log().splitlines()]
    assert lines[2:] == [*logged, f"SMTP connection from {EXIM_CLIENT} closed by QUIT"]
