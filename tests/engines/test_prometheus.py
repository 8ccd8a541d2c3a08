"""node_exporter takes what is written for it, Prometheus reads it, and its rules fire."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests import needs, plugin
from tests.servers.loopback import free_port
from tests.servers.scripted import Expect, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RULES = Path(__file__).parents[2] / "contrib" / "prometheus" / "check_smtp_health.rules.yml"

DEADLINE = 60
"""Seconds until a daemon must have done what is asked; it takes one or two."""

HOST = 'mx "1" \\ ü, {x="y"}'
"""The name of a host, with all that would end a label."""

CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""

OK = (
    *(b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"250 mx.example\r\n"),
    *(Expect(b"QUIT"), b"221 bye\r\n"),
)
REFUSED = (
    *(b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"550 no\r\n"),
    *(Expect(b"QUIT"), b"221 bye\r\n"),
)

FAMILIES = (
    *("state", "up", "check_timestamp_seconds", "check_duration_seconds", "time_seconds"),
    "stage_seconds",
)


class Prometheus(NamedTuple):
    """A running Prometheus, and the folder that its node_exporter reads."""

    port: int
    folder: Path

    def ask(self, path: str, **parameters: str) -> Any:
        """Return what the API answers."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["data"]

    def samples(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Return what a query gives, without the labels that are Prometheus's own."""
        found = self.ask("query", query=query)["result"]
        return [(labels(one["metric"]), float(one["value"][1])) for one in found]


def labels(metric: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metric.items() if key not in ("job", "instance")}


def wait(condition: Callable[[], Any]) -> Any:
    """Return what the condition gives as soon as it is something."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            found = condition()
            if found:
                return found
        time.sleep(0.1)
    pytest.fail("nothing came")


@contextlib.contextmanager
def running(*command: str) -> Iterator[None]:
    """Run a daemon until the block ends."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": os.defpath}
    ) as daemon:
        try:
            yield
        finally:
            daemon.terminate()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    texts = folder / "texts"
    texts.mkdir()
    exporter, port = free_port(), free_port()
    configuration = folder / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(rules=RULES, port=exporter))
    with (
        running(
            needs.program("prometheus-node-exporter"),
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={texts}",
            f"--web.listen-address=127.0.0.1:{exporter}",
        ),
        running(
            needs.program("prometheus"),
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ),
    ):
        yield Prometheus(port, texts)


def check(script: Any, *arguments: str) -> plugin.Outcome:
    """Check a server, as the SMTP of HOST."""
    given = ("--output-format", "openmetrics", "--output-host", HOST)
    with ScriptedServer(script).running() as server:
        return plugin.run(*plugin.at(server.port), *given, *arguments)


def test_promtool_has_nothing_to_say() -> None:
    """Neither of the metrics' names, nor of labels, nor of what each of them is."""
    for script in (OK, REFUSED):
        outcome = check(script)
        done = subprocess.run(
            [needs.program("promtool"), "check", "metrics"],
            input=outcome.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_samples(prometheus: Prometheus) -> None:
    before = time.time()
    outcome = check(OK, "--output-to", str(prometheus.folder / "smtp_health.prom"))
    assert (outcome.code, outcome.stderr) == (0, "")
    found = wait(lambda: prometheus.samples('{__name__=~"smtp_health_.*"}'))
    values = {}
    for labels, value in found:
        family = labels.pop("__name__").removeprefix("smtp_health_")
        values[family, labels.pop("stage", "")] = value
        assert labels == {"host": HOST, "service": "SMTP"}
    assert {family for family, _ in values} == set(FAMILIES)
    assert (values["state", ""], values["up", ""]) == (0, 1)
    assert before <= values["check_timestamp_seconds", ""] <= time.time()
    times = {stage: value for (_, stage), value in values.items() if stage}
    assert {**times, "time": values["time_seconds", ""]} == outcome.times()
    (error,) = prometheus.samples("node_textfile_scrape_error")
    assert error[1] == 0


def test_alert(prometheus: Prometheus) -> None:
    """Of a server that fails, there is one as soon as the rule has been evaluated."""
    outcome = check(REFUSED, "--output-to", str(prometheus.folder / "smtp_health.prom"))
    assert outcome.code == 2
    (alert,) = wait(lambda: prometheus.ask("alerts")["alerts"])
    assert alert["labels"]["alertname"] == "MailServerCritical"
    assert alert["annotations"]["summary"] == f"SMTP of {HOST} is CRITICAL"
    assert alert["state"] == "pending"


def test_rules() -> None:
    done = subprocess.run(
        [needs.program("promtool"), "check", "rules", RULES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "SUCCESS: 5 rules found" in done.stdout


RULE_TESTS = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'smtp_health_state{{host="a", service="SMTP"}}', values: '2x20'}}
      - {{series: 'smtp_health_state{{host="b", service="SMTP"}}', values: '1x60'}}
      - {{series: 'smtp_health_state{{host="c", service="SMTP"}}', values: '3x60'}}
      - {{series: 'smtp_health_check_timestamp_seconds{{host="a", service="SMTP"}}', values: '0x60'}}
      - {{series: 'smtp_health_certificate_expiry_seconds{{host="a", service="SMTP"}}', values: '604799x90'}}
    alert_rule_test:
      - {{eval_time: 9m, alertname: MailServerCritical}}
      - eval_time: 10m
        alertname: MailServerCritical
        exp_alerts: [{{exp_labels: {{host: a, service: SMTP, severity: critical}},
          exp_annotations: {{summary: SMTP of a is CRITICAL,
            description: 'The status line says which stage fails: run the check by hand.'}}}}]
      - eval_time: 30m
        alertname: MailServerWarning
        exp_alerts: [{{exp_labels: {{host: b, service: SMTP, severity: warning}},
          exp_annotations: {{summary: SMTP of b is WARNING,
            description: 'The status line says why: run the check by hand.'}}}}]
      - eval_time: 30m
        alertname: MailServerUnknown
        exp_alerts: [{{exp_labels: {{host: c, service: SMTP, severity: warning}},
          exp_annotations: {{summary: SMTP of c cannot be checked,
            description: 'The check itself is wrong, or cannot do its part here: run it by hand.'}}}}]
      - {{eval_time: 15m, alertname: MailServerNotChecked}}
      - eval_time: 16m
        alertname: MailServerNotChecked
        exp_alerts: [{{exp_labels: {{host: a, service: SMTP, severity: warning}},
          exp_annotations: {{summary: SMTP of a has not been checked for 16m 0s,
            description: 'Does the timer still run, and may it write its file?'}}}}]
      - eval_time: 60m
        alertname: MailServerCertificateExpires
        exp_alerts: [{{exp_labels: {{host: a, service: SMTP, severity: warning}},
          exp_annotations: {{summary: The certificate of SMTP of a expires in 6d 23h 59m 59s,
            description: 'Renewal has failed, or the server has not loaded the new certificate.'}}}}]
"""  # noqa: E501


def test_when_rules_fire(tmp_path: Path) -> None:
    file = tmp_path / "tests.yml"
    file.write_text(RULE_TESTS.format(rules=RULES))
    done = subprocess.run(
        [needs.program("promtool"), "test", "rules", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
