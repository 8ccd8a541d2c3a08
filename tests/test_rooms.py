"""The rooms are as the package says: who imports whom, and what a plain check loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import check_smtp_health
from bench.installed import install
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.scripted import ScriptedServer

PACKAGE = Path(check_smtp_health.__file__).parent

LEAVES = {"errors", "text", "values"}

MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "values": set(),
    "text": set(),
    "errors": set(),
    "observation": {"values"},
    "header": {"observation"},
    "query": {*LEAVES, "header"},
    "option_table": LEAVES,
    "definitions.__init__": LEAVES,
    "options": {*LEAVES, "option_table"},
    "extra_opts": {*LEAVES, "options"},
    "credentials": {*LEAVES, "options"},
    "arguments": LEAVES,
    "thresholds": {*LEAVES, "arguments", "options"},
    "policies": {*LEAVES, "__init__", "arguments", "options"},
    "mailbox_url": {*LEAVES, "arguments"},
    "round_trip": {*LEAVES, "__init__", "arguments", "mailbox_url", "options"},
    "settings": {
        *LEAVES, "__init__", "arguments", "mailbox_url", "options", "policies", "round_trip",
        "thresholds",
    },
    "smtp.__init__": set(),
    "smtp.reply": LEAVES,
    "smtp.session": {*LEAVES, "smtp.reply"},
    "smtp.sasl": LEAVES,
    "smtp.message": LEAVES,
    "net.__init__": set(),
    "net.wishes": {*LEAVES, "net.tls"},
    "net.deadline": LEAVES,
    "net.resolver": {*LEAVES, "net.wishes"},
    "net.transport": {*LEAVES, "net.wishes"},
    "net.certificate": {*LEAVES, "observation"},
    "net.tls": {*LEAVES, "settings", "net.certificate", "net.transport"},
    "net.driver": {*LEAVES, "net.wishes", "net.deadline", "net.transport"},
    "net.lookup": {*LEAVES, "net.__init__", "net.resolver", "net.wishes"},
    "net.web": {*LEAVES, "net.__init__", "net.lookup", "net.tls", "net.wishes"},
    "policy.__init__": set(),
    "policy.asking": {*LEAVES, "net.__init__", "net.lookup", "net.wishes"},
    "policy.mx": {
        *LEAVES, "__init__", "arguments", "observation", "net.__init__", "net.lookup", "net.wishes",
    },
    "policy.dnsbl": {
        *LEAVES, "arguments", "observation", "policy.asking", "net.lookup", "net.wishes",
    },
    "policy.reverse": {*LEAVES, "observation", "policy.asking", "net.lookup", "net.wishes"},
    "policy.dane": {*LEAVES, "observation", "policy.asking", "net.lookup", "net.wishes"},
    "policy.mta_sts": {
        *LEAVES, "arguments", "observation", "policy.__init__", "policy.asking", "policy.mx",
        "net.__init__", "net.lookup", "net.tls", "net.web", "net.wishes",
    },
    "net.stamp": set(),
    "net.wire": {*LEAVES, "net.deadline", "net.tls", "net.transport", "net.wishes"},
    "net.mailbox": {
        *LEAVES, "mailbox_url", "query", "net.deadline", "net.resolver", "net.tls", "net.wire",
    },
    "net.imap": {*LEAVES, "mailbox_url", "query", "net.mailbox", "net.wire"},
    "net.pop3": {*LEAVES, "query", "net.mailbox", "net.wire"},
    "net.search": {
        *LEAVES, "mailbox_url", "query", "net.deadline", "net.imap", "net.mailbox", "net.pop3",
        "net.tls", "net.wishes",
    },
    "stages.visit": {
        *LEAVES, "arguments", "observation", "settings", "query", "smtp.reply", "smtp.session",
        "net.certificate", "net.lookup", "net.tls", "net.wishes",
    },
    "stages.connection": {
        *LEAVES, "observation", "settings", "stages.visit", "net.__init__", "net.lookup",
        "net.resolver", "net.wishes",
    },
    "stages.greeting": {*LEAVES, "observation", "stages.visit", "net.wishes"},
    "stages.encryption": {
        *LEAVES, "observation", "settings", "smtp.session", "stages.visit", "stages.connection",
        "stages.greeting", "net.certificate", "net.tls", "net.wishes",
    },
    "stages.login": {
        *LEAVES, "observation", "settings", "smtp.__init__", "smtp.reply", "smtp.sasl",
        "smtp.session", "stages.visit", "net.wishes",
    },
    "stages.transaction": {
        *LEAVES, "observation", "settings", "smtp.reply", "stages.visit", "net.wishes",
    },
    "stages.delivery": {
        *LEAVES, "observation", "settings", "header", "query", "smtp.__init__", "smtp.message",
        "smtp.reply", "smtp.sasl", "smtp.session", "stages.visit", "stages.greeting",
        "stages.transaction", "net.search", "net.stamp", "net.tls", "net.wishes",
    },
    "stages.__init__": {
        *LEAVES, "settings", "stages.visit", "stages.connection", "stages.greeting",
        "stages.encryption", "stages.login", "stages.transaction", "stages.delivery",
        "net.wishes",
    },
    "verdicts": {
        *LEAVES, "arguments", "observation", "policies", "settings", "stages.__init__",
        "stages.encryption", "stages.visit", "policy.__init__", "policy.asking", "policy.dane",
        "policy.dnsbl", "policy.mta_sts", "policy.reverse", "net.certificate", "net.wishes",
    },
    "probe": {
        *LEAVES, "__init__", "observation", "settings", "verdicts", "stages.__init__",
        "stages.visit", "net.wishes",
    },
    "targets": {
        *LEAVES, "__init__", "arguments", "observation", "settings", "verdicts", "stages.__init__",
        "stages.visit", "probe", "policy.__init__", "policy.dane", "policy.mx", "net.__init__",
        "net.deadline", "net.driver",
        "net.wishes",
    },
    "later": set(),
    "nagios": {"later"},
    "perfdata": {"settings", "metrics"},
    "evaluation": {*LEAVES, "observation", "settings", "nagios", "metrics", "perfdata"},
    "metrics": {*LEAVES, "observation", "settings", "nagios", "evaluation", "perfdata"},
    "summary": {*LEAVES, "observation", "nagios", "evaluation", "metrics"},
    "document": {*LEAVES, "__init__", "observation", "nagios", "evaluation", "metrics", "summary"},
    "cli": {
        *LEAVES, "__init__", "option_table", "options", "extra_opts", "credentials",
        "definitions.__init__", "settings", "stages.__init__", "targets", "perfdata", "metrics",
        "summary", "document",
    },
}  # fmt: skip

WORLD = {"socket", "selectors", "threading", "ssl", "time", "signal", "select"}
"""Standard library that touches the world."""

MAY_TOUCH: dict[str, set[str]] = {
    "net.deadline": {"time"},
    "net.resolver": {"socket"},
    "net.transport": {"selectors", "socket"},
    "net.certificate": {"ssl", "time"},
    "net.tls": {"selectors", "socket", "ssl"},
    "net.driver": {"selectors", "signal", "threading"},
    "net.search": {"time"},
    "net.stamp": {"time"},
    "net.wire": {"selectors"},
    "targets": {"signal"},
    "cli": {"select", "signal"},
}


def modules() -> dict[str, ast.Module]:
    """Return every module's syntax tree by its name below the package."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text())
        for path in PACKAGE.rglob("*.py")
    }


