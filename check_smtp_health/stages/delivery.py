"""DATA and what becomes of it: the message goes in, and is seen in its mailbox.

Loaded only by runs that send a message.
"""

from __future__ import annotations

from check_smtp_health.faults import Undelivered
from check_smtp_health.net.operations import Write
from check_smtp_health.report import Finding
from check_smtp_health.report.delivery import Delivery
from check_smtp_health.roundtrip import header, message
from check_smtp_health.roundtrip.matching import MessageQuery
from check_smtp_health.smtp.session import dotted
from check_smtp_health.stages.greeting import own_name
from check_smtp_health.stages.state import Held, RoundTripTools, ask, listen, require_code, send
from check_smtp_health.stages.transaction import begin_again, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.accounts import RoundTrip
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Reason
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.roundtrip.search import Arrival
    from check_smtp_health.smtp.session import Reply
    from check_smtp_health.stages.state import ProbeState, StageRun


def tools(settings: Settings) -> RoundTripTools:
    """Return what sending a message and finding it again takes, all imports done.

    Raises:
        UsageFault: a file of authorities cannot be used.
    """
    roundtrip = _roundtrip(settings)
    if not roundtrip.mailboxes:
        return RoundTripTools(message.stamp)
    from check_smtp_health.roundtrip.search import Search
    from check_smtp_health.stages.encryption import made, need_reader_of, tls_options

    assert roundtrip.password is not None
    options = tls_options(settings)
    need_reader_of(options)
    search = Search(
        roundtrip.mailboxes,
        roundtrip.password,
        made(options),
        may_show_password=roundtrip.may_show_password,
        family=settings.endpoint.family,
        source=settings.endpoint.source,
        clean=roundtrip.clean,
        by_token=roundtrip.oauth is not None,
        fetches_whole=settings.policies.need_message,
    )
    return RoundTripTools(message.stamp, search)


def _roundtrip(settings: Settings) -> RoundTrip:
    assert settings.roundtrip is not None
    return settings.roundtrip


def data(state: ProbeState) -> StageRun:
    """Hand the message over, to the recipients that were accepted."""
    settings, transaction = state.settings, state.transaction
    assert state.prepared.roundtrip is not None
    if transaction.is_tainted:
        yield from begin_again(state)
    reply = yield from ask(state, "DATA")
    require_code(reply, 354)
    transaction.is_open = False
    token, date = state.prepared.roundtrip.stamp()
    sender, name = settings.transaction.reverse_path or "", own_name(state)
    text = message.compose(token, date, sender, transaction.accepted, name)
    is_lmtp = settings.greeting.verb == "LHLO"
    if is_lmtp:
        # RFC 2033 section 4.2: a reply for each recipient, in their order.
        state.connection.session.extra_replies_expected = len(transaction.accepted) - 1
    reply = yield from send(state, Write(dotted(text)))
    query = MessageQuery(
        message.TOKEN,
        token,
        message.RECIPIENTS,
        tuple(message.mark(address) for address in settings.transaction.recipients),
        len(text),
        f"<{token}@{name}>",
        _roundtrip(settings).takes_replies,
    )
    if is_lmtp:
        yield from _each(state, reply, query)
        return
    require_code(reply, 250)
    transaction.sent, transaction.receipt = query, reply.raw


def _each(state: ProbeState, first: Reply, query: MessageQuery) -> StageRun:
    """Take LMTP's replies; those who were refused after all are no recipients any more.

    Whatever comes between two of them, those before it have the message: it is looked for.
    """
    transaction = state.transaction
    waiting, transaction.accepted = transaction.accepted, []
    for index, address in enumerate(waiting):
        reply = first if index == 0 else (yield from listen(state))
        if reply.code == 250:
            transaction.accepted.append(address)
            transaction.sent, transaction.receipt = query, reply.raw
        else:
            refused(state, reply, address)


def delivery(state: ProbeState) -> StageRun:
    """Wait until the message is in its mailbox."""
    roundtrip = _roundtrip(state.settings)
    arrival = yield from _found(state, roundtrip.timeout)
    fields = header.fields(state.mask.applied(arrival.header))
    results = header.authentication_results(fields)
    state.delivery = Delivery(
        tuple(str(place) for place in dict.fromkeys(arrival.places)),
        header.hops(fields),
        results,
        header.spam(fields),
        arrival.notes,
        tuple(dict.fromkeys(arrival.certificates)),
    )
    state.came = arrival.wholes
    folders = dict.fromkeys(place.folder or place.host.given for place in arrival.places)
    state.held.append(Held(f"delivered to {' and '.join(folders)}", is_timed=True))
    state.find(*_findings(state, arrival, dict(results)))
    required = roundtrip.require_auth_results
    if required and not any(one.kind == "unauthenticated" for one in state.findings):
        state.held.append(Held(f"{', '.join(map(str.upper, required))} pass"))


def _found(state: ProbeState, seconds: float) -> Procedure[Arrival]:
    tools, transaction = state.prepared.roundtrip, state.transaction
    assert tools is not None
    assert tools.search is not None
    assert transaction.sent is not None
    # Others are there for policies or MX records, too: nobody named them for hosts.
    servers = state.prepared.servers if state.settings.endpoint.nameservers else None
    try:
        return (yield from tools.search.run(transaction.sent, seconds, servers))
    except Undelivered as fault:
        if not (fault.said or fault.subject):  # whoever did not answer is not behind the receipt
            fault.problem += ", although accepted"
            fault.said = transaction.receipt
        raise


def _findings(state: ProbeState, arrival: Arrival, results: dict[str, str]) -> list[Finding]:
    roundtrip, places = _roundtrip(state.settings), arrival.places
    found = []
    home = {mailbox.account: mailbox for mailbox in reversed(roundtrip.mailboxes)}
    misplaced = [str(place) for place in places if home[place.account] != place]
    if misplaced:
        found.append(Finding("misplaced", f"came into {', '.join(dict.fromkeys(misplaced))}"))
    # Several recipients may have one mailbox, and each account has a right to a copy.
    # There may be as many answers as somebody likes to give.
    count = len(places) - arrival.answers
    if count > max(len(state.transaction.accepted), len(home)):
        names = ", ".join(dict.fromkeys(map(str, places)))
        found.append(Finding("duplicated", f"came {count} times into {names}"))
    for method in roundtrip.require_auth_results:
        result = results.get(method)
        if result != "pass":
            problem = f"no result of {method}" if result is None else f"{method} is {result}"
            # Of what was not looked up, neither the sender nor its domain is the cause.
            reason: Reason = "various" if result in (None, "temperror") else ""
            found.append(Finding("unauthenticated", problem, reason=reason))
    found += [Finding("undeleted", problem, said) for problem, said in arrival.left]
    return found
