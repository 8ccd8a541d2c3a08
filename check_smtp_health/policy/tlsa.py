"""The TLSA records of a server, and whether DNSSEC vouches for them and for it (RFC 7672)."""

from __future__ import annotations

from check_smtp_health.errors import PeerFault
from check_smtp_health.escaping import printable
from check_smtp_health.faults import DnsFailed, Insecure, NoPolicy, NotValidating
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.dns import KINDS, ROUNDS, ask
from check_smtp_health.net.operations import together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Union

    from check_smtp_health.net.dns import Records, Servers
    from check_smtp_health.net.operations import Procedure

    Answer = Union[Records, PeerFault]

DIGITS_SHOWN = 16

KEPT_BACK = "senders hold the mail back"


class Tlsa(NamedTuple):
    """A TLSA record (RFC 6698 section 2.1)."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        digits = self.data.hex()
        dots = "..." if len(digits) > DIGITS_SHOWN else ""
        return f"{self.usage} {self.selector} {self.matching} {digits[:DIGITS_SHOWN]}{dots}"


class Published(NamedTuple):
    """The TLSA records of a server, and the name that they are under, ``_25._tcp`` left out."""

    name: str
    port: int
    records: tuple[Tlsa, ...]

    @property
    def owner(self) -> str:
        """The name that they are under, whole."""
        return _owner(self.port, self.name)


def look_up(
    servers: Servers, host: str, port: int, family: int | None, *, validates: bool = False
) -> Procedure[Published]:
    """Return the TLSA records of a server, of those of its name and its alias that count.

    It goes the way of RFC 7672 section 2.2.2 and of Postfix (``tls_dane_resolve``): no sender asks
    for the records of a host whose addresses are not secure, except those of a secure alias.
    ``validates`` is whether the name servers are known to.

    Raises:
        NoPolicy: there is none.
        Insecure: DNSSEC does not vouch for them, or for the host.
        NotValidating: nobody could tell whether it does.
        DnsUnanswered: no name server answers.
    """
    owner = _owner(port, host)
    own, *addresses = yield from together(
        [ask(servers, owner, "TLSA"), *(ask(servers, host, kind) for kind in KINDS[family])]
    )
    known = [one for one in addresses if not isinstance(one, PeerFault)]
    if not known:
        fault, name, kind = addresses[0], host, KINDS[family][0]
        if isinstance(own, PeerFault):
            fault, name, kind = own, owner, "TLSA"
        raise (yield from _explained(servers, fault, name, kind))
    names = yield from _names(servers, host, known)
    if not names:
        if not validates:
            yield from need_validation(servers, [*known, own])
        if not isinstance(own, PeerFault) and own.values and not own.is_secure:
            raise Insecure(f"the TLSA records at {printable(owner)} are not DNSSEC-secure")
        raise Insecure(
            f"the addresses of {printable(host)} are not DNSSEC-secure, so no TLSA record counts"
        )
    loose = ""
    for name in names:
        owner, answer = _owner(port, name), own
        if name != host:
            (answer,) = yield from together([ask(servers, owner, "TLSA")])
        if isinstance(answer, PeerFault):
            fault = yield from _explained(servers, answer, owner, "TLSA")
            if isinstance(fault, DnsFailed) and any(one.values for one in known):
                # Section 2.1.2: firewalls that let no question for TLSA through, for one.
                problem = f"{fault.sentence}, although the host has addresses: {KEPT_BACK}"
                raise Insecure(problem) from fault
            raise fault
        if answer.values and answer.is_secure:
            records = [Tlsa(one.usage, one.selector, one.mtype, one.cert) for one in answer.values]
            return Published(name, port, tuple(sorted(records)))
        if answer.values:
            loose = loose or owner
    if loose:
        raise Insecure(f"the TLSA records at {printable(loose)} are not DNSSEC-secure")
    raise NoPolicy(f"no TLSA record at {printable(owner)}")


def need_validation(servers: Servers, answers: Sequence[Answer]) -> Procedure[None]:
    """Check that the name servers validate at all, as one secure answer shows.

    Where there is none, they are asked about the root, which is signed.

    Raises:
        NotValidating: they do not.
    """
    if any(not isinstance(one, PeerFault) and one.is_secure for one in answers):
        return
    # Every resolver knows the root, so a working one answers at once.
    (root,) = yield from together([ask(servers, ".", "SOA", rounds=ROUNDS[:1])])
    if not isinstance(root, PeerFault) and not root.is_secure:
        hosts = ", ".join(address.host for address in servers.addresses)
        raise NotValidating(
            f"the resolver {hosts} does not validate DNSSEC (no AD, not even for the root)"
        )


def _owner(port: int, name: str) -> str:
    return f"_{port}._tcp.{name}"


def _names(servers: Servers, host: str, addresses: Sequence[Records]) -> Procedure[list[str]]:
    """Return the names that TLSA records may be under, the first one first.

    There are none where neither the addresses are secure nor an alias at the name is.

    Raises:
        Insecure: DNSSEC is broken there.
        DnsUnanswered: no name server answers.
    """
    found = [one for one in addresses if one.values]
    aliases = [one.canonical for one in found if plain_name(one.canonical) != plain_name(host)]
    if all(one.is_secure for one in found):
        return [*aliases[:1], host]
    if not aliases:
        return []
    (alias,) = yield from together([ask(servers, host, "CNAME")])
    if isinstance(alias, PeerFault):
        raise (yield from _explained(servers, alias, host, "CNAME"))
    return [host] if alias.is_secure else []


def _explained(servers: Servers, fault: PeerFault, name: str, kind: str) -> Procedure[PeerFault]:
    """Return the fault, or what DNSSEC has to do with it.

    A resolver that validates withholds forged records, unless asked not to.
    """
    if isinstance(fault, DnsFailed):
        (unchecked,) = yield from together([ask(servers, name, kind, unchecked=True)])
        if not isinstance(unchecked, PeerFault):
            return Insecure(f"DNSSEC is broken at {printable(name)}: {KEPT_BACK}")
    return fault
