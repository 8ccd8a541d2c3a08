"""``--mailbox``, ``--clean``: a mailbox as a URL, and IMAP's name for its folder. Reads nothing."""

from __future__ import annotations

import base64
import re

from check_smtp_health.config import hosts
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import escaped, quoted
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.report import Host


class Scheme(NamedTuple):
    """A row: how a mailbox is read, by which ``protocol``. ``reader`` is ``"module:class"``.

    ``has_tls`` says that TLS begins with the first byte; where not, it is begun by a command.
    """

    protocol: str
    port: int
    has_tls: bool
    has_folders: bool
    reader: str


_IMAP = "roundtrip.imap:Imap"
_POP3 = "roundtrip.pop3:Pop3"

# THE SCHEME TABLE, with the ports of RFC 8314 section 7.3 where TLS begins with the first byte.
SCHEMES = {
    "imap": Scheme("IMAP", 143, has_tls=False, has_folders=True, reader=_IMAP),
    "imaps": Scheme("IMAP", 993, has_tls=True, has_folders=True, reader=_IMAP),
    "pop3": Scheme("POP3", 110, has_tls=False, has_folders=False, reader=_POP3),
    "pop3s": Scheme("POP3", 995, has_tls=True, has_folders=False, reader=_POP3),
}


TOKEN_MECHANISMS = ("XOAUTH2", "OAUTHBEARER")
"""SASL mechanisms whose password is an access token."""

MECHANISMS = ("PLAIN", *TOKEN_MECHANISMS)
"""What a URL may ask for: what mailboxes are logged in to by."""

_AUTH = re.compile("(;AUTH=)", re.IGNORECASE)


class Mailbox(NamedTuple):
    """Where a message is looked for; ``folder`` is empty where the protocol has none.

    ``mechanism`` is the SASL mechanism to log in by, empty where that is left to us.
    """

    scheme: str
    user: str
    host: Host
    port: int
    folder: str
    mechanism: str = ""

    @property
    def account(self) -> tuple[str, str, int]:
        """What several folders may have in common."""
        return self.user, hosts.identity(self.host), self.port

    @property
    def has_tls(self) -> bool:
        """Whether TLS begins with the first byte."""
        return SCHEMES[self.scheme].has_tls

    @property
    def has_folders(self) -> bool:
        """Whether the protocol has any."""
        return SCHEMES[self.scheme].has_folders

    def __str__(self) -> str:
        folder = f"/{self.folder}" if self.folder else ""
        return escaped(f"{self.user}@{self.host.given}{folder}")


def parse(given: str, option: str = "mailbox") -> Mailbox:
    """Return the mailbox of a URL, such as ``imaps://user;AUTH=XOAUTH2@host:993/Folder``.

    The last ``@`` before the folder ends the user, who may have others; ``%`` escapes are undone.
    ``option`` is the one to blame.

    Raises:
        UsageFault: it is not one, or contains a password.
    """
    scheme, _, rest = given.partition("://")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        # What was given is not repeated: it may hold a password.
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise UsageFault(option, f"must begin with one of {known}")
    authority, _, path = rest.partition("/")
    userinfo, at, where = authority.rpartition("@")
    if ":" in userinfo or (not at and ":" in rest.rpartition("@")[0]):
        raise UsageFault(
            option,
            "contains a password, which everybody could see: use --mailbox-pass-file FILE "
            "(a ':' in a user name is %3A, a '/' %2F)",
        )
    userinfo, mechanism = _parted(given, userinfo, option)
    user, folder = _decoded(given, userinfo, option), _decoded(given, path, option)
    if not user:
        raise UsageFault(option, f"{quoted(given)} has no user (USER@HOST)")
    if folder and not SCHEMES[scheme].has_folders:
        protocol = SCHEMES[scheme].protocol
        raise UsageFault(option, f"{quoted(given)} names a folder, and {protocol} has none")
    match = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?", where)
    if match is None:
        raise UsageFault(option, f"{quoted(given)} has no valid HOST[:PORT] (IPv6 in brackets)")
    port = int(match[2]) if match[2] else SCHEMES[scheme].port
    if not hosts.is_port(str(port)):
        raise UsageFault(option, f"'{port}' is not a port (1 to 65535)")
    try:
        host = hosts.host(match[1])
    except UsageFault as fault:
        raise UsageFault(option, fault.problem) from fault
    folder = folder or ("INBOX" if SCHEMES[scheme].has_folders else "")
    return Mailbox(scheme, user, host, port, folder, mechanism)


def _parted(given: str, userinfo: str, option: str) -> tuple[str, str]:
    """Return the user, still encoded, and the mechanism (RFC 5092 section 3.2, RFC 2384).

    ``*`` is any, which is the same as none.
    """
    user, is_there, mechanism = (*_AUTH.split(userinfo, 1), "", "")[:3]
    name = mechanism.upper()
    if is_there and name != "*" and name not in MECHANISMS:
        known = ", ".join(MECHANISMS)
        raise UsageFault(option, f"{quoted(given)} asks for a mechanism other than {known}")
    return user, "" if name == "*" else name


def _decoded(given: str, part: str, option: str) -> str:
    """Return a part of the URL with its percent signs taken for what they stand for."""
    if re.search("%(?![0-9A-Fa-f]{2})", part):
        raise UsageFault(option, f"{quoted(given)} has a '%' without two hex digits (it is %25)")
    data = re.sub(
        b"%([0-9A-Fa-f]{2})",
        lambda match: bytes.fromhex(match[1].decode()),
        part.encode("utf-8", "surrogateescape"),
    )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable():
        raise UsageFault(option, f"{quoted(given)} contains unprintable characters")
    return text


def imap_name(folder: str) -> str:
    """Return a folder's name as IMAP has it: modified UTF-7 (RFC 3501 section 5.1.3), in quotes."""
    name = re.sub(r"&|[^\x20-\x7e]+", _shifted, folder)
    name = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}"'


def folder_of(name: bytes) -> str | None:
    """Return the folder that has this name in IMAP, without quotes; None where none can."""
    try:
        text = re.sub(
            r"&([A-Za-z0-9+,]*)-",
            lambda match: _unshifted(match[1]) if match[1] else "&",
            name.decode("utf-8"),
        )
    except ValueError:
        return None
    return text if text.isprintable() else None


def _unshifted(code: str) -> str:
    padded = code.replace(",", "/") + "=" * (-len(code) % 4)
    return base64.b64decode(padded, validate=True).decode("utf-16-be")


def _shifted(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    code = base64.b64encode(match[0].encode("utf-16-be")).decode("ascii")
    return f"&{code.rstrip('=').replace('/', ',')}-"
