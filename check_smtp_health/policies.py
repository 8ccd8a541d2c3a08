"""Which policies a run asks about, and the rules between their options. Asks nothing."""

from __future__ import annotations

from check_smtp_health import arguments
from check_smtp_health.errors import UsageFault
from check_smtp_health.text import quoted
from check_smtp_health.values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.arguments import Dnsbl, Host
    from check_smtp_health.options import Options


class Policies(NamedTuple):
    """What is asked for. The policies' modules are in the room of that name."""

    dnsbl: tuple[Dnsbl, ...] = ()
    reverse: bool = False
    dane: bool = False
    mta_sts: bool = False

    @property
    def are_any(self) -> bool:
        """Whether any is asked for: no field has a default that is true."""
        return any(self)

    @property
    def asked(self) -> tuple[str, ...]:
        """The options that ask for one, by their long names."""
        pairs = {
            "dnsbl": self.dnsbl,
            "reverse": self.reverse,
            "dane": self.dane,
            "mta-sts": self.mta_sts,
        }
        return tuple(option for option, is_asked in pairs.items() if is_asked)


def build(options: Options, hosts: tuple[Host, ...], tls: str) -> Policies:
    """Return the policies that the options ask about.

    Raises:
        UsageFault: one cannot be asked about.
    """
    policies = Policies(
        dnsbl=tuple(dict.fromkeys(arguments.dnsbl(one) for one in options.all("dnsbl"))),
        reverse=bool(options.count("reverse")),
        dane=bool(options.count("dane")),
        mta_sts=is_about_names(options, "mta-sts", hosts),
    )
    if policies.reverse or not all(one.address for one in policies.dnsbl):
        for host in hosts:
            if host.kind == "socket":
                option = "reverse" if policies.reverse else "dnsbl"
                raise UsageFault(option, f"{quoted(host.given)} has no IP address")
    if policies.dane:
        _rule_dane(options, hosts, tls)
    return policies


def _rule_dane(options: Options, hosts: tuple[Host, ...], tls: str) -> None:
    if not tls:
        raise UsageFault("dane", "needs TLS, add -S or --ssl")
    if options.count("no-verify"):
        raise UsageFault("dane", f"contradicts {options.flag('no-verify')}")
    if not options.last("sni"):
        for host in hosts:
            if host.kind != "name":
                problem = f"{quoted(host.given)} is not a name that DNS knows, add --sni NAME"
                raise UsageFault("dane", problem)


def is_about_names(options: Options, option: str, hosts: tuple[Host, ...]) -> bool:
    """Return whether an option is given that only makes sense for names.

    Raises:
        UsageFault: it is, and a host is none.
    """
    if not options.count(option):
        return False
    for host in hosts:
        if host.kind != "name":
            raise UsageFault(option, f"{quoted(host.given)} is not a name that DNS knows")
    return True
