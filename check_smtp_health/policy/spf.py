"""Whether an address may send for a domain: SPF (RFC 7208), without a network.

``evaluated`` goes through a record as section 5 has it, on the answers of DNS that are known. What
it would have to know is ``missing`` in its outcome: the caller asks for all of that at the same
time, and evaluates again. So look-ups that can go side by side do, and the order in which terms
count is still that of the record.
"""

from __future__ import annotations

import functools
import ipaddress
import re

from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.policy.spf_record import MACRO, Malformed, Term, is_record, parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Union

    from check_smtp_health.policy.spf_record import Result

    Ip = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
    Question = tuple[str, str]

LOOKUPS_LIMIT = 10
"""Terms that need DNS, in a record and all that it includes (section 4.6.4)."""

VOIDS_LIMIT = 2
"""Look-ups of such terms that find nothing (section 4.6.4)."""

NAMES_LIMIT = 10
"""Hosts of an ``mx``, more of which are an error, and names of a ``ptr`` (section 4.6.4)."""

CENSUS_LIMIT = 30
"""Look-ups after which no more are counted: that there are too many has long been clear."""

NAME_LIMIT = 253

_PLAIN_ESCAPES = {"%": "%", "_": " ", "-": "%20"}
_UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


class Answer(NamedTuple):
    """What DNS says: texts (TXT), addresses (A, AAAA), names (MX, PTR), or why it says nothing."""

    values: tuple[str, ...] = ()
    problem: str = ""


class Visited(NamedTuple):
    """A record on the way: whose, how deep in includes, its text, look-ups counted before it."""

    domain: str
    depth: int
    text: str
    lookups: int


class Outcome(NamedTuple):
    """What came of an evaluation.

    ``term`` is the one that decided, with the domain in whose record it stands; ``problem`` says
    what is wrong where ``result`` is none or an error. It holds once nothing is ``missing``.
    """

    result: Result
    term: str
    domain: str
    problem: str
    lookups: int
    voids: int
    visited: tuple[Visited, ...]
    missing: tuple[Question, ...]


def evaluated(
    answers: Mapping[Question, Answer], domain: str, ip: Ip | None, sender: str = "", helo: str = ""
) -> Outcome:
    """Return whether ``ip`` may send for ``domain``, as far as the answers go (``check_host``).

    Questions are names in lower case without final dot, and kinds as in ``TXT``. ``sender`` is the
    reverse-path, postmaster of the domain where it is empty, ``helo`` the name in HELO. Without an
    ``ip`` all terms are gone through, as for a client that no term matches, and look-ups are
    counted beyond the limit.
    """
    return _Evaluation(answers, ip, sender or f"postmaster@{domain}", helo).outcome(domain)


class _Stop(Exception):
    """The evaluation ends in an error."""

    def __init__(self, result: Result, problem: str) -> None:
        super().__init__(problem)
        self.result: Result = result
        self.problem = problem


