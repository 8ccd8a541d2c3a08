"""OAuth 2 among real parts: a token server, Dovecot that asks it, Postfix that asks Dovecot."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import tempfile
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests import json_answer, masking, plugin
from tests.servers import mailbox, postfix, tokens
from tests.servers.authority import Authority
from tests.servers.mailbox import PASSWORD, USER, Mailboxes
from tests.servers.postfix import Postfix
from tests.servers.scripted import Expect, Handshake, ScriptedServer, Swallow
from tests.servers.tokens import CLIENT_SECRET, REFRESH_TOKEN, SCOPE, TokenServer
from tests.servers.tokens import Answer as Given

DOVECOT = """\
auth_mechanisms = plain login xoauth2 oauthbearer
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
service auth {{
  unix_listener {folder}/sasl {{
    mode = 0666
  }}
}}
"""

OAUTH2 = """\
introspection_mode = post
introspection_url = {url}
force_introspection = yes
username_attribute = username
active_attribute = active
active_value = true
scope = mail
"""


class Site:
    """A submission server, the mailboxes behind it, and who gives out tokens."""

    def __init__(
        self, server: Postfix, boxes: Mailboxes, giver: TokenServer, authority: Authority
    ) -> None:
        self.server = server
        self.boxes = boxes
        self.giver = giver
        self.authority = authority

    def run(
        self, *arguments: str, given: dict[str, str] | None = None, prefix: tuple[str, ...] = ()
    ) -> plugin.Outcome:
        """Check, and see that no output has a secret in any form."""
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(self.server.port), "-F", "client.example"),
            *("-S", "--sni", "localhost", "--ca-file", self.authority.path, *arguments),
            environment=given,
            prefix=prefix,
        )
        assert done.stderr == ""
        secrets = [CLIENT_SECRET, REFRESH_TOKEN, "a-rotated-refresh-token", *self.giver.given]
        secrets += (given or {}).values()
        low = done.stdout.lower()
        assert [one for one in secrets for form in forms(one) if form.lower() in low] == []
        return done

    def said(self, done: plugin.Outcome) -> tuple[int, str]:
        """Return exit code and status line without the target and what TLS is like."""
        line = re.sub(r", TLS 1.3, certificate expires in \d+ days, [-\d]+", "", done.line)
        line = masking.unraced(line).partition(f"127.0.0.1:{self.server.port} ")[2]
        return done.code, re.sub(r"localhost:\d+", "localhost", line)

    def written(self, path: Path, **values: str) -> str:
        return tokens.written(path, self.giver.url, **values)


def forms(secret: str) -> list[str]:
    """Return what a secret could be shown as."""
    found = [secret, quote(secret, ""), quote_plus(secret), secret.encode().hex()]
    for before in ("", "a", "ab"):
        whole = base64.b64encode(f"{before}{secret}".encode()).decode().rstrip("=")
        found.append(whole[4:-2])
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    path = tmp_path_factory.mktemp("oauth")
    authority = Authority.made(path, "Private CA")
    certificate = authority.written(path / "certificate", "localhost")
    with (
        tempfile.TemporaryDirectory(prefix="oauth-") as name,
        tokens.running(authority, USER) as giver,
    ):
        folder = Path(name)
        folder.chmod(0o711)
        (folder / "oauth2.conf").write_text(OAUTH2.format(url=giver.introspection))
        with (
            mailbox.running(certificate, further=DOVECOT.format(folder=folder)) as boxes,
            postfix.delivering(
                boxes.port,
                smtpd_tls_chain_files=certificate,
                smtpd_tls_security_level="may",
                smtpd_tls_auth_only="yes",
                smtpd_sasl_auth_enable="yes",
                smtpd_sasl_type="dovecot",
                smtpd_sasl_path=f"{folder}/sasl",
            ) as server,
        ):
            yield Site(server, boxes, giver, authority)


@pytest.fixture
def site(running: Site) -> Site:
    running.giver.reset()
    for path in running.boxes.messages():
        path.unlink()
    return running


ANSWERED = "answered in # s (slowest: # # s)"
STAGES = "time token connect tls banner helo starttls auth quit certificate_days"


@pytest.mark.parametrize(
    ("arguments", "mechanism"),
    [((), "XOAUTH2"), (("-A", "OAUTHBEARER"), "OAUTHBEARER"), (("-A", "xoauth2"), "XOAUTH2")],
)
def test_login(site: Site, tmp_path: Path, arguments: tuple[str, ...], mechanism: str) -> None:
    file = site.written(tmp_path / "oauth.ini")
    done = site.run("-U", USER, "--oauth", file, *arguments, "-w", "token=5")
    assert site.said(done) == (0, f"{ANSWERED}, logged in by {mechanism}")
    assert done.labels == STAGES
    assert "token=#s;5;;0" in done.perfdata
    assert site.giver.forms == [
        {
            "grant_type": "client_credentials",
            "client_id": tokens.CLIENT,
            "client_secret": CLIENT_SECRET,
            "scope": SCOPE,
        }
    ]


def test_its_time_is_none_of_the_session_s(site: Site, tmp_path: Path) -> None:
    site.giver.before = lambda _: time.sleep(0.4)
    file = site.written(tmp_path / "oauth.ini")
    done = site.run("-U", USER, "--oauth", file, "-w", "token=0.3,time=9", "-v")
    times = done.times()
    assert times["time"] < 0.4 <= times["token"]
    assert done.code == 1
    assert "token took # s (limit 0.3 s)" in done.line
    # Nor is it on the session's axis: the bars of both stand one behind the other.
    rows = dict(re.findall(r"^(token|connect) +0\.\d+ s ([█░]+) ", done.stdout, re.MULTILINE))
    assert rows["token"].startswith("█" * 10)
    assert rows["connect"].startswith("░" * 10)


def test_a_rotated_refresh_token_is_not_kept(site: Site, tmp_path: Path) -> None:
    (tmp_path / "refresh").write_text(f"{REFRESH_TOKEN}\nanother line\n")
    (tmp_path / "refresh").chmod(0o600)
    (tmp_path / "secret").write_text(f"{CLIENT_SECRET}\n")
    (tmp_path / "secret").chmod(0o600)
    # Both are beside the file that names them.
    names = {"client_secret": "", "client_secret_file": "secret", "refresh_token_file": "refresh"}
    file = site.written(tmp_path / "oauth.ini", scope="", **names)
    for _ in range(2):
        done = site.run("-U", USER, "--oauth", file, "-vvv")
        assert site.said(done)[1].endswith("logged in by XOAUTH2")
        assert "*: " in done.stdout
        assert "C: POST /tenant/oauth2/v2.0/token HTTP/1.1\n" in done.stdout
    assert [form["refresh_token"] for form in site.giver.forms] == [REFRESH_TOKEN] * 2


TRIP = ("--rcpt", USER, "--deliver", "--delivery-timeout", "5")
DELIVERED = "1 recipient accepted, delivered to"


@pytest.mark.parametrize(
    ("scheme", "mechanism"),
    [
        ("imap", ""),
        ("imap", ";AUTH=*"),
        ("imaps", ";AUTH=XOAUTH2"),
        ("imaps", ";auth=oauthbearer"),
        ("pop3", ""),
        ("pop3s", ";AUTH=OAUTHBEARER"),
    ],
)
def test_one_token_serves_both(site: Site, tmp_path: Path, scheme: str, mechanism: str) -> None:
    file = site.written(tmp_path / "oauth.ini")
    place = site.boxes.url(scheme, user=f"{USER}{mechanism}")
    again = ("--mailbox-oauth", file) if scheme == "imap" else ()
    done = site.run("-U", USER, "--oauth", file, *again, *TRIP, "--mailbox", place, "-vv")
    where = "INBOX" if scheme.startswith("imap") else "localhost"
    said = f"{ANSWERED}, logged in by XOAUTH2, {DELIVERED} {where} after # s"
    assert site.said(done) == (0, masking.unraced(said))
    assert len(site.giver.given) == 1
    used = re.findall(r"C: (?:a\d+ AUTHENTICATE|AUTH) (\w+)", done.stdout)[:2]
    assert used == ["XOAUTH2", "OAUTHBEARER" if "bearer" in mechanism.lower() else "XOAUTH2"]


@pytest.mark.parametrize("scheme", ["imaps", "pop3s"])
def test_a_token_for_the_mailbox_alone(site: Site, tmp_path: Path, scheme: str) -> None:
    file = site.written(tmp_path / "oauth.ini")
    for option in ("--oauth", "--mailbox-oauth"):
        done = site.run(option, file, *TRIP, "--mailbox", site.boxes.url(scheme))
        assert done.code == 0
        assert done.labels.startswith("time token connect ")
    # One that is given, as a password.
    place = site.boxes.url(scheme, user=f"{USER};AUTH=XOAUTH2")
    given = {"CHECK_SMTP_HEALTH_MAILBOXPASS": site.giver.issue()}
    done = site.run(*TRIP, "--mailbox", place, given=given)
    assert (done.code, done.labels.split()[1]) == (0, "connect")
    # A password goes before what is for SMTP.
    given = {"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD}
    done = site.run(
        "-U", USER, "--oauth", file, *TRIP, "--mailbox", site.boxes.url(scheme), "-vv", given=given
    )
    assert done.code == 0
    assert "AUTHENTICATE PLAIN ***" in done.stdout or "PASS ***" in done.stdout


def test_two_files_are_two_tokens(site: Site, tmp_path: Path) -> None:
    files = [site.written(tmp_path / f"{name}.ini") for name in "ab"]
    both = ("--oauth", files[0], "--mailbox-oauth", files[1])
    done = site.run("-U", USER, *both, *TRIP, "--mailbox", site.boxes.url())
    assert (done.code, len(site.giver.given)) == (0, 2)


def test_several_targets_have_one_token(site: Site, tmp_path: Path) -> None:
    file = site.written(tmp_path / "oauth.ini")
    done = site.run("-H", "127.0.0.2", "-U", USER, "--oauth", file)
    assert (done.code, len(site.giver.given)) == (0, 1)
    assert [one for one in done.labels.split() if "token" in one] == [
        "'127.0.0.1::token'",
        "'127.0.0.2::token'",
    ]
    site.giver.answer = tokens.refusing(401, **tokens.EXPIRED)
    done = site.run("-H", "127.0.0.2", "-U", USER, "--oauth", file)
    assert done.code == 2
    assert done.line.count("token: invalid_client: the client secret has expired (after # s)") == 2
    assert done.line.endswith(", 0 of 2 healthy")


GIVEN = "CHECK_SMTP_HEALTH_AUTHPASS"


@pytest.mark.parametrize("fault", ["audience", "expired", "unknown"])
@pytest.mark.parametrize(
    ("mechanism", "why"),
    [("XOAUTH2", "status 401, scope mail"), ("OAUTHBEARER", "status invalid_token")],
)
def test_a_token_that_is_refused(site: Site, fault: str, mechanism: str, why: str) -> None:
    if fault == "audience":
        site.giver.audience = "https://graph.microsoft.com"
    elif fault == "expired":
        site.giver.expires = -1.0
    token = "unkn0wn-t0ken-of-somebody" if fault == "unknown" else site.giver.issue()
    done = site.run("-U", USER, "-A", mechanism, "-vvv", given={GIVEN: token})
    assert site.said(done) == (
        2,
        f"auth: {mechanism}: 535 5.7.8 Error: authentication failed: (reason unavailable) ({why}) "
        "(after # s), cause: token rejected",
    )
    for scheme, said in (
        ("imaps", "'NO (AUTHENTICATIONFAILED) Authentication failed.'"),
        ("pop3s", "'-ERR (AUTH) Authentication failed.'"),
    ):
        place = site.boxes.url(scheme, user=f"{USER};AUTH={mechanism}")
        given = {"CHECK_SMTP_HEALTH_MAILBOXPASS": token}
        done = site.run(*TRIP, "--mailbox", place, "-vvv", given=given)
        code, line = site.said(done)
        assert code == 2
        assert f": login refused ({mechanism}; {why}): {said} (after # s), cause: token" in line


SECRET_EXPIRED = "invalid_client: the client secret has expired"
NO_JSON = "localhost: the answer is not JSON with a token in it"
TOO = "localhost: the access token has more than"
JSON = (("Content-Type", "application/json"),)
HTML = (("Content-Type", "text/html; charset=utf-8"),)


def giving(**members: object) -> Given:
    return Given(200, json.dumps({"token_type": "Bearer", **members}).encode())


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Never end an answer."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{")
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b'"access_token": "unending-t0ken",' * 999)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            tokens.refusing(401, **tokens.EXPIRED),
            2,
            "invalid_client: the client secret has expired",
        ),
        (
            tokens.refusing(200, **tokens.EXPIRED),
            2,
            "invalid_client: the client secret has expired",
        ),
        (tokens.refusing(400, error="invalid_scope"), 2, "invalid_scope"),
        (
            # Microsoft's have a trace of several lines.
            tokens.refusing(
                401, error="invalid_client", error_description="AADSTS7000222: The\r\nkey"
            ),
            2,
            "invalid_client: AADSTS7000222: The / key",
        ),
        (
            tokens.refusing(
                400,
                error="<b>|\x1b[31m",
                error_description=f"no {CLIENT_SECRET} {quote_plus(CLIENT_SECRET)} here",
                access_token="an-access-token-in-an-error",
            ),
            2,
            "(b)\\x7c\\x1b(31m: no *** *** here",
        ),
        (
            tokens.refusing(400, error="x" * 81, error_description=f"{'y' * 250}{CLIENT_SECRET}"),
            2,
            f"{'x' * 77}...: {'y' * 250}***",
        ),
        (
            tokens.refusing(
                400, error="no", error_description="got unf0reseen", id_token="unf0reseen"
            ),
            2,
            "no: got ***",
        ),
        (tokens.refusing(429, error="slow down"), 1, "slow down"),
        (
            tokens.refusing(503, **tokens.EXPIRED),
            1,
            "invalid_client: the client secret has expired",
        ),
        (tokens.refusing(400, error="temporarily_unavailable"), 1, "temporarily_unavailable"),
        (Given(502, b"<html>Bad gateway</html>", HTML), 1, "the answer is 502"),
        (Given(404, b"<html>Nothing here</html>", HTML), 2, "the answer is 404"),
        (Given(400, b"[" * 9999, JSON), 2, "the answer is 400"),
        (
            Given(302, b"", (("Location", "https://localhost/"),)),
            2,
            "localhost: the answer is 302, and redirects are not followed",
        ),
        (
            Given(200, b"<html>Log in, " + CLIENT_SECRET.encode(), HTML),
            2,
            f"{NO_JSON} (text/html)",
        ),
        (
            Given(200, b'{"access_token": "half-a-t0ken', JSON),
            2,
            f"{NO_JSON} (application/json)",
        ),
        (
            Given(200, b'["a-t0ken"]', ()),
            2,
            f"{NO_JSON} (untyped)",
        ),
        (
            Given(200, b"\xff\xfe\0", JSON),
            2,
            f"{NO_JSON} (application/json)",
        ),
        (giving(), 2, "localhost: the answer has no access_token"),
        (giving(access_token=""), 2, "localhost: the answer has no access_token"),
        (giving(access_token=["t0ken"]), 2, "localhost: the answer has no access_token"),
        (
            giving(access_token="t" * 8193),
            2,
            "localhost: the access token has more than 8192 bytes",
        ),
        (giving(access_token="t" * 65536), 2, "localhost: more than 64 KiB"),
        *(
            (
                giving(access_token=f"b4d-t0{evil}ken"),
                2,
                "localhost: the access token contains invalid characters",
            )
            for evil in ("\r\nQUIT\r\n", "\0", "\1", " ", "\x7f", "\u00e9", "\ud800", "\u202e")
        ),
        (
            giving(access_token="g00d-t0ken", token_type="mac"),
            2,
            "localhost: the token is not of type Bearer",
        ),
    ],
)
def test_an_endpoint_that_gives_no_token(
    site: Site, tmp_path: Path, answer: Given, code: int, said: str
) -> None:
    site.giver.answer = answer
    file = site.written(tmp_path / "oauth.ini")
    for arguments in (("-vvv",), ("--output-format", "json")):
        done = site.run("-U", USER, "--oauth", file, *arguments)
        assert "t0ken" not in done.stdout
        assert "unf0reseen" not in done.stdout
        assert done.code == code
    seen = json_answer.read(done)
    (told,) = (one["text"] for one in seen["problems"])
    assert (
        re.sub(r"localhost:\d+", "localhost", masking.timeless(told))
        == f"token: {said} (after # s)"
    )
    # The session goes as far as it can.
    assert [one["name"] for one in seen["targets"][0]["stages"]] == [
        *("token", "connect", "banner", "helo", "starttls", "tls", "helo", "quit")
    ]


def test_of_two_refusals_each_is_told(site: Site, tmp_path: Path) -> None:
    login = site.written(tmp_path / "a.ini", client_secret="another")
    box = site.written(tmp_path / "b.ini", scope="mail.read")
    both = ("--oauth", login, "--mailbox-oauth", box)
    done = site.run("-U", USER, *both, *TRIP, "--mailbox", site.boxes.url())
    said = "token: invalid_client: who are you? (after # s)"
    assert site.said(done) == (2, f"{said}, also token: for the mailbox: invalid_scope")


def test_without_the_mailbox_s_token_nothing_is_sent(site: Site, tmp_path: Path) -> None:
    login, box = (site.written(tmp_path / f"{name}.ini") for name in "ab")
    Path(box).write_text(Path(box).read_text().replace(SCOPE, "mail.read"))
    both = ("--oauth", login, "--mailbox-oauth", box)
    done = site.run("-U", USER, *both, *TRIP, "--mailbox", site.boxes.url())
    assert site.said(done) == (2, "token: for the mailbox: invalid_scope (after # s)")
    assert done.labels == (
        "time connect tls banner helo starttls auth mail rcpt quit certificate_days"
    )
    assert site.boxes.messages() == []


def test_an_endpoint_that_never_ends(site: Site, tmp_path: Path) -> None:
    site.giver.before = endless
    file = site.written(tmp_path / "oauth.ini")
    done = site.run("-U", USER, "--oauth", file, "-vvv")
    assert site.said(done) == (2, "token: localhost: more than 64 KiB (after # s)")
    assert "unending" not in done.stdout


@pytest.mark.parametrize("dripping", [False, True])
def test_a_slow_endpoint_leaves_the_server_its_time(
    site: Site, tmp_path: Path, dripping: bool
) -> None:
    def wait(handler: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(OSError):
            for _ in range(30):
                handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * dripping)
                time.sleep(0.1)

    site.giver.before = wait
    file = site.written(tmp_path / "oauth.ini")
    done = site.run("-U", USER, "--oauth", file, "-t", "2:warning", "-v")
    assert site.said(done) == (1, "token: localhost: no answer within 1 s")
    assert "starttls" in done.labels
    assert done.seconds < 2 + plugin.SLACK


def test_an_endpoint_that_nobody_vouches_for(site: Site, tmp_path: Path) -> None:
    other = Authority.made(tmp_path, "Other CA")
    with tokens.running(other, USER) as stranger:
        file = tokens.written(tmp_path / "oauth.ini", stranger.url)
        done = site.run("-U", USER, "--oauth", file, "--no-verify")
        assert stranger.forms == []
    assert site.said(done) == (
        2,
        "token: localhost: certificate unknown issuer, try --ca-file (after # s)",
    )


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_a_long_token_waits_for_the_challenge(site: Site, tmp_path: Path, scheme: str) -> None:
    site.giver.length = 2000
    file = site.written(tmp_path / "oauth.ini")
    done = site.run(
        *("-U", USER, "--oauth", file, *TRIP, "-vv", "--mailbox", site.boxes.url(scheme))
    )
    assert (done.code, len(site.giver.given[0]) > 5000) == (0, True), done.stdout
    assert "C: AUTH XOAUTH2\n" in done.stdout


def test_an_interrupted_run_asks_no_server(site: Site, tmp_path: Path) -> None:
    site.giver.before = lambda _: time.sleep(3)
    file = site.written(tmp_path / "oauth.ini")
    done = site.run(
        "-H", "127.0.0.2", "-U", USER, "--oauth", file, prefix=("timeout", "--preserve-status", "1")
    )
    said = "token: interrupted by SIGTERM (after # s)"
    assert done.stdout.count("token: interrupted") == 2
    assert (done.code, said in done.line, "connect" in done.stdout) == (3, True, False)


def test_by_a_proxy(site: Site, tmp_path: Path) -> None:
    file = site.written(tmp_path / "oauth.ini")
    port = site.giver.url.partition("localhost:")[2].partition("/")[0]
    proxy = ScriptedServer((Swallow(), b"HTTP/1.1 407 Who are you?\r\n\r\n"))
    with proxy.running():
        url = f"http://me:pr0xy-secret@127.0.0.1:{proxy.port}"
        given = {"https_proxy": url}
        done = site.run("-U", USER, "--oauth", file, "-vvv", given=given)
    assert "pr0xy" not in done.stdout
    assert proxy.received[0].startswith(b"CONNECT localhost:%s HTTP/1.1\r\n" % port.encode())
    said = f"token: the proxy 127.0.0.1:{proxy.port}: the answer is 407 (after # s)"
    assert site.said(done) == (3, said)


def test_all_that_a_server_may_say_of_a_token(site: Site, tmp_path: Path) -> None:
    """The token is known before the server says its first word, and hidden in all of them."""
    site.giver.answer = giving(access_token=(token := "eyJ0eX+/=.h0stile-t0ken~of-us"))
    response = f"user={USER}\1auth=Bearer {token}\1\1".encode()
    echoes = [
        token,
        quote(token, ""),
        quote_plus(token).lower(),
        json.dumps(token).replace("/", "\\/"),
        token.encode().hex(),
        *(base64.b64encode(one).decode() for one in (response, b"x" + response, token.encode())),
        CLIENT_SECRET,
        base64.b64encode(f"{tokens.CLIENT}:{CLIENT_SECRET}".encode()).decode(),
        quote_plus(CLIENT_SECRET),
    ]
    refused = json.dumps({"status": token, "scope": "mail " + token, "schemes": "bearer"})
    said = " ".join(echoes).encode()
    script = (
        *(Handshake(site.authority.serving("localhost")), b"220 mx " + said + b"\r\n"),
        *(Expect(b"EHLO"), b"250-mx " + said + b"\r\n250 AUTH XOAUTH2\r\n"),
        *(Expect(b"AUTH XOAUTH2"), b"334 " + base64.b64encode(refused.encode()) + b"\r\n"),
        *(Expect(b"\r\n"), b"535 5.7.8 " + said + b"\r\n", Expect(b"QUIT"), b"221 bye\r\n"),
    )
    file = site.written(tmp_path / "oauth.ini")
    for more in (("-vvv",), ("--output-format", "json")):
        with ScriptedServer(script).running() as server:
            done = plugin.run(
                *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "--ssl"),
                *("--sni", "localhost", "--ca-file", site.authority.path, *more),
                *("-U", USER, "--oauth", file, "-v"),
            )
        assert (done.code, done.stderr, server.faults) == (2, "", [])
        low = done.stdout.lower()
        assert [one for one in (*echoes, "h0stile") if one.lower() in low] == []
    assert "(status ***, scope mail ***)" in done.stdout


def test_a_server_that_takes_no_token(site: Site, tmp_path: Path) -> None:
    script = (
        *(Handshake(site.authority.serving("localhost")), b"220 mx\r\n"),
        *(Expect(b"EHLO"), b"250-mx\r\n250 AUTH PLAIN LOGIN\r\n"),
        *(Expect(b"QUIT"), b"221 bye\r\n"),
    )
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "--ssl"),
            *("--sni", "localhost", "--ca-file", site.authority.path),
            *("-U", USER, "--oauth", site.written(tmp_path / "oauth.ini")),
        )
    assert (done.code, done.line, done.stderr, server.faults) == (
        2,
        f"SMTP CRITICAL - 127.0.0.1:{server.port} auth: no mechanism for an access token is "
        "offered, only PLAIN LOGIN, cause: login mechanism",
        "",
        [],
    )
