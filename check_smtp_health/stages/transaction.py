"""MAIL, RCPT, the relay test and the user's own commands; none of them delivers anything."""

from __future__ import annotations

import re

from check_smtp_health.config.settings import SIZE_DIGITS
from check_smtp_health.errors import LocalFault, Rejected, TimedOut
from check_smtp_health.escaping import octets, quoted
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.operations import Call, Write
from check_smtp_health.report import Finding
from check_smtp_health.smtp.session import command as command_line
from check_smtp_health.stages.greeting import greeting_hint
from check_smtp_health.stages.state import Held, ask, require_code, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.errors import Kind
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.smtp.refusal import About
    from check_smtp_health.smtp.session import Reply, Session
    from check_smtp_health.stages.state import ProbeState, StageRun

FAREWELLS = (221, 421)
"""Codes with which a server closes the connection (RFC 5321 section 4.2.3)."""

_REPEATS = set(b"*+?{")
"""What makes matching an expression take longer than reading the reply, or for ever."""


class _Test(NamedTuple):
    """What is expected of an address that must be refused.

    ``proofs`` are what the refusal has to be about. An address that is accepted is a finding of
    that ``kind``, which ``accepted`` explains; ``held`` is said where all were refused.
    """

    proofs: tuple[About, ...]
    kind: Kind
    accepted: str
    held: str


_RELAY = _Test(
    ("relaying", "recipient", "login"), "open_relay", "an open relay", "relaying refused"
)

_UNKNOWN = _Test(
    ("user", "recipient", "login"),
    "backscatter",
    "which should be unknown (its bounces go to strangers)",
    "unknown recipient refused",
)

UNPROVEN: dict[About, str] = {
    "": "refused without saying why",
    "address": "refused for our address",
    "blocklist": "refused because our address is on a blocklist",
    "command": "refused as a wrong command",
    "content": "refused as if it were spam",
    "domain": "refused because its domain is not found",
    "greeting": "refused for our HELO name",
    "login": "refused because there was no login",
    "no MAIL": "refused because the server saw no MAIL",
    "not now": "refused for now only",
    "null MX": "refused because its domain takes no mail",
    "policy": "refused by a policy that has no name",
    "recipient": "refused without saying why",
    "relaying": "refused as a relay attempt",
    "room": "refused for lack of room",
    "sender": "refused for the sender",
    "TLS": "refused because there was no TLS",
    "user": "its domain is accepted, only this user is unknown",
}
"""What a refusal is about that proves nothing, as the status line says it."""


_OF_RECIPIENTS: tuple[About, ...] = ("domain", "null MX", "recipient", "user")


def mail(state: ProbeState) -> StageRun:
    """Begin a transaction, announcing what the run asks for."""
    asked, session = state.settings.transaction, state.connection.session
    parameters = ""
    if asked.size is not None:
        _need(state, "SIZE")
        least = _size_limit(session)
        if least is not None and asked.size > least:
            # A client that heeds it would not even ask, whatever the answer.
            problem = f"the server announces at most {least} bytes"
            state.find(Finding("not_offered", problem))
        parameters += f" SIZE={asked.size}"
    if asked.is_international:
        _need(state, "SMTPUTF8")
        parameters += " SMTPUTF8"
    reply = yield from ask(state, "MAIL", f"FROM:<{asked.reverse_path or ''}>{parameters}")
    if reply.is_positive:
        require_code(reply, 250)
        state.transaction.is_open = True
    elif reply.code != 421 and asked.tests_only:
        _refuses_all(state, reply)
    else:
        raise Rejected(greeting_hint(state, reply), reply.raw, reply.code)


def _need(state: ProbeState, keyword: str) -> None:
    """Require that the server offers a keyword.

    Raises:
        NotOffered: it does not.
    """
    if not state.connection.session.offers(keyword):
        from check_smtp_health.stages.keywords import not_offered

        raise not_offered(state, keyword)


def _size_limit(session: Session) -> int | None:
    """Return how many bytes a message may have, None where that is not said (RFC 1870)."""
    limits = [
        int(one)
        for one in session.keywords["SIZE"]
        if one.isascii() and one.isdigit() and len(one) <= SIZE_DIGITS
    ]
    return min((limit for limit in limits if limit), default=None)


def _refuses_all(state: ProbeState, reply: Reply) -> None:
    """Note what a refusal of MAIL proves where nothing is to be accepted: who takes no mail at all.

    That is proven only by a server that wants a login, and before there was one.
    """
    about = _about(state, reply)
    if about in _OF_RECIPIENTS:
        about = "sender"  # nobody else has been named yet
    if about != "login" or state.settings.login is not None:
        state.find(_unproven(state, "this", about, reply))
        return
    for test, addresses in _tests(state):
        if addresses:
            state.held.append(Held(f"{test.held}: no mail at all without a login"))
    state.notes += (Finding("noted", "no mail without a login", reply.raw),)


def rcpt(state: ProbeState) -> StageRun:
    """Send RCPT for each recipient, whether or not the one before was refused."""
    for address in state.settings.transaction.recipients:
        reply = yield from ask(state, "RCPT", f"TO:<{address}>")
        # RFC 5321 section 3.4: 251 is a yes, the server forwards; 252 leaves it open.
        if reply.code in (250, 251, 252):
            state.transaction.accepted.append(address)
        else:
            refused(state, reply, address)
    count = len(state.transaction.accepted)
    if count:
        state.held.append(Held(f"{count} recipient{'s' if count > 1 else ''} accepted"))


