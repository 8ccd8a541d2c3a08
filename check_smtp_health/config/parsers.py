"""What each option's text may be: one text in, one value out, or a sentence on what is wrong.

Reads and sends nothing. Rules between options are in ``build``.
"""

from __future__ import annotations

import re

from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import has_controls, octets, quoted
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.report import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Literal, TypeVar

    _T = TypeVar("_T")

    State = Literal["ok", "warning", "critical", "unknown"]

TIMEOUT_LEAST = 0.001
"""Seconds of the shortest deadline; below it no server could answer."""

TIMEOUT_LIMIT = 86400.0
"""Seconds of the longest deadline: a day, so that a typing error does not last for ever."""

FQDN_LIMIT = 255
"""Octets of a domain (RFC 5321 section 4.5.3.1.2)."""

PATH_OCTETS = 254
"""Octets of an address; its path of 256 has the brackets, too (RFC 5321 section 4.5.3.1.3)."""

COMMAND_OCTETS = 510
"""Octets of a command line without CRLF (RFC 5321 section 4.5.3.1.4)."""

SIZE_DIGITS = 20
"""Digits of a message size (RFC 1870 section 3)."""

DNS_PORT = 53

TOKEN_MECHANISMS = ("XOAUTH2", "OAUTHBEARER")
"""SASL mechanisms whose password is an access token."""

CERTIFICATE_MECHANISM = "EXTERNAL"
"""The SASL mechanism by which the client's certificate says who we are."""

KEY_LABEL = "KEY"
"""The label of a DNSBL's zone that stands for the customer's key."""
PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "lmtp": 24}
"""Ports by name: IANA's, and for LMTP, which has none there, the one that servers document."""

LABEL_LIMIT = 63
"""Octets between two dots of a host name (RFC 1035 section 2.3.4)."""

PATH_LIMIT = 107
"""Bytes of a Unix socket's path (sun_path of unix(7), its NUL left out)."""

_REPEAT = {"from": "use one of them"}
_REPEAT.update((name, f"repeat --{name}") for name in ("rcpt", "no-relay", "no-rcpt"))

AUTH_METHODS = ("spf", "dkim", "dmarc")

STATES: tuple[State, ...] = ("ok", "warning", "critical", "unknown")
# Patterns are compiled by the run that uses them: all of them together take 2 ms.
SECONDS = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
# RFC 5321 section 4.1.1.1: ehlo-keyword and ehlo-param.
_KEYWORD = r"(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<parameter>[\x21-\x7b\x7d\x7e]+))?"
# An IPv6 address may end in an interface: fe80::1%eth0.
_SCOPED = r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._-]+)?"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_CODE = r"[45][0-9][0-9](?=[ -]|\Z)"


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


class Control(NamedTuple):
    """A server elsewhere that shows whether our own network works."""

    host: Host
    port: int

    def __str__(self) -> str:
        given = self.host.given
        return f"[{given}]:{self.port}" if ":" in given else f"{given}:{self.port}"


def host(given: str) -> Host:
    """Return the host that ``-H`` names."""
    if given.startswith("/"):
        is_sane = given.isprintable() and "|" not in given
        if not is_sane or len(given.encode()) > PATH_LIMIT:
            raise UsageFault("hostname", f"{quoted(given)} is not a path of a Unix socket")
        return Host(given, given, "socket")
    bare = given[1:-1] if given.startswith("[") and given.endswith("]") else given
    version = ip_version(bare)
    if version is not None:
        return Host(bare, bare, "address")
    name, colon, port = given.rpartition(":")
    if colon and is_digits(port) and is_name(name):
        raise UsageFault("hostname", f"{quoted(given)} holds a port, use -H {name} -p {port}")
    text = given if given.isascii() else _international(given)
    if not is_name(text):
        from check_smtp_health.config import remedies

        problem = f"{quoted(given)} is not a host name, IP address or socket path"
        raise UsageFault("hostname", remedies.host(given, PORTS, is_name) or problem)
    return Host(given if given.isprintable() else text, text, "name")


def mx_host(given: str) -> Host:
    """Return the host that ``--expect-mx`` names."""
    try:
        expected = host(given)
    except UsageFault as fault:
        raise UsageFault("expect-mx", f"{quoted(given)} is not a host name") from fault
    need_names("expect-mx", (expected,))
    return expected


