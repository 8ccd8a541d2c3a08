"""MTA-STS and the TLS of MX hosts: judged as senders do, whatever else a run goes by."""

from __future__ import annotations

import hashlib
import re
import ssl
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests import masking, needs, plugin
from tests.plugin import Outcome
from tests.servers.authority import Authority, self_signed
from tests.servers.catalogue import BANNER, EHLO, QUIT
from tests.servers.name_server import Answer, NameServer
from tests.servers.scripted import Expect, Handshake, Hang, ScriptedServer, Step, Swallow

HTTPS = "127.0.0.48"
"""Where the policy is served, on port 443."""

NEIGHBOUR = "127.0.0.46"
"""Where that of another domain with the same MX host is."""

SMTP = "127.0.0.45"
"""Where the domain and its MX host are."""

OFFER = (EHLO, b"250-mx.example.org\r\n250 STARTTLS\r\n", Expect(b"STARTTLS"), b"220 go\r\n")
AGAIN = (EHLO, b"250 mx.example.org\r\n", *QUIT)
PLAIN = (EHLO, b"250 mx.example.org\r\n", *QUIT)

GREETED = (BANNER, *OFFER)


def page(policy: str) -> bytes:
    """Return an HTTP response that has a policy."""
    text = f"version: STSv1\n{policy}".encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text


@dataclass
class World:
    """Certificates of the MX host by kind, and their authority."""

    folder: Path
    authority: Authority
    contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)
    tlsa: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, *names: str, days: float = 90) -> None:
        path = self.authority.written(self.folder / kind, *names, days=days)
        self.contexts[kind] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.contexts[kind].load_cert_chain(path)
        key = x509.load_pem_x509_certificate(Path(path).read_bytes()).public_key()
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.tlsa[kind] = f"TLSA 3 1 1 {hashlib.sha256(der).hexdigest()}"

    def run(
        self,
        kind: str,
        *arguments: str,
        policy: str = "mode: enforce\nmx: mx.example.org\nmax_age: 604800\n",
        host: ssl.SSLContext | None = None,
        script: tuple[Step, ...] = (),
        later: tuple[Step, ...] | None = None,
        neighbour: str = "",
        address: str = SMTP,
    ) -> Outcome:
        """Run the plugin against a domain whose MX host shows a certificate of that kind.

        ``neighbour`` is the policy of another domain that has the same, ``address`` what DNS says
        of the host, which may be several; nothing where it is empty.
        """
        web = (Handshake(host or self.contexts["policy host"]), Swallow(), page(policy))
        smtp = script or (*GREETED, Handshake(self.contexts[kind]), *AGAIN)
        with ExitStack() as stack:
            server = ScriptedServer(smtp, address=SMTP, later=later)
            stack.enter_context(server.running())
            stack.enter_context(ScriptedServer(web, address=HTTPS, port=443).running())
            if neighbour:
                web = (*web[:2], page(neighbour))
                stack.enter_context(ScriptedServer(web, address=NEIGHBOUR, port=443).running())
                arguments = ("-H", "example.net", *arguments)
            addresses = [f"A {one}" for one in address.split()]
            known = {
                ("example.org", "MX"): "MX 10 mx.example.org.",
                ("example.org", "A"): f"A {SMTP}",
                **({("mx.example.org", "A"): ",".join(addresses)} if address else {}),
                (f"_{server.port}._tcp.mx.example.org", "TLSA"): self.tlsa[kind],
                ("_mta-sts.example.org", "TXT"): 'TXT "v=STSv1; id=1"',
                ("mta-sts.example.org", "A"): f"A {HTTPS}",
                ("example.net", "MX"): "MX 10 mx.example.org.",
                ("_mta-sts.example.net", "TXT"): 'TXT "v=STSv1; id=1"',
                ("mta-sts.example.net", "A"): f"A {NEIGHBOUR}",
            }
            answers = {
                asked: Answer(tuple(text.split(",")), is_secure=True)
                for asked, text in known.items()
            }
            names = NameServer(answers, Answer(is_secure=True))
            stack.enter_context(names.running())
            outcome = plugin.run(
                *("-H", "example.org", "-p", str(server.port), "-F", "me.example", "-t", "5"),
                *("--nameserver", names.nameserver, "--ca-file", self.authority.path),
                *("--mta-sts", *arguments),
            )
        assert outcome.stderr == ""
        stdout = outcome.stdout.replace(str(server.port), "PORT")
        return Outcome(outcome.code, stdout, outcome.stderr, outcome.seconds)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    needs.root()  # for the port of HTTPS
    folder = tmp_path_factory.mktemp("mta-sts-hosts")
    world = World(folder, Authority.made(folder, "ours"))
    world.add("good", "mx.example.org", "example.org")
    world.add("expired", "mx.example.org", days=-3)
    world.add("other name", "old.example.net")
    world.add("2 days", "mx.example.org", days=2)
    world.add("policy host", "mta-sts.example.org", "mta-sts.example.net")
    return world


