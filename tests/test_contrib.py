"""What is generated is up to date, and each file is what its program reads."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from check_smtp_health import definitions
from check_smtp_health.stages import NAMES
from contrib.generate import CONTRIB, files
from contrib.generate.colours import (
    COLOURS,
    CRITICAL,
    DAYS,
    HEALTHY,
    SETTLED,
    SPARE,
    STACKED,
    TIME,
    WARNING,
    colours,
)
from contrib.generate.director import FORM, LISTS
from tests import needs, picture, plugin

DOCUMENTS = Path(__file__).parents[1] / "packaging" / "documents.py"

PNG = b"\x89PNG\r\n\x1a\n"

TEXT = {"type": "string", "minLength": 1}

BASKET = {
    "type": "object",
    "required": [
        *("DataList", "DatafieldCategory", "Datafield", "ExternalCommand", "ServiceTemplate"),
    ],
    "additionalProperties": False,
    "properties": {
        "DataList": {
            "additionalProperties": {
                "required": ["list_name", "owner", "entries"],
                "additionalProperties": False,
                "properties": {
                    "list_name": TEXT,
                    "owner": TEXT,
                    "entries": {
                        "items": {
                            "required": ["entry_name", "entry_value", "format", "allowed_roles"],
                            "additionalProperties": False,
                            "properties": {
                                "entry_name": TEXT,
                                "entry_value": TEXT,
                                "format": {"const": "string"},
                                "allowed_roles": {"type": "null"},
                            },
                        }
                    },
                },
            }
        },
        "DatafieldCategory": {
            "additionalProperties": {
                "required": ["category_name", "description"],
                "additionalProperties": False,
                "properties": {"category_name": TEXT, "description": {"type": "null"}},
            }
        },
        "Datafield": {
            "patternProperties": {
                "^[1-9][0-9]*$": {
                    "required": [
                        *("varname", "caption", "description", "datatype", "format"),
                        *("settings", "category", "uuid"),
                    ],
                    "additionalProperties": False,
                    "properties": {
                        "varname": {"pattern": "^smtp_health_[a-z0-9_]+$"},
                        "caption": TEXT,
                        "description": TEXT,
                        "datatype": {
                            "pattern": r"^Icinga\\Module\\Director\\DataType\\DataType"
                            "(String|Array|Boolean|Datalist)$"
                        },
                        "format": {"type": "null"},
                        "settings": {
                            "additionalProperties": False,
                            "properties": {
                                "visibility": {"enum": ["visible", "hidden"]},
                                "behavior": {"const": "strict"},
                                "data_type": {"const": "string"},
                                "datalist": TEXT,
                            },
                        },
                        "category": TEXT,
                        "uuid": {"pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
                    },
                }
            },
            "additionalProperties": False,
        },
        "ExternalCommand": {
            "additionalProperties": {
                "required": ["object_name", "object_type", "command", "methods_execute", "fields"],
                "additionalProperties": False,
                "properties": {
                    "object_name": TEXT,
                    "object_type": {"const": "external_object"},
                    "command": TEXT,
                    "methods_execute": {"const": "PluginCheck"},
                    "timeout": {"pattern": "^[1-9][0-9]*$"},
                    "fields": {
                        "items": {
                            "required": ["datafield_id", "is_required", "var_filter"],
                            "additionalProperties": False,
                            "properties": {
                                "datafield_id": {"type": "integer"},
                                "is_required": {"enum": ["y", "n"]},
                                "var_filter": {"type": "null"},
                            },
                        }
                    },
                },
            }
        },
        "ServiceTemplate": {
            "additionalProperties": {
                "required": ["object_name", "object_type", "check_command"],
                "additionalProperties": False,
                "properties": {
                    "object_name": TEXT,
                    "object_type": {"const": "template"},
                    "check_command": TEXT,
                },
            }
        },
    },
}
"""What Icinga Director 1.11 has in a basket of these types."""


@pytest.mark.parametrize(
    ("path", "text"), files().items(), ids=lambda value: getattr(value, "name", "")
)
def test_what_is_generated_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, "make contrib writes it"


@pytest.fixture(scope="module")
def basket() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((CONTRIB / "director-basket.json").read_text())
    return document


def test_basket_has_the_format_of_one(basket: dict[str, Any]) -> None:
    Draft202012Validator(BASKET).validate(basket)
    for kind in ("ExternalCommand", "ServiceTemplate"):
        assert [one["object_name"] for one in basket[kind].values()] == list(basket[kind])


def test_basket_has_a_field_for_each_variable_and_a_template_for_each_command(
    basket: dict[str, Any],
) -> None:
    text = (CONTRIB / "icinga2-commands.conf").read_text()
    used = re.findall(r'^\t+(?:value|set_if|env\.\w+) = "\$(smtp_health_\w+)\$"$', text, re.M)
    fields = {number: field["varname"] for number, field in basket["Datafield"].items()}
    assert list(fields.values()) == used
    names = re.findall(r'^object CheckCommand "(\w+)"', text, re.MULTILINE)
    assert list(basket["ExternalCommand"]) == names
    for command in basket["ExternalCommand"].values():
        assert [str(field["datafield_id"]) for field in command["fields"]] == list(fields)
    assert [one["check_command"] for one in basket["ServiceTemplate"].values()] == names


def test_basket_offers_the_words_that_an_option_takes() -> None:
    words: dict[str, tuple[str, ...]] = runpy.run_path(str(DOCUMENTS))["WORDS"]
    assert {name: sorted(labels) for name, (_, labels) in LISTS.items()} == {
        flag[2:].replace("-", "_"): sorted(words[flag])
        for flag in words
        if flag not in ("--explain", "--output-format", "--print-definition")
    }


def test_each_field_has_a_caption_of_its_own() -> None:
    captions = [caption for fields in FORM.values() for caption in fields.values()]
    assert len(captions) == len(set(captions))
    assert [caption for caption in captions if not caption[0].isupper()] == []


def test_basket_hides_secrets(basket: dict[str, Any]) -> None:
    hidden = [
        field["varname"]
        for field in basket["Datafield"].values()
        if field["settings"].get("visibility") == "hidden"
    ]
    text = (CONTRIB / "icinga2-commands.conf").read_text()
    assert hidden == re.findall(r'^\tenv\.\w+ = "\$(\w+)\$"$', text, re.MULTILINE) != []


def test_a_field_keeps_its_identifier(basket: dict[str, Any]) -> None:
    """With another one, a new basket would add a second field instead of changing the first."""
    by_name = {field["varname"]: field for field in basket["Datafield"].values()}
    assert by_name["smtp_health_port"]["uuid"] == "15ab34b5-e13e-5b9a-a923-1520da43d8aa"
    assert len({field["uuid"] for field in by_name.values()}) == len(basket["Datafield"])


def test_units_of_systemd(tmp_path: Path) -> None:
    """systemd finds nothing wrong with them, nor with what the service may do."""
    analyze = needs.program("systemd-analyze")
    for name in ("check_smtp_health.service", "check_smtp_health.timer"):
        unit = (CONTRIB / "systemd" / name).read_text()
        # The plugin is not where systemd looks for programs.
        unit = unit.replace("ExecStart=check_smtp_health", f"ExecStart={plugin.SCRIPT}")
        (tmp_path / name).write_text(unit)
    for command in (
        ("verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))),
        ("security", "--offline=true", "--threshold=20", f"{tmp_path}/check_smtp_health.service"),
    ):
        done = subprocess.run([analyze, *command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_each_stage_has_a_colour_of_its_own() -> None:
    assert tuple(COLOURS) == NAMES
    assert len(set(COLOURS.values())) == len(COLOURS)
    assert not set(SPARE) & set(SETTLED.values())


def test_a_new_stage_gets_a_colour_and_the_others_keep_theirs() -> None:
    assert colours(["newcomer", *NAMES, "another"]) == {
        **COLOURS,
        "newcomer": SPARE[len(set(NAMES) - set(SETTLED))],
        "another": SPARE[len(set(NAMES) - set(SETTLED)) + 1],
    }


def test_without_a_spare_colour_a_stage_is_named() -> None:
    with pytest.raises(LookupError, match=r"^The stage 'late' has no colour: give it one in"):
        colours([*map(str, range(len(SPARE))), "late"])


def test_what_adds_up_to_the_response_time_is_before_the_farewell() -> None:
    assert ("token", *STACKED, "quit", "delivery") == NAMES


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs Python 3.11 for Grafana's types")
@pytest.mark.parametrize("backend", ["graphite", "influxdb", "prometheus"])
def test_grafana_knows_all_that_is_in_a_dashboard(backend: str) -> None:
    """Its own types read the dashboard, and nothing is lost when they write it again."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    ours = json.loads((CONTRIB / "grafana" / f"{backend}.json").read_text())
    theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(ours)))
    assert _part(theirs, ours) == ours


