"""Takes the pictures in docs/ again: ``make screenshots``, as root on Debian, some two minutes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.screenshots import chromium, icinga, nagios, terminal
from tests.screenshots.mail import HOSTS, World
from tests.servers import network

DOCS = Path(__file__).parents[2] / "docs"

PACKAGES = {
    "chromium": chromium.PROGRAM,
    "fonts-dejavu-core": "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf",
    "fonts-noto-core": "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "icingadb": "/usr/sbin/icingadb",
    "nagios4-cgi": nagios.PROGRAM,
    "pngquant": "/usr/bin/pngquant",
    "redis-server": "/usr/bin/redis-server",
}
"""What is needed in addition to what the tests need, and where it is."""

APART = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Runs processes that end with ours and see no network."""

INSIDE = "inside"
"""The argument of the process that runs so."""


class Window(NamedTuple):
    """The size of each of two pages, and how many of them are side by side."""

    width: int
    height: int
    columns: int = 2


WIDE = Window(640, 930)
PHONE = Window(375, 920)
TERMINAL = Window(712, 452)
NAGIOS = Window(1280, 575, columns=1)


def main(arguments: list[str]) -> int:
    """Take the pictures, or say what is missing; return the exit code."""
    if arguments == [INSIDE]:
        take()
        return 0
    if os.geteuid() != 0:
        print("make screenshots needs root, for names and ports of its own", file=sys.stderr)
        return 1
    missing = [package for package, path in PACKAGES.items() if not Path(path).exists()]
    if missing:
        install = "apt-get install --no-install-recommends"
        print(f"make screenshots needs more: {install} {' '.join(missing)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        names = "".join(f"{address} {host}\n" for host, address in HOSTS.items())
        seeing = network.private(Path(folder), hosts=names)
        ourselves = (sys.executable, "-m", "tests.screenshots", INSIDE)
        return subprocess.run([*APART, *seeing, *ourselves], check=False).returncode


def take() -> None:
    """Take all pictures; the network is ours alone."""
    addresses = [f"address add {address}/32 dev lo" for address in HOSTS.values()]
    commands = "\n".join(["link set lo up", *addresses])
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        metrics = icinga.measured(world)
        with world.serving(is_broken=True):
            _take_files(world, "terminal", TERMINAL, [terminal.draw(world, one) for one in HOSTS])
            _take_files(world, "nagios", NAGIOS, nagios.pages(world))
            with icinga.running(world, metrics) as web:
                _take_icinga(web, "icinga", WIDE)
                _take_icinga(web, "icinga-phone", PHONE)


def _take_files(world: World, name: str, window: Window, files: list[Path]) -> None:
    page = world.folder / f"{name}.html"
    urls = [file.as_uri() for file in files]
    page.write_text(chromium.pages(urls, window.width, window.height))
    _take(page.as_uri(), name, window)


def _take_icinga(web: icinga.Web, name: str, window: Window) -> None:
    text = chromium.pages(icinga.PAGES, window.width, window.height, icinga.OUTPUT)
    _take(web.page(f"{name}.html", text), name, window)


def _take(page: str, name: str, window: Window) -> None:
    rows = len(HOSTS) // window.columns
    width = chromium.extent(window.width, window.columns)
    picture = DOCS / f"screenshot-{name}.png"
    chromium.photograph(page, picture, width, chromium.extent(window.height, rows))
    print(f"{picture.relative_to(DOCS.parent)}: {picture.stat().st_size // 1024} KB")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
