"""From options to ``RoundTrip``: what is sent, where it is looked for, and who logs in there.

Loaded where one of these options is given.
"""

from __future__ import annotations

from check_smtp_health.config import credentials, mailbox_url, thresholds
from check_smtp_health.config.accounts import RoundTrip, Secret
from check_smtp_health.config.hosts import ip_version, unique
from check_smtp_health.config.mailbox_url import SCHEMES, TOKEN_MECHANISMS
from check_smtp_health.config.option_table import ROUND_TRIP
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.accounts import OAuth
    from check_smtp_health.config.getopt import Options
    from check_smtp_health.config.mailbox_url import Mailbox
    from check_smtp_health.config.settings import Endpoint

AUTH_METHODS = ("spf", "dkim", "dmarc")

_NEED_MAILBOX = tuple(name for name in ROUND_TRIP if name not in ("deliver", "mailbox"))


def build(
    options: Options,
    password: str | None,
    endpoint: Endpoint,
    oauth: tuple[OAuth | None, OAuth | None],
) -> RoundTrip:
    """Return what is to be sent and looked for, where an option asks for anything of that.

    ``oauth`` is what stands in the place of the session's password, and of the mailbox's.

    Raises:
        UsageFault: the first thing that is wrong.
    """
    mailboxes = _mailboxes(options, endpoint)
    if not options.count("deliver"):
        raise UsageFault("mailbox", "needs --deliver")
    if not options.count("rcpt"):
        raise UsageFault("deliver", "needs --rcpt ADDRESS")
    if not mailboxes:
        return RoundTrip()
    # What is given for the mailbox goes before what serves it, too.
    token = oauth[1] or (oauth[0] if not password else None)
    if oauth[0] is not None and token is not oauth[0] and not options.count("authuser"):
        raise UsageFault("oauth", "has no effect: there is no -U, and a password for the mailbox")
    return RoundTrip(
        mailboxes=mailboxes,
        timeout=_timeout(options.last("delivery-timeout")),
        require_auth_results=tuple(
            method for given in options.all("require-auth-results") for method in _methods(given)
        ),
        may_show_password=bool(options.count("auth-insecure")),
        password=_mailbox_password(password, mailboxes, token),
        oauth=token,
        clean=_clean(options, mailboxes),
        takes_replies=_takes_replies(options),
    )


def _clean(options: Options, mailboxes: tuple[Mailbox, ...]) -> tuple[Mailbox, ...]:
    """Return the folders that are only cleaned; each belongs to an account of ``--mailbox``."""
    given = options.all("clean")
    folders = unique(
        (mailbox_url.parse(one, "clean") for one in given),
        lambda one: (*one.account, one.scheme, one.folder),
    )
    accounts = {(one.account, one.scheme) for one in mailboxes}
    known = {(one.account, one.folder) for one in mailboxes}
    for one in folders:
        if not one.has_folders:
            these = " or ".join(f"{name}://" for name, row in SCHEMES.items() if row.has_folders)
            problem = f"needs {these}, {SCHEMES[one.scheme].protocol} has no folders"
            raise UsageFault("clean", problem)
        if (one.account, one.scheme) not in accounts:
            raise UsageFault("clean", f"{one} is not a folder of an account named by --mailbox")
        if (one.account, one.folder) in known:
            raise UsageFault("clean", f"has no effect on {one}, which --mailbox names")
    return folders


def _takes_replies(options: Options) -> bool:
    for option in ("require-auth-results", "verify-message") if options.count("reply") else ():
        if options.count(option):
            # What is known of an answer is about its author's domain, not ours.
            raise UsageFault(option, "cannot be combined with --reply")
    return bool(options.count("reply"))


def _mailbox_password(
    given: str | None, mailboxes: tuple[Mailbox, ...], oauth: OAuth | None
) -> Secret:
    for mailbox in mailboxes if oauth is not None else ():
        if mailbox.mechanism not in ("", *TOKEN_MECHANISMS):
            raise UsageFault("mailbox", f"{mailbox.mechanism} takes no access token (--oauth)")
    if not given and oauth is not None:
        return Secret("")
    if not given:
        raise UsageFault("mailbox", "needs a password, use --mailbox-pass-file FILE")
    return Secret(credentials.one_line("mailbox", given))


def _mailboxes(options: Options, endpoint: Endpoint) -> tuple[Mailbox, ...]:
    given = options.all("mailbox")
    if not given:
        for name in _NEED_MAILBOX:
            if options.count(name):
                raise UsageFault(name, "needs --mailbox URL")
        return ()
    mailboxes = unique(
        map(mailbox_url.parse, given), lambda one: (*one.account, one.scheme, one.folder)
    )
    ways: dict[object, str] = {}
    for one in mailboxes:
        if ways.setdefault(one.account, one.mechanism) != one.mechanism:
            raise UsageFault("mailbox", f"asks for two ways to log in to the account of {one}")
    for host in [one.host for one in mailboxes if endpoint.family and one.host.kind == "address"]:
        if ip_version(host.ascii) != endpoint.family:
            why = "source" if endpoint.source else f"use-ipv{endpoint.family}"
            raise UsageFault(why, f"cannot be combined with the mailbox's address {host.ascii}")
    return mailboxes


def _timeout(given: str | None) -> float:
    """Return the seconds in which the message must have come."""
    return 60.0 if given is None else thresholds.seconds("delivery-timeout", given, given)


def _methods(given: str) -> tuple[str, ...]:
    """Return the methods of authentication that must have passed."""
    methods = tuple(dict.fromkeys(given.lower().split(",")))
    for method in methods:
        if method not in AUTH_METHODS:
            known = ", ".join(AUTH_METHODS)
            raise UsageFault("require-auth-results", f"{quoted(method)} is not one of {known}")
    return methods