def imported(tree: ast.Module) -> set[str]:
    """Return the full names that a module imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def ours(names: set[str], known: set[str]) -> set[str]:
    """Return which of our modules these names belong to."""
    found = set()
    for name in names:
        head, _, rest = name.partition(".")
        if head == "check_smtp_health":
            parts = rest.split(".")
            while not known & {".".join(parts), ".".join((*parts, "__init__"))}:
                parts.pop()
            module = ".".join(parts)
            found.add(module if module in known else ".".join((*parts, "__init__")))
    return found


def test_imports_go_down_only() -> None:
    trees = modules()
    assert set(trees) == set(MAY_IMPORT)
    wrong = {
        name: ours(imported(tree), set(trees)) - MAY_IMPORT[name] for name, tree in trees.items()
    }
    assert {name: bad for name, bad in wrong.items() if bad} == {}


def test_only_the_network_room_touches_the_world() -> None:
    touched = {
        name: {full.split(".")[0] for full in imported(tree)} & WORLD
        for name, tree in modules().items()
    }
    assert {name: used for name, used in touched.items() if used} == MAY_TOUCH


def test_nagiosplugin_comes_in_by_one_door() -> None:
    users = {
        name
        for name, tree in modules().items()
        if any(full.split(".")[0] == "nagiosplugin" for full in imported(tree))
    }
    assert users == {"nagios"}


def test_what_a_plain_check_loads(tmp_path: Path) -> None:
    """Each module here costs every check its time; argparse, typing and ssl are not among them."""
    python, _ = install(tmp_path / "environment")  # nothing but the two packages is in there
    script = tmp_path / "script.py"
    with ScriptedServer((BANNER, *HELO, *QUIT)).running() as server:
        script.write_text(TELLING + "from check_smtp_health import cli; cli.main()")
        arguments = ("-H", "127.0.0.1", "-p", str(server.port), "-F", "me.example")
        loaded = told_by(python, str(script), *arguments)
    script.write_text(TELLING + "import gc, nagiosplugin, socket; os._exit(0)")
    usual = told_by(python, str(script))
    assert loaded - usual == {"check_smtp_health"}
    assert usual - loaded >= {"json", "random", "shutil", "tempfile", "traceback"}


TELLING = """\
import os, sys
def leave(code):
    executed = [name for name, one in sys.modules.items() if type(one).__name__ != "_Unused"]
    print(*{name.partition(".")[0] for name in executed})
    raise SystemExit(code)
os._exit = leave
"""


def told_by(*command: str) -> set[str]:
    """Return the modules that a program names on its last line."""
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_command_loads_next_to_nothing() -> None:
    """What is imported before main() begins cannot be guarded by it."""
    script = (
        "import sys, os, signal, errno, gc, __future__; base = set(sys.modules);"
        "import check_smtp_health.cli;"
        "print(*sorted(set(sys.modules) - base))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout.split() == ["check_smtp_health", "check_smtp_health.cli"]
