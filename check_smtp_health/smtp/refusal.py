"""THE TABLE OF REFUSALS: what a server says no to, by its words, its codes, in this order.

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
    the reply codes of refusals that have none; ``but`` are reply codes for which the row is wrong.
    """

    about: About
    words: str
    statuses: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
    but: tuple[int, ...] = ()


# The first row that fits counts: by words, for the codes are used freely; then by codes.
ROWS = (
    Row(
        "blocklist",
        r"block(?:ed)? using|black-?list|block-?list|dnsbl|\brbls?\b|listed (?:at|by|in|on)\b"
        r"|spamhaus|spamcop|barracuda|sorbs|abuseat|proofpoint|reputation",
    ),
    Row(
        "sender",
        r"\b(?:spf|dkim|dmarc|sender id)\b|\b[45]\.7\.2[0-46-9]\b",
    ),
    Row(
        "relaying",
        r"\brelay(?:s|ing|ed)?\b.{0,40}\b(?:denied|disallowed|forbidden|not|prohibited|refused"
        r"|rejected)\b|\b(?:cannot|denied|never|no|not|unable)\b.{0,40}\brelay|\brelaying\b"
        r"|rcpthosts|\bnon-?local\b|\b(?:user|recipient|address|domain) (?:is )?not (?:a )?local"
        r"|not hosted (?:by|here|on)|no such domain (?:at|here|on)"
        r"|(?:do not|don't|cannot|not) (?:accept|deliver|handle|take) (?:any )?mail (?:for|to)\b"
        r"|domain (?:is )?not (?:accepted|allowed|hosted|served|handled)",
        ("7.54", "7.64"),
        (551,),
    ),
    Row(
        "TLS",
        r"starttls|(?:must|use|need|require)\w* (?:\w+ )?(?:tls|ssl|encryption)\b"
        r"|\b(?:tls|ssl|encryption)\b.{0,20}\b(?:first|mandatory|needed|required)",
        ("7.10", "7.11"),
        (523, 538),
    ),
    Row(
        "login",
        r"authenticat(?:e|ion)\b.{0,30}\b(?:first|needed|required)|\bauth(?:entication)? required"
        r"|\b(?:must|needs?|please|requires?|without|turn on|use)\b.{0,30}"
        r"\b(?:auth\b|authenticat|log ?in\b|logging in)|\blog ?in (?:first|required|to send)"
        r"|not (?:authenticated|logged in)|unauthenticated",
        ("7.57",),
        (530, 535),
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
        r"|\bip\b.{0,40}\b(?:allowed|banned|blocked|denied|rejected|refused)|reverse (?:dns|host)"
        r"|\b(?:ptr|rdns|banned)\b|connection (?:denied|refused|rejected)"
        r"|\[(?:ipv6:)?[0-9a-f:]+[.:][0-9a-f.:]+\]",
        ("7.25", "7.606"),
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
    Row("recipient", r"^invalid recipient:\s*$"),
    Row(
        "user",
        r"\b(?:user|recipient|mailbox|address|account|person)\b.{0,30}\b(?:invalid|unknown|disabled"
        r"|inactive|not (?:found|known|exist|here)|unavailable|unverified|undeliverable)"
        r"|\b(?:no such|unknown|invalid|bad|non-?existent) (?:local )?(?:user|recipient|mailbox"
        r"|address|account|person)|\b(?:do|does)(?: not|n't) exist|\bno mailbox|\bunrouteable",
        ("1.0", "1.1", "1.6", "1.10", "2.1", "4.1"),
        (556,),
    ),
    Row(
        "room",
        r"\bquota\b|\bmailbox.{0,20}\bfull\b|\binsufficient\b|out of space",
        ("2.2", "2.3", "3.1", "3.4"),
        (452, 552),
    ),
    Row(
        "not now",
        r"gr[ea]y-?list|try (?:again|later)|again later|too many|too fast|\brate\b|throttl|temporar"
        r"|defer",
        ("4.5",),
    ),
    Row("content", r"\bspam|\bvirus|\bcontent|message (?:was )?(?:refused|rejected|blocked)"),
    # What is refused there is "to send to the destination" (RFC 3463), unless words say otherwise.
    Row(
        "recipient",
        r"(?<!\b5\.4\.1 )\brecipient address rejected: access denied",
        ("7.1",),
        (571,),
    ),
    Row("policy", r"\bpolic(?:y|ies)|administrative|prohibited"),
    Row(
        "command",
        r"command|unrecogni[sz]ed|not implemented|\bparameter",
        ("1.3", "5.0", "5.1", "5.2", "5.4"),
        (500, 501, 502, 504, 555),
    ),
)

_STATUS = re.compile(rb"[245]\.(\d{1,3}\.\d{1,3})\b")

# A name of a host that relays says nothing, nor does a page, or what is only repeated.
_BESIDES = re.compile(r"https?://\S+|<[^>]*>|[\w.-]*relay[\w-]*\.[\w.-]+")

TEXT_LIMIT = 2048
"""Characters that are looked at: expressions take longer than their text is long."""


def about(reply: Reply, *repeated: str) -> About:
    """Return what a refusal is about, empty where it does not tell.

    ``repeated`` is what the server may only be repeating: addresses, and our own name. Of what it
    refuses for now, the code alone says nothing.
    """
    text = _words(reply, repeated)
    for row in ROWS:
        if reply.code not in row.but and re.search(row.words, text):
            return row.about
    if reply.is_transient:
        return "not now"
    found = _STATUS.search(b" ".join(reply.texts))
    status = found[1].decode() if found is not None else ""
    for row in ROWS:
        if status in row.statuses or reply.code in row.codes:
            return row.about
    return ""


def _words(reply: Reply, repeated: tuple[str, ...]) -> str:
    text = b" ".join(reply.texts).decode("utf-8", "replace")[:TEXT_LIMIT].lower()
    for one in sorted(repeated, key=len, reverse=True):
        if "." in one or "@" in one:  # what is shorter may be a part of any word
            text = text.replace(one.lower(), " ")
    return _BESIDES.sub(" ", text)
