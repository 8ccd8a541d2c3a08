"""Graphite Web on a port of 127.0.0.1: ``graphite_web.py FOLDER``, with Debian's own Python.

The port is written into ``FOLDER/port``. What is PUT there takes the place of all metrics: it has
the values of each, one a minute, the last of them of now.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

folder = Path(sys.argv[1])
stored = folder / "store"
stored.mkdir()  # Graphite looks for it as it starts
(folder / "settings_of_test.py").write_text(
    f"""
SECRET_KEY = "no secret"
LOG_ROTATION = False
GRAPHITE_ROOT = "/usr/share/graphite-web"
CONF_DIR = STORAGE_DIR = LOG_DIR = {str(folder)!r}
INDEX_FILE = {str(folder / "index")!r}
WHISPER_DIR = {str(stored)!r}
STORAGE_FINDERS = ("graphite.finders.standard.StandardFinder",)
DEFAULT_CACHE_DURATION = FIND_CACHE_DURATION = 0
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
"""
)
sys.path.insert(0, str(folder))
os.environ["GRAPHITE_SETTINGS_MODULE"] = "settings_of_test"

import whisper  # type: ignore[import-not-found]  # noqa: E402
from graphite.wsgi import application  # type: ignore[import-not-found]  # noqa: E402

MINUTE = 60


def keep(metrics: dict[str, list[float | None]]) -> None:
    shutil.rmtree(stored)
    stored.mkdir()
    now = int(time.time())
    for name, values in metrics.items():
        path = stored.joinpath(*name.split(".")).with_suffix(".wsp")
        path.parent.mkdir(parents=True, exist_ok=True)
        whisper.create(str(path), [(MINUTE, len(values) + 1)])
        moments = [now - MINUTE * age for age in range(len(values))]
        points = [one for one in zip(moments, reversed(values)) if one[1] is not None]
        whisper.update_many(str(path), points)


def answer(request: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    if request["REQUEST_METHOD"] != "PUT":
        drawn: Iterable[bytes] = application(request, start_response)
        return drawn
    keep(json.loads(request["wsgi.input"].read(int(request["CONTENT_LENGTH"]))))
    start_response("204 No Content", [])
    return []


server = make_server("127.0.0.1", 0, answer)
(folder / "port.new").write_text(str(server.server_port))
(folder / "port.new").rename(folder / "port")
server.serve_forever()
