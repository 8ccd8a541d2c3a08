"""Why a server refused, if its reply leaves no doubt: a wrong cause is worse than none.

How a reply is read
-------------------

A reply has a code, often an enhanced status code (RFC 3463, IANA's registry), and words. The words
tell most, and are least reliable: they quote addresses and host names, which may hold any word. So
these are taken out first, together with numbers and punctuation. What remains is searched for
phrases, as they stand in ``cause_table.ROWS``. ``reply_words`` does both. Nothing there is a
regular expression, and no more than ``TEXT_LIMIT`` characters are read, so that no server can make
this slow.

Each row whose stage, code and words fit names a cause. Then:

* Two rows that name different causes: there is none.
* An enhanced status code that means something else than the words say: there is none. ``STATUSES``
  has the codes that servers use in one meaning only, with the other causes that they are seen with.
* No row fits, but the enhanced status code means one thing only, and the words say nothing
  ("550 5.1.1 rejected"): that is the cause.

A failure without a reply has a kind (see ``errors``) and sometimes a reason; ``KINDS`` has those
whose cause is certain.

Loaded on a failure only.
"""

from __future__ import annotations

from check_smtp_health.judge.cause_table import CAUSES, KINDS, LISTS, ROWS, SAYS_NOTHING, STATUSES
from check_smtp_health.judge.reply_words import address, has_any, is_at, read
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Kind, Reason
    from check_smtp_health.judge.cause_table import Cause, CauseName, Row, Status
    from check_smtp_health.judge.reply_words import Said
    from check_smtp_health.report import Failure, Finding, Observation

SILENCE = 0.5
"""Share of the whole time after which a server counts as silent, not just slow."""

# What a server that expects a command answers to the PROXY header (RFC 5321 section 4.2.2).
_NOT_UNDERSTOOD = (500, 501, 502, 503)

# What the words of a reply may tell the cause of.
_REPLIES: tuple[Kind, ...] = ("rejected", "transient", "bounced")


class Diagnosis(NamedTuple):
    """The cause, what to do about it, and for a blocklist its name and the address it lists.

    ``listing`` and ``address`` are empty where the reply does not say.
    """

    cause: Cause
    advice: str
    listing: str = ""
    address: str = ""

    @property
    def words(self) -> str:
        """The cause as people read it, with the list's name where there is one."""
        name = self.cause.name.replace("-", " ")
        return f"{name} by {self.listing}" if self.listing else name


def of_reply(stage: str, code: int, text: str, *, by_token: bool = False) -> Diagnosis | None:
    """Return why a server refused, None where its reply does not say so beyond doubt.

    ``stage`` is empty where it is not known; ``code`` is 0 for a mailbox that refuses. ``text`` is
    the reply, lines and codes and all, or what follows the code. ``by_token`` says that the login
    was tried with an access token, which is what a rejected login then means.
    """
    if code and not 400 <= code < 600:
        return None
    said = read(text)
    rows = [row for row in ROWS if _fits(row, stage, code) and _is_said(row, said)]
    status = STATUSES.get(said.status)
    if len({row.cause for row in rows}) > 1:
        return None
    if rows:
        cause, advice = rows[0].cause, next((row.advice for row in rows if row.advice), "")
        if status is not None and cause not in (status.cause, *status.also):
            return None
    elif status is not None and status.cause and _fits(status, stage, code):
        if not set(said.words.split()) <= {"#", "%", *SAYS_NOTHING.split()}:
            return None
        cause, advice = status.cause, ""
    else:
        return None
    if by_token and cause == "login-rejected" and not advice:
        cause = "token-rejected"
    if cause == "blocklisted":
        return _diagnosis(cause, advice)._replace(listing=_listing(said), address=address(text))
    return _diagnosis(cause, advice)


def of_kind(stage: str, kind: Kind, reason: Reason = "") -> Diagnosis | None:
    """Return the cause of a failure or finding that no reply explains, None where it has several.

    ``kind`` is that of the fault (see ``errors``), ``reason`` what else is known of it.
    """
    for row in KINDS:
        if (row.kind, row.reason) == (kind, reason) and (not row.stages or stage in row.stages):
            return _diagnosis(row.cause, row.advice)
    return None


