"""A module that waits for its first use is the module that any other import would have made."""

from __future__ import annotations

import subprocess
import sys
import zipapp
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from bench.installed import install
from check_smtp_health.judge.nagios import deferred_imports
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.scripted import ScriptedServer

MODULES = {
    "waiting.py": "import sys\nvalue = 1\nthis = sys.modules[__name__]\nseen = this.value\n",
    "failing.py": "raise KeyError('no')\n",
    "package/__init__.py": "from package.part import value\nfrom package import part\nother = 2\n",
    "package/part.py": "value = 1\n",
    "folder/data": "",
}


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    for name, text in MODULES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    yield
    assert sys.meta_path == finders
    for name in set(sys.modules) - before:
        del sys.modules[name]


def later(name: str) -> ModuleType:
    """Import a module that waits."""
    with deferred_imports(name):
        return import_module(name)


def test_it_waits_for_its_first_use() -> None:
    module = later("waiting")
    assert "value" not in vars(module)
    assert import_module("waiting") is module
    assert "value" not in vars(module)
    assert module.value == 1
    assert (module.this, module.seen) == (module, 1)


def test_used_it_is_what_it_would_have_been() -> None:
    module = later("waiting")
    assert module.value == 1
    names = set(vars(module))
    del sys.modules["waiting"]
    usual = import_module("waiting")
    assert (type(module), repr(module), names) == (ModuleType, repr(usual), set(vars(usual)))
    assert type(module.__spec__.loader) is type(usual.__spec__.loader)  # type: ignore[union-attr]
    assert module.__loader__ is module.__spec__.loader  # type: ignore[union-attr]
    assert module.__file__ == usual.__file__
    with pytest.raises(AttributeError, match=r"^module 'waiting' has no attribute 'missing'$"):
        _ = module.missing


def test_a_package_waits_while_its_parts_are_used() -> None:
    with deferred_imports("package"):
        part = import_module("package.part")
    package = sys.modules["package"]
    assert part.value == 1
    assert package.part is part
    assert "other" not in vars(package)
    assert package.other == 2
    assert (package.part, package.value) == (part, 1)


def test_only_the_named_wait_and_only_in_the_block() -> None:
    with deferred_imports("package"):
        assert vars(import_module("waiting"))["value"] == 1
    del sys.modules["waiting"]
    assert vars(import_module("waiting"))["value"] == 1


def test_what_is_there_already_stays_as_it_is() -> None:
    module = import_module("waiting")
    assert later("waiting") is module
    assert vars(module)["value"] == 1


def test_what_is_missing_is_missed_at_once() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'missing'$") as caught:
        later("missing")
    assert caught.value.name == "missing"


def test_a_folder_has_nothing_to_wait_with() -> None:
    assert list(later("folder").__path__) == list(import_module("folder").__path__)


def test_what_fails_fails_at_its_first_use() -> None:
    module = later("failing")
    with pytest.raises(KeyError, match="no"):
        _ = module.value


IMPORTS = {
    "usual": "import nagiosplugin, logging",
    "later": "import check_smtp_health.judge.nagios, nagiosplugin, logging",
}

COOKIE = """
from nagiosplugin import Cookie
with Cookie("cookie") as cookie: cookie["a"] = 1
print(open("cookie").read(), nagiosplugin.Check, nagiosplugin.check.Check is nagiosplugin.Check)
"""

TRACEBACK = """
try: {}["a"]
except KeyError: logging.exception("here")
import traceback
print(traceback.format_list(traceback.extract_stack()))
@nagiosplugin.guarded(verbose=3)
def main(): {}["b"]
main()
"""

THREAD = """
import threading
thread = threading.Thread(target=lambda: {}["a"], name="x")
thread.start()
thread.join()
{}["b"]
"""


SCRIPTS = {"cookie": COOKIE, "traceback": TRACEBACK, "thread": THREAD}


@pytest.mark.usefixtures("uncovered")
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_nobody_sees_a_difference(tmp_path: Path, script: str) -> None:
    told = {}
    for name, imports in IMPORTS.items():
        path = tmp_path / "script.py"
        path.write_text(f"{imports}\n{script}")
        done = subprocess.run(
            [sys.executable, path], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        told[name] = (done.returncode, done.stdout, done.stderr.replace(imports, ""))
    assert told["later"] == told["usual"]
    assert "".join(told["later"][1:]) != ""


def test_from_an_archive(tmp_path: Path) -> None:
    """A zipapp's modules are found by another finder, and loaded by another loader."""
    python, _ = install(tmp_path / "environment")
    (site,) = (tmp_path / "environment").glob("lib/*/site-packages")
    archive = tmp_path / "check.pyz"
    zipapp.create_archive(site, archive, main="check_smtp_health.cli:main")
    with ScriptedServer((BANNER, *HELO, *QUIT)).running() as server:
        done = subprocess.run(
            [python, "-I", "-S", archive, "-H", "127.0.0.1", "-p", str(server.port)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout[:10], done.stderr) == (0, "SMTP OK - ", "")
