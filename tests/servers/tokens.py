"""A token server for tests (RFC 6749) with introspection (RFC 7662), which a real Dovecot asks."""

from __future__ import annotations

import contextlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

from tests.servers.authority import Authority

CLIENT = "11111111-aaaa-bbbb-cccc-222222222222"
CLIENT_SECRET = "cl1ent~S3cret/with+odd=chars&more"
REFRESH_TOKEN = "1//r3fresh-T0ken_of-the_mailbox+x/y="
AUDIENCE = "https://outlook.office365.com"
SCOPE = f"{AUDIENCE}/.default"

EXPIRED = {"error": "invalid_client", "error_description": "the client secret has expired"}


class Issued(NamedTuple):
    """What a token is good for."""

    user: str
    audience: str = AUDIENCE
    expires: float = 3600.0


class Answer(NamedTuple):
    """What the endpoint is to say in place of a token: each a fault of its own."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


def refusing(status: int, **members: str) -> Answer:
    """Return an answer that is an error."""
    return Answer(status, json.dumps(members).encode())


class TokenServer:
    """Gives out tokens for a user over HTTPS at ``url``, and vouches for them at ``introspection``.

    ``answer`` takes the place of a token; ``before`` is called with the handler before anything is
    answered. ``forms`` are what came, ``given`` the tokens that went out.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.forms: list[dict[str, str]] = []
        self.given: list[str] = []
        self.heads: list[dict[str, str]] = []
        self.url = self.introspection = ""
        self.issued: dict[str, Issued] = {}
        self.reset()

    def reset(self) -> None:
        """Be well again, and forget what was asked."""
        self.audience, self.expires, self.length = AUDIENCE, 3600.0, 24
        self.answer: Answer | None = None
        self.before: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.forms, self.given, self.heads = [], [], []

    def issue(self) -> str:
        """Return a new token."""
        token = f"eyJ0.{secrets.token_urlsafe(self.length)}.{secrets.token_urlsafe(self.length)}"
        self.issued[token] = Issued(self.user, self.audience, time.time() + self.expires)
        self.given.append(token)
        return token

    def told(self, form: dict[str, str]) -> Answer:
        """Return what a form is answered."""
        self.forms.append(form)
        if self.answer is not None:
            return self.answer
        known = form.get("client_id") == CLIENT and form.get("client_secret") == CLIENT_SECRET
        grant = form.get("grant_type")
        if not known:
            return refusing(401, error="invalid_client", error_description="who are you?")
        if grant == "refresh_token" and form.get("refresh_token") != REFRESH_TOKEN:
            return refusing(400, error="invalid_grant", error_description="revoked")
        if grant == "client_credentials" and form.get("scope") != SCOPE:
            return refusing(400, error="invalid_scope")
        members = {"token_type": "Bearer", "expires_in": 3599, "access_token": self.issue()}
        if grant == "refresh_token":
            members["refresh_token"] = "a-rotated-refresh-token"
        return Answer(200, json.dumps(members).encode())

    def inspected(self, token: str) -> bytes:
        """Return what is said of a token."""
        found = self.issued.get(token)
        good = found is not None and found.expires > time.time() and found.audience == AUDIENCE
        if found is None or not good:
            return b'{"active": false}'
        return json.dumps({"active": True, "username": found.user, "scope": "mail"}).encode()


def _handler(server: TokenServer, *, gives: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if gives and server.before is not None:
                server.before(self)
            size = int(self.headers.get("Content-Length", "0"))
            form = {
                name: values[0] for name, values in parse_qs(self.rfile.read(size).decode()).items()
            }
            if gives:
                server.heads.append(dict(self.headers.items()))
                answer = server.told(form)
            else:
                answer = Answer(200, server.inspected(form.get("token", "")))
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # whoever asks may leave whenever it likes


@contextlib.contextmanager
def _serving(server: _Quiet) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def running(authority: Authority, user: str) -> Iterator[TokenServer]:
    """Serve until the block ends, with a certificate of this authority for localhost."""
    tokens = TokenServer(user)
    given = _Quiet(("127.0.0.1", 0), _handler(tokens, gives=True))
    context: ssl.SSLContext = authority.serving("localhost", "127.0.0.1")
    given.socket = context.wrap_socket(
        given.socket, server_side=True, do_handshake_on_connect=False
    )
    vouched = _Quiet(("127.0.0.1", 0), _handler(tokens, gives=False))
    tokens.url = f"https://localhost:{given.server_address[1]}/tenant/oauth2/v2.0/token"
    tokens.introspection = f"http://127.0.0.1:{vouched.server_address[1]}/introspect"
    with _serving(given), _serving(vouched):
        yield tokens


def written(path: Path, url: str, **values: str) -> str:
    """Write the section that asks for a token; None of the defaults where a value is empty."""
    lines = {
        "token_url": url,
        "client_id": CLIENT,
        "client_secret": CLIENT_SECRET,
        "scope": SCOPE,
        **values,
    }
    path.write_text(
        "[oauth]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items() if value)
    )
    path.chmod(0o600)
    return str(path)
