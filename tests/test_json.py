"""``--output-format json``: one line of the published form, judged as the text output is."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from check_smtp_health import __version__
from check_smtp_health.judge.cause_table import CAUSES
from check_smtp_health.judge.states import FAILURES
from check_smtp_health.stages import NAMES
from tests import harmless, masking, plugin
from tests.json_answer import SCHEMA, masked, read
from tests.servers.authority import Authority, after, self_signed
from tests.servers.catalogue import BANNER, EHLO, HELO, QUIT
from tests.servers.loopback import free_port
from tests.servers.roundtrip import FETCHED, HEADER, SENDING, WHOLE, named
from tests.servers.scripted import (
    Expect,
    Handshake,
    Hang,
    Message,
    ScriptedServer,
    Sleep,
    Step,
    Tagged,
)

SLOWLY = Sleep(0.05)
"""Makes the banner the slowest stage beyond doubt."""

GREETED = (SLOWLY, BANNER, *HELO)
ASKED = (SLOWLY, BANNER, EHLO, b"250-mx.example\r\n250-SIZE 1000\r\n250 STARTTLS\r\n")
GO = (*ASKED, Expect(b"STARTTLS\r\n"), b"220 go\r\n")
AGAIN = (EHLO, b"250-mx.example\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n")
BEGUN = (*GREETED, Expect(b"MAIL FROM:<"), b"250 ok\r\n")
RESET = (Expect(b"RSET\r\n"), b"250 ok\r\n")

TLS = ("-S", "--sni", "mx.example", "--ca-file", "{authority}")

HOSTILE = (
    "\x1b[31m|\"'\\<script>[CRITICAL](OK)[DOWN)\0\x7f\x9b\u202e\u2028{}</script>".encode()
    + b"\xff\xc3"
)
"""A terminal's and a web page's commands, perfdata, marks, quotes, controls, invalid UTF-8."""

WORDS = HOSTILE[:-2].decode() + "\ufffd\ufffd"
"""The same as JSON has it where it is unaltered."""

PASSWORD = 's3cret "w\u00f6rd"'


@dataclass(frozen=True)
class Case:
    """A run: what the server does, the options, and the exit code that is due.

    ``certificate`` is the kind that a ``Handshake`` shows, in place of None; ``{authority}`` in an
    option is the file of the authority.
    """

    name: str
    code: int
    script: tuple[Step | None, ...]
    arguments: tuple[str, ...] = ()
    certificate: str = "good"


CASES = (
    Case("healthy", 0, (*GREETED, *QUIT)),
    Case("refused at HELO", 2, (SLOWLY, BANNER, HELO[0], b"550-5.7.1 No\r\n550 way\r\n", *QUIT)),
    Case("not now", 1, (SLOWLY, BANNER, HELO[0], b"450 4.7.1 Later\r\n", *QUIT)),
    Case("not now, fine", 0, (SLOWLY, BANNER, HELO[0], b"421 x\r\n"), ("--tempfail", "ok")),
    Case("another text", 1, (*GREETED, *QUIT), ("-e", "Postfix")),
    Case("not SMTP", 2, (b"SSH-2.0-x\r\n", Hang())),
    Case("closes at once", 2, ()),
    Case("silent", 2, (Hang(),), ("-t", "0.3")),
    Case("silent, unknown", 3, (Hang(),), ("-t", "0.3:unknown")),
    Case("too slow", 1, (*GREETED, *QUIT), ("-w", "0.01,banner=0.01", "-c", "5")),
    Case("QUIT not answered", 0, (*GREETED, Expect(b"QUIT")), ("-v",)),
    Case("keyword missing", 2, (*ASKED, *QUIT), ("--require", "CHUNKING")),
    Case("keyword there", 2, (*ASKED, *QUIT), ("--forbid", "SIZE")),
    Case("STARTTLS", 0, (*GO, None, *AGAIN, *QUIT), TLS),
    Case("keyword missing in TLS", 2, (*GO, None, *AGAIN, *QUIT), (*TLS, "--require", "DSN")),
    Case("few days left", 1, (*GO, None, *AGAIN, *QUIT), TLS, "5 days"),
    Case("expired", 2, (*GO, None, *QUIT), TLS, "expired"),
    Case("another name", 2, (*GO, None, *QUIT), TLS, "another name"),
    Case("self-signed", 2, (*GO, None, *QUIT), TLS, "self-signed"),
    Case(
        "room and recipients",
        0,
        (
            *(*ASKED, Expect(b"MAIL FROM:<> SIZE=1000\r\n"), b"250 ok\r\n"),
            *(Expect(b"RCPT TO:<a@mx.example>\r\n"), b"250 ok\r\n", *RESET, *QUIT),
        ),
        ("--size", "1000", "--rcpt", "a@mx.example"),
    ),
    Case(
        "recipient refused",
        2,
        (*BEGUN, Expect(b"RCPT"), b"550 who\r\n", Expect(b"RCPT"), b"450 x\r\n", *RESET, *QUIT),
        ("--rcpt", "a@mx.example", "--rcpt", "b@mx.example"),
    ),
    Case(
        "open relay",
        2,
        (*BEGUN, Expect(b"RCPT"), b"250 ok\r\n", Expect(b"RCPT"), b"450 x\r\n", *RESET, *QUIT),
        ("--no-relay", "a@there.example", "--no-relay", "b@there.example"),
    ),
    Case(
        "command",
        1,
        (*GREETED, Expect(b"NOOP\r\n"), b"250 ok\r\n", Expect(b"HELP\r\n"), b"214 no\r\n", *QUIT),
        ("-C", "NOOP", "-C", "HELP", "-R", "ok", "-R", "yes"),
    ),
    Case(
        "message refused",
        2,
        (
            *(*BEGUN, Expect(b"RCPT"), b"250 ok\r\n", Expect(b"DATA"), b"354 go\r\n"),
            *(Message(), b"452 4.2.2 full\r\n", *QUIT),
        ),
        ("--rcpt", "a@mx.example", "--deliver"),
    ),
    Case("PROXY", 0, (SLOWLY, Expect(b"PROXY TCP4 "), BANNER, *HELO, *QUIT), ("-r", "v1")),
    Case("wrong usage", 3, (), ("-w", "abc")),
    Case("login that would show the password", 3, (), ("-U", "me", "-P", "x", "-A", "PLAIN")),
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "good")


def script(case: Case, authority: Authority) -> tuple[Step, ...]:
    """Return the case's script with its certificate in the place of None."""
    days = {"good": 90, "5 days": 5, "expired": -3}
    if case.certificate == "self-signed":
        context = self_signed(Path(authority.path).parent)
    elif case.certificate == "another name":
        context = authority.serving("other.example", "10.1.2.3")
    else:
        context = authority.serving(days=days[case.certificate])
    return tuple(Handshake(context) if step is None else step for step in case.script)


