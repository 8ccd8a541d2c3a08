"""Icinga Web with its modules: this system's, and on Debian 12 that of Debian 13, too.

``tests/servers/install`` unpacks the latter. What runs there sees it in the place of this system's,
in a mount namespace of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests import needs

MODULES = Path("usr/share/icingaweb2/modules")

IN_ITS_PLACE = (
    'for place in php/Icinga icinga-php icingaweb2; do mount --bind "$1/usr/share/$place"'
    ' "/usr/share/$place" || exit; done; shift; exec "$@"'
)


class IcingaWeb(NamedTuple):
    """An Icinga Web, whose files are below that folder as others are below the root."""

    tree: Path

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs another where this Icinga Web is.

        Leaves the test out where a program, or Icinga Web, is missing.
        """
        program, *rest = arguments
        inside = [needs.program(program), *rest]
        if self == INSTALLED:
            return inside
        needs.root()
        return ["unshare", "--mount", "sh", "-c", IN_ITS_PLACE, "sh", str(self.tree), *inside]

    def run(self, script: Path, module: str, text: str, configuration: str = os.devnull) -> str:
        """Return what a PHP script of ours makes of a text, with the classes of a module."""
        self.version(module)
        with tempfile.TemporaryDirectory() as cache:
            done = subprocess.run(
                self.command("php", str(script), module),
                input=text.encode(),
                capture_output=True,
                env={
                    "PATH": os.defpath,
                    "ICINGAWEB_CONFIGDIR": configuration,
                    "TMPDIR": cache,
                },
                check=False,
            )
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    def version(self, module: str) -> tuple[int, ...]:
        """Return a module's version, or leave the test out where the module is missing."""
        path = self.tree / MODULES / module / "module.info"
        if not path.exists():
            needs.leave_out(f"needs icingaweb2-module-{module} below {self.tree}")
        (version,) = re.findall(r"^Version: *([\d.]+)$", path.read_text(), re.MULTILINE)
        return tuple(map(int, version.split(".")))


INSTALLED = IcingaWeb(Path("/"))

NEXT = IcingaWeb(Path("/var/cache/check_smtp_health-tests/icingaweb2"))

RELEASE = Path("/etc/os-release")

IS_DEBIAN_12 = RELEASE.exists() and "VERSION_CODENAME=bookworm\n" in RELEASE.read_text()

ALL = {"installed": INSTALLED, **({"next": NEXT} if IS_DEBIAN_12 else {})}
"""By name; Icinga Director 1.10 comes with the one, 1.11 with the other."""
