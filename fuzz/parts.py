"""One input is what another party says: a mailbox, a name server, a policy host or a sender.

Its first byte chooses the part. Whatever the other bytes are, the only exceptions are our own
faults, the run ends, no command has two lines, and no word gets past the gate unchanged. The
``-timeout`` of libFuzzer finds inputs that take long.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING

import dns.message

from check_smtp_health.config import mailbox_url
from check_smtp_health.config.accounts import Secret
from check_smtp_health.errors import Disconnected, SessionFault
from check_smtp_health.escaping import harmless, printable
from check_smtp_health.faults import DnsUnanswered
from check_smtp_health.masking import Mask
from check_smtp_health.net import dns_answer, https
from check_smtp_health.net.addresses import Address
from check_smtp_health.net.operations import (
    Connect,
    Outcome,
    Read,
    Together,
    Watch,
    Within,
    Write,
    untimed,
)
from check_smtp_health.net.way import Way
from check_smtp_health.policy import dkim, mta_sts, signatures, spf
from check_smtp_health.policy.sender import ROUNDS_LIMIT
from check_smtp_health.roundtrip import header, origin
from check_smtp_health.roundtrip.imap import Imap
from check_smtp_health.roundtrip.mailbox import WHOLE_LIMIT, Access
from check_smtp_health.roundtrip.matching import MessageQuery
from check_smtp_health.roundtrip.message import RECIPIENTS, TOKEN
from check_smtp_health.roundtrip.pop3 import Pop3
from check_smtp_health.stages import token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.roundtrip.mailbox import Reader

SOUGHT = MessageQuery(TOKEN, "t0ken", RECIPIENTS, ("one",), 900)

OPERATIONS_LIMIT = 5000

ADDRESSES = {"A": "192.0.2.9", "AAAA": "2001:db8::9", "MX": "b.test", "PTR": "a.test"}
"""What DNS says of any name but its texts, by the kind of record."""

STATUSES = (200, 400, 401, 429, 302, 503)
"""Of HTTP, that the answer of whoever gives out tokens may have."""

KINDS = ("MX", "TXT", "A", "AAAA", "PTR", "TLSA", "CNAME")

PIECES_END = b"\n--\n"
"""What parts the pieces of a dialogue: each is what comes after one of our commands."""


VERBS = (
    *(("imap", "SELECT"), ("imap", "STORE"), ("imap", "EXPUNGE"), ("imap", "LIST")),
    *(("pop3", "TOP"), ("pop3", "DELE")),
)
"""Commands that are worth telling: how deep a dialogue has come."""


def one_input(data: bytes) -> None:
    """Try an input, as libFuzzer wants it."""
    reached(data)


def reached(data: bytes) -> set[str]:
    """Try an input; return what it has led to, in words."""
    return set(PARTS[data[0] % len(PARTS) if data else 0](data[1:]))


def imap(data: bytes) -> Iterator[str]:
    """Look into a mailbox with all that can be done there."""
    return _mailbox(Imap, "imap", data)


def pop3(data: bytes) -> Iterator[str]:
    """Look into a mailbox with all that can be done there."""
    return _mailbox(Pop3, "pop3", data)


def dns_message(data: bytes) -> Iterator[str]:
    """Read an answer to a question; it has the number and the question that it should have."""
    kind = KINDS[data[0] % len(KINDS)] if data else "A"
    query = dns.message.make_query("mx.example.org", kind, use_edns=0).to_wire()
    counts = data[1:9].ljust(8, b"\0")
    question = dns_answer.question_of(query)
    reply = query[:2] + b"\x81\xa0" + b"\0\1" + counts[2:] + question + data[9:]
    assert dns_answer.is_answer(query, reply)
    dns_answer.is_answer(query, data)
    try:
        answer = dns_answer.read(query, reply)
    except DnsUnanswered:
        return
    _show(answer.canonical)
    for value in answer.values:
        _show(str(value))
    assert len(answer.values) <= dns_answer.RECORDS_LIMIT
    if answer.values:
        yield f"records of {kind}"


def policy(data: bytes) -> Iterator[str]:
    """Read a response, whole and in pieces, and the policy that it may have."""
    found: list[object] = []
    for size in (max(1, len(data)), 7):
        response, page = https.Response(), None
        try:
            for at in range(0, len(data), size):
                response.feed(data[at : at + size])
                page = page or response.page(is_over=False)
            page = page or response.page(is_over=True)
        except SessionFault as fault:
            found.append(fault.problem)
            continue
        found.append(page)
    assert found[0] == found[1]
    for body in (data, *(one.body for one in found[:1] if isinstance(one, https.Page))):
        try:
            read = mta_sts.parsed(body)
        except SessionFault as fault:
            _show(fault.problem)
        else:
            mta_sts.is_covered("mx.example.org", frozenset(read.patterns))
            yield f"policy {read.mode}"


def records(data: bytes) -> Iterator[str]:
    """Read the records that lead to a policy, and to reports about it."""
    found = data.split(b"\0")
    try:
        identity = mta_sts.policy_id(found, "example.org")
    except SessionFault as fault:
        _show(fault.problem)
    else:
        assert identity.isalnum()
        yield "record"
    _show(mta_sts.reporting(found))


def results(data: bytes) -> Iterator[str]:
    """Read the header of a message that has come."""
    read = header.fields(data)
    for method, result in header.authentication_results(read):
        assert method in header.METHODS
        _show(result)
        yield method
    header.received(read)
    for host, _ in header.hops(read):
        _show(host)
    assert len(header.spam(read)) <= header.SPAM_LIMIT
    found = origin.of(read)
    assert (found.address is None) == bool(found.problem)
    _show(found.problem)
    assert len(origin.authors(read)) <= origin.AUTHORS_LIMIT + 1
    if found.address is not None:
        yield "origin"
    if signatures.fields(data):
        yield "fields"


def sender_records(data: bytes) -> Iterator[str]:
    """Evaluate SPF, the records of two domains that may lead to each other; read a DKIM key."""
    first, second, key, *_ = [*data.split(b"\0", 2), b"", b""]
    texts = {"a.test": first.decode("latin-1"), "b.test": second.decode("latin-1")}
    for client in (None, ipaddress.ip_address("192.0.2.9"), ipaddress.ip_address("2001:db8::9")):
        answers: dict[spf.Question, spf.Answer] = {}
        for _ in range(ROUNDS_LIMIT):
            outcome = spf.evaluated(answers, "a.test", client, "me@a.test", "out.a.test")
            if not outcome.missing:
                break
            for name, kind in outcome.missing:
                said = texts.get(name, "") if kind == "TXT" else ADDRESSES.get(kind, "")
                answers[name, kind] = spf.Answer((said,) if said else ())
        else:
            raise AssertionError("no end of questions")
        assert outcome.lookups <= spf.CENSUS_LIMIT + 1
        _show(outcome.problem)
        yield f"SPF {outcome.result}"
    read = dkim.read(key, "s1._domainkey.a.test")
    for finding in read.findings:
        _show(finding.problem)
    if read.bits:
        yield "key"


def token_answer(data: bytes) -> Iterator[str]:
    """Read what an endpoint says that gives out tokens; none of it may be shown."""
    status, body = STATUSES[data[0] % len(STATUSES) if data else 0], data[1:]
    mask = Mask()
    try:
        found = token.parsed(https.Page("application/json", body, status=status), mask)
    except SessionFault as fault:
        _show(fault.problem)
        yield f"token: {type(fault).__name__}"
    else:
        assert found.isascii()
        assert found.isprintable()
        assert len(found) <= token.TOKEN_LIMIT
        yield "token"


PARTS: Sequence[Callable[[bytes], Iterator[str]]] = (
    imap,
    pop3,
    dns_message,
    policy,
    records,
    results,
    sender_records,
    token_answer,
)


def _show(said: str) -> None:
    assert harmless(said).isprintable()
    assert printable(said).isprintable()


def _mailbox(kind: type[Reader], scheme: str, data: bytes) -> Iterator[str]:
    url = mailbox_url.parse(f"{scheme}://me@192.0.2.1")
    access = Access((url,), Secret("s3cret"), None, True)  # type: ignore[arg-type]
    one = kind(access, Way(None, None, None), Watch())

    def everything() -> Procedure[None]:
        one.copies = yield from one.look(SOUGHT)
        yield from one.bounce(SOUGHT)
        if one.copies:
            assert len((yield from one.whole(SOUGHT)).data) <= 2 * WHOLE_LIMIT
            yield from one.clean_up(SOUGHT, 0)

    server = _Server(data)
    try:
        _served(untimed(everything(), one.watch), server)
    except SessionFault as fault:
        _show(fault.problem)
        yield "a fault"
    commands = " ".join(server.commands)
    yield from (f"{name}: {verb}" for name, verb in VERBS if name == scheme and verb in commands)
    for note in one.notes:
        _show(note)


class _Server:
    """Says a piece after each command, in which ``TAG`` stands for the command's tag."""

    def __init__(self, data: bytes) -> None:
        self._pieces: Iterator[bytes] = iter(data.split(PIECES_END))
        self._coming = next(self._pieces)
        self._tag = b""
        self.commands: list[str] = []
        self.now = 100.0

    def value(self, operation: Any) -> Any:
        """Return what comes of an operation."""
        if isinstance(operation, Connect):
            return Address(socket.AF_INET, ("198.51.100.7", 40000))
        if isinstance(operation, Write):
            assert not re.search(rb"[\x00-\x1f\x7f]", operation.data.removesuffix(b"\r\n"))
            self._tag = operation.data.split(b" ", 1)[0].rstrip(b"\r\n")
            self.commands.append(operation.data.decode("latin-1"))
            self._coming += next(self._pieces, b"")
        elif isinstance(operation, Read):
            said, self._coming = self._coming.replace(b"TAG", self._tag), b""
            return said or Disconnected("connection reset by the server")
        elif isinstance(operation, (Together, Within)):
            return [_served(one, self) for one in operation.procedures]
        return None


def _served(procedure: Any, server: _Server) -> Any:
    outcome = None
    for _ in range(OPERATIONS_LIMIT):
        try:
            operation = procedure.send(outcome)
        except StopIteration as stop:
            return stop.value
        began = server.now
        server.now += 1
        outcome = Outcome(server.value(operation), began, server.now)
    raise AssertionError("no end of operations")
