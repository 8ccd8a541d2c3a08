"""Looks for one message in all mailboxes of a run until it arrives, and deletes it.

Each account is a procedure with a connection of its own, and all are served at the same time. What
ends one, ends the others at their next look: the answer is known.
"""

from __future__ import annotations

from check_smtp_health.config.mailbox_url import SCHEMES
from check_smtp_health.errors import Expired, Interrupted, SessionFault, Untrusted
from check_smtp_health.faults import Bounced, NotNow, Undelivered
from check_smtp_health.loading import load
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.operations import Pause, Timestamped, Watch, Within, untimed
from check_smtp_health.net.way import Way
from check_smtp_health.report import duration
from check_smtp_health.roundtrip.authentication import mechanisms
from check_smtp_health.roundtrip.mailbox import Access, Whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from check_smtp_health.config.accounts import Secret
    from check_smtp_health.config.mailbox_url import Mailbox
    from check_smtp_health.errors import Why
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure, TimedProcedure
    from check_smtp_health.net.trust import Trust
    from check_smtp_health.report.tls import Certificate
    from check_smtp_health.roundtrip.mailbox import Reader
    from check_smtp_health.roundtrip.matching import MessageQuery

SETTLE = 0.3
"""Seconds between the message's arrival and a last look, for one that comes twice."""

GROWTH = 1.5
"""Factor by which the pause between two looks grows."""

LEAST = 0.1
"""Seconds that are kept for the last look."""

_CERTIFICATES: dict[Why, str] = {
    "expired": "has expired",
    "not yet valid": "is not valid yet",
}


class Arrival(NamedTuple):
    """What was seen: where each copy was, and the first one's header.

    ``notes`` are what there is to say of each account's times and clean-up; ``left`` is a problem
    and the server's words for each folder in which there was one. Of the copies ``answers`` are
    messages that answer ours. ``wholes`` has each account's copy as it is, by where it was, where
    that is wanted.
    """

    places: tuple[Mailbox, ...]
    header: bytes
    notes: tuple[str, ...]
    left: tuple[tuple[str, bytes], ...]
    answers: int = 0
    certificates: tuple[Certificate, ...] = ()
    wholes: tuple[tuple[Mailbox, Whole], ...] = ()


class Search:
    """Looks into these mailboxes; the first one of an account is where its mail belongs.

    ``family`` and ``source`` are what holds for every connection of the run. ``clean`` are further
    folders of the same accounts, from which copies are deleted. With ``fetches_whole`` the message
    itself is wanted, too. ``by_token`` says that the password is an access token.
    """

    def __init__(  # noqa: PLR0913
        self,
        mailboxes: Sequence[Mailbox],
        password: Secret,
        trust: Trust,
        *,
        may_show_password: bool = False,
        family: int | None = None,
        source: str | None = None,
        clean: Sequence[Mailbox] = (),
        fetches_whole: bool = False,
        by_token: bool = False,
    ) -> None:
        accounts: dict[tuple[str, str, int], list[Mailbox]] = {}
        for mailbox in mailboxes:
            load(SCHEMES[mailbox.scheme].reader)  # no import falls into the timed stage
            accounts.setdefault(mailbox.account, []).append(mailbox)
        self._accounts = [
            Access(
                tuple(places),
                password,
                trust,
                may_show_password,
                tuple(one for one in clean if one.account == account),
                fetches_whole,
                mechanisms(places[0].mechanism, by_token=by_token),
            )
            for account, places in accounts.items()
        ]
        self._family = family
        self._source = source

    def use(self, token: Secret) -> None:
        """Log in by this access token, which was not known before."""
        self._accounts = [one._replace(password=token) for one in self._accounts]

    def run(
        self, query: MessageQuery, seconds: float, servers: Servers | None
    ) -> Procedure[Arrival]:
        """Return what was seen, once each account had the message; that is the outcome's moment.

        Raises:
            Undelivered: that was not so within ``seconds``.
            NotNow: a mailbox put us off until then.
            Bounced: a notification came instead.
            SessionFault: a mailbox cannot be looked into.
        """
        way = Way(servers, self._family, self._source)
        progress = _Progress(seconds)
        results: list[Any] = yield Within(
            seconds, [_account(access, way, query, progress) for access in self._accounts]
        )
        faults = [result for result in results if isinstance(result, SessionFault)]
        if faults:
            raise next((one for one in faults if one is progress.fault), faults[0])
        arrivals: list[Arrival] = results
        return Arrival(
            tuple(place for one in arrivals for place in one.places),
            arrivals[0].header,
            tuple(note for one in arrivals for note in one.notes),
            tuple(problem for one in arrivals for problem in one.left),
            sum(one.answers for one in arrivals),
            tuple(found for one in arrivals for found in one.certificates),
            tuple(whole for one in arrivals for whole in one.wholes),
        )