def identity(given: Host) -> str:
    """Return a key that is the same for all spellings of a host."""
    if given.kind == "name":
        return given.dns_name.lower()
    if ":" not in given.ascii or given.kind == "socket":
        return given.ascii
    import ipaddress  # it has been: see ``ip_version``

    return str(ipaddress.ip_address(given.ascii))


def unique(given: Iterable[_T], identity: Callable[[_T], object]) -> tuple[_T, ...]:
    """Return the values without those that repeat an earlier one in a different spelling."""
    known: dict[object, _T] = {}
    for one in given:
        known.setdefault(identity(one), one)
    return tuple(known.values())


def password(option: str, given: str) -> str:
    """Return a password without control characters, which could end a line and a command.

    Raises:
        UsageFault: it has one.
    """
    if has_controls(given):
        raise UsageFault(option, "the password contains a control character, such as a line break")
    return given


def need_names(option: str, hosts: Iterable[Host]) -> None:
    """Check that each host has a name.

    Raises:
        UsageFault: one is an address or a socket.
    """
    for one in hosts:
        if one.kind != "name":
            raise UsageFault(option, not_a_domain(one))


def not_a_domain(given: Host) -> str:
    """Return what to say of a host without name where a name is needed."""
    what = "an IP address" if given.kind == "address" else "the path of a socket"
    return f"{quoted(given.given)} is {what}, a domain is needed"


def _international(given: str) -> str:
    """Return an international name as DNS has it, empty if it has quotes or dashes of an editor."""
    import unicodedata

    is_typed = not any(
        unicodedata.category(one) in ("Pi", "Pf", "Pd") for one in given if one != "-"
    )
    return to_ascii(given) if is_typed else ""


def to_ascii(name: str) -> str:
    """Return the name as DNS has it (IDNA), empty where it has none."""
    try:
        # The codec's import takes longer than a check of a near server: only where it is needed.
        return name.encode("idna").decode("ascii") if len(name) <= FQDN_LIMIT else ""
    except UnicodeError:
        return ""


def ip_version(text: str) -> int | None:
    """Return 4 or 6 for an IP address (IPv6 with or without scope), None for anything else."""
    parts = text.split(".")
    if len(parts) == 4 and ":" not in text:
        try:
            numbers = tuple(map(int, parts))
        except ValueError:
            return None
        # Written anew it is the same, without signs, blanks, leading zeros or other digits.
        return 4 if max(numbers) <= 255 and text == "{}.{}.{}.{}".format(*numbers) else None
    scope = re.fullmatch(_SCOPED, text)
    if scope is None:
        return None
    import ipaddress  # 2 ms, which only IPv6 is worth

    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return None


def port(given: str | None) -> int | None:
    """Return the port, None where none is given."""
    if given is None:
        return None
    if given.lower() in PORTS:
        return PORTS[given.lower()]
    if not (is_digits(given) and len(given) <= 5 and 1 <= int(given) <= 65535):
        from check_smtp_health.config import remedies

        remedy = remedies.port(given, PORTS)
        raise UsageFault("port", f"{quoted(given)} is not a port (1 to 65535){remedy}")
    return int(given)


def nameserver(given: str) -> tuple[str, int]:
    """Return the address and port of ``--nameserver``."""
    bare = given[1:-1] if given.startswith("[") and given.endswith("]") else given
    if ip_version(bare) is not None:
        return bare, DNS_PORT
    address, colon, digits = given.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    elif ":" in address:
        colon = ""
    if not colon or ip_version(address) is None or not is_digits(digits):
        raise UsageFault("nameserver", f"{quoted(given)} is not ADDRESS or ADDRESS:PORT")
    if len(digits) > 5 or not 1 <= int(digits) <= 65535:
        raise UsageFault("nameserver", f"{quoted(digits)} is not a port (1 to 65535)")
    return address, int(digits)


