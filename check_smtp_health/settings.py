"""What a run shall do: the user's words, checked, as values. Reads and sends nothing."""

from __future__ import annotations

import re

from check_smtp_health.errors import UsageFault
from check_smtp_health.text import quoted
from check_smtp_health.values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from check_smtp_health.options import Options

SMTP_PORT = 25

TIMEOUT_LIMIT = 86400.0
"""Seconds of the longest deadline: a day, so that a typing error does not mean for ever."""

RANGE_LIMIT = 40
"""Characters of a threshold range: two numbers more exact than any clock."""

FQDN_LIMIT = 255
"""Octets of a domain (RFC 5321 section 4.5.3.1.2)."""

LABEL_LIMIT = 63
"""Octets between two dots of a host name (RFC 1035 section 2.3.4)."""

PATH_LIMIT = 107
"""Bytes of a Unix socket's path (sun_path of unix(7), its NUL left out)."""

_STATES = ("ok", "warning", "critical", "unknown")
# Patterns are compiled by the run that uses them: all of them together take 2 ms.
_SECONDS = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_NUMBER = f"-?(?:{_SECONDS})"
_RANGE = f"@?(?:(?P<start>~|{_NUMBER})?:)?(?P<end>{_NUMBER})?"
# RFC 5321 section 4.1.1.1: ehlo-keyword and ehlo-param.
_KEYWORD = r"(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<parameter>[\x21-\x7e]+))?"
_CODE = r"[2-5][0-9][0-9](?=[ -]|\Z)"


class Host(NamedTuple):
    """``given`` by the user; ``ascii`` the same for the network (IDNA, no brackets).

    ``kind`` is ``name``, ``address`` or ``socket``.
    """

    given: str
    ascii: str
    kind: str


class Expect(NamedTuple):
    """What the banner must be: its reply code, and a text that it must contain."""

    code: int
    text: str


class Keyword(NamedTuple):
    """An EHLO keyword, with a parameter or without."""

    name: str
    parameter: str | None

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}={self.parameter}"


class Settings(NamedTuple):
    """A checked command line. ``family`` is 4, 6 or None; states are words in lower case.

    ``fqdn`` is None where the connection's local address is to be said. ``warning`` and
    ``critical`` map a stage, or ``time``, to a range as Nagios writes it.
    """

    host: Host
    port: int
    family: int | None
    source: str | None
    fqdn: str | None
    greeting: str
    expect: Expect
    require: tuple[Keyword, ...]
    forbid: tuple[Keyword, ...]
    warning: Mapping[str, str]
    critical: Mapping[str, str]
    timeout: float
    timeout_state: str
    tempfail: str
    verbose: int

    @property
    def needs_extensions(self) -> bool:
        """Whether the run is pointless without the reply to EHLO."""
        return bool(self.require or self.forbid)


def build(options: Options, threshold_keys: tuple[str, ...], nodename: str) -> Settings:
    """Return the settings that the options make; ``nodename`` is this host's own name.

    Raises:
        UsageFault: the first thing that is wrong.
    """
    given = options.last("hostname")
    if given is None:
        raise UsageFault("", "no host given, use -H HOST")
    host = _host(given)
    source = options.last("source")
    return Settings(
        host=host,
        port=_port(options.last("port")),
        family=_family(options, host, source),
        source=source,
        fqdn=_fqdn(options.last("fqdn"), nodename),
        greeting=_greeting(options),
        expect=_expect(options.last("expect")),
        require=tuple(_keyword("require", word) for word in options.all("require")),
        forbid=tuple(_keyword("forbid", word) for word in options.all("forbid")),
        warning=_thresholds(options, "warning", threshold_keys),
        critical=_thresholds(options, "critical", threshold_keys),
        timeout=_timeout(options.last("timeout")),
        timeout_state=_timeout_state(options.last("timeout")),
        tempfail=_state("tempfail", options.last("tempfail") or "warning"),
        verbose=options.count("verbose"),
    )


def _host(given: str) -> Host:
    if given.startswith("/"):
        if len(given.encode("utf-8", "surrogateescape")) > PATH_LIMIT or "\0" in given:
            raise UsageFault("hostname", f"{quoted(given)} is not a path of a Unix socket")
        return Host(given, given, "socket")
    bare = given[1:-1] if given.startswith("[") and given.endswith("]") else given
    version = _ip_version(bare)
    if version is not None:
        return Host(bare, bare, "address")
    name, colon, port = given.rpartition(":")
    if colon and _is_digits(port) and ":" not in name:
        raise UsageFault("hostname", f"{quoted(given)} holds a port, use -H {name} -p {port}")
    try:
        # IDNA only where it is needed: importing it takes longer than a check of a near server.
        text = given if given.isascii() else given[:FQDN_LIMIT].encode("idna").decode("ascii")
    except UnicodeError:
        text = ""
    if not _is_name(text):
        raise UsageFault("hostname", f"{quoted(given)} is no host name, IP address or socket path")
    return Host(given, text, "name")


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_name(text: str) -> bool:
    """Whether ``text`` can be a host name: labels of 63, not all digits at the end."""
    labels = text[:-1].split(".") if text.endswith(".") else text.split(".")
    return (
        text.isascii()
        and len(text) <= FQDN_LIMIT
        and all(0 < len(label) <= LABEL_LIMIT for label in labels)
        and all(label.replace("-", "").replace("_", "").isalnum() for label in labels)
        and not any(label[0] == "-" or label[-1] == "-" for label in labels)
        and not labels[-1].isdigit()
    )


