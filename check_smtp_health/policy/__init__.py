"""THE POLICY TABLE: what DNS and the web say about a server, its domain, or a sender's.

A policy is a module and its row. The module has ``prepare``, which turns the option's words into
what ``check`` needs, before anything is sent, and ``check``, a procedure that returns what was
found. Nothing in this room opens a socket or reads a clock.
"""

from __future__ import annotations

from check_smtp_health.errors import SessionFault, UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.loading import load
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net.addresses import packed, plain_address
from check_smtp_health.net.operations import together
from check_smtp_health.report import Finding, PolicyResult
from check_smtp_health.stages.state import own_fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, Literal

    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.policy.mx import MxSet
    from check_smtp_health.report import Host, Report
    from check_smtp_health.stages.state import ProbeState

    Scope = Literal["server", "domain", "run", "message"]


class Row(NamedTuple):
    """A row. ``option`` asks for it and is its name; ``module`` is the one in this package.

    Of a ``server`` the policy is checked once its session is over, of a ``domain`` meanwhile, of a
    ``message`` once it has come; one of the ``run`` is about the domains that its option names,
    prepared as ``Topic``s. One that ``vouches`` for a server is checked before the server is told a
    secret.

    The other fields name functions of the module, where it has them. ``on_mx_set`` is a procedure
    that judges a domain's MX set. ``secrets`` gives, of what was prepared, what nobody may see.
    ``on_hosts`` judges the reports on a host by what the policies of its domains have turned out to
    be. ``on_origin`` asks about the address that a message has left from what ``check`` asks about
    the server's.
    """

    option: str
    scope: Scope
    module: str
    on_mx_set: str = ""
    vouches: bool = False
    secrets: str = ""
    on_hosts: str = ""
    on_origin: str = ""


POLICIES = (
    Row("dnsbl", "server", "dnsbl", secrets="secrets", on_origin="of_address"),
    Row("reverse", "server", "reverse", on_origin="of_address"),
    Row("dane", "server", "dane", on_mx_set="of_domain", vouches=True),
    Row("all-certificates", "server", "all_certificates"),
    Row("mta-sts", "server", "mta_sts_host"),
    Row("mta-sts", "domain", "mta_sts", on_hosts="on_hosts"),
    Row("sender", "run", "sender"),
    Row("dkim", "run", "dkim"),
    Row("verify-message", "message", "verify_message"),
)


class Topic(NamedTuple):
    """What a policy of the run asks about one domain."""

    domain: str
    asked: Any


class Domain(NamedTuple):
    """A mail domain. ``hosts`` are its MX hosts, None where they are not known yet."""

    servers: Servers
    host: Host
    hosts: Sequence[Host] | None


class Policy(NamedTuple):
    """A policy that a run asks about: its row, what was prepared for it, and its functions."""

    name: str
    scope: Scope
    prepared: Any
    check: Callable[[Any, Any], Procedure[PolicyResult | None]]
    on_mx_set: Callable[[Any, Host, MxSet], Procedure[PolicyResult]] | None
    vouches: bool = False
    secrets: tuple[bytes, ...] = ()
    on_hosts: Callable[[Sequence[PolicyResult], list[Report]], list[Report]] | None = None
    on_origin: Callable[[Any, Any], Procedure[PolicyResult | None]] | None = None


def prepare(settings: Settings, servers: Servers | None) -> tuple[Policy, ...]:
    """Return the policies that the settings ask about, imported and made ready.

    Raises:
        UsageFault: one cannot be asked about in this run.
    """
    asked = [row for row in POLICIES if settings.policies.asks(row.option)]
    return tuple(_prepared(row, settings, servers) for row in asked)


def prepared(option: str, settings: Settings, servers: Servers | None) -> Policy:
    """Return the one policy of an option that another policy uses."""
    (row,) = (row for row in POLICIES if row.option == option)
    return _prepared(row, settings, servers)


def _prepared(row: Row, settings: Settings, servers: Servers | None) -> Policy:
    def function(name: str) -> Any:
        return load(f"policy.{row.module}:{name}") if name else None

    values = settings.policies.given.get(row.option, ())
    prepared = function("prepare")(values, settings, servers)
    return Policy(
        row.option,
        row.scope,
        prepared,
        check=function("check"),
        on_mx_set=function(row.on_mx_set),
        vouches=row.vouches,
        secrets=tuple(function(row.secrets)(prepared)) if row.secrets else (),
        on_hosts=function(row.on_hosts),
        on_origin=function(row.on_origin if settings.policies.asks("verify-message") else ""),
    )


