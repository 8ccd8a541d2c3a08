"""Where the passwords come from: a file, the environment or the command line."""

from __future__ import annotations

import codecs

from check_smtp_health.config import files
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from check_smtp_health.config.getopt import Options

ENVIRONMENT = "CHECK_SMTP_HEALTH_AUTHPASS"

MAILBOX_ENVIRONMENT = "CHECK_SMTP_HEALTH_MAILBOXPASS"

DNSBL_ENVIRONMENT = "CHECK_SMTP_HEALTH_DNSBLKEY"

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
