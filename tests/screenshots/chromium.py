"""Pictures of pages, by Debian's Chromium, which runs once for each and asks nobody else."""

from __future__ import annotations

import html
import subprocess
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "/usr/bin/chromium"

QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--force-color-profile=srgb"),
)

LOADING = 8000
"""Milliseconds of the page's own time, in which it has drawn its graphs."""

PATIENCE = 120
"""Seconds for one picture on a busy machine; it takes five."""

COLOURS = "128"
"""As many as a picture has: enough for text and graphs, at a third of the size."""

GAP = 8
"""Pixels between two pages."""

PAGES = """<!doctype html>
<meta charset="utf-8">
<style>
  body {{ margin: 0; background: #d8dee4; display: flex; flex-wrap: wrap; gap: {gap}px }}
  iframe {{ border: 0; width: {width}px; height: {height}px; background: #fff }}
</style>
{frames}
<script>
  const unfold = "{unfold}";
  setInterval(() => document.querySelectorAll("iframe").forEach((frame) => {{
    const folded = unfold && frame.contentDocument.querySelector(unfold);
    if (folded) folded.click();
  }}), 500);
</script>
"""
"""A page of pages, each in a window of its own, for Chromium's cannot be as narrow as a telephone.

It clicks on what unfolds a part of them, where that is folded.
"""


def pages(urls: list[str], width: int, height: int, unfold: str = "") -> str:
    """Return a page of others, each that many pixels wide and high, as many in a row as fit.

    ``unfold`` is the selector of what is to be clicked on in each of them, as long as it is there.
    """
    frames = "\n".join(f'<iframe src="{html.escape(url)}"></iframe>' for url in urls)
    return PAGES.format(gap=GAP, width=width, height=height, frames=frames, unfold=unfold)


def extent(size: int, count: int) -> int:
    """Return the pixels that so many pages of that size take, with what is between them."""
    return count * (size + GAP) - GAP


def photograph(url: str, picture: Path, width: int, height: int) -> None:
    """Write what a window of that many pixels shows of a page, in few colours, to a PNG file."""
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        done = subprocess.run(
            [
                *(PROGRAM, *QUIET, f"--user-data-dir={profile}", f"--screenshot={picture}"),
                *(f"--window-size={width},{height}", f"--virtual-time-budget={LOADING}", url),
            ],
            env={"PATH": "/usr/bin:/bin", "HOME": profile, "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    if done.returncode != 0 or not picture.exists():
        raise RuntimeError(f"no picture of {url}:\n{done.stderr}")
    reduce = ("pngquant", "--force", "--nofs", "--strip", "--output", picture, COLOURS, picture)
    subprocess.run(reduce, check=True)
