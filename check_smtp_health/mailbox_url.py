"""``--mailbox``: a mailbox as a URL, and the name that IMAP has for its folder. Reads nothing."""

from __future__ import annotations

import base64
import re

from check_smtp_health import arguments
from check_smtp_health.errors import UsageFault
from check_smtp_health.text import escaped, quoted
from check_smtp_health.values import NamedTuple

PORTS = {"imap": 143, "imaps": 993, "pop3": 110, "pop3s": 995}
"""Each scheme's own port (RFC 8314 section 7.3 for those with TLS from the first byte)."""


class Mailbox(NamedTuple):
    """Where a message is looked for; ``folder`` is empty with POP3, which has none.

    ``host`` is as it was given, ``ascii`` the same for the network.
    """

    scheme: str
    user: str
    host: str
    ascii: str
    port: int
    folder: str

    @property
    def account(self) -> tuple[str, str]:
        """What several folders may have in common."""
        return self.user, self.ascii

    @property
    def is_imap(self) -> bool:
        """Whether it speaks IMAP, and not POP3."""
        return self.scheme.startswith("imap")

    @property
    def has_tls(self) -> bool:
        """Whether TLS begins with the first byte."""
        return self.scheme.endswith("s")

    def __str__(self) -> str:
        folder = f"/{self.folder}" if self.folder else ""
        return escaped(f"{self.user}@{self.host}{folder}")


def parse(given: str) -> Mailbox:
    """Return the mailbox of a URL, such as ``imaps://user@host:993/Folder``.

    The last ``@`` before the folder ends the user, who may have others; ``%`` escapes are undone.

    Raises:
        UsageFault: it is none, or holds a password.
    """
    scheme, _, rest = given.partition("://")
    scheme = scheme.lower()
    if scheme not in PORTS:
        # What was given is not repeated, for it may hold a password.
        known = ", ".join(f"{name}://" for name in PORTS)
        raise UsageFault("mailbox", f"must begin with one of {known}")
    authority, _, path = rest.partition("/")
    userinfo, at, where = authority.rpartition("@")
    if ":" in userinfo or (not at and ":" in rest.rpartition("@")[0]):
        raise UsageFault(
            "mailbox",
            "holds a password, which everybody could see: use --mailbox-pass-file FILE "
            "(a ':' in a user name is %3A, a '/' %2F)",
        )
    user, folder = _decoded(given, userinfo), _decoded(given, path)
    if not user:
        raise UsageFault("mailbox", f"{quoted(given)} names no user (USER@HOST)")
    if scheme.startswith("pop3") and folder:
        raise UsageFault("mailbox", f"{quoted(given)} names a folder, and POP3 has none")
    match = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::(\d{1,5}))?", where)
    if match is None:
        raise UsageFault("mailbox", f"{quoted(given)} names no HOST[:PORT] (IPv6 in brackets)")
    port = int(match[2]) if match[2] else PORTS[scheme]
    if not 1 <= port <= 65535:
        raise UsageFault("mailbox", f"'{port}' is not a port (1 to 65535)")
    try:
        host = arguments.host(match[1])
    except UsageFault as fault:
        raise UsageFault("mailbox", fault.problem) from fault
    folder = folder or ("INBOX" if scheme.startswith("imap") else "")
    return Mailbox(scheme, user, host.given, host.ascii.rstrip("."), port, folder)


def _decoded(given: str, part: str) -> str:
    """Return a part of the URL with its percent signs taken for what they stand for."""
    if re.search("%(?![0-9A-Fa-f]{2})", part):
        raise UsageFault("mailbox", f"{quoted(given)} has a '%' without two hex digits (it is %25)")
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
        raise UsageFault("mailbox", f"{quoted(given)} holds what is not printable text")
    return text


def imap_name(folder: str) -> str:
    """Return a folder's name as IMAP has it: modified UTF-7 (RFC 3501 section 5.1.3), in quotes."""
    name = re.sub(r"&|[^\x20-\x7e]+", _shifted, folder)
    name = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}"'


def _shifted(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    code = base64.b64encode(match[0].encode("utf-16-be")).decode("ascii")
    return f"&{code.rstrip('=').replace('/', ',')}-"
