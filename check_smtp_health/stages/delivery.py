"""DATA and what becomes of it: the message goes in, and is seen in its mailbox.

Loaded only by runs that send a message.
"""

from __future__ import annotations

from check_smtp_health import header
from check_smtp_health.errors import TimedOut, Undelivered
from check_smtp_health.net.stamp import stamp
from check_smtp_health.net.wishes import Call, Write
from check_smtp_health.observation import Delivery, Finding
from check_smtp_health.smtp import message, sasl
from check_smtp_health.smtp.session import dotted
from check_smtp_health.sought import Sought
from check_smtp_health.stages.greeting import own_name
from check_smtp_health.stages.transaction import begin_again, refused
from check_smtp_health.stages.visit import Post, ask, due, listen, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.net.search import Arrival
    from check_smtp_health.settings import Settings
    from check_smtp_health.smtp.reply import Reply
    from check_smtp_health.stages.visit import Run, Visit

MARGIN = 0.2
"""Seconds by which the search may overrun: its own word tells more than that it was cut short."""


def post(settings: Settings) -> Post:
    """Return what it takes to send a message and find it again, all imports done.

    Raises:
        UsageFault: a file of authorities cannot be used.
    """
    if not settings.mailboxes:
        return Post(stamp)
    from check_smtp_health.net.search import Search
    from check_smtp_health.net.tls import Trust

    assert settings.mailbox_password is not None
    search = Search(
        settings.mailboxes,
        settings.mailbox_password.reveal(),
        Trust(settings),
        may_show_password=settings.auth_insecure,
    )
    return Post(stamp, search)


def data(visit: Visit) -> Run:
    """Hand the message over, to the recipients that were accepted."""
    settings, session = visit.settings, visit.session
    assert visit.kit.post is not None
    if visit.is_tainted:
        yield from begin_again(visit)
    reply = yield from ask(visit, "DATA")
    due(reply, 354)
    visit.is_in_transaction = False
    token, date = visit.kit.post.stamp()
    sender, name = settings.reverse_path or "", own_name(visit)
    text = message.compose(token, date, sender, visit.accepted, name)
    if settings.greeting == "LHLO":
        # RFC 2033 section 4.2: a reply for each recipient, in their order.
        session.further = len(visit.accepted) - 1
    reply = yield from send(visit, Write(dotted(text)))
    if settings.greeting != "LHLO":
        due(reply, 250)
    else:
        yield from _each(visit, reply)
    if visit.accepted:
        visit.sent = Sought(
            message.TOKEN,
            token,
            message.RECIPIENTS,
            tuple(message.mark(address) for address in settings.recipients),
            len(text),
        )
        visit.receipt = reply.raw


def _each(visit: Visit, first: Reply) -> Run:
    """Take LMTP's replies; those who were refused after all are no recipients any more."""
    for index, address in enumerate(tuple(visit.accepted)):
        reply = first if index == 0 else (yield from listen(visit))
        if reply.code != 250:
            visit.accepted.remove(address)
            refused(visit, reply, address)


def delivery(visit: Visit) -> Run:
    """Wait until the message is in its mailbox."""
    settings, sought = visit.settings, visit.sent
    assert visit.kit.post is not None
    assert visit.kit.post.search is not None
    assert settings.mailbox_password is not None
    assert sought is not None
    password = settings.mailbox_password.reveal()
    visit.secrets += [sasl.octets(password)]
    visit.secrets += [
        sasl.encode(sasl.octets(f"\0{mailbox.user}\0{password}")) for mailbox in settings.mailboxes
    ]
    seconds = settings.delivery_timeout
    try:
        arrival: Arrival = yield Call(
            visit.kit.post.search, (sought, seconds), limit=seconds + MARGIN, outlives=True
        )
    except TimedOut as fault:
        problem = f"no answer within {seconds:g} s, although accepted"
        raise Undelivered(problem, visit.receipt) from fault
    except Undelivered as fault:
        if not fault.said:
            fault.problem += ", although accepted"
            fault.said = visit.receipt
        raise
    fields = header.fields(visit.masked(arrival.header))
    verdicts = header.verdicts(fields)
    visit.delivery = Delivery(
        tuple(str(place) for place in dict.fromkeys(arrival.places)),
        header.hops(fields),
        verdicts,
        header.spam(fields),
        arrival.notes,
    )
    visit.findings += _findings(visit, arrival, dict(verdicts))


def _findings(visit: Visit, arrival: Arrival, verdicts: dict[str, str]) -> list[Finding]:
    settings, places = visit.settings, arrival.places
    found = []
    home = {mailbox.account: mailbox for mailbox in reversed(settings.mailboxes)}
    misplaced = [str(place) for place in places if home[place.account] != place]
    if misplaced:
        found.append(Finding("misplaced", f"came into {', '.join(dict.fromkeys(misplaced))}"))
    # Several recipients may have one mailbox, and each account has a right to a copy.
    if len(places) > max(len(visit.accepted), len(home)):
        names = ", ".join(dict.fromkeys(map(str, places)))
        found.append(Finding("duplicated", f"came {len(places)} times into {names}"))
    for method in settings.require_auth_results:
        result = verdicts.get(method)
        if result != "pass":
            problem = f"no result of {method}" if result is None else f"{method} is {result}"
            found.append(Finding("unauthenticated", problem))
    found += [Finding("undeleted", problem, said) for problem, said in arrival.left]
    return found
