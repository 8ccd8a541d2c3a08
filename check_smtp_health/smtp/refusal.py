"""THE TABLE OF REFUSALS: what a server refuses, by its words, then by its codes.

A refusal of RCPT may be about everything that came before it: many servers put off until then
what they think of the client's address, its greeting and the sender. Loaded only where there is a
refusal.
"""

from __future__ import annotations

import re

from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from check_smtp_health.smtp.session import Reply

    About = Literal[
        "",
        "address",
        "blocklist",
        "command",
        "content",
        "domain",
        "greeting",
        "login",
        "no MAIL",
        "not now",
        "null MX",
        "policy",
        "recipient",
        "relaying",
        "room",
        "sender",
        "TLS",
        "user",
    ]


class Row(NamedTuple):
    """A row. ``words`` are a regular expression for the whole text, in lower case.

    ``statuses`` are enhanced codes without their class (RFC 3463, IANA's registry), ``codes``
    the reply codes of refusals that have none; ``but`` are reply codes for which the row is wrong;
    one that ``is_final`` is no row for a 4yz.
    """

    about: About
    words: str
    statuses: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    but: tuple[int, ...] = ()
    is_final: bool = False


# The first row that fits counts: by words, since the codes are used freely; then by codes. What
# proves something stands behind all that may have been meant as well, unless it is said outright.
ROWS = (
    Row(
        "sender",
        r"sender verif|(?<!recipient )verification failed for|callback setup failed"
        r"|sender address rejected"
        r"|sender address \[[^]]*\] blocked",
    ),
    Row("greeting", r"helo command \[[^]]*\] blocked"),
    Row("policy", r"recipient address \[[^]]*\] blocked"),
    # Postfix: whether there is such an address, it has not found out; "undeliverable" is a no.
    Row("not now", r"gr[ea]y-?list|verification in progress|unverified address|could not complete"),
    Row(
        "blocklist",
        r"block(?:ed)? using|black-?list|block[- ]?list|\bdnsbl|\brbls?\b"
        r"|listed (?:as|at|by|in|on)\b|spamhaus|spamcop|barracuda|sorbs|abuseat|proofpoint"
        r"|reputation",
    ),
    Row(
        "sender",
        r"\b(?:spf|dkim|dmarc|sender id)\b|\b[45]\.7\.2[0-46-9]\b"
        r"|\bunauthenticated (?:e-?mails?|mails?|messages?|bulk|senders?)",
    ),
    Row(
        "relaying",
        r"\brelay(?:ing)?\b:?(?: access| mail| operation)?(?: is| was)? (?:denied|disallowed"
        r"|forbidden|prohibited|refused|rejected|not (?:allowed|authori[sz]ed|permitted))"
        r"|\bunable to relay|\b(?:cannot|can't|never|(?:do|does|will) not|(?:do|does|wo)n't) relay"
        r"|\bnot (?:allowed|authori[sz]ed|permitted) to relay|\bno relaying|rcpthosts"
        r"|\b(?:is|are|am) not an open relay",
        ("7.54", "7.64"),
    ),
    Row("login", r"client was not authenticated|\bauthenticate before"),
    Row(
        "null MX",
        r"\bnull ?mx\b|\b(?:domain|host)\b.{0,40}\bdoes not accept (?:any )?(?:e-?)?mail\b(?! for)",
        codes=(556,),
    ),
    Row(
        "TLS",
        r"starttls|(?:must|use|need|require)\w* (?:\w+ )?(?:tls|ssl|encryption)\b"
        r"|\b(?:tls|ssl|encryption)\b.{0,20}\b(?:first|mandatory|needed|required)",
        ("7.10", "7.11"),
        (523, 538),
    ),
    Row(
        "greeting",
        r"\b(?:helo|ehlo|lhlo)\b|\bgreeting|fully[- ]qualified host"
        r"|not (?:an? )?(?:full|fully|qualified|real|valid) (?:domain |host)?name",
        but=(500, 502, 503),
    ),
    Row(
        "address",
        r"client (?:host|address|ip)\b|your (?:ip|host|address|server|network|mta)\b"
        r"|\bips?\b.{0,40}\b(?:allowed|banned|blocked|denied|rejected|refused)|reverse (?:dns|host)"
        r"|\b(?:ptr|rdns|banned|dynamic)\b|connection (?:denied|refused|rejected)"
        r"|\bopen relay|\bsmart ?-?relay|\byour isp\b|\[(?:ipv6:)?[0-9a-f:]+[.:][0-9a-f.:]+\]",
        ("7.25", "7.606"),
    ),
    Row("content", r"\bspam|\bvirus|message (?:was )?(?:refused|rejected|blocked)"),
    Row(
        "sender",
        r"\b[45]\.1\.[78]\b|\byour (?:account|domain|mailbox)\b"
        r"|(?<!from )\bsender\s+(?:\S+@\S+\s+)?"
        r"(?:address|domain|does|is|must|not|refused|rejected|requires|unknown)\b"
        r"|\bmail from\s+(?:address|domain|is|not|refused|rejected)\b",
    ),
    Row("greeting", r"\bhostname\s+(?:\S+\s+)?(?:do|does)(?: not|n't) exist"),
    Row(
        "domain",
        r"(?<!\bin )(?<!\bthis )\b(?:domain|host)(?: of)?\s+(?:[\w-]+(?:\.[\w-]+)+\s+)?"
        r"(?:do|does)(?: not|n't) exist",
    ),
    Row(
        "user",
        r"\b5\.1\.(?:1|10)\b|\b(?:user|recipient|mailbox|address|account|person)\b.{0,30}\bunknown"
        r"|\b(?:no such|unknown|non-?existent) (?:local )?(?:user|recipient|mailbox|account|person)"
        r"|\b(?:do|does)(?: not|n't) exist|\bno mailbox",
    ),
    Row(
        "relaying",
        r"\brelay(?:s|ing|ed)?\b.{0,40}\b(?:denied|disallowed|forbidden|not|prohibited|refused"
        r"|rejected)\b|\b(?:cannot|denied|never|no|not|unable)\b.{0,40}\brelay|\brelaying\b"
        r"|\bnon-?local\b|\b(?:user|recipient|address|domain) (?:is )?not (?:a )?local"
        r"|not hosted (?:by|here|on)|no such domain (?:at|here|on)"
        r"|(?:do not|don't|cannot|not) (?:accept|deliver|handle|take) (?:any )?mail (?:for|to)\b"
        r"|domain (?:is )?not (?:accepted|allowed|hosted|served|handled)",
        codes=(551,),
        is_final=True,
    ),
    Row(
        "login",
        r"authenticat(?:e|ion)\b.{0,30}\b(?:first|needed|required)|\bauth(?:entication)? required"
        r"|\b(?:must|needs?|please|requires?|without|turn on|use)\b.{0,30}"
        r"\b(?:auth\b|authenticat|log ?in\b|logging in)|\blog ?in (?:first|required|to send)"
        r"|not (?:authenticated|logged in)",
        ("7.57",),
        (530, 535),
        is_final=True,
    ),
    Row(
        "sender",
        r"\bsender\b|mail from|(?:reverse|return)-path|envelope from|from address|null reverse"
        r"|\bbounces?\b",
        ("1.7", "1.8", "7.60"),
    ),
    Row(
        "no MAIL",
        r"need mail|mail (?:command )?(?:first|required)|no (?:mail )?transaction"
        r"|(?:bad|out of|wrong) (?:command )?sequence",
        codes=(503,),
    ),
    Row(
        "domain",
        r"\b(?:domain|host)\b.{0,20}\bnot found|unknown (?:domain|host)|bad destination",
        ("1.2", "4.4"),
    ),
    Row("command", r"\bsyntax\b"),
    # OpenSMTPD's relaying denied: of an unknown user of its own it says something else.
    Row("recipient", r"^invalid recipient:\s*$", is_final=True),
    # The same words may mean that an existing mailbox is not available for now.
    Row(
        "user",
        r"\b(?:user|recipient|mailbox|address|account|person)\b.{0,30}\bundeliverable"
        r"|\bunrouteable",
    ),
    Row(
        "user",
        r"\b(?:user|recipient|mailbox|address|account|person)\b.{0,30}\b(?:invalid|disabled|inactive"
        r"|not (?:found|known|exist|here)|unavailable)"
        r"|\b(?:invalid|bad) (?:local )?(?:user|recipient|mailbox|address|account|person)"
        r"|\bno such address",
        ("1.0", "1.1", "1.6", "1.10", "2.1", "4.1"),
        but=(521, 556),
        is_final=True,
    ),
    Row(
        "room",
        r"\bquota\b|\bmailbox.{0,20}\bfull\b|\binsufficient\b|out of space",
        ("2.2", "2.3", "3.1", "3.4"),
        (452, 552),
    ),
    Row(
        "not now",
        r"try (?:again|later)|again later|too many|too fast|\brate\b|throttl|temporar|defer",
        ("4.5",),
    ),
    Row("content", r"\bcontent"),
    Row(
        "recipient",
        r"(?<!\b5\.4\.1 )\brecipient address rejected: access denied",
        is_final=True,
    ),
    Row("policy", r"\bpolic(?:y|ies)|administrative|prohibited"),
    Row(
        "command",
        r"command|unrecogni[sz]ed|not implemented|\bparameter",
        ("1.3", "5.0", "5.1", "5.2", "5.4"),
        (500, 501, 502, 504, 555),
    ),
)

