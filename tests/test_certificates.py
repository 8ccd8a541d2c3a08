"""Every certificate counts, however long it lives; what is trusted, what is said of the rest."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import ssl
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Union

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from check_smtp_health.net import certificate
from check_smtp_health.net.certificate import host_names, issuers, key_bits, seconds
from tests import masking, plugin
from tests.servers.catalogue import BANNER, EHLO, QUIT
from tests.servers.loopback import free_port
from tests.servers.name_server import Answer, NameServer
from tests.servers.scripted import Expect, Handshake, Reset, ScriptedServer, Step, Swallow

NAME = "mx.example.org"

KNOWS_CHAIN = sys.version_info >= (3, 10)

Key = Union[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey]

YEARS = 3650.0


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def issued(
    title: str,
    by: Pair | None = None,
    *,
    left: float = 90.0,
    lifetime: float = 100.0,
    name: str = "",
    key: Key | None = None,
    usage: x509.ObjectIdentifier | None = None,
    is_authority: bool | None = None,
) -> Pair:
    """Return a certificate, an authority's unless it is for a name; days may have fractions."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, title)])
    # Half an hour later, so that whole days are whole; earlier where they are over.
    margin = dt.timedelta(minutes=30 if left >= 0 else -30)
    end = dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=left) + margin
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - dt.timedelta(days=lifetime))
        .not_valid_after(end)
        .add_extension(
            x509.BasicConstraints(
                ca=not name if is_authority is None else is_authority, path_length=None
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    )
    if name:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Pair(builder.sign(by.key if by else own, hashes.SHA256()), own)


def shown(folder: Path, leaf: Pair, *others: Pair) -> ssl.SSLContext:
    """Return the context of a server that shows these certificates."""
    path = folder / "server.pem"
    path.write_bytes(leaf.key_pem + leaf.pem + b"".join(one.pem for one in others))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(path)
    return context


def trusting(folder: Path, *pairs: Pair) -> tuple[str, ...]:
    """Return the option that names these authorities."""
    path = folder / "trusted.pem"
    path.write_bytes(b"".join(one.pem for one in pairs))
    return ("--ca-file", str(path))


OFFER = (BANNER, EHLO, b"250-mx.example.org\r\n250 STARTTLS\r\n", Expect(b"STARTTLS"))


def check(
    context: ssl.SSLContext,
    *arguments: str,
    environment: dict[str, str] | None = None,
    later: tuple[Step, ...] | None = None,
) -> tuple[int, str, str]:
    """Return exit code, masked line without the target, and what is said of days in perfdata."""
    again = (Handshake(context), EHLO, b"250 mx.example.org\r\n", *QUIT)
    with ScriptedServer((*OFFER, b"220 go\r\n", *again), later=later).running() as server:
        done = plugin.run(
            *plugin.at(server.port), "-S", "--sni", NAME, *arguments, environment=environment
        )
    assert done.stderr == ""
    line = masking.masked(done.line).replace(f" 127.0.0.1:{server.port}", "")
    days = [one for one in done.perfdata.split() if one.startswith("certificate_days")]
    return done.code, line, "".join(days)


@pytest.fixture(scope="module")
def root() -> Pair:
    return issued("Example Root", lifetime=YEARS, left=2 * 365)


OK = "SMTP OK - answered in # s (slowest: # # s), TLS 1.3, certificate"


CHAIN = pytest.mark.skipif(not KNOWS_CHAIN, reason="needs Python 3.10, which can tell the chain")


class Due(NamedTuple):
    """Days that a certificate has left, options, and what is due."""

    left: float
    arguments: tuple[str, ...]
    code: int
    said: str


@CHAIN
@pytest.mark.parametrize(
    "due",
    [
        Due(2, ("-D", "30,7"), 2, "certificate: {} expires in 2 days, # (limit 7)"),
        Due(2, (), 2, "certificate: {} expires in 2 days, # (limit 3)"),
        Due(2, ("-D", "14,3"), 2, "certificate: {} expires in 2 days, # (limit 3)"),
        Due(2, ("--no-verify", "-D", "30,7"), 2, "certificate: {} expires in 2 days, # (limit 7)"),
        Due(12, (), 1, "certificate: {} expires in 12 days, # (limit 14)"),
        Due(12, ("-D", "5"), 0, ""),
        Due(25, ("-D", "33%"), 1, "certificate: {} expires in 25 days, # (limit 33 days)"),
        Due(40, ("-D", "33%"), 0, ""),
        Due(2, ("-D", "0"), 0, ""),
        Due(2, ("--ignore-certificate-expiration",), 0, ""),
        Due(-3, ("--no-verify",), 2, "certificate: {} expired 3 days ago, #"),
        Due(-3, ("--no-verify", "-D", "0"), 2, "certificate: {} expired 3 days ago, #"),
        Due(-3, ("--ignore-certificate-expiration",), 0, ""),
        Due(-3, (), 2, "tls: {} expired 3 days ago, # (after # s), cause: certificate"),
    ],
    ids=str,
)
def test_the_intermediate_counts(tmp_path: Path, root: Pair, due: Due) -> None:
    issuing = issued("Example Issuing CA", root, left=due.left, lifetime=YEARS)
    leaf = issued("leaf", issuing, name=NAME)
    trust = () if "--no-verify" in due.arguments else trusting(tmp_path, root)
    done = check(shown(tmp_path, leaf, issuing), *trust, *due.arguments)
    words = {
        0: f"{OK} expires in 90 days, #",
        1: f"SMTP WARNING - {due.said}",
        2: f"SMTP CRITICAL - {due.said}",
    }[due.code]
    assert done[:2] == (due.code, words.format("intermediate Example Issuing CA"))


@CHAIN
def test_a_certificate_that_nobody_needs_counts(tmp_path: Path, root: Pair) -> None:
    """The server shows it, so that some client may go by it: as of 2021 with Let's Encrypt."""
    stranger = issued("Old Cross Root", left=-3, lifetime=YEARS)
    leaf = issued("leaf", root, name=NAME)
    code, line, _ = check(shown(tmp_path, leaf, root, stranger), *trusting(tmp_path, root))
    assert (code, line) == (
        2,
        "SMTP CRITICAL - certificate: root Old Cross Root expired 3 days ago, #",
    )


def test_the_root_has_expired(tmp_path: Path) -> None:
    old = issued("Old Root", left=-1, lifetime=YEARS)
    leaf = issued("leaf", old, name=NAME)
    code, line, _ = check(shown(tmp_path, leaf), *trusting(tmp_path, old))
    said = "root Old Root (from --ca-file) expired 1 day ago, #"
    if not KNOWS_CHAIN:
        said = "certificate chain expired, although its last certificate is valid"
    assert (code, line) == (2, f"SMTP CRITICAL - tls: {said} (after # s), cause: certificate")


@CHAIN
def test_the_root_runs_out(tmp_path: Path) -> None:
    """Then nothing below it is trusted here any more, whoever has or has not shown it."""
    old = issued("Old Root", left=2, lifetime=YEARS)
    leaf = issued("leaf", old, name=NAME)
    code, line, _ = check(shown(tmp_path, leaf), *trusting(tmp_path, old))
    assert (code, line) == (
        2,
        "SMTP CRITICAL - certificate: root Old Root (from --ca-file) expires in 2 days, # "
        "(limit 3)",
    )


HOURS_160 = 160 / 24


class Life(NamedTuple):
    """A certificate's lifetime and what is left of it, in days, options, and what is due."""

    lifetime: float
    left: float
    arguments: tuple[str, ...]
    code: int
    limit: str
    perfdata: str


@pytest.mark.parametrize(
    "life",
    [
        Life(HOURS_160, 6.6, (), 0, "", "6.#;2.2:;0.667:"),
        Life(HOURS_160, 3.4, (), 0, "", "3.#;2.2:;0.667:"),
        Life(HOURS_160, 1.2, (), 1, "2.2 days", "1.#;2.2:;0.667:"),
        Life(HOURS_160, 0.5, (), 2, "0.667 days", "0.#;2.2:;0.667:"),
        Life(45, 13.5, (), 1, "14", "13;14:;3:"),
        Life(45, 15.5, (), 0, "", "15;14:;3:"),
        Life(90, 29, (), 0, "", "29;14:;3:"),
        Life(365, 13, (), 1, "14", "13;14:;3:"),
        Life(HOURS_160, 6.6, ("-D", "33%,15%"), 0, "", "6.#;2.2:;1:"),
        Life(HOURS_160, 1.2, ("-D", "33%,15%"), 1, "2.2 days", "1.#;2.2:;1:"),
        Life(HOURS_160, 0.9, ("-D", "33%,15%"), 2, "1 day", "0.#;2.2:;1:"),
        Life(HOURS_160, 6.6, ("-D", "2.5,1.5"), 0, "", "6.#;2.5:;1.5:"),
        Life(6, 0.9, ("-D", "1.5,0.5"), 1, "1.5", "0.#;1.5:;0.5:"),
        Life(90, 20, ("-D", "33%,10%"), 1, "29.7 days", "20.#;29.7:;9:"),
        Life(90, 20, ("-D", "10,10%"), 0, "", "20;10:;9:"),
        Life(90, 20, ("-D", "0,30%"), 2, "27 days", "20;;27:"),
        Life(90, 20, ("-D", "33.4%"), 1, "30.1 days", "20.#;30.1:"),
    ],
    ids=str,
)
def test_limits_follow_the_lifetime(tmp_path: Path, root: Pair, life: Life) -> None:
    leaf = issued("leaf", root, name=NAME, lifetime=life.lifetime, left=life.left - 0.01)
    got = check(shown(tmp_path, leaf), *trusting(tmp_path, root), *life.arguments)
    days = int(life.left)
    expiry = f"expires in {days} day{'' if days == 1 else 's'}, #" if days else "expires today, #"
    line = {
        0: f"{OK} {expiry}",
        1: f"SMTP WARNING - certificate: {expiry} (limit {life.limit})",
        2: f"SMTP CRITICAL - certificate: {expiry} (limit {life.limit})",
    }[life.code]
    first, *limits = got[2].split(";")
    number = first.partition("=")[2]
    shape = f"{number.partition('.')[0]}.#" if "." in number else number
    assert (got[0], got[1], ";".join((shape, *limits))) == (life.code, line, life.perfdata)


@pytest.mark.parametrize(
    "trusted",
    ["issuing, shown", "issuing, not shown", "the server's own", "self-signed, no authority"],
)
def test_whatever_is_named_is_trusted(tmp_path: Path, root: Pair, trusted: str) -> None:
    issuing = issued("Issuing CA", root)
    leaf = issued("leaf", issuing, name=NAME)
    alone = issued("alone", name=NAME)
    chain, named = {
        "issuing, shown": ((leaf, issuing), issuing),
        "issuing, not shown": ((leaf,), issuing),
        "the server's own": ((leaf, issuing), leaf),
        "self-signed, no authority": ((alone,), alone),
    }[trusted]
    done = check(shown(tmp_path, *chain), *trusting(tmp_path, named))
    assert done[:2] == (0, f"{OK} expires in 90 days, #")


def test_a_stranger_is_not_trusted_for_all_that(tmp_path: Path, root: Pair) -> None:
    issuing = issued("Issuing CA", root)
    leaf = issued("leaf", issuing, name=NAME)
    other = issued("other", issuing, name=NAME)
    done = check(shown(tmp_path, leaf, issuing), *trusting(tmp_path, other))
    assert done[:2] == (
        2,
        "SMTP CRITICAL - tls: certificate issuer unknown: Issuing CA, try --ca-file or "
        "--no-verify (after # s), cause: certificate",
    )


def _weak() -> Key:
    return rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            lambda root: (issued("leaf", root, name=NAME, key=_weak()),),
            "certificate has a key that is too small (1024 bits)",
        ),
        (
            lambda root: (issued("leaf", name=NAME, key=_weak()),),
            "certificate has a key that is too small (1024 bits)",
        ),
        (
            lambda root: (
                issued("leaf", weak := issued("Weak CA", root, key=_weak()), name=NAME),
                weak,
            ),
            "certificate has an issuer whose key is too small (1024 bits)",
        ),
        (
            lambda root: (issued("leaf", root, name=NAME, usage=ExtendedKeyUsageOID.CLIENT_AUTH),),
            "certificate is not a certificate for servers",
        ),
        (
            lambda root: (
                issued("leaf", by := issued("No CA", root, is_authority=False), name=NAME),
                by,
            ),
            "certificate issuer is not an authority: No CA",
        ),
    ],
    ids=["small key", "small key, self-signed", "small key above", "purpose", "no authority"],
)
def test_a_reason_that_no_option_helps_against(
    tmp_path: Path, root: Pair, made: Callable[[Pair], tuple[Pair, ...]], said: str
) -> None:
    code, line, _ = check(shown(tmp_path, *made(root)), *trusting(tmp_path, root))
    if "issuer whose" in said and not KNOWS_CHAIN:
        said = said.partition(" (")[0]
    assert (code, line) == (2, f"SMTP CRITICAL - tls: {said} (after # s), cause: certificate")


