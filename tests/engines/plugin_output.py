"""What Icinga Web shows of a check's output: its own classes render it."""

from __future__ import annotations

from pathlib import Path

from tests.engines.icinga_web import INSTALLED, IcingaWeb

RENDER = Path(__file__).with_name("plugin_output.php")


def rendered(text: str, web: IcingaWeb = INSTALLED) -> str:
    """Return the HTML that Icinga DB Web shows on the page of a service.

    ``text`` is what Icinga keeps of the output: all but the performance data.
    """
    return web.run(RENDER, "icingadb", text)


def rendered_by_monitoring(text: str) -> str:
    """Return the HTML that the module "monitoring" shows, which is for the older backend, IDO."""
    return INSTALLED.run(RENDER, "monitoring", text)
