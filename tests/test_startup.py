"""Start-up is a budget: what a check loads, and how many instructions it takes.

Both come out the same every time, on any machine. How long it takes is for ``make bench``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from bench import crowd, measure
from bench.contestants import CHECK_SMTP, IMPORTS
from bench.installed import install
from tests import needs, plugin
from tests.servers import crowd as crowd_server
from tests.servers.catalogue import BANNER, EHLO, HELO, QUIT
from tests.servers.certificates import Certificates
from tests.servers.scripted import Expect, Handshake, ScriptedServer

PLAIN = """
cli
config config.build config.getopt config.hosts config.option_table
config.settings config.thresholds
errors escaping
judge judge.check judge.contexts judge.nagios judge.resources judge.states judge.text
loading namedtuple
net net.addresses net.driver net.operations net.transport
output output.text
probing probing.probe probing.targets
report
smtp smtp.session
stages stages.connection stages.greeting stages.state
stdout
"""
"""Our modules that a plain check loads."""

STARTTLS = """
config.files faults net.certificate net.flight net.tls net.trust report.tls stages.encryption
"""
"""What ``-S`` adds."""

RECIPIENT = "stages.transaction"
"""What ``--rcpt`` adds."""

INSTRUCTIONS = {(3, 9): 0.93, (3, 10): 0.91, (3, 11): 0.86, (3, 12): 0.86}.get(
    sys.version_info[:2], 0.88
)
"""Of a plain check, in those of the imports with which any check with nagiosplugin begins.

It is 0.911 with Python 3.9, then 0.893, 0.849, 0.839, and 0.866 with 3.13; processor time is for
``make bench``.
"""

FURTHER = 0.20 if sys.version_info >= (3, 11) else 0.24
"""Instructions of each further target of a run, in those of a run of check_smtp.

It is 0.18, with Python 3.9 0.23. cachegrind does not see the kernel, where most of a run of
check_smtp takes place.
"""

TELLING = """\
import os, sys
def leave(code):
    executed = [name for name, one in sys.modules.items() if type(one).__name__ != "_Unused"]
    print(*executed)
    raise SystemExit(code)
os._exit = leave
"""


class Environment(NamedTuple):
    """Where nothing but the two packages is installed."""

    python: str
    command: str


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(*install(tmp_path_factory.mktemp("installed") / "environment"))


def loaded(environment: Environment, script: str, *arguments: str) -> set[str]:
    """Return the modules that a script has executed when it ends."""
    command = [environment.python, "-c", TELLING + script, *arguments]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.splitlines()[-1].split())


def loaded_by_check(environment: Environment, server: ScriptedServer, *arguments: str) -> set[str]:
    """Return the modules that a check has executed when it ends."""
    script = "from check_smtp_health import cli; cli.main()"
    return loaded(environment, script, *plugin.at(server.port), *arguments)


def ours(modules: set[str]) -> list[str]:
    """Return those of our package, without its name."""
    prefix = "check_smtp_health."
    return sorted(name.removeprefix(prefix) for name in modules if name.startswith(prefix))


@pytest.fixture(scope="module")
def plain(environment: Environment) -> set[str]:
    """Return what a plain check loads."""
    with ScriptedServer((BANNER, *HELO, *QUIT)).running() as server:
        return loaded_by_check(environment, server)


def test_our_modules(plain: set[str]) -> None:
    assert ours(plain) == sorted(PLAIN.split())


def test_modules_of_others(environment: Environment, plain: set[str]) -> None:
    """Each costs every check its time; argparse, typing and ssl are not among them."""
    usual = loaded(environment, "import gc, nagiosplugin, selectors, socket; os._exit(0)")
    assert {name.partition(".")[0] for name in plain - usual} == {"check_smtp_health"}
    assert usual - plain >= {"json", "random", "shutil", "tempfile", "traceback"}


def test_what_starttls_adds(environment: Environment, plain: set[str], tmp_path: Path) -> None:
    certificates = Certificates(tmp_path, "mx.example")
    script = (
        *(BANNER, EHLO, b"250-mx.example\r\n250 STARTTLS\r\n"),
        *(Expect(b"STARTTLS"), b"220 go\r\n", Handshake(certificates.context("good"))),
        *(EHLO, b"250 mx.example\r\n", *QUIT),
    )
    trust = ("--sni", "mx.example", "--ca-file", certificates.good.path)
    free = "--ignore-certificate-expiration"  # the package that reads certificates is not there
    with ScriptedServer(script).running() as server:
        modules = loaded_by_check(environment, server, "-S", *trust, free)
    assert ours(modules - plain) == sorted(STARTTLS.split())
    assert "ssl" in modules - plain


def test_controls_cost_a_healthy_run_nothing(environment: Environment, plain: set[str]) -> None:
    with ScriptedServer((BANNER, *HELO, *QUIT)).running() as server:
        assert loaded_by_check(environment, server, "--control", "192.0.2.1") == plain


def test_what_a_recipient_adds(environment: Environment, plain: set[str]) -> None:
    ok = b"250 ok\r\n"
    script = (*HELO, Expect(b"MAIL"), ok, Expect(b"RCPT"), ok, Expect(b"RSET"), ok, *QUIT)
    with ScriptedServer((BANNER, *script)).running() as server:
        modules = loaded_by_check(environment, server, "--rcpt", "a@mx.example")
    assert ours(modules - plain) == sorted(RECIPIENT.split())


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
    ours = ["check_smtp_health", "check_smtp_health.cli", "check_smtp_health.stdout"]
    assert done.stdout.split() == ours


def instructions(*command: str) -> int:
    """Return the instructions that a command takes, for one that ends well."""
    needs.program("valgrind")
    counted = measure.instructions(command, 0)
    assert counted is not None
    return counted


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Return the port of a server, in a process of its own, that has any number of addresses."""
    with crowd_server.running() as port:
        yield port


def of_targets(environment: Environment, port: int, number: int) -> int:
    """Return the instructions that a check of so many targets takes."""
    more = ("-p", str(port), "-F", "me.example", "-t", "60")
    return instructions(environment.command, *crowd.hosts(number), *more)


@pytest.fixture(scope="module")
def of_one(environment: Environment, port: int) -> int:
    return of_targets(environment, port, 1)


def test_instructions_of_a_check(environment: Environment, of_one: int) -> None:
    assert of_one / instructions(environment.python, "-c", IMPORTS) <= INSTRUCTIONS


def test_instructions_of_each_further_target(
    environment: Environment, port: int, of_one: int
) -> None:
    """An answer that comes late has a run look once more: the least of a few counts is its own."""
    needs.program("check_smtp")
    theirs = instructions(CHECK_SMTP, "-H", "127.0.0.1", "-p", str(port))
    each = ((of_targets(environment, port, 51) - of_one) / 50 for _ in range(3))
    assert any(one / theirs <= FURTHER for one in each)
