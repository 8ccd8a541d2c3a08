"""Both programs against the same servers: the differences that the README claims are measured."""

from __future__ import annotations

import base64
import os
import re
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests import needs, plugin
from tests.differences import ROWS, Answer, Certificate, Row, ServerStep
from tests.servers.authority import Authority, self_signed
from tests.servers.scripted import Expect, Handshake, ScriptedServer, Step

NAME = "mail.example.org"

PASSWORD = "s3cret"


@dataclass(frozen=True)
class World:
    """The servers' certificates by kind, and the file of the authority that made most of them."""

    contexts: dict[str, ssl.SSLContext]
    authority: str

    def script(self, steps: Sequence[ServerStep]) -> tuple[Step, ...]:
        """Return the steps with certificates in place of their kinds."""
        return tuple(
            Handshake(self.contexts[step.kind]) if isinstance(step, Certificate) else step
            for step in steps
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority.made(folder, "Private CA")
    contexts = {
        "good": authority.serving(NAME),
        "foreign": authority.serving("www.example.org"),
        "self-signed": self_signed(folder, NAME),
        "expired": authority.serving(NAME, days=-3),
    }
    return World(contexts, authority.path)


@pytest.fixture(scope="module")
def check_smtp() -> str:
    """The path of check_smtp, of the version that the rows speak of."""
    path = needs.program("check_smtp")
    version = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stdout
    if not version.startswith("check_smtp v2.3"):
        needs.leave_out("needs check_smtp 2.3")
    return path


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.server)
def test_difference(row: Row, check_smtp: str, world: World) -> None:
    assert theirs(row, check_smtp, world) == row.theirs
    assert ours(row, world) == row.ours


def theirs(row: Row, check_smtp: str, world: World) -> Answer:
    with ScriptedServer(world.script(row.script)).running() as server:
        done = run_theirs(check_smtp, server, *row.arguments)
    assert server.faults == []
    line = done.stdout.split("\n")[0]
    line = re.sub(r"\|time=[\d.]+s;;;0\.0+$", "", line)  # its own perfdata, not a forged one
    line = re.sub(r"[\d.]+ sec\.", "# sec.", line)
    return Answer(done.returncode, line.replace(f"port {server.port}", "port 25"))


def run_theirs(
    check_smtp: str, server: ScriptedServer, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [check_smtp, "-H", server.address, "-p", str(server.port), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )


def ours(row: Row, world: World) -> Answer:
    with ScriptedServer(world.script(row.our_script or row.script)).running() as server:
        outcome = plugin.run(
            *("-H", server.address, "-p", str(server.port), *row.arguments, *row.our_arguments),
            environment={"SSL_CERT_FILE": world.authority},
        )
    line = re.sub(r"\d{4}-\d\d-\d\d", "#", outcome.line)
    return Answer(outcome.code, line.replace(f":{server.port}", ":25"))


def test_only_check_smtp_prints_the_password(check_smtp: str) -> None:
    encoded = base64.b64encode(PASSWORD.encode()).decode()
    script = (
        b"220 mail.example.org ESMTP\r\n",
        *(Expect(b"EHLO"), b"250-mail.example.org\r\n250 AUTH LOGIN\r\n"),
        *(Expect(b"AUTH LOGIN"), b"334 VXNlcm5hbWU6\r\n"),
        *(Expect(b"bW9uaXRvcg=="), b"334 UGFzc3dvcmQ6\r\n"),
        *(Expect(encoded.encode()), b"235 2.7.0 Accepted\r\n"),
        *(Expect(b"QUIT"), b"221 2.0.0 Bye\r\n"),
    )
    login = ("-A", "LOGIN", "-U", "monitor", "-P", PASSWORD)
    with ScriptedServer(script).running() as server:
        theirs = run_theirs(check_smtp, server, *login, "-v")
        ours = plugin.run(
            *("-H", server.address, "-p", str(server.port), *login, "-vvv", "--auth-insecure")
        )
    assert server.faults == []
    assert (theirs.returncode, ours.code) == (0, 0)
    assert f"sent {encoded}\n" in theirs.stdout
    assert [secret for secret in (PASSWORD, encoded) if secret in ours.stdout] == []
