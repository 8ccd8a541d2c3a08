"""A name server that misbehaves as told, name by name, over UDP and TCP."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from tests.servers.loopback import free_port

IN = dns.rdataclass.IN

OFTEN = 0.02
"""Seconds between looks at whether the test is over."""


@dataclass(frozen=True)
class Answer:
    """What is answered to a question.

    ``records`` are as in a master file, ``A 127.0.0.2``, or with an owner of their own before a
    colon, ``other.test: A 127.0.0.2``. ``delay`` in seconds. ``truncated`` sends the question to
    TCP, where ``over_tcp`` is ``answers``, ``garbles``, ``hangs``, ``closes`` or ``stops`` amid it.
    ``changed`` has the last word on the message, ``raw`` on its bytes.
    """

    records: tuple[str, ...] = ()
    rcode: str = "NOERROR"
    delay: float = 0.0
    is_secure: bool = False
    is_silent: bool = False
    truncated: bool = False
    over_tcp: str = "answers"
    changed: Callable[[dns.message.Message], None] | None = None
    raw: Callable[[bytes], bytes] | None = None


def records(*texts: str) -> Answer:
    """Answer with these."""
    return Answer(texts)


def once_lost() -> Callable[[bytes], bytes]:
    """Return what makes ``raw`` lose the first answer: what comes instead answers nothing."""
    lost: list[bytes] = []

    def lose(wire: bytes) -> bytes:
        lost.append(wire)
        return wire if len(lost) > 1 else b""

    return lose


def fails(rcode: str) -> Answer:
    """Answer with nothing but that code."""
    return Answer(rcode=rcode)


def late(seconds: float, answer: Answer) -> Answer:
    """Give that answer, but late."""
    return replace(answer, delay=seconds)


def over_tcp(what: str, *texts: str) -> Answer:
    """Send the question to TCP: the answer is too long for UDP, or said to be."""
    return Answer(texts, truncated=True, over_tcp=what)


def _another_id(message: dns.message.Message) -> None:
    message.id ^= 1


def _another_question(message: dns.message.Message) -> None:
    message.question = [dns.rrset.RRset(dns.name.from_text("other.test"), IN, dns.rdatatype.A)]


SILENCE = Answer(is_silent=True)
NONE = Answer()
NXDOMAIN = fails("NXDOMAIN")
WRONG_ID = Answer(("A 127.0.0.2",), changed=_another_id)
WRONG_QUESTION = Answer(("A 127.0.0.2",), changed=_another_question)
GARBAGE = Answer(raw=lambda reply: reply[:2] + b"\xff" * 30)
SHORT = Answer(raw=lambda reply: reply[:7])
LOOP = records("CNAME loop.test.", "loop.test: CNAME {name}")
HOSTILE = records(r'TXT "a|b=1;2 <b>\010\027[31m[CRITICAL]" "\255\000"')
HUGE = over_tcp("answers", *(f'TXT "{index}" "{"x" * 250}"' for index in range(200)))

Answers = Mapping[tuple[str, str], Answer]


@dataclass
class NameServer:
    """A name server with an answer for each name and type; to all others the ``default``.

    ``asked`` has the transport, name and type of each question, ``peers`` the addresses that they
    came from. Until there are ``awaited`` of them, none is answered.
    """

    answers: Answers
    default: Answer = NXDOMAIN
    awaited: int = 0
    takes_tcp: bool = True
    address: str = "127.0.0.1"
    port: int = 0
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    peers: set[str] = field(default_factory=set)

    @property
    def nameserver(self) -> str:
        """Where it is, as ``--nameserver`` takes it."""
        return f"{self.address}:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[NameServer]:
        """Serve until the block ends."""
        self.port = self.port or free_port()
        over = threading.Event()
        with contextlib.ExitStack() as stack:
            datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            datagrams.bind((self.address, self.port))
            datagrams.settimeout(OFTEN)
            threads = [threading.Thread(target=self._serve_udp, args=(datagrams, over))]
            if self.takes_tcp:
                listener = stack.enter_context(socket.socket())
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self.address, self.port))
                listener.listen(128)
                listener.settimeout(OFTEN)
                threads.append(threading.Thread(target=self._serve_tcp, args=(listener, over)))
            for thread in threads:
                thread.start()
            try:
                yield self
            finally:
                over.set()
                for thread in threads:
                    thread.join()

    def _serve_udp(self, datagrams: socket.socket, over: threading.Event) -> None:
        late: list[threading.Timer] = []
        kept: list[tuple[bytes, tuple[str, int]]] = []
        while not over.is_set():
            try:
                wire, peer = datagrams.recvfrom(4096)
            except socket.timeout:
                continue
            self.peers.add(peer[0])
            reply, answer = self._reply("udp", wire)
            if answer.is_silent:
                continue
            if answer.delay:
                late.append(threading.Timer(answer.delay, datagrams.sendto, (reply, peer)))
                late[-1].start()
            else:
                kept.append((reply, peer))
            if len(self.asked) >= self.awaited:
                for one in kept:
                    datagrams.sendto(*one)
                kept.clear()
        for timer in late:
            timer.cancel()
            timer.join()

    def _serve_tcp(self, listener: socket.socket, over: threading.Event) -> None:
        threads = []
        while not over.is_set():
            try:
                connection, peer = listener.accept()
            except socket.timeout:
                continue
            self.peers.add(peer[0])
            thread = threading.Thread(target=self._serve_stream, args=(connection, over))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()

    def _serve_stream(self, connection: socket.socket, over: threading.Event) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            wire = b""
            while len(wire) < 2 or len(wire) < 2 + struct.unpack("!H", wire[:2])[0]:
                data = connection.recv(4096)
                if not data:
                    return
                wire += data
            reply, answer = self._reply("tcp", wire[2:])
            whole = struct.pack("!H", len(reply)) + reply
            if answer.over_tcp == "garbles":
                whole = whole[:2] + bytes(len(reply))
            length = {"garbles": len(whole), "answers": len(whole), "stops": len(whole) // 2}.get(
                answer.over_tcp, 0
            )
            over.wait(answer.delay)
            connection.sendall(whole[:length])
            if answer.over_tcp in ("hangs", "stops"):
                over.wait()

    def _reply(self, transport: str, wire: bytes) -> tuple[bytes, Answer]:
        query = dns.message.from_wire(wire)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked.append((transport, name, kind))
        answer = self.answers.get((name, kind), self.default)
        return _wire(query, answer, is_udp=transport == "udp"), answer


def _wire(query: dns.message.Message, answer: Answer, *, is_udp: bool) -> bytes:
    message = dns.message.make_response(query, recursion_available=True)
    message.set_rcode(dns.rcode.from_text(answer.rcode))
    owner = query.question[0].name.to_text()
    if answer.is_secure:
        message.flags |= dns.flags.AD
    if is_udp and answer.truncated:
        message.flags |= dns.flags.TC
    else:
        for text in answer.records:
            own, colon, rest = text.partition(": ")
            name = own if colon and " " not in own else owner
            kind, _, value = (rest if name is own else text).partition(" ")
            value = value.replace("{name}", owner)
            rrset = message.find_rrset(
                message.answer,
                dns.name.from_text(name),
                IN,
                dns.rdatatype.from_text(kind),
                create=True,
            )
            for one in dns.rrset.from_text(name, 60, "IN", kind, value):
                rrset.add(one)
    if answer.changed is not None:
        answer.changed(message)
    wire = message.to_wire(max_size=65535)
    return answer.raw(wire) if answer.raw is not None else wire
