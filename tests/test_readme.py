"""What is written for people is true: tables are the code's, commands run, answers are real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from check_smtp_health import __version__, errors, options, settings
from check_smtp_health.evaluation import FAILURES
from check_smtp_health.stages import NAMES
from tests import plugin
from tests.differences import ROWS
from tests.servers.scripted import Expect, ScriptedServer, Sleep
from tests.test_rooms import LEAVES, MAY_IMPORT

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
NAGIOS = (ROOT / "contrib" / "nagios-commands.cfg").read_text()
ICINGA = (ROOT / "contrib" / "icinga2-commands.conf").read_text()

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

# The first wait makes the banner the slowest stage beyond doubt.
SCRIPTS = {
    "mx.example.org": (
        Sleep(0.1),
        b"220 mx.example.org ESMTP Postfix\r\n",
        Expect(b""),
        b"250-mx.example.org\r\n250-SIZE 10240000\r\n250 STARTTLS\r\n",
        Expect(b"QUIT"),
        b"221 2.0.0 Bye\r\n",
    ),
    "mx2.example.org": (
        b"220 mx2.example.org ESMTP Postfix\r\n",
        Expect(b"HELO"),
        b"550 5.7.1 Access denied\r\n",
        Expect(b"QUIT"),
        b"221 2.0.0 Bye\r\n",
    ),
    "/run/dovecot/lmtp": (
        b"220 mx.example.org Dovecot ready.\r\n",
        Expect(b"LHLO"),
        b"250 mx.example.org\r\n",
        Expect(b"QUIT"),
        b"221 2.0.0 OK\r\n",
    ),
}
"""The hosts of the README, each with what its server does there."""


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def table(text: str, title: str) -> list[tuple[str, ...]]:
    """Return the cells of the table below that heading, its head left out."""
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip("|") for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines[2:]]
    return [tuple(cell.replace(r"\|", "|") for cell in row) for row in rows]


def coded(cell: str) -> list[str]:
    """Return the words between backticks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", cell)


def shell_lines() -> list[str]:
    """Return the lines that run the plugin, sample answers left out."""
    return [
        line
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("check_smtp_health")
    ]


def samples() -> list[tuple[str, str]]:
    """Return each command that is shown with its answer."""
    return [
        (command, answer)
        for block in blocks("console")
        for command, answer in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)+)", block, re.MULTILINE)
    ]


def run(line: str, folder: Path) -> plugin.Outcome:
    """Run a command line of the README in a shell, with a server of ours in place of its host."""
    match = re.search("-H '?([^' ]+)", line)
    assert match is not None
    host = match[1]
    path = str(folder / "socket") if host.startswith("/") else ""
    line = line.replace(host, path or "localhost").replace("check_smtp_health", '"$0"', 1)
    with ScriptedServer(SCRIPTS[host], path=path).running() as server:
        where = () if path else ("-4", "-p", str(server.port))
        outcome = plugin.run(
            *where,
            prefix=("sh", "-c", f'{line} "$@"'),
            environment={"PYTHONIOENCODING": "utf-8"},
        )
    assert server.faults == []
    return outcome


def masked(answer: str) -> str:
    """Return an answer without what differs from run to run: address, port, times, bars."""
    answer = re.sub(r"\d+\.\d+\.\d+\.\d+", "ADDRESS", answer)
    answer = re.sub(r"\S+:\d+ \[ADDRESS\]", "TARGET", answer)
    answer = re.sub(r"\d+\.(\d{6}|\d{3})(?!\d)", "#", answer)
    return re.sub(" *█+ *", " █ ", answer)


def test_stages() -> None:
    assert [coded(row[0]) for row in table(README, "Stages")] == [[name] for name in NAMES]


def test_states() -> None:
    defaults = settings.build(options.read(["-H", "mx.example.org"]), (), "")
    chosen = {"-t": defaults.timeout_state, "--tempfail": defaults.tempfail}
    assert [(kind, state) for kind, _, state, _ in table(README, "States")] == [
        (f"`{kind}`", chosen.get(word, word).upper()) for kind, word in FAILURES.items()
    ]


def test_the_option_that_changes_a_state_is_named() -> None:
    named = {
        kind.strip("`"): [words.split()[0] for words in coded(todo)]
        for kind, _, _, todo in table(README, "States")
    }
    changed = {kind: word for kind, word in FAILURES.items() if word.startswith("-")}
    assert [kind for kind, option in changed.items() if option not in named[kind]] == []