def _ip_version(text: str) -> int | None:
    parts = text.split(".")
    if len(parts) == 4 and all(_is_digits(part) and len(part) <= 3 for part in parts):
        return 4 if all(part == str(min(int(part), 255)) for part in parts) else None
    if ":" not in text:
        return None
    import ipaddress  # 2 ms, which only IPv6 is worth

    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return None


def _port(given: str | None) -> int:
    if given is None:
        return SMTP_PORT
    if not (_is_digits(given) and len(given) <= 5 and 1 <= int(given) <= 65535):
        raise UsageFault("port", f"{quoted(given)} is not a port (1 to 65535)")
    return int(given)


def _family(options: Options, host: Host, source: str | None) -> int | None:
    wanted = [
        (number, f"use-ipv{number}") for number in (4, 6) if options.count(f"use-ipv{number}")
    ]
    if len(wanted) > 1:
        raise UsageFault("use-ipv6", f"contradicts {options.flag('use-ipv4')}")
    family, why = wanted[0] if wanted else (None, "")
    if source is not None:
        version = _ip_version(source)
        if version is None or host.kind == "socket":
            raise UsageFault("source", f"{quoted(source)} is not an IP address to connect from")
        if family not in (None, version):
            raise UsageFault(why, f"contradicts {options.flag('source')} {source}")
        family, why = version, "source"
    if host.kind == "address" and family not in (None, _ip_version(host.ascii)):
        raise UsageFault(why, f"contradicts the address {host.ascii}")
    return family


def _fqdn(given: str | None, nodename: str) -> str | None:
    if given is None:
        return nodename if "." in nodename and _is_name(nodename) else None
    if not (given.isascii() and given.isprintable() and " " not in given) or not (
        1 <= len(given) <= FQDN_LIMIT
    ):
        raise UsageFault(
            "fqdn", f"{quoted(given)} is not a name of 1 to {FQDN_LIMIT} visible ASCII characters"
        )
    return given


def _greeting(options: Options) -> str:
    if options.count("lmtp"):
        return "LHLO"
    wanted = any(options.count(name) for name in ("ehlo", "require", "forbid"))
    return "EHLO" if wanted else "HELO"


def _expect(given: str | None) -> Expect:
    code = re.match(_CODE, given) if given else None
    return Expect(int(code[0]) if code else 220, given or "")


def _keyword(option: str, given: str) -> Keyword:
    match = re.fullmatch(_KEYWORD, given)
    if match is None:
        raise UsageFault(option, f"{quoted(given)} is not an EHLO keyword")
    return Keyword(match["name"].upper(), match["parameter"])


def _thresholds(options: Options, option: str, keys: tuple[str, ...]) -> dict[str, str]:
    ranges: dict[str, str] = {}
    for part in ",".join(options.all(option)).split(",") if options.count(option) else ():
        key, equals, text = part.rpartition("=")
        key = key if equals else "time"
        if key not in keys:
            known = f"{', '.join(keys[:-1])} or {keys[-1]}"
            raise UsageFault(option, f"{quoted(key)} is not a stage ({known})")
        limit = _range(option, text)
        if key in ranges:
            raise UsageFault(option, f"{key} has two ranges, {ranges[key]} and {limit}")
        ranges[key] = limit
    return ranges


def _range(option: str, text: str) -> str:
    match = re.fullmatch(_RANGE, text[:RANGE_LIMIT])
    if match is None or len(text) > RANGE_LIMIT or text.lstrip("@") in ("", ":"):
        # What bash makes of an unquoted ~:5 is worth a word.
        hint = " (quote '~:N' in the shell)" if text.startswith("/") and ":" in text else ""
        raise UsageFault(option, f"{quoted(text)} is not a threshold range{hint}")
    start, end = match["start"] or "0", match["end"]
    if start != "~" and end is not None and float(start) > float(end):
        raise UsageFault(
            option,
            f"{quoted(text)} is not a threshold range: its start, {start}, is above its end, {end}",
        )
    # Graph writers drop thresholds that are not plain numbers, and 0:5 means 5.
    return end if text == f"0:{end}" else text


def _timeout(given: str | None) -> float:
    if given is None:
        return 10.0
    seconds = given.partition(":")[0]
    if not re.fullmatch(_SECONDS, seconds):
        raise UsageFault("timeout", f"{quoted(given)} is not a number of seconds")
    if not 0 < float(seconds) <= TIMEOUT_LIMIT:
        raise UsageFault(
            "timeout", f"{quoted(given)} is not above 0 and at most {TIMEOUT_LIMIT:.0f} seconds"
        )
    return float(seconds)


def _timeout_state(given: str | None) -> str:
    _, colon, state = (given or "").partition(":")
    return _state("timeout", state) if colon else "critical"


def _state(option: str, given: str) -> str:
    word = _STATES[int(given)] if given in ("0", "1", "2", "3") else given.lower()
    if word not in _STATES:
        raise UsageFault(option, f"{quoted(given)} is not a state ({', '.join(_STATES)})")
    return word
