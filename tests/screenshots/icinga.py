"""Icinga 2, Icinga DB, Icinga Web and Graphite around one service each of two mail servers."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from contrib.generate import CONTRIB
from tests import plugin
from tests.engines.icinga import LIBRARY, NODE, Icinga, checked
from tests.screenshots.mail import HOSTS, PASSWORD, PORT, RECIPIENT, World
from tests.servers import graphite, postgresql
from tests.servers.loopback import free_port, is_listening
from tests.servers.process import started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.postgresql import PostgreSQL

SERVICE = "submission"

ROUTER = Path(__file__).with_name("router.php")

RUNS, BROKEN_RUNS = 60, 15
"""Checks that the graphs show as if a minute lay between; the second server fails the last ones."""

OK, CRITICAL = 0, 2
"""The exit codes of these checks: nobody wants a picture of others."""

SCHEMA = "/usr/share/icingadb/schema/pgsql/schema.sql"

DATABASE = "icingadb"

KEPT = "SELECT count(*) FROM service_state WHERE output <> ''"
"""How many services have a result in the database, where it comes some seconds late."""

PATIENCE = 120
"""Seconds for that; it takes ten."""

ADMINISTRATOR = "admin"

OBJECTS = """
object IcingaDB "icingadb" {{ host = "127.0.0.1"; port = {redis} }}
template Service "health" {{
  check_command = "smtp_health"
  check_interval = 10s
  max_check_attempts = 1
  vars.smtp_health_verbose = true
  vars.smtp_health_port = {port}
  vars.smtp_health_starttls = true
  vars.smtp_health_authuser = "monitor"
  vars.smtp_health_authpass_file = "{password}"
  vars.smtp_health_rcpt = [ "{recipient}" ]
  vars.smtp_health_warning = [ "1" ]
  vars.smtp_health_critical = [ "5" ]
}}
"""
"""Icinga spreads the first checks over an interval, up to a minute, so that it is a short one."""

HOST = """
object Host "{name}" {{ check_command = "dummy"; address = "{address}"; check_interval = 1s }}
object Service "{service}" {{
  import "health"
  host_name = "{name}"
  vars.smtp_health_address = [ "{name}" ]
}}
"""

ICINGADB = """
database:
  type: pgsql
  host: {socket}
  port: 5432
  database: {database}
  user: {user}
  password: none
redis:
  host: 127.0.0.1
  port: {redis}
logging:
  output: console
"""

CONFIGURATION = {
    "config.ini": "[global]\nmodule_path = /usr/share/icingaweb2/modules\n[logging]\nlog = none\n",
    "authentication.ini": "[external]\nbackend = external\n",
    "roles.ini": f'[all]\nusers = {ADMINISTRATOR}\npermissions = "*"\n',
    "resources.ini": (
        "[icingadb]\ntype = db\ndb = pgsql\nhost = {socket}\nport = 5432\n"
        "dbname = {database}\nusername = {user}\ncharset = utf8\n"
    ),
    "modules/icingadb/config.ini": "[icingadb]\nresource = icingadb\n",
    "modules/icingadb/redis.ini": "[redis1]\nhost = 127.0.0.1\nport = {redis}\n",
    "modules/graphite/config.ini": "[graphite]\nurl = {graphite}\n",
}


PAGES = [f"/icingadb/service?name={SERVICE}&host.name={host}" for host in HOSTS]
"""Where Icinga Web has the page of each service."""

OUTPUT = "[id^=check-output-].collapsed + .collapsible-control"
"""What unfolds the output, of which a page shows 100 pixels."""


class Web(NamedTuple):
    """A running Icinga Web, and the folder whose pages it shows below ``/beside/``."""

    address: str
    beside: Path

    def page(self, name: str, text: str) -> str:
        """Add a page; return its address."""
        (self.beside / name).write_text(text)
        return f"{self.address}/beside/{name}"


def measured(world: World) -> dict[str, list[float | None]]:
    """Return what Graphite is given: perfdata of that many runs, by metric's name."""
    metrics: dict[str, list[float | None]] = {}
    for is_broken, runs in ((False, RUNS - BROKEN_RUNS), (True, BROKEN_RUNS)):
        with world.serving(is_broken=is_broken):
            for number in range(runs):
                before = number + is_broken * (RUNS - BROKEN_RUNS)
                for host in HOSTS:
                    name = f"icinga2.{re.sub('[^a-z0-9]', '_', host)}.services.{SERVICE}"
                    seen = _checked(world, host)
                    for label, value in seen.items():
                        metric = f"{name}.smtp_health.perfdata.{label}.value"
                        metrics.setdefault(metric, [None] * RUNS)[before] = value
    return metrics


