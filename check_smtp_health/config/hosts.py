"""What names a server: a host, its port, its addresses; one text in, one value out.

Reads and sends nothing. Rules between options are in ``build``.
"""

from __future__ import annotations

import re

from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.report import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    _T = TypeVar("_T")

FQDN_LIMIT = 255
"""Octets of a domain (RFC 5321 section 4.5.3.1.2)."""

LABEL_LIMIT = 63
"""Octets between two dots of a host name (RFC 1035 section 2.3.4)."""

PATH_LIMIT = 107
"""Bytes of a Unix socket's path (sun_path of unix(7), its NUL left out)."""

DNS_PORT = 53

PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "lmtp": 24}
"""Ports by name: IANA's, and for LMTP, which has none there, the one that servers document."""

# An IPv6 address may end in an interface: fe80::1%eth0.
_SCOPED = r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9._-]+)?"


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
        if version == 6 and "%" not in bare and _needs_scope(bare):
            problem = f"{quoted(given)} needs its interface, as in {bare}%eth0"
            raise UsageFault("hostname", problem)
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


def _needs_scope(address: str) -> bool:
    """Whether an IPv6 address says nothing without its link (RFC 4007 section 11)."""
    import ipaddress  # it has been: see ``ip_version``

    return ipaddress.ip_address(address).is_link_local


def port(given: str | None) -> int | None:
    """Return the port, None where none is given."""
    if given is None:
        return None
    if given.lower() in PORTS:
        return PORTS[given.lower()]
    if not is_port(given):
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
    if not is_port(digits):
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
    found = place(name, digits)
    if found is None:
        raise UsageFault("control", f"{quoted(given)} is not HOST or HOST:PORT")
    return Control(*found)


def place(given: str, digits: str) -> tuple[Host, int] | None:
    """Return the host and the port that two texts name, None where they name none."""
    try:
        found = host(given)
    except UsageFault:
        return None
    return (found, int(digits)) if found.kind != "socket" and is_port(digits) else None


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


def is_port(text: str) -> bool:
    """Whether ``text`` is the number of a port."""
    return is_digits(text) and len(text) <= 5 and 1 <= int(text) <= 65535


def is_digits(text: str) -> bool:
    """Whether ``text`` is made of ASCII digits only."""
    return text.isascii() and text.isdigit()