class _Progress:
    """What the accounts have to know of each other: ``fault`` is the first that has ended one."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.fault: SessionFault | None = None


def _account(
    access: Access, way: Way, query: MessageQuery, progress: _Progress
) -> TimedProcedure[Timestamped]:
    watch = Watch()
    reader: Reader = load(SCHEMES[access.mailboxes[0].scheme].reader)(access, way, watch)
    return untimed(_through(reader, query, progress), watch)


def _through(reader: Reader, query: MessageQuery, progress: _Progress) -> Procedure[Timestamped]:
    """Wait for the message and clean up; return what was seen, dated when it was."""
    try:
        yield from _awaited(reader, query, progress)
    except SessionFault as fault:
        progress.fault = progress.fault or fault
        raise
    reader.times["seen"] = moment = reader.watch.now
    wholes: tuple[tuple[Mailbox, Whole], ...] = ()
    if reader.access.fetches_whole:
        wholes = ((reader.copies[0].place, (yield from _whole(reader, query))),)
    settle = min(SETTLE, (progress.seconds - reader.watch.elapsed) / 2)
    try:
        yield from reader.patiently(lambda: reader.clean_up(query, settle))
    except Interrupted:
        raise
    except SessionFault as fault:
        # The message has been seen, and nothing that happens from here on changes that.
        why = reader.patience.fault or fault
        reader.left.append((f"not deleted from {reader.home}: {why.problem}", why.said))
    else:
        yield from _finished(reader, query)
    answers = [copy for copy in reader.copies if not query.is_it(copy.message)]
    # The message itself comes first: it tells more.
    (first, *_) = [copy for copy in reader.copies if copy not in answers] or answers
    arrival = Arrival(
        tuple(copy.place for copy in reader.copies),
        first.message.header,
        (_times(reader), *(f"{copy.place}: an answer" for copy in answers), *reader.notes),
        tuple(reader.left),
        len(answers),
        () if reader.tls is None else reader.tls.certificates(reader.home.host.given),
        wholes,
    )
    return Timestamped(arrival, moment)


def _whole(reader: Reader, query: MessageQuery) -> Procedure[Whole]:
    """Fetch the message; that it has been seen does not depend on this."""
    try:
        return (yield from reader.whole(query))
    except Interrupted:
        raise
    except SessionFault as fault:
        yield from reader.drop()
        return Whole(b"", fault.sentence)


def _finished(reader: Reader, query: MessageQuery) -> Procedure[None]:
    try:
        yield from reader.finish(query)
    except Interrupted:
        raise
    except SessionFault as fault:
        reader.notes.append(f"{reader.home}: the clean-up ended early: {fault.problem}")


def _awaited(reader: Reader, query: MessageQuery, progress: _Progress) -> Procedure[None]:
    """Return once the message is there."""
    pause, name = reader.first_pause, str(reader.home)
    has_looked = False
    try:
        while progress.fault is None:
            copies = yield from reader.patiently(lambda: reader.look(query))
            if copies:
                reader.copies = copies
                return
            said = yield from reader.patiently(lambda: reader.bounce(query))
            if said is not None:
                raise Bounced(f"failed, according to a notification in {name}", said)
            has_looked = True
            left = progress.seconds - reader.watch.elapsed - LEAST
            if left <= 0:
                break
            wait = max(pause, reader.delay)
            if reader.delay > left:
                problem = f"the server allows one login in {reader.interval:g} s"
                raise NotNow(f"not there at once, and {problem}")
            yield Pause(min(wait, left))
            pause = min(pause * GROWTH, reader.longest_pause)
    except Expired as fault:
        if reader.patience.fault is not None:
            put_off = reader.patience.fault
            raise NotNow(put_off.problem, put_off.said, subject=name) from fault
        if not has_looked:
            hint = "" if reader.last else _hint(reader.home)
            raise Undelivered(f"{fault.problem}{hint}", reader.last, subject=name) from fault
    except Untrusted as fault:
        problem = _CERTIFICATES.get(fault.why, f"{fault.words}, try --ca-file or --no-verify")
        if fault.why == "wrong name":
            host = reader.home.host.given
            problem = f"is not for {host}, use a name in the URL that it is for, or --no-verify"
        fault.problem, fault.subject = f"certificate {problem}", name
        raise
    except (Bounced, Interrupted):
        raise
    except SessionFault as fault:
        fault.subject = fault.subject or name
        raise
    places = ", ".join(map(str, reader.access.mailboxes))
    raise Undelivered(f"not in {places} within {progress.seconds:g} s")


def _hint(mailbox: Mailbox) -> str:
    """Return what a mailbox that says nothing may be waiting for, where its port tells."""
    scheme = f"{mailbox.scheme}s"
    if scheme in SCHEMES and SCHEMES[scheme].port == mailbox.port:
        return f" (port {mailbox.port} expects TLS, try {scheme}://)"
    return ""


def _times(reader: Reader) -> str:
    """Return how long each part took of the session in which the message was seen."""
    moments = [reader.times[name] for name in ("began", "connected", "logged in", "seen")]
    moments[0] = moments[0] or reader.watch.began or 0.0
    parts = [
        f"{name} {duration(end - begin)}"
        for name, begin, end in zip(("connect", "login", "search"), moments, moments[1:])
    ]
    return f"{reader.home}: {', '.join(parts)}"
