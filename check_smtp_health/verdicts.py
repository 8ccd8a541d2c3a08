"""What the policies that a run asks for say of a server, once its session is over, or of a domain.

Loaded only by runs that ask for one.
"""

from __future__ import annotations

import functools

from check_smtp_health.errors import SessionFault
from check_smtp_health.observation import Finding, Verdict
from check_smtp_health.policy import dane, dnsbl, reverse
from check_smtp_health.policy.asking import together
from check_smtp_health.stages import encryption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from check_smtp_health.arguments import Host
    from check_smtp_health.net.wishes import Run
    from check_smtp_health.policies import Policies
    from check_smtp_health.settings import Settings
    from check_smtp_health.stages.visit import Kit, Visit


def load(policies: Policies) -> None:
    """Import what only some policies need: no clock runs yet."""
    if policies.mta_sts:
        from check_smtp_health.policy import mta_sts  # noqa: F401


def of_server(visit: Visit) -> Run[tuple[Verdict, ...]]:
    """Have all policies asked about the server that was visited, at the same time."""
    settings = visit.settings
    address = visit.address.host.partition("%")[0] if visit.address is not None else ""
    runs = []
    if settings.policies.dnsbl and (address or all(one.address for one in settings.policies.dnsbl)):
        runs.append(_named("dnsbl", _dnsbl(visit, address)))
    if settings.policies.reverse and address:
        runs.append(_named("reverse", _reverse(visit, address)))
    if settings.policies.dane:
        runs.append(_named("dane", _dane(visit)))
    return tuple((yield from together(runs)))


def of_domain(
    domain: Host, hosts: Sequence[Host] | None, settings: Settings, kit: Kit
) -> Run[Verdict]:
    """Have a domain's MTA-STS policy held against its MX set, which ``hosts`` are where known."""
    from check_smtp_health.policy import mta_sts

    assert kit.servers is not None
    assert kit.web_trust is not None
    run = mta_sts.check(kit.servers, kit.web_trust, domain, hosts, settings.family)
    return (yield from _named("mta-sts", run))


def _named(name: str, run: Run[Verdict]) -> Run[Verdict]:
    """Turn what stops a policy into its verdict."""
    try:
        return (yield from run)
    except SessionFault as fault:
        return Verdict(name, (Finding(fault.kind, fault.problem, fault.said),))


def _dnsbl(visit: Visit, address: str) -> Run[Verdict]:
    assert visit.kit.servers is not None
    return (yield from dnsbl.check(visit.kit.servers, visit.settings.policies.dnsbl, address))


def _reverse(visit: Visit, address: str) -> Run[Verdict]:
    assert visit.kit.servers is not None
    return (yield from reverse.check(visit.kit.servers, address, visit.names))


def _dane(visit: Visit) -> Run[Verdict]:
    from check_smtp_health.net.certificate import key_information

    assert visit.kit.servers is not None
    host = visit.target.host
    name = host.ascii if host.kind == "name" else visit.target.server_name
    assert name is not None
    published = yield from dane.look_up(visit.kit.servers, name.rstrip("."), visit.settings.port)
    tls = visit.tls
    if tls is None:
        # There was no handshake, which its stage tells.
        return Verdict("dane", notes=tuple(f"TLSA {record}" for record in published.records))
    chain = [dane.Shown(der, key_information(der)) for der in tls.chain or (tls.certificate,)]
    verify = functools.partial(encryption.verify_again, visit)
    return (yield from dane.check(published, chain, verify, is_whole=bool(tls.chain)))
