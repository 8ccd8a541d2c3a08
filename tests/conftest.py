"""A fixture for all, and at the end of a run how many tests were left out, for want of what."""

from __future__ import annotations

from collections import Counter

import pytest


@pytest.fixture
def uncovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the plugin without coverage: it could not write there, or would be in the way."""
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