class _Evaluation:
    """One evaluation, with what it counts. Without ``ip`` it is a census of look-ups."""

    def __init__(
        self, answers: Mapping[Question, Answer], ip: Ip | None, sender: str, helo: str
    ) -> None:
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        self._ip = mapped or ip
        self._answers = answers
        local, at, own = sender.rpartition("@")
        self._sender = (local or "postmaster", own if at else sender)
        self._helo = helo
        self._lookups = 0
        self._voids = 0
        self._visited: list[Visited] = []
        self._missing: dict[Question, None] = {}
        self._decided = ("", "")

    def outcome(self, domain: str) -> Outcome:
        """Evaluate the record of this domain."""
        problem = ""
        try:
            result = self._checked(domain, 0) or "neutral"
            if result == "none":
                problem = f"{domain} has no SPF record"
        except _Stop as stop:
            result, problem = stop.result, stop.problem
        return Outcome(
            result,
            *self._decided,
            problem,
            self._lookups,
            self._voids,
            tuple(self._visited),
            tuple(self._missing),
        )

    def _checked(self, domain: str, depth: int) -> Result | None:
        """Return the result for a domain (section 4); None where its record is not known yet."""
        if not _is_domain(domain):
            return "none"
        answer = self._asked(domain, "TXT")
        if answer is None:
            return None
        if answer.problem:
            raise _Stop("temperror", answer.problem)
        own = [text for text in answer.values if is_record(text)]
        if not own:
            return "none"
        if len(own) > 1:
            raise _Stop("permerror", f"{domain} has {len(own)} SPF records")
        self._visited.append(Visited(domain, depth, own[0], self._lookups))
        try:
            record = parsed(own[0])
        except Malformed as fault:
            raise _Stop("permerror", f"SPF of {domain}: {fault}") from fault
        for term in record.terms:
            if self._matches(term, domain, depth):
                self._decided = (term.text, domain)
                return term.result
        if record.redirect:
            self._count()
            target = self._expanded(record.redirect, domain)
            if target is None:
                return None
            result = self._checked(target, depth)
            if result == "none":
                raise _Stop("permerror", f"{domain}: redirect={target} has no SPF record")
            return result
        return "neutral"

    def _matches(self, term: Term, domain: str, depth: int) -> bool:
        """Whether a term matches (section 5)."""
        if term.name == "all":
            return True
        if term.name in ("ip4", "ip6"):
            return self._is_in(term.target, term)
        self._count()
        target = self._expanded(term.target, domain) if term.target else domain
        if target is None:
            return False
        if term.name == "include":
            result = self._checked(target, depth + 1)
            if result == "none":
                raise _Stop("permerror", f"{domain}: include:{target} has no SPF record")
            return result == "pass" and self._ip is not None
        return _QUESTIONS[term.name](self, term, target)

    def _by_address(self, term: Term, target: str) -> bool:
        return any(self._is_in(one, term) for one in self._addresses(target))

    def _by_mx(self, term: Term, target: str) -> bool:
        names = self._found(target, "MX")
        if len(names) > NAMES_LIMIT:
            raise _Stop("permerror", f"mx:{target} has {len(names)} hosts, more than {NAMES_LIMIT}")
        # All of them are asked about before the first counts: at the same time, that is.
        found = [one for name in names for one in self._addresses(name)]
        return any(self._is_in(one, term) for one in found)

    def _by_ptr(self, _term: Term, target: str) -> bool:
        target = target.lower()
        return any(name == target or name.endswith(f".{target}") for name in self._own_names())

    def _by_existence(self, _term: Term, target: str) -> bool:
        return bool(self._found(target, "A"))

    def _own_names(self) -> list[str]:
        """Return the names of the client's address that lead back to it (section 5.5)."""
        if self._ip is None:
            return []
        answer = self._asked(self._ip.reverse_pointer, "PTR")
        if answer is None or answer.problem:
            return []
        self._void(answer)
        kind = "A" if self._ip.version == 4 else "AAAA"
        names = [name.lower() for name in answer.values[:NAMES_LIMIT]]
        known = [(name, self._asked(name, kind)) for name in names]
        return [
            name
            for name, addresses in known
            if addresses is not None
            and any(ipaddress.ip_address(one) == self._ip for one in addresses.values)
        ]

    def _is_in(self, address: str, term: Term) -> bool:
        if self._ip is None:
            return False
        if (":" in address) != (self._ip.version == 6):
            return False
        prefix = term.prefix6 if self._ip.version == 6 else term.prefix4
        return self._ip in _network_of(address, prefix)

    def _addresses(self, name: str) -> Sequence[str]:
        if self._ip is None:
            kinds = ("A", "AAAA")
            found = [self._asked(name, kind) for kind in kinds]
            if all(one is not None and not one.values and not one.problem for one in found):
                self._void(Answer())
            return ()
        return self._found(name, "A" if self._ip.version == 4 else "AAAA")

    def _found(self, name: str, kind: str) -> Sequence[str]:
        """Return what is found, and count what finds nothing."""
        answer = self._asked(name, kind)
        if answer is None:
            return ()
        if answer.problem:
            raise _Stop("temperror", answer.problem)
        self._void(answer)
        return answer.values

    def _asked(self, name: str, kind: str) -> Answer | None:
        """Return what is known, None where that is nothing yet."""
        name = plain_name(name)
        if not _is_domain(name, labels=1):
            return Answer()
        question = (name, kind)
        answer = self._answers.get(question)
        if answer is None:
            self._missing[question] = None
        return answer

    def _void(self, answer: Answer) -> None:
        if answer.values:
            return
        self._voids += 1
        if self._voids > VOIDS_LIMIT and self._ip is not None:
            raise _Stop("permerror", f"more than {VOIDS_LIMIT} look-ups find nothing")

    def _count(self) -> None:
        self._lookups += 1
        if self._lookups > (LOOKUPS_LIMIT if self._ip is not None else CENSUS_LIMIT):
            raise _Stop("permerror", f"more than {LOOKUPS_LIMIT} look-ups")

    def _expanded(self, text: str, domain: str) -> str | None:
        """Return a domain-spec with its macros replaced (section 7); None where that needs more."""
        values = {letter: self._value(letter, domain) for letter in set(_letters(text))}
        if None in values.values():
            return None

        def replaced(macro: re.Match[str]) -> str:
            if macro[1]:
                return _PLAIN_ESCAPES[macro[1]]
            parts = re.split(f"[{re.escape(macro[5] or '.')}]", values[macro[2].lower()] or "")
            if macro[4]:
                parts.reverse()
            value = ".".join(parts[-int(macro[3]) :] if macro[3] else parts)
            return _url_escaped(value) if macro[2].isupper() else value

        name = MACRO.sub(replaced, text).rstrip(".")
        while len(name) > NAME_LIMIT and "." in name:
            name = name.partition(".")[2]
        return name

    def _value(self, letter: str, domain: str) -> str | None:
        """Return what a macro's letter stands for; None where the client's address has to tell."""
        local, own = self._sender
        fixed = {"s": f"{local}@{own}", "l": local, "o": own, "d": domain, "h": self._helo, "": ""}
        if letter in fixed:
            return fixed[letter]
        if self._ip is None:
            return None
        if letter == "v":
            return "in-addr" if self._ip.version == 4 else "ip6"
        if letter == "i":
            if self._ip.version == 4:
                return str(self._ip)
            return ".".join(self._ip.exploded.replace(":", ""))
        names = self._own_names()
        inside = [name for name in names if name == domain or name.endswith(f".{domain}")]
        best = [name for name in names if name == domain] or inside or names
        return best[0] if best else "unknown"


@functools.lru_cache(maxsize=1024)
def _network_of(address: str, prefix: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network((address, prefix), strict=False)


_QUESTIONS = {
    "a": _Evaluation._by_address,
    "mx": _Evaluation._by_mx,
    "ptr": _Evaluation._by_ptr,
    "exists": _Evaluation._by_existence,
}


def _letters(text: str) -> list[str]:
    return [(macro[2] or "").lower() for macro in MACRO.finditer(text)]


def _url_escaped(text: str) -> str:
    """Return a text with all but unreserved characters as RFC 3986 has it."""
    return "".join(
        chr(octet) if chr(octet) in _UNRESERVED else f"%{octet:02X}" for octet in text.encode()
    )


def _is_domain(name: str, labels: int = 2) -> bool:
    """Whether DNS can be asked about a name of at least so many labels (section 4.3)."""
    parts = name.rstrip(".").split(".")
    return (
        len(parts) >= labels
        and len(name) <= NAME_LIMIT
        and all(1 <= len(part.encode()) <= 63 for part in parts)
    )