def _part(whole: Any, model: Any) -> Any:
    """Return of a document what the model has, too."""
    if isinstance(whole, dict) and isinstance(model, dict):
        return {key: _part(value, model[key]) for key, value in whole.items() if key in model}
    if isinstance(whole, list) and isinstance(model, list):
        return [_part(value, one) for value, one in zip(whole, model)] + whole[len(model) :]
    return whole


LIMITS = {"warning": WARNING, "critical": CRITICAL}


@pytest.mark.parametrize("backend", ["graphite", "influxdb", "prometheus"])
def test_dashboards_have_our_colours(backend: str) -> None:
    panels = json.loads((CONTRIB / "grafana" / f"{backend}.json").read_text())["panels"]
    found = [
        {
            override["matcher"]["options"]: override["properties"][0]["value"]["fixedColor"]
            for override in panel["fieldConfig"]["overrides"]
        }
        for panel in panels
    ]
    assert found == [
        {**{stage: COLOURS[stage] for stage in STACKED}, "time": TIME},
        # Prometheus gets no limits.
        {"time": TIME, **({} if backend == "prometheus" else LIMITS)},
        {"days": DAYS},
        {"healthy": HEALTHY},
        {},
        {"delivery": COLOURS["delivery"]},
    ]


LABELS = {
    "time": {"UNIT": "s", "WARN": "1", "CRIT": "5"},
    "connect": {"UNIT": "s"},
    "banner": {"UNIT": "s", "WARN_MIN": "~", "WARN_MAX": "0.5"},
    "quit": {"UNIT": "s"},
    "certificate_days": {"UNIT": "", "WARN_MIN": "14", "CRIT_MIN": "3"},
    "a.example::banner": {"UNIT": "s"},
    "[2001:db8::1]::connect": {"UNIT": "s"},
    "[2001:db8::1]::time": {"UNIT": "s", "CRIT": "5"},
    "healthy": {"UNIT": ""},
}


