"""What a command line comes to, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from check_smtp_health import cli, definitions, output, stages
from check_smtp_health.config import build, credentials, getopt, ini, oauth
from check_smtp_health.errors import UsageFault
from check_smtp_health.judge import occasions
from check_smtp_health.output.single import Single
from check_smtp_health.probing import targets

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
    return build.build(
        options, stages.MEASURES, "here", password, mailbox_password, causes=cli.causes()
    )


def problem(*arguments: str) -> str:
    """Return what is wrong with a command line, as the status line has it; nothing if it is right.

    The steps are those of ``cli``, up to the first server that would be asked.
    """
    options = getopt.read(list(arguments))
    try:
        if options.fault is not None:
            raise options.fault
        if options.count("extra-opts"):
            options = options.after(getopt.read(ini.read(options.all("extra-opts"))).hidden())
        _prepare(options)
    except UsageFault as fault:
        return options.told(fault)
    return ""


def _prepare(options: getopt.Options) -> None:
    if options.fault is not None:
        raise options.fault
    if options.count("print-definition"):
        definitions.read(options.last("print-definition") or "")
    form = output.find(options.last("output-format"))
    passwords = credentials.password(options, {}), credentials.mailbox_password(options, {})
    key = credentials.dnsbl_key(options, {}) if options.count("dnsbl") else None
    settings = build.build(
        options,
        stages.MEASURES,
        "here",
        *passwords,
        dnsbl_key=key,
        oauth=oauth.read(options),
        causes=cli.causes(),
    )
    occasions.need_possible(settings)
    if form.is_for_engines or any(map(options.count, output.OPTIONS)):
        Single(options, form, settings.endpoint)
    targets.prepare(settings)