def result(
    policy: Policy, about: ProbeState | Domain | None, settings: Settings
) -> Procedure[PolicyResult | None]:
    """Check a policy; whatever stops it becomes its result."""
    try:
        return (yield from policy.check(policy.prepared, about))
    except SessionFault as stopped:
        fault = stopped
    except Exception as bug:
        fault = own_fault(bug, settings)
    finding = Finding(fault.kind, fault.sentence, fault.said, fault.reason)
    return PolicyResult(policy.name, (finding,))


def of_message(
    policies: Sequence[Policy], state: ProbeState, known: tuple[PolicyResult, ...]
) -> Procedure[tuple[PolicyResult, ...]]:
    """Check the policies of a message that has come; return ``known`` with what came of them.

    What is asked about the server is asked about the address that the message has left from, too.
    """
    from check_smtp_health.policy.verify_message import origins

    own = server_addresses(state)
    elsewhere = [one for one in origins(state) if one not in own]
    asked = [
        result(policy, state, state.settings) for policy in policies if policy.scope == "message"
    ]
    asked += [
        result(
            policy._replace(check=policy.on_origin, prepared=(policy.prepared, address)),
            state,
            state.settings,
        )
        for policy in policies
        if policy.on_origin is not None
        for address in elsewhere
    ]
    found = yield from together(asked)
    results = list(known)
    for one in found:
        at = next((at for at, other in enumerate(results) if other.name == one.name), None)
        if at is None:
            results.append(one)
        else:
            results[at] = _joined(results[at], one)
    return tuple(results)


def _joined(one: PolicyResult, more: PolicyResult) -> PolicyResult:
    """Return what the same policy has come to, of two addresses."""
    findings = tuple(dict.fromkeys((*one.findings, *more.findings)))
    is_well = all(finding.kind == "noted" for finding in findings)
    counts = [count for count in (one.listings, more.listings) if count is not None]
    return one._replace(
        findings=findings,
        notes=tuple(dict.fromkeys((*one.notes, *more.notes))),
        listings=sum(counts) if counts else None,
        held=one.held if is_well else "",
    )


def of_run(
    policies: Iterable[Policy], settings: Settings
) -> Procedure[dict[str, list[PolicyResult]]]:
    """Check the policies of the run, and return what came of them by domain."""
    asked = [
        (topic.domain, result(policy._replace(prepared=topic.asked), None, settings))
        for policy in policies
        for topic in policy.prepared
    ]
    results = yield from together(procedure for _, procedure in asked)
    found: dict[str, list[PolicyResult]] = {}
    for (domain, _), one in zip(asked, results):
        found.setdefault(domain, []).append(one)
    return found


def unchecked(what: str, fault: SessionFault) -> Finding:
    """Return the finding that something could not be checked, which ``what`` says."""
    sentence = fault.sentence
    return Finding("unanswered", f"{what}: {sentence}" if sentence else what, fault.said)


def need_addresses(option: str, hosts: Iterable[Host]) -> None:
    """Check that each host has an IP address.

    Raises:
        UsageFault: one is a Unix socket; ``option`` is to blame.
    """
    for host in hosts:
        if host.kind == "socket":
            raise UsageFault(option, f"{quoted(host.given)} has no IP address")


def server_addresses(state: ProbeState) -> tuple[str, ...]:
    """Return all addresses of the server, whichever answered; none where it has not been found."""
    known = state.connection.addresses if state.target.host.kind != "socket" else ()
    # In an order of their own: name servers give them in a different one each time.
    return tuple(sorted({plain_address(one.host) for one in known}, key=_in_order))


def unknown_addresses(state: ProbeState) -> tuple[Finding, ...]:
    """Return a finding where the server may have addresses that nobody has told."""
    unknown = state.connection.unknown
    return (Finding("unanswered", f"maybe not all addresses: {unknown}"),) if unknown else ()


def _in_order(address: str) -> tuple[int, bytes]:
    number = packed(address)
    return len(number), number