def pnp(metrics: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return what PNP4Nagios takes from our template: names, options and definitions by graph."""
    done = subprocess.run(
        [
            *(needs.program("php"), str(Path(__file__).with_name("pnp4nagios.php"))),
            *(str(CONTRIB / "pnp4nagios" / "check_smtp_health.php"), json.dumps(metrics)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, dict[str, str]] = json.loads(done.stdout)
    return document


def test_pnp_draws_each_metric(tmp_path: Path) -> None:
    rrdtool = needs.program("rrdtool")
    data = tmp_path / "data.rrd"
    source = ["DS:1:GAUGE:10:0:U", "RRA:AVERAGE:0.5:1:10"]
    subprocess.run(
        [rrdtool, "create", data, "--start", "1000000000", "--step", "1", *source], check=True
    )
    subprocess.run(
        [rrdtool, "update", data, "1000000001:1", "1000000002:2", "1000000003:3"], check=True
    )
    ends = {f"{kind}{end}": "" for kind in ("WARN", "CRIT") for end in ("", "_MIN", "_MAX")}
    page = pnp(
        [
            {"LABEL": label, "RRDFILE": str(data), "DS": "1", **ends, **more}
            for label, more in LABELS.items()
        ]
    )
    assert list(page["names"].values()) == [
        *("stages", "time", "quit", "certificate_days", "healthy", "stages a.example"),
        *("stages [2001:db8::1]", "time [2001:db8::1]"),
    ]
    drawn = [
        re.findall(r'(?:AREA|LINE2|HRULE):(\S+?)(#\w+):"[^"]*"(:STACK)?', definition)
        for definition in page["definitions"].values()
    ]
    assert drawn == [
        [
            ("connect", COLOURS["connect"], ""),
            ("banner", COLOURS["banner"], ":STACK"),
            ("whole", TIME, ""),
        ],
        [("value", f"{TIME}60", ""), ("1", WARNING, ""), ("5", CRITICAL, "")],
        [("value", f"{COLOURS['quit']}60", "")],
        [("value", f"{DAYS}60", ""), ("14", WARNING, ""), ("3", CRITICAL, "")],
        [("value", f"{HEALTHY}60", "")],
        [("banner", COLOURS["banner"], "")],
        [("connect", COLOURS["connect"], ""), ("whole", TIME, "")],
        [("value", f"{TIME}60", ""), ("5", CRITICAL, "")],
    ]
    for number, definition in page["definitions"].items():
        graph = (
            f"graph - --start 1000000000 --end 1000000003 {page['options'][number]} {definition}\n"
        )
        done = subprocess.run([rrdtool, "-"], input=graph.encode(), capture_output=True, check=True)
        assert done.stdout[:8] == PNG
        assert done.stderr == b""


def test_pnp_stacks_the_stages_in_order() -> None:
    metrics = [{"LABEL": stage, "RRDFILE": "file", "DS": "1", "UNIT": "s"} for stage in NAMES]
    stack = pnp(metrics)["definitions"]["1"]
    assert re.findall(r"AREA:(\w+)(#\w+)", stack) == [
        (stage, COLOURS[stage]) for stage in STACKED if stage in NAMES
    ]


def test_picture(tmp_path: Path) -> None:
    path = tmp_path / "phases.png"
    picture.main(2, path)
    assert path.read_bytes()[:8] == PNG
    assert picture.PICTURE.stat().st_size < 60_000


@pytest.mark.parametrize("engine", definitions.FILES)
def test_what_is_printed_is_what_is_in_contrib(engine: str) -> None:
    file = Path(__file__).parents[1] / "contrib" / definitions.FILES[engine]
    assert definitions.read(engine) == file.read_text()
