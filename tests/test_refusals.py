"""A refusal proves what it is about: relaying, unknown users, or something else altogether."""

from __future__ import annotations

import pytest

from check_smtp_health.smtp.refusal import ROWS, about
from check_smtp_health.smtp.session import ReplyParser
from check_smtp_health.stages.transaction import UNPROVEN
from tests import plugin
from tests.plugin import check
from tests.servers.authority import Authority
from tests.servers.catalogue import BANNER, EHLO, HELO, QUIT
from tests.servers.scripted import Expect, Handshake, ScriptedServer, Sleep, Step

OK = b"250 2.0.0 ok\r\n"
RSET = (Expect(b"RSET\r\n"), OK)
NULL = (Sleep(0.05), BANNER, *HELO, Expect(b"MAIL FROM:<>\r\n"), OK)
HEALTHY = "SMTP OK - answered in # s (slowest: # # s)"
MAILED = "time connect banner helo mail"

HOME, ABROAD = "monitor@example.org", "b@example.net"

ABOUT = {
    "relaying": (
        "550 5.7.1 Relay access denied, domain has null MX",
        "550 Access denied. Response: relaying denied",
        "550 5.7.1 Sender and recipient are both non-local",
        "550 relay to b@example.net from sender not permitted",
        "550 This server is not an open relay",
        "550 5.7.1 You are not permitted to relay through this server",
        "554 5.7.1 <b@example.net>: Relay access denied",
        "454 4.7.1 <b@example.net>: Relay access denied",
        "454 4.7.1 <b@y>: Relay access denied",
        "550 5.7.1 <b@example.net>... Relaying denied. IP name lookup failed [192.0.2.1]",
        "550 5.7.1 Unable to relay for b@example.net",
        "550 5.7.1 Relaying denied. Proper authentication required.",
        "550 relay not permitted",
        "513 Relaying denied.",
        "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain",
        "550 5.7.64 TenantAttribution; Relay Access Denied",
        "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
        "550 5.1.2 Relay not allowed.",
        "550 We do not relay mail for strangers",
        "551 User not local; please try <b@example.net>",
        "551 no",
        "503 This mail server requires authentication when attempting to send to a non-local",
        "550 I cannot deliver mail for {b@example.net}",
        "550 no such domain at this location",
    ),
    "login": (
        "530 5.7.0 Must authenticate before issuing MAIL FROM",
        "530 5.7.0 Authentication required",
        "530 5.7.57 Log in first",
        "530 no",
        "535 5.7.8 no",
        "550 5.7.1 Client was not authenticated",
        "550 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
        "550-Please turn on SMTP Authentication in your mail client\n550 or wait",
        "550 Must authenticate",
    ),
    "recipient": (
        "550 Invalid recipient: <b@example.net>",
        "554 5.7.1 <b@example.net>: Recipient address rejected: Access denied",
    ),
    "user": (
        "550 5.1.1 user nobody in domain example.org does not exist",
        "550 5.1.1 The account nobody in this domain does not exist",
        "550 5.1.1 host mx1.example.org: mailbox does not exist",
        "550 5.1.1 The mail host reports that this user does not exist",
        "550 5.1.1 User unknown, returned to sender",
        "550 5.1.1 user unknown; rejecting from address lookup",
        "550 5.1.1 Recipient verification failed for nobody: unknown user",
        "550 5.1.1 Recipient not local: no such user here",
        "550 5.1.1 We do not accept mail for this mailbox",
        "550 5.1.1 cannot deliver mail for unknown user",
        "550 5.1.1 user unknown (relay recipients table) not found",
        "550 Sorry, I cannot accept mail for users that do not exist",
        "550 5.1.1 <b@example.net>: Recipient address rejected: User unknown in local table",
        "550 No such user here",
        "550 5.1.1 Invalid recipient",
        "550 Invalid recipient: no such mailbox",
        "550 5.1.1 no",
        "550-5.1.1 The email account that you tried to reach does not exist.\n550 5.1.1 gsmtp",
        "450 4.1.1 <b@example.net>: Recipient address rejected: undeliverable address: "
        "unknown user",
        "450 4.1.1 <b@example.net>: Recipient address rejected: undeliverable address: host "
        "mx.example.net[192.0.2.9] said: 554 5.7.1 <b@example.net>: Relay access denied "
        "(in reply to RCPT TO command)",
        "550-Callout verification failed:\n550 550 5.1.1 no",
        "550 5.4.1 Recipient address rejected: Access denied. (AS201806281)",
        "550 unrouteable address",
        "550 relay1.example.com says: user unknown",
        "550 5.1.1 <relay-not-here@example.net>: User unknown",
        "550 5.1.1 relay-denied@example.net: no such user",
    ),
    "greeting": (
        "554 5.7.1 Service unavailable; Helo command [mon.example.org] blocked using dbl.example",
        "550 5.7.1 hostname me.example does not exist",
        "550 HELO domain not allowed",
        "504 5.5.2 <mon>: Helo command rejected: need fully-qualified hostname",
        "450 4.7.1 <mon>: Helo command rejected: Host not found",
        "550-Access denied - Invalid HELO name (See RFC2821 4.1.1.1)\n550 http://www.example.com",
        "501 Syntactically invalid EHLO argument(s)",
        "550 5.5.2 <netman> is not a full name",
        "421-4.7.0 Try again later, closing connection. (EHLO)\n421 4.7.0 gsmtp",
    ),
    "blocklist": (
        "550 5.7.1 Unfortunately, messages from 192.0.2.1 weren't sent. "
        "part of their network is on our block list (S3140)",
        "554 5.7.1 Your server is listed as an open relay; relaying not possible",
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using bl.example.net",
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using relays.ordb.org",
        "550 5.7.1 Rejected, 192.0.2.1 is listed at zen.spamhaus.org",
        "550 blacklisted, see https://example.net/relaying",
    ),
    "address": (
        "554 5.7.1 You need authenticated reverse DNS",
        "550 5.7.1 Your host is an open relay and is not welcome",
        "550 5.7.1 No mail from dynamic IPs, use your ISP's relay",
        "554 5.7.1 Do not send directly, use your smart relay",
        "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied",
        "450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]",
        "550 5.7.25 The IP address has no PTR record",
        "550 5.7.1 Your IP is not welcome",
    ),
    "sender": (
        "550-Verification failed for <probe@me.example>\n550-Called:   192.0.2.9\n"
        "550-Sent:     RCPT TO:<probe@me.example>\n550-Response: 550 5.1.1 User unknown\n"
        "550 Sender verify failed",
        "550-Callback setup failed while verifying <probe@me.example>\n550-Response: 554 blocked "
        "using zen.spamhaus.org\n550 Sender verify failed",
        "550-The account or domain may not exist, they may be blacklisted, or missing the proper "
        "dns entries.\n550 Sender verify failed",
        "553 5.7.1 <a@b>: Sender address rejected: not logged in",
        "550 5.1.0 <a@b>: Sender address rejected: User unknown in virtual alias table",
        "550 5.1.7 <a@b>: Sender address rejected: undeliverable address: host mx.b[192.0.2.9] "
        "said: 550 5.1.1 User unknown",
        "554 5.7.1 Service unavailable; Sender address [a@b] blocked using dbl.example",
        "550 Domain of sender address a@b does not exist",
        "550 Sender address does not exist",
        "550 5.7.1 Sender address unknown",
        "550 5.7.1 Sender not authenticated",
        "530 5.7.1 Sender a@b requires authentication",
        "550 5.7.1 Sender domain is not accepted here",
        "553 5.7.1 MAIL FROM domain not allowed",
        "550 5.7.1 sender address is not local",
        "550 5.7.1 Your domain is not allowed to send mail here",
        "550-5.7.1 Unauthenticated email is not accepted from this domain.\n550 5.7.1 gsmtp",
        "550 5.7.1 Your account is disabled",
        "553 5.1.8 Unknown user in From",
        "550 5.1.8 Sender domain is not hosted here",
        "553 5.1.8 Sender address is not local",
        "550 5.7.1 <>: Sender address rejected: no bounces here",
        "553 5.1.8 <a@b>: Sender address rejected: Domain not found",
        "550 5.7.23 The message violated the policy of its domain",
        "550-5.7.26 Unauthenticated email from example.org is not accepted due to DMARC policy\n"
        "550 5.7.26 gsmtp",
        "550 5.7.60 SMTP; Client does not have permissions to send as this one",
    ),
    "TLS": (
        "550 5.7.1 TLS encryption required before relaying",
        "530 5.7.0 Must issue a STARTTLS command first",
        "550 5.7.10 no",
        "550 TLS required",
    ),
    "no MAIL": ("503 5.5.1 Error: need MAIL command", "503 bad sequence of commands", "503 no"),
    "null MX": (
        "521 5.2.1 Host does not accept mail",
        "556 5.1.10 <b@example.net>: Recipient address rejected: Domain example.net does not "
        "accept mail (nullMX)",
        "556 no",
        "521 Host does not accept mail",
    ),
    "domain": (
        "550 host of b@example.net does not exist",
        "550 5.1.2 <b@example.net>: Recipient address rejected: Domain not found",
    ),
    "room": (
        "452 4.2.2 mailbox unavailable: full",
        "552 5.2.2 over quota",
        "452 4.3.1 Insufficient system storage",
        "552 no",
    ),
    "not now": (
        "450 4.1.1 <b@example.net>: Recipient address rejected: unverified address: try later",
        "450 4.1.1 <b@example.net>: Recipient address rejected: unverified address: Address "
        "verification in progress",
        "450 4.1.1 <b@example.net>: Recipient address rejected: unverified address: host "
        "mx[192.0.2.9] said: 554 5.7.1 <b@example.net>: Relay access denied (in reply to RCPT TO "
        "command)",
        "451 Could not complete recipient verify callout: user unknown server unavailable",
        "450 4.7.1 mail not relayed: greylisted, come back in 300 s",
        "451 4.3.0 Relay server not available, try later",
        "452 4.3.1 relay queue full, not accepting",
        "450 4.2.1 mailbox unavailable",
        "451 4.3.0 recipient lookup unavailable",
        "450 4.1.1 user unknown, greylisted",
        "450 4.7.1 please log in, service unavailable",
        "550 5.7.1 relay denied due to greylisting",
        "450 4.7.1 <b@example.net>: Recipient address rejected: Greylisted",
        "451 4.7.1 no",
        "450 later",
        "452 4.5.3 Too many recipients",
    ),
    "content": (
        "550 5.7.1 Your message was not relayed: it looks like spam",
        "554 5.7.1 That looks like spam",
    ),
    "policy": (
        "554 5.7.1 Service unavailable; Recipient address [b@example.net] blocked using "
        "dbl.example",
        "550 Administrative prohibition",
        "550 5.7.1 Rejected by our policy",
    ),
    "command": (
        "500 5.5.2 Error: bad syntax",
        "502 what?",
        "501 5.1.3 Bad recipient address syntax",
        "502 5.5.1 EHLO not implemented",
    ),
    "": (
        "521 5.7.1 Go away",
        "550 Could not verify probe@me.example: host mx.me.example said: 550 5.1.1 User unknown",
        "554 5.7.1 no",
        "550 5.7.1 Benutzer unbekannt",
        "550 5.7.1 Postfach existiert nicht",
        "550 5.7.1 Ihre IP steht auf einer Sperrliste",
        "554 5.7.1 Zugriff verweigert, Client-Host",
        "550 5.7.1 Weiterleitung verweigert",
        "554 5.7.1 Service unavailable",
        "550 5.7.1 Access denied",
        "571 no",
        "550 no",
        "554 5.0.0 no",
        "550 5.6.1 <relay.example.org>",
    ),
}


