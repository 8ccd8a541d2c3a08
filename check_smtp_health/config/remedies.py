"""Suggestions for wrong usage, for the mistakes that people make.

A suggestion is the end of a sentence, empty if none is certain. Loaded only where something went
wrong.
"""

from __future__ import annotations

import os
import re

from check_smtp_health.config.option_table import OPTIONS
from check_smtp_health.errors import EXHAUSTED, Interrupted, UsageFault
from check_smtp_health.escaping import internal_error, printable, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PROGRAM = "check_smtp_health"
"""Our own package, which is not a library that anybody could install."""

_MEANT = {
    "--cacert": "--ca-file",
    "--debug": "-vv",
    "--helo": "--fqdn",
    "--helo-name": "--fqdn",
    "--insecure": "--no-verify",
    "--json": "--output-format json",
    "--mail-from": "--from",
    "--no-check-certificate": "--no-verify",
    "--pass": "--authpass-file",
    "--password": "--authpass-file",
    "--password-file": "--authpass-file",
    "--recipient": "--rcpt",
    "--skip-verify": "--no-verify",
    "--smtps": "--ssl",
    "--to": "--rcpt",
    "--tls-version": "--tls-min",
    "--user": "--authuser",
    "--username": "--authuser",
}
"""Flags of other programs, and which of ours does the same: by spelling alone others are nearer."""

_FORMER_PORTS: Mapping[str, str] = {
    "smtps": "submissions",
    "ssmtp": "submissions",
    "urd": "submissions",
}
"""Former names of ports, and today's."""

_WRITTEN = r"@?(?:(?:~|{0})?:)?(?:{0})?(?:,{0})*".format(r"[0-9]+(?:\.[0-9]+)?")

LIKENESS = 0.8
"""Share of letters that two words must have in common for one to be a slip for the other."""

SECONDS: Mapping[str, float] = {
    **dict.fromkeys(("us", "\u00b5s"), 1e-6),
    "ms": 1e-3,
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
}

DAYS: Mapping[str, float] = {
    **dict.fromkeys(("h", "hour", "hours"), 1 / 24),
    **dict.fromkeys(("", "d", "day", "days"), 1.0),
    **dict.fromkeys(("w", "week", "weeks"), 7.0),
    **dict.fromkeys(("y", "year", "years"), 365.0),
}

_PACKAGES = {"dkimpy": "dkim", "PyNaCl": "nacl"}
"""Libraries that Debian's packages are not named after."""

_SCHEME_PORTS = {"submission": 587, "lmtp": 24}
_YES_OR_NO = ("yes", "no", "on", "off", "true", "false")
_TLS_SCHEMES = ("https", "smtps", "ssl", "submissions", "tls")


def flag(typed: str) -> str:
    """Return which option may be meant by an unknown flag."""
    known = [one for option in OPTIONS for one in option.flags if one.startswith("--")]
    return word(typed, known if typed.startswith("--") else (), _MEANT)


def port(given: str, known: Iterable[str]) -> str:
    """Return which port may be meant by a name that none has."""
    return word(given.lower(), known, _FORMER_PORTS, likeness=0.7)


def word(
    typed: str,
    known: Iterable[str],
    meant: Mapping[str, str] | None = None,
    *,
    likeness: float = LIKENESS,
) -> str:
    """Return which of the ``known`` words may be meant: the one that ``meant`` has, or the nearest.

    ``likeness`` is the share of letters that a slip has in common with what was meant.
    """
    right = (meant or {}).get(typed)
    if right is None and known:
        import difflib

        right = next(iter(difflib.get_close_matches(typed, list(known), 1, likeness)), None)
    return f", did you mean {right}?" if right else ""


def host(given: str, ports: Iterable[str], is_name: Callable[[str], bool]) -> str:
    """Return what is wrong with a host that was typed as a URL, a mail address or a list.

    ``ports`` are the names of ports, ``is_name`` says whether something can be a host name.
    """
    url = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/]*@)?([^/@]+).*", given)
    if url is not None:
        scheme, target = url[1].lower(), _with_port(url[2])
        tls = " --ssl" if scheme in _TLS_SCHEMES else ""
        if scheme in _SCHEME_PORTS and " -p " not in target:
            target += f" -p {_SCHEME_PORTS[scheme]}"
        # It may hold a password.
        shown = f"{url[1]}://***@{url[2]}" if "@" in given else given
        return f"{quoted(shown)} is a URL, use -H {target}{tls}"
    named = re.fullmatch(rf"([^:/@]+):({'|'.join(ports)})", given)
    if named is not None:
        return f"{quoted(given)} holds a port, use -H {named[1]} -p {named[2]}"
    bare = given.strip(" \t\r\n/'\"\u2018\u2019\u201c\u201d")
    if bare != given and is_name(bare):
        return f"{quoted(given)} is not a host name, did you mean {bare}?"
    if re.fullmatch(r"[0-9A-Fa-f.:]+/[0-9]+", given):
        return f"{quoted(given)} is a network, use -H with one address"
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]:([0-9]+)", given)
    if bracketed is not None:
        return f"{quoted(given)} holds a port, use -H {bracketed[1]} -p {bracketed[2]}"
    if re.fullmatch(r"[^@\s,]+@[A-Za-z0-9.-]+", given):
        local, _, domain = given.rpartition("@")
        shown = f"***@{domain}" if ":" in local else given  # it may be a password
        return f"{quoted(shown)} is a mail address, use -H {domain} --mx"
    if re.fullmatch(r"[A-Za-z0-9_.:-]+(?:[,;] ?[A-Za-z0-9_.:-]+)+", given):
        return f"{quoted(given)} is more than one host, repeat -H"
    return ""