_STATUS = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})\b")

# A name of a host that relays says nothing, nor does a page, or what is only repeated.
_BESIDES = re.compile(r"https?://\S+|<[^>]*>|[\w.-]*relay[\w-]*\.[\w.-]+")

# What somebody else has said, whom the server has asked: that is about us, or about the server.
_QUOTED = re.compile(r"(?:\bhost \S+ )?\b(?:said|response):\s*[245]\d\d\b")

TEXT_LIMIT = 2048
"""Characters that are looked at: expressions take longer than their text is long."""


def about(reply: Reply, *repeated: str) -> About:
    """Return what a refusal is about, empty where it does not tell.

    ``repeated`` is what the server may only be repeating: addresses, and our own name. Of what it
    refuses for now, the code alone says nothing.
    """
    said = b" ".join(reply.texts).decode("utf-8", "replace")[:TEXT_LIMIT].lower()
    own = _QUOTED.split(said, 1)[0]
    text = _words(own, repeated)
    for row in ROWS:
        is_ruled_out = reply.code in row.but or (row.is_final and reply.is_transient)
        if not is_ruled_out and re.search(row.words, text):
            return row.about
    if reply.is_transient:
        return "not now"
    found = _STATUS.search(own)
    status = found[1] if found is not None else ""
    for row in ROWS:
        if reply.code not in row.but and (status in row.statuses or reply.code in row.codes):
            return row.about
    return ""


def _words(text: str, repeated: tuple[str, ...]) -> str:
    """Return a text without what only repeats something, or names something else."""
    for one in sorted(repeated, key=len, reverse=True):
        if "." in one or "@" in one:  # what is shorter may be a part of any word
            text = text.replace(one.lower(), " ")
    return _BESIDES.sub(" ", text)
