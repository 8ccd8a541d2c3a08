"""Icinga Web hides our passwords as docs/secrets.md has it configured, and no more than is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.engines import icinga_web
from tests.engines.icinga_web import INSTALLED, IcingaWeb

SHOW = Path(__file__).with_name("protected_variables.php")

SECRETS = (Path(__file__).parents[2] / "docs" / "secrets.md").read_text()

FLAGS = re.DOTALL | re.MULTILINE

VARIABLES = {
    "smtp_health_authpass": "s3cret",
    "smtp_health_mailboxpass": "s3cret",
    "smtp_health_dnsblkey": "s3cret",
    "smtp_health_dnsbl_key_file": "/etc/icinga2/dnsbl-key",
    "smtp_health_authpass_file": "/etc/icinga2/smtp-password",
    "smtp_health_authuser": "monitor",
}

HIDDEN = {
    "smtp_health_authpass": "***",
    "smtp_health_mailboxpass": "***",
    "smtp_health_dnsblkey": "***",
}


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    """Return a folder with the files that the page shows, each named above its block."""
    blocks = re.findall(r"`/etc/icingaweb2/(\S+)`(?:(?!```).)*```ini\n(.*?)^```$", SECRETS, FLAGS)
    assert [path for path, _ in blocks] == ["roles.ini", "modules/monitoring/config.ini"]
    for path, text in blocks:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return str(tmp_path)


def shown(web: IcingaWeb, module: str, configuration: str) -> dict[str, str]:
    """Return what a module shows of the variables."""
    answer: dict[str, str] = json.loads(web.run(SHOW, module, json.dumps(VARIABLES), configuration))
    return answer


@pytest.mark.parametrize("web", icinga_web.ALL.values(), ids=list(icinga_web.ALL))
def test_icingadb_web(web: IcingaWeb, configuration: str) -> None:
    assert shown(web, "icingadb", configuration) == {**VARIABLES, **HIDDEN}


def test_monitoring(configuration: str) -> None:
    assert shown(INSTALLED, "monitoring", configuration) == {
        **VARIABLES,
        **HIDDEN,
        "smtp_health_authpass_file": "***",
    }


def test_monitoring_hides_nothing_by_itself(tmp_path: Path) -> None:
    assert shown(INSTALLED, "monitoring", str(tmp_path)) == VARIABLES
