"""An Icinga 2 of its own for one test, and what it keeps of each service's last check."""

from __future__ import annotations

import base64
import contextlib
import grp
import json
import os
import pwd
import re
import ssl
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trustme

from tests import needs
from tests.masking import masked
from tests.plugin import SCRIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMANDS = Path(__file__).parents[2] / "contrib" / "icinga2-commands.conf"


VARIABLES = {"hostname": "address", "use-ipv4": "ipv4", "use-ipv6": "ipv6"}
"""Custom variables that the Icinga Template Library does not name after the option."""

LIBRARY = """
include <itl>
include <plugins>
include CommandsFile
"""

NODE = """
object Endpoint NodeName { }
object Zone ZoneName { endpoints = [ NodeName ] }
object CheckerComponent "checker" { }
object ApiListener "api" { bind_host = "127.0.0.1"; bind_port = 0 }
object ApiUser "test" { password = "test"; permissions = [ "objects/query/*" ] }
"""
"""What a node needs to check its services and to say what came of it."""

DEADLINE = 60
"""Seconds until the daemon must have run every check; it takes two or three."""


class Result(NamedTuple):
    """What Icinga keeps of one run, every measured time as ``#``."""

    command: list[str]
    exit_status: int
    output: str
    performance_data: list[str]


class Icinga:
    """A node of its own in a scratch folder, running as whoever runs the tests.

    ``environment`` is what its plugins find in theirs besides PATH. Of the constants, NodeName is
    the node's name, ``localhost`` where it is not given.
    """

    def __init__(
        self,
        folder: Path,
        configuration: str,
        environment: dict[str, str] | None = None,
        **constants: str,
    ) -> None:
        self.program = needs.program("icinga2")
        self.folder = folder
        self._environment = {
            "PATH": os.defpath,
            "ICINGA2_USER": pwd.getpwuid(os.getuid()).pw_name,
            "ICINGA2_GROUP": grp.getgrgid(os.getgid()).gr_name,
            **(environment or {}),
        }
        self.log = folder / "log.txt"
        self.file = folder / "icinga2.conf"
        self.file.write_text(configuration)
        self.zones = folder / "etc" / "zones.d"
        self.certificates = folder / "data" / "certs"
        folders = {
            "ConfigDir": folder / "etc",
            "ZonesDir": self.zones,
            "DataDir": folder / "data",
            "LogDir": folder / "log",
            "CacheDir": folder / "cache",
            "SpoolDir": folder / "spool",
            "InitRunDir": folder / "run",
        }
        for path in (*folders.values(), self.certificates):
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
        self.name, self.zone = str(defined["NodeName"]), str(defined["ZoneName"])
        self.defines = [f"-D{name}={value}" for name, value in defined.items()]

    def validate(self) -> tuple[int, str]:
        """Return the exit code and the last line of ``daemon -C``."""
        done = subprocess.run(
            [self.program, "daemon", "-C", "-c", str(self.file), *self.defines],
            capture_output=True,
            text=True,
            env=self._environment,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()[-1].partition("] ")[2]

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the daemon until the block ends, by itself or among those of the same authority."""
        if not any(self.certificates.iterdir()):
            self.certify(trustme.CA())
        with (
            self.log.open("wb") as log,
            subprocess.Popen(
                [self.program, "daemon", "-c", str(self.file), *self.defines],
                stdout=log,
                stderr=log,
                env=self._environment,
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
        return [row["attrs"] for row in self._ask(f"objects/{path}")]

    def service(self, name: str) -> dict[str, Any]:
        """Return the attributes of the one service of this name.

        Raises:
            OSError: the API does not answer yet.
        """
        [service] = [service for service in self.query("services") if service["name"] == name]
        return service

    def wait(self, name: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return a service's result as soon as it is one of this kind."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                found = self.service(name)["last_check_result"]
                if found and condition(found):
                    result: dict[str, Any] = found
                    return result
            time.sleep(0.1)
        pytest.fail(self.log.read_text())

    def force_checks(self) -> None:
        """Have every service that this node schedules checked now.

        Raises:
            OSError: the API does not answer, or there is no such service.
        """
        ours = f'service.zone == "{self.zone}"'
        self._ask("actions/reschedule-check", {"type": "Service", "filter": ours, "force": True})

    def certify(self, authority: trustme.CA) -> None:
        """Let this authority vouch for the node."""
        leaf = authority.issue_cert(self.name, common_name=self.name)
        leaf.private_key_pem.write_to_path(self.certificates / f"{self.name}.key")
        leaf.cert_chain_pems[0].write_to_path(self.certificates / f"{self.name}.crt")
        authority.cert_pem.write_to_path(self.certificates / "ca.crt")

    @property
    def port(self) -> int:
        """The port of the API.

        Raises:
            OSError: there is none yet.
        """
        port = re.search(r"listener on '\[127\.0\.0\.1\]:(\d+)'", self.log.read_text())
        if port is None:
            raise ConnectionRefusedError("no port yet")
        return int(port[1])

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}/v1/{path}",
            None if body is None else json.dumps(body).encode(),
            {
                "Accept": "application/json",
                "Authorization": f"Basic {base64.b64encode(b'test:test').decode()}",
            },
        )
        with urllib.request.urlopen(request, context=context) as answer:
            results: list[dict[str, Any]] = json.load(answer)["results"]
        return results


def checked(icinga: Icinga, daemon: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Return the services as soon as each of them has been checked."""
    end = time.monotonic() + DEADLINE
    while daemon.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            services = icinga.query("services")
            if all(service["last_check_result"] for service in services):
                return services
        time.sleep(0.1)
    pytest.fail(icinga.log.read_text())


def result(stored: dict[str, Any]) -> Result:
    """Return what Icinga keeps of a run."""
    return Result(
        stored["command"],
        stored["exit_status"],
        masked(stored["output"]),
        [masked(metric) for metric in stored["performance_data"]],
    )
