"""What DNS blocklists say of a server's addresses, or of a domain (RFC 5782).

An answer is a listing only by its code. And a list is believed only where it lists the test point
that every list has, and not the one that none may have.
"""

from __future__ import annotations

import ipaddress

from check_smtp_health.config import hosts
from check_smtp_health.errors import PeerFault
from check_smtp_health.masking import STARS, forms
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.dns import ask
from check_smtp_health.net.operations import together
from check_smtp_health.policy import (
    dnsbl_option,
    need_addresses,
    server_addresses,
    unknown_addresses,
)
from check_smtp_health.policy.records import texts
from check_smtp_health.report import Finding, PolicyResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Union

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.errors import Kind
    from check_smtp_health.net.dns import Records, Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.policy.dnsbl_option import Dnsbl
    from check_smtp_health.stages.state import ProbeState

    Answers = Mapping[str, Union[Records, PeerFault]]

IPV4, IPV6, DOMAIN = 4, 6, 0
"""What may be looked up in a list."""

TEST_POINTS = {
    IPV4: ("127.0.0.2", "127.0.0.1"),
    IPV6: ("::ffff:7f00:2", "::ffff:7f00:1"),
    DOMAIN: ("TEST", "INVALID"),
}
"""Of each: what every list has to list, and what none may (RFC 5782 section 5)."""

LISTINGS = "127."
"""How the answer begins that is a listing (RFC 5782 section 2.1)."""

NO_LISTING = "127.0.0.1"
"""An answer that is not a listing: lists of URIs refuse with it."""

REFUSALS = "127.255.255."
"""How it begins where the list says nothing of what it was asked (Spamhaus)."""

REASONS = {
    "127.255.255.252": "is not the name of a list, check its spelling",
    "127.255.255.254": "refuses to answer this resolver, a public one",
    "127.255.255.255": "refuses to answer this resolver, which asks too often",
}
"""What each refusal stands for. Of the others it is only known that they are some."""

CODES_SHOWN = 8


class Opinion(NamedTuple):
    """What a list, by its shown name, says: the codes of its listing, none where there is none.

    ``others`` are codes that do not count; ``reason`` is why, in the list's words; ``trouble`` why
    what it says does not count. One that ``lacks_ipv6`` cannot know an IPv6 address.
    """

    shown: str
    about: str
    codes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    reason: bytes = b""
    trouble: str = ""
    lacks_ipv6: bool = False


class Lists(NamedTuple):
    """The lists to ask, and whom to ask about them."""

    servers: Servers
    lists: tuple[Dnsbl, ...]


def prepare(values: Sequence[str], settings: Settings, servers: Servers) -> Lists:
    """Return the lists that the option names.

    Raises:
        UsageFault: one is not a list, or has no address to look up.
    """
    key = settings.policies.dnsbl_key
    revealed = "" if key is None else key.reveal()
    lists = tuple(dict.fromkeys(dnsbl_option.parse(one, revealed) for one in values))
    if not all(one.about for one in lists):
        need_addresses("dnsbl", settings.endpoint.hosts)
    return Lists(servers, lists)


def secrets(asked: Lists) -> Iterator[bytes]:
    """Give the forms of all keys: what is asked, and said, has them in it."""
    for one in asked.lists:
        for label, shown in zip(one.zone.split("."), one.shown.split(".")):
            if shown == STARS:
                yield from forms(label)


def check(asked: Lists, state: ProbeState) -> Procedure[PolicyResult | None]:
    """Ask all lists at the same time, about all of the server's addresses or what is theirs.

    None is returned where the server's addresses are needed and not known.
    """
    own = server_addresses(state)
    if not (own or all(one.about for one in asked.lists)):
        return None
    siblings = [address.host for address in state.target.siblings]
    has_ipv4 = any(_form(one) == IPV4 for one in (*own, *siblings))
    told = yield from _asked(asked, own, own if has_ipv4 else ())
    unknown = () if all(one.about for one in asked.lists) else unknown_addresses(state)
    return told._replace(findings=(*told.findings, *unknown), held="" if unknown else told.held)


