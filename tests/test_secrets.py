"""No secret gets out: by the process list, a core dump, the words of a bug, a fault or a copy."""

from __future__ import annotations

import copy
import itertools
import json
import os
import pickle
import re
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from check_smtp_health import masking
from check_smtp_health.config.accounts import Secret
from check_smtp_health.errors import Disconnected, Interrupted, LocalFault, TimedOut
from check_smtp_health.net.operations import Call, Read, Write
from check_smtp_health.net.trust import TlsOptions, Trust
from check_smtp_health.roundtrip import mailbox
from check_smtp_health.roundtrip.mailbox import Access
from check_smtp_health.smtp import sasl
from check_smtp_health.smtp.session import Reply
from check_smtp_health.stages import login
from check_smtp_health.stages.state import Prepared, ProbeState, Target
from tests import command_line, plugin
from tests.servers.authority import self_signed
from tests.servers.catalogue import BANNER, EHLO
from tests.servers.catalogue.login import FORMS, PASSWORD, USER
from tests.servers.moody import MoodyServer
from tests.servers.scripted import Expect, Hang, ScriptedServer

OFFER = (BANNER, EHLO, b"250-mx\r\n250 AUTH PLAIN\r\n")
LOGIN = ("-U", USER, "-A", "PLAIN", "--auth-insecure")


def hanging_in_login() -> ScriptedServer:
    """Return a server that never answers a login."""
    return ScriptedServer((*OFFER, Expect(b"AUTH PLAIN "), Hang()))