@pytest.mark.parametrize(
    ("said", "expected"), [(said, one) for one, several in ABOUT.items() for said in several]
)
def test_what_a_refusal_is_about(said: str, expected: str) -> None:
    code, lines = said[:3], said.split("\n")
    wire = [line if line[:3] == code else f"{code} {line}" for line in lines]
    wire[:-1] = [f"{code}-{line[4:]}" for line in wire[:-1]]
    parser = ReplyParser()
    parser.feed("".join(f"{line}\r\n" for line in wire).encode())
    reply = parser.next_reply()
    assert reply is not None
    assert about(reply, "b@example.net", "example.net", "relay-denied@example.net", "y") == expected


def test_each_has_its_words() -> None:
    """Whatever a refusal is about, the status line can say it."""
    assert {row.about for row in ROWS} | {""} == UNPROVEN.keys()


def test_a_long_refusal_takes_no_time() -> None:
    parser = ReplyParser()
    parser.feed(b"".join(b"550-%s\r\n" % (b"<relay" * 330) for _ in range(30)) + b"550 no\r\n")
    reply = parser.next_reply()
    assert reply is not None
    assert about(reply) == ""


def refused(reply: str) -> tuple[Step, ...]:
    """Return a server that answers RCPT for the address abroad with that."""
    return (*NULL, Expect(f"RCPT TO:<{ABROAD}>\r\n".encode()), f"{reply}\r\n".encode())


