"""What Icinga writes to Graphite and InfluxDB of a check is what the graphs in contrib draw."""

from __future__ import annotations

import json
import re
import socketserver
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from contrib.generate import CONTRIB
from contrib.generate.colours import STACKED
from tests.engines.graphite_module import charts
from tests.engines.icinga import NODE, Icinga, checked
from tests.servers import graphite
from tests.servers.authority import NAME, Authority
from tests.servers.scripted import Expect, Handshake, ScriptedServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

SERVICES = """
include <itl>
include <plugins>
include CommandsFile

object GraphiteWriter "graphite" {
	port = GraphitePort
	enable_send_thresholds = true
}

object InfluxdbWriter "influxdb" {
	port = InfluxdbPort
	flush_interval = 1s
	enable_send_thresholds = true
	service_template = {
		measurement = "$service.check_command$"
		tags = {
			hostname = "$host.name$"
			service = "$service.name$"
		}
	}
}

object Host "mx.example" {
	check_command = "dummy"
	address = "localhost"
}

template Service "any" {
	host_name = "mx.example"
	check_interval = 1s
	retry_interval = 1s
	vars.smtp_health_port = ServerPort
	vars.smtp_health_ipv4 = true
	vars.smtp_health_sni = "mx.example"
	vars.smtp_health_authuser = "monitor"
	vars.smtp_health_authpass = "s3cret"
	vars.smtp_health_rcpt = "a@mx.example"
	vars.smtp_health_no_relay = "b@there.example"
	vars.smtp_health_command = "NOOP"
}

object Service "smtp" {
	import "any"
	check_command = "smtp_health"
	vars.smtp_health_starttls = true
	vars.smtp_health_warning = [ "10", "banner=5" ]
	vars.smtp_health_critical = [ "20", "banner=~:9" ]
	vars.smtp_health_timeout = 30
}

object Service "submission" {
	import "any"
	check_command = "smtp_health_submission"
}

/* What a run with several targets prints. */
object CheckCommand "smtp_health_several" {
	import "dummy"
	vars.dummy_state = 0
	vars.dummy_text = ("SMTP OK - 2 of 2 | healthy=2;;2: 'a.example::time'=0.1s;1;5;0;10 " +
		"'a.example::connect'=0.1s;;;0 'a.example::certificate_days'=9;14:;3: " +
		"'[2001:db8::1]::time'=0.2s;1;5;0;10")
}
object Service "several" {
	import "any"
	check_command = "smtp_health_several"
}
"""


def script(certificate: ssl.SSLContext) -> tuple[Any, ...]:
    """Return what a server does that is asked about everything."""
    greeting = (Expect(b"EHLO"), b"250-mx.example\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n")
    return (
        *(b"220 mx.example ESMTP\r\n", *greeting),
        *(Expect(b"STARTTLS"), b"220 2.0.0 Ready\r\n", Handshake(certificate), *greeting),
        *(Expect(b"AUTH PLAIN "), b"235 2.7.0 Accepted\r\n"),
        *(Expect(b"MAIL FROM:<>"), b"250 2.1.0 Ok\r\n"),
        *(Expect(b"RCPT TO:<a@mx.example>"), b"250 2.1.5 Ok\r\n"),
        *(Expect(b"RCPT TO:<b@there.example>"), b"554 5.7.1 Relay access denied\r\n"),
        *(Expect(b"NOOP"), b"250 2.0.0 Ok\r\n", Expect(b"RSET"), b"250 2.0.0 Ok\r\n"),
        *(Expect(b"QUIT"), b"221 2.0.0 Bye\r\n"),
    )


STAGES = (
    *("resolve", "connect", "tls", "banner", "helo", "starttls", "auth"),
    *("mail", "rcpt", "relay", "command", "quit"),
)

FIELDS = {
    "smtp": {
        "time": "crit max min value warn",
        **dict.fromkeys(STAGES, "min value"),
        "banner": "min value warn",  # the critical limit is a range, which Icinga leaves out
        "certificate_days": "value",
    },
    "submission": {
        "time": "max min value",
        **dict.fromkeys(STAGES, "min value"),
        "certificate_days": "value",
    },
    "several": {
        "healthy": "value",
        "a.example::time": "crit max min value warn",
        "a.example::connect": "min value",
        "a.example::certificate_days": "value",
        "[2001:db8::1]::time": "crit max min value warn",
    },
}
"""What Icinga writes of each service: the fields of each label."""

