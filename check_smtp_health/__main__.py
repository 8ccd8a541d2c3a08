"""``python -m check_smtp_health``."""

from check_smtp_health.cli import main

main()
