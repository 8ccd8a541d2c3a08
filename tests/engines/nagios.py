"""A Nagios Core of its own for one test, and what it keeps of each service's last check."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests import needs
from tests.masking import masked
from tests.plugin import SCRIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMANDS = Path(__file__).parents[2] / "contrib" / "nagios-commands.cfg"

MAIN = """
cfg_file={commands}
cfg_file={folder}/objects.cfg
resource_file={folder}/resource.cfg
log_file={folder}/nagios.log
status_file={folder}/status.dat
object_cache_file={folder}/objects.cache
precached_object_file={folder}/objects.precache
lock_file={folder}/nagios.pid
command_file={folder}/nagios.cmd
query_socket={folder}/nagios.qh
temp_file={folder}/nagios.tmp
temp_path={folder}
check_result_path={folder}
state_retention_file={folder}/retention.dat
log_archive_path={folder}
nagios_user={user}
nagios_group={group}
service_inter_check_delay_method=n
status_update_interval=1
check_external_commands=1
service_freshness_check_interval=1
check_for_updates=0
use_syslog=0
"""

OBJECTS = """
define timeperiod {
  timeperiod_name  always
  alias            always
  sunday           00:00-24:00
  monday           00:00-24:00
  tuesday          00:00-24:00
  wednesday        00:00-24:00
  thursday         00:00-24:00
  friday           00:00-24:00
  saturday         00:00-24:00
}
define command {
  command_name  nothing
  command_line  /bin/true
}
define contact {
  contact_name                   nobody
  host_notification_period       always
  service_notification_period    always
  host_notification_commands     nothing
  service_notification_commands  nothing
}
define host {
  host_name           mail
  address             127.0.0.1
  check_period        always
  max_check_attempts  1
  contacts            nobody
}
"""

SERVICE = """
define service {{
  host_name            mail
  service_description  {name}
  check_command        {command}
  check_period         always
  check_interval       60
  retry_interval       60
  max_check_attempts   {attempts}
  contacts             nobody
}}
"""

DEADLINE = 60
"""Seconds until the daemon must have done what is asked; it takes one or two."""


class Result(NamedTuple):
    """What Nagios keeps of one run, every measured time and date as ``#``."""

    state: int
    output: str
    long_output: str
    performance_data: str


class Service(NamedTuple):
    """What Nagios says of a service: its last result, when that began, and what follows from it."""

    result: Result
    since: int
    is_hard: bool
    attempt: int
    hard_since: int


class Nagios:
    """A core in a scratch folder, running as whoever runs the tests.

    ``services`` are check commands by name, all on the host ``mail``, which is 127.0.0.1. A state
    is hard at the check with the number of ``attempts``; ``objects`` are further definitions.
    """

    def __init__(
        self, folder: Path, services: dict[str, str], *, attempts: int = 1, objects: str = ""
    ) -> None:
        self._program = needs.program("nagios4")
        self._folder = folder
        self._services = list(services)
        self._main = folder / "nagios.cfg"
        self._main.write_text(
            MAIN.format(
                commands=COMMANDS,
                folder=folder,
                user=pwd.getpwuid(os.getuid()).pw_name,
                group=grp.getgrgid(os.getgid()).gr_name,
            )
        )
        (folder / "resource.cfg").write_text(f"$USER1$={SCRIPT.parent}\n")
        defined = [
            SERVICE.format(name=name, command=command, attempts=attempts)
            for name, command in services.items()
        ]
        (folder / "objects.cfg").write_text("".join([OBJECTS, objects, *defined]))

    def validate(self) -> tuple[int, list[str]]:
        """Return the exit code of ``nagios -v`` and its errors with their number."""
        done = subprocess.run(
            [self._program, "-v", self._main], capture_output=True, text=True, check=False
        )
        return done.returncode, re.findall(r"^(?:Error|Total Errors):.*", done.stdout, re.MULTILINE)

    @contextlib.contextmanager
    def running(self) -> Iterator[Running]:
        """Run the daemon until the block ends."""
        output = self._folder / "output.txt"
        with (
            output.open("wb") as file,
            subprocess.Popen(
                [self._program, str(self._main)],
                stdout=file,
                stderr=file,
                env={"PATH": os.defpath},
            ) as daemon,
        ):
            try:
                yield Running(self._folder, self._services, daemon)
            finally:
                daemon.terminate()


class Running:
    """A running core."""

    def __init__(self, folder: Path, services: list[str], daemon: subprocess.Popen[bytes]) -> None:
        self._folder = folder
        self._services = services
        self._daemon = daemon

    def checked(self) -> dict[str, Service]:
        """Return the services as soon as each of them has been checked."""
        return self._wait(lambda service: service is not None)

    @property
    def command_file(self) -> Path:
        """The FIFO for external commands."""
        return self._folder / "nagios.cmd"

    def result(self, name: str, condition: Callable[[Result], bool]) -> Result:
        """Return a service's result as soon as it is one of this kind."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self._daemon.poll() is None:
            service = self._read().get(name)
            if service is not None and condition(service.result):
                return service.result
            time.sleep(0.1)
        pytest.fail((self._folder / "nagios.log").read_text())

    def check(self) -> dict[str, Service]:
        """Have every service checked now, and return what came of it."""
        before = self.checked()
        # Nagios counts in whole seconds; only in the next one a check is seen to be another.
        since = max(service.since for service in before.values())
        while int(time.time()) <= since:
            time.sleep(0.05)
        now = int(time.time())
        with self.command_file.open("w") as commands:
            for name in self._services:
                commands.write(f"[{now}] SCHEDULE_FORCED_SVC_CHECK;mail;{name};{now}\n")
        return self._wait(lambda service: service is not None and service.since > since)

    def _wait(self, condition: Callable[[Service | None], bool]) -> dict[str, Service]:
        end = time.monotonic() + DEADLINE
        while True:
            services = self._read()
            if all(condition(services.get(name)) for name in self._services):
                return services
            if self._daemon.poll() is not None or time.monotonic() > end:
                pytest.fail((self._folder / "output.txt").read_text())
            time.sleep(0.1)

    def _read(self) -> dict[str, Service]:
        file = self._folder / "status.dat"
        status = file.read_text(encoding="utf-8") if file.exists() else ""
        blocks = re.findall(r"^servicestatus \{\n(.*?)^\t\}", status, re.MULTILINE | re.DOTALL)
        return dict(_service(block) for block in blocks if "has_been_checked=1" in block)


def _service(block: str) -> tuple[str, Service]:
    values = dict(re.findall(r"^\t(\w+)=(.*)$", block, re.MULTILINE))
    result = Result(
        int(values["current_state"]),
        masked(values["plugin_output"]),
        masked(values["long_plugin_output"]),
        masked(values["performance_data"]),
    )
    return values["service_description"], Service(
        result,
        int(values["last_check"]),
        values["state_type"] == "1",
        int(values["current_attempt"]),
        int(values["last_hard_state_change"]),
    )
