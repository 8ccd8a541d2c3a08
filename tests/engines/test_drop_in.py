"""The Icinga Template Library's own ``smtp`` command runs the plugin instead of check_smtp."""

from __future__ import annotations

import re
from pathlib import Path

from tests.engines.icinga import NODE, Icinga, Result, checked, result
from tests.plugin import SCRIPT
from tests.servers.authority import Authority
from tests.servers.loopback import has_ipv6
from tests.servers.scripted import Expect, Handshake, ScriptedServer

SERVICES = """
include <itl>
include <plugins>

object Host "mail" {
	check_command = "dummy"
	address = "127.0.0.1"
	address6 = "::1"
}

template Service "any" {
	host_name = "mail"
	check_command = "smtp"
	check_interval = 1s
}

object Service "everything" {
	import "any"
	vars.smtp_port = ServerPort
	vars.smtp_mail_from = "me@example.org"
	vars.smtp_expect = "220 mail"
	vars.smtp_command = [ "VRFY me", "NOOP" ]
	vars.smtp_response = [ "252", "250 2.0.0" ]
	vars.smtp_helo_fqdn = "probe.example"
	vars.smtp_certificate_age = "14,7"
	vars.smtp_starttls = true
	vars.smtp_authtype = "LOGIN"
	vars.smtp_authuser = "monitor"
	vars.smtp_authpass = "s3cret"
	vars.smtp_ignore_quit = true
	vars.smtp_warning = "5"
	vars.smtp_critical = 7.5
	vars.smtp_timeout = 9
	vars.smtp_ipv4 = true
	vars.smtp_ipv6 = false
}

object Service "over-ipv6" {
	import "any"
	vars.smtp_port = OtherPort
	vars.smtp_helo_fqdn = "probe.example"
	vars.smtp_command = "VRFY me"
	vars.smtp_response = "Okay"
	vars.smtp_ignore_quit = false
	vars.smtp_ipv6 = true
}
"""

EHLO = (
    Expect(b"EHLO probe.example"),
    b"250-mail.example.org\r\n250-STARTTLS\r\n250 AUTH LOGIN\r\n",
)
QUIT = (Expect(b"QUIT"), b"221 2.0.0 Bye\r\n")


def everything(authority: Authority) -> ScriptedServer:
    """Return a server that has it all."""
    return ScriptedServer(
        (
            *(b"220 mail.example.org ESMTP\r\n", *EHLO),
            *(Expect(b"STARTTLS"), b"220 2.0.0 Ready\r\n"),
            *(Handshake(authority.serving("127.0.0.1")), *EHLO),
            *(Expect(b"AUTH LOGIN"), b"334 VXNlcm5hbWU6\r\n"),
            *(Expect(b"bW9uaXRvcg=="), b"334 UGFzc3dvcmQ6\r\n"),
            *(Expect(b"czNjcmV0"), b"235 2.7.0 Accepted\r\n"),
            *(Expect(b"MAIL FROM:<me@example.org>"), b"250 2.1.0 Ok\r\n"),
            *(Expect(b"VRFY me"), b"252 2.0.0 Try\r\n", Expect(b"NOOP"), b"250 2.0.0 Ok\r\n"),
            *(Expect(b"RSET"), b"250 2.0.0 Ok\r\n", *QUIT),
        )
    )


def other() -> ScriptedServer:
    """Return a server that answers a command with something else than was hoped for."""
    return ScriptedServer(
        (
            *(b"220 mail.example.org ESMTP\r\n", Expect(b"HELO probe.example"), b"250 Hello\r\n"),
            *(Expect(b"VRFY me"), b"252 2.0.0 Try\r\n", *QUIT),
        ),
        address="::1" if has_ipv6() else "127.0.0.1",
    )


def settled(done: Result) -> Result:
    """Return a result with the options of its command in order, for Icinga has none."""
    program, *words = done.command
    options = re.findall(r"(-\w)\0([^-][^\0]*)?", "\0".join([*words, ""]))
    options.sort(key=lambda option: option[0])
    command = [word for option in options for word in option if word]
    return done._replace(command=[program, *command])


def test_smtp_command_of_icinga(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path, "Private CA")
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    check_smtp = plugins / "check_smtp"
    check_smtp.symlink_to(SCRIPT)
    with everything(authority).running() as server, other().running() as another:
        (tmp_path / "icinga").mkdir()
        icinga = Icinga(
            tmp_path / "icinga",
            NODE + SERVICES,
            {"SSL_CERT_FILE": authority.path},
            PluginDir=str(plugins),
            ServerPort=str(server.port),
            OtherPort=str(another.port),
        )
        with icinga.running() as daemon:
            services = checked(icinga, daemon)
        results = {one["name"]: result(one["last_check_result"]) for one in services}
    assert (server.faults, another.faults) == ([], [])
    assert settled(results["everything"]) == Result(
        [
            *(str(check_smtp), "-4", "-A", "LOGIN", "-C", "VRFY me", "-C", "NOOP", "-D", "14,7"),
            *("-F", "probe.example", "-H", "127.0.0.1", "-P", "s3cret"),
            *("-R", "252", "-R", "250 2.0.0", "-S", "-U", "monitor", "-c", "7.500000"),
            *("-e", "220 mail", "-f", "me@example.org", "-p", str(server.port)),
            *("-q", "true", "-t", "9", "-w", "5"),
        ],
        0,
        f"SMTP OK - 127.0.0.1:{server.port} answered in # s (slowest: # # s), TLS 1.3, "
        "certificate expires in 90 days, #, logged in by LOGIN ",
        [
            *("time=#s;5;7.500000;0;9", "connect=#s;;;0", "tls=#s;;;0", "banner=#s;;;0"),
            *("helo=#s;;;0", "starttls=#s;;;0", "auth=#s;;;0", "mail=#s;;;0"),
            *("command=#s;;;0", "quit=#s;;;0", "certificate_days=90;14:;7:"),
        ],
    )
    if has_ipv6():
        assert settled(results["over-ipv6"]) == Result(
            [
                *(str(check_smtp), "-6", "-C", "VRFY me", "-F", "probe.example", "-H", "::1"),
                *("-R", "Okay", "-p", str(another.port), "-q", "false"),
            ],
            1,
            f"SMTP WARNING - [::1]:{another.port} command: VRFY me: the reply does not contain "
            "'Okay': '252 2.0.0 Try' ",
            [
                *("time=#s;;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0"),
                *("command=#s;;;0", "quit=#s;;;0"),
            ],
        )