COMMANDS = {
    "smtp": "smtp_health",
    "submission": "smtp_health_submission",
    "several": "smtp_health_several",
}

DEADLINE = 60
"""Seconds until everything must have been written; it takes two or three."""


def metrics(service: str) -> set[str]:
    """Return the names that Graphite has of a service."""
    return {
        f"icinga2.mx_example.services.{service}.{COMMANDS[service]}.perfdata."
        f"{label.replace('::', '.')}.{field}"
        for label, written in FIELDS[service].items()
        for field in written.split()
    }


METRICS = set().union(*map(metrics, FIELDS))

POINTS = {
    f"{COMMANDS[service]},hostname=mx.example,service={service},metric={label} {fields}"
    for service, labels in FIELDS.items()
    for label, fields in labels.items()
}


class Sink:
    """What has come so far."""

    def __init__(self) -> None:
        self.metrics: set[str] = set()
        self.points: set[str] = set()

    def has_all(self) -> bool:
        """Return whether everything has arrived."""
        return self.metrics >= METRICS and self.points >= POINTS

    def graphite(self) -> type[socketserver.BaseRequestHandler]:
        """Return what serves a connection to Graphite."""
        metrics = self.metrics

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for line in self.rfile:
                    metrics.add(re.sub(r" -?[\d.]+ \d+$", "", line.decode().rstrip("\n")))

        return Handler

    def influxdb(self) -> type[BaseHTTPRequestHandler]:
        """Return what serves a connection to InfluxDB."""
        points = self.points

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                points.update(map(_without_values, body.split("\n")))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def _without_values(point: str) -> str:
    tags, values, _ = point.rsplit(" ", 2)
    fields = re.findall(r'(\w+)=(?:"[^"]*"|[^,]*)', values)
    return f"{tags} {' '.join(field for field in fields if field != 'unit')}"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Sink:
    """Check each service, and wait until all has been written."""
    folder = tmp_path_factory.mktemp("writers")
    authority = Authority.made(folder, "authority")
    sink = Sink()
    with (
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), sink.graphite()) as graphite,
        ThreadingHTTPServer(("127.0.0.1", 0), sink.influxdb()) as influxdb,
        ScriptedServer(script(authority.serving(NAME))).running() as server,
    ):
        for listener in (graphite, influxdb):
            listener.daemon_threads = True
            threading.Thread(target=listener.serve_forever, daemon=True).start()
        icinga = Icinga(
            folder,
            SERVICES + NODE,
            {"SSL_CERT_FILE": authority.path},
            GraphitePort=str(graphite.server_address[1]),
            InfluxdbPort=str(influxdb.server_address[1]),
            ServerPort=str(server.port),
        )
        with icinga.running() as daemon:
            checked(icinga, daemon)
            end = time.monotonic() + DEADLINE
            while not sink.has_all() and time.monotonic() < end:
                time.sleep(0.1)
        graphite.shutdown()
        influxdb.shutdown()
    return sink


def test_graphite_gets_each_metric(written: Sink) -> None:
    assert written.metrics == METRICS


def test_influxdb_gets_each_point(written: Sink) -> None:
    assert written.points == POINTS


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[graphite.Graphite]:
    """Return a Graphite that keeps what a test gives it."""
    with graphite.running(tmp_path_factory.mktemp("graphite")) as kept:
        yield kept


def drawn_by_icinga_web(
    kept: graphite.Graphite, written: Sink, service: str
) -> dict[str, dict[str, float]]:
    """Return what Icinga Web draws of a service's metrics, whose values are all 0.1.

    By title, the curves with their last values.
    """
    known = {
        name.replace(".smtp_health_several.", ".smtp_health."): [0.1] * 5
        for name in written.metrics & metrics(service)
    }
    command = COMMANDS[service].replace("_several", "")
    drawn = charts(kept, known, service=service, command=command)
    return {chart.title: chart.last for chart in drawn}


