"""Icinga 2 knows every option, and stores of each run exactly what the plugin printed."""

from __future__ import annotations

import base64
import contextlib
import grp
import json
import os
import pwd
import re
import shutil
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from check_smtp_health.options import OPTIONS, Option
from tests import needs
from tests.plugin import SCRIPT
from tests.servers.scripted import Expect, ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = Path(__file__).parents[2] / "contrib" / "icinga2-commands.conf"

NOT_FOR_SERVICES = ("help", "version", "ignore-quit-failure")

IN_ENVIRONMENT = {"authpass": "CHECK_SMTP_HEALTH_AUTHPASS"}
"""Options that are no arguments: Icinga stores and shows those, and so does the process list."""

PASSWORD = "s3cret, $HOME, \u00fc"

VARIABLES = {"hostname": "address", "use-ipv4": "ipv4", "use-ipv6": "ipv6"}
"""Custom variables that the Icinga Template Library does not name after the option."""

LIBRARY = """
include <itl>
include <plugins>
include CommandsFile
"""

SERVICES = """
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
object CheckerComponent "checker" { }
object ApiListener "api" { bind_host = "127.0.0.1"; bind_port = 0 }
object ApiUser "test" { password = "test"; permissions = [ "objects/query/*" ] }

object Host "mail" {
	check_command = "dummy"
	address = "127.0.0.1"
	address6 = "::1"
}

template Service "smtp" {
	host_name = "mail"
	check_command = "smtp_health"
	check_interval = 1s
	vars.smtp_health_port = ServerPort
	vars.smtp_health_fqdn = "probe.example"
}

object Service "brief" {
	import "smtp"
	vars.smtp_health_warning = "-5:"
	vars.smtp_health_critical = [ "60", "banner=-1:30" ]
	vars.smtp_health_require = [ "SIZE", "AUTH=PLAIN" ]
}

object Service "verbose" {
	import "smtp"
	vars.smtp_health_warning = "-5:"
	vars.smtp_health_require = [ "SIZE", "AUTH=PLAIN" ]
	vars.smtp_health_verbose = true
}

object Service "lacking" {
	import "smtp"
	vars.smtp_health_require = [ "SIZE", "CHUNKING" ]
	vars.smtp_health_verbose = false
}

object Service "over-ipv6" {
	import "smtp"
	vars.smtp_health_ipv6 = true
}

object Service "login" {
	import "smtp"
	vars.smtp_health_port = LoginPort
	vars.smtp_health_authuser = "monitor"
	vars.smtp_health_authpass = Password
	vars.smtp_health_auth_insecure = true
	vars.smtp_health_verbose = true
}
"""

