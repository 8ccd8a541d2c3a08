"""From options to ``Login``: who logs in to the server, and how.

Loaded where one of these options is given.
"""

from __future__ import annotations

from check_smtp_health.config import credentials
from check_smtp_health.config.accounts import Login, Secret
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import has_controls, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.accounts import OAuth
    from check_smtp_health.config.getopt import Options
    from check_smtp_health.config.settings import Tls

CERTIFICATE_MECHANISM = "EXTERNAL"
"""The SASL mechanism by which the client's certificate says who we are."""


def build(options: Options, tls: Tls, password: str | None, oauth: OAuth | None) -> Login | None:
    """Return who logs in, None where nobody does; ``oauth`` is what stands in the password's place.

    Raises:
        UsageFault: the first thing that is wrong.
    """
    user = options.last("authuser")
    mechanism = (options.last("authtype") or "").upper() or None
    if mechanism == CERTIFICATE_MECHANISM:
        return _login_by_certificate(options, tls, user)
    if user is None:
        for name in ("authtype", "authpass", "authpass-file"):
            if options.count(name):
                problem = "needs -U USER"
                if name == "authtype" and options.count("mailbox"):
                    problem += " (it is for SMTP, a mailbox takes ;AUTH=XOAUTH2 in its URL)"
                raise UsageFault(name, problem)
        if options.count("auth-insecure") and not options.count("mailbox"):
            raise UsageFault("auth-insecure", "needs -U USER or --mailbox URL")
        if oauth is not None and not options.count("mailbox"):
            raise UsageFault("oauth", "needs -U USER or --mailbox URL")
        return None
    _need_user_name(user)
    if not password and oauth is None:
        raise UsageFault("authuser", "needs a password, use --authpass-file FILE")
    return Login(
        user=user,
        password=Secret(credentials.one_line("authuser", password or "")),
        mechanism=mechanism,
        may_show_password=bool(tls.mode or options.count("auth-insecure")),
        oauth=oauth,
    )


def _need_user_name(user: str) -> None:
    if not user or has_controls(user):
        raise UsageFault("authuser", f"{quoted(user)} is not a user name")


def _login_by_certificate(options: Options, tls: Tls, user: str | None) -> Login:
    """Return a login in which TLS says who we are; ``user`` is for whom, if not for ourselves."""
    in_vain = ["authpass", "authpass-file", "oauth"]
    in_vain += [] if options.count("mailbox") else ["auth-insecure"]
    for name in in_vain:
        if options.count(name):
            raise UsageFault(name, f"has no effect with {CERTIFICATE_MECHANISM}")
    if not tls.mode or tls.certfile is None:
        raise UsageFault("authtype", f"{CERTIFICATE_MECHANISM} needs TLS and --cert FILE")
    if user is not None:
        _need_user_name(user)
    return Login(user or "", Secret(""), CERTIFICATE_MECHANISM)
