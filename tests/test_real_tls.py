"""TLS and AUTH with Postfix, Dovecot and Exim: what the plugin says of them, and they of us."""

from __future__ import annotations

import base64
import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from check_smtp_health.config.mailbox_url import TOKEN_MECHANISMS
from tests import masking, plugin
from tests.plugin import Outcome
from tests.servers import dovecot, exim, postfix
from tests.servers.authority import NAME, Authority, self_signed
from tests.servers.dovecot import MECHANISMS, Dovecot
from tests.servers.postfix import Postfix

USER = dovecot.USER
PASSWORD = "sesame öffne+dich"
WRONG = "sesame öffne+nich"

ANSWERED = "answered in # s (slowest: # # s)"
LIMITS = "90;14:;3:"


def fine(days: int, version: str = "1.3", login: str = "") -> str:
    """Return the status line's text where all is fine: days left, mechanism of the login if any."""
    logged_in = f", logged in by {login}" if login else ""
    return f"{ANSWERED}, TLS {version}, certificate expires in {days} days, #{logged_in}"


@dataclass(frozen=True)
class Files:
    """Files by path: certificates with their keys by kind, those of clients, and who to trust."""

    authority: str
    certificates: dict[str, str]
    client: str
    stranger: str


@dataclass(frozen=True)
class Way:
    """A way into TLS: the option, what it needs of Postfix, and what a session then consists of.

    ``began`` are the stages before the handshake and ``counts`` what Postfix counts in a healthy
    session; where we reject the certificate it counts ``rejected``, and ``looked`` when we come
    again to read it.
    """

    option: str
    wrapped: str
    began: str
    stages: str
    counts: str
    rejected: str
    looked: str


