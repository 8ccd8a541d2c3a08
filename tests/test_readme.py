"""What is written for people is true: the tables of the reference are the code's.

What the pages tell to type is in test_docs.py.
"""

from __future__ import annotations

import configparser
import json
import re
import ssl
from pathlib import Path

import pytest

from check_smtp_health import __version__, errors, faults
from check_smtp_health.judge.cause_table import ADVICE, CAUSES
from check_smtp_health.judge.states import FAILURES
from check_smtp_health.stages import NAMES
from tests import command_line, documented, plugin
from tests.documented import (
    ENGINES,
    ICINGA,
    README,
    REFERENCE,
    ROOT,
    STATES,
    World,
    blocks,
    coded,
    masked,
    run,
    section,
    table,
)
from tests.servers.authority import Authority, self_signed

DOCS = ROOT / "docs"
CERTIFICATES = (DOCS / "certificates.md").read_text()
MIGRATE = (DOCS / "migrate-from-check_smtp.md").read_text()
MAIL_DOMAIN = (DOCS / "watch-a-mail-domain.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
CAUSES_PAGE = (ROOT / "docs" / "causes.md").read_text()
FAULTS = (ROOT / "docs" / "faults.md").read_text()
NRPE = (ROOT / "contrib" / "nrpe.cfg").read_text()
MRPE = (ROOT / "contrib" / "mrpe.cfg").read_text()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return the world in which the commands run."""
    return documented.made(tmp_path_factory.mktemp("world"))


def test_what_a_reader_wants_first_comes_first() -> None:
    lines = README.splitlines()
    assert len(lines) < 150
    screen = "\n".join(lines[:40])
    assert re.search(r"!\[[^]]+\]\(docs/[\w-]+\.png\)", screen)
    assert [line for line in lines if line.startswith("## ")][:2] == [
        "## Install",
        "## Check one server",
    ]
    assert set(re.findall(r"^make (\w+)|`make (test)`", README, re.MULTILINE)) == {
        ("demo", ""),
        ("", "test"),
    }


def test_each_page_says_what_question_it_answers() -> None:
    pages = [path for path in DOCS.glob("*.md") if path.name != "README.md"]
    asked = re.compile(r"# .*\n\n(?:[^\n#]+\n)*?[^\n#]*\?")
    assert [path.name for path in pages if not asked.match(path.read_text())] == []


def test_json_members() -> None:
    schema = json.loads((DOCS / "output.schema.json").read_text())
    described = [(f"`{name}`", of["description"]) for name, of in schema["properties"].items()]
    assert table(REFERENCE, "JSON") == described


def test_stages() -> None:
    assert [coded(row[0]) for row in table(REFERENCE, "Stages")] == [[name] for name in NAMES]


def test_states() -> None:
    defaults = command_line.settings("-H", "mx.example.org").judging
    chosen = {"-t": defaults.timeout_state, "--tempfail": defaults.tempfail, "-c": "critical"}
    assert [(kind, state) for kind, _, state, _ in table(REFERENCE, "States")] == [
        (f"`{kind}`", chosen.get(word, word).upper()) for kind, word in FAILURES.items()
    ]


def test_the_option_that_changes_a_state_is_named() -> None:
    named = {kind.strip("`"): todo.split() for kind, _, _, todo in table(REFERENCE, "States")}
    changed = {kind: word for kind, word in FAILURES.items() if word.startswith("-")}
    assert [kind for kind, option in changed.items() if option not in named[kind]] == []


def test_what_to_do() -> None:
    told = {kind.strip("`"): todo for kind, _, _, todo in table(REFERENCE, "States")}
    assert told == ADVICE


def test_causes() -> None:
    assert table(CAUSES_PAGE, "What there is") == [
        (f"`{cause.name}`", cause.group, (cause.state or "").upper(), cause.advice)
        for cause in CAUSES.values()
    ]


EXPLAINED = re.findall(
    r"^\$ check_smtp_health --explain '(.*)'\n((?:.+\n)+?)```$",
    REFERENCE + CAUSES_PAGE,
    re.MULTILINE,
)


@pytest.mark.parametrize(("given", "answer"), EXPLAINED)
def test_explained(given: str, answer: str) -> None:
    outcome = plugin.run("--explain", given)
    assert (outcome.code, outcome.stdout, outcome.stderr) == (3, answer, "")


def test_faults() -> None:
    assert issubclass(faults.DnsUnanswered, errors.PeerFault)  # all of them are loaded
    peer = [fault.__name__ for fault in errors.PeerFault.__subclasses__()]
    ours = [
        fault.__name__
        for parent in (errors.CheckFault, errors.SessionFault)
        for fault in parent.__subclasses__()
        if fault not in (errors.SessionFault, errors.PeerFault)
    ]
    named = coded(section(CONTRIBUTING, "Faults"))
    assert named == ["CheckFault", *ours, "PeerFault", *peer]


def test_differences() -> None:
    measured = {
        (server, theirs, ours)
        for title in re.findall(r"^## (.*)$", FAULTS, re.MULTILINE)
        for server, _, ours, theirs, _ in table(FAULTS, re.escape(title))
    }
    rows = table(MIGRATE, "What differs")
    # In docs/faults.md the options have a column of their own.
    told = [(re.sub(r", with `-S`.*", "", server), *answers) for server, *answers in rows]
    assert [row for row in told if row not in measured] == []
    assert len(told) > 20
    judged = r"got \d+ of \d+ right"
    assert re.findall(judged, MIGRATE) == re.findall(judged, FAULTS) != []


def test_thresholds() -> None:
    words = coded(section(REFERENCE, "Thresholds"))
    ranges = [word for word in words if re.search(r"\d", word)]
    assert len(ranges) == 5
    for given in ranges:
        assert command_line.settings("-H", "mx.example.org", "-w", given).judging.limits.warning


def certificates(world: World, folder: Path) -> dict[str, ssl.SSLContext]:
    """Return a server's context for each row of the table of certificates."""
    name = "mx.example.org"
    serving = world.authority.serving
    return {
        "expires in less than 14 days": serving(name, days=11),
        "expires in less than 3 days": serving(name, days=1),
        "has expired": serving(name, days=-3),
        "is not valid yet": serving(name, since=3),
        "is for another name": serving("mail.example.org"),
        "comes from an authority that is not trusted here, or without its intermediate "
        "certificates": Authority.made(folder, "Private CA").serving(name),
        "is self-signed": self_signed(folder, name),
    }


def test_certificates(world: World, tmp_path: Path) -> None:
    rows = table(CERTIFICATES, "What is checked")
    contexts = certificates(world, tmp_path)
    assert [row[0] for row in rows] == list(contexts)
    for certificate, state, said in rows:
        outcome = run("check_smtp_health -H mx.example.org -S", world, contexts[certificate])
        after = " (after # s), cause: certificate" if "tls: " in said else ""
        assert masked(outcome.line) == masked(
            f"SMTP {state} - mx.example.org:25 {said.strip('`')}{after} [127.0.0.1]"
        )
        assert outcome.code == STATES.index(state)


def agents_checks() -> dict[str, str]:
    """Return the command line of each check that NRPE or Checkmk's agent is to run, by its name."""
    nrpe = re.findall(r"^command\[(\w+)\]=(.*)$", NRPE, re.MULTILINE)
    mrpe = re.findall(r"^([^\s#]\S*) (?:\(interval=\d+\) )?(/.*)$", MRPE, re.MULTILINE)
    lines = [*NRPE.splitlines(), *MRPE.splitlines()]
    assert len(nrpe + mrpe) == len([line for line in lines if line and line[0] != "#"])
    return dict(nrpe + mrpe)


@pytest.mark.parametrize("name", agents_checks())
def test_check_of_an_agent(name: str, world: World) -> None:
    plugins, _, line = agents_checks()[name].rpartition("/check_smtp_health")
    assert plugins == "/usr/lib/nagios/plugins"
    assert "'" not in line  # Checkmk's agent has the line between single quotes
    outcome = run(f"check_smtp_health{line}", world)
    assert (outcome.code, outcome.stdout[:10], outcome.stderr) == (0, "SMTP OK - ", "")


def test_checks_of_agents_that_are_named_exist() -> None:
    named = re.findall(r"\bcheck_nrpe!(\w+)|\bnrpe_command = \"(\w+)\"", ENGINES + NRPE)
    assert named
    assert {one or other for one, other in named} <= set(agents_checks())


def test_icinga_services() -> None:
    (block,) = blocks("icinga2", section(ENGINES, "Icinga 2"))
    domain = blocks("icinga2", section(MAIL_DOMAIN, "Icinga 2"))[0].partition("\n\n")[2]
    # The same example is in the file itself, among others, and Icinga validates it there.
    comment = ICINGA.partition(" */")[0]
    example = "\n".join(re.findall(r"^ \*(?:\t(.*))?$", comment, re.MULTILINE)).strip("\n")
    example = example.replace("\t", "  ")
    imported = '  import "generic-service"\n'
    assert example.startswith(block.replace(imported, "").strip("\n"))
    assert domain.replace(imported, "") in example
    used = set(re.findall(r"^  vars\.(\w+) =", example, re.MULTILINE))
    assert used
    variables = set(re.findall(r"\$(smtp_health_\w+)\$", ICINGA))
    assert used - variables == set()


def test_extras() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = re.findall(r"pip install '\.\[([\w,]+)\]'", README)
    assert named
    assert [set(extras.split(",")) - set(setup["options.extras_require"]) for extras in named] == [
        set()
    ]


def test_the_changelog_is_about_this_version() -> None:
    (version, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version == __version__
