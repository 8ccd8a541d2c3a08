"""A session of IMAP (RFC 3501, RFC 9051): greeting, TLS, login, and commands from then on."""

from __future__ import annotations

from abc import abstractmethod

from check_smtp_health import __version__
from check_smtp_health.errors import (
    Disconnected,
    Expired,
    LocalFault,
    NotOffered,
    SessionFault,
    TimedOut,
    Violation,
)
from check_smtp_health.faults import NotNow, Refused
from check_smtp_health.net.operations import Close
from check_smtp_health.roundtrip.authentication import Authentication, chosen, refusal, unable
from check_smtp_health.roundtrip.mailbox import (
    FAREWELL_LIMIT,
    NOT_NOW,
    Reader,
    command,
)
from check_smtp_health.roundtrip.responses import ResponseParser, quoted, words
from check_smtp_health.smtp import sasl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from check_smtp_health.net.operations import Procedure, Watch
    from check_smtp_health.net.way import Way
    from check_smtp_health.roundtrip.mailbox import Access
    from check_smtp_health.roundtrip.responses import Response
    from check_smtp_health.smtp.sasl import Mechanism

    Take = Callable[[Response], None]
    _T = TypeVar("_T")

# What is "not now" rather than "no": the codes of RFC 5530 section 3, and RFC 9051's LIMIT.
NOT_NOW_CODES = {b"UNAVAILABLE", b"INUSE", b"LIMIT", b"SERVERBUG"}

# RFC 9051 appendix E: what a server that speaks this version can do without naming it.
_REV2 = {"UIDPLUS", "SASL-IR", "SPECIAL-USE", "LIST-EXTENDED", "MOVE"}

INITIAL_LIMIT = 7 * 1024
"""Bytes of a response in the line of its command: RFC 7162 section 4 has lines of 8,192."""

ASIDE_LIMIT = 2.0
"""Seconds for a question that does not decide: a slow answer must not cost the message its time."""


class Spoilt(Disconnected):
    """The answer to what did not decide is late or nonsense: the session is of no use any more."""


