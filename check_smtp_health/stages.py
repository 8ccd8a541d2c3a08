"""THE STAGE TABLE, and each stage as a dialogue that reads from top to bottom.

A stage yields wishes (``net.wishes``), is sent their values, raises a ``SessionFault`` where it
cannot go on and returns its findings. It touches nothing and reads no clock.
"""

from __future__ import annotations

from check_smtp_health.errors import (
    Disconnected,
    Rejected,
    TimedOut,
    Unreachable,
)
from check_smtp_health.net import resolver
from check_smtp_health.net.wishes import Call, Connect, Read, Write
from check_smtp_health.observation import Finding
from check_smtp_health.smtp.session import Session, command
from check_smtp_health.values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from check_smtp_health.errors import PeerFault
    from check_smtp_health.net.wishes import Address, Wish
    from check_smtp_health.settings import Settings
    from check_smtp_health.smtp.reply import Reply

    Run = Generator[Wish, Any, "tuple[Finding, ...]"]

QUIT_LIMIT = 1.0
"""Seconds that QUIT may take: what it could tell is not worth a wait."""

IMPLICIT_TLS_PORT = 465
"""RFC 8314 section 3.3: a server there waits for the client to begin TLS."""

# RFC 5321 section 4.2.4 and appendix: what a server without EHLO answers to it.
_EHLO_UNKNOWN = (500, 502, 504)


class Visit:
    """What one walk through the stages has learned so far. The only thing that stages change."""

    __slots__ = ("address", "addresses", "is_connected", "is_over", "local", "session", "settings")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.addresses: tuple[Address, ...] = ()
        self.address: Address | None = None
        self.local: Address | None = None
        self.is_connected = False
        self.is_over = False  # all there is to learn is learned
        self.session = Session()


class Stage(NamedTuple):
    """A row. ``name`` is threshold key, perfdata label and ``-v`` label; ``limit`` in seconds."""

    name: str
    applies: Callable[[Settings], bool]
    run: Callable[[Visit], Run]
    limit: float | None = None


def plan(settings: Settings) -> tuple[Stage, ...]:
    """Return the stages that the settings ask for, in their order, without ``quit``."""
    return tuple(stage for stage in STAGES if stage.applies(settings))


def resolve(visit: Visit) -> Run:
    """Look up the host name."""
    settings = visit.settings
    visit.addresses = yield Call(
        resolver.addresses, (settings.host.ascii, settings.port, settings.family)
    )
    return ()


def connect(visit: Visit) -> Run:
    """Try the addresses in turn; each gets its share of the time left (RFC 5321 section 5.1)."""
    settings = visit.settings
    addresses = visit.addresses or (resolver.literal(settings.host.ascii, settings.port),)
    faults: list[tuple[Address, PeerFault]] = []
    for index, address in enumerate(addresses):
        visit.address = address
        share = 1 / (len(addresses) - index)
        try:
            visit.local = yield Connect(address, settings.source, share)
        except (Unreachable, TimedOut) as fault:
            faults.append((address, fault))
        else:
            visit.is_connected = True
            return ()
    last = faults[-1][1]
    if len(faults) > 1:
        visit.address = None
        raise type(last)(", ".join(f"{address.host} {fault.problem}" for address, fault in faults))
    raise last


def banner(visit: Visit) -> Run:
    """Wait for the server to speak first (RFC 5321 section 3.1)."""
    try:
        reply = yield from _reply(visit)
    except TimedOut as fault:
        if visit.settings.port == IMPLICIT_TLS_PORT and not fault.said:
            fault.problem += f" (port {IMPLICIT_TLS_PORT} awaits TLS, try --ssl)"
        raise
    expect = visit.settings.expect
    _due(reply, expect.code)
    # A server that says no in its banner takes nothing but QUIT (section 3.1).
    visit.is_over = not reply.is_positive
    text = expect.text.encode("utf-8", "surrogateescape")
    if text in reply.raw or text in b"\n".join(reply.lines):
        return ()
    return (Finding("unmatched", "does not contain", expect.text, reply.raw),)


def helo(visit: Visit) -> Run:
    """Say HELO, EHLO or LHLO; HELO too where EHLO was only a choice and is unknown there."""
    settings = visit.settings
    name = settings.fqdn or _address_literal(visit.local)
    reply = yield from _command(visit, settings.greeting, name)
    if (
        settings.greeting == "EHLO"
        and reply.code in _EHLO_UNKNOWN
        and not settings.needs_extensions
    ):
        reply = yield from _command(visit, "HELO", name)
    _due(reply, 250)
    visit.session.learn(reply)
    missing = [word for word in settings.require if not visit.session.offers(*word)]
    unwanted = [word for word in settings.forbid if visit.session.offers(*word)]
    return (
        *(Finding("not_offered", f"{word} is not offered") for word in missing),
        *(Finding("forbidden", f"{word} is offered") for word in unwanted),
    )


def _address_literal(local: Address | None) -> str:
    """Return what a host without a name says (RFC 5321 sections 4.1.3 and 4.1.4)."""
    if local is None or not isinstance(local.sockaddr, tuple):
        return "localhost"
    host = local.host.partition("%")[0]
    return f"[IPv6:{host}]" if ":" in host else f"[{host}]"


def quit_(visit: Visit) -> Run:
    """Say QUIT and wait for the reply or the connection's end."""
    try:
        _due((yield from _command(visit, "QUIT")), 221)
    except Disconnected:
        pass  # that is an answer, too
    return ()


def _command(visit: Visit, verb: str, argument: str = "") -> Generator[Wish, Any, Reply]:
    try:
        yield Write(command(verb, argument))
    except Disconnected:
        pass  # what the server said before it left is more telling: read it
    return (yield from _reply(visit))


def _reply(visit: Visit) -> Generator[Wish, Any, Reply]:
    session = visit.session
    while True:
        reply = session.next_reply()
        if reply is not None:
            return reply
        try:
            data = yield Read()
        except (Disconnected, TimedOut) as fault:
            if session.unread:
                fault.problem = fault.problem.replace("no answer", "no complete answer")
                fault.said = session.unread
            raise
        if not data:
            raise session.closed()
        session.receive(data)


def _due(reply: Reply, code: int) -> None:
    if reply.code != code:
        # A refusal speaks for itself; a code that only surprises does not.
        problem = f"instead of {code}" if reply.is_positive else ""
        raise Rejected(problem, reply.raw, reply.code)


STAGES = (
    Stage("resolve", lambda settings: settings.host.kind == "name", resolve),
    Stage("connect", lambda settings: True, connect),
    Stage("banner", lambda settings: True, banner),
    Stage("helo", lambda settings: True, helo),
)

QUIT = Stage("quit", lambda settings: True, quit_, QUIT_LIMIT)
"""Not in the plan: it follows wherever the connection still stands."""

NAMES = (*(stage.name for stage in STAGES), QUIT.name)
"""All stage names, in the order of a session."""