def test_faults() -> None:
    peer = [fault.__name__ for fault in errors.PeerFault.__subclasses__()]
    ours = [
        [fault.__name__]
        for parent in (errors.CheckFault, errors.SessionFault)
        for fault in parent.__subclasses__()
        if fault not in (errors.SessionFault, errors.PeerFault)
    ]
    rows = table(README, "Errors in the code")
    assert [coded(row[0]) for row in rows] == [*ours, ["PeerFault", *peer]]


def test_differences() -> None:
    assert table(README, "Differences from check_smtp") == [
        (row.server, f"{STATES[row.theirs.code]}: `{row.theirs.line}`", f"`{row.ours.line}`")
        for row in ROWS
    ]


def test_every_option_exists() -> None:
    text = re.sub(r"^```sh\n.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    text = "\n".join([text, *shell_lines()])
    flags = {
        flag
        for word in re.findall(r"(?<![\w-])--?[A-Za-z0-9][\w-]*", text)
        for flag in ([word] if word.startswith("--") else [f"-{letter}" for letter in word[1:]])
    }
    assert flags - {flag for option in options.OPTIONS for flag in option.flags} == set()
    assert {"-H", "--require", "-v"} <= flags


@pytest.mark.parametrize("line", shell_lines())
def test_a_command_does_what_it_shall(line: str, tmp_path: Path) -> None:
    outcome = run(line, tmp_path)
    assert (outcome.code, outcome.stdout[:10], outcome.stderr) == (0, "SMTP OK - ", "")


@pytest.mark.parametrize(("line", "answer"), samples(), ids=[line for line, _ in samples()])
def test_an_answer_is_real(line: str, answer: str, tmp_path: Path) -> None:
    outcome = run(line, tmp_path)
    assert (masked(outcome.stdout), outcome.stderr) == (masked(answer), "")
    assert outcome.code == STATES.index(answer.split()[1])


def test_thresholds() -> None:
    for row in table(README, "Thresholds"):
        (given,) = coded(row[0])
        chosen = options.read(["-H", "mx.example.org", "-w", given])
        assert settings.build(chosen, (*NAMES, "time"), "").warning


def test_nagios_service(tmp_path: Path) -> None:
    (block,) = blocks("nagios")
    (command,) = re.findall(r"^  check_command +(.*)$", block, re.MULTILINE)
    name, *arguments = command.split("!")
    lines = dict(re.findall(r"^  command_name +(.*)\n  command_line +(.*)$", NAGIOS, re.MULTILINE))
    line = lines[name].replace("$USER1$/", "").replace("$HOSTADDRESS$", "mx.example.org")
    for number, argument in enumerate(arguments, 1):
        assert f"$ARG{number}$" in line
        line = line.replace(f"$ARG{number}$", argument)
    assert "$" not in line
    outcome = run(line, tmp_path)
    assert (outcome.code, outcome.stdout[:10], outcome.stderr) == (0, "SMTP OK - ", "")


def test_icinga_service() -> None:
    (block,) = blocks("icinga2")
    (command,) = re.findall(r'check_command = "(.*)"', block)
    assert re.findall(r'^object CheckCommand "(.*)"', ICINGA, re.MULTILINE) == [command]
    used = set(re.findall(r"^  vars\.(\w+) =", block, re.MULTILINE))
    named = set(re.findall(r"\b(?:smtp_health_\w+)", README))
    assert used
    assert (used | named) - set(re.findall(r"\$(smtp_health_\w+)\$", ICINGA)) == set()


def test_rooms() -> None:
    listed = {
        name: {
            word
            for cell in re.split(", ", allowed)
            for word in (LEAVES if cell == "the leaves" else coded(cell))
        }
        for names, allowed in table(CONTRIBUTING, "Rooms")
        for name in coded(names)
    }
    assert listed == {
        name: allowed - {"__init__"}
        for name, allowed in MAY_IMPORT.items()
        if not name.endswith("__init__")
    }


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_what_is_pointed_at_exists(text: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", text)
    paths = [word for word in coded(text) if re.fullmatch(r"(tests|contrib|\.ci)/[\w./-]+", word)]
    assert [path for path in links + paths if not (ROOT / path).exists()] == []
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) - set(targets) == set()


def test_the_changelog_is_about_this_version() -> None:
    (version, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version == __version__
