"""Writes the plugin as a single file that needs only Python: a zipapp with nagiosplugin inside.

The arguments are our wheel and the file to write. The same wheel, nagiosplugin, Python and
``SOURCE_DATE_EPOCH`` give the same bytes.
"""

from __future__ import annotations

import marshal
import os
import sys
import time
from importlib.metadata import distribution
from importlib.util import MAGIC_NUMBER, source_hash
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

INTERPRETER = b"#!/usr/bin/env python3\n"

MAIN = b"""\
import sys

if sys.version_info < (3, 9):
    version = "%d.%d" % sys.version_info[:2]
    sys.stdout.write("SMTP UNKNOWN - needs Python 3.9 or later, but this is %s\\n" % version)
    sys.exit(3)

from check_smtp_health.cli import main

main()
"""
"""An older Python can read this, too. Otherwise it would exit with 1, which is WARNING."""


def ours(wheel: Path) -> dict[str, bytes]:
    """Return the wheel's package and licence by their names in the archive."""
    with ZipFile(wheel) as archive:
        return {
            name: archive.read(name)
            for name in archive.namelist()
            if name.startswith("check_smtp_health/") or name.endswith("/LICENSE")
        }


def nagiosplugin() -> dict[str, bytes]:
    """Return package and licence of the installed nagiosplugin by their names in the archive."""
    installed = distribution("nagiosplugin")
    return {
        str(path): path.read_binary()
        for path in installed.files or ()
        if (
            path.parts[0] == "nagiosplugin"
            and path.suffix == ".py"
            and "examples" not in path.parts
        )
        or path.name.startswith("LICENSE")
    }


def bytecode(name: str, source: bytes) -> bytes:
    """Return the compiled module (PEP 552, unchecked): it spares a check half of its time.

    Under the Python that builds the file, that is; any other compiles the source itself.
    """
    code = compile(source, name, "exec", dont_inherit=True)
    # A later format than 2 differs with what else refers to the constants at this moment.
    text = marshal.dumps(code, 2)
    return MAGIC_NUMBER + (1).to_bytes(4, "little") + source_hash(source) + text


def main(wheel: Path, target: Path) -> None:
    """Write the zipapp."""
    modules = {**ours(wheel), **nagiosplugin()}
    contents = {"__main__.py": MAIN, **modules}
    for name, text in modules.items():
        if name.endswith(".py"):
            contents[f"{name}c"] = bytecode(name, text)
    moment = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", "315532800")))
    with target.open("wb") as file:
        file.write(INTERPRETER)
        with ZipFile(file, "w", ZIP_DEFLATED) as archive:
            for name in sorted(contents):
                entry = ZipInfo(name, moment[:6])
                entry.external_attr = 0o100644 << 16
                archive.writestr(entry, contents[name], ZIP_DEFLATED)
    target.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
