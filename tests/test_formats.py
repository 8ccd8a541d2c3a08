"""Each format has what its receiver needs, whatever a server says; whole documents."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import Any

import pytest

from check_smtp_health import output
from check_smtp_health.judge.check import HealthCheck
from check_smtp_health.judge.text import HealthSummary
from check_smtp_health.output.answer import Answer, judged
from check_smtp_health.report import Host, Observation, PolicyResult, Report
from check_smtp_health.report.tls import Certificate, TlsFacts
from tests import command_line, hostile, json_answer, needs, plugin
from tests.masking import masked
from tests.servers.scripted import Expect, ScriptedServer

QUIT = (Expect(b"QUIT"), b"221 bye\r\n")
OK = (b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"250 mx.example\r\n", *QUIT)
REFUSED = (
    *(b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"550 " + hostile.SAID + b"\r\n"),
    *QUIT,
)

SHOWN = f"SMTP CRITICAL - 127.0.0.1:PORT helo: 550 {hostile.SHOWN} (after # s)"

PERFDATA = "time=#s;5;~:7;0;10 connect=#s;;;0 banner=#s;;;0 quit=#s;;;0"


def answered(script: Any, form: str, *arguments: str) -> tuple[int, str]:
    """Return exit code and standard output, without what differs from run to run."""
    limits = ("-w", "5", "-c", "~:7")
    with ScriptedServer(script).running() as server:
        outcome = plugin.run(*plugin.at(server.port), *limits, "--output-format", form, *arguments)
    assert outcome.stderr == ""
    text = masked(outcome.stdout).replace(str(server.port), "PORT")
    return outcome.code, re.sub(r"\b\d{10}(?:\.\d+)?\b", "0", text)


def test_nagios() -> None:
    shown = SHOWN.replace("\\\\", "\\x5c\\")  # two would be one to Nagios
    line = f"[0] PROCESS_SERVICE_CHECK_RESULT;127.0.0.1;SMTP;2;{shown}|{PERFDATA}\n"
    assert answered(REFUSED, "nagios") == (2, line)


def test_nagios_with_long_output() -> None:
    code, line = answered(OK, "nagios", "-v", "--output-host", "mx 1", "--output-service", "ü")
    head = "[0] PROCESS_SERVICE_CHECK_RESULT;mx 1;ü;0;SMTP OK - 127.0.0.1:PORT answered in # s "
    rows = "".join(f"\\n{stage} # s █ [OK]" for stage in ("connect", "banner", "helo", "quit"))
    perfdata = "time=#s;5;~:7;0;10 connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0"
    assert (code, line) == (0, f"{head}(slowest: # # s)|{perfdata}{rows}\n")


def test_nsca() -> None:
    line = f"127.0.0.1\tSMTP\t2\t{SHOWN}|{PERFDATA}\n"
    assert answered(REFUSED, "nsca") == (2, line)


METRICS = PERFDATA.replace(" ", "|").replace("#s", "#").replace("~:7", ":7")


def test_checkmk() -> None:
    code, line = answered(REFUSED, "checkmk", "--output-service", "SMTP \"a\" 'b'")
    line = re.sub(r"=\d+\.\d{6}", "=#", line)
    assert (code, line) == (2, f'2 "SMTP _a_ _b_" {METRICS} {SHOWN}\n')


def test_checkmk_of_another_host() -> None:
    code, text = answered(REFUSED, "checkmk", "--output-host", "mx")
    text = re.sub(r"=\d+\.\d{6}", "=#", text)
    line = f'2 "SMTP" {METRICS} {SHOWN}\n'
    assert (code, text) == (2, f"<<<<mx>>>>\n<<<local>>>\n{line}<<<<>>>>\n")


def test_icinga2() -> None:
    code, line = answered(REFUSED, "icinga2")
    document = json.loads(line)
    source = document.pop("check_source")
    assert (code, bool(source)) == (2, True)
    assert document == {
        "type": "Service",
        "service": "127.0.0.1!SMTP",
        "exit_status": 2,
        "plugin_output": SHOWN,
        "performance_data": PERFDATA.split(),
        "execution_start": 0,
        "execution_end": 0,
    }


OPENMETRICS = """\
# TYPE smtp_health_state gauge
# HELP smtp_health_state State of the check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
smtp_health_state{host="a\\"\\\\b",service="SMTP"} 2
# TYPE smtp_health_up gauge
# HELP smtp_health_up Whether the state is OK or WARNING.
smtp_health_up{host="a\\"\\\\b",service="SMTP"} 0
# TYPE smtp_health_check_timestamp_seconds gauge
# UNIT smtp_health_check_timestamp_seconds seconds
# HELP smtp_health_check_timestamp_seconds When the check ended, in seconds since 1970.
smtp_health_check_timestamp_seconds{host="a\\"\\\\b",service="SMTP"} 0
# TYPE smtp_health_check_duration_seconds gauge
# UNIT smtp_health_check_duration_seconds seconds
# HELP smtp_health_check_duration_seconds How long the check took, including what is not part of the session.
smtp_health_check_duration_seconds{host="a\\"\\\\b",service="SMTP"} #
# TYPE smtp_health_time_seconds gauge
# UNIT smtp_health_time_seconds seconds
# HELP smtp_health_time_seconds Duration of the session without QUIT.
smtp_health_time_seconds{host="a\\"\\\\b",service="SMTP"} #
# TYPE smtp_health_stage_seconds gauge
# UNIT smtp_health_stage_seconds seconds
# HELP smtp_health_stage_seconds Duration of each stage of the session that completed.
smtp_health_stage_seconds{host="a\\"\\\\b",service="SMTP",stage="connect"} #
smtp_health_stage_seconds{host="a\\"\\\\b",service="SMTP",stage="banner"} #
smtp_health_stage_seconds{host="a\\"\\\\b",service="SMTP",stage="quit"} #
# EOF
"""  # noqa: E501


def test_openmetrics() -> None:
    code, text = answered(REFUSED, "openmetrics", "--output-host", 'a"\\b')
    assert (code, re.sub(r" \d+\.\d{6}$", " #", text, flags=re.MULTILINE)) == (2, OPENMETRICS)


def test_several_targets_of_one_service() -> None:
    """Each has its samples, and Checkmk the names of metrics that it can take."""
    with ScriptedServer(OK).running() as server:
        given = (*plugin.at(server.port), "-H", "[::1]", "--output-host", "all", "-t", "1")
        samples = plugin.run(*given, "--output-format", "openmetrics").stdout
        line = plugin.run(*given, "--output-format", "checkmk").stdout.splitlines()[2]
    assert re.findall(r"smtp_health_(healthy|targets)\{.*\} (\d)", samples) == [
        ("healthy", "1"),
        ("targets", "2"),
    ]
    assert re.findall(r'time_seconds\{host="all",service="SMTP",target="(.*?)"', samples) == [
        "127.0.0.1",
        "[::1]",
    ]
    _, service, metrics, *_ = shlex.split(line)
    names = [metric.partition("=")[0] for metric in metrics.split("|")]
    assert service == "SMTP"
    assert names[:2] == ["healthy", "127.0.0.1__time"]
    assert [name for name in names if not re.fullmatch(r"[\w.]+", name)] == []


def test_json_bears_the_names_that_it_is_given() -> None:
    given = ("--output-format", "json", "--output-host", "mx", "--output-service", "SMTP")
    with ScriptedServer(OK).running() as server:
        document = json_answer.read(plugin.run(*plugin.at(server.port), *given))
    assert (document["host"], document["service"]) == ("mx", "SMTP")
    assert document["targets"][0]["host"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ("nagios", "[0] PROCESS_SERVICE_CHECK_RESULT;127.0.0.1;SMTP;3;{}\n"),
        ("nsca", "127.0.0.1\tSMTP\t3\t{}\n"),
        ("checkmk", '3 "SMTP" - {}\n'),
    ],
)
def test_wrong_usage_is_told_in_the_format(form: str, wanted: str) -> None:
    said = "SMTP UNKNOWN - -w: 'abc' is not a threshold range"
    outcome = plugin.run("-H", "127.0.0.1", "-w", "abc", "--output-format", form)
    text = re.sub(r"\b\d{10}\b", "0", outcome.stdout)
    assert (outcome.code, text, outcome.stderr) == (3, wanted.format(said), "")


@pytest.mark.parametrize("wrong", [(), ("--bogus",)])
def test_wrong_usage_is_told_of_the_same_host(wrong: tuple[str, ...]) -> None:
    given = ("-H", "[::1]", "-p", "1", "-t", "1", "--output-format", "nsca", *wrong)
    assert plugin.run(*given).stdout.partition("\t")[0] == "::1"


def test_wrong_usage_of_nobody_knows_what_is_told_as_text() -> None:
    outcome = plugin.run("--output-format", "nagios")
    assert outcome.stdout == "SMTP UNKNOWN - no host given, use -H HOST (try --help)\n"


def test_wrong_usage_of_a_name_that_is_none_is_told_as_text() -> None:
    outcome = plugin.run("-H", "a_b;c", "--output-format", "nagios")
    assert outcome.stdout.startswith("SMTP UNKNOWN - -H: ")


def answer(host: str, service: str, **fields: Any) -> Answer:
    """Return the answer of a check about which nothing more is known."""
    given: dict[str, Any] = {"code": 0, "status": "SMTP OK - well", "perfdata": ("time=1s;;;0",)}
    return Answer(host, service, **{**given, "began": 5.0, "finished": 6.5, **fields})


def document(form: str, *answers: Answer) -> str:
    """Return the document of some answers."""
    row = output.find(form)
    return "".join(row.document([row.record(one) for one in answers]))


def test_nsca_parts_results() -> None:
    assert document("nsca", answer("a", "x"), answer("b", "y")) == (
        "a\tx\t0\tSMTP OK - well|time=1s;;;0\n\x17b\ty\t0\tSMTP OK - well|time=1s;;;0\n"
    )


def test_checkmk_has_each_host_once() -> None:
    answers = (answer("a", "x"), answer("b", "x"), answer("", "own"), answer("a", "y"))
    line = '0 "{}" time=1;;;0 SMTP OK - well\n'.format
    assert document("checkmk", *answers) == (
        f"{line('own')}"
        f"<<<<a>>>>\n<<<local>>>\n{line('x')}{line('y')}"
        f"<<<<b>>>>\n<<<local>>>\n{line('x')}<<<<>>>>\n"
    )


def test_checkmk_s_hosts_have_no_brackets() -> None:
    assert document("checkmk", answer("a>>>>", "x")).startswith("<<<<a____>>>>\n<<<local>>>\n")


def test_openmetrics_has_each_family_once() -> None:
    text = document("openmetrics", answer("a", "x"), answer("b", "x", code=3, perfdata=()))
    assert re.findall(r"# TYPE smtp_health_(\w+) gauge", text) == [
        *("state", "up", "check_timestamp_seconds", "check_duration_seconds"),
    ]
    assert re.findall(r'smtp_health_(\w+)\{host="(\w)",service="x"\} (.*)', text) == [
        ("state", "a", "0"),
        ("state", "b", "3"),
        ("up", "a", "1"),
        ("up", "b", "0"),
        ("check_timestamp_seconds", "a", "6.500"),
        ("check_timestamp_seconds", "b", "6.500"),
        ("check_duration_seconds", "a", "1.500000"),
        ("check_duration_seconds", "b", "1.500000"),
    ]
    assert text.endswith("\n# EOF\n")


def test_openmetrics_has_each_sample_once() -> None:
    """Or node_exporter would leave out the whole file."""
    text = document("openmetrics", answer("a", "x"), answer("a", "x", code=2))
    assert re.findall(r"smtp_health_state\{.*\} (.*)", text) == ["2"]


def test_openmetrics_has_all_that_a_policy_measures() -> None:
    """Of several domains, each is told by a label, whatever it is called."""
    settings = command_line.settings("-H", "mx.example", "-S", "--dnsbl", "list.example")
    certificate = Certificate("", "", (), "", "", False, False, 59, 0, left=59.5)
    policies = (
        PolicyResult("dnsbl", listings=2),
        PolicyResult("sender", measures=(("spf_lookups", 7),)),
        PolicyResult("dkim", measures=(('a"\\::dkim_bits', 2048), ("b::dkim_bits", 1024))),
    )
    report = Report(
        *(Host("mx.example", "mx.example", "name"), 25, "192.0.2.1", 0.5),
        observations=(Observation("connect", 0.0, 0.25),),
        tls=TlsFacts("TLS 1.3", "", certificate),
        policies=policies,
    )
    check = HealthCheck(settings, [report])
    check.add(HealthSummary(check))
    check()
    text = document("openmetrics", judged("mx", "SMTP", (1.0, 2.0), check, 0))
    names = 'host="mx",service="SMTP"'
    assert re.findall(r"^smtp_health_((?!state|up|check).*)$", text, re.MULTILINE) == [
        f"time_seconds{{{names}}} 0.500000",
        f'stage_seconds{{{names},stage="connect"}} 0.250000',
        f"certificate_expiry_seconds{{{names}}} 5140800",
        f"dnsbl{{{names}}} 2",
        f"spf_lookups{{{names}}} 7",
        f'dkim_key_bytes{{{names},domain="a\\"\\\\"}} 256',
        f'dkim_key_bytes{{{names},domain="b"}} 128',
    ]
    promtool = [needs.program("promtool"), "check", "metrics"]
    done = subprocess.run(promtool, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_json_has_a_line_for_each() -> None:
    lines = document("json", answer("a", "x"), answer("b", "y", code=3)).splitlines()
    assert [(one["host"], one["service"]) for one in map(json.loads, lines)] == [
        ("a", "x"),
        ("b", "y"),
    ]


@pytest.mark.parametrize("form", ["nagios", "nsca"])
@pytest.mark.parametrize(
    "fields",
    [
        {"status": "SMTP OK - " + "ü€𝄞\\" * 2000},
        {"perfdata": tuple(f"'host-{number}::time'=1s;;;0" for number in range(2000))},
        {"perfdata": ("x" * 5000,)},
    ],
)
def test_no_line_is_longer_than_a_pipe_takes_at_once(form: str, fields: dict[str, Any]) -> None:
    line = document(form, answer("h" * 255, "s" * 255, **fields))
    assert len(line.encode()) <= 4096
    assert line.count("\n") == 1
    assert line.endswith("\n")
    for item in line.rstrip("\n").partition("|")[2].split():
        assert item in fields["perfdata"]  # whole ones only
