"""The help: all of it for ``--help``, what matters for ``-h``; whatever it shows, works."""

from __future__ import annotations

import re
import shlex

import pytest

from check_smtp_health.config import manual, thresholds
from check_smtp_health.config.option_table import OPTIONS
from tests import command_line, plugin
from tests.window import Window

FLAG = r"(?<![\w-])--?[A-Za-z0-9][\w-]*"


def options_of(text: str) -> list[str]:
    """Return the first flag of each row of options."""
    return re.findall(
        r"^  (--?[A-Za-z0-9][\w-]*)(?:[ ,]|$)", text.partition("\nexamples:")[0], re.M
    )


def commands_of(text: str) -> list[str]:
    """Return the examples, each in one line."""
    return re.findall(r"^    check_smtp_health (.*)$", text.replace(" \\\n        ", " "), re.M)


def test_the_short_help() -> None:
    done = plugin.run("-h")
    assert (done.code, done.stderr) == (3, "")
    assert options_of(done.stdout) == [
        *("-H", "-p", "-S", "-s", "-U", "--authpass-file", "--rcpt", "-w", "-c", "-v"),
    ]
    assert commands_of(done.stdout) == [given for _, given in manual.EXAMPLES[:4]]
    assert done.stdout.endswith(
        "All options and more examples: check_smtp_health --help\n"
        "Exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.\n"
    )
    assert done.stdout.count("\n") < 42


@pytest.mark.parametrize("flag", ["--help", "--hel", "-h --help"])
def test_the_whole_help(flag: str) -> None:
    done = plugin.run(*flag.split())
    assert (done.code, done.stderr) == (3, "")
    assert options_of(done.stdout) == [option.flags[0] for option in OPTIONS]
    assert {flag for option in OPTIONS for flag in option.flags} <= set(
        re.findall(FLAG, done.stdout)
    )
    assert commands_of(done.stdout) == [given for _, given in manual.EXAMPLES]


@pytest.mark.usefixtures("uncovered")
@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize(
    ("columns", "most"), [(60, 80), (80, 80), (90, 90), (100, 100), (200, 100)]
)
def test_it_fits_the_window(flag: str, columns: int, most: int) -> None:
    window = Window(flag, columns=columns)
    assert window.end() == 3
    longest = max(map(len, window.written.decode().split("\r\n")))
    assert most - 12 < longest <= most


def test_it_is_the_same_on_a_pipe_whatever_the_window() -> None:
    assert plugin.run("-h", environment={"COLUMNS": "40"}).stdout == manual.short(80)


@pytest.mark.parametrize("given", [given for _, given in manual.EXAMPLES])
def test_every_example_is_right(given: str) -> None:
    password = "password"
    arguments = [one for one in shlex.split(given) if one != "FILE"]
    arguments = [one for one in arguments if not one.endswith(("-file", "pass-file"))]
    if "--print-definition" in arguments:
        assert plugin.run(*arguments).code == 3
        return
    command_line.settings(*arguments, password=password, mailbox_password=password)


FINE: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "5": ((0, 3, 5), (-0.1, 5.1)),
    "10:": ((10, 99), (9.9,)),
    "~:5": ((-9, 5), (5.1,)),
    "1:5": ((1, 5), (0.9, 5.1)),
    "@1:5": ((0.9, 5.1), (1, 5)),
    "helo=0.5": ((0, 0.5), (0.6,)),
}


def test_ranges_mean_what_they_say() -> None:
    assert [shlex.split(given)[0] for given, _ in manual.RANGES] == list(FINE)
    for given, (fine, bad) in FINE.items():
        limit = thresholds.parse("warning", given.rpartition("=")[2])
        assert not any(limit.is_violated(value) for value in fine)
        assert all(limit.is_violated(value) for value in bad)
    assert command_line.problem("-H", "127.0.0.1", "-w", "2,helo=0.5,banner=1") == ""
