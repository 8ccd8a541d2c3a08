"""``--oauth``, ``--mailbox-oauth``: how to get an access token, from the section of an INI file.

Whatever is wrong with the file is told by its key, never by its value, which may be a secret.
"""

from __future__ import annotations

import codecs
import os
import re

from check_smtp_health.config import credentials, files, hosts, ini
from check_smtp_health.config.accounts import OAuth, Secret
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import has_controls, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.getopt import Options

SECTION = "oauth"

PORT = 443

SIZE_LIMIT = 64 * 1024
"""Bytes of the file; its longest value, a refresh token, has some 2,000."""

SECRETS = ("client_secret", "refresh_token")
"""Keys whose value may stand in a file of its own, which ``…_file`` names."""

KEYS = ("token_url", "client_id", "scope", "grant", *SECRETS, *(f"{one}_file" for one in SECRETS))

NEEDS = {"client_credentials": "client_secret", "refresh_token": "refresh_token"}
"""The grants, and the secret that each needs. With a refresh token a client may have no other:
installed applications have none, or one that is no secret (RFC 8252 section 8.5)."""

_KEY = "[a-z][a-z_]{0,38}"

_URL = r"(?i:https)://([^/?#@\\]*)([/?][!\"$-~]*)?"
"""No fragment (RFC 6749 section 3.2), no user, nothing but visible ASCII."""

_PLACE = r"(\[[^\]]*\]|[^:\[\]]+)(?::([0-9]{1,5}))?"


def read(options: Options) -> tuple[OAuth | None, OAuth | None]:
    """Return how to get the tokens for AUTH and for the mailboxes, None where neither is asked for.

    The two are one and the same where they are read from the same file.

    Raises:
        UsageFault: a file cannot be read, or can be by everyone, or does not say all.
    """
    path, mailbox_path = options.last("oauth"), options.last("mailbox-oauth")
    login = None if path is None else _read("oauth", path)
    if mailbox_path is None:
        return login, None
    if path is not None and os.path.realpath(path) == os.path.realpath(mailbox_path):
        return login, login
    return login, _read("mailbox-oauth", mailbox_path)


def _read(option: str, path: str) -> OAuth:
    data = files.read(option, path, SIZE_LIMIT + 1, is_secret=True)
    if len(data) > SIZE_LIMIT:
        raise UsageFault(option, f"{quoted(path)} is larger than {SIZE_LIMIT} bytes")
    credentials.keep_out_of_core_dumps()
    values: dict[str, str] = {}
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    for where, key, value in ini.pairs(text.split("\n"), SECTION, path, option, _KEY):
        if key not in KEYS:
            raise UsageFault(option, f"{where}: {key} is not one of {', '.join(KEYS)}")
        if key in values:
            raise UsageFault(option, f"{where}: {key} is given twice")
        if not value or has_controls(value):
            raise UsageFault(option, f"{where}: {key} is empty or contains a control character")
        values[key] = value
    return _checked(option, path, values)


def _checked(option: str, path: str, values: dict[str, str]) -> OAuth:
    name = quoted(path)
    secrets = {key: _secret(option, path, values, key) for key in SECRETS}
    given = {key: secret for key, secret in secrets.items() if secret is not None}
    is_refreshed = "refresh_token" in given
    grant = values.get("grant") or ("refresh_token" if is_refreshed else "client_credentials")
    if grant not in NEEDS:
        raise UsageFault(option, f"{name}: grant is not one of {', '.join(NEEDS)}")
    for key in ("token_url", "client_id"):
        if key not in values:
            raise UsageFault(option, f"{name} has no {key}")
    if NEEDS[grant] not in given:
        raise UsageFault(option, f"{name} has no {NEEDS[grant]}, which the grant {grant} needs")
    if grant == "client_credentials" and is_refreshed:
        raise UsageFault(option, f"{name}: refresh_token has no effect with the grant {grant}")
    match = re.fullmatch(_URL, values["token_url"])
    named = re.fullmatch(_PLACE, match[1]) if match else None
    place = hosts.place(named[1], named[2] or str(PORT)) if named else None
    if match is None or place is None:
        raise UsageFault(option, f"{name}: token_url is not https://HOST[:PORT]/PATH")
    way = match[2] or "/"
    fields = [("grant_type", grant), ("client_id", values["client_id"])]
    fields += [("scope", values["scope"])] if "scope" in values else []
    path = way if way.startswith("/") else f"/{way}"
    return OAuth(*place, path, tuple(fields), tuple(given.items()))


def _secret(option: str, path: str, values: dict[str, str], key: str) -> Secret | None:
    file = values.get(f"{key}_file")
    if file is None:
        return Secret(values[key]) if key in values else None
    if key in values:
        raise UsageFault(option, f"{quoted(path)} has both {key} and {key}_file")
    # What a file names lies beside it, wherever the check is started from.
    place = os.path.join(os.path.dirname(path), file)
    try:
        os.stat(place)
    except OSError as error:
        # The value is perhaps the secret itself.
        problem = f"cannot read what {key}_file names: {error.strerror}"
        raise UsageFault(option, f"{quoted(path)}: {problem}") from error
    secret = credentials.first_line(option, place)
    if has_controls(secret):
        raise UsageFault(option, f"{quoted(file)} contains a control character in its first line")
    return Secret(secret)
