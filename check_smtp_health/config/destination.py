"""Where the answer goes beside standard output, and the names that it has there."""

from __future__ import annotations

import re

from check_smtp_health.config import credentials, hosts
from check_smtp_health.config.accounts import Secret
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import has_controls, quoted
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from check_smtp_health.config.getopt import Options
    from check_smtp_health.report import Host

    Names = Literal["none", "optional", "service", "both"]

API_PORT = 5665
"""That of Icinga's API where the URL names none."""

SERVICE = "SMTP"
"""The name of the service of a single check, where none is given."""

NAME_LIMIT = 255
"""Characters of a name: the columns of Icinga's databases hold no longer one."""

_URL = r"https://(?:([^/@]*)@)?(\[[^\]/]*\]|[^:@/\[\]]+)(?::([0-9]{1,5}))?/?"


class Api(NamedTuple):
    """Icinga's API, and whose certificate it may show: one of ``ca_file``, or of the system's.

    ``family``, ``source`` and ``nameservers`` are the run's, as of all its connections.
    """

    host: Host
    port: int
    user: str
    password: Secret
    ca_file: str | None = None
    family: int | None = None
    source: str | None = None
    nameservers: tuple[tuple[str, int], ...] = ()


class Destination(NamedTuple):
    """A file, a FIFO among them, or else Icinga's API."""

    path: str = ""
    api: Api | None = None


def read(options: Options) -> Destination | None:
    """Return where the answer is to be written, None where it is standard output alone.

    Raises:
        UsageFault: an option has no effect, the URL is malformed, or a file cannot be used.
    """
    given = options.last("output-to")
    is_url = given is not None and "://" in given
    if not is_url:
        for name in ("output-pass-file", "output-ca-file"):
            if options.count(name):
                raise UsageFault(name, "needs --output-to https://USER@HOST:5665")
    if given is None:
        return None
    if is_url:
        return Destination(api=_api(given, options))
    if not given or has_controls(given):
        raise UsageFault("output-to", f"{quoted(given)} is not a path or URL")
    return Destination(path=given)


def _api(given: str, options: Options) -> Api:
    from urllib.parse import unquote  # 3 ms, which only a URL is worth

    match = re.fullmatch(_URL, given)
    user = unquote(match[1] or "") if match else ""
    if match is not None and ":" in (match[1] or ""):
        raise UsageFault("output-to", "takes no password, use --output-pass-file FILE")
    if match is None or not user or has_controls(user) or ":" in user:
        # What else there is may hold a password.
        raise UsageFault("output-to", "is not https://USER@HOST:5665")
    place = hosts.place(match[2], match[3] or str(API_PORT))
    if place is None:
        raise UsageFault("output-to", "is not https://USER@HOST:5665")
    name = (options.last("output-format") or "text").lower()
    if name != "icinga2":
        raise UsageFault("output-to", f"a URL needs --output-format icinga2, not {name}")
    source = options.last("source")
    family = _family(options, place[0], source)
    password = credentials.output_password(options)
    if password is None:
        raise UsageFault("output-to", "needs a password, use --output-pass-file FILE")
    if has_controls(password):
        raise UsageFault("output-pass-file", "the password contains a control character")
    return Api(
        *place,
        user,
        Secret(password),
        ca_file=options.last("output-ca-file"),
        family=family,
        source=source,
        nameservers=tuple(hosts.nameserver(one) for one in options.all("nameserver")),
    )


def _family(options: Options, host: Host, source: str | None) -> int | None:
    """Return the family that connections of this run are to have, None for both."""
    given = [number for number in (4, 6) if options.count(f"use-ipv{number}")]
    family = given[0] if given else None
    if source is not None:
        family = hosts.ip_version(source)
    if family and host.kind == "address" and hosts.ip_version(host.ascii) != family:
        why = "source" if source else f"use-ipv{family}"
        raise UsageFault(why, f"cannot be combined with the API's address {host.ascii}")
    return family


def names(options: Options, wanted: Names, hosts: Sequence[str]) -> tuple[str, str]:
    """Return the names of host and service for which a single check's answer is, or empty ones.

    ``hosts`` are those that are checked.

    Raises:
        UsageFault: one is missing, impossible, or of no effect.
    """
    host, service = options.last("output-host"), options.last("output-service")
    form = options.last("output-format") or "text"
    if wanted == "none":
        for name in ("output-host", "output-service"):
            if options.count(name):
                raise UsageFault(name, f"has no effect on {form}")
    if wanted == "both" and host is None:
        if len(hosts) > 1:
            raise UsageFault("output-format", f"{form} of several hosts needs --output-host NAME")
        host = hosts[0] if hosts else None
    if wanted in ("service", "both") and service is None:
        service = SERVICE
    return (
        "" if host is None else checked_name("output-host", host),
        "" if service is None else checked_name("output-service", service),
    )


def checked_name(option: str, given: str) -> str:
    """Return the name of an engine's host or service, if it can be one.

    Raises:
        UsageFault: it is empty, too long, or holds what ends a name or a line; ``option`` gave it.
    """
    if not given.strip() or not given.isprintable() or ";" in given:
        raise UsageFault(option, f"{quoted(given)} is not the name of a host or service")
    if len(given) > NAME_LIMIT:
        raise UsageFault(option, f"{quoted(given)} is longer than {NAME_LIMIT} characters")
    return given
