"""What is in the text of a reply: words, hosts, addresses, an enhanced status code.

Loaded on a failure only. See ``causes`` for how a reply is read.
"""

from __future__ import annotations

from check_smtp_health.namedtuple import NamedTuple

TEXT_LIMIT = 2048
"""Characters of a reply that are read: Postfix's limit for a line (``line_length_limit``)."""

GAP_LIMIT = 80
"""Characters between two parts of a phrase, about a line: further apart are two sentences."""


# Punctuation becomes a blank, an apostrophe nothing: "doesn't" is one word.
_BLANKS = {ord(character): " " for character in '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'}
_BLANKS |= {ord("'"): "", ord("\u2019"): ""}

# What stands before a list's name: "blocked using list.example".
_BEFORE_A_LIST = ("using", "by", "at", "in", "on")

_AROUND_ADDRESSES = {ord(character): " " for character in "[]()<>=?&/,;\"'"}


class Said(NamedTuple):
    """What a reply says: its words, each between blanks, the hosts and links that it names.

    ``zones`` are the hosts behind a word such as "using"; ``status`` is the enhanced status code
    without its class, empty where there is none.
    """

    words: str
    names: tuple[str, ...]
    zones: tuple[str, ...]
    status: str


def read(text: str) -> Said:
    """Return what a reply says; of a long one only its beginning is read."""
    words: list[str] = []
    names: list[str] = []
    zones: list[str] = []
    status = last = ""
    tokens = _without_addresses(text[:TEXT_LIMIT].lower()).split()
    for position, token in enumerate(tokens):
        if token.isalpha():  # most are plain words
            words.append(token)
            last = token
            continue
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
    return Said(f" {' '.join(' '.join(words).split())} ", tuple(names), tuple(zones), status)


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


def has_any(said: Said, phrases: str) -> bool:
    """Whether a reply has one of the phrases, which are separated by a comma and a blank."""
    if not phrases:
        return False
    words = said.words
    for phrase in phrases.split(", "):
        if "." in phrase:
            if _holds(said, phrase):
                return True
        # As _wanted(), which would take as long again: most phrases are plain words.
        elif (f" {phrase[:-1]}" if phrase[-1] == "*" else f" {phrase} ") in words:
            return True
    return False


def _holds(said: Said, phrase: str) -> bool:
    """Whether a reply has a phrase with dots in it, see ``Row``."""
    if " .. " not in phrase:
        return any(is_at(name, phrase) for name in said.names)
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


def is_at(name: str, wanted: str) -> bool:
    """Whether a host or link is that of a domain, below the wanted path where there is one."""
    host, _, path = name.partition("/")
    domain, _, beginning = wanted.partition("/")
    return (host == domain or host.endswith(f".{domain}")) and path.startswith(beginning)


def address(text: str) -> str:
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