SMTP = (
    b"220 mx.example ESMTP\r\n",
    Expect(b"EHLO"),
    b"250-mx.example\r\n250-SIZE 1000\r\n250 AUTH PLAIN\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)

LOGIN = (
    b"220 mx.example ESMTP\r\n",
    Expect(b"EHLO"),
    b"250-mx.example\r\n250 AUTH PLAIN\r\n",
    Expect(b"AUTH PLAIN "),
    b"235 2.7.0 Accepted\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)

DEADLINE = 60
"""Seconds until the daemon must have run every check; it takes two or three."""


class Result(NamedTuple):
    """What Icinga keeps of one run, every measured time as ``#``."""

    command: list[str]
    exit_status: int
    output: str
    performance_data: list[str]


class Icinga:
    """A node of its own in a scratch folder, running as whoever runs the tests."""

    def __init__(self, folder: Path, configuration: str, **constants: str) -> None:
        self.program = needs.program("icinga2")
        self.folder = folder
        self.log = folder / "log.txt"
        self.file = folder / "icinga2.conf"
        self.file.write_text(configuration)
        folders = {
            "ConfigDir": folder / "etc",
            "ZonesDir": folder / "etc" / "zones.d",
            "DataDir": folder / "data",
            "LogDir": folder / "log",
            "CacheDir": folder / "cache",
            "SpoolDir": folder / "spool",
            "InitRunDir": folder / "run",
        }
        for path in (*folders.values(), folder / "data" / "certs"):
            path.mkdir(parents=True)
        defined = {
            **folders,
            "NodeName": "localhost",
            "ZoneName": "localhost",
            "PluginDir": SCRIPT.parent,
            "PluginContribDir": SCRIPT.parent,
            "CommandsFile": COMMANDS,
            **constants,
        }
        self.defines = [f"-D{name}={value}" for name, value in defined.items()]

    def validate(self) -> tuple[int, str]:
        """Return the exit code and the last line of ``daemon -C``."""
        done = subprocess.run(
            [self.program, "daemon", "-C", "-c", str(self.file), *self.defines],
            capture_output=True,
            text=True,
            env=self._environment(),
            check=False,
        )
        return done.returncode, done.stdout.splitlines()[-1].partition("] ")[2]

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon until the block ends."""
        self._make_certificate()
        with (
            self.log.open("wb") as log,
            subprocess.Popen(
                [self.program, "daemon", "-c", str(self.file), *self.defines],
                stdout=log,
                stderr=log,
                env=self._environment(),
            ) as daemon,
        ):
            try:
                yield daemon
            finally:
                daemon.terminate()

    def query(self, path: str) -> list[dict[str, Any]]:
        """Return the attributes of the objects at a path of the API.

        Raises:
            OSError: the API does not answer yet.
        """
        port = re.search(r"listener on '\[127\.0\.0\.1\]:(\d+)'", self.log.read_text())
        if port is None:
            raise ConnectionRefusedError("no port yet")
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        request = urllib.request.Request(
            f"https://127.0.0.1:{port[1]}/v1/objects/{path}",
            headers={"Authorization": f"Basic {base64.b64encode(b'test:test').decode()}"},
        )
        with urllib.request.urlopen(request, context=context) as answer:
            return [row["attrs"] for row in json.load(answer)["results"]]

    def _make_certificate(self) -> None:
        certificates = self.folder / "data" / "certs"
        key, certificate = certificates / "localhost.key", certificates / "localhost.crt"
        subprocess.run(
            [
                *(self.program, "pki", "new-cert", "--cn", "localhost"),
                *("--key", str(key), "--cert", str(certificate), *self.defines),
            ],
            stdout=subprocess.DEVNULL,
            env=self._environment(),
            check=True,
        )
        shutil.copy(certificate, certificates / "ca.crt")

    @staticmethod
    def _environment() -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "ICINGA2_USER": pwd.getpwuid(os.getuid()).pw_name,
            "ICINGA2_GROUP": grp.getgrgid(os.getgid()).gr_name,
        }


class Seen(NamedTuple):
    """What the daemon knew: the CheckCommand, each service's first result; and the servers.

    ``stored`` is the whole of each result, ``log`` what the daemon said meanwhile.
    """

    command: dict[str, Any]
    results: dict[str, Result]
    stored: dict[str, str]
    log: str
    port: int
    login: ScriptedServer


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Run every service once."""
    with ScriptedServer(SMTP).running() as server, ScriptedServer(LOGIN).running() as login:
        icinga = Icinga(
            tmp_path_factory.mktemp("icinga"),
            LIBRARY + SERVICES,
            ServerPort=str(server.port),
            LoginPort=str(login.port),
            Password=PASSWORD.replace("$", "$$"),
        )
        with icinga.running() as daemon:
            services = _checked(icinga, daemon)
            (command,) = icinga.query("checkcommands/smtp_health")
    return Seen(
        command,
        {service["name"]: _result(service["last_check_result"]) for service in services},
        {service["name"]: json.dumps(service["last_check_result"]) for service in services},
        icinga.log.read_text(),
        server.port,
        login,
    )


def _checked(icinga: Icinga, daemon: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    end = time.monotonic() + DEADLINE
    while daemon.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            services = icinga.query("services")
            if all(service["last_check_result"] for service in services):
                return services
        time.sleep(0.1)
    pytest.fail(icinga.log.read_text())


def _result(stored: dict[str, Any]) -> Result:
    return Result(
        stored["command"],
        stored["exit_status"],
        _timeless(stored["output"]),
        [_timeless(metric) for metric in stored["performance_data"]],
    )


def _timeless(text: str) -> str:
    text = re.sub(r"\d+\.\d{6}s", "#s", text)
    text = re.sub(r"\d+\.\d{3,6} s( *█+)?", "# s", text)
    return re.sub(r"slowest: \w+", "slowest: #", text)


def test_arguments_are_the_option_table(seen: Seen) -> None:
    assert seen.command["arguments"] == {
        f"--{option.name}": _argument(option)
        for option in OPTIONS
        if option.name not in (*NOT_FOR_SERVICES, *IN_ENVIRONMENT)
    }
    assert seen.command["env"] == {
        variable: f"$smtp_health_{name}$" for name, variable in IN_ENVIRONMENT.items()
    }


def _argument(option: Option) -> dict[str, Any]:
    variable = VARIABLES.get(option.name, option.name.replace("-", "_"))
    argument: dict[str, Any] = {"description": option.help}
    argument["value" if option.value else "set_if"] = f"$smtp_health_{variable}$"
    if option.value and option.repeatable:
        argument["repeat_key"] = True
    if option.name == "hostname":
        argument["required"] = True
    return argument


def test_example_is_valid(tmp_path: Path) -> None:
    comment = COMMANDS.read_text().partition(" */")[0]
    example = "".join(re.findall(r"^ \*\t(.*\n)", comment, re.MULTILINE))
    host = """
object Host "mail" {
	check_command = "dummy"
	vars.mail_server = true
}
"""
    assert "apply Service" in example
    assert Icinga(tmp_path, LIBRARY + host + example).validate() == (
        0,
        "information/cli: Finished validating the configuration file(s).",
    )


def test_brief(seen: Seen) -> None:
    assert seen.results["brief"] == Result(
        [
            *(str(SCRIPT), "--critical", "60", "--critical", "banner=-1:30"),
            *("--fqdn", "probe.example", "--hostname", "127.0.0.1", "--port", str(seen.port)),
            *("--require", "SIZE", "--require", "AUTH=PLAIN", "--warning", "-5:"),
        ],
        0,
        f"SMTP OK - 127.0.0.1:{seen.port} answered in # s (slowest: # # s) ",
        [
            *("time=#s;-5:;60;0;10", "connect=#s;;;0", "banner=#s;;-1:30;0"),
            *("helo=#s;;;0", "quit=#s;;;0"),
        ],
    )


def test_verbose(seen: Seen) -> None:
    assert seen.results["verbose"] == Result(
        [
            *(str(SCRIPT), "--fqdn", "probe.example"),
            *("--hostname", "127.0.0.1", "--port", str(seen.port)),
            *("--require", "SIZE", "--require", "AUTH=PLAIN", "--verbose", "--warning", "-5:"),
        ],
        0,
        f"SMTP OK - 127.0.0.1:{seen.port} answered in # s (slowest: # # s)\n"
        "[OK]       connect   # s\n"
        "[OK]       banner    # s\n"
        "[OK]       helo      # s\n"
        "[OK]       quit      # s\n",
        ["time=#s;-5:;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0", "quit=#s;;;0"],
    )


def test_lacking(seen: Seen) -> None:
    assert seen.results["lacking"] == Result(
        [
            *(str(SCRIPT), "--fqdn", "probe.example"),
            *("--hostname", "127.0.0.1", "--port", str(seen.port)),
            *("--require", "SIZE", "--require", "CHUNKING"),
        ],
        2,
        f"SMTP CRITICAL - 127.0.0.1:{seen.port} helo: CHUNKING is not offered ",
        ["time=#s;;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0", "quit=#s;;;0"],
    )


def test_ipv6_chooses_the_address(seen: Seen) -> None:
    assert seen.results["over-ipv6"].command == [
        *(str(SCRIPT), "--fqdn", "probe.example"),
        *("--hostname", "::1", "--port", str(seen.port), "--use-ipv6"),
    ]


def test_a_password_reaches_the_plugin_and_nobody_else(seen: Seen) -> None:
    assert seen.results["login"] == Result(
        [
            *(str(SCRIPT), "--auth-insecure", "--authuser", "monitor", "--fqdn", "probe.example"),
            *("--hostname", "127.0.0.1", "--port", str(seen.login.port), "--verbose"),
        ],
        0,
        f"SMTP OK - 127.0.0.1:{seen.login.port} answered in # s (slowest: # # s)\n"
        "[OK]       connect   # s\n"
        "[OK]       banner    # s\n"
        "[OK]       helo      # s\n"
        "[OK]       auth      # s\n"
        "[OK]       quit      # s\n",
        [
            *("time=#s;;;0;10", "connect=#s;;;0", "banner=#s;;;0", "helo=#s;;;0"),
            *("auth=#s;;;0", "quit=#s;;;0"),
        ],
    )
    response = base64.b64encode(f"\0monitor\0{PASSWORD}".encode())
    assert b"AUTH PLAIN " + response + b"\r\n" in seen.login.received
    assert "s3cret" not in seen.stored["login"]
    assert "s3cret" not in seen.log
