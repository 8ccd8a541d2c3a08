"""The plugin in a virtual environment of its own, with the files that pip would put there.

The one of ``make test`` has the checkout as an editable install, whose finder would cost each start
of Python more than some parts of the plugin.
"""

from __future__ import annotations

import compileall
import importlib.util
import shutil
import sysconfig
import venv
from pathlib import Path

PACKAGES = ("check_smtp_health", "nagiosplugin")

SCRIPT = """\
#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from check_smtp_health.cli import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
"""What pip writes for a console script."""


def install(folder: Path) -> tuple[str, str]:
    """Make the environment, in the place of what is there; return its Python and the plugin."""
    venv.create(folder, clear=True, symlinks=True)
    path = sysconfig.get_path("purelib", "posix_prefix", {"base": str(folder)})
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(spec.origin).parent, Path(path, name), ignore=ignored)
    compileall.compile_dir(path, quiet=1)
    python = folder / "bin" / "python"
    script = folder / "bin" / "check_smtp_health"
    script.write_text(SCRIPT.format(python=python))
    script.chmod(0o755)
    return str(python), str(script)