RELAY_CAUSES = {
    "450 4.7.1 Recipient address rejected: Greylisted": ", cause: greylisted",
}
"""What the reply says of itself: why it proves nothing."""


@pytest.mark.parametrize(
    ("reply", "code", "why"),
    [
        (
            "504 5.5.2 (mon): Helo command rejected: need fully-qualified hostname",
            1,
            "refused for our HELO name (we said HELO me.example, try -F)",
        ),
        (
            "554 5.7.1 Service unavailable; Client host blocked using bl.example.net",
            1,
            "refused because our address is on a blocklist",
        ),
        ("550 5.7.1 Sender address rejected: no bounces here", 1, "refused for the sender"),
        ("503 5.5.1 Error: need MAIL command", 1, "refused because the server saw no MAIL"),
        (
            "550 5.1.1 Recipient address rejected: User unknown",
            1,
            "its domain is accepted, only this user is unknown",
        ),
        ("450 4.7.1 Recipient address rejected: Greylisted", 1, "refused for now only"),
        (
            "530 5.7.0 Must issue a STARTTLS command first",
            1,
            "refused because there was no TLS, try -S",
        ),
        ("550 no", 1, "refused without saying why"),
        ("554 5.7.1 Relay access denied", 0, ""),
        ("454 4.7.1 Relay access denied", 0, ""),
    ],
)
def test_relaying(reply: str, code: int, why: str) -> None:
    line = f"{HEALTHY}, relaying refused"
    if why:
        cause = RELAY_CAUSES.get(reply, "")
        line = f"SMTP WARNING - relay: {ABROAD} proves nothing, {why}: {reply} (after # s){cause}"
    labels = f"{MAILED} relay quit" if not code else f"{MAILED} quit"
    script = (*refused(reply), *RSET, *QUIT)
    assert check(script, "--no-relay", ABROAD) == (code, line, labels)