def of_address(asked: tuple[Lists, str], _state: ProbeState) -> Procedure[PolicyResult | None]:
    """Ask about another address what is asked about the server's."""
    lists, address = asked
    about_server = tuple(one for one in lists.lists if not one.about)
    return (yield from _asked(lists._replace(lists=about_server), (address,), ()))


def _asked(asked: Lists, own: Sequence[str], excused: Sequence[str]) -> Procedure[PolicyResult]:
    answers: list[list[Opinion]] = yield from together(
        _consult(asked.servers, one, (one.about,) if one.about else own) for one in asked.lists
    )
    opinions = [one for several in answers for one in several]
    listings = [one for one in opinions if one.codes]
    troubles = _troubles(opinions, excused)
    held = "" if listings else _unlisted(opinions)
    return PolicyResult(
        "dnsbl",
        (*(Finding("listed", _listing(one), one.reason) for one in listings), *troubles),
        tuple(_notes(opinions)),
        listings=len(listings),
        held=held,
    )


def _troubles(opinions: Sequence[Opinion], excused: Sequence[str]) -> Iterator[Finding]:
    """Give what is wrong with each list.

    A list is somebody else's service: it must alarm nobody, unless no other list knows of the same
    address. Not even then where it could not know it, and the host has another: the ``excused``.
    """
    answered = {one.about for one in opinions if not one.trouble}
    kinds: dict[str, Kind] = {}
    for one in opinions:
        if one.trouble:
            is_noted = one.about in answered or (one.lacks_ipv6 and one.about in excused)
            sentence = f"{one.shown} {one.trouble}"
            if kinds.setdefault(sentence, "noted") == "noted" and not is_noted:
                kinds[sentence] = "unanswered"
    return (Finding(kind, sentence) for sentence, kind in kinds.items())


def _unlisted(opinions: Sequence[Opinion]) -> str:
    """Return where nobody is listed, by the lists that answered all that they can."""
    troubled = {one.shown for one in opinions if one.trouble and not one.lacks_ipv6}
    zones = {one.shown for one in opinions if not one.trouble} - troubled
    if len(zones) == 1:
        return f"not on {zones.pop()}"
    return f"on none of {len(zones)} blocklists" if zones else ""


def _listing(opinion: Opinion) -> str:
    return f"{opinion.about} is listed in {opinion.shown} ({', '.join(opinion.codes)})"


def _notes(opinions: Sequence[Opinion]) -> Iterator[str]:
    for opinion in opinions:
        if not (opinion.codes or opinion.trouble):
            others = f" ({', '.join(opinion.others)}: no listing)" if opinion.others else ""
            yield f"{opinion.about} is not listed in {opinion.shown}{others}"
    for about in dict.fromkeys(opinion.about for opinion in opinions):
        if _form(about) != DOMAIN and not ipaddress.ip_address(about).is_global:
            yield f"{about} is not a public address, few lists know it"


def _form(about: str) -> int:
    if ":" in about:
        return IPV6
    return IPV4 if hosts.ip_version(about) == 4 else DOMAIN


def name(zone: str, about: str) -> str:
    """Return the name that stands for something in a list (RFC 5782 sections 2.1, 2.4, 3)."""
    if _form(about) == DOMAIN:
        return f"{about}.{zone}"
    reverse = ipaddress.ip_address(about).reverse_pointer
    return f"{reverse.rsplit('.', 2)[0]}.{zone}"


def _consult(servers: Servers, one: Dnsbl, subjects: Sequence[str]) -> Procedure[list[Opinion]]:
    """Return what a list says of each subject; its test points are asked about once."""
    used = {_form(subject) for subject in subjects}
    if IPV6 in used:
        used.add(IPV4)  # tells a list without IPv6 from one that is dead
    points = (point for form in sorted(used) for point in TEST_POINTS[form])
    asked = tuple(dict.fromkeys((*subjects, *points)))
    answers = yield from together(ask(servers, name(one.zone, each), "A") for each in asked)
    view = _View(one, dict(zip(asked, answers)), subjects)
    opinions = [view.opinion(subject) for subject in subjects]
    listed = [index for index, opinion in enumerate(opinions) if opinion.codes]
    reasons = yield from together(
        ask(servers, name(one.zone, opinions[index].about), "TXT") for index in listed
    )
    for index, reason in zip(listed, reasons):
        if not isinstance(reason, PeerFault):  # the listing is what matters
            opinions[index] = opinions[index]._replace(reason=b"\n".join(texts(reason)))
    return opinions