@pytest.mark.parametrize(
    ("service", "limits"),
    [("smtp", {"warning (ms)": 100, "critical (ms)": 100}), ("submission", {})],
)
def test_icinga_web_draws_a_target(
    kept: graphite.Graphite, written: Sink, service: str, limits: dict[str, float]
) -> None:
    stages = [stage for stage in STACKED if stage in STAGES]
    stack = {f"{stage} (ms)": 100 * place for place, stage in enumerate(stages, 1)}
    assert drawn_by_icinga_web(kept, written, service) == {
        "Stages": {**stack, "time (ms)": 100},
        "Response time": {"time (ms)": 100, **limits},
        "Certificate": {"days left": 0.1},
        "quit": {"value": 0.1},
    }


def test_icinga_web_draws_several_targets(kept: graphite.Graphite, written: Sink) -> None:
    assert drawn_by_icinga_web(kept, written, "several") == {
        "Healthy targets": {"healthy": 0.1},
        "Stages, [2001:db8.1]": {"time (ms)": 100},
        "Stages, a.example": {"connect (ms)": 100, "time (ms)": 100},
        "Certificate, a.example": {"days left": 0.1},
    }


def dashboard(backend: str) -> dict[str, list[dict[str, str]]]:
    """Return what each panel of a dashboard asks for."""
    text = (CONTRIB / "grafana" / f"{backend}.json").read_text()
    return {panel["title"]: panel["targets"] for panel in json.loads(text)["panels"]}


def test_grafana_draws_what_graphite_has(kept: graphite.Graphite, written: Sink) -> None:
    """Graphite itself answers; all values are 0.1, so that every limit is near."""
    drawn: dict[str, dict[str, list[str]]] = {}
    kept.keep(dict.fromkeys(written.metrics, [0.1] * 5))
    for service in FIELDS:
        for title, targets in dashboard("graphite").items():
            asked = [
                ("target", one["target"].replace("$host", "*").replace("$service", service))
                for one in targets
            ]
            query = urlencode([("format", "json"), ("from", "-9min"), *asked])
            with urllib.request.urlopen(f"{kept.address}/render?{query}") as answer:
                found = graphite.curves(answer.read())
            assert {graphite.last(curve) for curve in found.values()} <= {0.1}
            drawn.setdefault(service, {})[title] = list(found)
    stages = [stage for stage in STACKED if stage in STAGES]
    nothing: dict[str, list[str]] = {title: [] for title in dashboard("graphite")}
    single = {**nothing, "Stages": [*stages, "time"], "Certificate": ["days"]}
    assert drawn == {
        "smtp": {**single, "Response time": ["time", "warning", "critical"]},
        "submission": {**single, "Response time": ["time"]},
        "several": {
            **nothing,
            "Certificate": ["a.example"],
            "Healthy targets": ["healthy"],
            "Response time of each target": ["[2001:db8.1]", "a.example"],
        },
    }


def test_grafana_draws_what_influxdb_has(written: Sink) -> None:
    points = [
        re.fullmatch(r"(\w+),hostname=(.*),service=(.*),metric=(.*?) (.*)", point)
        for point in written.points
    ]
    drawn = {}
    for title, targets in dashboard("influxdb").items():
        found = set()
        for target in targets:
            asked = re.match(
                r'SELECT mean\("(\w+)"\) FROM /(.*?)/ WHERE "hostname" =~ /.*?/ '
                r"AND \"service\" =~ /.*?/ AND \"metric\" (?:= '(\w+)'|=~ /(.*?)/)",
                target["query"],
            )
            assert asked
            field, measurement, label, pattern = asked.groups()
            for point in points:
                assert point
                name, _, service, metric, fields = point.groups()
                is_asked = metric == label if label else re.search(pattern, metric)
                if re.search(measurement, name) and is_asked and field in fields.split():
                    found.add((service, metric, field))
        drawn[title] = found
    single = ("smtp", "submission")
    assert drawn == {
        "Stages": {
            (service, label, "value")
            for service in single
            for label in (*STACKED, "time")
            if label in FIELDS[service]
        },
        "Response time": {
            (service, "time", field)
            for service in single
            for field in ("value", "warn", "crit")
            if field in FIELDS[service]["time"]
        },
        "Certificate": {
            ("several", "a.example::certificate_days", "value"),
            *((service, "certificate_days", "value") for service in single),
        },
        "Healthy targets": {("several", "healthy", "value")},
        "Response time of each target": {
            ("several", label, "value") for label in ("a.example::time", "[2001:db8::1]::time")
        },
        "Way to the mailbox": set(),
    }