def test_not_now_is_up_to_tempfail() -> None:
    script = (*refused("450 4.7.1 Greylisted"), *RSET, *QUIT)
    answer = check(script, "--no-relay", ABROAD, "--tempfail", "critical")
    assert (answer.code, answer.line) == (
        2,
        f"SMTP CRITICAL - relay: {ABROAD} proves nothing, refused for now only: "
        "450 4.7.1 Greylisted (after # s), cause: greylisted",
    )


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        ("550 5.1.1 User unknown", 0, ", unknown recipient refused"),
        ("554 5.7.1 Recipient address rejected: Access denied", 0, ", unknown recipient refused"),
        ("530 5.7.0 Authentication required", 0, ", unknown recipient refused"),
        (
            "554 5.7.1 Relay access denied",
            1,
            f"relay: {ABROAD} proves nothing, refused as a relay attempt: "
            "554 5.7.1 Relay access denied (after # s)",
        ),
        (
            "250 2.1.5 fine",
            2,
            f"relay: accepts {ABROAD}, which should be unknown (its bounces go to strangers): "
            "250 2.1.5 fine (after # s)",
        ),
    ],
)
def test_unknown_recipients(reply: str, code: int, said: str) -> None:
    answer = check((*refused(reply), *RSET, *QUIT), "--no-rcpt", ABROAD)
    line = ("SMTP OK - ", "SMTP WARNING - ", "SMTP CRITICAL - ")[code] + said
    assert (answer.code, answer.line) == (code, line if code else HEALTHY + said)


def test_every_refusal_is_shown() -> None:
    unknown = (Expect(b"RCPT TO:<x@example.org>\r\n"), b"550 5.1.1 User unknown\r\n")
    script = (*refused("554 5.7.1 Relay access denied"), *unknown, *RSET, *QUIT)
    with ScriptedServer(script).running() as server:
        asked = ("--no-relay", ABROAD, "--no-rcpt", "x@example.org")
        done = plugin.run(*plugin.at(server.port), *asked, "-v")
    assert (done.code, done.stderr, server.faults) == (0, "", [])
    assert done.line.endswith("(slowest: # # s), relaying refused, unknown recipient refused")
    lines = done.stdout.splitlines()
    (row,) = [number for number, line in enumerate(lines) if line.startswith("relay ")]
    assert lines[row + 1 : row + 3] == [
        f"relay: {ABROAD}: 554 5.7.1 Relay access denied",
        "relay: x@example.org: 550 5.1.1 User unknown",
    ]


