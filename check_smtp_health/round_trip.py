"""The rules between the options of the round trip. Sends nothing."""

from __future__ import annotations

from check_smtp_health import arguments
from check_smtp_health.errors import UsageFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.mailbox_url import Mailbox
    from check_smtp_health.options import Options


def is_wanted(options: Options) -> bool:
    """Return whether a message is to be sent.

    Raises:
        UsageFault: it is, to nobody.
    """
    if options.count("deliver") and not options.count("rcpt"):
        raise UsageFault("deliver", "needs --rcpt ADDRESS")
    return bool(options.count("deliver"))


def mailboxes(options: Options) -> tuple[Mailbox, ...]:
    """Return where the message is to be looked for.

    Raises:
        UsageFault: one is no mailbox, or an option is given that makes no sense without another.
    """
    given = options.all("mailbox")
    if not given:
        for name in ("mailbox-pass-file", "delivery-timeout", "require-auth-results"):
            if options.count(name):
                raise UsageFault(name, "needs --mailbox URL")
        return ()
    if not options.count("deliver"):
        raise UsageFault("mailbox", "needs --deliver")
    from check_smtp_health import mailbox_url

    return tuple(dict.fromkeys(map(mailbox_url.parse, given)))


def password(given: str | None) -> str:
    """Return the mailboxes' password.

    Raises:
        UsageFault: there is none, or none that a mailbox could take.
    """
    if not given:
        raise UsageFault("mailbox", "needs a password, use --mailbox-pass-file FILE")
    if "\0" in given:
        raise UsageFault("mailbox", "the password holds a NUL, which no mailbox takes")
    return given


def required(options: Options) -> tuple[str, ...]:
    """Return the methods of authentication that must have passed."""
    return tuple(
        method
        for given in options.all("require-auth-results")
        for method in arguments.auth_results(given)
    )
