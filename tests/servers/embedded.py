"""aiosmtpd on loopback, in a thread of its own: real SMTP and LMTP wherever Python is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from aiosmtpd.controller import BaseThreadedController, Controller, UnixSocketController
from aiosmtpd.handlers import Sink
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.servers.loopback import free_port

NAME = "mail.example.org"
HOST = "127.0.0.1"


class _Taker:
    def __init__(self, deliver: Callable[[bytes], object]) -> None:
        self._deliver = deliver

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        del server, session
        assert isinstance(envelope.content, bytes)
        self._deliver(envelope.content)
        return "250 OK"


class _Lmtp(Controller):
    def factory(self) -> SMTP:
        return LMTP(self.handler, **self.SMTP_kwargs)


class _UnixLmtp(UnixSocketController):
    def factory(self) -> SMTP:
        return LMTP(self.handler, **self.SMTP_kwargs)


@contextlib.contextmanager
def smtp(deliver: Callable[[bytes], object] | None = None) -> Iterator[int]:
    """Serve SMTP until the block ends; yields the port. ``deliver`` is given each message."""
    port = free_port()
    handler = Sink() if deliver is None else _Taker(deliver)
    with _running(Controller(handler, HOST, port, server_hostname=NAME)):
        yield port


@contextlib.contextmanager
def lmtp() -> Iterator[int]:
    """Serve LMTP over TCP until the block ends; yields the port."""
    port = free_port()
    with _running(_Lmtp(Sink(), HOST, port, server_hostname=NAME)):
        yield port


@contextlib.contextmanager
def lmtp_socket(path: str) -> Iterator[None]:
    """Serve LMTP on a Unix socket until the block ends."""
    with _running(_UnixLmtp(Sink(), path, server_hostname=NAME)):
        yield


@contextlib.contextmanager
def _running(controller: BaseThreadedController) -> Iterator[None]:
    controller.start()
    try:
        yield
    finally:
        controller.stop()
