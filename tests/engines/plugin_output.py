"""What Icinga Web shows of a check's output: its own classes render it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.engines.icinga_web import INSTALLED, IcingaWeb

RENDER = Path(__file__).with_name("plugin_output.php")


def rendered(text: str, web: IcingaWeb = INSTALLED) -> str:
    """Return the HTML that Icinga DB Web shows on the page of a service.

    ``text`` is what Icinga keeps of the output: all but the performance data.
    """
    return _rendered(web, "icingadb", text)


def rendered_by_monitoring(text: str) -> str:
    """Return the HTML that the module "monitoring" shows, which is for the older backend, IDO."""
    return _rendered(INSTALLED, "monitoring", text)


def _rendered(web: IcingaWeb, module: str, text: str) -> str:
    web.version(module)
    done = subprocess.run(
        web.command("php", str(RENDER), module),
        input=text.encode(),
        capture_output=True,
        env={"PATH": os.defpath, "ICINGAWEB_CONFIGDIR": os.devnull},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()
