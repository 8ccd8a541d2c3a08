"""One folder over IMAP (imaplib): is the message there, and out with it.

A message is touched by its UID alone, and only where the caller has seen its header.
"""

from __future__ import annotations

import contextlib
import imaplib
import re

from check_smtp_health.config.mailbox_url import imap_name
from check_smtp_health.errors import (
    Disconnected,
    LocalFault,
    NotOffered,
    Refused,
    SessionFault,
    Violation,
)
from check_smtp_health.escaping import octets
from check_smtp_health.roundtrip.mailbox import Reader
from check_smtp_health.roundtrip.matching import FoundMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from check_smtp_health.net.wire import Wire
    from check_smtp_health.roundtrip.mailbox import Access
    from check_smtp_health.roundtrip.matching import MessageQuery

HEADER_LIMIT = 64 * 1024
"""Bytes fetched of one header: 100 hops and their signatures have less."""

COPIES_LIMIT = 20
"""Messages whose header is fetched, of those that the server found; the newest."""

STALE_LIMIT = 100
"""Stale messages looked at in one run; the next one goes on."""

STATUS_LIMIT = 4096
"""Bytes fetched of a delivery status notification's machine-readable part."""

RECENT = 20
"""How far back from the newest message a notification may be, which can be quicker than we are."""

_REFUSALS = {
    "authenticate": "login refused",
    "login": "login refused",
    "select": "folder refused",
    "xatom": "STARTTLS refused",
}