class _View:
    """What a list has answered, to be read as opinions."""

    def __init__(self, one: Dnsbl, answers: Answers, subjects: Sequence[str]) -> None:
        self._list = one
        self._answers = answers
        self._is_mute = all(isinstance(answers[subject], PeerFault) for subject in subjects)

    def opinion(self, about: str) -> Opinion:
        """Return what the list says of one subject."""
        one = Opinion(self._list.shown, about)
        answer = self._answers[about]
        if isinstance(answer, PeerFault):
            which = "" if self._is_mute else f" about {about}"
            return one._replace(trouble=f"gives no answer{which} ({answer.problem})")
        codes = self._said(about)
        trouble = _refusal(codes) or self._oddity(codes)
        if trouble:
            return one._replace(trouble=trouble)
        counting = self._counting(codes)
        form = _form(about)
        trouble = self._trouble(form, is_alive=bool(counting))
        if trouble and form == IPV6 and self._is_silent(IPV6):
            # What else is wrong with it, its IPv4 part shows as well.
            trouble = self._trouble(IPV4)
            if not trouble:
                trouble = f"has no IPv6 (it does not list {TEST_POINTS[IPV6][0]})"
                return one._replace(trouble=trouble, lacks_ipv6=True)
        if trouble:
            return one._replace(trouble=trouble)
        others = tuple(code for code in codes if code not in counting)
        return one._replace(codes=counting[:CODES_SHOWN], others=others[:CODES_SHOWN])

    def _said(self, about: str) -> tuple[str, ...]:
        answer = self._answers[about]
        if isinstance(answer, PeerFault):
            return ()
        return tuple(sorted(value.address for value in answer.values))

    def _counting(self, codes: Sequence[str]) -> tuple[str, ...]:
        """Return those of the codes that are listings."""
        return tuple(code for code in codes if self._counts(code))

    def _counts(self, code: str) -> bool:
        if self._list.codes:
            numbers = map(int, code.split("."))
            return all(number in some for number, some in zip(numbers, self._list.codes))
        return code.startswith(LISTINGS) and code != NO_LISTING

    def _oddity(self, codes: Sequence[str]) -> str:
        for code in codes:
            if not (code.startswith(LISTINGS) or self._counts(code)):
                return f"answers with {code}, which is not a listing"
        return ""

    def _is_silent(self, form: int) -> bool:
        """Whether nothing is said of the test points, as by a list that has none of that form."""
        return not any(
            isinstance(self._answers[point], PeerFault) or self._said(point)
            for point in TEST_POINTS[form]
        )

    def _trouble(self, form: int, *, is_alive: bool = False) -> str:
        """Return why the list's word does not count, by its test points, if it does not.

        ``is_alive`` says that it is known to list something else.
        """
        point, innocent = TEST_POINTS[form]
        listed, unlisted = self._said(point), self._said(innocent)
        trouble = _refusal(listed) or self._oddity(unlisted)
        if trouble:
            return trouble
        silent = self._answers[innocent]
        if is_alive and isinstance(silent, PeerFault):
            return f"gives no answer about {innocent}, which no list has ({silent.problem})"
        if self._counting(unlisted) or (unlisted and unlisted == listed):
            return f"lists {innocent}, so it lists everything"
        # Only a list that is seen to list something says by its silence that somebody is not on it.
        if is_alive or self._counting(listed) or any(code != NO_LISTING for code in listed):
            return ""
        answer = self._answers[point]
        if isinstance(answer, PeerFault):
            return f"gives no answer about {point}, which every list has ({answer.problem})"
        hint = ": its key may be wrong or revoked" if STARS in self._list.shown else ""
        return f"does not list {point}, so it lists nothing{hint}"


def _refusal(codes: Sequence[str]) -> str:
    for code in codes:
        if code.startswith(REFUSALS):
            return f"{REASONS.get(code, 'refuses to answer')} ({code})"
    return ""
