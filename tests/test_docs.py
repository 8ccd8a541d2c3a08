"""What the README and the pages in docs/ tell to type and to define works, page by page."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from check_smtp_health.config import option_table
from check_smtp_health.output import openmetrics
from check_smtp_health.stages import NAMES
from tests import documented, needs
from tests.documented import (
    ENGINES,
    ICINGA,
    NAGIOS,
    README,
    ROOT,
    STATES,
    World,
    blocks,
    coded,
    masked,
)
from tests.engines.icinga import LIBRARY, VARIABLES, Icinga
from tests.engines.nagios import Nagios

MULTIPLE = re.MULTILINE | re.DOTALL

OTHERS = {
    "watch-a-thousand-mail-servers.md",
    "README.md",
    "causes.md",
    "faults.md",
    "install.md",
    "performance.md",
}
"""The index, and what other tests hold to be true."""

TOPICS = {"reference.md", "engines.md", "graphs.md", "certificates.md"}
"""Pages to look something up in, which need not have a definition for each engine."""

FILES = sorted((ROOT / "docs").glob("*.md"))
TASKS = {
    f"docs/{path.name}": path.read_text() for path in FILES if path.name not in OTHERS | TOPICS
}
PAGES = {
    "README.md": README,
    **{f"docs/{name}": (ROOT / "docs" / name).read_text() for name in sorted(TOPICS)},
    **TASKS,
}
DEFINING = {
    "README.md": README,
    "docs/engines.md": ENGINES.partition("## More than one machine")[0],
    **TASKS,
}
"""Pages whose definitions make up one configuration; tests/engines/test_zones.py has the rest."""

LINES = [(page, line) for page, text in PAGES.items() for line in documented.shell_lines(text)]
SAMPLES = [(page, *sample) for page, text in PAGES.items() for sample in documented.samples(text)]
CHECKS = [
    (page, check)
    for page, text in {**PAGES, "contrib": NAGIOS}.items()
    for check in documented.nagios_checks(text)
]

AROUND = """
template Host "generic-host" { }
template Service "generic-service" { }

object Host "mx.example.org" {
	check_command = "dummy"
	vars.mail_server = true
}
"""
"""The Icinga configuration into which the services of a page are put."""

BESIDE = """
define host {
  host_name           mx
  address             127.0.0.1
  check_period        always
  max_check_attempts  1
  contacts            nobody
}
define service {
  name                generic-service
  check_period        always
  check_interval      1
  retry_interval      1
  max_check_attempts  1
  contacts            nobody
  register            0
}
"""
"""The same for Nagios."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return the world in which the commands run."""
    return documented.made(tmp_path_factory.mktemp("world"))


def test_each_task_has_all_that_its_reader_needs() -> None:
    assert [
        (page, language)
        for page, text in TASKS.items()
        for language in ("console", "sh", "icinga2", "nagios")
        if not blocks(language, text)
    ] == []
    assert [page for page, text in TASKS.items() if "\n## When it goes red\n" not in text] == []


WATCHED = ("Facts", "Try it by hand", "Icinga 2", "Nagios", "States", "Perfdata")


@pytest.mark.parametrize(
    "page", [page for page in TASKS if re.match(r"docs/(watch|log-in)-", page)]
)
def test_what_to_watch_has_facts_examples_states_and_perfdata(page: str) -> None:
    text = TASKS[page]
    titles = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [title for title in titles if title in WATCHED] == list(WATCHED)
    facts = [fact for fact, _ in documented.table(text, "Facts")]
    assert facts == ["recommended interval", "time", "cost", "needs"]
    assert [state for state, _ in documented.table(text, "States")] == list(STATES)
    assert set(re.findall(r"`([a-z_]+)`", documented.section(text, "Perfdata"))) <= {
        *(*NAMES, "time", "healthy", "certificate_days", "dnsbl", "spf_lookups", "dkim_bits")
    }


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_does_what_it_shall(page: str, line: str, world: World) -> None:
    outcome = documented.run(line, world)
    if "--output-format json" in line:
        answer = json.loads(outcome.stdout)
        assert (answer["state"], {"status", "problems", "targets"} - set(answer)) == ("OK", set())
    else:
        assert outcome.stdout[:10] == "SMTP OK - "
    assert (outcome.code, outcome.stderr) == (0, "")


@pytest.mark.parametrize(
    ("page", "line", "answer"), SAMPLES, ids=[f"{page}-{line}" for page, line, _ in SAMPLES]
)
def test_an_answer_is_real(page: str, line: str, answer: str, world: World) -> None:
    outcome = documented.run(line, world)
    assert (masked(outcome.stdout), outcome.stderr) == (masked(answer), "")
    assert outcome.code == STATES.index(answer.split()[1])


@pytest.mark.parametrize("page", PAGES)
def test_what_is_typed_can_be_read_by_a_shell(page: str) -> None:
    typed = [*blocks("sh", PAGES[page]), *(line for line, _ in documented.samples(PAGES[page]))]
    done = subprocess.run(
        ["sh", "-n"], input="\n".join(typed), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES)
def test_each_line_of_a_sample_is_compared(page: str) -> None:
    shown = [line for block in blocks("console", PAGES[page]) for line in block.splitlines()]
    compared = [
        line
        for command, answer in documented.samples(PAGES[page])
        for line in (f"$ {command}", *answer.splitlines())
    ]
    assert shown == compared