class _Client(imaplib.IMAP4):
    """imaplib over a wire of ours: these five are what it lets one override."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        super().__init__()

    def open(self, *_: Any, **__: Any) -> None:
        """Do nothing: the wire is up."""

    def read(self, size: int) -> bytes:
        return self._wire.read(size)

    def readline(self) -> bytes:
        line = self._wire.readline()
        # Of these digits imaplib would make a number, which takes long if they are many.
        if re.search(rb"\{\d{10,}\}\r\n\Z", line):
            raise Violation("a literal without bounds", line)
        return line

    def send(self, data: Any) -> None:
        self._wire.sendall(bytes(data))

    def shutdown(self) -> None:
        self._wire.close()


class Imap(Reader):
    """A folder, open from the first look to the last."""

    __slots__ = ("_capabilities", "_client", "_first", "_is_writable", "_seen")

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._client: Any = None
        self._capabilities: tuple[str, ...] = ()
        self._is_writable = True
        self._first = 1
        self._seen: dict[str, FoundMessage | None] = {}  # None is what only looks like it

    def look(self, query: MessageQuery) -> list[FoundMessage]:
        """Have the server search: the first time everything, then what came since."""
        since = self._first
        if self._client is None:
            self._open()
            since = 1
        else:
            self._ask("noop")
        uids = self._search(f"UID {since}:*", *_having(query.field, query.value))
        for uid in [uid for uid in uids if uid not in self._seen][:COPIES_LIMIT]:
            copy = self._copies(uid).get(uid)
            self._seen[uid] = copy if copy is not None and query.is_it(copy) else None
        return [copy for copy in self._seen.values() if copy is not None]

    def bounce(self, query: MessageQuery) -> bytes | None:
        """Have the server search what came last for a notification that quotes the token."""
        since = max(1, self._first - RECENT)
        # TEXT, for to BODY the header of a message within the message is no body.
        for uid in self._search(f"UID {since}:*", "TEXT", query.value)[:COPIES_LIMIT]:
            if any(map(query.is_notification, self._copies(uid).values())):
                for _, part in self._fetch(uid, f"BODY.PEEK[2]<0.{STATUS_LIMIT}>"):
                    said = query.reason(part)
                    if said is not None:
                        return said
        return None

    def stale(self, query: MessageQuery, newest: FoundMessage) -> list[FoundMessage]:
        """Have the server search the folder for what bears a mark of the same recipient."""
        found: dict[str, FoundMessage] = {}
        for value in query.recipient_marks:
            for uid in self._search("UNDELETED", *_having(query.marks_field, value))[-STALE_LIMIT:]:
                found.update(self._copies(uid))
        return [copy for copy in found.values() if query.is_stale(copy, newest)]

    def remove(self, copies: list[FoundMessage]) -> str:
        """Flag these as deleted, and expunge them where that takes no other."""
        if not self._is_writable:
            raise Refused("the folder is read-only")
        uids = ",".join(copy.number for copy in copies)
        self._ask("uid", "STORE", uids, "+FLAGS.SILENT", r"(\Deleted)")
        if "UIDPLUS" in self._capabilities:
            self._ask("uid", "EXPUNGE", uids)
            return ""
        # Without UIDPLUS (RFC 4315) EXPUNGE takes all that is flagged, whoever flagged it.
        if set(self._search("DELETED")) - set(uids.split(",")):
            return (
                "only flagged as deleted: others are, too, and without UIDPLUS the server would "
                "delete them as well"
            )
        self._ask("expunge")
        return ""

    def close(self) -> None:
        """Log out."""
        # CLOSE would expunge whatever is flagged; LOGOUT does not.
        if self._client is not None:
            with contextlib.suppress(SessionFault):
                self._ask("logout")
        self.drop()

    def _open(self) -> None:
        self.connect()
        with self._understood("session refused"):
            self._client = _Client(self._wire)
        self._capabilities = self._client.capabilities
        is_known = self._client.state == "AUTH"
        if not self.mailbox.has_tls:
            self._upgrade(is_known=is_known)
        if not is_known:
            self._log_in()
            self._learn()
        try:
            self._ask("select", imap_name(self.mailbox.folder))
        except _ReadOnly:
            self._client.is_readonly = True
            self._is_writable = False
        self._first = self._uid_next()

    def _upgrade(self, *, is_known: bool) -> None:
        if is_known or "STARTTLS" not in self._capabilities:
            if self.access.may_show_password:
                return
            # There is no STARTTLS once one is logged in (RFC 3501 section 6.2.1), so that PREAUTH
            # is as good a way to prevent it as leaving it out.
            why = "the session begins logged in (PREAUTH)" if is_known else "it is not offered"
            raise NotOffered(f"no STARTTLS, {why}")
        self._ask("xatom", "STARTTLS")
        self._wire.start_tls(self.access.trust, self.mailbox.host.dns_name, is_upgrade=True)
        # RFC 3501 section 6.2.1: nothing counts that was said before.
        self._client.untagged_responses = {}
        self._learn()

    @property
    def _wire(self) -> Wire:
        assert self.wire is not None
        return self.wire

    def _learn(self) -> None:
        lines = [line for line in self._ask("capability") if isinstance(line, bytes)]
        words = lines[-1].decode("ascii", "replace") if lines else ""
        self._capabilities = tuple(words.upper().split())

    def _log_in(self) -> None:
        user, password = self.mailbox.user, self.access.password.reveal()
        if "AUTH=PLAIN" in self._capabilities:
            response = octets(f"\0{user}\0{password}")
            self._ask("authenticate", "PLAIN", lambda challenge: response)
            return
        if "LOGINDISABLED" in self._capabilities:
            raise NotOffered("neither LOGIN nor AUTH=PLAIN is offered")
        # imaplib quotes the password alone.
        is_sane = re.fullmatch(r'[^\x00-\x20(){%*"\\\]\x7f-\U0010ffff]+', user)
        if not is_sane or not (password.isascii() and password.isprintable()):
            raise LocalFault("LOGIN cannot send this user or password, and AUTH=PLAIN is missing")
        self._ask("login", user, password)

    def _uid_next(self) -> int:
        _, data = self._client.response("UIDNEXT")
        digits = data[-1] if data and isinstance(data[-1], bytes) else b""
        return int(digits) if re.fullmatch(rb"\d{1,10}", digits) else 1

    def _search(self, *criteria: str) -> list[str]:
        """Return the UIDs that the server finds, newest first."""
        lines = self._ask("uid", "SEARCH", *criteria)
        words = b" ".join(line for line in lines if isinstance(line, bytes)).split()
        uids = {word.decode() for word in words if re.fullmatch(rb"[1-9]\d{0,9}", word)}
        return sorted(uids, key=int, reverse=True)

    def _copies(self, uid: str) -> dict[str, FoundMessage]:
        """Return the message with that UID by it, or none where it has gone."""
        found = {}
        for attributes, data in self._fetch(
            uid, f"INTERNALDATE BODY.PEEK[HEADER]<0.{HEADER_LIMIT}>"
        ):
            date = re.search(rb'INTERNALDATE "([^"]{1,64})"', attributes)
            arrived = date[1].decode("ascii", "replace").replace("-", " ", 2) if date else ""
            found[uid] = FoundMessage(uid, data[:HEADER_LIMIT], arrived.strip())
        return found

    def _fetch(self, uid: str, what: str) -> list[tuple[bytes, bytes]]:
        """Return attributes and literal of the message with that UID, and of no other."""
        items = self._ask("uid", "FETCH", uid, f"(UID {what})")
        found = []
        for item, behind in zip(items, (*items[1:], b"")):
            if isinstance(item, tuple):
                # An attribute may stand before the literal or behind it.
                attributes = item[0] + (behind if isinstance(behind, bytes) else b"")
                if re.search(rb"\bUID %s\b" % uid.encode(), attributes):
                    found.append((attributes, item[1]))
        return found

    def _ask(self, method: str, *arguments: Any) -> list[Any]:
        """Give a command and return what came back.

        Raises:
            Refused: the server says no.
        """
        what = f"{method} {arguments[0]}" if method == "uid" else method
        refusal = _REFUSALS.get(method, f"{what.upper()} refused")
        with self._understood(refusal):
            kind, data = getattr(self._client, method)(*arguments)
        if kind not in ("OK", "BYE"):
            raise Refused(refusal, self._said)
        return data or []

    @contextlib.contextmanager
    def _understood(self, refusal: str) -> Iterator[None]:
        try:
            yield
        except Disconnected:
            if self.last.startswith(b"* BYE"):
                raise Disconnected("the server ends the session", self._said) from None
            raise
        except imaplib.IMAP4.readonly as error:
            raise _ReadOnly("the folder is read-only") from error
        except imaplib.IMAP4.error as error:
            if self.last.startswith(b"* BYE"):
                raise Disconnected("the server ends the session", self._said) from error
            if isinstance(error, imaplib.IMAP4.abort):
                raise Violation("not IMAP", self.last) from error
            raise Refused(refusal, self._said) from error
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            # What imaplib stumbles over in a reply that it did not expect.
            raise Violation("not IMAP", self.last) from error

    @property
    def _said(self) -> bytes:
        """The last line, without its tag."""
        return self.last.partition(b" ")[2] or self.last


class _ReadOnly(Refused):
    """A folder from which nothing can be deleted."""


def _having(field: str, value: str) -> tuple[str, ...]:
    return "HEADER", field, value