STARTTLS = Way(
    "-S",
    "no",
    "connect banner helo starttls",
    "connect tls banner helo starttls quit",
    "ehlo=2 starttls=1 quit=1 commands=4",
    "ehlo=1 starttls=0/1 commands=1/2",
    "ehlo=1 starttls=1 quit=1 commands=3",
)
IMPLICIT = Way(
    "--ssl",
    "yes",
    "connect",
    "connect tls banner helo quit",
    "helo=1 quit=1 commands=2",
    "commands=0/0",
    "quit=1 commands=1",
)
BOTH = pytest.mark.parametrize("way", [STARTTLS, IMPLICIT], ids=["STARTTLS", "implicit TLS"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("certificates")
    ours, theirs = Authority.made(folder, "ours"), Authority.made(folder, "theirs")
    self_signed(folder)
    return Files(
        ours.path,
        {
            "good": ours.written(folder / "good"),
            "expired": ours.written(folder / "expired", days=-3),
            "early": ours.written(folder / "early", since=3),
            "other name": ours.written(folder / "other", "other.example"),
            "self-signed": str(folder / "self-signed.pem"),
            "unknown issuer": theirs.written(folder / "unknown"),
            "5 days": ours.written(folder / "5", days=5),
            "20 days": ours.written(folder / "20", days=20),
            "missing": str(folder / "missing"),
        },
        client=ours.written(folder / "client", "monitor.example"),
        stranger=theirs.written(folder / "stranger", "monitor.example"),
    )


@pytest.fixture(scope="module")
def relay() -> Iterator[Postfix]:
    with postfix.running() as server:
        yield server


@pytest.fixture(scope="module")
def sasl(files: Files, relay: Postfix) -> Iterator[Dovecot]:
    with dovecot.running(PASSWORD, files.certificates["good"], relay.port) as server:
        yield server


@contextlib.contextmanager
def serving(certificate: str, way: Way = STARTTLS, **settings: str) -> Iterator[Postfix]:
    """Run a Postfix that speaks TLS."""
    tls = {
        "smtpd_tls_cert_file": certificate,
        "smtpd_tls_security_level": "may",
        "smtpd_tls_wrappermode": way.wrapped,
        "notify_classes": "",  # no mail to postmaster, for there is nobody to take it
    }
    with postfix.running(**{**tls, **settings}) as server:
        yield server


@contextlib.contextmanager
def knowing(files: Files, sasl: Dovecot, way: Way = STARTTLS, **settings: str) -> Iterator[Postfix]:
    """Run a Postfix that speaks TLS and asks Dovecot about passwords."""
    auth = {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": sasl.sasl,
    }
    with serving(files.certificates["good"], way, **{**auth, **settings}) as server:
        yield server


def run(port: int, *arguments: str, password: str = "") -> Outcome:
    """Run the plugin; a password is nowhere in what it shows, which with one is all there is."""
    has_tls = {"-S", "--ssl"} & set(arguments)
    outcome = plugin.run(
        *("-H", "127.0.0.1", "-p", str(port), "-F", "monitor.example"),
        *(("--sni", NAME) if has_tls else ()),
        *arguments,
        *(("-vvv", "-U", USER) if password else ()),
        environment={"CHECK_SMTP_HEALTH_AUTHPASS": password},
    )
    shown = [form for form in forms(password) if form in outcome.stdout] if password else []
    assert shown == []
    return outcome


def forms(password: str) -> list[str]:
    """Return what a password may look like in a session or in output."""
    texts = (
        password,
        f"\0{USER}\0{password}",
        f"user={USER}\1auth=Bearer {password}\1\1",
    )
    return [
        password,
        password.split(maxsplit=1)[0],  # without the letter that output may escape
        *(base64.b64encode(text.encode()).decode() for text in texts),
    ]


def told(outcome: Outcome) -> tuple[int, str, str, str]:
    """Return exit code, status line, perfdata and standard error, what varies masked."""
    return outcome.code, masking.masked(outcome.line), outcome.perfdata, outcome.stderr


def due(
    code: int, port: int, text: str, stages: str, *, days: str = LIMITS, timeout: str = "10"
) -> tuple[int, str, str, str]:
    """Return what ``told`` is to say of a run in which these stages completed."""
    state = ("OK", "WARNING", "CRITICAL", "UNKNOWN")[code]
    times = " ".join(f"{stage}=#s;;;0" for stage in stages.split())
    left = f" certificate_days={days}" if days else ""
    return (
        code,
        f"SMTP {state} - 127.0.0.1:{port} {text}",
        f"time=#s;;;0;{timeout} {times}{left}",
        "",
    )


def clean(counts: str) -> list[str]:
    """Return what Postfix logs of a session in which nothing went wrong."""
    return ["connect from unknown[127.0.0.1]", f"disconnect from unknown[127.0.0.1] {counts}"]


def farewells(server: Postfix, number: int) -> list[str]:
    """Return what Postfix counted in so many sessions, in no order."""
    deadline = time.monotonic() + postfix.PATIENCE
    while True:
        found = re.findall(r"disconnect from unknown\[127\.0\.0\.1\] (.*)", server.log())
        if len(found) >= number or time.monotonic() > deadline:
            return sorted(found)
        time.sleep(0.005)


def used(outcome: Outcome) -> list[str]:
    """Return the mechanisms with which the plugin tried to log in."""
    return re.findall(r" C: AUTH (\S+)", outcome.stdout)


@dataclass(frozen=True)
class Case:
    """A certificate, and what a run with these arguments says of it.

    ``text`` is masked, ``days`` the perfdata of its days.
    """

    kind: str
    arguments: tuple[str, ...]
    text: str
    days: str = LIMITS
    code: int = 0


@BOTH
@pytest.mark.parametrize(
    "case",
    [
        Case("good", (), fine(90)),
        Case("good", ("--tls-min", "1.3"), fine(90)),
        Case("other name", ("--sni", "other.example"), fine(90)),
        Case("other name", ("--no-verify",), fine(90)),
        Case("self-signed", ("--no-verify",), fine(90)),
        Case("unknown issuer", ("--no-verify",), fine(90)),
        Case("early", ("--ignore-certificate-expiration",), fine(90), ""),
        Case("20 days", (), fine(20), "20;14:;3:"),
        Case("20 days", ("-D", "20,10"), fine(20), "20;20:;10:"),
        Case("5 days", ("-D", "0"), fine(5), "5"),
        Case("5 days", ("--ignore-certificate-expiration",), fine(5), ""),
        Case("5 days", (), "certificate: expires in 5 days, # (limit 14)", "5;14:;3:", 1),
        Case("20 days", ("-D", "21"), "certificate: expires in 20 days, # (limit 21)", "20;21:", 1),
        Case("5 days", ("-D", "9,7"), "certificate: expires in 5 days, # (limit 7)", "5;9:;7:", 2),
        Case("expired", ("--no-verify",), "certificate: expired 3 days ago, #", "-3;14:;3:", 2),
        Case("expired", ("--no-verify", "-D", "0"), "certificate: expired 3 days ago, #", "-3", 2),
        Case("early", ("--no-verify",), "certificate: not valid before #, in 3 days", code=2),
    ],
    ids=lambda case: " ".join((case.kind, *case.arguments)),
)
def test_certificate(files: Files, way: Way, case: Case) -> None:
    with serving(files.certificates[case.kind], way) as server:
        trust = () if "--no-verify" in case.arguments else ("--ca-file", files.authority)
        outcome = run(server.port, way.option, *trust, *case.arguments)
        expected = due(case.code, server.port, case.text, way.stages, days=case.days)
        assert told(outcome) == expected
        assert server.sessions() == clean(way.counts)


@BOTH
@pytest.mark.parametrize(
    "case",
    [
        Case("expired", (), "expired 3 days ago, #", "-3;14:;3:"),
        Case("early", (), "is not valid before #, in 3 days"),
        Case("other name", (), f"is for other.example, not {NAME}, try --sni or --no-verify"),
        Case("self-signed", (), "self-signed, try --ca-file or --no-verify"),
        Case("unknown issuer", (), "issuer unknown: theirs, try --ca-file or --no-verify"),
    ],
    ids=lambda case: case.kind,
)
def test_certificate_rejected(files: Files, sasl: Dovecot, way: Way, case: Case) -> None:
    certificate = {"smtpd_tls_cert_file": files.certificates[case.kind]}
    with knowing(files, sasl, way, **certificate) as server:
        outcome = run(
            *(server.port, way.option, "--ca-file", files.authority, "-A", "PLAIN"),
            password=PASSWORD,
        )
        text = f"tls: certificate {case.text} (after # s), cause: certificate"
        assert told(outcome) == due(2, server.port, text, way.began, days=case.days)
        assert used(outcome) == []
        assert farewells(server, 2) == sorted([way.rejected, way.looked])


@BOTH
def test_old_tls(files: Files, way: Way) -> None:
    versions = {"smtpd_tls_protocols": "<=TLSv1.2", "smtpd_tls_mandatory_protocols": "<=TLSv1.2"}
    trust = (way.option, "--ca-file", files.authority)
    with serving(files.certificates["good"], way, **versions) as server:
        text = fine(90, "1.2")
        assert told(run(server.port, *trust)) == due(0, server.port, text, way.stages)
        assert server.sessions() == clean(way.counts)
        text = "tls: the server's TLS is older than --tls-min (after # s), cause: tls broken"
        outcome = run(server.port, *trust, "--tls-min", "1.3")
        assert told(outcome) == due(2, server.port, text, way.began, days="")
        assert farewells(server, 2) == sorted([way.counts, way.rejected])


@BOTH
def test_ancient_tls(files: Files, way: Way) -> None:
    settings = {
        "smtpd_tls_protocols": "<=TLSv1.1",
        "smtpd_tls_mandatory_protocols": "<=TLSv1.1",
        "tls_medium_cipherlist": "ALL:@SECLEVEL=0",
    }
    with serving(files.certificates["good"], way, **settings) as server:
        text = "tls: the server's TLS is older than --tls-min (after # s), cause: tls broken"
        outcome = run(server.port, way.option, "--ca-file", files.authority)
        assert told(outcome) == due(2, server.port, text, way.began, days="")
        assert farewells(server, 1) == [way.rejected]


def test_tls_not_offered() -> None:
    with postfix.running() as server:
        text = "starttls: STARTTLS is not offered"
        stages = "connect banner helo quit"
        assert told(run(server.port, "-S")) == due(2, server.port, text, stages, days="")
        assert server.sessions() == clean("ehlo=1 quit=1 commands=2")


def test_tls_offered_but_not_available(files: Files) -> None:
    with serving(files.certificates["missing"]) as server:
        text = (
            "starttls: 454 4.7.0 TLS not available due to local problem (after # s), "
            "cause: tls broken"
        )
        stages = "connect banner helo quit"
        assert told(run(server.port, "-S")) == due(1, server.port, text, stages, days="")
        assert farewells(server, 1) == ["ehlo=1 starttls=0/1 quit=1 commands=2/3"]


def test_tls_too_early(files: Files) -> None:
    with serving(files.certificates["good"]) as server:
        text = "tls: the server does not speak TLS here, try -S (after # s)"
        assert told(run(server.port, "--ssl")) == due(2, server.port, text, "connect", days="")


def test_tls_too_late(files: Files) -> None:
    with serving(files.certificates["good"], IMPLICIT) as server:
        text = "banner: no answer within 0.5 s, cause: silent"
        outcome = run(server.port, "-S", "-t", "0.5")
        assert told(outcome) == due(2, server.port, text, "connect", days="", timeout="0.5")


@BOTH
@pytest.mark.parametrize("setting", ["smtpd_tls_req_ccert", "smtpd_tls_ask_ccert"])
def test_client_certificate(files: Files, way: Way, setting: str) -> None:
    with _asking(files, way, setting) as server:
        outcome = run(
            *(server.port, way.option, "--ca-file", files.authority, "--cert", files.client)
        )
        assert told(outcome) == due(0, server.port, fine(90), way.stages)
        connected, trusted, left = server.sessions()
        assert [connected, left] == clean(way.counts)
        assert trusted.startswith("Trusted TLS connection established from unknown[127.0.0.1]: ")


@BOTH
def test_client_certificate_asked_for_but_not_needed(files: Files, way: Way) -> None:
    with _asking(files, way, "smtpd_tls_ask_ccert") as server:
        outcome = run(server.port, way.option, "--ca-file", files.authority)
        assert told(outcome) == due(0, server.port, fine(90), way.stages)
        connected, anonymous, left = server.sessions()
        assert [connected, left] == clean(way.counts)
        assert anonymous.startswith("Anonymous TLS connection established ")


REFUSED = [(False, "No client certificate presented"), (True, "Client certificate not trusted")]


@pytest.mark.parametrize(("has_one", "reason"), REFUSED)
def test_client_certificate_missing(files: Files, has_one: bool, reason: str) -> None:
    own = ("--cert", files.stranger) if has_one else ()
    with _asking(files, STARTTLS, "smtpd_tls_req_ccert") as server:
        outcome = run(server.port, "-S", "--ca-file", files.authority, *own)
        text = f"helo: 421 4.7.1 mail.example.org Error: {reason} (after # s)"
        stages = "connect tls banner starttls quit"
        assert told(outcome) == due(1, server.port, text, stages)
        assert farewells(server, 1) == ["ehlo=1 starttls=1 commands=2"]


@pytest.mark.parametrize(("has_one", "reason"), REFUSED)
def test_client_certificate_missing_in_implicit_tls(
    files: Files, has_one: bool, reason: str
) -> None:
    own = ("--cert", files.stranger) if has_one else ()
    with _asking(files, IMPLICIT, "smtpd_tls_req_ccert") as server:
        outcome = run(server.port, "--ssl", "--ca-file", files.authority, *own)
        text = f"banner: 421 4.7.1 mail.example.org Error: {reason} (after # s)"
        assert told(outcome) == due(1, server.port, text, "connect tls quit")


@contextlib.contextmanager
def _asking(files: Files, way: Way, setting: str) -> Iterator[Postfix]:
    settings = {
        setting: "yes",
        "smtpd_tls_security_level": "encrypt",
        "smtpd_tls_CAfile": files.authority,
        "smtpd_tls_loglevel": "1",
    }
    with serving(files.certificates["good"], way, **settings) as server:
        yield server


@BOTH
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_login(files: Files, sasl: Dovecot, way: Way, mechanism: str) -> None:
    with knowing(files, sasl, way, smtpd_tls_auth_only="yes") as server:
        outcome = run(
            *(server.port, way.option, "--ca-file", files.authority, "-A", mechanism),
            password=PASSWORD,
        )
        stages = way.stages.replace(" quit", " auth quit")
        assert told(outcome) == due(0, server.port, fine(90, login=mechanism), stages)
        assert used(outcome) == [mechanism]
        greeted = "ehlo=2 starttls=1" if way is STARTTLS else "ehlo=1"
        commands = 5 if way is STARTTLS else 3
        assert server.sessions() == clean(f"{greeted} auth=1 quit=1 commands={commands}")


def hint(mechanism: str) -> str:
    """Return what may help where a mechanism was refused that is not PLAIN's like."""
    return ", try -A PLAIN" if mechanism.startswith(("CRAM-", "SCRAM-")) else ""


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_wrong_password(files: Files, sasl: Dovecot, mechanism: str) -> None:
    with knowing(files, sasl, smtpd_tls_auth_only="yes") as server:
        outcome = run(
            *(server.port, "-S", "--ca-file", files.authority, "-A", mechanism), password=WRONG
        )
        said, what = "535 5.7.8 Error: authentication failed: (reason unavailable)", "login"
        if mechanism in TOKEN_MECHANISMS:
            said, what = f"{said} (status 401, scope mail)", "token"
        text = f"auth: {mechanism}: {said}{hint(mechanism)} (after # s), cause: {what} rejected"
        assert told(outcome) == due(2, server.port, text, STARTTLS.stages)
        assert used(outcome) == [mechanism]
        connected, warned, left = server.sessions()
        assert [connected, left] == clean("ehlo=2 starttls=1 auth=0/1 quit=1 commands=4/5")
        assert warned.startswith(f"warning: unknown[127.0.0.1]: SASL {mechanism} authentication ")


@pytest.mark.parametrize(
    ("offered", "best"),
    [
        ("static:all", "PLAIN"),
        ("!plain, !login, static:rest", "SCRAM-SHA-256"),
        ("cram-md5", "CRAM-MD5"),
        ("plain, login, xoauth2", "PLAIN"),
        ("login, xoauth2", "LOGIN"),
    ],
)
@pytest.mark.parametrize("old_style", ["no", "yes"])
def test_best_mechanism(
    files: Files, sasl: Dovecot, offered: str, best: str, old_style: str
) -> None:
    settings = {"smtpd_sasl_mechanism_filter": offered, "broken_sasl_auth_clients": old_style}
    with knowing(files, sasl, STARTTLS, **settings) as server:
        outcome = run(server.port, "-S", "--ca-file", files.authority, password=PASSWORD)
        stages = "connect tls banner helo starttls auth quit"
        assert told(outcome) == due(0, server.port, fine(90, login=best), stages)
        assert used(outcome) == [best]
        assert server.sessions() == clean("ehlo=2 starttls=1 auth=1 quit=1 commands=5")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("-A", "CRAM-MD5"), "CRAM-MD5 is not offered, only PLAIN LOGIN"),
        (("-A", "scram-sha-256"), "SCRAM-SHA-256 is not offered, only PLAIN LOGIN"),
    ],
)
def test_mechanism_not_offered(
    files: Files, sasl: Dovecot, arguments: tuple[str, ...], text: str
) -> None:
    with knowing(files, sasl, smtpd_sasl_mechanism_filter="plain, login") as server:
        outcome = run(
            server.port, "-S", "--ca-file", files.authority, *arguments, password=PASSWORD
        )
        expected = due(2, server.port, f"auth: {text}, cause: login mechanism", STARTTLS.stages)
        assert told(outcome) == expected
        assert server.sessions() == clean(STARTTLS.counts)


