"""What a command line comes to, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_smtp_health import stages
from check_smtp_health.config import build, getopt

if TYPE_CHECKING:
    from check_smtp_health.config.settings import Settings


def settings(
    *arguments: str, password: str | None = None, mailbox_password: str | None = None
) -> Settings:
    """Return the settings of a command line.

    Raises:
        UsageFault: something is wrong with it.
    """
    options = getopt.read(list(arguments))
    if options.fault is not None:
        raise options.fault
    return build.build(options, stages.NAMES, "here", password, mailbox_password)
