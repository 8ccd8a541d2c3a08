"""Looks for one message in all mailboxes of a run until it is there, and deletes it."""

from __future__ import annotations

import time

from check_smtp_health.errors import Bounced, SessionFault, TimedOut, Undelivered, Untrusted
from check_smtp_health.net.deadline import Deadline
from check_smtp_health.net.imap import Imap
from check_smtp_health.net.mailbox import Access
from check_smtp_health.net.pop3 import Pop3
from check_smtp_health.net.wishes import Dated
from check_smtp_health.values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.mailbox_url import Mailbox
    from check_smtp_health.net.mailbox import Reader
    from check_smtp_health.net.tls import Trust
    from check_smtp_health.sought import Copy, Sought

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
        self, mailboxes: Sequence[Mailbox], password: str, trust: Trust, *, may_show_password: bool
    ) -> None:
        self._mailboxes = mailboxes
        self._password = password
        self._trust = trust
        self._may_show_password = may_show_password

    def __call__(self, sought: Sought, seconds: float) -> Dated:
        """Return an ``Arrival``, dated when each account had the message. Blocks.

        Raises:
            Undelivered: that was not so within ``seconds``.
            Bounced: a notification came instead.
            SessionFault: a mailbox cannot be looked into.
        """
        deadline = Deadline(seconds)
        readers = [self._reader(mailbox, deadline) for mailbox in self._mailboxes]
        try:
            found = _await(readers, sought, deadline)
            moment = deadline.clock()
            time.sleep(min(SETTLE, deadline.remaining() / 2))
            notes, left = _clean_up(readers, found, sought)
            places = [mailbox for mailbox, copies in zip(self._mailboxes, found) for _ in copies]
            (header, *_) = (copy.header for copies in found for copy in copies)
            return Dated(Arrival(tuple(places), header, tuple(notes), tuple(left)), moment)
        finally:
            for reader in readers:
                reader.drop()

    def _reader(self, mailbox: Mailbox, deadline: Deadline) -> Reader:
        access = Access(mailbox, self._password, self._trust, self._may_show_password, deadline)
        return Imap(access) if mailbox.is_imap else Pop3(access)


def _await(readers: list[Reader], sought: Sought, deadline: Deadline) -> list[list[Copy]]:
    """Return the copies in each mailbox, once each account has one."""
    found: list[list[Copy]] = [[] for _ in readers]
    missing = {reader.mailbox.account for reader in readers}
    pause = max(reader.first_pause for reader in readers)
    longest = max(reader.longest_pause for reader in readers)
    is_first = True
    while True:
        for rank, reader in enumerate(readers):
            if reader.mailbox.account in missing:
                found[rank] = _look(reader, sought, is_first=is_first)
        missing -= {reader.mailbox.account for reader, copies in zip(readers, found) if copies}
        if not missing:
            return found
        left = deadline.remaining() - LEAST
        if left <= 0:
            waiting = [reader for reader in readers if reader.mailbox.account in missing]
            raise _undelivered(waiting, deadline.seconds)
        time.sleep(min(pause, left))
        pause = min(pause * GROWTH, longest)
        is_first = False


def _look(reader: Reader, sought: Sought, *, is_first: bool) -> list[Copy]:
    """Look once, and have every fault name the mailbox."""
    name = str(reader.mailbox)
    try:
        copies = reader.look(sought)
        said = None if copies else reader.bounce(sought)
    except TimedOut as fault:
        if not is_first:
            raise _undelivered([reader], reader.access.deadline.seconds) from fault
        raise Undelivered(f"{name}: {fault.problem}", reader.last) from fault
    except Untrusted as fault:
        problem = _CERTIFICATES.get(fault.reason, f"{fault.reason}, try --ca-file or --no-verify")
        fault.problem = f"{name}: certificate {problem}"
        raise
    except SessionFault as fault:
        fault.problem = f"{name}: {fault.problem}"
        raise
    if said is not None:
        raise Bounced(f"failed, says a notification in {name}", said)
    return copies


def _undelivered(readers: list[Reader], seconds: float) -> Undelivered:
    names = ", ".join(str(reader.mailbox) for reader in readers)
    locked = [reader for reader in readers if reader.locked]
    if locked:
        return Undelivered(f"{locked[0].mailbox}: locked for {seconds:g} s", locked[0].locked)
    return Undelivered(f"not in {names} within {seconds:g} s")


def _clean_up(
    readers: list[Reader], found: list[list[Copy]], sought: Sought
) -> tuple[list[str], list[tuple[str, bytes]]]:
    """Look a last time, delete what is ours, and return notes and what went wrong.

    The message has been seen, and nothing that happens from here on changes that.
    """
    newest = next(copies[0] for copies in found if copies)
    notes: list[str] = []
    left: list[tuple[str, bytes]] = []
    for rank, reader in enumerate(readers):
        try:
            copies = reader.look(sought)
            stale = reader.stale(sought, newest)
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