@pytest.mark.parametrize("source", ["environment", "file", "-P"])
def test_who_can_see_the_password(tmp_path: Path, source: str) -> None:
    """In the process list is what the user put there, and a core dump is not written."""
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    given = {"file": ("--authpass-file", str(file)), "-P": ("-P", PASSWORD)}.get(source, ())
    variable = {"CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD} if source == "environment" else {}
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
    command = (
        *(str(plugin.SCRIPT), "-H", "127.0.0.1", "-F", "me.example", "-t", "2", "-vvv"),
        *(*LOGIN, *given, "-p"),
    )
    environment = {**os.environ, **variable}
    with (
        hanging_in_login().running() as server,
        subprocess.Popen(
            [*command, str(server.port)], env=environment, stdout=subprocess.PIPE
        ) as process,
    ):
        while len(server.received) < 2 and process.poll() is None:
            time.sleep(0.01)
        seen = Path("/proc", str(process.pid))
        cmdline, environ = ((seen / name).read_bytes() for name in ("cmdline", "environ"))
        limits = (seen / "limits").read_text()
        process.terminate()
        stdout = process.communicate()[0].decode()
    secret = PASSWORD.encode()
    assert (secret in cmdline, secret in environ) == (source == "-P", source == "environment")
    assert re.findall(r"Max core file size +(\S+)", limits) == ["0"]
    assert [form for form in FORMS if form in stdout] == []


BROKEN = {
    "scramp.py": "class ScramClient:\n def __init__(self, names, *both): raise ValueError(both)\n"
    "ScramException = ScramMechanism = None",
    "hmac.py": "def new(*parts): raise KeyError(parts)",
    "base64.py": "def b64encode(data): raise UserWarning(data)\nb64decode = b64encode",
}
"""Modules that fail with what they were given in their words."""

USES = {"scramp.py": "SCRAM-SHA-256", "hmac.py": "CRAM-MD5", "base64.py": "PLAIN"}


@pytest.mark.usefixtures("uncovered")
@pytest.mark.parametrize("module", BROKEN)
@pytest.mark.parametrize("form", ["-vvv", "--output-format=json"])
def test_a_bug_in_the_login_does_not_tell_the_password(
    tmp_path: Path, module: str, form: str
) -> None:
    (tmp_path / module).write_text(BROKEN[module])
    offer = b"250-mx.example\r\n250 AUTH PLAIN CRAM-MD5 SCRAM-SHA-256\r\n"
    script = (BANNER, EHLO, offer, Expect(b"AUTH"), b"334 eA==\r\n", Hang())
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-t", "2", form),
            *("-U", USER, "-A", USES[module], "--auth-insecure"),
            environment={"PYTHONPATH": str(tmp_path), "CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD},
        )
    assert (done.code, done.stderr) == (3, "")
    assert re.search(
        r"internal error: AssertionError at login.py:\d+: \w+ in the login", done.stdout
    )
    assert [leak for leak in (*FORMS, r"s3cret w\xf6rd") if leak in done.stdout] == []


@pytest.mark.usefixtures("uncovered")
@pytest.mark.parametrize("module", BROKEN)
def test_a_bug_with_one_target_leaves_the_other(tmp_path: Path, module: str) -> None:
    (tmp_path / module).write_text(BROKEN[module])
    offer = b"250-mx.example\r\n250 AUTH PLAIN CRAM-MD5 SCRAM-SHA-256\r\n"
    first = ScriptedServer((BANNER, EHLO, offer, Expect(b"AUTH"), b"334 eA==\r\n", Hang()))
    bye = (Expect(b"QUIT"), b"221 bye\r\n")
    with first.running():
        other = ScriptedServer(
            (BANNER, EHLO, b"250 mx.example\r\n", *bye), address="127.0.0.2", port=first.port
        )
        with other.running():
            done = plugin.run(
                *("-H", "127.0.0.1", "-H", "127.0.0.2", "-p", str(first.port), "-t", "2"),
                *("-F", "me.example", "-U", USER, "-A", USES[module], "--auth-insecure"),
                environment={"PYTHONPATH": str(tmp_path), "CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD},
            )
    bug = r"internal error: AssertionError at login.py:\d+: \w+ in the login"
    said = re.sub(rf"{bug}( \(after # s\))?", "BUG", done.line).replace(f":{first.port}", "")
    assert (done.code, said, done.stderr, other.faults) == (
        2,
        "SMTP CRITICAL - 127.0.0.2 auth: AUTH is not offered, also 127.0.0.1 auth: BUG, 0 of 2 "
        "healthy",
        "",
        [],
    )


@pytest.mark.parametrize("mechanism", sasl.MECHANISMS, ids=lambda one: one.name)
def test_no_fault_of_a_login_holds_the_password(mechanism: sasl.Mechanism) -> None:
    """Whatever ends it, and after how many answers."""
    words = ("-H", "mx.example", "-U", USER, "-A", mechanism.name, "-S", "--cert", "own.pem")
    chosen = command_line.settings(*words, password=PASSWORD)
    ends = (
        *(Disconnected("gone"), TimedOut(1), Interrupted("stop"), RuntimeError("a bug")),
        *(b"535 no\r\n", b"334 !!\r\n", b"334 eA==\r\n" * 9, b"no\r\n", b""),
    )
    for end, after_how_many in itertools.product(ends, range(5)):
        prepared = Prepared(mechanisms=(mechanism,))
        state = ProbeState(Target(chosen.endpoint.hosts[0], None), chosen, prepared)
        offer = b"250 AUTH " + mechanism.name.encode()
        state.connection.session.learn(Reply(250, (b"250-mx", offer)))
        fault = ended(login.auth(state), end, after_how_many)
        while fault is not None:
            told = f"{fault} {fault!r} {vars(fault)}"
            assert [form for form in FORMS if form in told] == []
            fault = fault.__cause__ or fault.__context__


def ended(dialogue: Any, end: Any, after_how_many: int) -> BaseException | None:
    """Serve a dialogue, ending it after so many operations; return the fault that comes out."""
    try:
        operation = next(dialogue)
        for _ in range(after_how_many):
            if isinstance(operation, Write):
                operation = dialogue.send(None)
            elif isinstance(operation, Call):
                operation = dialogue.send(operation.function(*operation.arguments))
            else:
                operation = dialogue.send(b"334 eA==\r\n")
        while not isinstance(end, Exception) and not isinstance(operation, Read):
            operation = dialogue.send(None)
        if isinstance(end, Exception):
            dialogue.throw(end)
        dialogue.send(end)
    except StopIteration:
        return None
    except Exception as fault:
        return fault
    return None


def test_a_secret_shows_and_leaves_nothing() -> None:
    secret = Secret(PASSWORD)
    assert {str(secret), repr(secret), f"{secret}", f"{secret!s:>5}", format(secret)} == {
        "Secret(***)"
    }
    for store in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"^a Secret is not to be copied or stored$"):
            store(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    assert not hasattr(secret, "__dict__")


def test_no_value_that_holds_a_password_shows_it() -> None:
    words = ("--rcpt", "a@x", "--deliver", "--mailbox", "imaps://me@x", "-U", USER, "-S")
    chosen = command_line.settings(
        "-H", "mx.example", *words, password=PASSWORD, mailbox_password=PASSWORD
    )
    trip = chosen.roundtrip
    assert chosen.login is not None
    assert trip is not None
    assert trip.password is not None
    assert chosen.login.password.reveal() == trip.password.reveal() == PASSWORD
    trust = Trust(TlsOptions())
    access = Access(trip.mailboxes, trip.password, trust, trip.may_show_password)
    for value in (chosen, chosen.login, trip, access):
        for shown in (repr(value), str(value), f"{value}"):
            assert "Secret(***)" in shown
            assert [form for form in FORMS if form in shown] == []


def test_no_password_for_a_stranger(tmp_path: Path) -> None:
    """Neither where the handshake fails nor over the connection that only looks."""
    server = MoodyServer(context=self_signed(tmp_path), password=PASSWORD)
    with server.running():
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-t", "2"),
            *("-S", "--sni", "mx.example", "-U", USER),
            environment={"CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD},
        )
    assert (done.code, done.line, server.received) == (
        2,
        f"SMTP CRITICAL - 127.0.0.1:{server.port} tls: certificate self-signed, "
        "try --ca-file or --no-verify (after # s), cause: certificate",
        [*(b"EHLO me.example\r\n", b"STARTTLS\r\n") * 2, b"QUIT\r\n"],
    )


OTHER = "m4ilbox \\pw"
"""The mailbox's password."""

LEAKS = (
    (BANNER, EHLO, b"250-mx\r\n250 AUTH %s\r\n"),
    (BANNER, EHLO, b"250-%s\r\n250 SIZE\r\n"),
    (BANNER, EHLO, b"550 %s\r\n"),
    (b"554 %s\r\n",),
    (b"220 %s\r\n", EHLO, b"550 no\r\n"),
    (b"%s\r\n",),
    (BANNER, EHLO, b"250-mx\r\n250 AUTH PLAIN\r\n", Expect(b"AUTH"), b"535 %s\r\n"),
)
"""Scripts in which a server says a secret, before and after it was sent one."""


@pytest.mark.parametrize("script", LEAKS, ids=ascii)
@pytest.mark.parametrize("form", ["-vvv", "--output-format=json"])
@pytest.mark.parametrize("secret", [PASSWORD, OTHER], ids=["login", "mailbox"])
def test_a_server_may_say_neither_password(script: Any, form: str, secret: str) -> None:
    """Not even before it was sent one, in no form, and the mailbox's no more than the login's."""
    said = b" ".join(masking.forms(secret, USER)).replace(b"\n", b"")
    steps = [step.replace(b"%s", said) if isinstance(step, bytes) else step for step in script]
    with ScriptedServer((*steps, Expect(b"QUIT"), b"221 bye\r\n")).running() as server:
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-t", "2", form),
            *("-U", USER, "--auth-insecure", "--rcpt", "a@x", "--deliver"),
            *("--mailbox", "imap://me@127.0.0.1:1"),
            environment={
                "CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD,
                "CHECK_SMTP_HEALTH_MAILBOXPASS": OTHER,
            },
        )
    assert (done.code, done.stderr) == (2, "")
    shown = done.stdout
    if form != "-vvv":
        shown = "\n".join(texts(json.loads(done.stdout)))
    assert "***" in shown
    assert [one for one in masking.forms(secret, USER) if one.decode() in shown] == []


def texts(document: Any) -> list[str]:
    """Return all texts in a JSON document."""
    if isinstance(document, dict):
        return [text for value in document.values() for text in texts(value)]
    if isinstance(document, list):
        return [text for value in document for text in texts(value)]
    return [str(document)]


@pytest.mark.parametrize(
    "evil", [b"PASS a\rDELE 1", b"PASS a\nDELE 1", b"PASS \0", b"\r\n", b"a\x1b"], ids=ascii
)
def test_no_control_character_is_sent_to_a_mailbox(evil: bytes) -> None:
    """The last fence, behind what ``config`` refuses."""
    with pytest.raises(LocalFault, match=r"^\('a user, password or folder with a control"):
        mailbox.command(evil)
