"""The engines' definitions, which are installed with the package: links to those in ``contrib/``.

A build puts the files themselves in the links' place, and a zipapp has them inside.
"""

from __future__ import annotations

from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted

FILES = {
    "icinga2": "icinga2-commands.conf",
    "director": "director-basket.json",
    "nagios": "nagios-commands.cfg",
    "nrpe": "nrpe.cfg",
}
"""Where the definitions are, by engine."""


def read(engine: str) -> str:
    """Return the definitions for that engine.

    Raises:
        UsageFault: there is no such engine.
    """
    from importlib.resources import files

    if engine not in FILES:
        raise UsageFault("print-definition", f"{quoted(engine)} is not one of {', '.join(FILES)}")
    return files(__name__).joinpath(FILES[engine]).read_text("utf-8")
