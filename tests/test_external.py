"""EXTERNAL: the client's certificate says who logs in. By script, and with a real Dovecot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import plugin
from tests.servers import dovecot, postfix
from tests.servers.authority import Authority
from tests.servers.catalogue import BANNER, EHLO, NAME, QUIT
from tests.servers.certificates import Certificates
from tests.servers.dovecot import USER, Dovecot
from tests.servers.scripted import Expect, Handshake, ScriptedServer, Step

BY_CERTIFICATE = """
auth_mechanisms = plain external
auth_ssl_username_from_cert = yes
ssl_ca = <{authority}
ssl_verify_client_cert = yes
ssl_require_crl = no
passdb {{
  driver = static
  mechanisms = external
  args = nopassword=y
}}
"""

HIDDEN = "C: AUTH EXTERNAL ***"


class Site:
    """A server, and what it takes to be let in."""

    def __init__(self, server: Dovecot, authority: Authority, folder: Path) -> None:
        self.server = server
        self.authority = authority
        own = authority.authority.issue_cert(USER, common_name=USER)
        self.certificate = str(folder / "own.pem")
        own.private_key_and_cert_chain_pem.write_to_path(self.certificate)

    def run(self, *arguments: str) -> plugin.Outcome:
        """Log in to port 465."""
        done = plugin.run(
            *("-H", "localhost", "-4", "-p", str(self.server.tls_port), "-F", "me.example"),
            *("--ssl", "--ca-file", self.authority.path, "-A", "external", *arguments),
        )
        assert done.stderr == ""
        return done


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("external")
    authority = Authority.made(folder, "Private CA")
    certificate = authority.written(folder / "certificate", "localhost")
    further = BY_CERTIFICATE.format(authority=authority.path)
    with (
        postfix.running() as relay,
        dovecot.running("x", certificate, relay.port, further) as server,
    ):
        yield Site(server, authority, folder)


@pytest.mark.parametrize("user", [(), ("-U", USER)])
def test_a_real_server_lets_us_in(site: Site, user: tuple[str, ...]) -> None:
    before = len(site.server.log())
    done = site.run("--cert", site.certificate, *user, "-vv")
    assert done.code == 0
    assert done.line.endswith(", logged in by EXTERNAL")
    assert f"{HIDDEN}\n" in done.stdout
    assert f"Login: user=<{USER}>, method=EXTERNAL, " in site.server.log()[before:]


def test_a_real_server_lets_nobody_else_in(site: Site, tmp_path: Path) -> None:
    done = site.run("--cert", site.certificate, "-U", "somebody@example.org")
    assert done.code == 2
    line = done.line.partition(" auth: ")[2]
    assert line.startswith("EXTERNAL: 535 5.7.8 Authentication failed. (after # s)")


def logs_in(tmp_path: Path, dialogue: tuple[Step, ...], *arguments: str) -> plugin.Outcome:
    """Log in to a server that does this once it has offered EXTERNAL."""
    certificates = Certificates(tmp_path, NAME)
    script = (
        *(Handshake(certificates.context("good")), BANNER, EHLO),
        *(b"250-mx.example\r\n250 AUTH PLAIN EXTERNAL\r\n", *dialogue, *QUIT),
    )
    own = Authority.made(tmp_path, "Clients").written(tmp_path / "own.pem", "me.example")
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *plugin.at(server.port),
            "-t",
            "2",
            "--ssl",
            "--sni",
            NAME,
            "--cert",
            own,
            *("--ca-file", certificates.good.path, "-A", "EXTERNAL", *arguments),
        )
    assert (done.stderr, server.faults) == ("", [])
    return done


@pytest.mark.parametrize(
    ("dialogue", "arguments", "code", "said"),
    [
        ((Expect(b"AUTH EXTERNAL =\r\n"), b"235 in\r\n"), (), 0, "logged in by EXTERNAL"),
        (
            (Expect(b"AUTH EXTERNAL bWU=\r\n"), b"235 in\r\n"),
            ("-U", "me"),
            0,
            "logged in by EXTERNAL",
        ),
        (
            (Expect(b"AUTH EXTERNAL =\r\n"), b"535 5.7.8 no such certificate\r\n"),
            (),
            2,
            "auth: EXTERNAL: 535 5.7.8 no such certificate (after # s)",
        ),
        (
            (Expect(b"AUTH EXTERNAL =\r\n"), b"334 \r\n", Expect(b"*\r\n"), b"501 x\r\n"),
            (),
            2,
            "more challenges than the mechanism has answers: '334' (after # s)",
        ),
    ],
)
def test_a_script(
    tmp_path: Path, dialogue: tuple[Step, ...], arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = logs_in(tmp_path, dialogue, *arguments)
    assert (done.code, done.line[-len(said) :]) == (code, said)


def test_where_it_is_all_that_is_offered(tmp_path: Path) -> None:
    script = (BANNER, EHLO, b"250-mx.example\r\n250 AUTH EXTERNAL\r\n", *QUIT)
    got = plugin.check(script, "-U", "me", "-P", "x" * 9, "--auth-insecure")
    assert (got.code, got.line) == (
        2,
        "SMTP CRITICAL - auth: the server offers only EXTERNAL, and EXTERNAL needs a client "
        "certificate (-A EXTERNAL and --cert), cause: login mechanism",
    )