def told(outcome: Outcome) -> tuple[int, str]:
    line = re.sub(r"slowest: .* s \(.*? s\)", "slowest: #", outcome.line)
    return outcome.code, masking.masked(line)


TOO_OLD = "mx.example.org:PORT mta-sts: certificate expired 3 days ago, #"
EXPIRED = f"{TOO_OLD}, cause: certificate [127.0.0.45]"
NAMED = (
    "mx.example.org:PORT mta-sts: certificate is for old.example.net, not mx.example.org, "
    "cause: certificate [127.0.0.45]"
)
STATES = ("OK", "WARNING", "CRITICAL")
FINE = "1 of 1 healthy, slowest: #"


@pytest.mark.parametrize(
    ("kind", "arguments", "code", "line"),
    [
        ("expired", ("--dane",), 2, f"{EXPIRED}, 0 of 1 healthy"),
        ("other name", ("--dane",), 2, f"{NAMED}, 0 of 1 healthy"),
        ("other name", ("--no-verify",), 2, f"{NAMED}, 0 of 1 healthy"),
        (
            "2 days",
            ("--dane",),
            2,
            "mx.example.org:PORT mta-sts: certificate expires in 2 days, # (limit 3) [127.0.0.45], "
            "0 of 1 healthy",
        ),
        (
            "2 days",
            ("--no-verify",),
            2,
            "mx.example.org:PORT certificate: expires in 2 days, # (limit 3) [127.0.0.45], "
            "0 of 1 healthy",
        ),
        (
            "expired",
            ("--ignore-certificate-expiration",),
            2,
            f"{EXPIRED}, 0 of 1 healthy",
        ),
        ("other name", ("--sni", "old.example.net"), 2, f"{NAMED}, 0 of 1 healthy"),
        (
            "good",
            ("--dane",),
            0,
            f"example.org: {FINE}, first certificate expires in 90 days, #, MTA-STS enforce, "
            "DANE 3 1 1",
        ),
        (
            "good",
            ("--no-verify", "--tls-min", "1.3"),
            0,
            f"example.org: {FINE}, first certificate expires in 90 days, #, MTA-STS enforce",
        ),
        (
            "expired",
            (),
            2,
            "mx.example.org:PORT tls: certificate expired 3 days ago, # (after # s), cause: "
            "certificate [127.0.0.45], 0 of 1 healthy",
        ),
    ],
)
def test_no_policy_switches_another_off(
    world: World, kind: str, arguments: tuple[str, ...], code: int, line: str
) -> None:
    state = STATES[code]
    outcome = world.run(kind, "--mx", "-S", *arguments)
    assert told(outcome) == (code, f"SMTP {state} - {line}")


def test_dane_is_still_seen_to_hold(world: World) -> None:
    outcome = world.run("expired", "--mx", "-S", "--dane", "-v")
    assert outcome.code == 2
    assert f"dane     [OK] {world.tlsa['expired'][:27]}... matches\n" in outcome.stdout


def test_no_tls_is_a_usage_error(world: World) -> None:
    outcome = world.run("good", "--mx", script=(BANNER, *PLAIN))
    assert (outcome.code, outcome.stdout) == (
        3,
        "SMTP UNKNOWN - --mta-sts: needs TLS, add -S or --ssl\n",
    )


TESTING = "mode: testing\nmx: mx.example.org\nmax_age: 604800\n"


@pytest.mark.parametrize(
    ("policy", "code", "line"),
    [
        (
            TESTING,
            1,
            f"{TOO_OLD} [127.0.0.45], also example.org mta-sts: mode testing, 1 of 1 healthy",
        ),
        (
            "mode: none\nmax_age: 60\n",
            0,
            f"example.org: {FINE}, first certificate expired 3 days ago, #, DANE 3 1 1, also "
            "example.org mta-sts: mode none",
        ),
    ],
    ids=["testing", "none"],
)
def test_how_far_the_policy_is_enforced(world: World, policy: str, code: int, line: str) -> None:
    outcome = world.run("expired", "--mx", "-S", "--dane", policy=policy)
    assert told(outcome) == (code, f"SMTP {('OK', 'WARNING')[code]} - {line}")


