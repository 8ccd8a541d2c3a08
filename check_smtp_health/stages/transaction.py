"""MAIL, RCPT, the relay test and the user's own commands; nothing is delivered by any of them."""

from __future__ import annotations

import re

from check_smtp_health.errors import NotOffered, Rejected
from check_smtp_health.net.wishes import Write
from check_smtp_health.observation import Finding
from check_smtp_health.stages.visit import ask, due, send
from check_smtp_health.text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.smtp.reply import Reply
    from check_smtp_health.stages.visit import Run, Visit


def mail(visit: Visit) -> Run:
    """Begin a transaction, announcing what the run asks for."""
    settings, session = visit.settings, visit.session
    parameters = ""
    if settings.size is not None:
        if not session.offers("SIZE"):
            raise NotOffered("SIZE is not offered")
        parameters += f" SIZE={settings.size}"
    if settings.is_international:
        if not session.offers("SMTPUTF8"):
            raise NotOffered("SMTPUTF8 is not offered")
        parameters += " SMTPUTF8"
    reply = yield from ask(visit, "MAIL", f"FROM:<{settings.reverse_path or ''}>{parameters}")
    due(reply, 250)
    visit.is_in_transaction = True


def rcpt(visit: Visit) -> Run:
    """Name each recipient; one that is refused does not keep the next from being asked."""
    for address in visit.settings.recipients:
        reply = yield from ask(visit, "RCPT", f"TO:<{address}>")
        # RFC 5321 section 3.4: 251 is a yes, the server forwards; 252 leaves it open.
        if reply.code in (250, 251, 252):
            visit.accepted.append(address)
        else:
            refused(visit, reply, address)


def relay(visit: Visit) -> Run:
    """Name recipients that are none of the server's business: a yes makes it an open relay."""
    for address in visit.settings.no_relay:
        reply = yield from ask(visit, "RCPT", f"TO:<{address}>")
        if reply.code < 300:
            problem = f"accepts {address}, an open relay"
            visit.findings.append(Finding("open_relay", problem, reply.raw))
            visit.is_tainted = True
        elif reply.code < 500:
            refused(visit, reply, f"{address} proves nothing")


def command(visit: Visit) -> Run:
    """Send each of the user's commands and look at its reply."""
    is_response = False
    visit.is_tainted = True
    for line, text in visit.settings.commands:
        shown = _shown(visit, line, is_response=is_response)
        data = line.encode() + b"\r\n"
        reply = yield from send(visit, Write(data, shown=shown.encode() + b"\r\n"))
        is_response = reply.code == 334
        if text is not None and _contains(reply, text):
            continue
        if not reply.is_positive:
            refused(visit, reply, shown)
        elif text is not None:
            problem = f"{shown}: the reply lacks {quoted(text)}"
            visit.findings.append(Finding("unmatched", problem, reply.raw))


def reset(visit: Visit) -> Run:
    """Take back what was begun, so that the server logs no abandoned message."""
    yield from ask(visit, "RSET")


def begin_again(visit: Visit) -> Run:
    """Begin the transaction anew, with nobody in it but the recipients that were accepted."""
    due((yield from ask(visit, "RSET")), 250)
    visit.is_in_transaction = False
    yield from mail(visit)
    for address in visit.accepted:
        reply = yield from ask(visit, "RCPT", f"TO:<{address}>")
        if reply.code not in (250, 251, 252):
            raise Rejected(f"({address})", reply.raw, reply.code)


def _shown(visit: Visit, line: str, *, is_response: bool) -> str:
    """Return a command as it may be shown: AUTH's responses (RFC 4954) may not."""
    words = line.split()
    if is_response:
        visit.secrets.append(line.encode())
        return "***"
    if words[0].upper() == "AUTH" and len(words) > 2:
        visit.secrets.append(words[2].encode())
        return f"{words[0]} {words[1]} ***"
    return line


def _contains(reply: Reply, text: str) -> bool:
    """Whether a reply contains a text, or what the text matches as a regular expression.

    check_smtp has it as one; with most texts that comes to the same.
    """
    wanted = text.encode("utf-8", "surrogateescape")
    forms = (reply.raw, b"\n".join(reply.lines))
    if any(wanted in form for form in forms):
        return True
    try:
        pattern = re.compile(wanted, re.MULTILINE)
    except re.error:
        return False
    return any(pattern.search(form) for form in forms)


def refused(visit: Visit, reply: Reply, what: str) -> None:
    """Note that the server said no to that.

    Raises:
        Rejected: it said goodbye, too.
    """
    if reply.code == 421:  # nobody is left to ask for the next
        raise Rejected(f"({what})", reply.raw, reply.code)
    kind = "transient" if 400 <= reply.code < 500 else "rejected"
    visit.findings.append(Finding(kind, what, reply.raw))