def relay(state: ProbeState) -> StageRun:
    """Send RCPT for the addresses that must be refused, each for a reason of its own."""
    for test, addresses in _tests(state):
        before = len(state.findings)
        for address in addresses:
            reply = yield from ask(state, "RCPT", f"TO:<{address}>")
            _judge(state, test, address, reply)
        if addresses and len(state.findings) == before:
            state.held.append(Held(test.held))


def _tests(state: ProbeState) -> tuple[tuple[_Test, tuple[str, ...]], ...]:
    asked = state.settings.transaction
    return (_RELAY, asked.no_relay), (_UNKNOWN, asked.no_rcpt)


def _judge(state: ProbeState, test: _Test, address: str, reply: Reply) -> None:
    if reply.code < 300 and reply.code not in FAREWELLS:
        has_login = test is _RELAY and state.settings.login is not None
        accepted = " after a login" if has_login else f", {test.accepted}"
        problem = f"accepts {address}{accepted}"
        state.find(Finding(test.kind, problem, reply.raw))
        state.transaction.is_tainted = True
    elif reply.is_positive or reply.code in FAREWELLS:
        refused(state, reply, f"{address} proves nothing")
    else:
        about = _about(state, reply, address)
        if about in test.proofs:
            state.notes += (Finding("noted", address, reply.raw),)
        else:
            state.find(_unproven(state, address, about, reply))


def _about(state: ProbeState, reply: Reply, address: str = "") -> About:
    from check_smtp_health.smtp.refusal import about

    sender = state.settings.transaction.reverse_path or ""
    repeated = (part for one in (address, sender) for part in (one, one.rpartition("@")[2]))
    return about(reply, *repeated)


def _unproven(state: ProbeState, what: str, about: About, reply: Reply) -> Finding:
    kind: Kind = "transient" if reply.is_transient else "unproven"
    hint = ""
    if about == "greeting":
        hint = f" {greeting_hint(state, reply)}"
    elif about == "TLS":
        hint = ", although TLS is in use" if state.settings.tls.mode else ", try -S"
    return Finding(kind, f"{what} proves nothing, {UNPROVEN[about]}{hint}", reply.raw)


def command(state: ProbeState) -> StageRun:
    """Send each of the user's commands and look at its reply."""
    is_response = False
    state.transaction.is_tainted = True
    for line, text in state.settings.transaction.commands:
        shown = _shown(state, line, is_response=is_response)
        reply = yield from send(state, Write(command_line(line), shown=shown.encode() + b"\r\n"))
        is_response = reply.code == 334
        if text is not None and (yield from _contains(reply, text)):
            continue
        has_left = reply.code == 221 and line.upper() != "QUIT"
        if has_left or not reply.is_positive:
            refused(state, reply, shown)
        elif text is not None:
            problem = f"{shown}: the reply does not contain {quoted(text)}"
            state.find(Finding("unmatched", problem, reply.raw))


def reset(state: ProbeState) -> StageRun:
    """Cancel the open transaction, so that the server logs no abandoned message."""
    yield from ask(state, "RSET")


def begin_again(state: ProbeState) -> StageRun:
    """Begin the transaction again, with only the recipients that were accepted."""
    require_code((yield from ask(state, "RSET")), 250)
    state.transaction.is_open = False
    yield from mail(state)
    for address in state.transaction.accepted:
        reply = yield from ask(state, "RCPT", f"TO:<{address}>")
        if reply.code not in (250, 251, 252):
            raise Rejected(f"({address})", reply.raw, reply.code)


def _shown(state: ProbeState, line: str, *, is_response: bool) -> str:
    """Return a command as it may be shown: AUTH's responses (RFC 4954) may not."""
    words = line.split()
    if is_response:
        state.mask.add(line.encode())
        return "***"
    if words[0].upper() == "AUTH" and len(words) > 2:
        state.mask.add(words[2].encode())
        return f"{words[0]} {words[1]} ***"
    return line


def _contains(reply: Reply, text: str) -> Procedure[bool]:
    """Whether a reply contains a text, or what the text matches as a regular expression.

    check_smtp has it as one; with most texts that comes to the same.

    Raises:
        LocalFault: matching would take too long.
    """
    wanted = octets(text)
    forms = (reply.raw, b"\n".join(reply.lines))
    if any(wanted in form for form in forms):
        return True
    pattern = re.compile(wanted, re.MULTILINE)
    if not set(wanted) & _REPEATS:
        return any(pattern.search(form) for form in forms)
    from check_smtp_health.net import aside

    found: bool | None
    try:
        found = yield Call(aside.matches, (pattern, forms))
    except TimedOut:
        found = None  # the server has answered, so it is not to blame
    if found is None:
        raise LocalFault(f"matching {quoted(text)} takes too long", reply.raw)
    return found


def refused(state: ProbeState, reply: Reply, what: str) -> None:
    """Note that the server said no to that.

    Raises:
        Rejected: it said goodbye, too.
    """
    if reply.code in FAREWELLS:  # there is no next command
        raise Rejected(f"({what})", reply.raw, reply.code)
    kind: Kind = "transient" if reply.is_transient else "rejected"
    hint = greeting_hint(state, reply, what)
    state.find(Finding(kind, f"{what} {hint}" if hint else what, reply.raw))