@pytest.mark.parametrize(
    ("modes", "problems"),
    [
        (("enforce", "testing"), f"CRITICAL - {EXPIRED}"),
        (("testing", "enforce"), f"CRITICAL - {EXPIRED}"),
        (("none", "enforce"), f"CRITICAL - {EXPIRED}"),
        (("testing", "testing"), f"WARNING - {TOO_OLD} [{SMTP}]"),
        (("none", "testing"), f"WARNING - {TOO_OLD} [{SMTP}]"),
        (("none", "none"), f"OK - example.org, example.net: {FINE}"),
    ],
)
def test_a_host_of_two_domains_is_judged_by_both(
    world: World, modes: tuple[str, str], problems: str
) -> None:
    """As strictly as the stricter policy has it."""
    own, neighbour = (TESTING.replace("testing", mode) for mode in modes)
    outcome = world.run("expired", "--mx", "-S", "--dane", policy=own, neighbour=neighbour)
    code, line = told(outcome)
    state = problems.partition(" ")[0]
    assert (code, line.startswith(f"SMTP {problems}")) == (STATES.index(state), True)
    for domain, mode in zip(("example.org", "example.net"), modes):
        assert (f"{domain} mta-sts: mode {mode}" in line) == (mode != "enforce")


CHAINED = f"example.org: {FINE}, first certificate expires in 90 days, #"


@pytest.mark.parametrize(
    ("policy", "code", "line"),
    [
        (
            TESTING.replace("mx.example", "old.example"),
            1,
            "example.org mta-sts: the policy does not cover mx.example.org, also mta-sts: mode "
            "testing, 1 of 1 healthy",
        ),
        (
            "mode: testing\nmax_age: 604800\n",
            1,
            "example.org mta-sts: the policy has no mx, 1 of 1 healthy",
        ),
        (TESTING, 0, f"{CHAINED}, also example.org mta-sts: mode testing"),
        (
            "mode: enforce\nmx: mx.example.org\nmax_age: 3600\n",
            0,
            f"{CHAINED}, MTA-STS enforce, also example.org mta-sts: max_age 3600 is under a day",
        ),
        (
            "mode: enforce\nmx: mx.example.org\nmax_age: 0\n",
            0,
            f"{CHAINED}, MTA-STS enforce, also example.org mta-sts: max_age 0 is under a day",
        ),
        (
            "mode: enforce\nmx: mx.example.org\nmax_age: 86400\n",
            0,
            f"{CHAINED}, MTA-STS enforce",
        ),
        (
            "mode: enforce\nmx: mx.example.org\nmx: 192.0.2.1\nmax_age: 604800\n",
            1,
            "example.org mta-sts: the policy's mx 192.0.2.1 is an address, which no MX host is, "
            "1 of 1 healthy",
        ),
        (
            "mode: enforce\nmx: 2001:DB8::1\nmx: mx.example.org\nmax_age: 604800\n",
            1,
            "example.org mta-sts: the policy's mx 2001:db8::1 is an address, which no MX host is, "
            "1 of 1 healthy",
        ),
    ],
)
def test_what_the_policy_says(world: World, policy: str, code: int, line: str) -> None:
    outcome = world.run("good", "--mx", "-S", policy=policy)
    state = STATES[code]
    assert told(outcome) == (code, f"SMTP {state} - {line}")


@pytest.mark.parametrize(
    ("kind", "arguments", "problem"),
    [
        ("good", (), ""),
        ("expired", ("--sni", "example.org"), "certificate expired 3 days ago, #"),
        ("expired", ("--no-verify",), "certificate expired 3 days ago, #"),
    ],
)
def test_mx_hosts_that_are_not_probed(
    world: World, kind: str, arguments: tuple[str, ...], problem: str
) -> None:
    """Without ``--mx`` the domain's own host is probed; the policy is about its MX hosts."""
    outcome = world.run(kind, "-S", "-v", *arguments)
    rows = masking.masked(outcome.stdout).splitlines()
    found = [row.partition("] ")[2] for row in rows if row.startswith("mta-sts  [CRIT")]
    assert found == ([f"mx.example.org: {problem}"] if problem else [])
    assert outcome.code == (2 if problem else 0)


def test_an_mx_host_that_is_not_probed_and_leads_nowhere(world: World) -> None:
    """Whoever asked it would be answered by the monitoring host."""
    outcome = world.run("good", "-S", address="127.0.0.1")
    code, line = told(outcome)
    assert (code, line) == (
        1,
        "SMTP WARNING - example.org:PORT mta-sts: mx.example.org: mx.example.org has 127.0.0.1, "
        "a loopback address, so no mail gets there [127.0.0.45]",
    )


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "the name has no address"),
        ("127.0.0.46", "connection refused"),
        ("127.0.0.46 127.0.0.47", "connection refused"),
    ],
)
def test_an_mx_host_that_is_not_probed_and_cannot_be_asked(
    world: World, address: str, why: str
) -> None:
    """Nothing is wrong with its certificate, and nothing is known of it."""
    outcome = world.run("good", "-S", address=address)
    assert told(outcome) == (
        3,
        "SMTP UNKNOWN - example.org:PORT mta-sts: mx.example.org: its certificate could not be "
        f"checked as senders do: {why} [127.0.0.45]",
    )


