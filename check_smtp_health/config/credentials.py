"""Where the passwords come from: a file, the environment or the command line."""

from __future__ import annotations

import codecs

from check_smtp_health.config import files, hosts
from check_smtp_health.config.accounts import Secret
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import has_controls, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from check_smtp_health.config.getopt import Options

ENVIRONMENT = "CHECK_SMTP_HEALTH_AUTHPASS"

MAILBOX_ENVIRONMENT = "CHECK_SMTP_HEALTH_MAILBOXPASS"

DNSBL_ENVIRONMENT = "CHECK_SMTP_HEALTH_DNSBLKEY"

KEY_LABEL = "KEY"
"""The label of a DNSBL's zone that stands for the customer's key."""

FILE_LIMIT = 16 * 1024
"""Bytes read of a password file; OAuth tokens are long, but not that long."""


def read(options: Options, environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the passwords for AUTH and for the mailboxes, None where nobody gave one.

    Raises:
        UsageFault: a file cannot be read, or can be by everyone.
    """
    return password(options, environment), mailbox_password(options, environment)


def password(options: Options, environment: Mapping[str, str]) -> str | None:
    """Return the password for AUTH, or None where nobody gave one.

    An empty variable counts as not set: Icinga exports missing macros so.

    Raises:
        UsageFault: the file cannot be read, or can be by everyone.
    """
    path = options.last("authpass-file")
    given = options.last("authpass")
    if options.count("oauth"):
        for name in ("authpass", "authpass-file"):
            if options.count(name):
                raise UsageFault(name, "cannot be combined with --oauth")
        return None
    if path is not None and given is not None:
        raise UsageFault("authpass-file", f"cannot be combined with {options.flag('authpass')}")
    if path is not None:
        found: str | None = first_line("authpass-file", path)
    else:
        found = given if given is not None else environment.get(ENVIRONMENT) or None
    return _kept(found)


def mailbox_password(options: Options, environment: Mapping[str, str]) -> str | None:
    """Return the password for the mailboxes, or None where nobody gave one; as ``password``."""
    if options.count("mailbox-oauth"):
        if options.count("mailbox-pass-file"):
            raise UsageFault("mailbox-pass-file", "cannot be combined with --mailbox-oauth")
        return None
    return _from_file(options, "mailbox-pass-file", environment, MAILBOX_ENVIRONMENT)


def dnsbl_key(options: Options, environment: Mapping[str, str]) -> str | None:
    """Return the key of DNS blocklists, or None where nobody gave one; as ``password``."""
    return _from_file(options, "dnsbl-key-file", environment, DNSBL_ENVIRONMENT)


def key_of_zones(options: Options, found: str | None) -> Secret | None:
    """Return the key that goes into the zones of DNS blocklists, None where none has room for it.

    Raises:
        UsageFault: there is a key without such a zone, such a zone without key, or it is no label.
    """
    keyed = [one for one in options.all("dnsbl") if _has_key(one)]
    if not keyed:
        if options.count("dnsbl-key-file"):
            problem = f"needs --dnsbl with the label {KEY_LABEL} in its zone"
            raise UsageFault("dnsbl-key-file", problem)
        return None
    if not found:
        raise UsageFault("dnsbl", f"{quoted(keyed[0])} needs a key, use --dnsbl-key-file FILE")
    if not hosts.is_label(found):
        raise UsageFault("dnsbl", "the key is not a DNS label: letters, digits and hyphens")
    return Secret(found)


def _has_key(given: str) -> bool:
    """Whether the zone of a ``--dnsbl`` needs the customer's key."""
    return KEY_LABEL in given.partition("/")[0].partition("=")[0].split(".")


def output_password(options: Options) -> str | None:
    """Return the password for where the answer goes, or None where nobody gave one."""
    path = options.last("output-pass-file")
    return None if path is None else _kept(first_line("output-pass-file", path))


def _from_file(
    options: Options, option: str, environment: Mapping[str, str], variable: str
) -> str | None:
    path = options.last(option)
    if path is not None:
        return _kept(first_line(option, path))
    return _kept(environment.get(variable) or None)


def _kept(found: str | None) -> str | None:
    """Return a password, and keep it out of core dumps."""
    if found is not None:
        keep_out_of_core_dumps()
    return found


def keep_out_of_core_dumps() -> None:
    """See to it that what this process knows is not written to a file, should it crash."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def first_line(option: str, path: str) -> str:
    """Return the first line of a file, which holds a secret.

    Raises:
        UsageFault: the file cannot be read, or can be by everyone, or that line is empty.
    """
    data = files.read(option, path, FILE_LIMIT, is_secret=True)
    line = data.removeprefix(codecs.BOM_UTF8).partition(b"\n")[0]
    text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
    if not text:
        raise UsageFault(option, f"the first line of {quoted(path)} is empty")
    return text


def one_line(option: str, given: str) -> str:
    """Return a password without control characters, which could end a line and a command.

    Raises:
        UsageFault: it has one.
    """
    if has_controls(given):
        raise UsageFault(option, "the password contains a control character, such as a line break")
    return given
