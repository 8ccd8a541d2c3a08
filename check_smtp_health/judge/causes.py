"""Why a server refused, if its reply leaves no doubt: a wrong cause is worse than none.

How a reply is read
-------------------

A reply has a code, often an enhanced status code (RFC 3463, IANA's registry), and words. The words
tell most, and are least reliable: they quote addresses and host names, which may hold any word. So
these are taken out first, together with numbers and punctuation. What remains is searched for
phrases, as they stand in ``cause_table.ROWS``. Nothing here is a regular expression, and no more
than ``TEXT_LIMIT`` characters are read, so that no server can make this slow.

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
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Kind, Reason
    from check_smtp_health.judge.cause_table import Cause, CauseName, Row, Status
    from check_smtp_health.report import Failure, Finding, Observation

TEXT_LIMIT = 2048
"""Characters of a reply that are read: Postfix's limit for a line (``line_length_limit``)."""

GAP_LIMIT = 80
"""Characters between two parts of a phrase, about a line: further apart are two sentences."""

SILENCE = 0.5
"""Share of the whole time after which a server counts as silent, not just slow."""

# What a server that expects a command answers to the PROXY header (RFC 5321 section 4.2.2).
_NOT_UNDERSTOOD = (500, 501, 502, 503)

_AFTER_PROXY = ("banner", "helo")

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

    ``stage`` is empty where it is not known; ``code`` is 0 for a mailbox's no. ``text`` is the
    reply, lines and codes and all, or what follows the code. ``by_token`` says that the login was
    tried with an access token, which is what a rejected login then means.
    """
    if code and not 400 <= code < 600:
        return None
    said = _read(text)
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
        return _diagnosis(cause, advice)._replace(listing=_listing(said), address=_address(text))
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
    stage = "" if seen is None else seen.stage
    if stage == "token":
        return None  # causes and advice are about mail servers
    said = problem.said.decode("utf-8", "replace")
    code = int(said[:3]) if said[:3].isascii() and said[:3].isdigit() else 0
    if problem.kind in _REPLIES and said:
        by_token = _is_by_token(stage, settings)
        found = of_reply(stage, code, said, by_token=by_token)
        if found is not None:
            return _in_stage(found, stage, problem.kind)
    return of_kind(stage, problem.kind, _reason(seen, problem, code, settings))


def _is_by_token(stage: str, settings: Settings) -> bool:
    """Whether the login of that stage is by an access token."""
    from check_smtp_health.config.parsers import TOKEN_MECHANISMS

    roundtrip = settings.roundtrip
    if stage == "delivery" and roundtrip is not None:
        return roundtrip.oauth is not None or all(
            one.mechanism in TOKEN_MECHANISMS for one in roundtrip.mailboxes
        )
    login = settings.login
    if stage != "auth" or login is None:
        return False
    return login.oauth is not None or login.mechanism in TOKEN_MECHANISMS


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
    is_answer = code in _NOT_UNDERSTOOD or problem.reason == "more replies"
    if seen is None:
        return problem.reason
    if is_answer and settings.endpoint.proxy and seen.stage in _AFTER_PROXY:
        return "proxy answered"
    if problem.reason:
        return problem.reason
    # Who has said something, or was asked late, may only be slow.
    is_late = seen.seconds < SILENCE * settings.endpoint.timeout
    return "various" if problem.kind == "timed_out" and (problem.said or is_late) else ""


def _diagnosis(name: CauseName, advice: str) -> Diagnosis:
    cause = CAUSES[name]
    return Diagnosis(cause, advice or cause.advice)


class _Said(NamedTuple):
    """What a reply says: its words, each between blanks, the hosts and links that it names.

    ``zones`` are the hosts behind a word such as "using"; ``status`` is the enhanced status code
    without its class, empty where there is none.
    """

    words: str
    names: tuple[str, ...]
    zones: tuple[str, ...]
    status: str


# Punctuation becomes a blank, an apostrophe nothing: "doesn't" is one word.
_BLANKS = {ord(character): " " for character in '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'}
_BLANKS |= {ord("'"): "", ord("\u2019"): ""}


# What stands before a list's name: "blocked using list.example".
_BEFORE_A_LIST = ("using", "by", "at", "in", "on")


def _read(text: str) -> _Said:
    words: list[str] = []
    names: list[str] = []
    zones: list[str] = []
    status = last = ""
    tokens = _without_addresses(text[:TEXT_LIMIT].lower()).split()
    for position, token in enumerate(tokens):
        bare = _bare(token)
        if not status and (position <= 1 or token.lstrip("(").startswith("#")):
            status = _status(bare)
        if _is_address(bare):
            words.append("#")
            continue
        if not any(map(str.isalpha, bare)) or "@" in bare:
            continue
        name = _name(bare)
        if not name:
            words.append(bare.translate(_BLANKS))
        elif last or "://" in bare:  # a reply that begins with a host has the server's own name
            names.append(name)
            if last in _BEFORE_A_LIST and "/" not in name:
                zones.append(name)
                words.append("%")
        last = bare
    return _Said(f" {' '.join(' '.join(words).split())} ", tuple(names), tuple(zones), status)


def _bare(token: str) -> str:
    """Return a token without the punctuation around it, and without what is no word in it."""
    if token[:3].isdigit() and token[3:4] == "-":  # a line of several, not the last
        token = token[4:]
    word, bracket, inside = token.strip("([").partition("[")
    if bracket:  # unknown[192.0.2.1] is a host, sender[me@example.org] a word
        inside = inside.partition("]")[0]
        token = "" if _is_address(inside) else word if "@" in inside else f"{word} {inside}"
    return token.strip("\"'`.,:;!?()[]{}")


def _without_addresses(text: str) -> str:
    """Return a text without what stands in angle brackets, unless that is a link."""
    parts = []
    while True:
        before, _, rest = text.partition("<")
        inside, end, after = rest.partition(">")
        parts.append(before)
        if not end:
            return " ".join((*parts, rest))
        if "://" in inside:
            parts.append(inside)
        text = after


def _status(token: str) -> str:
    """Return an enhanced status code without its class, empty if the token is not one."""
    parts = token.strip("#").split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return ""
    is_one = parts[0] in ("4", "5") and len(parts[1]) == 1 and len(parts[2]) <= 3
    return f"{int(parts[1])}.{int(parts[2])}" if is_one else ""


def _name(token: str) -> str:
    """Return a host name, or a link without its scheme, empty where the token is neither."""
    link = token.partition("://")[2]
    if link:
        return link.removeprefix("www.")
    host = token.partition("/")[0].partition(":")[0].strip("[]()")
    labels = host.split(".")
    is_host = len(labels) > 1 and all(labels) and len(labels[-1]) > 1 and labels[-1].isalpha()
    return token if is_host else ""


def _fits(row: Row | Status, stage: str, code: int) -> bool:
    in_stage = not (row.stages and stage) or stage in row.stages
    # A mailbox's no is of no class.
    classes = (code, code // 100) if code else (0,)
    return in_stage and (not row.codes or any(one in row.codes for one in classes))


def _is_said(row: Row, said: _Said) -> bool:
    return (
        (not row.statuses or said.status in row.statuses)
        and _has_any(said, row.says)
        and not _has_any(said, row.unless)
    )


def _has_any(said: _Said, phrases: str) -> bool:
    return any(_holds(said, phrase) for phrase in phrases.split(", ") if phrase)


def _holds(said: _Said, phrase: str) -> bool:
    """Whether a reply has a phrase, see ``Row``."""
    if "." not in phrase:
        return _wanted(phrase) in said.words
    if " .. " not in phrase:
        return any(_is_at(name, phrase) for name in said.names)
    start, limit = 0, len(said.words)
    for part in phrase.split(" .. "):
        wanted = _wanted(part)
        found = said.words.find(wanted, start, limit)
        if found < 0:
            return False
        # Its last blank may be the next one's first.
        start = found + len(wanted) - 1
        limit = start + GAP_LIMIT
    return True


def _wanted(part: str) -> str:
    """Return what to look for: each word stands between blanks."""
    return f" {part[:-1]}" if part.endswith("*") else f" {part} "


def _is_at(name: str, wanted: str) -> bool:
    host, _, path = name.partition("/")
    domain, _, beginning = wanted.partition("/")
    return (host == domain or host.endswith(f".{domain}")) and path.startswith(beginning)


def _listing(said: _Said) -> str:
    """Return the list that a reply names: its zone, or else its home; empty where it names none."""
    zones = said.zones or [name for name in said.names if _is_zone(name)]
    if zones:
        return zones[0]
    # A link to a web site does not say which of its zones it was.
    return next(
        (
            home
            for word, home in LISTS
            if f" {word}" in said.words or any(_is_at(name, home) for name in said.names)
        ),
        "",
    )


def _is_zone(name: str) -> bool:
    return "/" not in name and any(name.endswith(f".{home}") for _, home in LISTS)


_AROUND_ADDRESSES = {ord(character): " " for character in "[]()<>=?&/,;\"'"}


def _address(text: str) -> str:
    """Return the one IP address that a reply names, empty where it names several or none."""
    tokens = text[:TEXT_LIMIT].translate(_AROUND_ADDRESSES).split()
    found = {token for token in (token.rstrip(".:") for token in tokens) if _is_address(token)}
    return found.pop() if len(found) == 1 else ""


def _is_address(token: str) -> bool:
    if token.count(":") > 1:
        return not token.lower().strip("0123456789abcdef:.")
    parts = token.split(".")
    return len(parts) == 4 and all(
        part.isascii() and part.isdigit() and int(part) < 256 for part in parts
    )
