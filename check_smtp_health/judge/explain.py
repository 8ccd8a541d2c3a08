"""A line pasted from a mail log or a bounce: find the reply in it, and what it was a reply to.

Log lines have no common grammar, so this looks for what they all have: a reply code behind a colon
(or the like), and words that tell the command. What is not there is not guessed: without a stage a
reply is judged by its words alone. Loaded by ``--explain`` only.
"""

from __future__ import annotations

from check_smtp_health.escaping import harmless, printable, quoted
from check_smtp_health.judge import causes
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.errors import Kind, Reason
    from check_smtp_health.judge.causes import Diagnosis

TEXT_LIMIT = 16 * 1024
"""Characters of a pasted text that are read; a bounce with all its headers is shorter."""


class Explanation(NamedTuple):
    """What a pasted text tells: the stage, the code (0: none), the reply, and its cause if known.

    ``stage`` is empty where the text does not tell; ``reply`` is the sentence that was judged.
    """

    stage: str
    code: int
    reply: str
    diagnosis: Diagnosis | None


STAGES = (
    ("refused to talk to me", "banner"),
    ("initial server greeting", "banner"),
    ("after initial connection", "banner"),
    ("reject: connect from", "banner"),
    ("ruleset=check_relay", "banner"),
    ("in reply to helo command", "helo"),
    ("in reply to ehlo command", "helo"),
    ("after helo", "helo"),
    ("after ehlo", "helo"),
    ("reject: helo from", "helo"),
    ("reject: ehlo from", "helo"),
    ("in reply to starttls command", "starttls"),
    ("after starttls", "starttls"),
    ("sasl authentication failed", "auth"),
    ("after auth", "auth"),
    ("in reply to mail from command", "mail"),
    ("after mail from", "mail"),
    ("after pipelined mail from", "mail"),
    ("reject: mail from", "mail"),
    ("rejected mail", "mail"),
    ("ruleset=check_mail", "mail"),
    (">>> mail from", "mail"),
    ("in reply to rcpt to command", "rcpt"),
    ("after rcpt to", "rcpt"),
    ("after pipelined rcpt to", "rcpt"),
    ("reject: rcpt from", "rcpt"),
    ("rejected rcpt", "rcpt"),
    ("ruleset=check_rcpt", "rcpt"),
    (">>> rcpt to", "rcpt"),
    ("in reply to data command", "data"),
    ("in reply to end of data command", "data"),
    ("after data", "data"),
    ("after end of data", "data"),
    ("after pipelined end of data", "data"),
    ("reject: data from", "data"),
    ("reject: end-of-message from", "data"),
    ("rejected after data", "data"),
    (">>> data", "data"),
    ("connect to", "connect"),
)
"""Words of Postfix, Exim and Sendmail, in logs and bounces, and the stage that they tell."""

SENTENCES: tuple[tuple[str, Kind, Reason], ...] = (
    ("connection refused", "unreachable", "refused"),
    ("no route to host", "unreachable", "no route"),
    ("network is unreachable", "unreachable", "no route"),
    ("timed out", "timed_out", ""),
    ("connection reset by peer", "disconnected", "reset"),
    ("name service error", "unresolvable", ""),
    ("certificate verification failed", "untrusted", ""),
    ("server certificate not trusted", "untrusted", ""),
    ("server certificate not verified", "untrusted", ""),
)
"""What clients say where there was no reply: words, kind of failure, reason."""

# What stands before the words of a refusal that is logged without its code, and the code it had.
_UNCODED = (
    ("temporarily rejected ", 450),
    ("rejected ", 550),
    ("status=bounced (", 550),
    ("status=deferred (", 450),
    ("stat=deferred: ", 450),
    ("stat=", 550),
)

# What may stand before a reply in a line, blanks aside. A number behind "=" is a size or a delay.
_BEFORE = ":;(>'\""

IN_REPLY_TO = " (in reply to"
"""How Postfix goes on behind a reply."""

