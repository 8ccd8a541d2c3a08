"""Icinga Director takes our basket, whichever was there before, and its form makes services."""

from __future__ import annotations

import html
import json
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contrib.generate import CONTRIB
from contrib.generate.commands import Variable, read
from contrib.generate.director import FORM, LISTS, PREFIX
from tests import needs
from tests.engines import icinga_web
from tests.engines.director import Director, Field
from tests.engines.icinga import Icinga
from tests.servers import postgresql
from tests.servers.loopback import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.postgresql import PostgreSQL

BASKET = (CONTRIB / "director-basket.json").read_text()

INSTALLING = (Path(__file__).parents[2] / "docs" / "install.md").read_text()

COMMANDS, FIELDS, SECRETS = 5, sum(map(len, FORM.values())), 3
LEVELS = 2  # arguments for what smtp_health_verbose is as a number

PASSWORD = "pa$$word"

SERVICE = {
    "object_name": "submission",
    "object_type": "template",
    "imports": ["smtp-health-submission"],
    "vars": {
        "smtp_health_address": ["mail.example.org", "mail2.example.org"],
        "smtp_health_authpass": PASSWORD,
        "smtp_health_authtype": "PLAIN",
        "smtp_health_authuser": "monitor",
        "smtp_health_no_verify": True,
        "smtp_health_tempfail": "critical",
        "smtp_health_timeout": "20:unknown",
        "smtp_health_tls_min": "1.3",
        "smtp_health_warning": ["1", "banner=0.5"],
    },
}

RENDERED = """/** zones.d/director-global/service_templates.conf **/

template Service "submission" {
    import "smtp-health-submission"

    vars.smtp_health_address = [ "mail.example.org", "mail2.example.org" ]
    vars.smtp_health_authpass = "pa$$word"
    vars.smtp_health_authtype = "PLAIN"
    vars.smtp_health_authuser = "monitor"
    vars.smtp_health_no_verify = true
    vars.smtp_health_tempfail = "critical"
    vars.smtp_health_timeout = "20:unknown"
    vars.smtp_health_tls_min = "1.3"
    vars.smtp_health_warning = [ "1", "banner=0.5" ]
}

"""

TEMPLATE = """/** zones.d/director-global/service_templates.conf **/

template Service "smtp-health-submission" {
    check_command = "smtp_health_submission"
}

"""

DIRECTORS_NODE = """
object Endpoint NodeName { host = "127.0.0.1"; port = ApiPort }
object Zone ZoneName { endpoints = [ NodeName ] }
object ApiListener "api" { bind_host = "127.0.0.1"; bind_port = ApiPort }
object ApiUser "test" { password = "test"; permissions = [ "*" ] }
"""
"""A node that Director can ask, at a port that is known beforehand."""

KICKSTART = """
[config]
endpoint = localhost
host = 127.0.0.1
port = {port}
username = test
password = test
"""

LIBRARY = Path("/usr/share/icinga2/include/command-plugins.conf")

PATIENCE = 10
"""Seconds that Icinga gets to come up; it takes one."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql.running() as server:
        yield server


@pytest.fixture(scope="module", params=icinga_web.ALL.values(), ids=list(icinga_web.ALL))
def empty(
    request: pytest.FixtureRequest,
    server: PostgreSQL,
    tmp_path_factory: pytest.TempPathFactory,
) -> Director:
    """Return a Director in which there is nothing."""
    folder = tmp_path_factory.mktemp("director")
    return Director(request.param, folder, server, f"empty_{time.monotonic_ns()}")


@pytest.fixture(scope="module")
def restored(
    empty: Director, server: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Director:
    """Return a Director with our basket and a service, to be looked at."""
    folder = tmp_path_factory.mktemp("director")
    director = Director(empty.web, folder, server, f"restored_{time.monotonic_ns()}", empty)
    director.restore(for_version(director, BASKET))
    director.command("service", "create", "--json", json.dumps(SERVICE))
    return director


@pytest.fixture
def director(empty: Director, tmp_path: Path, server: PostgreSQL) -> Director:
    """Return a Director of the test's own, in which there is nothing."""
    return Director(
        empty.web, tmp_path / "icingaweb2", server, f"test_{time.monotonic_ns()}", empty
    )


def for_version(director: Director, basket: str) -> str:
    """Return what of a basket a Director takes: before 1.11 what is left by the filter in docs/."""
    if director.version >= (1, 11):
        return basket
    (program,) = re.findall(r"^jq '(.*)' smtp_health.json \|", INSTALLING, re.MULTILINE)
    return subprocess.check_output([needs.program("jq"), program], input=basket, text=True)


def older(basket: str) -> str:
    """Return a basket as it was once: in one group, without lists, each word another."""
    document: dict[str, Any] = json.loads(basket)
    del document["DataList"], document["DatafieldCategory"]
    for field in document["Datafield"].values():
        field.update(category=None, caption=field["varname"], description="once it was another")
        if field["datatype"].endswith("Datalist"):
            field["datatype"] = field["datatype"].replace("Datalist", "String")
            field["settings"] = {"visibility": "visible"}
    for command in document["ExternalCommand"].values():
        command["command"] = "PluginContribDir + /check_smtp_health"
    return json.dumps(document)


