"""Looks for one message in all mailboxes of a run until it is there, and deletes it."""

from __future__ import annotations

from check_smtp_health.config.mailbox_url import SCHEMES
from check_smtp_health.errors import Bounced, SessionFault, TimedOut, Undelivered, Untrusted
from check_smtp_health.loading import load
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.driver import Deadline
from check_smtp_health.net.operations import Timestamped
from check_smtp_health.net.wire import pause as sleep
from check_smtp_health.roundtrip.mailbox import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.config.mailbox_url import Mailbox
    from check_smtp_health.config.settings import Secret
    from check_smtp_health.net.tls import Trust
    from check_smtp_health.roundtrip.mailbox import Reader
    from check_smtp_health.roundtrip.matching import FoundMessage, MessageQuery

SETTLE = 0.3
"""Seconds between the message's arrival and a last look, for one that comes twice."""

GROWTH = 1.5
"""Factor by which the pause between two looks grows."""

LEAST = 0.1
"""Seconds that are kept for the last look."""

_CERTIFICATES = {
    "expired": "has expired",
    "not yet valid": "is not valid yet",
    "wrong name": "is for another name, try --no-verify",
}


class Arrival(NamedTuple):
    """What was seen: where each copy was, and the first one's header.

    ``notes`` are what there is to say of the clean-up; ``left`` is a problem and the server's words
    for each mailbox in which there was none.
    """

    places: tuple[Mailbox, ...]
    header: bytes
    notes: tuple[str, ...]
    left: tuple[tuple[str, bytes], ...]


class Search:
    """Looks into these mailboxes; the first one of an account is where its mail belongs."""

    def __init__(
        self,
        mailboxes: Sequence[Mailbox],
        password: Secret,
        trust: Trust,
        *,
        may_show_password: bool,
    ) -> None:
        for mailbox in mailboxes:
            load(SCHEMES[mailbox.scheme].reader)  # no import falls into the timed stage
        self._mailboxes = mailboxes
        self._password = password
        self._trust = trust
        self._may_show_password = may_show_password

    def __call__(self, query: MessageQuery, seconds: float) -> Timestamped:
        """Return an ``Arrival``, dated when each account had the message. Blocks.

        Raises:
            Undelivered: that was not so within ``seconds``.
            Bounced: a notification came instead.
            SessionFault: a mailbox cannot be looked into.
        """
        deadline = Deadline(seconds)
        readers = [self._reader(mailbox, deadline) for mailbox in self._mailboxes]
        try:
            found = _await(readers, query, deadline)
            moment = deadline.clock()
            sleep(min(SETTLE, deadline.remaining() / 2))
            notes, left = _clean_up(readers, found, query)
            places = [mailbox for mailbox, copies in zip(self._mailboxes, found) for _ in copies]
            (header, *_) = (copy.header for copies in found for copy in copies)
            return Timestamped(Arrival(tuple(places), header, tuple(notes), tuple(left)), moment)
        finally:
            for reader in readers:
                reader.drop()

    def _reader(self, mailbox: Mailbox, deadline: Deadline) -> Reader:
        access = Access(mailbox, self._password, self._trust, self._may_show_password, deadline)
        reader: Reader = load(SCHEMES[mailbox.scheme].reader)(access)
        return reader


def _await(
    readers: list[Reader], query: MessageQuery, deadline: Deadline
) -> list[list[FoundMessage]]:
    """Return the copies in each mailbox, once each account has one."""
    found: list[list[FoundMessage]] = [[] for _ in readers]
    missing = {reader.mailbox.account for reader in readers}
    pause = max(reader.first_pause for reader in readers)
    longest = max(reader.longest_pause for reader in readers)
    is_first = True
    while True:
        for rank, reader in enumerate(readers):
            if reader.mailbox.account in missing:
                found[rank] = _look(reader, query, is_first=is_first)
        missing -= {reader.mailbox.account for reader, copies in zip(readers, found) if copies}
        if not missing:
            return found
        left = deadline.remaining() - LEAST
        if left <= 0:
            waiting = [reader for reader in readers if reader.mailbox.account in missing]
            raise _undelivered(waiting, deadline.seconds)
        sleep(min(pause, left))
        pause = min(pause * GROWTH, longest)
        is_first = False


def _look(reader: Reader, query: MessageQuery, *, is_first: bool) -> list[FoundMessage]:
    """Look once, and have every fault name the mailbox."""
    name = str(reader.mailbox)
    try:
        copies = reader.look(query)
        said = None if copies else reader.bounce(query)
    except TimedOut as fault:
        if not is_first:
            raise _undelivered([reader], reader.access.deadline.seconds) from fault
        raise Undelivered(fault.problem, reader.last, subject=name) from fault
    except Untrusted as fault:
        problem = _CERTIFICATES.get(fault.why, f"{fault.why}, try --ca-file or --no-verify")
        fault.problem, fault.subject = f"certificate {problem}", name
        raise
    except SessionFault as fault:
        fault.subject = name
        raise
    if said is not None:
        raise Bounced(f"failed, says a notification in {name}", said)
    return copies


def _undelivered(readers: list[Reader], seconds: float) -> Undelivered:
    names = ", ".join(str(reader.mailbox) for reader in readers)
    locked = [reader for reader in readers if reader.locked]
    if locked:
        name = str(locked[0].mailbox)
        return Undelivered(f"locked for {seconds:g} s", locked[0].locked, subject=name)
    return Undelivered(f"not in {names} within {seconds:g} s")


def _clean_up(
    readers: list[Reader], found: list[list[FoundMessage]], query: MessageQuery
) -> tuple[list[str], list[tuple[str, bytes]]]:
    """Look a last time, delete what is ours, and return notes and what went wrong.

    The message has been seen, and nothing that happens from here on changes that.
    """
    newest = next(copies[0] for copies in found if copies)
    notes: list[str] = []
    left: list[tuple[str, bytes]] = []
    for rank, reader in enumerate(readers):
        try:
            copies = reader.look(query)
            stale = reader.stale(query, newest)
            note = reader.remove(copies + stale) if copies or stale else ""
            reader.close()
        except SessionFault as fault:
            left.append((f"not deleted from {reader.mailbox}: {fault.problem}", fault.said))
            continue
        found[rank] = copies or found[rank]
        if stale:
            notes.append(f"{reader.mailbox}: {len(stale)} stale deleted")
        if note:
            notes.append(f"{reader.mailbox}: {note}")
        if reader.locked:
            left.append((f"not deleted from {reader.mailbox}: locked", reader.locked))
    return notes, left
