"""AUTH: each mechanism as its RFC has it, what servers do with it, and no secret anywhere."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest

from check_smtp_health.smtp import sasl
from tests import faults, needs, plugin
from tests.servers.authority import Authority
from tests.servers.catalogue import BANNER, EHLO, NAME, QUIT, Behaviour, login
from tests.servers.catalogue.login import FORMS, PASSWORD, USER, encoded
from tests.servers.certificates import Certificates
from tests.servers.scripted import Expect, Handshake, ScriptedServer, Sleep, Step

BOTH = f"\0{USER}\0{PASSWORD}"
OFFER = b"250-mx.example\r\n250 AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2\r\n"
GREETED = (BANNER, EHLO, OFFER)
ASKED = "time connect banner helo"
DONE = f"{ASKED} auth quit"

CLEAR = ("--auth-insecure",)
GIVEN = {"CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD}


def logs_in(script: tuple[Step, ...], *arguments: str) -> plugin.Checked:
    """Log in, and show all that there is; no output may hold the password in any form."""
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *(*plugin.at(server.port), "-t", "1", "-U", USER, *arguments, "-vvv"), environment=GIVEN
        )
    assert (done.stderr, server.faults) == ("", [])
    assert [form for form in FORMS if form in done.stdout] == []
    return plugin.Checked(
        done.code, done.line.replace(f" 127.0.0.1:{server.port}", ""), done.labels
    )


OK = "SMTP OK - answered in # s (slowest: # # s)"
CHALLENGE = "<1896.697170952@postoffice.example>"
DIGEST = hmac.new(PASSWORD.encode(), CHALLENGE.encode(), "md5").hexdigest()


@pytest.mark.parametrize(
    ("mechanism", "dialogue"),
    [
        ("PLAIN", (Expect(b"AUTH PLAIN " + encoded(BOTH) + b"\r\n"),)),
        (
            "login",
            (
                Expect(b"AUTH LOGIN\r\n"),
                b"334 VXNlcm5hbWU6\r\n",
                Expect(encoded(USER) + b"\r\n"),
                b"334 UGFzc3dvcmQ6\r\n",
                Expect(encoded(PASSWORD) + b"\r\n"),
            ),
        ),
        (
            "CRAM-MD5",
            (
                Expect(b"AUTH CRAM-MD5\r\n"),
                b"334 " + encoded(CHALLENGE) + b"\r\n",
                Expect(encoded(f"{USER} {DIGEST}") + b"\r\n"),
            ),
        ),
        (
            "XOAUTH2",
            (
                Expect(
                    b"AUTH XOAUTH2 " + encoded(f"user={USER}\1auth=Bearer {PASSWORD}\1\1") + b"\r\n"
                ),
            ),
        ),
    ],
)
def test_mechanisms(mechanism: str, dialogue: tuple[Step, ...]) -> None:
    script = (Sleep(0.05), *GREETED, *dialogue, b"235 2.7.0 in\r\n", *QUIT)
    said = f"{OK}, logged in by {mechanism.upper()}"
    assert logs_in(script, "-A", mechanism, *CLEAR) == (0, said, DONE)


@pytest.mark.parametrize(
    ("offered", "arguments", "chosen", "hinted"),
    [
        (b"LOGIN PLAIN", CLEAR, b"AUTH PLAIN ", False),
        (b"LOGIN XOAUTH2", CLEAR, b"AUTH LOGIN\r\n", False),
        (b"plain cram-md5", (), b"AUTH CRAM-MD5\r\n", False),
        (b"PLAIN CRAM-MD5 SCRAM-SHA-256", (), b"AUTH SCRAM-SHA-256 ", False),
        (b"PLAIN CRAM-MD5 SCRAM-SHA-256", CLEAR, b"AUTH SCRAM-SHA-256 ", True),
    ],
)
def test_the_best_of_both(
    offered: bytes, arguments: tuple[str, ...], chosen: bytes, *, hinted: bool
) -> None:
    script = (
        *(BANNER, EHLO, b"250-mx.example\r\n250-AUTH=" + offered + b"\r\n250 SIZE\r\n"),
        *(Expect(chosen), b"535 5.7.8 no\r\n", *QUIT),
    )
    got = logs_in(script, *arguments)
    name = chosen.split()[1].decode()
    hint = ", try -A PLAIN" if hinted else ""
    refused = f"auth: {name}: 535 5.7.8 no{hint} (after # s), cause: login rejected"
    said = f"SMTP CRITICAL - {refused}"
    assert got == (2, said, f"{ASKED} quit")


@pytest.mark.parametrize("row", login.ROWS, ids=lambda row: row.name)
def test_no_secret_in_a_transcript(row: Behaviour, tmp_path: Path) -> None:
    script = Certificates(tmp_path, NAME).script(row.script)
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-t", "0.5", "-F", "me.example", "-vvv"),
            *row.asks.ours,
        )
    assert (done.code, done.stderr) == (faults.STATES.index(row.state), "")
    assert [form for form in FORMS if form in done.stdout] == []


def test_a_long_password_waits_for_the_challenge(tmp_path: Path) -> None:
    password = "x" * 400
    file = tmp_path / "password"
    file.write_text(f"{password}\nsecond line\n")
    file.chmod(0o600)
    response = encoded(f"\0{USER}\0{password}")
    script = (
        *(*GREETED, Expect(b"AUTH PLAIN\r\n"), b"334 \r\n", Expect(response + b"\r\n")),
        *(b"235 in\r\n", *QUIT),
    )
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-vv", *CLEAR),
            *("-A", "PLAIN", "-U", USER, "--authpass-file", str(file)),
        )
    assert (done.code, done.stderr, server.faults) == (0, "", [])
    assert response.decode()[:20] not in done.stdout


@pytest.mark.parametrize(
    ("mode", "text", "problem"),
    [
        (
            0o644,
            "x\n",
            "--authpass-file: 'password' can be read by everyone, run chmod o-r on it",
        ),
        (0o600, "\nx\n", "--authpass-file: the first line of 'password' is empty"),
        (0o600, "", "--authpass-file: the first line of 'password' is empty"),
        *(
            (
                0o600,
                f"a{evil}b",
                "-U: the password contains a control character, such as a line break",
            )
            for evil in "\0\t\r\x1b\x7f\x85"
        ),
    ],
)
def test_password_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, text: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("password").write_bytes(text.encode())
    Path("password").chmod(mode)
    done = plugin.run("-H", "127.0.0.1", "-S", "-U", USER, "--authpass-file", "password")
    assert (done.code, done.stdout, done.stderr) == (3, f"SMTP UNKNOWN - {problem}\n", "")


def test_without_scramp_its_mechanism_is_not_to_be_had(tmp_path: Path) -> None:
    (tmp_path / "scramp.py").write_text("raise ImportError('not here')")
    environment = {"PYTHONPATH": str(tmp_path), "CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD}
    done = plugin.run("-H", "127.0.0.1", "-U", USER, "-A", "scram-sha-256", environment=environment)
    assert (done.code, done.stdout, done.stderr) == (
        3,
        "SMTP UNKNOWN - -A: SCRAM-SHA-256 needs the library scramp: "
        "install python3-scramp, or scramp with pip\n",
        "",
    )
    offer = b"250-mx\r\n250 AUTH SCRAM-SHA-256 CRAM-MD5\r\n"
    script = (BANNER, EHLO, offer, Expect(b"AUTH CRAM-MD5\r\n"), b"535 no\r\n", *QUIT)
    with ScriptedServer(script).running() as server:
        where = ("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example")
        done = plugin.run(*where, "-U", USER, environment=environment)
    assert (done.code, done.stderr, server.faults) == (2, "", [])


def test_empty_variable_is_not_set() -> None:
    done = plugin.run(
        *("-H", "127.0.0.1", "-S", "-U", USER), environment={"CHECK_SMTP_HEALTH_AUTHPASS": ""}
    )
    assert (done.code, done.stdout) == (
        3,
        "SMTP UNKNOWN - -U: needs a password, use --authpass-file FILE\n",
    )


def test_within_tls_nothing_is_shown_and_helo_counts_twice(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path, "good")
    file = tmp_path / "options.ini"
    file.write_text(f"[login]\nU={USER}\nP={PASSWORD}\nca-file={authority.path}\n")
    script = (
        *(BANNER, EHLO, b"250-mx\r\n250 STARTTLS\r\n", Expect(b"STARTTLS"), b"220 go\r\n"),
        *(Handshake(authority.serving()), EHLO, OFFER, Expect(b"AUTH CRAM-MD5\r\n")),
        *(b"334 " + encoded(CHALLENGE) + b"\r\n", Expect(encoded(f"{USER} {DIGEST}") + b"\r\n")),
        *(b"235 in\r\n", *QUIT),
    )
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-S", "-vvv"),
            *("-A", "CRAM-MD5"),
            *("--sni", "mx.example", f"--extra-opts=login@{file}"),
        )
    assert (done.code, done.stderr, server.faults) == (0, "", [])
    assert [form for form in FORMS if form in done.stdout] == []
    assert [line.split()[0] for line in done.stdout.splitlines()[1:9]] == [
        *("connect", "banner", "helo", "starttls", "tls", "helo", "auth", "quit"),
    ]
    login = done.stdout.splitlines()[-14:]
    assert [line[10:] for line in login if " C: AUTH" in line or "***" in line] == [
        "C: AUTH CRAM-MD5",
        "S: 334 ***",
        "C: ***",
    ]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "good")


def in_tls(authority: Authority, offered: str, *steps: Step) -> tuple[Step, ...]:
    """Return a server that offers this in TLS, and goes on so."""
    began = (BANNER, EHLO, b"250-mx\r\n250 STARTTLS\r\n", Expect(b"STARTTLS"), b"220 go\r\n")
    extensions = f"250-mx.example\r\n250 AUTH {offered}\r\n".encode()
    return (Sleep(0.05), *began, Handshake(authority.serving()), EHLO, extensions, *steps)


ALL = "SCRAM-SHA-256 CRAM-MD5 LOGIN PLAIN"
SPECIFIC = (
    "534-5.7.9 Application-specific password required.\r\n534 5.7.9 https://x.example/ - gsmtp"
)
BROWSER = "534-5.7.14 <https://x.example/> Please log in\r\n534 5.7.14 via your web browser"
DISABLED = (
    "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox."
)
CAUSES = {
    **dict.fromkeys(("535 5.7.8 no", SPECIFIC, BROWSER, DISABLED), "login rejected"),
}


@pytest.mark.parametrize(
    ("offered", "mechanism", "reply", "said"),
    [
        (ALL, "", "235 in", "logged in by PLAIN"),
        ("CRAM-MD5 LOGIN", "", "235 in", "logged in by LOGIN"),
        ("SCRAM-SHA-256 CRAM-MD5", "", "535 5.7.8 no", "SCRAM-SHA-256: 535 5.7.8 no"),
        (ALL, "CRAM-MD5", "535 5.7.8 no", "CRAM-MD5: 535 5.7.8 no, try -A PLAIN"),
        (ALL, "SCRAM-SHA-256", "454 4.7.0 no", "SCRAM-SHA-256: 454 4.7.0 no, try -A PLAIN"),
        (ALL, "LOGIN", "535 5.7.8 no", "LOGIN: 535 5.7.8 no"),
        ("CRAM-MD5 LOGIN", "CRAM-MD5", "535 no", "CRAM-MD5: 535 no, try -A LOGIN"),
        ("CRAM-MD5", "", "535 5.7.8 no", "CRAM-MD5: 535 5.7.8 no"),
        (f"XOAUTH2 {ALL}", "XOAUTH2", "535 5.7.8 no", "XOAUTH2: 535 5.7.8 no"),
        (ALL, "CRAM-MD5", "504 5.5.4 what?", "CRAM-MD5: 504 5.5.4 what?, try -A SCRAM-SHA-256"),
        ("PLAIN LOGIN", "", "504 5.5.4 what?", "PLAIN: 504 5.5.4 what?, try -A LOGIN"),
        ("PLAIN", "", "504 5.5.4 what?", "PLAIN: 504 5.5.4 what?"),
        ("PLAIN", "", "534 5.7.9 too weak", "PLAIN: 534 5.7.9 too weak"),
        (
            ALL,
            "",
            "530 5.7.0 this host may not log in",
            "PLAIN: 530 5.7.0 this host may not log in",
        ),
        (ALL, "", "538 5.7.11 no", "PLAIN: 538 5.7.11 no"),
        (ALL, "", DISABLED, f"PLAIN: {DISABLED}"),
        (ALL, "CRAM-MD5", "421 4.7.0 bye", "CRAM-MD5: 421 4.7.0 bye"),
        (
            ALL,
            "",
            SPECIFIC,
            "PLAIN: 534 5.7.9 Application-specific password required. / "
            "5.7.9 https://x.example/ - gsmtp (an application-specific password is needed)",
        ),
        (
            ALL,
            "",
            BROWSER,
            "PLAIN: 534 5.7.14 (https://x.example/) Please log in / 5.7.14 via your web browser "
            "(the account wants a login in a web browser first)",
        ),
    ],
)
def test_what_would_help(
    authority: Authority, offered: str, mechanism: str, reply: str, said: str
) -> None:
    end = () if reply.startswith("421") else QUIT
    asked: tuple[Step, ...] = (Expect(b"AUTH "),)
    if "LOGIN" in said and reply.startswith("2") and "PLAIN" not in offered:
        asked = (*asked, b"334 x\r\n", Expect(b""), b"334 y\r\n", Expect(b""))
    script = in_tls(authority, offered, *asked, f"{reply}\r\n".encode(), *end)
    tls = ("-S", "--sni", "mx.example", "--ca-file", authority.path)
    got = logs_in(script, *tls, *(("-A", mechanism) if mechanism else ()))
    if reply.startswith("2"):
        assert (got.code, got.line.rpartition(", ")[2]) == (0, said)
    else:
        state = "WARNING" if reply.startswith("4") else "CRITICAL"
        cause = CAUSES.get(reply, "")
        if mechanism == "XOAUTH2":
            cause = "token rejected"
        assert got.line == (
            f"SMTP {state} - auth: {said} (after # s){cause and f', cause: {cause}'}"
        )


@pytest.mark.parametrize(
    ("lines", "arguments", "said"),
    [
        (
            b"250-X-EXPS GSSAPI NTLM LOGIN\r\n250 AUTH\r\n",
            (),
            "AUTH is offered without any mechanism",
        ),
        (b"250 AUTH=\r\n", (), "AUTH is offered without any mechanism"),
        (b"250 AUTH\r\n", ("-A", "LOGIN"), "AUTH is offered without any mechanism"),
        (
            b"250-AUTH PLAIN LOGIN\r\n250 AUTH=PLAIN LOGIN\r\n",
            ("-A", "CRAM-MD5"),
            "CRAM-MD5 is not offered, only PLAIN LOGIN",
        ),
        (
            b"250-AUTH Ntlm\r\n250 AUTH=NTLM GSSAPI\r\n",
            (),
            "the server offers only NTLM GSSAPI, none of which this plugin supports",
        ),
        (
            b"250 AUTH XOAUTH2 OAUTHBEARER\r\n",
            (),
            "the server offers only XOAUTH2 OAUTHBEARER, and XOAUTH2 needs an access token "
            "(--oauth, or -A XOAUTH2 with the token as password)",
        ),
        (b"250-STARTTLS\r\n250 SIZE\r\n", (), "AUTH is not offered, try -S"),
    ],
)
def test_nothing_to_log_in_by(lines: bytes, arguments: tuple[str, ...], said: str) -> None:
    script = (BANNER, EHLO, b"250-mx.example\r\n" + lines, *QUIT)
    got = logs_in(script, *arguments, *CLEAR)
    cause = "" if said.startswith("AUTH is not offered") else ", cause: login mechanism"
    line = f"SMTP CRITICAL - auth: {said}{cause}"
    assert got == (2, line, f"{ASKED} quit")


def test_a_package_that_is_missing_here_is_our_trouble(tmp_path: Path) -> None:
    (tmp_path / "scramp.py").write_text("raise ImportError('not here')")
    environment = {"PYTHONPATH": str(tmp_path), "CHECK_SMTP_HEALTH_AUTHPASS": PASSWORD}
    script = (BANNER, EHLO, b"250-mx\r\n250 AUTH NTLM SCRAM-SHA-256\r\n", *QUIT)
    answer = plugin.check(script, "-U", USER, environment=environment)
    assert (answer.code, answer.line) == (
        3,
        "SMTP UNKNOWN - auth: the server offers only NTLM SCRAM-SHA-256, and SCRAM-SHA-256 needs "
        "the library scramp: install python3-scramp, or scramp with pip",
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("VXNlcm5hbWU6 4a7c91e2 - mx1", "UGFzc3dvcmQ6 4a7c91e2 - mx1"),
        ("Username:", "Password:"),
        ("", ""),
        ("\xff!!", "="),
    ],
)
def test_login_minds_no_prompt(first: str, second: str) -> None:
    script = (
        *(Sleep(0.05), *GREETED, Expect(b"AUTH LOGIN\r\n")),
        *(f"334 {first}\r\n".encode("latin-1"), Expect(encoded(USER) + b"\r\n")),
        *(f"334 {second}\r\n".encode("latin-1"), Expect(encoded(PASSWORD) + b"\r\n")),
        *(b"235 in\r\n", *QUIT),
    )
    assert logs_in(script, "-A", "LOGIN", *CLEAR) == (0, f"{OK}, logged in by LOGIN", DONE)


@pytest.mark.parametrize(("tls", "hint"), [("250-STARTTLS\r\n", ", try -S"), ("", "")])
def test_tls_is_wanted_first(tls: str, hint: str) -> None:
    offer = f"250-mx.example\r\n{tls}250 AUTH PLAIN\r\n".encode()
    script = (BANNER, EHLO, offer, Expect(b"AUTH PLAIN"), b"530 5.7.0 no\r\n", *QUIT)
    assert logs_in(script, *CLEAR).line == (
        f"SMTP CRITICAL - auth: PLAIN: 530 5.7.0 no (the server wants TLS first{hint}) (after # s)"
    )


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"])
def test_a_password_that_is_not_utf_8(tmp_path: Path, mechanism: str) -> None:
    """It is sent as it stands in the file, or the reason is given without a part of it."""
    file = tmp_path / "password"
    file.write_bytes(b"s\xe9cret\n")
    file.chmod(0o600)
    offer = b"250-mx.example\r\n250 AUTH " + mechanism.encode() + b"\r\n"
    script = (BANNER, EHLO, offer, Expect(b"AUTH "), b"535 no\r\n", *QUIT)
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-vvv", *CLEAR),
            *("-A", mechanism, "-U", USER, "--authpass-file", str(file)),
        )
    # SCRAM has its say on what characters a password may have.
    assert (done.code, done.stderr) == (3 if mechanism == "SCRAM-SHA-256" else 2, "")
    assert "internal error" not in done.stdout
    assert "cret" not in done.stdout
    if mechanism == "PLAIN":
        assert server.received[1] == b"AUTH PLAIN " + b"AG1vbml0b3IAc+ljcmV0" + b"\r\n"


def test_only_check_smtp_prints_the_password(tmp_path: Path) -> None:
    check_smtp = faults.check_smtp()
    if check_smtp is None:
        needs.leave_out("needs check_smtp 2.3")
    (row,) = (row for row in login.ROWS if row.name == "takes a login")
    secret = encoded(PASSWORD).decode()
    script = Certificates(tmp_path, NAME).script(row.script)
    with ScriptedServer(script).running() as server:
        where = ("-H", server.address, "-p", str(server.port), "-F", "me.example")
        code, theirs = faults.run_theirs([check_smtp, *where, *row.asks.for_check_smtp, "-v"])
        ours = plugin.run(*where, *row.asks.ours, "-vvv")
    assert (server.faults, code, ours.code) == ([], 0, 0)
    assert f"sent {secret}\r\n" in theirs
    assert [form for form in FORMS if form in ours.stdout] == []


def test_digest_is_rfc_2195s() -> None:
    """The example of RFC 2195 section 2."""
    mechanism = sasl.cram_md5("tim", "tanstaaftanstaaf")
    assert next(mechanism) is None
    response = mechanism.send(b"<1896.697170952@postoffice.reston.mci.net>")
    assert response == b"tim b913a602c7eda7a495b4e6e7334d3890"
