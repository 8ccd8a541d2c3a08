"""MAIL, RCPT, the relay test and the user's own commands; nothing is delivered by any of them."""

from __future__ import annotations

import re

from check_smtp_health.errors import LocalFault, Rejected, TimedOut
from check_smtp_health.escaping import octets, quoted
from check_smtp_health.net.operations import Call, Write
from check_smtp_health.report import Finding
from check_smtp_health.smtp.session import command as command_line
from check_smtp_health.stages.state import ask, not_offered, require_code, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.smtp.session import Reply
    from check_smtp_health.stages.state import ProbeState, StageRun

_REPEATS = set(b"*+?{")
"""What makes matching an expression take longer than reading the reply, or for ever."""


def mail(state: ProbeState) -> StageRun:
    """Begin a transaction, announcing what the run asks for."""
    asked, session = state.settings.transaction, state.connection.session
    parameters = ""
    if asked.size is not None:
        if not session.offers("SIZE"):
            raise not_offered(state, "SIZE is not offered")
        parameters += f" SIZE={asked.size}"
    if asked.is_international:
        if not session.offers("SMTPUTF8"):
            raise not_offered(state, "SMTPUTF8 is not offered")
        parameters += " SMTPUTF8"
    reply = yield from ask(state, "MAIL", f"FROM:<{asked.reverse_path or ''}>{parameters}")
    require_code(reply, 250)
    state.transaction.is_open = True


def rcpt(state: ProbeState) -> StageRun:
    """Name each recipient; one that is refused does not keep the next from being asked."""
    for address in state.settings.transaction.recipients:
        reply = yield from ask(state, "RCPT", f"TO:<{address}>")
        # RFC 5321 section 3.4: 251 is a yes, the server forwards; 252 leaves it open.
        if reply.code in (250, 251, 252):
            state.transaction.accepted.append(address)
        else:
            refused(state, reply, address)
    count = len(state.transaction.accepted)
    if count:
        state.held.append(f"{count} recipient{'s' if count > 1 else ''} accepted")


def relay(state: ProbeState) -> StageRun:
    """Name recipients that are none of the server's business: a yes makes it an open relay."""
    for address in state.settings.transaction.no_relay:
        reply = yield from ask(state, "RCPT", f"TO:<{address}>")
        if reply.code < 300:
            problem = f"accepts {address}, an open relay"
            state.findings.append(Finding("open_relay", problem, reply.raw))
            state.transaction.is_tainted = True
        elif reply.code < 500:
            refused(state, reply, f"{address} proves nothing")
    if not state.findings:
        state.held.append("relaying refused")


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
        if not reply.is_positive:
            refused(state, reply, shown)
        elif text is not None:
            problem = f"{shown}: the reply does not contain {quoted(text)}"
            state.findings.append(Finding("unmatched", problem, reply.raw))


def reset(state: ProbeState) -> StageRun:
    """Take back what was begun, so that the server logs no abandoned message."""
    yield from ask(state, "RSET")


def begin_again(state: ProbeState) -> StageRun:
    """Begin the transaction anew, with nobody in it but the recipients that were accepted."""
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
        LocalFault: nobody lives long enough to see whether it matches.
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
        found = None  # the server has answered: it is not to blame
    if found is None:
        raise LocalFault(f"matching {quoted(text)} takes too long", reply.raw)
    return found


def refused(state: ProbeState, reply: Reply, what: str) -> None:
    """Note that the server said no to that.

    Raises:
        Rejected: it said goodbye, too.
    """
    if reply.code == 421:  # nobody is left to ask for the next
        raise Rejected(f"({what})", reply.raw, reply.code)
    state.findings.append(
        Finding("transient" if reply.is_transient else "rejected", what, reply.raw)
    )
