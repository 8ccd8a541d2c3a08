"""Nagios Core and its pages, which its own CGI programs write."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engines.nagios import Nagios
from tests.screenshots.mail import HOSTS

if TYPE_CHECKING:
    from tests.screenshots.mail import World

PROGRAM = "/usr/lib/cgi-bin/nagios4/extinfo.cgi"

CONFIGURATION = """
main_config_file={folder}/nagios.cfg
physical_html_path=/usr/share/nagios4/htdocs
url_html_path=file://{folder}/html
use_authentication=0
escape_html_tags=1
"""
"""As Debian has it, but for the address of what pages are made of, since ours are files."""

PARTS = (
    Path("/usr/share/nagios4/htdocs/js"),
    Path("/usr/share/nagios4/htdocs/images"),
    Path("/etc/nagios4/stylesheets"),
)

COMMAND = """
define command {{
  command_name  {name}
  command_line  cd {folder} && SSL_CERT_FILE={authority} $USER1$/check_smtp_health {options}
}}
"""


def pages(world: World) -> list[Path]:
    """Return the page of each service, as files, once Nagios has checked it."""
    folder = world.folder / "nagios"
    (folder / "html").mkdir(parents=True)
    for part in PARTS:
        (folder / "html" / part.name).symlink_to(part)
    commands = [
        COMMAND.format(
            name=host,
            folder=world.folder,
            authority=world.authority.path,
            options=shlex.join((*world.options(host), "-v")),
        )
        for host in HOSTS
    ]
    nagios = Nagios(folder, {host: host for host in HOSTS}, objects="".join(commands))
    with nagios.running() as core:
        core.checked()
        return [_page(folder, host) for host in HOSTS]


def _page(folder: Path, service: str) -> Path:
    configuration = folder / "cgi.cfg"
    configuration.write_text(CONFIGURATION.format(folder=folder))
    answer = subprocess.run(
        [PROGRAM],
        env={
            "PATH": os.defpath,
            "NAGIOS_CGI_CONFIG": str(configuration),
            "REQUEST_METHOD": "GET",
            "QUERY_STRING": f"type=2&host=mail&service={service}",
            "REMOTE_USER": "nobody",
        },
        capture_output=True,
        check=True,
    )
    page = folder / f"{service}.html"
    page.write_bytes(answer.stdout.partition(b"\r\n\r\n")[2])
    return page