def control(given: str, default: int) -> Control:
    """Return the server of ``--control``; ``default`` is the port where none is given."""
    name, digits = given, str(default)
    if given.startswith("[") and "]" in given:
        name, _, rest = given[1:].partition("]")
        if rest:
            digits = rest[1:] if rest.startswith(":") else ""
    elif given.count(":") == 1:
        name, _, digits = given.partition(":")
    is_port = is_digits(digits) and len(digits) <= 5 and 1 <= int(digits) <= 65535
    try:
        found = host(name)
    except UsageFault:
        found = None
    if found is None or found.kind == "socket" or not is_port:
        raise UsageFault("control", f"{quoted(given)} is not HOST or HOST:PORT")
    return Control(found, int(digits))


def states(given: Iterable[str], names: Sequence[str]) -> dict[str, State]:
    """Return the states of ``--state`` by the cause or kind that they are for, one of ``names``."""
    found: dict[str, State] = {}
    for part in [part for one in given for part in one.split(",")]:
        name, equals, word = part.partition("=")
        if not (equals and name):
            name, colon, word = part.partition(":")
            remedy = f", write {name}={word}" if colon and name in names else ""
            raise UsageFault("state", f"{quoted(part)} is not NAME=STATE{remedy}")
        if name not in names:
            raise UsageFault(
                "state", f"{quoted(name)} is not a cause or kind of failure{_nearest(name, names)}"
            )
        if name in found:
            raise UsageFault("state", f"{name} is given twice")
        found[name] = state("state", word)
    return found


def _nearest(given: str, names: Sequence[str]) -> str:
    """Return the name that may have been meant, as the end of a sentence."""
    import difflib

    # The two tables spell their names differently: timed_out, disk-full.
    plain = {name.replace("_", "-"): name for name in names}
    close = difflib.get_close_matches(given.lower().replace("_", "-").replace(" ", "-"), plain, 1)
    return f", did you mean {plain[close[0]]}?" if close else ""


def count(option: str, given: str) -> int:
    """Return a number of targets."""
    if not is_digits(given) or len(given) > 5 or not int(given):
        raise UsageFault(option, f"{quoted(given)} is not a number of targets")
    return int(given)


def fqdn(given: str | None, nodename: str) -> str | None:
    """Return the name to greet with, None where this host has no qualified one."""
    if given is None:
        return nodename if "." in nodename and is_name(nodename) else None
    if not (given.isascii() and given.isprintable() and " " not in given) or not (
        1 <= len(given) <= FQDN_LIMIT
    ):
        raise UsageFault(
            "fqdn", f"{quoted(given)} is not a name of 1 to {FQDN_LIMIT} visible ASCII characters"
        )
    return given


def mailbox(option: str, given: str) -> str:
    """Return an address for MAIL or RCPT, without the angle brackets; empty for the null one.

    What a server thinks of the address is what the run is to find out; here only that is refused
    which could not be sent as one argument.
    """
    has_brackets = given.startswith("<") and given.endswith(">")
    address = given[1:-1] if has_brackets else given
    # What is in quotes may hold anything (RFC 5321 section 4.1.2).
    bare = re.sub(_QUOTED, "", address, count=1) if address.startswith('"') else address
    is_path = (
        address.isprintable()
        and not set(bare) & set('<> "')
        and len(address.encode("utf-8")) <= PATH_OCTETS
    )
    if re.fullmatch(r"[^@, ]+@[^@, ]+(?:, ?[^@, ]+@[^@, ]+)+", given):
        raise UsageFault(option, f"{quoted(given)} is more than one address, {_REPEAT[option]}")
    if not is_path or (option != "from" and not address):
        raise UsageFault(option, f"{quoted(given)} is not a mail address")
    return address


def size(given: str) -> int:
    """Return the octets of a message to announce (RFC 1870)."""
    if not is_digits(given) or len(given) > SIZE_DIGITS:
        raise UsageFault("size", f"{quoted(given)} is not a number of bytes")
    return int(given)


def line(given: str) -> str:
    """Return a command line that the user wants to be sent."""
    if given.upper().startswith(("DATA", "BDAT")):
        raise UsageFault("command", f"{quoted(given)} would begin a message")
    is_sane = given.isprintable() and given.strip() == given and given
    if not is_sane or len(given.encode("utf-8")) > COMMAND_OCTETS:
        raise UsageFault(
            "command", f"{quoted(given)} is not a command line of 1 to {COMMAND_OCTETS} bytes"
        )
    return given


