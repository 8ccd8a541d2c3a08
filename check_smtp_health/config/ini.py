"""``--extra-opts``: options from INI files, read as the Monitoring Plugins read them.

Their parser is the reference (lib/parse_ini.c): options are put before those of the command line,
a key may come repeatedly, a key of one letter is a short option, ``key=`` is a switch. That is
not configparser's INI.
"""

from __future__ import annotations

import os
import re

from check_smtp_health.config import files, getopt
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from check_smtp_health.config.getopt import Options

PROGRAM = "check_smtp_health"

FILES = (
    "/usr/local/etc/monitoring-plugins/monitoring-plugins.ini",
    "/usr/local/etc/monitoring-plugins.ini",
    "/etc/monitoring-plugins/monitoring-plugins.ini",
    "/etc/monitoring-plugins.ini",
    "/etc/nagios/plugins.ini",
    "/usr/local/nagios/etc/plugins.ini",
    "/usr/local/etc/nagios/plugins.ini",
    "/etc/opt/nagios/plugins.ini",
    "/etc/nagios-plugins.ini",
    "/usr/local/etc/nagios-plugins.ini",
    "/etc/opt/nagios-plugins.ini",
)
"""Where the file is looked for, in this order."""

FILES_IN_PATH = ("monitoring-plugins.ini", "plugins.ini", "nagios-plugins.ini")
"""Names looked for in each directory of NAGIOS_CONFIG_PATH."""

SIZE_LIMIT = 1024 * 1024
"""Bytes of an options file; a larger one is a mistake (a device, a log)."""


# A flag without its dashes: what does not look like one is not repeated either.
_KEY = "[A-Za-z0-9]|[A-Za-z][A-Za-z0-9-]{0,38}[A-Za-z0-9]"


def expanded(options: Options) -> Options:
    """Return options with those that their ``--extra-opts`` stand for.

    Raises:
        UsageFault: as ``read``.
    """
    return options.after(getopt.read(read(options.all("extra-opts"))).hidden())


def read(locators: tuple[str, ...]) -> list[str]:
    """Return the arguments that the values of all ``--extra-opts`` stand for.

    Raises:
        UsageFault: no such file or section, or a line that is not ``key=value``.
    """
    return [argument for locator in locators for argument in _read(locator)]


def parse(lines: list[str], section: str, source: str) -> list[str]:
    """Return the options of one section as arguments.

    Raises:
        UsageFault: ``source`` has no such section, or a line in it is not understood.
    """
    arguments: list[str] = []
    for where, key, value in pairs(lines, section, source, "extra-opts", _KEY):
        option = getopt.find(f"-{key}" if len(key) == 1 else f"--{key}")
        if value and not option.value and value not in option.optional:
            raise UsageFault("extra-opts", f"{where}: {key} takes no value")
        # "=" even for an empty value: it must not swallow the argument that follows.
        if option.name == "extra-opts":
            raise UsageFault("extra-opts", f"{where} takes no further --extra-opts")
        arguments.append(f"--{option.name}={value}")
    return arguments


def pairs(
    lines: list[str], section: str, source: str, option: str, keys: str
) -> Iterator[tuple[str, str, str]]:
    """Give where each line of a section is, its key, which must match ``keys``, and its value.

    Raises:
        UsageFault: ``source`` has no such section, or a line that is none; ``option`` is to blame.
    """
    current: str | None = None
    seen = False
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            current = line[1:].partition("]")[0].strip()
            seen = seen or current == section
        elif current is None:
            where = f"line {number} of {quoted(source)}"
            raise UsageFault(option, f"{where} stands before the first [section]")
        elif current == section:
            key, equals, value = (part.strip() for part in line.partition("="))
            where = f"line {number} of {quoted(source)}"
            # Nothing else of the line is repeated: it may hold a password.
            if not equals or not re.fullmatch(keys, key):
                raise UsageFault(option, f"{where} is not key=value")
            yield where, key, value
    if not seen:
        raise UsageFault(option, f"{quoted(source)} has no section {quoted(section)}")


def _read(locator: str) -> list[str]:
    section, at, path = locator.partition("@")
    if not at:
        path = _default_file()
    data = files.read("extra-opts", path, SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise UsageFault("extra-opts", f"{quoted(path)} is larger than {SIZE_LIMIT} bytes")
    return parse(os.fsdecode(data).split("\n"), section or PROGRAM, path)


def _default_file() -> str:
    named = os.environ.get("MP_CONFIG_FILE")
    if named:
        return named
    directories = filter(None, os.environ.get("NAGIOS_CONFIG_PATH", "").split(":"))
    in_path = [os.path.join(where, name) for where in directories for name in FILES_IN_PATH]
    for path in (*in_path, *FILES):
        if os.path.exists(path):
            return path
    raise UsageFault("extra-opts", "no options file in any of the standard places; give @FILE")
