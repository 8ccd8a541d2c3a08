"""Graphite Web on a port of 127.0.0.1: ``graphite_web.py FOLDER``, with Debian's own Python.

``FOLDER/metrics.json`` has the values of each metric, one a minute, the last of them of now. The
port is written into ``FOLDER/port``.
"""

import json
import os
import sys
import time
from pathlib import Path
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
DEFAULT_CACHE_DURATION = 0
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
"""
)
sys.path.insert(0, str(folder))
os.environ["GRAPHITE_SETTINGS_MODULE"] = "settings_of_test"

import whisper  # type: ignore[import-not-found]  # noqa: E402
from graphite.wsgi import application  # type: ignore[import-not-found]  # noqa: E402

MINUTE = 60

now = int(time.time())
for name, values in json.loads((folder / "metrics.json").read_text()).items():
    path = stored.joinpath(*name.split(".")).with_suffix(".wsp")
    path.parent.mkdir(parents=True, exist_ok=True)
    whisper.create(str(path), [(MINUTE, len(values) + 1)])
    moments = [now - MINUTE * age for age in range(len(values))]
    points = [one for one in zip(moments, reversed(values)) if one[1] is not None]
    whisper.update_many(str(path), points)

server = make_server("127.0.0.1", 0, application)
(folder / "port.new").write_text(str(server.server_port))
(folder / "port.new").rename(folder / "port")
server.serve_forever()
