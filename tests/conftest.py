"""What all tests share: what is random, what is measured, what is said at the end of a run."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import forking

if TYPE_CHECKING:
    from collections.abc import Iterator

# A suite that fails has found a change, not luck; luck is for ``make fuzz``. How long an example
# takes depends on what else the machine does. Being the same ones each time, 50 examples reach all
# branches that no other test does; more that are new, ``make fuzz`` tries.
settings.register_profile("suite", derandomize=True, max_examples=50, database=None, deadline=None)
settings.register_profile("fuzz", max_examples=1000, deadline=None)
settings.load_profile("suite")


MEASURING = sys.gettrace() if os.environ.get("COVERAGE_PROCESS_START") else None
"""What notes the lines that are executed, where the tests are run for that."""


def pytest_configure(config: pytest.Config) -> None:
    """Begin what covered runs are forked from, in each process that has tests run."""
    gc.disable()  # until all is collected that stays until the end
    # As that of an installed plugin is, bytecode is kept: else each run compiles all that it loads.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # Nobody's engine has these; a file named there is parsed by each run, which takes it 40 ms.
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(name, None)
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        forking.begin()
    if MEASURING is not None:
        threading.settrace(None)  # type: ignore[arg-type]  # which is how to end it
        sys.settrace(None)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Note which lines a test executes in this thread: nothing else of this process is looked at.

    To be asked about each line makes Python twice as slow, be it pytest or the servers of a test.
    """
    if MEASURING is None:
        yield
        return
    sys.settrace(MEASURING)
    yield
    sys.settrace(None)


def pytest_collection_finish() -> None:
    """Look for what is left over among what tests make, not among thousands of tests."""
    gc.freeze()
    gc.enable()


ID_LIMIT = 60
"""Characters of a parameter in the name of a test."""

LONGEST = (
    *("test_packages.py", "test_not_now.py", "test_crowd.py", "test_verify_message.py"),
    *("test_delivery.py", "test_director.py", "test_real_tls.py", "test_catalogue.py"),
    *("test_cleaning.py", "test_real_oauth.py", "test_process.py", "test_random_mailbox.py"),
    *("test_startup.py", "test_random_server.py", "test_real_mailboxes.py", "test_docs.py"),
    *("test_checks_catalogue.py", "test_replies.py", "test_terminal.py", "test_real_delivery.py"),
    *("test_fuzz.py", "test_random_records.py", "test_control.py", "test_checks_all_kinds.py"),
    *("test_security.py", "test_zones.py", "test_silence.py", "test_signals.py"),
)
"""Files that take longest: begun last, they would leave a worker without work.

In this order those that compute and those that wait are under way together.
"""


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a test by the beginning of what is long: a log with ids of 10,000 lines is no use."""
    if isinstance(val, (str, bytes)) and len(val) > ID_LIMIT:
        return ascii(val[:ID_LIMIT])
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a short name, so that no answer has to cut the paths in it."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
def uncovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the plugin as an engine does: an interpreter of its own, which loads all that it needs.

    Other runs are forked from a process that has loaded everything, and covered.
    """
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line where tests were left out: nobody should take their silence for success."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
    )
    total = sum(reasons.values())
    if not total:
        return
    why = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    tests = "test" if total == 1 else "tests"
    terminalreporter.write_line(f"{total} {tests} left out: {why}", yellow=True)