# What a log or a bounce goes on with behind a reply.
_BEHIND = (IN_REPLY_TO, "; from=<", "; proto=", "\n\n")


def told(text: str) -> str:
    """Return what ``--explain`` prints about a pasted text: reply, cause, advice, state."""
    found = explain(text)
    if found is None:
        return f"{quoted(text.strip())} contains no refusal, paste a reply with its code\n"
    said = printable(found.reply)
    lines = [f"{found.stage}: {said}" if found.stage else said]
    diagnosis = found.diagnosis
    if diagnosis is None:
        return f"{lines[0]}\ncause: unknown, the reply leaves room for doubt\n"
    lines.append(harmless(f"cause: {diagnosis.words} ({diagnosis.cause.group})"))
    if diagnosis.address:
        lines.append(f"listed: {diagnosis.address}")
    lines.append(f"advice: {diagnosis.advice}")
    if diagnosis.cause.state is not None:
        lines.append(f"state: {diagnosis.cause.state.upper()}, unless --state says otherwise")
    return "\n".join(lines) + "\n"


def explain(text: str) -> Explanation | None:
    """Return what a pasted text tells, None where there is no refusal in it."""
    # Exim logs the lines of a reply with \n between them.
    text = text[:TEXT_LIMIT].replace("\r", "").replace("\\n", "\n").strip()
    start = _reply(text)
    if start < 0:
        return _without_reply(text, text.lower())
    code, reply = int(text[start : start + 3]), _cut(text[start:])
    # Not within the reply: a server may tell there what it was told itself.
    around = "".join((text[:start], *text[start:].partition(IN_REPLY_TO)[1:]))
    stage = _stage(around.lower())
    return Explanation(stage, code, reply, causes.of_reply(stage, code, reply))


def _stage(lower: str) -> str:
    """Return the stage that is told last: the others of a bounce went well."""
    last, stage = max((lower.rfind(words), stage) for words, stage in STAGES)
    return stage if last >= 0 else ""


def _reply(text: str) -> int:
    """Return where the first reply begins, -1 where there is none."""
    for at in range(len(text) - 2):
        code = text[at : at + 3]
        if code[0] not in "45" or not (code.isascii() and code.isdigit()):
            continue
        if text[at + 3 : at + 4] not in ("", " ", "-", "\n"):
            continue
        line = text[text.rfind("\n", 0, at) + 1 : at]
        before = line.rstrip()
        # A time of day (12:42:451) has no blank before it, "smtp;550" has none either.
        if not before or before.endswith(("stat=", "reject=", "<<<")):
            return at
        if before[-1] in _BEFORE and not (before == line and before[-1] == ":"):
            return at
    return -1


def _cut(reply: str) -> str:
    for mark in _BEHIND:
        reply = reply.partition(mark)[0]
    lines = reply.split("\n")
    kept = [lines[0]]
    for line in lines[1:]:
        # Another line of the same reply, or one that a bounce has folded; "<<<" is a transcript's.
        if not (line[:1].isspace() or line.removeprefix("<<< ").startswith(reply[:3])):
            break
        kept.append(line.strip().removeprefix("<<< "))
    return "\n".join(kept)


def _without_reply(text: str, lower: str) -> Explanation | None:
    stage = _stage(lower)
    for words, kind, reason in SENTENCES:
        at = lower.find(words)
        if at >= 0:
            said = text[text.rfind("\n", 0, at) + 1 :].partition("\n")[0]
            diagnosis = causes.of_kind(stage or "connect", kind, reason)
            return Explanation(stage, 0, said, diagnosis)
    for mark, code in _UNCODED:
        at = lower.find(mark)
        if at >= 0:
            said = text[at + len(mark) :].partition("\n")[0]
            status = lower.partition("dsn=")[2].partition(",")[0]
            diagnosis = causes.of_reply(stage, code, f"{code} {status} {said}")
            return Explanation(stage, 0, said, diagnosis)
    return None
