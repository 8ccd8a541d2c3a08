"""Real servers that refuse for a reason: the plugin names it, in a line that is compared whole."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import needs, plugin
from tests.servers import dovecot_lmtp, exim, opensmtpd, postfix
from tests.servers.authority import Authority
from tests.servers.loopback import free_port, is_listening
from tests.servers.network import private
from tests.servers.process import started
from tests.servers.system_resolver import NameServer, address

KNOWN = "monitor@example.org"
FOREIGN = "someone@other.example"

STRANGER = {
    "mynetworks": "192.0.2.0/24",
    "smtpd_client_event_limit_exceptions": "",
    "smtpd_relay_restrictions": "defer_unauth_destination",
}
"""We are nobody to the server."""


def asked(port: int, *arguments: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """Return exit code and status line, without the target."""
    done = plugin.run("-H", host, "-p", str(port), "-F", "client.example", *arguments)
    assert done.stderr == ""
    return done.code, done.line.replace(f"{host}:{port} ", "")


RECIPIENT = ("-f", "me@example.net", "--rcpt", KNOWN)


@pytest.mark.parametrize(
    ("settings", "arguments", "code", "line"),
    [
        pytest.param(
            {"queue_minfree": "4000000000000000"},
            ("-f", "me@example.net"),
            2,
            "CRITICAL - mail: 452 4.3.1 Insufficient system storage (after # s), cause: disk full",
            id="queue_minfree",
        ),
        pytest.param(
            {"message_size_limit": "1000"},
            ("-f", "me@example.net", "--size", "2000"),
            2,
            "CRITICAL - mail: 552 5.3.4 Message size exceeds fixed limit (after # s), "
            "cause: message too big, also mail: the server announces at most 1000 bytes",
            id="message_size_limit",
        ),
        pytest.param(
            {},
            ("-f", "me@example.net", "--rcpt", FOREIGN),
            2,
            f"CRITICAL - rcpt: {FOREIGN}: 454 4.7.1 ({FOREIGN}): Relay access denied (after # s), "
            "cause: relay denied",
            id="a domain that is no longer ours",
        ),
        pytest.param(
            {"local_recipient_maps": "inline:{{somebody@example.org=yes}}"},
            RECIPIENT,
            2,
            f"CRITICAL - rcpt: {KNOWN}: 550 5.1.1 ({KNOWN}): Recipient address rejected: User "
            "unknown in local recipient table (after # s), cause: unknown recipient",
            id="unknown recipient",
        ),
        pytest.param(
            {"smtpd_client_restrictions": "reject_unknown_client_hostname"},
            RECIPIENT,
            1,
            f"WARNING - rcpt: {KNOWN}: 450 4.7.25 Client host rejected: cannot find your hostname, "
            "(127.0.0.1) (after # s), cause: no reverse dns",
            id="reject_unknown_client_hostname",
        ),
        pytest.param(
            {"smtpd_helo_restrictions": "check_helo_access static:REJECT"},
            RECIPIENT,
            2,
            f"CRITICAL - rcpt: {KNOWN} (we said HELO client.example, try -F): 554 5.7.1 "
            "(client.example): Helo command rejected: Access denied (after # s), cause: helo "
            "rejected",
            id="check_helo_access",
        ),
        pytest.param(
            {"smtpd_sender_restrictions": "check_sender_access static:REJECT"},
            RECIPIENT,
            2,
            f"CRITICAL - rcpt: {KNOWN}: 554 5.7.1 (me@example.net): Sender address rejected: "
            "Access denied (after # s), cause: sender rejected",
            id="check_sender_access",
        ),
    ],
)
def test_postfix(
    settings: dict[str, str], arguments: tuple[str, ...], code: int, line: str
) -> None:
    with postfix.running(**{**STRANGER, **settings}) as server:
        assert asked(server.port, *arguments) == (code, f"SMTP {line}")


def test_postfix_limits_the_rate_of_messages() -> None:
    with postfix.running(**STRANGER, smtpd_client_message_rate_limit="1") as server:
        first = asked(server.port, "-f", "me@example.net")
        second = asked(server.port, "-f", "me@example.net")
    assert (first[0], second) == (
        0,
        (
            1,
            "SMTP WARNING - mail: 450 4.7.1 Error: too much mail from 127.0.0.1 (after # s), "
            "cause: rate limited",
        ),
    )


def test_postfix_limits_the_rate_of_connections() -> None:
    with postfix.running(**STRANGER, smtpd_client_connection_rate_limit="1") as server:
        first, (code, line) = asked(server.port), asked(server.port)
    assert (first[0], code) == (0, 1)
    assert line == (
        "SMTP WARNING - banner: 421 4.7.0 mail.example.org Error: too many connections from "
        "127.0.0.1 (after # s), cause: too many connections"
    )


def test_postfix_insists_on_tls(tmp_path: Path) -> None:
    certificate = Authority.made(tmp_path, "CA").written(tmp_path / "mx.pem", "mail.example.org")
    with postfix.running(
        **STRANGER, smtpd_tls_security_level="encrypt", smtpd_tls_chain_files=certificate
    ) as server:
        assert asked(server.port, *RECIPIENT) == (
            2,
            "SMTP CRITICAL - mail: 530 5.7.0 Must issue a STARTTLS command first (after # s), "
            "cause: tls required",
        )


def test_postfix_asks_a_blocklist(tmp_path: Path) -> None:
    """Whoever asks for whatever, the resolver says 127.0.0.2: we are listed."""
    resolver = NameServer(address("127.0.0.2"), address="127.0.0.61")
    prefix = private(tmp_path, resolver="127.0.0.61")
    settings = {"smtpd_client_restrictions": "reject_rbl_client zen.test"}
    with (
        resolver.running([]),
        postfix.running(postfix.SERVICES, 0, prefix, **{**STRANGER, **settings}) as server,
    ):
        code, line = asked(server.port, *RECIPIENT, "-v")
    assert (code, line) == (
        2,
        f"SMTP CRITICAL - rcpt: {KNOWN}: 554 5.7.1 Service unavailable; Client host (127.0.0.1) "
        "blocked using zen.test (after # s), cause: blocklisted by zen.test",
    )


@contextmanager
def postgrey() -> Iterator[int]:
    """Run a postgrey that lets mail in after a minute; yield its port."""
    program = needs.program("postgrey")
    needs.root()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="postgrey-") as name:
        Path(name).chmod(0o777)
        command = [program, f"--inet=127.0.0.1:{port}", f"--dbdir={name}", "--delay=60"]
        with started(command, Path(name, "output"), lambda: is_listening(port)):
            yield port


def greylisting(port: int) -> dict[str, str]:
    """Return the settings of a Postfix that asks postgrey."""
    return {
        **STRANGER,
        "smtpd_recipient_restrictions": f"check_policy_service inet:127.0.0.1:{port}",
    }


@pytest.mark.parametrize(
    ("option", "code", "state"),
    [((), 1, "WARNING"), (("--state", "greylisted=ok"), 0, "OK")],
)
def test_postgrey(option: tuple[str, ...], code: int, state: str) -> None:
    with postgrey() as port, postfix.running(**greylisting(port)) as server:
        assert asked(server.port, *RECIPIENT, *option) == (
            code,
            f"SMTP {state} - rcpt: {KNOWN}: 450 4.2.0 ({KNOWN}): Recipient address rejected: "
            "Greylisted, see http://postgrey.schweikert.ch/help/example.org.html (after # s), "
            "cause: greylisted",
        )


def test_dovecot_over_quota() -> None:
    quota = "mail_plugins = quota\nplugin {\n quota = count:User\n quota_vsizes = yes\n"
    more = f"{quota} quota_rule = *:bytes=10B\n}}\n"
    with dovecot_lmtp.running(more) as server:
        code, line = asked(server.port, "--lmtp", "--rcpt", dovecot_lmtp.USER, "--deliver")
    assert (code, line) == (
        2,
        f"SMTP CRITICAL - data: {KNOWN}: 552 5.2.2 ({KNOWN}) Quota exceeded (mailbox for user is "
        "full) (after # s), cause: mailbox full",
    )


def test_exim_without_room(tmp_path: Path) -> None:
    certificate = Authority.made(tmp_path, "CA").written(tmp_path / "mx.pem", "mail.example.org")
    with exim.running("x", certificate, more="\ncheck_spool_space = 1000000000000M") as server:
        assert asked(server.port, "-f", "me@example.net") == (
            2,
            "SMTP CRITICAL - mail: 452 Space shortage, please try later (after # s), "
            "cause: disk full",
        )


def test_opensmtpd_does_not_say_whether_it_is_the_recipient_or_relaying() -> None:
    with opensmtpd.running(KNOWN) as server:
        assert asked(server.port, "--rcpt", FOREIGN) == (
            2,
            f"SMTP CRITICAL - rcpt: {FOREIGN}: 550 Invalid recipient: ({FOREIGN}) (after # s)",
        )


def test_a_server_that_is_down() -> None:
    with postfix.running() as server:
        port = server.port
    assert asked(port) == (
        2,
        "SMTP CRITICAL - connect: connection refused (after # s), cause: refused",
    )


def test_what_is_asked_stays_asked() -> None:
    """Who puts up with a refusal still has TLS seen, or is told that it was not."""
    with postfix.running(**STRANGER, smtpd_client_connection_rate_limit="1") as server:
        tolerated = ("--state", "too-many-connections=ok")
        asked(server.port)
        plain, tls = asked(server.port, *tolerated), asked(server.port, "-S", *tolerated)
    assert (plain[0], tls[0]) == (0, 1)