def in_tls(authority: Authority, *steps: Step) -> tuple[Step, ...]:
    """Return a server that does these steps in TLS."""
    began = (BANNER, EHLO, b"250-mx\r\n250 STARTTLS\r\n", Expect(b"STARTTLS"), b"220 go\r\n")
    extensions = b"250-mx\r\n250 AUTH GSSAPI NTLM LOGIN\r\n"
    return (*began, Handshake(authority.serving()), EHLO, extensions, *steps)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "good")


@pytest.mark.parametrize(
    ("reply", "arguments", "code", "said"),
    [
        ("530 5.7.57 Log in first", (), 0, "relaying refused: no mail at all without a login"),
        ("550 5.7.1 Authentication required", (), 0, "no mail at all without a login"),
        (
            "550 5.1.8 Sender address rejected",
            (),
            1,
            "mail: this proves nothing, refused for the sender: 550 5.1.8 Sender address rejected",
        ),
        # What is to be accepted is not.
        ("530 5.7.57 Log in first", ("--rcpt", HOME), 2, "mail: 530 5.7.57 Log in first"),
        ("530 5.7.57 Log in first", ("-f", HOME), 0, "relaying refused: no mail at all without"),
        ("421 4.7.0 bye", (), 1, "mail: 421 4.7.0 bye"),
        (
            "550 5.7.1 Access denied",
            (),
            1,
            "mail: this proves nothing, refused without saying why: 550 5.7.1 Access denied",
        ),
        (
            "550 5.7.1 Relaying denied",
            (),
            1,
            "mail: this proves nothing, refused as a relay attempt: 550 5.7.1 Relaying denied",
        ),
        ("354 go on", (), 2, "mail: 354 go on instead of 250"),
        (
            "530 5.7.0 Must issue a STARTTLS command first",
            (),
            1,
            "mail: this proves nothing, refused because there was no TLS, although TLS is in use: "
            "530 5.7.0 Must issue a STARTTLS command first",
        ),
    ],
)
def test_no_mail_without_a_login(
    authority: Authority, reply: str, arguments: tuple[str, ...], code: int, said: str
) -> None:
    end = () if reply.startswith("421") else QUIT
    script = in_tls(authority, Expect(b"MAIL FROM:"), f"{reply}\r\n".encode(), *end)
    with ScriptedServer(script).running() as server:
        tls = ("-S", "--sni", "mx.example", "--ca-file", authority.path)
        asked = ("--no-relay", "it@example.org", *arguments, "-v")
        done = plugin.run(*plugin.at(server.port), *tls, *asked)
    assert (done.code, done.stderr, server.faults) == (code, "", [])
    assert said in done.line
    if not code:
        assert f"\nmail: no mail without a login: {reply}\n" in done.stdout


@pytest.mark.parametrize(
    ("announced", "code"),
    [
        ("SIZE 10485760", 2),
        ("SIZE 20000000", 0),
        ("SIZE 0", 0),
        ("SIZE", 0),
        ("SIZE much", 0),
        ("SIZE=10485760", 2),
        ("SIZE 99999999999999999999999", 0),
    ],
)
def test_announced_size(announced: str, code: int) -> None:
    offer = f"250-mx.example\r\n250 {announced}\r\n".encode()
    mail = Expect(f"MAIL FROM:<{HOME}> SIZE=20000000\r\n".encode())
    script = (Sleep(0.05), BANNER, EHLO, offer, mail, OK, *RSET, *QUIT)
    answer = check(script, "-f", HOME, "--size", "20000000")
    few = "SMTP CRITICAL - mail: the server announces at most 10485760 bytes"
    assert (answer.code, answer.line) == (code, few if code else HEALTHY)


def test_who_is_unknown_at_mail_is_the_sender() -> None:
    """No recipient has been named yet."""
    script = (
        *(Sleep(0.05), BANNER, *HELO, Expect(f"MAIL FROM:<{HOME}>\r\n".encode())),
        *(b"550 5.1.0 Address rejected: User unknown in local table\r\n", *QUIT),
    )
    assert check(script, "-f", HOME, "--no-relay", ABROAD) == (
        1,
        "SMTP WARNING - mail: this proves nothing, refused for the sender: "
        "550 5.1.0 Address rejected: User unknown in local table (after # s)",
        "time connect banner helo quit",
    )
