"""The proxy for HTTPS that the environment names, read as curl and others do."""

from __future__ import annotations

import re

from check_smtp_health.config import hosts
from check_smtp_health.config.accounts import Secret
from check_smtp_health.errors import UsageFault
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from check_smtp_health.report import Host

PORT = 80
"""That of the scheme ``http``."""

PROXY, EXCEPTIONS = "https_proxy", "no_proxy"
"""The environment variables. In capitals they count where these are not set."""

_AUTHORITY = r"(?:(.*)@)?(\[[^\]]*\]|[^:@\[\]]+)(?::([0-9]{1,5}))?"


class Proxy(NamedTuple):
    """Where it is; ``login`` is ``USER:PASSWORD`` as in a URL, where it wants one.

    It is not for hosts that are among the ``exceptions``, or below one.
    """

    host: Host
    port: int
    login: Secret | None
    exceptions: tuple[str, ...]

    def serves(self, name: str, port: int) -> bool:
        """Whether this host is to be reached by it."""
        for exception in self.exceptions:
            above, _, only = exception.partition(":")
            if exception.count(":") > 1 or only not in ("", str(port)):
                continue  # an IPv6 address, or about another port
            if above == "*" or f".{name}".endswith("." + (above.lstrip("*.") or "?")):
                return False
        return True


def read(environment: Mapping[str, str], option: str) -> Proxy | None:
    """Return the proxy that the environment names; ``option`` is what needs it.

    Raises:
        UsageFault: it cannot be used. What was given is not repeated: it may contain a password.
    """
    given = _variable(environment, PROXY)
    if not given:
        return None
    scheme, _, rest = given.rpartition("://")
    if scheme.lower() not in ("", "http"):
        raise UsageFault(option, f"{PROXY} is not the address of an http:// proxy")
    match = re.fullmatch(_AUTHORITY, rest.partition("/")[0])
    place = hosts.place(match[2], match[3] or str(PORT)) if match else None
    if match is None or place is None:
        raise UsageFault(option, f"{PROXY} is not http://HOST[:PORT]")
    exceptions = _variable(environment, EXCEPTIONS).lower().replace(",", " ").split()
    login = Secret(match[1]) if match[1] else None
    return Proxy(*place, login, tuple(exceptions))


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name, environment.get(name.upper(), "")).strip()
