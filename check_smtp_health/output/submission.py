"""Results for Icinga's API: one connection, each request answered before the results are counted.

Several requests are on their way at a time, since the way may be long: the server answers them in
their order (RFC 9112 section 9.3.2).
"""

from __future__ import annotations

import binascii
import http.client
import io
import json
import re

from check_smtp_health.config import files
from check_smtp_health.errors import Disconnected, SessionFault, UsageFault, Violation
from check_smtp_health.escaping import harmless, octets, printable
from check_smtp_health.faults import UnusableFile
from check_smtp_health.masking import Mask, forms
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import driver
from check_smtp_health.net.operations import Read, StartTls, Write, untimed
from check_smtp_health.net.trust import TlsOptions, Trust
from check_smtp_health.net.way import Way
from check_smtp_health.output.answer import Loss
from check_smtp_health.report import first_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from signal import Signals

    from check_smtp_health.config.destination import Api
    from check_smtp_health.net.driver import Deadline
    from check_smtp_health.net.operations import Procedure
    from check_smtp_health.output.icinga2 import Request

PATH = "/v1/actions/process-check-result"

AT_ONCE = 32
"""Requests that are sent before the first of them must be answered: some ten KiB of answers, which
fit into the buffers between the two, so that neither waits for the other to read."""

ANSWER_LIMIT = 64 * 1024
"""Bytes of one answer; Icinga's have 100 to 300."""

SHOWN = 200
"""Characters of what is no HTTP that are worth showing."""

NAMES_SHOWN = 3
"""Services that are named in the line: more would push out what it is about."""

# Answers that are about all requests rather than about one of them.
_FINAL = {
    401: "user or password is wrong",
    403: "the user lacks the permission actions/process-check-result",
    503: "Icinga is loading its configuration",
}

_NOT_ICINGA = "but not in the words of Icinga's API"

_NO_SUCH_OBJECT = 404
"""What Icinga answers to a user without the permission, too."""


class Reply(NamedTuple):
    """What the API answers: its code, what it says, and whether the result was taken."""

    code: int
    words: str
    is_yes: bool = False


class Submission:
    """Submits results to one API. Files are read when it is made."""

    def __init__(self, api: Api) -> None:
        """Make ready; nothing is sent.

        Raises:
            UsageFault: the file with authorities cannot be used.
        """
        self._api = api
        servers = None
        if api.nameservers:
            from check_smtp_health.net import dns

            servers = dns.servers(api.nameservers, api.source)
        self._way = Way(servers, api.family, api.source)
        # Whoever answers knows the password, and may say it.
        self._mask = Mask(forms(api.password.reveal(), api.user))
        self._refused: list[tuple[str, Reply]] = []
        self._done = 0  # results that were answered, by a yes or a no
        if api.ca_file is not None:
            files.need_regular("output-ca-file", api.ca_file)
        try:
            self._trust = Trust(TlsOptions(ca_file=api.ca_file))
        except UnusableFile as fault:
            raise UsageFault("output-ca-file", fault.problem) from fault

    def run(
        self, requests: Sequence[Request], deadline: Deadline, signals: Sequence[Signals]
    ) -> Loss:
        """Submit all results until the deadline, and return how many were lost, and why."""
        (problem,) = driver.run([untimed(self._submit(requests))], deadline, signals)
        lost = len(requests) - self._done + len(self._refused)
        if not lost:
            return Loss()
        host = self._api.host.given
        where = f"[{host}]:{self._api.port}" if ":" in host else f"{host}:{self._api.port}"
        problems = [*([problem] if problem else []), *self._refusals()]
        return Loss(lost, harmless(f"{where}: {', '.join(problems)}"))

    def _submit(self, requests: Sequence[Request]) -> Procedure[str]:
        """Submit the results; return what ended that before they were all answered, if it did."""
        api = self._api
        try:
            yield from self._way.connect(api.host, api.port)
            yield StartTls(self._trust, api.host.dns_name)
            head = _head(api)
            responses = _Responses(self._mask)
            for begin in range(0, len(requests), AT_ONCE):
                batch = requests[begin : begin + AT_ONCE]
                yield Write(b"".join(_request(head, one.body) for one in batch))
                for one in batch:
                    answer = yield from responses.next()
                    if answer.code in _FINAL:
                        return f"{answer.code}, {_FINAL[answer.code]}"
                    self._done += 1
                    if not answer.is_yes:
                        self._refused.append((one.service, answer))
        except SessionFault as fault:
            # Masked before it is cut: half a secret would not be known as one.
            said = printable(self._mask.applied(fault.said), SHOWN)
            return f"{fault.sentence}: {said}" if said else fault.sentence
        return ""

    def _refusals(self) -> list[str]:
        """Return what is to be said of the results that were not taken, by reason."""
        services: dict[str, list[str]] = {}
        for service, answer in self._refused:
            said = f"{answer.code}, {answer.words}"
            if answer.code == _NO_SUCH_OBJECT:
                said = f"{answer.code}, no such service, or no permission"
            services.setdefault(said, []).append(service)
        return [f"{said}: {first_of(names, NAMES_SHOWN)}" for said, names in services.items()]