def test_an_mx_host_that_is_not_probed_and_answers_at_one_of_its_addresses(world: World) -> None:
    outcome = world.run("good", "-S", address=f"127.0.0.46 127.0.0.47 {SMTP}")
    said = "answered in # s (slowest: # # s), TLS 1.3, certificate expires in 90 days, #"
    assert told(outcome) == (0, f"SMTP OK - example.org:PORT [{SMTP}] {said}, MTA-STS enforce")


@pytest.mark.parametrize(
    ("later", "problem"),
    [
        ((BANNER, *PLAIN), "STARTTLS is not offered"),
        ((*GREETED, Swallow(), b"nonsense"), "the server does not speak TLS here: 'nonsense'"),
        ((b"nonsense\r\n", Hang()), "not an SMTP reply: 'nonsense'"),
        ((Hang(),), "no answer within 1 s"),
    ],
)
def test_an_mx_host_that_is_not_probed_and_has_no_tls(
    world: World, later: tuple[Step, ...], problem: str
) -> None:
    """As seen by senders, who come after us."""
    outcome = world.run("good", "-S", "-t", "1", later=later)
    assert told(outcome) == (
        2,
        f"SMTP CRITICAL - example.org:PORT mta-sts: mx.example.org: {problem} [127.0.0.45]",
    )


def test_a_client_certificate_is_for_mx_hosts_only(world: World, tmp_path: Path) -> None:
    """A policy host is shown nothing: one that it did not know it would refuse."""
    own = world.authority.written(tmp_path / "own", "me.example")
    stranger = Authority.made(tmp_path, "stranger")
    for kind, name, trusted in (
        ("wants ours", "mx.example.org", world.authority),
        ("knows another", "mta-sts.example.org", stranger),
    ):
        world.add(kind, name)
        world.contexts[kind].verify_mode = ssl.CERT_OPTIONAL
        world.contexts[kind].load_verify_locations(trusted.path)
    world.contexts["wants ours"].verify_mode = ssl.CERT_REQUIRED
    host = world.contexts["knows another"]
    outcome = world.run("wants ours", "--mx", "-S", "--cert", own, host=host)
    assert told(outcome) == (0, f"SMTP OK - {CHAINED}, MTA-STS enforce")


def test_an_mx_host_without_tls(world: World) -> None:
    script = (BANNER, *PLAIN)
    outcome = world.run("good", "--mx", "-S", script=script)
    assert told(outcome) == (
        2,
        "SMTP CRITICAL - mx.example.org:PORT starttls: STARTTLS is not offered [127.0.0.45], "
        "0 of 1 healthy",
    )


@pytest.mark.parametrize(
    ("days", "arguments", "code", "line"),
    [
        (
            1,
            (),
            2,
            "example.org mta-sts: the certificate of mta-sts.example.org expires in 1 day, # "
            "(limit 3), 1 of 1 healthy",
        ),
        (1, ("-D", "0"), 0, f"{CHAINED}, MTA-STS enforce"),
        (
            20,
            ("-D", "30"),
            1,
            "example.org mta-sts: the certificate of mta-sts.example.org expires in 20 days, # "
            "(limit 30), 1 of 1 healthy",
        ),
    ],
)
def test_the_policy_hosts_certificate_counts(
    world: World, days: int, arguments: tuple[str, ...], code: int, line: str
) -> None:
    host = world.authority.serving("mta-sts.example.org", days=days)
    outcome = world.run("good", "--mx", "-S", *arguments, host=host)
    state = STATES[code]
    assert told(outcome) == (code, f"SMTP {state} - {line}")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            (),
            "tls: certificate is for no name, not mx.example.org, try --sni or --no-verify "
            "(after # s)",
        ),
        (("--no-verify",), "mta-sts: certificate is for no name, not mx.example.org"),
    ],
)
def test_a_common_name_is_no_name(
    world: World, tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    """RFC 8461 section 4.1: the certificate must have a subject alternative name."""
    world.contexts["common name"] = self_signed(tmp_path, "mx.example.org")
    world.tlsa["common name"] = world.tlsa["good"]
    trusted = tmp_path / "trusted.pem"
    own = (tmp_path / "self-signed.pem").read_text()
    trusted.write_text(Path(world.authority.path).read_text() + own)
    done = world.run("common name", "-S", "--mx", "--ca-file", str(trusted), *arguments)
    assert told(done) == (
        2,
        f"SMTP CRITICAL - mx.example.org:PORT {problem}, cause: certificate [127.0.0.45], "
        "0 of 1 healthy",
    )
