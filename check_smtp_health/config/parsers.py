"""What reads hosts and seconds for many checks in one run, under one name."""

from __future__ import annotations

from check_smtp_health.config.hosts import host
from check_smtp_health.config.thresholds import SECONDS, TIMEOUT_LIMIT

__all__ = ["SECONDS", "TIMEOUT_LIMIT", "host"]
