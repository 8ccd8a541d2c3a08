"""Where the password comes from: a file, the environment or the command line."""

from __future__ import annotations

import os
import stat

from check_smtp_health.errors import UsageFault
from check_smtp_health.text import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from check_smtp_health.options import Options

ENVIRONMENT = "CHECK_SMTP_HEALTH_AUTHPASS"

FILE_LIMIT = 16 * 1024
"""Bytes read of a password file; OAuth tokens are long, but not that long."""


def password(options: Options, environment: Mapping[str, str]) -> str | None:
    """Return the password for AUTH, or None where nobody gave one.

    An empty variable counts as not set: Icinga exports missing macros so.

    Raises:
        UsageFault: the file cannot be read, or can be by everyone.
    """
    path = options.last("authpass-file")
    given = options.last("authpass")
    if path is not None and given is not None:
        raise UsageFault("authpass-file", f"contradicts {options.flag('authpass')}")
    if path is not None:
        return _first_line(path)
    return given if given is not None else environment.get(ENVIRONMENT) or None


def _first_line(path: str) -> str:
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IROTH:
                raise UsageFault(
                    "authpass-file", f"{quoted(path)} can be read by everyone, chmod o-r it"
                )
            line = file.readline(FILE_LIMIT)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageFault("authpass-file", f"cannot read {quoted(path)}: {reason}") from error
    text = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
    if not text:
        raise UsageFault("authpass-file", f"the first line of {quoted(path)} is empty")
    return text