def expected_form() -> dict[str, list[Field]]:
    """Return what the form of a service is to look like."""
    variables = {one.name: one for one in read(CONTRIB / "icinga2-commands.conf")[0].variables}
    return {
        group: [
            Field(caption, *_element(name, variables[PREFIX + name]))
            for name, caption in sorted(captions.items(), key=lambda field: field[1])
        ]
        for group, captions in FORM.items()
    }


def _element(name: str, variable: Variable) -> tuple[str, tuple[str, ...], str]:
    if name in LISTS:
        _, labels = LISTS[name]
        return "select", tuple(sorted(labels, key=labels.__getitem__)), variable.description
    if variable.kind == "switch":
        return "select", ("y", "n"), variable.description
    kind = "password" if variable.is_secret else variable.kind
    return kind, (), variable.description


def test_form(restored: Director) -> None:
    form = restored.form("submission")
    assert form == expected_form()
    assert list(form) == list(FORM)


def test_password_is_hidden_in_the_form_only(restored: Director) -> None:
    assert PASSWORD not in html.unescape(restored.page("/director/service?name=submission"))
    assert PASSWORD in html.unescape(restored.page("/director/service/render?name=submission"))


def test_restored_twice_nothing_doubles_or_changes(director: Director) -> None:
    basket = for_version(director, BASKET)
    director.restore(basket)
    changes = director.count("director_activity_log")
    director.restore(basket)
    assert (director.count("director_datafield"), director.count("icinga_command_field")) == (
        FIELDS,
        FIELDS * COMMANDS,
    )
    assert director.count("director_activity_log") == changes


def test_a_newer_basket_takes_an_older_ones_place(director: Director) -> None:
    """Director 1.10 keeps fields that nothing refers to any more; docs/ have what removes them."""
    director.restore(for_version(director, older(BASKET)))
    director.restore(for_version(director, BASKET))
    director.command("service", "create", "--json", json.dumps(SERVICE))
    assert director.form("submission") == expected_form()
    assert director.count("icinga_command_field") == FIELDS * COMMANDS
    kept = FIELDS if director.version < (1, 11) else 0
    assert director.count("director_datafield") == FIELDS + kept
    (statement,) = re.findall(r"^```sql\n(.*?)^```$", INSTALLING, re.DOTALL | re.MULTILINE)
    director.ask(statement)
    assert director.count("director_datafield") == FIELDS
    assert director.form("submission") == expected_form()


def test_rendered_service(restored: Director, tmp_path: Path) -> None:
    templates = [
        restored.command("service", "show", name)
        for name in ("smtp-health-submission", "submission")
    ]
    assert templates == [TEMPLATE, RENDERED]
    host = 'object Host "mx" { check_command = "dummy" }\n'
    service = 'object Service "smtp" { import "submission"; host_name = "mx" }\n'
    configuration = around() + "".join(templates) + host + service
    assert Icinga(tmp_path, configuration).validate() == (
        0,
        "information/cli: Finished validating the configuration file(s).",
    )


def test_basket_and_kickstart_leave_each_other_alone(director: Director, tmp_path: Path) -> None:
    basket = for_version(director, BASKET)
    director.restore(basket)
    port = str(free_port())
    (director.folder / "modules" / "director" / "kickstart.ini").write_text(
        KICKSTART.format(port=port)
    )
    configuration = around() + DIRECTORS_NODE
    icinga = Icinga(tmp_path, configuration, ApiPort=port)
    with icinga.running():
        wait_for(icinga)
        states = []
        for step in (
            lambda: director.command("kickstart", "run"),
            lambda: director.restore(basket),
            lambda: director.command("kickstart", "run"),
        ):
            step()
            states.append(director.ask(OURS))
    assert states == [states[0]] * 3
    assert states[0].splitlines() == [
        f"{name}|check_smtp_health|{timeout}|{FIELDS - SECRETS + LEVELS}|{FIELDS}|{changes}"
        for name, timeout, changes in (
            ("smtp_health", 60, 2),
            ("smtp_health_mx", 30, 2),
            ("smtp_health_roundtrip", 120, 2),
            ("smtp_health_submission", 60, 2),
            ("smtp_health_submissions", 60, 2),
        )
    ]
    director.command("service", "create", "--json", json.dumps({**SERVICE, "vars": {}}))
    page = director.page("/director/service?name=submission")
    assert 'placeholder="$check_address$ (inherited from smtp_health_submission)"' in page


OURS = """
SELECT object_name, command, timeout,
    (SELECT count(*) FROM icinga_command_argument WHERE command_id = c.id),
    (SELECT count(*) FROM icinga_command_field WHERE command_id = c.id),
    (SELECT count(*) FROM director_activity_log l WHERE l.object_name = c.object_name)
FROM icinga_command c WHERE object_name LIKE 'smtp\\_health%' ORDER BY object_name
"""
"""Asks for our commands: what they run, for how long, and how often each was changed."""


def around() -> str:
    """Return what our commands are among: of the library no more than they import.

    A kickstart brings all commands into Director, one by one.
    """
    needs.program("icinga2")
    template = re.search(
        r'^template CheckCommand "ipv4-or-ipv6" .*?^\}$',
        LIBRARY.read_text(),
        re.DOTALL | re.MULTILINE,
    )
    assert template
    return f"include <itl>\n{template[0]}\ninclude CommandsFile\n"


def wait_for(icinga: Icinga) -> None:
    """Return once Icinga answers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            icinga.query("checkcommands/smtp_health")
            return
        except OSError:
            assert time.monotonic() < deadline, icinga.log.read_text()
            time.sleep(0.05)
