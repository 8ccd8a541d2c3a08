"""A server that answers as SMTP has it, but for the commands at which it has a mood."""

from __future__ import annotations

import base64
import contextlib
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

from scramp import ScramException, ScramMechanism

from tests.servers.catalogue import BANNER
from tests.servers.scripted import (
    Expect,
    Handshake,
    Message,
    ScriptedServer,
    Step,
    Swallow,
)

if TYPE_CHECKING:
    import socket
    import ssl
    import threading
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Proper:
    """The reply that is due, up to ``end``, ``length`` bytes at ``at`` replaced by ``data``."""

    at: int = 0
    length: int = 0
    data: bytes = b""
    end: int | None = None

    def of(self, reply: bytes) -> bytes:
        """Return what becomes of a reply."""
        at = self.at % (len(reply) + 1)
        return (reply[:at] + self.data + reply[at + self.length :])[: self.end]


@dataclass(frozen=True)
class Leave:
    """Close the connection."""


Act = Union[Step, Proper, Leave]
Mood = tuple[Act, ...]

MECHANISMS = "PLAIN LOGIN CRAM-MD5 XOAUTH2 SCRAM-SHA-256"
ACCEPTED = b"235 2.7.0 in\r\n"


class Manners:
    """What a server says that has none but good ones, line by line of one connection."""

    def __init__(self, password: str) -> None:
        self._password = password
        self._login: list[Callable[[bytes], bytes]] = []

    @property
    def is_in_login(self) -> bool:
        """Whether the next line is no command."""
        return bool(self._login)

    def reply(self, line: bytes, *, offers_tls: bool) -> bytes:
        """Return the reply to a line."""
        if self._login:
            return self._login.pop(0)(line)
        verb = line[:4].upper()
        if verb in (b"EHLO", b"LHLO"):
            words = ["mx.example", "SIZE 1000", "SMTPUTF8", f"AUTH {MECHANISMS}"]
            lines = "".join(f"250-{word}\r\n" for word in (*words, *["STARTTLS"] * offers_tls))
            return f"{lines}250 HELP\r\n".encode()
        if verb == b"AUTH":
            return self._begin(*line.split()[1:])
        code = {b"QUIT": b"221", b"STAR": b"220", b"DATA": b"354"}.get(verb, b"250")
        return (
            b"554 5.7.1 Relay access denied\r\n"
            if b"relay" in line
            else code + b" 2.0.0 as you say\r\n"
        )

    def _begin(self, mechanism: bytes = b"", initial: bytes = b"") -> bytes:
        if mechanism == b"LOGIN":
            self._login = [lambda _: _challenge("Password:"), lambda _: ACCEPTED]
            return _challenge("User:")
        if mechanism == b"CRAM-MD5":
            self._login = [lambda _: ACCEPTED]
            return _challenge("<1@mx.example>")
        return self._begin_scram(initial) if mechanism == b"SCRAM-SHA-256" else ACCEPTED

    def _begin_scram(self, initial: bytes) -> bytes:
        known = _known(self._password)
        server = ScramMechanism("SCRAM-SHA-256").make_server(lambda user: known)

        def final(line: bytes) -> bytes:
            server.set_client_final(base64.b64decode(line).decode())
            return _challenge(server.get_server_final())

        server.set_client_first(base64.b64decode(initial).decode())
        self._login = [final, lambda _: ACCEPTED]
        return _challenge(server.get_server_first())


@functools.lru_cache
def _known(password: str) -> tuple[bytes, bytes, bytes, int]:
    """Return what a server stores of a password; it takes a while to compute."""
    made: tuple[bytes, bytes, bytes, int] = ScramMechanism("SCRAM-SHA-256").make_auth_info(password)
    return made


def _challenge(text: str) -> bytes:
    return b"334 " + base64.b64encode(text.encode()) + b"\r\n"


def _moment(line: bytes, *, is_first: bool) -> str:
    """Return ``greeting``, ``greeting in TLS``, ``relay`` or the verb; the banner is ``banner``."""
    verb = line.split()[0].decode("latin-1").upper() if line.split() else ""
    if verb in ("HELO", "EHLO", "LHLO"):
        return "greeting" if is_first else "greeting in TLS"
    return "relay" if b"relay" in line else verb


@dataclass
class MoodyServer(ScriptedServer):
    """A server whose ``moods`` are by moment: a command's verb, or one of those of ``_moment``.

    STARTTLS is offered where there is a ``context``; with ``implicit`` TLS comes first, but for
    the proxy's header. The ``password`` is what a mechanism may make the server prove to know.
    """

    script: Iterable[Step] = ()
    moods: Mapping[str, Mood] = field(default_factory=dict)
    context: ssl.SSLContext | None = None
    implicit: bool = False
    is_behind_proxy: bool = False
    password: str = ""

    def _serve(
        self, connection: socket.socket, script: Iterable[Step], over: threading.Event
    ) -> None:
        # A client may be gone at any moment, and what it says in a login be nonsense.
        with contextlib.suppress(OSError, ValueError, ScramException):
            super()._serve(connection, self._steps(), over)

    def _steps(self) -> Iterator[Step]:
        manners = Manners(self.password)
        starttls = None if self.implicit else self.context
        if self.is_behind_proxy:
            yield Swallow()
        if self.implicit and self.context is not None:
            yield Handshake(self.context)
        reply, line, moment, secured = BANNER, b"", "banner", False
        while True:
            mood = self.moods.get(moment, (Proper(),))
            for act in mood:
                if isinstance(act, Leave):
                    return
                yield act.of(reply) if isinstance(act, Proper) else act
            if line.startswith(b"QUIT"):
                return
            if line.startswith(b"STARTTLS") and starttls is not None and Proper() in mood:
                yield Handshake(starttls)
                starttls, secured = None, True
            is_message = line.startswith(b"DATA") and Proper() in mood
            yield Message() if is_message else Expect(b"")
            line = self.received[-1]
            moment = "login" if manners.is_in_login else _moment(line, is_first=not secured)
            moment = "message" if is_message else moment
            reply = manners.reply(line, offers_tls=starttls is not None)