def diagnose(
    seen: Observation | None, problem: Failure | Finding, settings: Settings
) -> Diagnosis | None:
    """Return the cause of a failure or finding of a stage, or, without one, of a policy."""
    found = _diagnosed(seen, problem, settings)
    if found is None or seen is None or seen.stage != "delivery" or problem.kind == "bounced":
        return found
    # It is the mailbox that failed: in no server of SMTP is there anything to set.
    advice, _, rest = found.advice.partition(" (Postfix: ")
    return found._replace(advice=advice + rest.partition(")")[2])


def _diagnosed(
    seen: Observation | None, problem: Failure | Finding, settings: Settings
) -> Diagnosis | None:
    stage = "" if seen is None else seen.stage
    if stage == "token":
        return None  # causes and advice are about mail servers
    said = problem.said.decode("utf-8", "replace")
    code = int(said[:3]) if said[:3].isascii() and said[:3].isdigit() else 0
    if problem.kind in _REPLIES and said:
        by_token = _is_by_token(stage, settings)
        found = of_reply(stage, code, said, by_token=by_token)
        if found is not None and found.cause.name == "tls-required" and settings.tls.mode:
            return None  # there is TLS, or there is going to be: nobody can do more about it here
        if found is not None:
            return _in_stage(found, stage, problem.kind)
    return of_kind(stage, problem.kind, _reason(seen, problem, code, settings))


def _is_by_token(stage: str, settings: Settings) -> bool:
    """Whether the login of that stage is by an access token."""
    roundtrip, login = settings.roundtrip, settings.login
    if stage == "delivery" and roundtrip is not None:
        return roundtrip.oauth is not None or all(
            _takes_token(one.mechanism) for one in roundtrip.mailboxes
        )
    if stage != "auth" or login is None:
        return False
    return login.oauth is not None or _takes_token(login.mechanism or "")


def _takes_token(mechanism: str) -> bool:
    from check_smtp_health.smtp import sasl

    row = sasl.named(mechanism)
    return row is not None and row.proof == "token"


def _in_stage(found: Diagnosis, stage: str, kind: Kind) -> Diagnosis | None:
    """Return a diagnosis as it is in that stage: to refuse a relay attempt is as it should be.

    What a mailbox says does not exist is a folder of it, not a recipient.
    """
    if stage == "delivery" and kind != "bounced" and found.cause.name == "unknown-recipient":
        return None
    if found.cause.name != "relay-denied" or stage == "rcpt":
        return found
    if stage == "relay":
        return None
    return found._replace(cause=found.cause._replace(state=None))


def _reason(
    seen: Observation | None, problem: Failure | Finding, code: int, settings: Settings
) -> Reason:
    if seen is None:
        return problem.reason
    is_answer = seen.stage == "banner" and code in _NOT_UNDERSTOOD
    is_answer |= seen.stage == "helo" and problem.reason == "more replies"
    if settings.endpoint.proxy and is_answer:
        return "proxy answered"
    if problem.reason:
        return problem.reason
    # Who has said something, or was asked late, may only be slow.
    is_late = seen.seconds < SILENCE * settings.endpoint.timeout
    return "various" if problem.kind == "timed_out" and (problem.said or is_late) else ""


def _diagnosis(name: CauseName, advice: str) -> Diagnosis:
    cause = CAUSES[name]
    return Diagnosis(cause, advice or cause.advice)


def _fits(row: Row | Status, stage: str, code: int) -> bool:
    in_stage = not (row.stages and stage) or stage in row.stages
    # A mailbox that refuses has no code, and so no class.
    classes = (code, code // 100) if code else (0,)
    return in_stage and (not row.codes or any(one in row.codes for one in classes))


def _is_said(row: Row, said: Said) -> bool:
    return (
        (not row.statuses or said.status in row.statuses)
        and has_any(said, row.says)
        and not has_any(said, row.unless)
    )


def _listing(said: Said) -> str:
    """Return the list that a reply names: its zone, or else its home; empty where it names none."""
    zones = said.zones or [name for name in said.names if _is_zone(name)]
    if zones:
        return zones[0]
    # A link to a web site does not say which of its zones it was.
    return next(
        (
            home
            for word, home in LISTS
            if f" {word}" in said.words or any(is_at(name, home) for name in said.names)
        ),
        "",
    )


def _is_zone(name: str) -> bool:
    return "/" not in name and any(name.endswith(f".{home}") for _, home in LISTS)