def run(port: int, *arguments: str, **more: Any) -> plugin.Outcome:
    return plugin.run(
        *("-H", "127.0.0.1", "-p", str(port), "-F", "me.example", "--output-format", "json"),
        *arguments,
        **more,
    )


def strings(value: Any) -> Iterator[str]:
    """Give every string of a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def stage(name: str, **different: Any) -> dict[str, Any]:
    """Return a stage as it is where all is well, but for what is different."""
    times = {"began": "#", "seconds": "#"}
    well: dict[str, Any] = {"failure": None, "findings": [], "notes": [], "problems": []}
    return {"name": name, "state": "OK", **times, **well, **different}


def said(*lines: str) -> list[dict[str, str]]:
    """Return a transcript; each line begins with its sender."""
    return [{"seconds": "#", "sender": line[0], "text": line[3:]} for line in lines]


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Give every schema in a schema that describes an object."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for one in schema.values():
            yield from parts(one)


NAMED = ("host", "service")
"""Members of an answer that is for an object of an engine."""


def test_the_schema_is_strict_and_describes_every_member() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    objects = list(parts(SCHEMA))
    assert len(objects) == 14
    for one in objects:
        assert one["additionalProperties"] is False
        always = [name for name in one["properties"] if one is not SCHEMA or name not in NAMED]
        assert one["required"] == always
        for member in one["properties"].values():
            referred = SCHEMA["$defs"].get(member.get("$ref", "").rpartition("/")[2], {})
            assert {**referred, **member}["description"].endswith(".")


def test_the_schema_knows_every_stage_and_kind() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["stage"]["properties"]["name"]["enum"] == list(NAMES)
    assert definitions["kind"]["enum"] == list(FAILURES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_says_what_the_text_says(case: Case, authority: Authority) -> None:
    arguments = [word.format(authority=authority.path) for word in case.arguments]
    with ScriptedServer(script(case, authority)).running() as server:
        where = ("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example")
        text = plugin.run(*where, *arguments)
        outcome = run(server.port, *arguments)
    assert server.faults == []
    seen = read(outcome)
    assert (text.code, outcome.code) == (case.code, case.code)
    said = masked(seen["status"], server.port)
    assert said == text.line.replace(f":{server.port}", ":25")
    # With -v the perfdata stands in a line of its own, which the line break belongs to.
    assert masked(" ".join(seen["perfdata"]), server.port) == text.perfdata
    assert len(seen["targets"]) == (0 if seen["status"].startswith("SMTP UNKNOWN - -") else 1)


def test_a_healthy_server() -> None:
    with ScriptedServer((*GREETED, *QUIT)).running() as server:
        seen = read(run(server.port))
    assert masked(seen, server.port) == {
        "program": "check_smtp_health",
        "version": __version__,
        "state": "OK",
        "exit_code": 0,
        "status": "SMTP OK - 127.0.0.1:25 answered in # s (slowest: # # s)",
        "problems": [],
        "targets": [
            {
                "label": "",
                "state": "OK",
                "is_domain": False,
                "held": [],
                "host": "127.0.0.1",
                "port": 25,
                "address": "127.0.0.1",
                "seconds": "#",
                "stages": [stage("connect"), stage("banner"), stage("helo"), stage("quit")],
                "tls": None,
                "elsewhere": [],
                "delivery": None,
                "verdicts": [],
                "transcript": said(
                    "*: connected to 127.0.0.1",
                    "S: 220 mx.example ESMTP",
                    "C: HELO me.example",
                    "S: 250 mx.example",
                    "C: QUIT",
                    "S: 221 bye",
                ),
            }
        ],
        "perfdata": [
            *("time=#s;;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0", "quit=#s;;;0"),
        ],
    }


def test_the_times_are_those_of_the_perfdata() -> None:
    with ScriptedServer((*GREETED, *QUIT)).running() as server:
        seen = read(run(server.port))
    (target,) = seen["targets"]
    times = {"time": target["seconds"], **{one["name"]: one["seconds"] for one in target["stages"]}}
    assert [item.partition(";")[0] for item in seen["perfdata"]] == [
        f"{label}={seconds:.6f}s" for label, seconds in times.items()
    ]
    ends = [one["began"] + one["seconds"] for one in target["stages"]]
    assert ends == sorted(ends)
    assert ends[1] >= SLOWLY.seconds  # of the two stages, for the first may be seen to end late


def test_a_refusal() -> None:
    refusing = (SLOWLY, BANNER, HELO[0], b"550-5.7.1 No\r\n550 way\r\n", *QUIT)
    with ScriptedServer(refusing).running() as server:
        seen = read(run(server.port, "-e", "Postfix"))
    assert masked(seen, server.port) == {
        "program": "check_smtp_health",
        "version": __version__,
        "state": "CRITICAL",
        "exit_code": 2,
        "status": "SMTP CRITICAL - 127.0.0.1:25 helo: 550 5.7.1 No / way (after # s), also "
        "helo: neither this reply nor the banner contains 'Postfix': '220 mx.example ESMTP'",
        "problems": [
            {"state": "CRITICAL", "text": "helo: 550 5.7.1 No / way (after # s)", "cause": None},
            {
                "state": "WARNING",
                "text": "helo: neither this reply nor the banner contains 'Postfix': "
                "'220 mx.example ESMTP'",
                "cause": None,
            },
        ],
        "targets": [
            {
                "label": "",
                "state": "CRITICAL",
                "is_domain": False,
                "held": [],
                "host": "127.0.0.1",
                "port": 25,
                "address": "127.0.0.1",
                "seconds": "#",
                "stages": [
                    stage("connect"),
                    stage("banner"),
                    stage(
                        "helo",
                        state="CRITICAL",
                        findings=[
                            {
                                "kind": "unmatched",
                                "problem": "neither this reply nor the banner contains 'Postfix'",
                                "reply": "220 mx.example ESMTP",
                                "raw": "220 mx.example ESMTP",
                            }
                        ],
                        failure={
                            "kind": "rejected",
                            "problem": "",
                            "subject": "",
                            "code": 550,
                            "reply": "550 5.7.1 No / way",
                            "raw": "550 5.7.1 No\nway",
                        },
                        problems=[
                            "helo: 550 5.7.1 No / way (after # s)",
                            "helo: neither this reply nor the banner contains 'Postfix': "
                            "'220 mx.example ESMTP'",
                        ],
                    ),
                    stage("quit"),
                ],
                "tls": None,
                "elsewhere": [],
                "delivery": None,
                "verdicts": [],
                "transcript": said(
                    "*: connected to 127.0.0.1",
                    "S: 220 mx.example ESMTP",
                    "C: HELO me.example",
                    "S: 550-5.7.1 No",
                    "S: 550 way",
                    "C: QUIT",
                    "S: 221 bye",
                ),
            }
        ],
        "perfdata": ["time=#s;;;0;10", "connect=#s;;;0", "banner=#s;;;0", "quit=#s;;;0"],
    }


def test_tls_and_its_certificate(authority: Authority) -> None:
    certificate = authority.serving("mx.example", "*.mx.example", days=59)
    with ScriptedServer((*GO, Handshake(certificate), *AGAIN, *QUIT)).running() as server:
        seen = read(run(server.port, *(word.format(authority=authority.path) for word in TLS)))
    (target,) = seen["targets"]
    assert [(one["name"], one["state"]) for one in target["stages"]] == [
        (name, "OK") for name in ("connect", "banner", "helo", "starttls", "tls", "helo", "quit")
    ]
    cipher = target["tls"].pop("cipher")
    assert cipher.startswith("TLS_")
    subject = target["tls"]["certificate"].pop("subject")
    assert subject.startswith("trustme")
    issuers = target["tls"].pop("issuers")
    assert [one["subject"] for one in issuers] == (["good"] if sys.version_info >= (3, 10) else [])
    assert target["tls"] == {
        "version": "TLS 1.3",
        "certificate": {
            "issuer": "good",
            "names": ["mx.example", "*.mx.example"],
            "not_before": f"{after(-60):%Y-%m-%d}",
            "not_after": f"{after(59):%Y-%m-%d}",
            "days": 59,
            "is_expired": False,
        },
    }
    assert seen["perfdata"][-1] == "certificate_days=59;14:;3:"


def test_a_rejected_certificate_is_there_all_the_same(authority: Authority) -> None:
    certificate = authority.serving("other.example", "10.1.2.3", days=-3)
    with ScriptedServer((*GO, Handshake(certificate), *QUIT)).running() as server:
        seen = read(run(server.port, *(word.format(authority=authority.path) for word in TLS)))
    (target,) = seen["targets"]
    failed = target["stages"][-1]
    assert (failed["name"], failed["failure"]["kind"]) == ("tls", "untrusted")
    found = target["tls"]["certificate"]
    assert (found["names"], found["days"], found["is_expired"]) == (
        ["other.example", "10.1.2.3"],
        -3,
        True,
    )


def test_a_connection_refused() -> None:
    port = free_port()
    assert masked(read(run(port)), port) == {
        "program": "check_smtp_health",
        "version": __version__,
        "state": "CRITICAL",
        "exit_code": 2,
        "status": "SMTP CRITICAL - 127.0.0.1:25 connect: connection refused (after # s), "
        "cause: refused",
        "problems": [
            {
                "state": "CRITICAL",
                "text": "connect: connection refused (after # s)",
                "cause": {
                    "name": "refused",
                    "group": "network",
                    "advice": CAUSES["refused"].advice,
                    "list": "",
                    "listed": "",
                },
            },
        ],
        "targets": [
            {
                "label": "",
                "state": "CRITICAL",
                "is_domain": False,
                "held": [],
                "host": "127.0.0.1",
                "port": 25,
                "address": "127.0.0.1",
                "seconds": "#",
                "stages": [
                    stage(
                        "connect",
                        state="CRITICAL",
                        failure={
                            "kind": "unreachable",
                            "problem": "connection refused",
                            "subject": "",
                            "code": None,
                            "reply": "",
                            "raw": "",
                        },
                        problems=["connect: connection refused (after # s)"],
                    )
                ],
                "tls": None,
                "elsewhere": [],
                "delivery": None,
                "verdicts": [],
                "transcript": said("*: connection refused"),
            }
        ],
        "perfdata": ["time=#s;;;0;10"],
    }


def test_wrong_usage() -> None:
    outcome = plugin.run("-H", "mx.example", "--output-format", "json", "-w", 'a|"\x1bb')
    assert (outcome.code, read(outcome)) == (
        3,
        {
            "program": "check_smtp_health",
            "version": __version__,
            "state": "UNKNOWN",
            "exit_code": 3,
            "status": "SMTP UNKNOWN - -w: 'a\\x7c\"\\x1bb' is not a threshold range",
            "problems": [],
            "targets": [],
            "perfdata": [],
        },
    )


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    lmtp = (BANNER, Expect(b"LHLO"), b"250 mx.example\r\n", *QUIT)
    with ScriptedServer(lmtp, path=path).running():
        seen = read(plugin.run("-H", path, "-L", "--output-format", "json"))
    (target,) = seen["targets"]
    assert (target["host"], target["address"]) == (path, path)


def test_a_run_that_is_ended_by_a_signal() -> None:
    with ScriptedServer((BANNER, HELO[0], Hang())).running() as server:
        where = ("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example")
        process = subprocess.Popen(
            [plugin.SCRIPT, *where, "--output-format", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not server.received and process.poll() is None:
            time.sleep(0.01)
        process.terminate()
        stdout, stderr = process.communicate(timeout=5)
    outcome = plugin.Outcome(process.returncode, stdout, stderr, 0.0)
    seen = read(outcome)
    assert outcome.code == 3
    *before, last = seen["targets"][0]["stages"]
    assert [one["state"] for one in before] == ["OK", "OK"]
    assert (last["name"], last["state"], last["failure"]["kind"]) == (
        "helo",
        "UNKNOWN",
        "interrupted",
    )


@pytest.mark.parametrize(
    ("hostile", "raw"),
    [
        ((b"220 " + HOSTILE + b"\r\n", *HELO, *QUIT), [f"220 {WORDS}"]),
        (
            (b"220-" + HOSTILE + b"\r\n220 \r\n", HELO[0], b"550 " + HOSTILE + b"\r\n", *QUIT),
            [f"550 {WORDS}", f"220 {WORDS}"],
        ),
        (
            (BANNER, HELO[0], b"550-" + HOSTILE + b"\n550-\n550 " + HOSTILE + b"\r\n", *QUIT),
            [f"550 {WORDS}\n\n{WORDS}", "220 mx.example ESMTP"],
        ),
        ((HOSTILE + b"\r\n", Hang()), [WORDS]),
        (
            (BANNER, HELO[0], b"250 ok\r\n" + HOSTILE + b"\r\n", Hang()),
            [f"{WORDS}\r\n"],
        ),
    ],
)
def test_what_a_server_says_is_harmless(hostile: tuple[Step, ...], raw: list[str]) -> None:
    """Only ``raw`` has it unaltered, and even that is harmless as long as nobody decodes it."""
    with ScriptedServer(hostile).running() as server:
        outcome = run(server.port, "-e", "Postfix")
    seen = read(outcome)
    assert seen["state"] != "OK"
    assert harmless.check_json(outcome.stdout, outcome.code) == seen
    words = harmless.strings(seen)
    assert any("script" in word for word in words)
    assert [word for word in words if not word.isprintable() or set(word) & set("|<>[]")] == []
    (target,) = seen["targets"]
    assert [
        one["raw"]
        for stage in target["stages"]
        for one in (stage["failure"], *stage["findings"])
        if one is not None
    ] == raw


def test_what_held_is_told() -> None:
    asked = (
        *BEGUN,
        Expect(b"RCPT"),
        b"250 ok\r\n",
        Expect(b"RCPT"),
        b"554 5.7.1 Relaying denied\r\n",
        *RESET,
        *QUIT,
    )
    with ScriptedServer(asked).running() as server:
        seen = read(run(server.port, "--rcpt", "a@mx.example", "--no-relay", "a@there.example"))
    (target,) = seen["targets"]
    assert target["held"] == ["1 recipient accepted", "relaying refused"]


def forms() -> list[str]:
    """Return every form in which the password could leak."""
    plain = f"\0monitor\0{PASSWORD}".encode()
    encoded = [base64.b64encode(form).decode() for form in (plain, PASSWORD.encode())]
    return [PASSWORD, "s3cret", json.dumps(PASSWORD), *encoded]


@pytest.mark.parametrize("where", ["option", "environment", "file"])
@pytest.mark.parametrize(
    ("more", "code"),
    [((), 2), (("--tempfail", "bogus"), 3), (("-A", "NONE"), 3)],
    ids=["refused", "wrong usage", "no such mechanism"],
)
def test_no_password_is_in_it(where: str, more: tuple[str, ...], code: int, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    given = {"option": ("-P", PASSWORD), "file": ("--authpass-file", str(file))}.get(where, ())
    environment = {"CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD} if where == "environment" else {}
    plain, *_, response, secret = forms()
    refusal = f"535-{plain} {response}\r\n535 {secret}\r\n".encode()
    script = (BANNER, *AGAIN, Expect(f"AUTH PLAIN {response}\r\n".encode()), refusal, *QUIT)
    with ScriptedServer(script).running() as server:
        outcome = run(
            *(server.port, "-U", "monitor", "--auth-insecure", *given, *more),
            environment=environment,
        )
    seen = read(outcome)
    assert (outcome.code, server.faults) == (code, [])
    for shown in (outcome.stdout, *strings(seen)):
        assert [form for form in forms() if form in shown] == []


@pytest.mark.parametrize("name", ["json", "JSON", "mp-test-json"])
def test_its_names(name: str) -> None:
    with ScriptedServer((*GREETED, *QUIT)).running() as server:
        assert read(run(server.port, "--output-format", name))["state"] == "OK"


@pytest.mark.parametrize("name", ["text", "multi-line"])
def test_the_names_of_the_text_output(name: str) -> None:
    with ScriptedServer((*GREETED, *QUIT)).running() as server:
        outcome = run(server.port, "--output-format", name)
    assert outcome.line == f"SMTP OK - 127.0.0.1:{server.port} answered in # s (slowest: # # s)"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--output-format", "json", "--bogus"), "unknown option '--bogus'"),
        (("--bogus", "--output-format=JSON"), "unknown option '--bogus'"),
        (
            ("--output-format", "mp-test-json", "-H", "mx.example", "-w", "x"),
            "-w: 'x' is not a threshold range",
        ),
        (("--output-format", "json"), "no host given, use -H HOST (try --help)"),
    ],
)
def test_wrong_usage_is_json_too(arguments: tuple[str, ...], problem: str) -> None:
    done = plugin.run(*arguments)
    assert (done.code, done.stderr, read(done)["status"]) == (3, "", f"SMTP UNKNOWN - {problem}")


def test_a_round_trip() -> None:
    trace = (
        b"Authentication-Results: x; spf=pass; dkim=none\r\n"
        b"Received: by b.x; Mon, 1 Jan 2001 00:00:09 +0000\r\n"
        b"Received: from <a>; never\r\n"
        b"X-Spam-Status: <No>|\r\n"
    ) + HEADER
    fetched = Tagged(
        b"UID FETCH 7",
        b"* 3 FETCH (UID 7 BODY[HEADER]<0> {%d}\r\n%s)\r\nTAG OK x\r\n" % (len(trace), trace),
    )
    whole = tuple(fetched if step is FETCHED else step for step in WHOLE)
    with (
        ScriptedServer(SENDING).running() as smtp,
        ScriptedServer(whole, edit=named(smtp)).running() as box,
    ):
        seen = read(
            run(
                *(smtp.port, "--rcpt", "a@x", "--deliver", "--auth-insecure"),
                *("--mailbox", f"imap://me@127.0.0.1:{box.port}"),
                *("--require-auth-results", "spf,dkim,dmarc"),
                environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret"},
            )
        )
    assert (smtp.faults, box.faults) == ([], [])
    (target,) = seen["targets"]
    notes = [masking.timeless(note) for note in target["delivery"]["notes"]]
    assert {**target["delivery"], "notes": notes} == {
        "mailboxes": ["me@127.0.0.1/INBOX"],
        "hops": [{"host": "", "seconds": None}, {"host": "b.x", "seconds": 9.0}],
        "authentication": {"spf": "pass", "dkim": "none"},
        "spam": [{"field": "x-spam-status", "value": "(No)\\x7c"}],
        "notes": ["me@127.0.0.1/INBOX: connect # s, login # s, search # s"],
        "certificates": [],
    }
    *_, last, delivery = target["stages"]
    silent = {"reply": "", "raw": ""}
    assert masked([last, delivery], smtp.port) == [
        stage("quit"),
        stage(
            "delivery",
            state="WARNING",
            findings=[
                {"kind": "unauthenticated", "problem": "dkim is none", **silent},
                {"kind": "unauthenticated", "problem": "no result of dmarc", **silent},
            ],
            problems=[
                "delivery: dkim is none",
                "delivery: no result of dmarc",
            ],
        ),
    ]
    assert delivery["began"] <= last["began"]
    assert seen["perfdata"][-1] == f"delivery={delivery['seconds']:.6f}s;;;0"
