"""What docs/watch-a-thousand-mail-servers.md shows is what the plugin takes and says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from check_smtp_health.config import checks_file
from tests import command_line, plugin
from tests.documented import ROOT, blocks

PAGE = (ROOT / "docs" / "watch-a-thousand-mail-servers.md").read_text()


def test_the_file_is_right() -> None:
    (text,) = blocks("checks", PAGE)
    lines = list(checks_file.parse(text))
    assert [line.problem for line in lines] == [""] * 4
    for line in lines:
        command_line.settings(*line.arguments, password="secret")


def test_the_answer_looks_like_that(tmp_path: Path) -> None:
    """The same file, where nobody knows the hosts: the line has the form that is shown."""
    (text,) = blocks("checks", PAGE)
    (tmp_path / "checks").write_text(text.replace("example.org", "example.invalid"))
    done = subprocess.run(
        [plugin.SCRIPT, "--checks", "checks", "-t", "5"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    (shown,) = re.findall(r"^SMTP .*$", PAGE, re.MULTILINE)
    form = r"SMTP CRITICAL - \d of 4 checks OK, \d CRITICAL, 1 UNKNOWN: .*; .* \| checks=4 ok=\d "
    form += r"warning=0 critical=\d unknown=1 time=\d+\.\d{6}s\n?"
    assert re.fullmatch(form, shown)
    assert re.fullmatch(form, done.stdout)
    (unreadable,) = re.findall(r"mx1 Submission line 3 of 'checks': .*directory", shown)
    assert unreadable in done.stdout