class ImapSession(Reader):
    """A session, begun again where it has ended; what is looked for in it is the subclass's."""

    __slots__ = (
        *("_aside_until", "_capabilities", "_farewell", "_is_open", "_parser", "_says_id", "_tag"),
    )

    def __init__(self, access: Access, way: Way, watch: Watch) -> None:
        super().__init__(access, way, watch)
        self._aside_until: float | None = None
        self._says_id = True
        self._tag = 0
        self.forget()

    def forget(self) -> None:
        """Forget the session, which has ended."""
        self._parser = ResponseParser()
        self._capabilities: frozenset[str] = frozenset()
        self._farewell = b""
        self._is_open = False

    @property
    def last(self) -> bytes:
        """The last line that came."""
        return self._parser.last

    @abstractmethod
    def _heed(self, response: Response) -> None:
        """Take what a server may say at any time (section 7.3)."""

    def _open(self) -> Procedure[None]:
        if self._is_open:
            return
        yield from self.connect()
        is_known = yield from self._greeted()
        if not self.home.has_tls:
            yield from self._upgrade(is_known=is_known)
        self.times["connected"] = self.watch.now
        if not is_known:
            yield from self._log_in()
        self.times["logged in"] = self.watch.now
        if "ID" in self._capabilities and self._says_id:
            # RFC 2971; some open no folder for a client that has not said what it is.
            line = b'ID ("name" "check_smtp_health" "version" %s)' % quoted(__version__)
            self._says_id = False  # again only where it was answered
            yield from self._aside(self._ask(line, "ID refused"))
            self._says_id = True
        self._is_open = True

    def _greeted(self) -> Procedure[bool]:
        """Wait for the greeting (section 7.1.5); return whether the session begins logged in."""
        while (greeting := self._parser.next_response()) is None:
            self._parser.feed((yield from self.receive()))
        if greeting.tag != b"*" or greeting.name not in (b"OK", b"PREAUTH", b"BYE"):
            raise greeting.nonsense()
        if greeting.name == b"BYE":
            raise Disconnected("the server ends the session", greeting.said)
        yield from self._learn(greeting)
        return greeting.name == b"PREAUTH"

    def _upgrade(self, *, is_known: bool) -> Procedure[None]:
        if is_known or "STARTTLS" not in self._capabilities:
            if self.access.may_show_password:
                return
            # There is no STARTTLS once one is logged in (section 6.2.1), so that PREAUTH is as good
            # a way to prevent it as leaving it out.
            why = "the session begins logged in (PREAUTH)" if is_known else "it is not offered"
            raise NotOffered(f"no STARTTLS, {why}")
        yield from self._ask(b"STARTTLS", "STARTTLS refused")
        yield from self.upgrade(self._parser.unread)
        # Section 6.2.1: nothing counts that was said before.
        self._parser = ResponseParser()
        yield from self._learn()

    def _learn(self, reply: Response | None = None) -> Procedure[None]:
        """Take the capabilities that a reply bears (section 7.1), or ask for them."""
        code, found = reply.code if reply is not None else (b"", b"")
        names = words(found.split()) if code == b"CAPABILITY" else ()

        def take(response: Response) -> None:
            nonlocal names
            if response.name == b"CAPABILITY":
                names = words(response.values())

        if not names:
            yield from self._ask(b"CAPABILITY", "session refused", take)
        if not any(name.startswith("IMAP4") for name in names):
            raise Violation("not IMAP", self.last)
        implied = _REV2 if "IMAP4REV2" in names else set()
        self._capabilities = frozenset(names) | implied

    def _log_in(self) -> Procedure[None]:
        user, password = self.home.user, self.access.password.reveal()
        offered = sorted(name[5:] for name in self._capabilities if name.startswith("AUTH="))
        mechanism = self._mechanism(offered)
        login: Authentication | None = None
        if mechanism is not None:
            login = Authentication(mechanism, user, password)
            line = b"AUTHENTICATE " + mechanism.name.encode()
            asked = self._ask(line, refusal(mechanism.name), login=login)
        else:
            try:
                line = b"LOGIN %s " % quoted(user)
                secret = quoted(password)
            except ValueError:
                raise LocalFault(
                    "LOGIN cannot send this user or password, and AUTH=PLAIN is missing"
                ) from None
            asked = self._ask(line + secret, refusal("LOGIN"), shown=line + b"***")
        try:
            reply = yield from asked
        except (Refused, NotNow) as fault:
            others: list[str] = []
            is_wrong = b"[AUTHENTICATIONFAILED]" in fault.said.upper()
            if isinstance(fault, Refused) and not (is_wrong or self.access.mechanisms):
                # The password may be right, and the mechanism what is not wanted.
                others = [name for name in offered if name not in ("PLAIN", "LOGIN")]
            name = "LOGIN" if mechanism is None else mechanism.name
            fault.problem = refusal(name, others, "" if login is None else login.why)
            raise
        if login is not None:
            login.need_no_reason(self.last)
        yield from self._learn(reply)

    def _mechanism(self, offered: list[str]) -> Mechanism | None:
        """Return the mechanism to log in by, None for the command LOGIN.

        Raises:
            NotOffered: the server does not let us in by what we have.
        """
        wanted = self.access.mechanisms
        if wanted:
            return chosen(offered, wanted)
        if "PLAIN" in offered:
            return sasl.named("PLAIN")
        if "LOGINDISABLED" in self._capabilities:
            raise unable(offered)
        return None

    def _log_out(self) -> Procedure[None]:
        try:
            # CLOSE would expunge whatever is flagged (section 6.4.2); LOGOUT does not.
            yield from self._ask(b"LOGOUT", "LOGOUT refused", limit=FAREWELL_LIMIT)
        except SessionFault:
            pass  # all is done
        yield Close()

    def _aside(
        self, procedure: Procedure[_T], seconds: float = ASIDE_LIMIT
    ) -> Procedure[_T | None]:
        """Ask what does not decide; None where it is refused.

        Raises:
            Spoilt: it took more than so many seconds, or the answer was nonsense.
        """
        try:
            return (yield from self._bounded(procedure, seconds))
        except (Refused, NotNow):
            return None

    def _bounded(self, procedure: Procedure[_T], seconds: float) -> Procedure[_T]:
        """Do something in so many seconds, without asking for anything twice."""
        before = self._aside_until
        until = self.watch.now + seconds
        self._aside_until = until if before is None else min(before, until)
        try:
            return (yield from procedure)
        except Expired:
            raise
        except (TimedOut, Violation) as fault:
            raise Spoilt(fault.problem, fault.said or self.last) from fault
        finally:
            self._aside_until = before

    def _left(self, limit: float | None) -> float | None:
        """Return the seconds that there are for what comes next."""
        if self._aside_until is None:
            return limit
        left = max(self._aside_until - self.watch.now, 0.001)
        return left if limit is None else min(left, limit)

    def _ask(  # noqa: PLR0913
        self,
        line: bytes,
        problem: str,
        take: Take | None = None,
        *,
        shown: bytes | None = None,
        login: Authentication | None = None,
        limit: float | None = None,
        is_private: bool = False,
    ) -> Procedure[Response]:
        """Give a command, as often as it is refused for now only; return the reply to it.

        ``take`` is given all that comes before. ``login`` has what the server asks for, and
        ``shown`` is what takes the line's place in the transcript.

        Raises:
            Refused: the server says no.
            NotNow: it says "not now", and that it takes a new session to ask again.
        """
        has_waited = False
        while True:
            self._tag += 1
            tag = b"a%d" % self._tag
            self._parser.expect()
            said, masked = line, shown
            if login is not None:
                # RFC 4959: where it is offered, the response need not wait.
                has_room = "SASL-IR" in self._capabilities
                initial = login.begin(INITIAL_LIMIT if has_room else 0)
                said, masked = line + initial, line + b" ***" if initial else line
            masked = None if masked is None else tag + b" " + masked
            yield from self.send(command(tag + b" " + said, masked))
            reply = yield from self._reply(tag, take, login, limit, is_private=is_private)
            if reply.name == b"OK":
                if has_waited:
                    self.patience.is_rewarded()
                return reply
            if NOT_NOW.search(reply.said):
                raise NotNow(problem, reply.said)
            if reply.code[0] not in NOT_NOW_CODES:
                raise Refused(problem, reply.said)
            fault = NotNow(problem, reply.said)
            if self._aside_until is not None:
                raise fault
            yield from self.patience.wait(fault)
            has_waited = True

    def _reply(
        self,
        tag: bytes,
        take: Take | None,
        login: Authentication | None,
        limit: float | None,
        *,
        is_private: bool,
    ) -> Procedure[Response]:
        while True:
            response = self._parser.next_response()
            if response is None:
                try:
                    data = yield from self.receive(self._left(limit), is_private=is_private)
                except Disconnected as fault:
                    if self._farewell:
                        problem = "the server ends the session"
                        raise Disconnected(problem, self._farewell) from fault
                    raise
                self._parser.feed(data)
            elif response.tag == tag:
                return response
            elif response.tag == b"+":
                answer = None if login is None else login.answer(response.pieces[0])
                if answer is None:
                    raise response.nonsense()
                yield from self.send(command(answer, b"***"))
            elif response.tag != b"*":
                raise response.nonsense()
            else:
                if response.name == b"BYE":
                    self._farewell = response.said
                self._heed(response)
                if take is not None:
                    take(response)