def test_a_server_without_a_certificate_for_the_name(tmp_path: Path, root: Pair) -> None:
    context = shown(tmp_path, issued("leaf", root, name="www.example.org"))
    context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    code, line, _ = check(context, *trusting(tmp_path, root))
    assert (code, line) == (
        2,
        "SMTP CRITICAL - tls: the server has no certificate for mx.example.org, try another "
        "--sni (after # s)",
    )


@pytest.mark.parametrize("ciphers", ["AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA", "AES128-SHA"])
def test_the_ciphers_are_ours(tmp_path: Path, root: Pair, ciphers: str) -> None:
    """Not those of Python's build, nor of a system that restricts them, as a policy may."""
    config = tmp_path / "openssl.cnf"
    config.write_text(
        "openssl_conf = conf\n[conf]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n"
        "[default]\nCipherString = ECDHE+AESGCM\n"
    )
    key = rsa.generate_private_key(65537, 2048)
    context = shown(tmp_path, issued("leaf", root, name=NAME, key=key))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(ciphers)
    done = check(
        context,
        *trusting(tmp_path, root),
        environment={**os.environ, "OPENSSL_CONF": str(config)},
    )
    assert done[:2] == (0, f"{OK.replace('1.3', '1.2')} expires in 90 days, #")


@pytest.mark.usefixtures("uncovered")
@pytest.mark.parametrize(
    ("version", "minimum", "code"),
    [
        ("1.0", "1.0", 0),
        ("1.1", "1.0", 0),
        ("1.1", "1.1", 0),
        ("1.2", "1.0", 0),
        ("1.3", "1.0", 0),
        ("1.0", "1.1", 2),
        ("1.0", "", 2),
        ("1.1", "", 2),
        ("1.1", "1.2", 2),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_servers(tmp_path: Path, root: Pair, version: str, minimum: str, code: int) -> None:
    context = shown(tmp_path, issued("leaf", root, name=NAME))
    only = getattr(ssl.TLSVersion, f"TLSv{version.replace('.', '_').replace('_0', '')}")
    context.minimum_version = only
    context.maximum_version = only
    least = ("--tls-min", minimum) if minimum else ()
    # Nobody is told of what Python calls deprecated.
    done = check(
        context, *trusting(tmp_path, root), *least, environment={"PYTHONWARNINGS": "always"}
    )
    assert done[:2] == (
        (0, f"{OK.replace('1.3', version)} expires in 90 days, #")
        if code == 0
        else (
            2,
            "SMTP CRITICAL - tls: the server's TLS is older than --tls-min (after # s), "
            "cause: tls broken",
        )
    )


def _rsa() -> Key:
    return rsa.generate_private_key(65537, 2048)


def both(folder: Path, *leaves: Pair) -> ssl.SSLContext:
    """Return the context of a server that has all these certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for leaf in leaves:
        path = folder / "leaf.pem"
        path.write_bytes(leaf.key_pem + leaf.pem)
        context.load_cert_chain(path)
    return context


@pytest.mark.parametrize(
    "due",
    [
        Due(80, (), 0, f"{OK} expires in 80 days, #, RSA and ECDSA certificate"),
        Due(
            -3,
            (),
            2,
            "SMTP CRITICAL - all-certificates: the RSA certificate expired 3 days ago, #, "
            "cause: certificate",
        ),
        Due(
            -3,
            ("--no-verify",),
            2,
            "SMTP CRITICAL - all-certificates: the RSA certificate expired 3 days ago, #",
        ),
        Due(
            2,
            (),
            2,
            "SMTP CRITICAL - all-certificates: the RSA certificate expires in 2 days, # (limit 3)",
        ),
        Due(
            2,
            ("--tls-min", "1.3"),
            2,
            "SMTP CRITICAL - all-certificates: the RSA certificate expires in 2 days, # (limit 3)",
        ),
        Due(
            2,
            ("--ignore-certificate-expiration",),
            0,
            f"{OK} expires in 80 days, #, RSA and ECDSA certificate",
        ),
    ],
    ids=str,
)
def test_both_certificates_count(tmp_path: Path, root: Pair, due: Due) -> None:
    left, arguments, code, said = due
    ecdsa = issued("ecdsa", root, name=NAME, left=80)
    other = issued("rsa", root, name=NAME, left=left, key=_rsa())
    context = both(tmp_path, ecdsa, other)
    trust = () if "--no-verify" in arguments else trusting(tmp_path, root)
    options = (*trust, *arguments)
    assert check(context, *options, "--all-certificates")[:2] == (code, said)
    without = check(context, *options)
    assert without[:2] == (0, f"{OK} expires in 80 days, #")


def test_both_certificates_without_what_asks_dns(tmp_path: Path, root: Pair) -> None:
    (tmp_path / "dns.py").write_text("raise ImportError('not here')")
    context = both(
        tmp_path, issued("ecdsa", root, name=NAME), issued("rsa", root, name=NAME, key=_rsa())
    )
    code, line, _ = check(
        context,
        *(*trusting(tmp_path, root), "--all-certificates"),
        environment={"PYTHONPATH": str(tmp_path)},
    )
    assert (code, line.rpartition(", ")[2]) == (0, "RSA and ECDSA certificate")


def test_the_other_certificate_is_for_another_name(tmp_path: Path, root: Pair) -> None:
    ecdsa = issued("ecdsa", root, name=NAME)
    other = issued("rsa", root, name="old.example.org", key=_rsa())
    done = check(both(tmp_path, ecdsa, other), *trusting(tmp_path, root), "--all-certificates")
    assert done[:2] == (
        2,
        "SMTP CRITICAL - all-certificates: the RSA certificate is for old.example.org, not "
        "mx.example.org, cause: certificate",
    )


@pytest.mark.parametrize("kind", ["RSA", "ECDSA"])
def test_there_is_only_one(tmp_path: Path, root: Pair, kind: str) -> None:
    leaf = issued("leaf", root, name=NAME, key=_rsa() if kind == "RSA" else None)
    done = check(both(tmp_path, leaf), *trusting(tmp_path, root), "--all-certificates")
    missing = {"RSA": "ECDSA", "ECDSA": "RSA"}[kind]
    assert done[:2] == (
        0,
        f"{OK} expires in 90 days, #, also all-certificates: there is no {missing} certificate",
    )


def test_there_is_only_tls_1_3(tmp_path: Path, root: Pair) -> None:
    """What could not be asked is not OK."""
    context = both(tmp_path, issued("leaf", root, name=NAME))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    done = check(context, *trusting(tmp_path, root), "--all-certificates")
    assert done[:2] == (
        3,
        "SMTP UNKNOWN - all-certificates: with TLS 1.3 only, there is no way to ask for the other "
        "certificate",
    )


def test_there_is_none_before_tls_1_3(tmp_path: Path, root: Pair) -> None:
    """Without a certificate nobody knows with whom he speaks."""
    context = both(tmp_path, issued("leaf", root, name=NAME))
    context.set_ciphers("ADH-AES256-GCM-SHA384:@SECLEVEL=0")
    done = check(context, *trusting(tmp_path, root), "--all-certificates")
    assert done[:2] == (
        2,
        "SMTP CRITICAL - all-certificates: the server shows no certificate in TLS 1.2",
    )


CLIENT_HELLO = (*OFFER, b"220 go\r\n", Swallow())


@pytest.mark.parametrize(
    ("later", "code", "said"),
    [
        (
            (BANNER, EHLO, b"250 mx.example.org\r\n", *QUIT),
            3,
            ", also ".join(
                f"all-certificates: the {kind} certificate could not be checked: STARTTLS is not "
                "offered"
                for kind in ("RSA", "ECDSA")
            ),
        ),
        (
            (b"421 4.7.0 mx.example.org Too many connections\r\n",),
            3,
            ", also ".join(
                f"all-certificates: the {kind} certificate could not be checked: '421 4.7.0 "
                "mx.example.org Too many connections'"
                for kind in ("RSA", "ECDSA")
            ),
        ),
        (
            (*CLIENT_HELLO, Reset()),
            3,
            ", also ".join(
                f"all-certificates: the {kind} certificate could not be checked: connection reset "
                "by the server"
                for kind in ("RSA", "ECDSA")
            ),
        ),
        (
            (*CLIENT_HELLO, b"nonsense"),
            2,
            "all-certificates: the server does not speak TLS here: 'nonsense'",
        ),
        (
            (*CLIENT_HELLO, b"\x15\x03\x03\x00\x02\x02\x50"),
            2,
            "all-certificates: handshake failed: tlsv1 alert internal error",
        ),
    ],
    ids=["not offered", "refused", "reset", "nonsense", "alert"],
)
def test_there_is_no_second_handshake(
    tmp_path: Path, root: Pair, later: tuple[Step, ...], code: int, said: str
) -> None:
    context = both(tmp_path, issued("leaf", root, name=NAME))
    done = check(context, *trusting(tmp_path, root), "--all-certificates", later=later)
    state = {2: "CRITICAL", 3: "UNKNOWN"}[code]
    assert done[:2] == (code, f"SMTP {state} - {said}")


def test_there_is_no_first_handshake(tmp_path: Path, root: Pair) -> None:
    """Then there is no more to be said of any certificate."""
    script = (BANNER, EHLO, b"250 mx.example.org\r\n", *QUIT)
    with ScriptedServer(script).running() as server:
        done = plugin.run(
            *(*plugin.at(server.port), "-S", *trusting(tmp_path, root), "--all-certificates")
        )
    said = f"SMTP CRITICAL - 127.0.0.1:{server.port} starttls: STARTTLS is not offered"
    assert (done.code, done.line, done.stderr) == (2, said, "")


@pytest.mark.parametrize("records", ["ecdsa", "both"])
def test_both_certificates_are_held_against_tlsa(tmp_path: Path, root: Pair, records: str) -> None:
    ecdsa = issued("ecdsa", root, name=NAME)
    other = issued("rsa", root, name=NAME, left=-3, key=_rsa())
    offer = (BANNER, EHLO, b"250-mx.example.org\r\n250 STARTTLS\r\n", Expect(b"STARTTLS"))
    again = (Handshake(both(tmp_path, ecdsa, other)), EHLO, b"250 mx.example.org\r\n", *QUIT)
    tlsa = {pair.certificate.subject.rfc4514_string(): _tlsa(pair) for pair in (ecdsa, other)}
    with ScriptedServer((*offer, b"220 go\r\n", *again)).running() as server:
        known = {
            (NAME, "A"): Answer(("A 127.0.0.1",), is_secure=True),
            (f"_{server.port}._tcp.{NAME}", "TLSA"): Answer(
                tuple(tlsa.values())[: 2 if records == "both" else 1], is_secure=True
            ),
        }
        with NameServer(known, Answer(is_secure=True)).running() as names:
            done = plugin.run(
                *("-H", NAME, "-p", str(server.port), "-F", "me.example", "-S", "--dane", "-v"),
                *("--nameserver", names.nameserver, "--all-certificates"),
            )
    told = masking.masked(done.stdout).replace(str(server.port), "PORT").splitlines()
    rows = [row for row in told if row.startswith("all-certificates") or "dane " in row]
    ours, theirs = (f"TLSA {one[5:27]}..." for one in tlsa.values())
    if records == "ecdsa":
        problem = (
            f"dane: the RSA certificate matches no TLSA record at _PORT._tcp.{NAME}: {ours[5:]}"
        )
        assert done.code == 2
        assert rows == [
            f"all-certificates [CRITICAL] {problem}",
            "all-certificates [OK] RSA certificate: expired 3 days ago, #",
            f"all-certificates [OK] RSA certificate: {ours} matches nothing",
            "all-certificates [OK] ECDSA certificate: expires in 90 days, #",
            f"all-certificates [OK] ECDSA certificate: {ours} matches",
        ]
        return
    assert done.code == 0
    assert sorted(row for row in rows if "TLSA" in row) == sorted(
        [
            f"all-certificates [OK] RSA certificate: {theirs} matches",
            f"all-certificates [OK] RSA certificate: {ours} matches nothing",
            f"all-certificates [OK] ECDSA certificate: {ours} matches",
            f"all-certificates [OK] ECDSA certificate: {theirs} matches nothing",
        ]
    )


def _tlsa(pair: Pair) -> str:
    der = pair.key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"TLSA 3 1 1 {hashlib.sha256(der).hexdigest()}"


def test_which_hosts_certificate_differs(tmp_path: Path, root: Pair) -> None:
    """One of three is told apart; the others, which are alike, need no word."""
    new, old = issued("New CA", root), issued("Old CA", root)
    served = [issued("leaf", by, name=NAME, left=left) for by, left in ((new, 90), (old, 60))]
    with ExitStack() as stack:
        port = free_port()
        for address, leaf, by in (
            ("127.0.0.1", served[0], new),
            ("127.0.0.2", served[1], old),
            ("127.0.0.3", served[0], new),
        ):
            folder = tmp_path / address
            folder.mkdir()
            offer = (BANNER, EHLO, b"250-mx.example.org\r\n250 STARTTLS\r\n", Expect(b"STARTTLS"))
            again = (Handshake(shown(folder, leaf, by)), EHLO, b"250 x\r\n", *QUIT)
            script = (*offer, b"220 go\r\n", *again)
            server = ScriptedServer(script, address=address, port=port)
            stack.enter_context(server.running())
        hosts = [word for end in (1, 2, 3) for word in ("-H", f"127.0.0.{end}")]
        done = plugin.run(
            *hosts,
            *("-p", str(port), "-F", "me.example", "-S", "--sni", NAME, "-v"),
            *trusting(tmp_path, root),
        )
    assert (done.code, done.stderr) == (0, "")
    rows = [row for row in masking.undated(done.stdout).splitlines() if row.startswith("certif")]
    assert rows == [
        "certificate [OK] of 127.0.0.2: issuer Old CA instead of New CA, expires in 60 days, # "
        "instead of #"
    ]


def test_a_malformed_issuer_hides_no_other() -> None:
    """OpenSSL gives all that it was shown, or nothing."""
    good = issued("Good CA", left=2)
    bad = issued("Bad CA", name="abcde.example", is_authority=True)
    whole, other = (one.certificate.public_bytes(serialization.Encoding.DER) for one in (good, bad))
    malformed = other.replace(b"abcde.example", b"\xff\xfe\xff\xfe\xff.example")
    store = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    store.load_verify_locations(cadata=malformed)
    with pytest.raises(UnicodeDecodeError):
        store.get_ca_certs()
    found = issuers([malformed, whole, b"nothing"])
    assert [one and (one.subject, one.days) for one in found] == [
        ("Bad CA", 90),
        ("Good CA", 2),
        None,
    ]


def test_an_issuer_that_is_none_is_left_out() -> None:
    one = issued("Good CA", left=2).certificate.public_bytes(serialization.Encoding.DER)
    other = issued("Other CA", left=5).certificate.public_bytes(serialization.Encoding.DER)
    handshake = certificate.Handshake("TLSv1.3", None, other, (other, b"nothing", one))
    assert [(read.subject, read.days) for read in handshake.certificates()] == [
        ("Other CA", 5),
        ("Good CA", 2),
    ]


def test_a_certificate_that_openssl_cannot_parse_has_its_names_all_the_same() -> None:
    one = issued("leaf", name="abcde.example").certificate
    der = one.public_bytes(serialization.Encoding.DER)
    assert host_names(certificate.Handshake("TLSv1.3", None, der)) == ("abcde.example",)
    assert host_names(certificate.Handshake("TLSv1.3", None, b"nothing")) == ()


def test_without_the_package_what_only_it_can_read_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leaf, authority = (
        one.certificate.public_bytes(serialization.Encoding.DER)
        for one in (issued("leaf", name=NAME), issued("Good CA", left=2))
    )
    assert (key_bits(leaf), key_bits(b"nothing")) == (256, None)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert key_bits(leaf) is None
    assert [one and one.subject for one in issuers([leaf, authority])] == [None, "Good CA"]


@pytest.mark.parametrize(
    "date",
    [
        "Jan  1 00:00:00 1970 GMT",
        "Jan  5 09:34:43 2018 GMT",
        "Feb 28 23:59:59 2100 GMT",
        "Mar  1 00:00:00 2100 GMT",
        "Feb 29 12:00:01 2000 GMT",
        "Dec 31 23:59:59 1950 GMT",
        "Dec 31 23:59:59 9999 GMT",
        "Jun 15 01:02:03 2049 GMT",
    ],
)
def test_dates_are_read_as_ssl_reads_them(date: str) -> None:
    assert seconds(date) == ssl.cert_time_to_seconds(date)


@pytest.mark.parametrize("date", ["Bad time value", "", "Jan  x 00:00:00 1970 GMT"])
def test_a_date_that_is_none(date: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        seconds(date)