@pytest.mark.parametrize("page", PAGES)
def test_every_option_exists(page: str) -> None:
    text = re.sub(r"^```sh\n.*?^```$", "", PAGES[page], flags=MULTIPLE)
    text = "\n".join([text, *documented.shell_lines(PAGES[page])])
    flags = {
        flag
        for word in re.findall(r"(?<![\w-])--?[A-Za-z0-9][\w-]*", text)
        for flag in ([word] if word.startswith("--") else [f"-{letter}" for letter in word[1:]])
    }
    assert flags - {flag for option in option_table.OPTIONS for flag in option.flags} == set()
    assert flags


@pytest.mark.parametrize(("page", "check"), CHECKS)
def test_nagios_service(page: str, check: str, world: World) -> None:
    outcome = documented.run(documented.nagios_line(check, NAGIOS + PAGES.get(page, "")), world)
    assert (outcome.code, outcome.stdout[:10], outcome.stderr) == (0, "SMTP OK - ", "")


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_variables_that_are_named_exist(page: str) -> None:
    text = PAGES[page]
    defined = re.findall(r"^  command_name +(.*)$", NAGIOS, re.MULTILINE)
    named = re.findall(r"\bcheck_smtp_health_\w+|\bcheck_\w+_health\b", text)
    assert set(named) <= {"check_smtp_health", *defined}
    commands = set(re.findall(r'^object CheckCommand "(.*)"', ICINGA, re.MULTILINE))
    theirs = set(re.findall(r'^object CheckCommand "(.*)"', text, re.MULTILINE))
    assert set(re.findall(r'check_command = "(smtp.*)"', text)) <= commands | theirs
    variables = set(re.findall(r"\$(smtp_health_\w+)\$", ICINGA))
    gauges = {f"{openmetrics.PREFIX}{name}" for name in openmetrics.FAMILIES}
    assert set(re.findall(r"\bsmtp_health_\w+", text)) - commands - variables - gauges == set()


@pytest.mark.parametrize("page", DEFINING)
def test_icinga_takes_the_services(page: str, tmp_path: Path) -> None:
    icinga = Icinga(tmp_path, "\n".join([LIBRARY, AROUND, *blocks("icinga2", DEFINING[page])]))
    assert icinga.validate() == (
        0,
        "information/cli: Finished validating the configuration file(s).",
    )


@pytest.mark.parametrize("page", DEFINING)
def test_nagios_takes_the_services(page: str, tmp_path: Path) -> None:
    objects = "\n".join([BESIDE, *blocks("nagios", DEFINING[page])])
    assert Nagios(tmp_path, {}, objects=objects).validate() == (0, ["Total Errors:   0"])


def test_what_is_left_behind_is_told_with_what_takes_its_place() -> None:
    needs.program("icinga2")
    library = Path("/usr/share/icinga2/include/command-plugins.conf").read_text()
    (command,) = re.findall(r'^object CheckCommand "smtp" \{\n(.*?)^\}', library, MULTIPLE)
    flags = re.findall(r'"(-\w+)" = \{\s+(?:value|set_if) = "\$(smtp_\w+)\$"', command)
    option = {flag: option.name for option in option_table.OPTIONS for flag in option.flags}
    expected = {
        theirs: f"smtp_health_{VARIABLES.get(option[flag], option[flag].replace('-', '_'))}"
        for flag, theirs in flags
    }
    # A failed QUIT changes no state, with or without -q.
    del expected["smtp_ignore_quit"]
    text = TASKS["docs/migrate-from-check_smtp.md"]
    rows = re.findall(r"^\| (`smtp_.*`) \| (`smtp_.*`) \|$", text, re.MULTILINE)
    assert {theirs: ours for row in rows for theirs, ours in zip(*map(coded, row))} == expected


def headings(text: str) -> set[str]:
    """Return what links name the headings of a page by."""
    titles = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page",
    [*(path.name for path in ROOT.glob("*.md")), *(f"docs/{path.name}" for path in FILES)],
)
def test_what_is_pointed_at_exists(page: str) -> None:
    file = ROOT / page
    text = file.read_text()
    links = re.findall(r"\]\(([^)]+)\)", re.sub(r"`[^`\n]*`", "", text))
    for link in (link for link in links if not link.startswith("https://")):
        name, _, heading = link.partition("#")
        target = file.parent / name if name else file
        assert target.exists(), link
        assert not heading or heading in headings(target.read_text()), link
    paths = [
        word for word in coded(text) if re.fullmatch(r"(tests|contrib|docs|\.ci)/[\w./-]+", word)
    ]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) - set(targets) == set()


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    linked = re.findall(r"\]\((\w\S*\.md)\)", index)
    assert sorted(linked) == [path.name for path in FILES if path.name != "README.md"]


def test_a_forge_runs_what_anyone_runs_and_asks_for_what_is_needed() -> None:
    forge = ROOT / ".github"
    workflow = yaml.safe_load((forge / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1]["run"] == ".ci/run"
    for form in ("bug", "request"):
        asked = yaml.safe_load((forge / "ISSUE_TEMPLATE" / f"{form}.yml").read_text())
        texts = [part["attributes"].get("description", "") for part in asked["body"]]
        assert {"name", "description", "body"} <= set(asked)
        assert any("check_smtp_health -V" in text for text in texts)
        assert any("-vvv" in text for text in texts)
