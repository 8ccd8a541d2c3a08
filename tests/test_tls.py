"""STARTTLS, implicit TLS and certificates: what servers do, and what the plugin says of it."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from check_smtp_health.net import driver
from check_smtp_health.net.addresses import Address
from check_smtp_health.net.driver import Deadline
from check_smtp_health.net.operations import Connect, StartTls, Write
from check_smtp_health.net.trust import TlsOptions, Trust
from tests import needs, plugin
from tests.servers.authority import after
from tests.servers.catalogue import BANNER, EHLO, QUIT
from tests.servers.certificates import Certificates
from tests.servers.scripted import Expect, Handshake, Hang, ScriptedServer, Sleep, Step

OFFER = (BANNER, EHLO, b"250-mx.example\r\n250 STARTTLS\r\n")
ASKED = (*OFFER, Expect(b"STARTTLS\r\n"))
GO = (*ASKED, b"220 go\r\n")
AGAIN = (EHLO, b"250-mx.example\r\n250 SIZE\r\n", *QUIT)

CONNECTED = "time connect"
ASKING = "time connect banner helo"
BEGUN = "time connect banner helo starttls"
DONE = "time connect tls banner helo starttls quit certificate_days"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"), "mx.example")


def meets(
    pki: Certificates, script: tuple[Step, ...], *arguments: str, sni: str = "mx.example"
) -> plugin.Checked:
    """Check a server that has such a name, trusting the good authority."""
    trust = () if "--no-verify" in arguments else ("--ca-file", pki.good.path)
    return plugin.check(script, *(("--sni", sni) if sni else ()), *trust, *arguments)


def expires(days: int) -> str:
    return f"certificate expires in {days} days, {after(days):%Y-%m-%d}"


@pytest.mark.parametrize("said", ["530 5.7.0 Must issue STARTTLS", "538 5.7.11 in clear"])
def test_tls_is_no_remedy_where_there_is_some(pki: Certificates, said: str) -> None:
    offer = (EHLO, b"250-mx.example\r\n250 AUTH PLAIN\r\n", Expect(b"AUTH PLAIN"))
    script = (Handshake(pki.context("good")), BANNER, *offer, said.encode() + b"\r\n", *QUIT)
    done = meets(pki, script, "--ssl", "-U", "me", "-P", "x", "-A", "PLAIN")
    assert (done.code, done.line) == (2, f"SMTP CRITICAL - auth: PLAIN: {said} (after # s)")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ((*ASKED, b"454 4.7.0 not now\r\n", *QUIT), "starttls: 454 4.7.0 not now"),
        ((b"421 not now\r\n",), "banner: 421 not now"),
        ((BANNER, EHLO, b"451 not now\r\n", *QUIT), "helo: 451 not now"),
    ],
)
@pytest.mark.parametrize(("state", "code"), [("ok", 1), ("warning", 1), ("critical", 2)])
def test_who_puts_up_with_not_now_still_asks_for_the_certificate(
    pki: Certificates, script: tuple[Step, ...], said: str, state: str, code: int
) -> None:
    done = meets(pki, script, "-S", "--tempfail", state)
    words = {1: "WARNING", 2: "CRITICAL"}[code]
    assert (done.code, done.line) == (code, f"SMTP {words} - {said} (after # s)")


@pytest.mark.parametrize(
    ("kind", "options", "code", "said"),
    [
        ("good", ("--tls-min", "1.3"), 0, "OK - "),
        ("5 days", ("-D", "5,2"), 0, "OK - "),
        ("5 days", ("-D", "6"), 1, "WARNING - certificate: {5} (limit 6)"),
        ("5 days", ("-D", "20,10"), 2, "CRITICAL - certificate: {5} (limit 10)"),
        ("5 days", ("-D", "0"), 0, "OK - "),
        ("5 days", ("--ignore-certificate-expiration",), 0, "OK - "),
        ("5 days", ("--no-verify",), 1, "WARNING - certificate: {5} (limit 14)"),
        ("expired", ("--no-verify",), 2, "CRITICAL - certificate: {-3}"),
        ("expired", ("--no-verify", "-D", "0"), 2, "CRITICAL - certificate: {-3}"),
        ("expired", ("--ignore-certificate-expiration",), 0, "OK - "),
        ("expired", ("--no-verify", "--ignore-certificate-expiration"), 0, "OK - "),
        ("not yet valid", ("--no-verify",), 2, "CRITICAL - certificate: not valid before {+7}"),
        ("self-signed", ("--no-verify",), 0, "OK - "),
        ("unknown issuer", ("--no-verify",), 0, "OK - "),
        ("other name", ("--no-verify",), 0, "OK - "),
    ],
)
def test_a_certificate_that_is_taken(
    pki: Certificates, kind: str, options: tuple[str, ...], code: int, said: str
) -> None:
    got = meets(pki, (Sleep(0.05), *GO, Handshake(pki.context(kind)), *AGAIN), "-S", *options)
    for days in (2, 5):
        said = said.replace(f"{{{days}}}", f"expires in {days} days, {after(days):%Y-%m-%d}")
    said = said.replace("{-3}", f"expired 3 days ago, {after(-3):%Y-%m-%d}")
    said = said.replace("{+7}", f"{after(7):%Y-%m-%d}, in 7 days")
    if said == "OK - ":
        facts = {
            "expired": f"certificate expired 3 days ago, {after(-3):%Y-%m-%d}",
            "5 days": expires(5),
        }.get(kind, expires(90))
        said = f"OK - answered in # s (slowest: # # s), TLS 1.3, {facts}"
    judged = "--ignore-certificate-expiration" not in options
    labels = DONE if judged else DONE.replace(" certificate_days", "")
    assert got == (code, f"SMTP {said}", labels)


def test_the_name_is_that_of_the_host(pki: Certificates) -> None:
    """Without --sni an address is verified as one."""
    script = (Handshake(pki.context("an address")), Sleep(0.05), *OFFER, *QUIT)
    code, line, _ = meets(pki, script, "--ssl", "--ehlo", sni="")
    said = f"answered in # s (slowest: # # s), TLS 1.3, {expires(90)}"
    assert (code, line) == (0, f"SMTP OK - {said}")
    code, line, _ = meets(pki, (Handshake(pki.context("good")),), "--ssl", sni="")
    said = (
        "tls: certificate is for mx.example, not 127.0.0.1, try --sni or --no-verify "
        "(after # s), cause: certificate"
    )
    assert (code, line) == (2, f"SMTP CRITICAL - {said}")


def test_implicit_tls(pki: Certificates) -> None:
    script = (Handshake(pki.context("good")), Sleep(0.05), *OFFER, *QUIT)
    assert meets(pki, script, "--tls", "--ehlo") == (
        0,
        f"SMTP OK - answered in # s (slowest: # # s), TLS 1.3, {expires(90)}",
        "time connect tls banner helo quit certificate_days",
    )


def test_certificate_option_implies_starttls(pki: Certificates) -> None:
    code, _, labels = meets(pki, (*GO, Handshake(pki.context("good")), *AGAIN), "-D", "30,10")
    assert (code, labels) == (0, DONE)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificate(pki: Certificates, version: ssl.TLSVersion) -> None:
    context = pki.context("good")
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pki.good.path)
    own = pki.folder / "own.pem"
    pki.good.authority.issue_cert("me.example").private_key_and_cert_chain_pem.write_to_path(own)
    script = (Sleep(0.05), *GO, Handshake(context), *AGAIN)
    assert meets(pki, script, "-S", "--cert", str(own))[0] == 0
    code, line, _ = meets(pki, script, "-S")
    # With TLS 1.3 the client is done before the server has looked at its certificate.
    said = {
        ssl.TLSVersion.TLSv1_2: "tls: the server found no common cipher, has no certificate, or "
        "wants one of the client (after # s)",
        ssl.TLSVersion.TLSv1_3: "helo: the server wants a client certificate, give --cert and "
        "--key (after # s), cause: certificate",
    }
    assert (code, line) == (2, f"SMTP CRITICAL - {said[version]}")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificate_of_a_stranger(pki: Certificates, version: ssl.TLSVersion) -> None:
    context = pki.context("good")
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(pki.good.path)
    own = pki.folder / "stranger.pem"
    pki.other.authority.issue_cert("me.example").private_key_and_cert_chain_pem.write_to_path(own)
    code, line, _ = meets(pki, (*GO, Handshake(context)), "-S", "--cert", str(own))
    stage = "tls" if version == ssl.TLSVersion.TLSv1_2 else "helo"
    said = "the server rejects the client certificate of --cert"
    assert (code, line) == (2, f"SMTP CRITICAL - {stage}: {said} (after # s), cause: certificate")


@pytest.mark.parametrize(
    ("alert", "words"),
    [
        (42, "sslv3 alert bad certificate"),
        (43, "sslv3 alert unsupported certificate"),
        (44, "sslv3 alert certificate revoked"),
        (45, "sslv3 alert certificate expired"),
        (46, "sslv3 alert certificate unknown"),
        (48, "tlsv1 alert unknown ca"),
    ],
)
def test_no_certificate_of_ours_is_blamed_where_there_is_none(
    pki: Certificates, alert: int, words: str
) -> None:
    fatal = bytes((21, 3, 3, 0, 2, 2, alert))
    code, line, _ = meets(pki, (*GO, Sleep(0.05), fatal, Sleep(0.05)), "-S")
    assert (code, line) == (2, f"SMTP CRITICAL - tls: handshake failed: {words} (after # s)")


def test_a_server_that_says_goodbye_in_the_handshake(pki: Certificates) -> None:
    close_notify = bytes((21, 3, 3, 0, 2, 1, 0))
    code, line, _ = meets(pki, (*GO, Sleep(0.05), close_notify, Hang()), "-S")
    assert (code, line) == (2, "SMTP CRITICAL - tls: connection closed by the server (after # s)")


def test_a_key_that_is_encrypted_asks_nobody(
    pki: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pki.folder)
    key = ec.generate_private_key(ec.SECP256R1())
    Path("key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    pki.good.authority.issue_cert("a.example").cert_chain_pems[0].write_to_path("cert")
    done = plugin.run("-H", "127.0.0.1", "-S", "--cert", "cert", "--key", "key")
    assert (done.code, done.stdout, done.stderr) == (
        3,
        "SMTP UNKNOWN - --key: 'key' is encrypted\n",
        "",
    )


@pytest.mark.parametrize("by", ["--ca-path", "SSL_CERT_DIR", "SSL_CERT_FILE"])
def test_trust_anchors_from_elsewhere(pki: Certificates, tmp_path: Path, by: str) -> None:
    """A directory of hashed links is the cheap way, a file the usual one."""
    name = subprocess.run(
        [needs.program("openssl"), "x509", "-noout", "-subject_hash", "-in", pki.good.path],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (tmp_path / f"{name}.0").symlink_to(pki.good.path)
    where = pki.good.path if by == "SSL_CERT_FILE" else str(tmp_path)
    script = (*GO, Handshake(pki.context("good")), *AGAIN)
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-S"),
            *("--sni", "mx.example", *((by, where) if by == "--ca-path" else ())),
            environment={} if by == "--ca-path" else {by: where},
        )
    assert (done.code, done.stderr, server.faults) == (0, "", [])


def test_the_second_look_ends_with_the_deadline(pki: Certificates) -> None:
    """What there is no time left to find out is left unsaid."""
    slow = (Sleep(0.6), *GO, Handshake(pki.context("unknown issuer")), *QUIT)
    got = meets(pki, slow, "-S")
    said = (
        "tls: certificate unknown issuer, try --ca-file or --no-verify (after # s), "
        "cause: certificate"
    )
    assert got == (2, f"SMTP CRITICAL - {said}", BEGUN)


def test_the_second_look_is_announced_to_a_proxy_too(pki: Certificates) -> None:
    before = (Expect(b"PROXY TCP4 127.0.0.1 127.0.0.1 "), *GO)
    got = meets(pki, (*before, Handshake(pki.context("other name")), *QUIT), "-S", "-r")
    said = "certificate is for www.example.org, not mx.example, try --sni or --no-verify"
    expected = f"SMTP CRITICAL - tls: {said} (after # s), cause: certificate"
    assert got == (2, expected, f"{BEGUN} certificate_days")


def test_a_server_that_does_not_read_within_tls(pki: Certificates) -> None:
    trust = Trust(TlsOptions(ca_file=str(pki.good.path)))

    def session(port: int) -> Any:
        yield Connect(Address(socket.AF_INET, ("127.0.0.1", port)))
        yield StartTls(trust, "mx.example")
        answer = yield Write(b"x" * 20_000_000, limit=0.2)
        return answer.fault

    with ScriptedServer((Handshake(pki.context("good")), Sleep(1))).running() as server:
        (fault,) = driver.run([session(server.port)], Deadline(5))
    assert fault.problem == "no answer within 0.2 s"


def test_facts_at_the_highest_verbosity(pki: Certificates) -> None:
    with ScriptedServer((*GO, Handshake(pki.context("many names")), *AGAIN)).running() as server:
        done = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example", "-S", "-vvv"),
            *("--sni", "x.d.example", "--ca-file", pki.good.path),
        )
    facts = [line for line in done.stdout.splitlines() if line.startswith(("TLS", "certificate"))]
    assert facts[0].startswith("TLS: TLS 1.3, TLS_AES_")
    assert facts[2:] == [
        "certificate issuer: good",
        "certificate names: a.example, b.example, c.example, *.d.example, e.example",
        f"certificate valid: {after(-60):%Y-%m-%d} to {after(90):%Y-%m-%d}",
    ]


def test_without_cryptography_the_reason_alone(pki: Certificates, tmp_path: Path) -> None:
    (tmp_path / "cryptography.py").write_text("raise ImportError('not here')")
    environment = {"PYTHONPATH": str(tmp_path)}
    base = ("-F", "me.example", "--sni", "mx.example", "-S")
    script = (*GO, Handshake(pki.context("self-signed")), *AGAIN)
    with ScriptedServer(script).running() as server:
        where = ("-H", "127.0.0.1", "-p", str(server.port))
        done = plugin.run(*where, *base, "--ca-file", pki.good.path, environment=environment)
        assert (done.code, done.stderr, done.line) == (
            2,
            "",
            f"SMTP CRITICAL - 127.0.0.1:{server.port} tls: certificate self-signed, "
            "try --ca-file or --no-verify (after # s), cause: certificate",
        )
        seen = server.connections
        done = plugin.run(*where, *base, "--no-verify", environment=environment)
        assert (done.code, done.stdout, done.stderr, server.connections) == (
            3,
            "SMTP UNKNOWN - --no-verify: needs the library cryptography to read the certificate: "
            "install python3-cryptography, or cryptography with pip, "
            "or use --ignore-certificate-expiration\n",
            "",
            seen,
        )
        free = "--ignore-certificate-expiration"
        done = plugin.run(*where, *base, "--no-verify", free, environment=environment)
        assert (done.code, done.stderr) == (0, "")
