"""An Icinga Director of its own: its commands, its pages, and the rows that it keeps."""

from __future__ import annotations

import html
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.engines.icinga_web import MODULES, IcingaWeb
from tests.servers.postgresql import USER, PostgreSQL

if TYPE_CHECKING:
    from collections.abc import Mapping

NEEDED = ("incubator", "reactbundle", "director")
"""Director, and what it needs."""

PUBLIC = "/usr/share/icingaweb2/public"

ADMINISTRATOR = "admin"

CONFIGURATION = {
    "config.ini": f'[global]\nmodule_path = "/{MODULES}"\n[logging]\nlog = none\n',
    "authentication.ini": "[external]\nbackend = external\n",
    "roles.ini": f'[all]\nusers = {ADMINISTRATOR}\npermissions = "*"\n',
    "resources.ini": (
        '[director]\ntype = db\ndb = pgsql\nhost = "{socket}"\nport = 5432\n'
        "dbname = {database}\nusername = {user}\ncharset = utf8\n"
    ),
    "modules/director/config.ini": "[db]\nresource = director\n",
}
"""Icinga Web's, where whoever comes has logged in, and may do everything."""


class Field(NamedTuple):
    """A field of a form: what it is called, what can be done with it, what it is for.

    ``kind`` is the type of an ``<input>``, ``select``, or ``list`` where there may be more than one
    value; of a ``select``, ``words`` has the values that it offers.
    """

    caption: str
    kind: str
    words: tuple[str, ...]
    description: str


class Director:
    """A Director in a scratch folder, whose database is a copy of another one, or a new one."""

    def __init__(
        self,
        web: IcingaWeb,
        folder: Path,
        server: PostgreSQL,
        database: str,
        template: Director | None = None,
    ) -> None:
        self.web = web
        self.version = web.version("director")
        self.folder = folder
        self.database = database
        self._server = server
        places = {"socket": server.folder, "database": database, "user": USER}
        for path, text in CONFIGURATION.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.format(**places))
        for folder_of_ours in ("enabledModules", "sessions"):
            (folder / folder_of_ours).mkdir()
        for module in NEEDED:
            (folder / "enabledModules" / module).symlink_to(
                f"/usr/share/icingaweb2/modules/{module}"
            )
        if template is not None:
            server.create(database, template.database)
            return
        server.create(database)
        server.ask(database, "CREATE EXTENSION pgcrypto")
        self.command("migration", "run")

    def command(self, *arguments: str, given: str = "") -> str:
        """Return what one of Director's commands prints, which must succeed."""
        return self._run(("icingacli", "director", *arguments), {}, given)

    def restore(self, basket: str) -> None:
        """Restore a basket."""
        printed = self.command("basket", "restore", given=basket)
        assert printed == "Objects from Basket Snapshot have been restored\n"

    def ask(self, statement: str) -> str:
        """Return what the database answers: a line per row, its columns separated by bars."""
        return self._server.ask(self.database, statement)

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        return int(self.ask(f"SELECT count(*) FROM {table}"))

    def form(self, service: str) -> dict[str, list[Field]]:
        """Return the fields for custom variables of a service template's form, by group."""
        page = self.page(f"/director/service?name={service}")
        groups = re.findall(r"<legend>(.*?)</legend>(.*?)</fieldset>", page, re.DOTALL)
        return {
            html.unescape(legend): fields
            for legend, body in groups
            for fields in [_fields(body)]
            if fields
        }

    def page(self, path: str) -> str:
        """Return a page of Icinga Web, as a browser gets it."""
        request = {
            "REDIRECT_STATUS": "200",
            "REQUEST_METHOD": "GET",
            "REQUEST_URI": path,
            "QUERY_STRING": path.partition("?")[2],
            "SCRIPT_NAME": "/index.php",
            "SCRIPT_FILENAME": f"{PUBLIC}/index.php",
            "DOCUMENT_ROOT": PUBLIC,
            "HTTP_HOST": "localhost",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_SOFTWARE": "test",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_USER": ADMINISTRATOR,
        }
        options = ("-d", f"session.save_path={self.folder}/sessions", "-d", "display_errors=stderr")
        return self._run(("php-cgi", *options), request)

    def _run(
        self, command: tuple[str, ...], environment: Mapping[str, str], given: str = ""
    ) -> str:
        done = subprocess.run(
            self.web.command(*command),
            input=given,
            capture_output=True,
            text=True,
            env={
                "PATH": os.defpath,
                "ICINGAWEB_CONFIGDIR": str(self.folder),
                "TMPDIR": str(self.folder),  # there is its cache
                **environment,
            },
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout


def _fields(group: str) -> list[Field]:
    """Return the fields of a group for custom variables."""
    found = re.findall(
        r'<label for="var_[^>]*>(.*?)</label></dt>(.*?)<p class="description">(.*?)</p></dd>',
        group,
        re.DOTALL,
    )
    return [
        Field(
            html.unescape(caption).strip(),
            _kind(element),
            tuple(filter(None, re.findall(r'<option value="(.*?)"', element))),
            html.unescape(description),
        )
        for caption, element, description in found
    ]


def _kind(element: str) -> str:
    if 'class="extensible-set"' in element:
        return "list"
    (kind, *_) = re.findall(r'<input type="(\w+)"|<(select) ', element)
    return "".join(kind)
