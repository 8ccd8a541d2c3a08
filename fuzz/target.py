"""One input is one run: a command line, everything that its server does, and its certificate.

The bytes of the input serve the operations of ``probe`` and move its clock; the report is judged
and printed as in ``cli``. Whatever the bytes are, the only exceptions are our own faults, the run
ends, and the output is harmless.
"""

from __future__ import annotations

import base64
import functools
import socket
from typing import TYPE_CHECKING, NamedTuple

from check_smtp_health.config import mailbox_url
from check_smtp_health.errors import (
    Disconnected,
    Interrupted,
    LocalFault,
    TimedOut,
    Unreachable,
    Unresolvable,
    Untrusted,
)
from check_smtp_health.faults import Bounced, HandshakeFailed, NotTls, Undelivered
from check_smtp_health.judge.check import HealthCheck
from check_smtp_health.judge.text import HealthSummary

# Some only because modules that are imported later would not be instrumented.
from check_smtp_health.net import addresses, trust  # noqa: F401
from check_smtp_health.net.addresses import Address
from check_smtp_health.net.certificate import Handshake
from check_smtp_health.net.operations import (
    Call,
    Connect,
    Outcome,
    Read,
    StartTls,
    Within,
    Write,
)
from check_smtp_health.output import json, text
from check_smtp_health.probing import targets
from check_smtp_health.probing.probe import ProbePlan, probe
from check_smtp_health.roundtrip import search
from check_smtp_health.smtp import sasl
from check_smtp_health.stages.connection import PROXY_SIGNATURE
from check_smtp_health.stages.state import Target
from tests import command_line, harmless
from tests.replies import parse

if TYPE_CHECKING:
    from typing import Any

    from check_smtp_health.errors import Why
    from check_smtp_health.net.operations import Operation
    from check_smtp_health.report import Report

PASSWORD = "s3cret w\u00f6rd"

OPERATIONS_LIMIT = 5000
"""More than any run wishes for: the input would have to say so with a byte each."""

COMMAND_LINES: tuple[tuple[str, ...], ...] = (
    ("mx.example",),
    ("192.0.2.1", "--ehlo", "-e", "220 mx", "--require", "SIZE", "--forbid", "VRFY"),
    ("mx.example", "-S", "--no-verify"),
    ("mx.example", "-S", "-D", "30,10", "-r", "-U", "monitor", "-A", "PLAIN"),
    ("mx.example", "--ssl", "--no-verify", "-U", "monitor", "-A", "LOGIN", "-vvv"),
    ("::1", "--ssl", "--ignore-certificate-expiration", "-r", "v2"),
    ("mx.example", "-U", "monitor", "-A", "PLAIN", "--auth-insecure"),
    ("mx.example", "-U", "monitor", "-A", "CRAM-MD5"),
    ("mx.example", "-U", "monitor", "-A", "XOAUTH2", "--auth-insecure"),
    ("mx.example", "-U", "monitor", "-A", "SCRAM-SHA-256", "-vv"),
    ("mx.example", "-t", "0.5", "-w", "helo=0.1", "-c", "resolve=@1:2,tls=0.1", "-D", "0"),
    ("mx.example", "-f", "a|b@x.example", "--size", "10", "--rcpt", "a@x", "--rcpt", "b|c@x"),
    ("mx.example", "--no-relay", "a@y", "--no-rcpt", "\u00fc|b@y", "--tempfail", "ok"),
    ("mx.example", "-C", "NOOP a|b", "-C", "AUTH LOGIN", "-C", "bWU=", "-R", "^250|x", "-R", "334"),
    ("/run/lmtp", "-L", "--rcpt", "a@x", "-w", "banner=0.1,9", "-c", "~:5", "-t", "9:unknown"),
    ("mx.example", "-e", "554 no", "-vvv"),
    (
        *("mx.example", "--rcpt", "a@x", "--deliver", "--require-auth-results", "spf,dkim", "-v"),
        *("--mailbox", "imaps://me@x", "--mailbox", "imaps://me@x/Junk", "-w", "delivery=0.1"),
    ),
)
"""The first byte of an input chooses one."""

HOSTILE = b"|time=9 [CRITICAL] <b>\0\x1b[31m\x85\xe2\x80\xae\xe2\x80\xa8\xff"

INBOX, JUNK = ((mailbox_url.parse(f"imaps://me@x{folder}"),) for folder in ("", "/Junk"))

REASONS: tuple[Why, ...] = (
    "self-signed",
    "unknown issuer",
    "wrong name",
    "expired",
    "not yet valid",
    "other",
)


class Result(NamedTuple):
    """What a run has come to: the report, the text and the JSON."""

    report: Report
    text: str
    json: str