def _head(api: Api) -> str:
    host = f"[{api.host.ascii}]" if ":" in api.host.ascii else api.host.ascii
    login = octets(f"{api.user}:{api.password.reveal()}")
    lines = (
        f"POST {PATH} HTTP/1.1",
        f"Host: {host}:{api.port}",
        "User-Agent: check_smtp_health",
        "Accept: application/json",
        "Content-Type: application/json",
        f"Authorization: Basic {binascii.b2a_base64(login, newline=False).decode('ascii')}",
        "Content-Length: ",
    )
    return "\r\n".join(lines)


def _request(head: str, body: str) -> bytes:
    data = body.encode("ascii")
    return f"{head}{len(data)}\r\n\r\n".encode("ascii") + data


class _Responses:
    """Reads responses off the connection, one after the other (RFC 9112)."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._data = bytearray()

    def next(self) -> Procedure[Reply]:
        """Return the next one.

        Raises:
            SessionFault: it does not come, or is no response of Icinga's.
        """
        head = yield from self._until(b"\r\n\r\n")
        response = _parsed(head)
        if response.chunked:
            body = yield from self._chunks()
        elif response.length is None:
            raise Violation("an answer without a length")
        else:
            body = yield from self._take(response.length)
        found = _reply(response.status, response.reason, body)
        return found._replace(words=printable(self._mask.applied(found.words)))

    def _chunks(self) -> Procedure[bytes]:
        body = b""
        while True:
            line = yield from self._until(b"\r\n")
            match = re.fullmatch(rb"\s*([0-9A-Fa-f]{1,8})\s*(?:;.*)?\r\n", line)
            if match is None or len(body) > ANSWER_LIMIT:
                raise _not_http(line)
            size = int(match[1], 16)
            if not size:
                while (yield from self._until(b"\r\n")) != b"\r\n":
                    pass  # trailers
                return body
            body += (yield from self._take(size + 2))[:size]

    def _until(self, end: bytes) -> Procedure[bytes]:
        at = self._data.find(end)
        while at < 0:
            if len(self._data) > ANSWER_LIMIT:
                raise _not_http(bytes(self._data))
            yield from self._more()
            at = self._data.find(end)
        return self._cut(at + len(end))

    def _take(self, size: int) -> Procedure[bytes]:
        if size > ANSWER_LIMIT:
            raise Violation(f"an answer of more than {ANSWER_LIMIT // 1024} KiB")
        while len(self._data) < size:
            yield from self._more()
        return self._cut(size)

    def _more(self) -> Procedure[None]:
        piece = yield Read()
        if not piece:
            raise Disconnected("connection closed by the server")
        self._data += piece

    def _cut(self, size: int) -> bytes:
        piece = bytes(self._data[:size])
        del self._data[:size]
        return piece


def _parsed(head: bytes) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(_Received(head))  # type: ignore[arg-type]
    try:
        response.begin()
    except (http.client.HTTPException, ValueError, OverflowError) as error:
        raise _not_http(head) from error
    return response


def _reply(code: int, reason: str, body: bytes) -> Reply:
    """Return what an answer says: of the result itself, where it says that.

    To a no the code is enough. A yes is one in Icinga's words only: any web server says 200.
    """
    try:
        said = json.loads(body)
        said = (said.get("results") or [said])[0]
        own = int(said.get("code", said.get("error")))
        words = str(said.get("status", reason))
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError):
        return Reply(code, _NOT_ICINGA if _is_yes(code) else reason)
    if _is_yes(code):
        return Reply(own, words, _is_yes(own))
    return Reply(code if _is_yes(own) else own, words)


def _is_yes(code: int) -> bool:
    return 200 <= code < 300


def _not_http(data: bytes) -> Violation:
    return Violation("no HTTP response", data)


class _Received:
    """What has come, as the socket that HTTPResponse reads."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)
