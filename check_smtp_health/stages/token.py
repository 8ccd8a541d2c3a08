"""An access token (RFC 6749), got once per run, before any server is asked: a stage of its own.

An endpoint that says no has said so in JSON (section 5.2); its words are shown, but for secrets.
Of an answer with a token nothing is shown. Loaded only by runs that log in by OAuth 2.
"""

from __future__ import annotations

from check_smtp_health.errors import PeerFault, SessionFault, TimedOut, Untrusted, Violation
from check_smtp_health.escaping import printable
from check_smtp_health.faults import NotNow, Refused
from check_smtp_health.net import https
from check_smtp_health.net.operations import Within, untimed
from check_smtp_health.report import Finding
from check_smtp_health.stages.encryption import made, tls_options
from check_smtp_health.stages.tokens import Tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from check_smtp_health.config.accounts import OAuth
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.masking import Mask
    from check_smtp_health.net.dns import Servers
    from check_smtp_health.net.https import Client, Page
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.stages.state import ProbeState, StageRun

SHARE = 0.5
"""The part of the deadline in which the token must arrive: the rest is for the mail server."""

TOKEN_LIMIT = 8 * 1024
"""Bytes of a token: in base64, with user and all, it fits into the 12,288 that RFC 4954 section 4
allows a line of a login. Microsoft's have 2,000."""

ERROR_LIMIT = 80
"""Characters of an error, which is one word (RFC 6749 section 5.2)."""

NOT_NOW = ("temporarily_unavailable", "server_error", "slow_down")
"""Errors that mean "not now", whatever the status (RFC 6749 section 4.1.2.1, RFC 8628)."""

LATER = (408, 425, 429)
"""Codes of HTTP that mean the same, beside those from 500 on (RFC 9110, RFC 8470, RFC 6585)."""

_TOKENS = ("access_token", "refresh_token", "id_token")
"""Members of an answer that are secrets, in an error, too."""


def prepare(settings: Settings, servers: Servers | None) -> Tokens:
    """Return how to get the tokens: the endpoint is verified, and sees no certificate of ours.

    Raises:
        UsageFault: a file of authorities cannot be used, or the proxy.
    """
    login, roundtrip = settings.login, settings.roundtrip
    asked = None if login is None else login.oauth
    asked_by_mailbox = None if roundtrip is None else roundtrip.oauth
    option = "mailbox-oauth" if asked is None and asked_by_mailbox is not None else "oauth"
    trust = made(
        tls_options(settings)._replace(
            verify=True, judge_expiry=True, certfile=None, keyfile=None, tells_chain=False
        )
    )
    # Others are there for policies or MX records, too: nobody named them for hosts.
    named = servers if settings.endpoint.nameservers else None
    client = https.prepare(option, trust, named, settings.endpoint)
    return Tokens(client, asked, asked_by_mailbox)


def fetch(state: ProbeState) -> StageRun:
    """Get the tokens, at the same time where there are two; of two refusals each is told."""
    tokens = state.prepared.tokens
    assert tokens is not None
    asked = {id(one): one for one in (tokens.login, tokens.mailbox) if one is not None}
    seconds = state.settings.endpoint.timeout * SHARE
    results: list[Any] = yield Within(
        seconds, [untimed(_token(tokens.client, one, state.mask)) for one in asked.values()]
    )
    faults = []
    for one, result in zip(asked.values(), results):
        if not isinstance(result, SessionFault):
            tokens.found.append((one, result))
            continue
        if len(asked) > 1 and one is tokens.mailbox:
            result.subject = ": ".join(filter(None, ("for the mailbox", result.subject)))
        faults.append(result)
    # The second may be the worse one: a no, beside a "not now".
    state.find(*(Finding(one.kind, one.sentence) for one in faults[1:]))
    if faults:
        raise faults[0]


def _token(client: Client, oauth: OAuth, mask: Mask) -> Procedure[str]:
    name = oauth.host.given if oauth.port == https.PORT else f"{oauth.host.given}:{oauth.port}"
    try:
        page = yield from https.post(client, oauth.host, oauth.port, oauth.path, _form(oauth))
        return parsed(page, mask)
    except Untrusted as fault:
        hint = ", try --ca-file" if fault.why in ("self-signed", "unknown issuer") else ""
        fault.problem, fault.subject = f"certificate {fault.words}{hint}", name
        raise
    except (Refused, NotNow):
        raise
    except TimedOut as fault:
        fault.subject = fault.subject or name
        fault.said = b""  # half an answer may be half a secret
        raise
    except PeerFault as fault:
        is_new = fault.subject not in ("", oauth.host.ascii)
        fault.subject = f"{name}: {fault.subject}" if is_new else name
        raise


def _form(oauth: OAuth) -> https.Form:
    from urllib.parse import urlencode

    fields = [*oauth.fields, *((name, secret.reveal()) for name, secret in oauth.secrets)]
    return https.Form(urlencode(fields, errors="surrogateescape").encode("ascii"))


def parsed(page: Page, mask: Mask) -> str:
    """Return the token in an answer.

    Raises:
        Refused: the endpoint gives none.
        NotNow: it gives none for now.
        Violation: this is no answer to the question.
    """
    said = _members(page.body)
    error = _text(said, "error")
    if page.status == 200 and not error:
        return _checked(said, page, mask)
    if 300 <= page.status < 400:
        raise Violation(f"the answer is {page.status}, and redirects are not followed")
    for name in _TOKENS:
        _hide(mask, _text(said, name))
    # Secrets are masked before anything is cut: half of one would not be known as such.
    problem = printable(mask.applied(error), ERROR_LIMIT) or f"the answer is {page.status}"
    description = printable(mask.applied(_text(said, "error_description")))
    is_later = page.status in LATER or page.status >= 500 or error in NOT_NOW
    fault = NotNow if is_later else Refused
    raise fault(f"{problem}: {description}" if description else problem)


def _checked(said: dict[str, Any], page: Page, mask: Mask) -> str:
    if not said:
        kind = printable(mask.applied(page.media_type), ERROR_LIMIT) or "untyped"
        raise Violation(f"the answer is not JSON with a token in it ({kind})")
    token, kind = said.get("access_token"), _text(said, "token_type")
    if not isinstance(token, str) or not token:
        raise Violation("the answer has no access_token")
    if len(token) > TOKEN_LIMIT:
        raise Violation(f"the access token has more than {TOKEN_LIMIT} bytes")
    if not (token.isascii() and token.isprintable() and " " not in token):
        # RFC 6750 section 2.1 has even fewer.
        raise Violation("the access token contains invalid characters")
    if kind and kind.lower() != "bearer":
        raise Violation("the token is not of type Bearer")
    return token


def _members(body: bytes) -> dict[str, Any]:
    """Return the object that JSON stands for, empty where it is none."""
    import json

    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _text(said: dict[str, Any], name: str) -> str:
    value = said.get(name)
    # JSON can name halves of a character, which no encoding has.
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


def _hide(mask: Mask, secret: str) -> None:
    if secret:
        from check_smtp_health.masking import token_forms

        mask.add(*token_forms(secret))
