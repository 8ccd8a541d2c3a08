"""What packages and systems said that are older than those of the other tests."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

from check_smtp_health.net import certificate


def test_dates_of_a_cryptography_before_42() -> None:
    """It has them without time zone, in UTC."""
    old = SimpleNamespace(not_valid_after=datetime(2027, 1, 22, 12))
    assert certificate._moment(old, "not_valid_after") == 1800619200.0