class Source:
    """The bytes of an input, one decision after another; once they are used up, all is well."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """Return the next byte, 0 at the end."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def bytes(self) -> bytes:
        """Return some bytes, their number first; with a 255 it is the ones that harm most."""
        length = self.byte()
        if length == 255:
            return HOSTILE
        self._at += length
        return self._data[self._at - length : self._at]


class Server:
    """Serves operations from a source: 0 is what a good server does, anything else is not."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._line = b""
        self._challenges: list[bytes] = []
        self._coming = b""
        self.sent = b""
        self.now = 100.0

    def outcome(self, operation: Operation) -> Outcome:
        """Return what comes of an operation, some time later."""
        began = self.now
        value = self._value(operation)
        self.now += self._source.byte() / 100
        return Outcome(value, began, self.now)

    def _value(self, operation: Operation) -> Any:
        if isinstance(operation, Read):
            return self._read()
        if isinstance(operation, Write):
            if not operation.data.startswith((b"PROXY ", PROXY_SIGNATURE)):
                self._line, self._coming = operation.data, self._coming or b"?"
            return self._or_a_fault(None)
        if isinstance(operation, Connect):
            self._line, self._coming = b"", b"?"
            local = Address(socket.AF_INET, ("198.51.100.7", 40000))
            return self._or_a_fault(local)
        if isinstance(operation, StartTls):
            self._coming = self._coming or b"?"
            return self._shake_hands()
        if isinstance(operation, Call):
            return self._call(operation)
        if isinstance(operation, Within):
            return [self._arrival()]
        return None

    def _or_a_fault(self, value: Any) -> Any:
        faults = {
            1: Disconnected("connection reset by the server"),
            2: TimedOut(10),
            3: Interrupted("interrupted by SIGTERM"),
            4: LocalFault("too many open files"),
            5: Unreachable("connection refused"),
        }
        return faults.get(self._source.byte(), value)

    def _call(self, operation: Call) -> Any:
        if operation.function is addresses.resolve:
            found = [Address(socket.AF_INET, (f"192.0.2.{n}", 25)) for n in (1, 2, 3, 4, 5, 6)]
            choices = {1: Unresolvable("no such host name"), 2: found}
            return self._or_a_fault(choices.get(self._source.byte(), found[:1]))
        assert operation.function is sasl.respond, (
            f"{operation.function} would touch the world: play it"
        )
        try:
            return operation.function(*operation.arguments)
        except Exception as error:
            return error

    def _arrival(self) -> Any:
        """Return what has become of the message."""
        choice = self._source.byte()
        if choice == 1:
            return Undelivered("not there within 60 s")
        if choice == 2:
            return Bounced("could not be delivered", self._source.bytes())
        if choice == 3:
            return Untrusted("certificate expired", "expired")
        places = {4: INBOX * 2, 5: JUNK, 6: JUNK * 2}.get(choice, INBOX)
        passed = b"Authentication-Results: mx; spf=pass; dkim=pass\r\n"
        header = self._source.bytes() + passed * (choice != 7)
        left = (("is not deleted", self._source.bytes()),) * (choice == 8)
        return search.Arrival(places, header, (), left)

    def _read(self) -> Any:
        """Return a piece of what comes; once a reply has come whole, there is only the next."""
        if self._coming == b"?":
            self._coming = self._reply()
        if not self._coming:
            return self._or_a_fault(b"")
        length = self._source.byte() or len(self._coming)
        piece, self._coming = self._coming[:length], self._coming[length:]
        self.sent += piece
        return piece

    def _reply(self) -> bytes:
        """Return the reply that is due, or what has become of it."""
        choice = self._source.byte()
        due = self._due()
        if choice < 100:
            return due
        if choice < 150:  # another code, other words
            return b"%d %s\r\n" % (200 + self._source.byte() * 2, self._source.bytes())
        if choice < 200:  # something in its midst
            at, length = self._source.byte(), self._source.byte() % 8
            return due[:at] + self._source.bytes() + due[at + length :]
        if choice < 220:  # more than was asked for
            return due + self._source.bytes()
        if choice < 230:
            return due * (2 + self._source.byte())
        if choice < 240:
            return b"334 " + base64.b64encode(self._source.bytes()) + b"\r\n"
        return self._source.bytes() * (1 + self._source.byte())

    def _due(self) -> bytes:
        if self._challenges:
            return self._challenges.pop(0)
        verb = self._line[:4]
        if verb in (b"EHLO", b"LHLO"):
            mechanisms = b"PLAIN LOGIN CRAM-MD5 XOAUTH2 SCRAM-SHA-256"
            return (
                b"250-mx\r\n250-SIZE 9\r\n250-SMTPUTF8\r\n250-STARTTLS\r\n250 AUTH %s\r\n"
                % mechanisms
            )
        if verb == b"AUTH":
            return self._login(self._line.split())
        codes = {b"": b"220", b"STAR": b"220", b"QUIT": b"221", b"DATA": b"354"}
        is_relay = b"@y>" in self._line
        return (b"554" if is_relay else codes.get(verb, b"250")) + b" mx ok\r\n"

    def _login(self, words: list[bytes]) -> bytes:
        last = b"235 in\r\n"
        if words[1] == b"LOGIN":
            self._challenges = [b"334 UGFzczo=\r\n", last]
            return b"334 VXNlcjo=\r\n"
        if words[1] == b"CRAM-MD5":
            self._challenges = [last]
            return b"334 PDFAbXg+\r\n"
        if words[1] != b"SCRAM-SHA-256" or not words[2:]:
            return last
        nonce = base64.b64decode(words[2]).rpartition(b"r=")[2]
        counts = (b"4096", b"1", b"0", b"-7", b"x", b"4097", b"9" * 5000)
        count = counts[self._source.byte() % len(counts)]
        salts = (b"QSXCR+Q6sek8bf92", b"", b"!", b"=", b"\xff")
        salt = salts[self._source.byte() % len(salts)]
        first = b"r=%sx,s=%s,i=%s" % (nonce, salt, count)
        self._challenges = [b"334 dj0=\r\n", last]
        return b"334 " + base64.b64encode(first) + b"\r\n"

    def _shake_hands(self) -> Any:
        choice = self._source.byte()
        if choice == 1:
            return NotTls("the server does not speak TLS here")
        if choice == 2:
            return HandshakeFailed("handshake failed: odd")
        if choice == 3:
            reason = REASONS[self._source.byte() % len(REASONS)]
            return Untrusted(f"certificate {reason}", reason, "certificate revoked")
        if choice == 4:
            return self._or_a_fault(Disconnected("connection closed by the server"))
        return Handshake("TLSv1.3", ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256), self._certificate())

    def _certificate(self) -> Any:
        """Return a certificate as OpenSSL hands it over: parsed, or unverified as it came."""
        choice = self._source.byte()
        if choice == 1:
            return None
        if choice == 2:
            at, length = self._source.byte() * 4, self._source.byte()
            der = certificate()
            return der[:at] + self._source.bytes() + der[at + length :]
        name = (self._source.bytes() or b"mx.example").decode("utf-8", "replace")
        days = ("Dec 31 23:59:59 9999 GMT", "Jan  1 00:00:00 1970 GMT", "Nov 30 00:00:00 2026 GMT")
        return {
            "subject": ((("commonName", name),), (("countryName", name),)),
            "issuer": ((("organizationName", name),),) if choice != 3 else (),
            "subjectAltName": (("DNS", name),) * self._source.byte(),
            "notBefore": days[1 + self._source.byte() % 2],
            "notAfter": days[self._source.byte() % 3],
        }


@functools.lru_cache
def certificate() -> bytes:
    """Return a certificate as bytes."""
    import ssl

    import trustme

    issued = trustme.CA().issue_cert("mx.example", "*.example", "192.0.2.1", common_name="mx")
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


@functools.lru_cache
def planned(number: int) -> ProbePlan:
    """Return what a command line asks for, made ready."""
    words = ("-F", "me.example", *COMMAND_LINES[number])
    chosen = command_line.settings(*words, password=PASSWORD, mailbox_password=PASSWORD)
    return targets.prepare(chosen)


def session(plan: ProbePlan) -> Any:
    """Return the session with the only host of a command line."""
    (host,) = plan.settings.endpoint.hosts
    stages = plan.stages.session
    if host.kind == "name":
        stages = (plan.stages.resolve, *stages)
    name = None if host.kind == "socket" else host.ascii
    return probe(Target(host, name), plan, stages)


def run(data: bytes) -> Result:
    """Make the run that the bytes describe."""
    source = Source(data)
    plan = planned(source.byte() % len(COMMAND_LINES))
    server = Server(source)
    report = _served(session(plan), server)
    verbose = plan.settings.judging.verbose
    check = HealthCheck(plan.settings, [report])
    check.add(HealthSummary(check))
    check()
    shown, document = ("".join(one.render(check, verbose)) for one in (text, json))
    harmless.check_text(shown, check.exitcode, verbose=bool(verbose))
    harmless.check_json(document, check.exitcode)
    assert "s3cret" not in f"{shown}{document}{report}"
    # Wherever the bytes were cut, the parser gives the same.
    sent = server.sent[:512]
    assert parse([sent]) == parse(sent[at : at + 1] for at in range(len(sent)))
    return Result(report, shown, document)


def one_input(data: bytes) -> None:
    """Make a run, as libFuzzer wants it."""
    run(data)


def _served(procedure: Any, server: Server) -> Report:
    outcome = None
    for _ in range(OPERATIONS_LIMIT):
        try:
            operation = procedure.send(outcome)
        except StopIteration as stop:
            report: Report = stop.value
            return report
        outcome = server.outcome(operation)
    raise AssertionError("no end of operations")