def response(given: str) -> str:
    """Return the text, or regular expression, that a reply must contain.

    check_smtp refuses one that cannot be compiled, too: taken for a text, it might never be found.
    """
    try:
        re.compile(octets(given), re.MULTILINE)
    except (re.error, RecursionError, OverflowError) as error:
        reason = f": {error.msg}" if isinstance(error, re.error) else ""
        problem = f"{quoted(given)} is not a regular expression{reason}"
        raise UsageFault("response", problem) from error
    return given


def expect(given: str | None) -> Expect:
    """Return what the banner must be; a code that is no refusal is a text like any other."""
    code = re.match(_CODE, given) if given else None
    return Expect(int(code[0]) if code else 220, given or "")


def keyword(option: str, given: str) -> Keyword:
    """Return the EHLO keyword of ``--require`` or ``--forbid``."""
    match = re.fullmatch(_KEYWORD, given)
    if match is None:
        words = given.split()
        is_login = len(words) == 2 and words[0].upper() == "AUTH"
        remedy = f", write AUTH={words[1].upper()}" if is_login else ""
        raise UsageFault(option, f"{quoted(given)} is not an EHLO keyword{remedy}")
    return Keyword(match["name"].upper(), match["parameter"])


def timeout(given: str | None) -> float:
    """Return the deadline in seconds."""
    if given is None:
        return 10.0
    return _limit("timeout", given, given.partition(":")[0])


def delivery_timeout(given: str | None) -> float:
    """Return the seconds in which the message must have come."""
    return 60.0 if given is None else _limit("delivery-timeout", given, given)


def _limit(option: str, given: str, seconds: str) -> float:
    if not re.fullmatch(SECONDS, seconds):
        from check_smtp_health.config import remedies

        remedy = remedies.number(seconds, remedies.SECONDS)
        raise UsageFault(option, f"{quoted(given)} is not a number of seconds{remedy}")
    if not TIMEOUT_LEAST <= float(seconds) <= TIMEOUT_LIMIT:
        raise UsageFault(
            option,
            f"{quoted(given)} is not between {TIMEOUT_LEAST} and {TIMEOUT_LIMIT:.0f} seconds",
        )
    return float(seconds)


def auth_results(given: str) -> tuple[str, ...]:
    """Return the methods of authentication that must have passed."""
    methods = tuple(dict.fromkeys(given.lower().split(",")))
    for method in methods:
        if method not in AUTH_METHODS:
            known = ", ".join(AUTH_METHODS)
            raise UsageFault("require-auth-results", f"{quoted(method)} is not one of {known}")
    return methods


def timeout_state(given: str | None) -> State:
    """Return the state for a deadline that strikes."""
    _, colon, word = (given or "").partition(":")
    return state("timeout", word) if colon else "critical"


def state(option: str, given: str) -> State:
    """Return a state as a word; its exit code is taken, too."""
    if given in ("0", "1", "2", "3"):
        return STATES[int(given)]
    for word in STATES:
        if word == given.lower():
            return word
    from check_smtp_health.config import remedies

    remedy = remedies.state(given, STATES)
    raise UsageFault(option, f"{quoted(given)} is not a state ({', '.join(STATES)}){remedy}")


def proxy(given: str) -> str:
    """Return the version of the PROXY protocol."""
    if given not in ("v1", "v2"):
        raise UsageFault("proxy", f"{quoted(given)} is neither v1 nor v2")
    return given


def tls_min(given: str) -> str:
    """Return the lowest TLS version."""
    if given not in ("1.0", "1.1", "1.2", "1.3"):
        raise UsageFault("tls-min", f"{quoted(given)} is not one of 1.0, 1.1, 1.2, 1.3")
    return given


def is_name(text: str) -> bool:
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


def is_label(text: str) -> bool:
    """Whether ``text`` can be one label of a host name."""
    return "." not in text and is_name(f"{text}.test")


def has_key(given: str) -> bool:
    """Whether the zone of a ``--dnsbl`` needs the customer's key."""
    return KEY_LABEL in given.partition("/")[0].partition("=")[0].split(".")


def is_digits(text: str) -> bool:
    """Whether ``text`` is made of ASCII digits only."""
    return text.isascii() and text.isdigit()