def test_auth_not_offered(files: Files) -> None:
    with serving(files.certificates["good"]) as server:
        outcome = run(server.port, "-S", "--ca-file", files.authority, password=PASSWORD)
        text = "auth: AUTH is not offered"
        assert told(outcome) == due(2, server.port, text, STARTTLS.stages)
        assert used(outcome) == []
        assert server.sessions() == clean(STARTTLS.counts)


@pytest.mark.parametrize("arguments", [(), ("-A", "CRAM-MD5"), ("-A", "PLAIN", "--auth-insecure")])
def test_auth_offered_in_tls_only(files: Files, sasl: Dovecot, arguments: tuple[str, ...]) -> None:
    with knowing(files, sasl, smtpd_tls_auth_only="yes") as server:
        outcome = run(server.port, *arguments, password=PASSWORD)
        text = "auth: AUTH is not offered, try -S"
        assert told(outcome) == due(2, server.port, text, "connect banner helo quit", days="")
        assert server.sessions() == clean("ehlo=1 quit=1 commands=2")


@pytest.mark.parametrize(
    ("arguments", "mechanism"),
    [
        ((), "SCRAM-SHA-256"),
        (("-A", "CRAM-MD5"), "CRAM-MD5"),
        (("-A", "LOGIN", "--auth-insecure"), "LOGIN"),
    ],
)
def test_login_without_tls(
    files: Files, sasl: Dovecot, arguments: tuple[str, ...], mechanism: str
) -> None:
    with knowing(files, sasl) as server:
        outcome = run(server.port, *arguments, password=PASSWORD)
        stages = "connect banner helo auth quit"
        assert told(outcome) == due(
            0, server.port, f"{ANSWERED}, logged in by {mechanism}", stages, days=""
        )
        assert used(outcome) == [mechanism]
        assert server.sessions() == clean("ehlo=1 auth=1 quit=1 commands=3")


