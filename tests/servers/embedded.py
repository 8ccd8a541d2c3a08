"""aiosmtpd on loopback, in a thread of its own: real SMTP and LMTP wherever Python is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from aiosmtpd.controller import BaseThreadedController, Controller, UnixSocketController
from aiosmtpd.handlers import Sink
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP

from tests.servers.loopback import free_port

NAME = "mail.example.org"
HOST = "127.0.0.1"


class _Lmtp(Controller):
    def factory(self) -> SMTP:
        return LMTP(self.handler, **self.SMTP_kwargs)


class _UnixLmtp(UnixSocketController):
    def factory(self) -> SMTP:
        return LMTP(self.handler, **self.SMTP_kwargs)


@contextlib.contextmanager
def smtp() -> Iterator[int]:
    """Serve SMTP until the block ends; yields the port."""
    port = free_port()
    with _running(Controller(Sink(), HOST, port, server_hostname=NAME)):
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