def _with_port(authority: str) -> str:
    name, _, port = authority.rpartition(":")
    is_port = bool(name) and port.isdigit() and (":" not in name or name.endswith("]"))
    return f"{name} -p {port}" if is_port else authority


def number(given: str, units: Mapping[str, float]) -> str:
    """Return how to write numbers that have a unit, or a decimal comma."""

    def plain(found: re.Match[str]) -> str:
        unit = units.get((found[2] or "").lower())
        if unit is None:
            return found[0]
        return f"{float(found[1].replace(',', '.')) * unit:.6f}".rstrip("0").rstrip(".")

    # A comma between two ranges, or two limits, is not a decimal comma.
    point = r"[0-9]+,[0-9]+" if re.fullmatch(r"[0-9]+,[0-9]+[A-Za-z]*", given) else r"[0-9]+"
    right = re.sub(rf"({point}(?:\.[0-9]+)?|\.[0-9]+)(?: ?([A-Za-z\u00b5]+))?", plain, given)
    right = (
        re.sub(r"(?<=[0-9])(?:-|\.\.|\u2013)(?=[0-9])", ":", right) if units is SECONDS else right
    )
    is_right = right != given and re.fullmatch(_WRITTEN, right) and len(given) <= 80
    return f", write {right}" if is_right else ""


def two_values(flag: str, given: str) -> str:
    """Return what may be meant by two numbers with a comma between them."""
    if not re.fullmatch(r"[0-9]+,[0-9]+", given):
        return ""
    first, _, second = given.partition(",")
    if not int(first) or int(second) <= int(first):
        return f"{number(given, SECONDS)} (a point, no comma)"
    return f", use -w {first} -c {second}, or {flag} {first}.{second} with a point"


def state(given: str, states: Iterable[str]) -> str:
    """Return which state may be meant by a word that is not one."""
    word = given.strip().lower()
    meant = next((one for one in states if len(word) > 1 and one.startswith(word[:4])), "")
    return f", did you mean {meant}?" if meant else ""


def spelling(flag: str, value: str) -> str:
    """Return what is wrong with the form of a value, whatever its option."""
    if len(flag) == 2 and value.startswith("=") and len(value) > 1:
        return f", write {flag} {value[1:]}"
    return ", the engine has not replaced this macro" if is_macro(value) else ""


def is_macro(value: str) -> bool:
    """Whether a value is nothing but a macro of Nagios, or of Icinga."""
    return re.fullmatch(r"\$[A-Za-z_:. ]+[0-9]*\$", value) is not None


def stray(word: str, name: str, typed: str, value: str) -> str:
    """Return what is wrong with a word behind the ``value`` of an option, if it looks wrong.

    ``name`` is the option's, ``typed`` its flag.
    """
    if name == "proxy" and re.fullmatch(r"[vV]?[0-9]+", word):
        return f"{typed}: {quoted(word)} is neither v1 nor v2"
    is_number = re.fullmatch(r"[0-9]+(?:\.[0-9]*)?", word) is not None
    if not is_number or name not in ("warning", "critical", "timeout", "certificate", "port"):
        return ""
    if name in ("warning", "critical") and re.fullmatch(r"[0-9]+(?:\.[0-9]*)?", value):
        least, most = sorted((value, word), key=float)
        return f"{typed} takes one value, use -w {least} -c {most}"
    if name == "certificate":
        return f"{typed} takes one value, use {typed} {value},{word}"
    return f"{typed} takes one value, {quoted(word)} is one too many"


def superfluous(word: str, switch: str, *, has_port: bool) -> str:
    """Return what may be meant by a word too many, behind a ``switch`` or elsewhere."""
    if word == PROGRAM:
        return ", leave out the name of the program"
    if word.startswith("#"):
        return ", a comment is a line of its own"
    if switch and (word.isdigit() or word.lower() in _YES_OR_NO):
        return f", {switch} takes no value"
    if word.isdigit() and not has_port:
        return f", use -p {word}"
    if re.fullmatch(r"[\w.:%-]*\w\.?|\[[0-9A-Fa-f:.]+\]|/.*", word) and not word.isdigit():
        return ", repeat -H for several hosts"
    return ""


def missing(library: str, purpose: str = "") -> str:
    """Return what to say of a library that is not here and that a run needs: how to get it.

    Most distributions name the package after the library. Our name on a package index is not ours.
    """
    package = _PACKAGES.get(library, library)
    return f"needs the library {library}{purpose}: install python3-{package}, or {library} with pip"


def explained(error: Exception, told: Callable[[UsageFault], str] | None) -> str:
    """Return what is said of an exception that ended a run, or a check.

    ``told`` is how wrong usage is, by the options as they were typed.
    """
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and error.errno in EXHAUSTED:
        return os.strerror(error.errno).lower()
    if isinstance(error, UsageFault):
        return error.problem if told is None else told(error)
    if isinstance(error, ModuleNotFoundError) and _library(error) != PROGRAM:
        return f"this program {missing(_library(error))}"
    if isinstance(error, ImportError):
        return f"a Python package cannot be loaded: {printable(str(error))}"
    if isinstance(error, Interrupted):
        return f"{error.problem} before it began"
    return internal_error(error)


def is_bug(error: Exception) -> bool:
    """Whether an exception tells of something that nobody foresaw."""
    return not isinstance(error, (UsageFault, ImportError, MemoryError))


def _library(error: ModuleNotFoundError) -> str:
    """Return the library that a module which is not there belongs to."""
    name = (error.name or "").partition(".")[0]
    return "dnspython" if name == "dns" else name