def _checked(world: World, host: str) -> dict[str, float]:
    outcome = plugin.run(
        *world.options(host),
        prefix=("env", f"--chdir={world.folder}"),
        environment=world.environment,
    )
    if outcome.code not in (OK, CRITICAL):
        raise RuntimeError(outcome.stdout)
    _, _, perfdata = outcome.stdout.rpartition("| ")
    return {label: float(value) for label, value in re.findall(r"(\w+)=([\d.]+)", perfdata)}


@contextlib.contextmanager
def running(world: World, metrics: dict[str, list[float | None]]) -> Iterator[Web]:
    """Run all of them until the block ends, which begins once each service has been checked."""
    redis, web = free_port(), free_port()
    folder = world.folder / "icinga"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        database = enter(postgresql.running())
        (folder / "graphite").mkdir()
        behind = enter(graphite.running(folder / "graphite"))
        behind.keep(metrics)
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(redis), "--save", ""]
        enter(started(command, folder / "redis.txt", lambda: is_listening(redis)))
        enter(_synchronising(folder, database, redis))
        _check(folder, world, redis, database, stack)
        enter(_serving(folder, database, redis, behind.address, web))
        yield Web(f"http://127.0.0.1:{web}", folder / "beside")


@contextlib.contextmanager
def _synchronising(folder: Path, database: PostgreSQL, redis: int) -> Iterator[None]:
    """Run Icinga DB, which takes from Redis to the database."""
    database.create(DATABASE)
    subprocess.run(
        ["psql", "-Xq", "-h", database.folder, "-U", postgresql.USER, "-f", SCHEMA, DATABASE],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    file = folder / "icingadb.yml"
    places = {"socket": database.folder, "database": DATABASE, "user": postgresql.USER}
    file.write_text(ICINGADB.format(redis=redis, **places))
    log = folder / "icingadb.txt"
    command = ["icingadb", "--config", str(file)]
    with started(command, log, lambda: "Connecting to Redis" in log.read_text()):
        yield


def _check(
    folder: Path, world: World, redis: int, database: PostgreSQL, stack: contextlib.ExitStack
) -> None:
    """Run Icinga 2 until the end of the stack; return as soon as the database has its results."""
    objects = OBJECTS.format(
        redis=redis,
        port=PORT,
        password=world.folder / PASSWORD,
        recipient=RECIPIENT,
    )
    hosts = [HOST.format(name=name, address=HOSTS[name], service=SERVICE) for name in HOSTS]
    (folder / "node").mkdir()
    configuration = LIBRARY + NODE + objects + "".join(hosts)
    icinga = Icinga(folder / "node", configuration, world.environment)
    checked(icinga, stack.enter_context(icinga.running()))
    end = time.monotonic() + PATIENCE
    while int(database.ask(DATABASE, KEPT)) < len(HOSTS):
        if time.monotonic() > end:
            raise TimeoutError((folder / "icingadb.txt").read_text())
        time.sleep(0.2)


@contextlib.contextmanager
def _serving(
    folder: Path, database: PostgreSQL, redis: int, graphite_address: str, port: int
) -> Iterator[None]:
    """Run Icinga Web, whose every guest has logged in."""
    configuration, beside = folder / "icingaweb2", folder / "beside"
    places = {"socket": database.folder, "database": DATABASE, "user": postgresql.USER}
    for path, text in CONFIGURATION.items():
        file = configuration / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(redis=redis, graphite=graphite_address, **places))
    templates = configuration / "modules" / "graphite" / "templates"
    for made in (templates, configuration / "enabledModules", configuration / "sessions", beside):
        made.mkdir()
    shutil.copy(CONTRIB / "graphite" / "smtp_health.ini", templates)
    for module in ("icingadb", "graphite"):
        link = configuration / "enabledModules" / module
        link.symlink_to(f"/usr/share/icingaweb2/modules/{module}")
    command = [
        *("env", "-i", f"PATH={os.defpath}", f"ICINGAWEB_CONFIGDIR={configuration}"),
        *(f"TMPDIR={configuration}", f"REMOTE_USER={ADMINISTRATOR}", f"BESIDE={beside}"),
        *("PHP_CLI_SERVER_WORKERS=4", "php", "-S", f"127.0.0.1:{port}"),
        *("-t", "/usr/share/icingaweb2/public", "-d", "display_errors=stderr"),
        *("-d", f"session.save_path={configuration}/sessions"),
        str(ROUTER),
    ]
    with started(command, folder / "web.txt", lambda: is_listening(port)):
        yield