def test_password_in_clear_is_not_sent(files: Files, sasl: Dovecot) -> None:
    with knowing(files, sasl, smtpd_sasl_mechanism_filter="plain, login") as server:
        outcome = run(server.port, password=PASSWORD)
        text = "auth: PLAIN without TLS would expose the password, use -S, --ssl or --auth-insecure"
        assert told(outcome) == due(3, server.port, text, "connect banner helo quit", days="")
        assert server.sessions() == clean("ehlo=1 quit=1 commands=2")


def test_password_from_a_file(files: Files, sasl: Dovecot, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    with knowing(files, sasl) as server:
        outcome = run(
            *(server.port, "-S", "--ca-file", files.authority),
            *("-U", USER, "--authpass-file", str(path)),
        )
        stages = "connect tls banner helo starttls auth quit"
        assert told(outcome) == due(0, server.port, fine(90, login="PLAIN"), stages)
        assert server.sessions() == clean("ehlo=2 starttls=1 auth=1 quit=1 commands=5")


@BOTH
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_dovecot(files: Files, sasl: Dovecot, way: Way, mechanism: str) -> None:
    port = sasl.port if way is STARTTLS else sasl.tls_port
    before = len(sasl.log())
    outcome = run(
        *(port, way.option, "--ca-file", files.authority, "-A", mechanism), password=PASSWORD
    )
    stages = way.stages.replace(" quit", " auth quit")
    assert told(outcome) == due(0, port, fine(90, login=mechanism), stages)
    login, logout = _dovecot_log(sasl, before, "Logged out")
    assert login.startswith(f"submission-login: Info: Login: user=<{USER}>, method={mechanism}, ")
    assert ", TLS, " in login
    assert ": Info: Disconnected: Logged out (state=GREETING) " in logout


def test_dovecot_wrong_password(files: Files, sasl: Dovecot) -> None:
    before = len(sasl.log())
    outcome = run(sasl.port, "-S", "--ca-file", files.authority, password=WRONG)
    text = "auth: PLAIN: 535 5.7.8 Authentication failed. (after # s), cause: login rejected"
    assert told(outcome) == due(2, sasl.port, text, STARTTLS.stages)
    *_, logout = _dovecot_log(sasl, before, "logging out")
    assert logout.startswith(
        "submission-login: Info: Disconnected: Aborted login by logging out (auth failed, 1 att"
    )


def _dovecot_log(server: Dovecot, before: int, last: str) -> list[str]:
    """Return what Dovecot has logged since, without time stamps, once the last line has come."""
    deadline = time.monotonic() + dovecot.PATIENCE
    while last not in server.log()[before:]:
        assert time.monotonic() < deadline, server.log()[before:]
        time.sleep(0.005)
    return [line[len("Jan 01 00:00:00 ") :] for line in server.log()[before:].splitlines()]


@BOTH
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_exim(files: Files, way: Way, mechanism: str) -> None:
    with exim.running(PASSWORD, files.certificates["good"]) as server:
        port = server.port if way is STARTTLS else server.tls_port
        outcome = run(
            *(port, way.option, "--ca-file", files.authority, "-A", mechanism), password=PASSWORD
        )
        stages = way.stages.replace(" quit", " auth quit")
        assert told(outcome) == due(0, port, fine(90, login=mechanism), stages)
        assert used(outcome) == [mechanism]
        commands = "EHLO,STARTTLS,EHLO,AUTH,QUIT" if way is STARTTLS else "EHLO,AUTH,QUIT"
        authenticator = mechanism.partition("-")[0].lower()
        assert server.session() == [
            "SMTP connection from [127.0.0.1]",
            "SMTP connection from (monitor.example) [127.0.0.1] closed by QUIT",
            "no MAIL in SMTP connection from (monitor.example) [127.0.0.1] "
            f"A={authenticator}:{USER} CV=no C={commands}",
        ]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_exim_wrong_password(files: Files, mechanism: str) -> None:
    with exim.running(PASSWORD, files.certificates["good"]) as server:
        outcome = run(
            *(server.port, "-S", "--ca-file", files.authority, "-A", mechanism), password=WRONG
        )
        said = f"535 Incorrect authentication data{hint(mechanism)}"
        text = f"auth: {mechanism}: {said} (after # s), cause: login rejected"
        assert told(outcome) == due(2, server.port, text, STARTTLS.stages)
        _, failed, left, last = server.session()
    authenticator = mechanism.partition("-")[0].lower()
    assert failed == (
        f"{authenticator} authenticator failed for (monitor.example) [127.0.0.1]: "
        f"535 Incorrect authentication data (set_id={USER})"
    )
    assert left == "SMTP connection from (monitor.example) [127.0.0.1] closed by QUIT"
    assert last.endswith(" C=EHLO,STARTTLS,EHLO,AUTH,QUIT")


@BOTH
def test_exim_wants_a_client_certificate(files: Files, way: Way) -> None:
    with exim.running(PASSWORD, files.certificates["good"], files.authority) as server:
        port = server.port if way is STARTTLS else server.tls_port
        outcome = run(port, way.option, "--ca-file", files.authority)
        # TLS 1.3: our side of the handshake is done before theirs has found out.
        stage = "helo" if way is STARTTLS else "banner"
        text = (
            f"{stage}: the server wants a client certificate, give --cert and --key (after # "
            "s), cause: certificate"
        )
        stages = "connect tls banner starttls" if way is STARTTLS else "connect tls"
        assert told(outcome) == due(2, port, text, stages)


@BOTH
def test_exim_is_shown_a_client_certificate(files: Files, way: Way) -> None:
    with exim.running(PASSWORD, files.certificates["good"], files.authority) as server:
        port = server.port if way is STARTTLS else server.tls_port
        outcome = run(port, way.option, "--ca-file", files.authority, "--cert", files.client)
        assert told(outcome) == due(0, port, fine(90), way.stages)
        *_, last = server.session()
    commands = "EHLO,STARTTLS,EHLO,QUIT" if way is STARTTLS else "HELO,QUIT"
    assert last.endswith(f" CV=yes C={commands}")


def test_exim_is_not_waited_for_in_vain(files: Files) -> None:
    with exim.running(PASSWORD, files.certificates["good"]) as server:
        seconds = [
            run(server.port, "-S", "--ca-file", files.authority).times()["helo"] for _ in range(3)
        ]
    # A delayed ACK comes after 40 ms.
    assert min(seconds) < 0.03
