"""``--output-to``: what is written arrives whole, and what is not is counted and told."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import resource
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from check_smtp_health import output
from check_smtp_health.config.accounts import Secret
from check_smtp_health.config.destination import Api, Destination
from check_smtp_health.output.answer import Answer, Loss
from check_smtp_health.output.submission import AT_ONCE
from check_smtp_health.output.writer import Writer
from check_smtp_health.report import Host
from tests import needs, plugin
from tests.servers.authority import Authority
from tests.servers.scripted import Act, Expect, Handshake, Hang, ScriptedServer, Sleep, Slowly

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

OK = (
    *(b"220 mx.example ESMTP\r\n", Expect(b"HELO"), b"250 mx.example\r\n"),
    *(Expect(b"QUIT"), b"221 bye\r\n"),
)

PIPE = 4096
"""Bytes that a pipe takes in one piece, so that a line is never torn."""


def check(path: Path | str, *arguments: str, prefix: tuple[str, ...] = ()) -> plugin.Outcome:
    """Check a server for which all is well, and have the result written."""
    given = ("--output-format", "nagios", "--output-to", str(path))
    with ScriptedServer(OK).running() as server:
        return plugin.run(*plugin.at(server.port), *given, *arguments, prefix=prefix)


def answers(number: int) -> list[Answer]:
    """Return so many answers, each of some hundred bytes."""
    status = f"SMTP OK - {'well ' * 60}"
    return [Answer("mx", f"service {one}", 0, status, (), 1.0, 2.0) for one in range(number)]


def written(form: str, destination: Destination, given: list[Answer], limit: float = 10) -> Loss:
    """Write answers, and return what was lost."""
    writer = Writer(output.find(form), destination, limit)
    for one in given:
        writer.take(one)
    return writer.close(())


def test_a_file_is_made_and_the_line_still_printed(tmp_path: Path) -> None:
    path = tmp_path / "results"
    outcome = check(path)
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.line.startswith("SMTP OK - 127.0.0.1:")
    head, text = path.read_text().split("] ", 1)
    line = outcome.stdout.replace(" | ", "|")
    assert text == f"PROCESS_SERVICE_CHECK_RESULT;127.0.0.1;SMTP;0;{line}"
    assert abs(int(head[1:]) - time.time()) < plugin.SLACK
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()
    assert list(tmp_path.iterdir()) == [path]


def test_a_password_that_would_end_a_line(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"s3cret\x01\n")
    file.chmod(0o600)
    api = ("--output-format", "icinga2", "--output-to", "https://me@127.0.0.1:1")
    outcome = plugin.run("-H", "127.0.0.1", *api, "--output-pass-file", str(file))
    assert (outcome.code, outcome.stdout) == (
        3,
        "SMTP UNKNOWN - --output-pass-file: the password contains a control character\n",
    )


def test_authorities_that_are_none(tmp_path: Path) -> None:
    file, password = tmp_path / "authorities", tmp_path / "password"
    file.write_text("nothing\n")
    password.write_text("s3cret\n")
    password.chmod(0o600)
    api = ("--output-format", "icinga2", "--output-to", "https://me@127.0.0.1:1")
    given = ("--output-pass-file", str(password), "--output-ca-file", str(file))
    outcome = plugin.run("-H", "127.0.0.1", *api, *given)
    assert (outcome.code, outcome.stdout) == (
        3,
        f"SMTP UNKNOWN - --output-ca-file: '{file}' contains no certificate\n",
    )


@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_the_text_itself(tmp_path: Path, verbose: tuple[str, ...]) -> None:
    """Perfdata stand in the first line, where every reader looks for them."""
    path = tmp_path / "answer"
    with ScriptedServer(OK).running() as server:
        given = ("--output-format", "text", "--output-to", str(path))
        outcome = plugin.run(*plugin.at(server.port), *given, *verbose)
    assert (outcome.code, outcome.stderr) == (0, "")
    status, *rows = outcome.stdout.splitlines()
    if verbose:
        status += f" {rows.pop()}"
    assert path.read_text().splitlines() == [status, *rows]


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    path, link = tmp_path / "results", tmp_path / "link"
    path.write_text("before")
    path.chmod(0o640)
    link.symlink_to(path)
    with path.open() as before:
        check(link)
        assert before.read() == "before"  # who has opened it reads on
    assert link.is_symlink()
    assert path.read_text().startswith("[")
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(tmp_path.iterdir()) == [link, path]


def test_a_file_keeps_its_owner_and_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / ("\u00fc" * 127)
    path.touch(0o600)
    owner = 65534 if os.geteuid() == 0 else os.geteuid()
    os.chown(path, owner, -1)
    assert check(path).code == 0
    assert path.read_text().startswith("[")
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (owner, 0o600)


def test_who_may_not_give_a_file_away_keeps_it(tmp_path: Path) -> None:
    needs.root()
    path = tmp_path / "results"
    path.touch(0o600)
    os.chown(path, 65534, -1)
    outcome = check(path, prefix=(needs.program("setpriv"), "--bounding-set=-chown"))
    assert (outcome.code, outcome.stderr) == (0, "")
    assert path.read_text().startswith("[")
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (0, 0o600)


def test_a_file_that_cannot_be_written_whole_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        loss = written("nagios", Destination(str(path), None), answers(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert loss == Loss(3, f"cannot write '{path}': File too large")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing/results", "No such file or directory"),
        ("missing/", "Is a directory"),
        (".", "Is a directory"),
        ("file/results", "Not a directory"),
        ("pipe", "nobody reads it"),
        ("socket", "it is a socket"),
    ],
)
def test_what_cannot_be_written_is_critical(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(tmp_path / "socket"))
    path = f"{tmp_path}/{name}"
    outcome = check(path)
    shown = path if len(path) <= 80 else f"{path[:80]}..."
    assert outcome.code == 2
    assert outcome.line.startswith(
        f"SMTP CRITICAL - output: 1 result lost, cannot write '{shown}': {reason}, also 127.0.0.1:"
    )
    assert outcome.labels == "time connect banner helo quit"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "pipe", "socket"]


class Reader:
    """Reads a FIFO in a thread, a line at a time, ``pause`` seconds before each piece."""

    def __init__(self, path: Path, pause: float = 0.0) -> None:
        os.mkfifo(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._descriptor, True)
        self._pause = pause
        self._pieces: list[bytes] = []
        self._thread = threading.Thread(target=self._read)

    def begin(self) -> None:
        """Begin to read."""
        self._thread.start()

    def lines(self) -> list[bytes]:
        """Return what was read once everybody has finished writing."""
        self._thread.join()
        os.close(self._descriptor)
        return b"".join(self._pieces).splitlines(keepends=True)

    def _read(self) -> None:
        while True:
            time.sleep(self._pause)
            piece = os.read(self._descriptor, PIPE)
            if not piece:
                return
            self._pieces.append(piece)


def test_a_pipe_gets_whole_lines_beside_other_writers(tmp_path: Path) -> None:
    """A thousand results are more than it holds, and others write to it, too."""
    path = tmp_path / "pipe"
    reader = Reader(path, 0.0005)
    other = os.open(path, os.O_WRONLY)

    def write() -> None:
        for _ in range(300):
            os.write(other, b"[1] OTHER;" + b"x" * 500 + b"\n")
        os.close(other)

    thread = threading.Thread(target=write)
    reader.begin()
    thread.start()
    assert written("nagios", Destination(str(path)), answers(1000)) == Loss()
    thread.join()
    lines = reader.lines()
    ours = [line for line in lines if not line.startswith(b"[1] OTHER;")]
    form = output.find("nagios")
    assert b"".join(ours).decode() == "".join(form.record(one) for one in answers(1000))
    assert len(lines) == 1300


def test_a_reader_who_does_not_read_on_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    reader = Reader(path)
    began = time.monotonic()
    loss = written("nagios", Destination(str(path)), answers(1000), 0.3)
    assert 0.3 <= time.monotonic() - began < 0.3 + plugin.SLACK
    assert loss.problem == (f"cannot write '{path}': its reader stopped reading, after 0.3 s")
    reader.begin()
    assert len(reader.lines()) == 1000 - loss.lost  # what is not lost has arrived
    assert 0 < loss.lost < 1000


def test_a_reader_who_leaves_is_told(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    threading.Timer(0.2, os.close, (descriptor,)).start()
    loss = written("nagios", Destination(str(path)), answers(1000))
    assert loss.problem == f"cannot write '{path}': Broken pipe"
    assert loss.lost > 0


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """Return a FIFO that somebody has opened and does not read, and that takes no more."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    ends = [os.open(path, flags | os.O_NONBLOCK) for flags in (os.O_RDONLY, os.O_WRONLY)]
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(ends[1], bytes(PIPE))
    yield path
    for end in ends:
        os.close(end)


def test_a_single_check_waits_for_a_reader_as_long_as_for_a_server(full: Path) -> None:
    outcome = check(full, "-t", "0.5")
    assert outcome.code == 2
    problem = f"cannot write '{full}': its reader stopped reading, after 0.5 s"
    assert outcome.line.startswith(f"SMTP CRITICAL - output: 1 result lost, {problem}, also 127.")
    assert outcome.seconds < 1 + plugin.SLACK


def test_a_signal_ends_the_wait_for_a_reader(full: Path) -> None:
    given = ("--output-format", "nagios", "--output-to", str(full), "-t", "60")
    with ScriptedServer(OK).running() as server:
        outcome = plugin.run(
            *plugin.at(server.port),
            *given,
            prefix=("timeout", "--preserve-status", "--signal=TERM", "1"),
        )
    problem = f"cannot write '{full}': interrupted by SIGTERM"
    assert outcome.code == 2
    assert outcome.line.startswith(f"SMTP CRITICAL - output: 1 result lost, {problem}, also 127.")
    assert outcome.seconds < 1 + plugin.SLACK


def test_of_one_document_all_is_lost(tmp_path: Path) -> None:
    """Half of what Prometheus reads is nothing."""
    path = tmp_path / "pipe"
    Reader(path)
    assert written("openmetrics", Destination(str(path)), answers(1000), 0.1).lost == 1000


def test_who_has_no_host_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "results"
    given = [Answer("", "own", 0, "SMTP OK - well", (), 1.0, 2.0), *answers(1)]
    assert written("nagios", Destination(str(path)), given) == Loss(1, "no name of a host")
    assert len(path.read_text().splitlines()) == 1
    assert written("checkmk", Destination(str(path)), given) == Loss()


def test_standard_output_may_be_the_destination() -> None:
    outcome = check("/dev/stdout")
    lines = outcome.stdout.splitlines()
    assert [line.split(";")[0].partition("] ")[2] for line in lines[:1]] == [
        "PROCESS_SERVICE_CHECK_RESULT"
    ]
    assert lines[1].startswith("SMTP OK - ")


# Icinga's API, by what answers in its place.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> ssl.SSLContext:
    return authority.serving("127.0.0.1")


def api(server: ScriptedServer, authority: Authority) -> Destination:
    host = Host("127.0.0.1", "127.0.0.1", "address")
    return Destination(api=Api(host, server.port, "u", Secret("s3cret"), authority.path))


def said(code: int, body: Any, reason: str = "OK") -> bytes:
    """Return an answer as Icinga gives it."""
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {code} {reason}\r\nServer: Icinga\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


YES = said(200, {"results": [{"code": 200.0, "status": "Successfully processed."}]})


class Answering:
    """Answers requests one after the other, the last answer again and again; keeps their heads."""

    def __init__(self, *said: bytes) -> None:
        self._said = said
        self.heads: list[bytes] = []
        self.bodies: list[Any] = []

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        connection.settimeout(10)
        with connection.makefile("rb") as reader:
            while not over.is_set():
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = reader.readline()
                    if not line:
                        return
                    head += line
                self.heads.append(head)
                size = re.search(rb"Content-Length: (\d+)", head)
                assert size
                self.bodies.append(json.loads(reader.read(int(size[1]))))
                place = min(len(self.heads), len(self._said)) - 1
                connection.sendall(self._said[place])


def test_all_results_by_one_connection(authority: Authority, certificate: ssl.SSLContext) -> None:
    server = Answering(YES)
    given = answers(3 * AT_ONCE + 1)
    with ScriptedServer((Handshake(certificate), Act(server))).running() as there:
        assert written("icinga2", api(there, authority), given) == Loss()
        assert there.connections == 1
    assert [one["service"] for one in server.bodies] == [f"mx!{one.service}" for one in given]
    lines = server.heads[0].decode().split("\r\n")
    login = base64.b64encode(b"u:s3cret").decode()
    assert lines[:6] == [
        "POST /v1/actions/process-check-result HTTP/1.1",
        f"Host: 127.0.0.1:{there.port}",
        "User-Agent: check_smtp_health",
        "Accept: application/json",
        "Content-Type: application/json",
        f"Authorization: Basic {login}",
    ]


NO = said(404, {"error": 404.0, "status": "No objects found."}, "Not Found")
FAILED = said(200, {"results": [{"code": 409.0, "status": "Newer | <result> \n [OK] present"}]})
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5\r\n{"res\r\n1c;x=y\r\nults": [{"code": 200.0}, 1]}\r\n0\r\nTrailer: 1\r\n\r\n'
)
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
MANY = AT_ONCE + 8

LOSSES = [
    ((CHUNKED, YES), 0, ""),
    ((PAGE, YES), 1, "200, but not in the words of Icinga's API: mx!service 0"),
    ((EMPTY, YES), 1, "204, but not in the words of Icinga's API: mx!service 0"),
    (
        (said(200, {"results": []}), YES),
        1,
        "200, but not in the words of Icinga's API: mx!service 0",
    ),
    (
        (said(200, {"results": [{"code": float("inf")}]}), YES),
        1,
        "200, but not in the words of Icinga's API: mx!service 0",
    ),
    (
        (said(502, {"results": [{"code": 200.0, "status": "so what"}]}), YES),
        1,
        "502, so what: mx!service 0",
    ),
    ((YES, NO, YES), 1, "404, no such service, or no permission: mx!service 1"),
    (
        (NO,),
        MANY,
        "404, no such service, or no permission: mx!service 0, mx!service 1, mx!service 2 "
        f"and {MANY - 3} more",
    ),
    ((FAILED, YES), 1, "409, Newer \\x7c (result)  /  (OK ) present: mx!service 0"),
    ((said(401, {}, "Unauthorized"),), MANY, "401, user or password is wrong"),
    (
        (YES, said(403, {"error": 403, "status": "Missing permission"})),
        MANY - 1,
        "403, the user lacks the permission actions/process-check-result",
    ),
    (
        (said(500, {"error": 500, "status": "s3cret, dTpzM2NyZXQ= of u"}), YES),
        1,
        "500, ***, *** of u: mx!service 0",
    ),
    (
        (said(500, {"error": 500, "status": f"{'x' * 252}s3cret"}), YES),
        1,
        f"500, {'x' * 252}***: mx!service 0",
    ),
    (
        (b"y" * 190 + b"s3cret" + b"z" * 100_000,),
        MANY,
        f"no HTTP response: {'y' * 190}***zzz",
    ),
    ((YES, YES, said(503, {})), MANY - 2, "503, Icinga is loading its configuration"),
    ((b"220 mx.example ESMTP\r\n\r\n",), MANY, "no HTTP response: 220 mx.example ESMTP"),
    (
        (b"HTTP/1.1 200 OK\r\n\r\n",),
        MANY,
        "an answer without a length",
    ),
    (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",),
        MANY,
        "an answer of more than 64 KiB",
    ),
    ((b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",), MANY, "no HTTP response: "),
    (
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",),
        MANY,
        "no HTTP response: no chunk",
    ),
]


@pytest.mark.parametrize(("said", "lost", "problem"), LOSSES, ids=[row[2][:40] for row in LOSSES])
def test_what_the_api_says(
    authority: Authority,
    certificate: ssl.SSLContext,
    said: tuple[bytes, ...],
    lost: int,
    problem: str,
) -> None:
    script = (Handshake(certificate), Act(Answering(*said)))
    with ScriptedServer(script).running() as server:
        loss = written("icinga2", api(server, authority), answers(MANY))
    told = f"127.0.0.1:{server.port}: {problem}" if problem else ""
    assert (loss.lost, loss.problem[: len(told)]) == (lost, told)
    assert len(loss.problem) < 1000


def cut(connection: socket.socket, over: threading.Event) -> None:
    """Answer one request and close the connection."""
    connection.recv(100)
    connection.sendall(YES)


BROKEN = [
    ((cut,), 1, "connection closed by the server"),
    ((Hang(),), 0, "no answer within 0.5 s"),
    ((Slowly(YES, 0.05), Hang()), 0, "no answer within 0.5 s"),
    ((Slowly(YES, 0.001), Hang()), 1, "no answer within 0.5 s"),
]


@pytest.mark.parametrize(("steps", "done", "problem"), BROKEN, ids=[str(row[2]) for row in BROKEN])
def test_an_api_that_breaks_off(
    authority: Authority,
    certificate: ssl.SSLContext,
    steps: tuple[Any, ...],
    done: int,
    problem: str,
) -> None:
    steps = tuple(Act(step) if callable(step) else step for step in steps)
    began = time.monotonic()
    with ScriptedServer((Handshake(certificate), *steps)).running() as server:
        loss = written("icinga2", api(server, authority), answers(5), 0.5)
    assert loss == Loss(5 - done, f"127.0.0.1:{server.port}: {problem}")
    assert time.monotonic() - began < 0.5 + plugin.SLACK


def test_an_api_that_is_not_there(authority: Authority) -> None:
    with ScriptedServer(()).running() as server:
        pass
    loss = written("icinga2", api(server, authority), answers(2))
    assert loss == Loss(2, f"127.0.0.1:{server.port}: connection refused")


def test_an_api_without_tls(authority: Authority) -> None:
    """The password is not sent."""
    with ScriptedServer((b"220 hello\r\n", Sleep(0.1))).running() as server:
        loss = written("icinga2", api(server, authority), answers(2))
    assert loss == Loss(
        2, f"127.0.0.1:{server.port}: the server does not speak TLS here: 220 hello"
    )


def test_an_api_whose_certificate_is_for_another(authority: Authority) -> None:
    script = (Handshake(authority.serving("other.example")), Act(Answering(YES)))
    with ScriptedServer(script).running() as server:
        loss = written("icinga2", api(server, authority), answers(2))
    assert loss == Loss(2, f"127.0.0.1:{server.port}: certificate wrong name")


def test_a_signal_ends_the_submission(
    authority: Authority, certificate: ssl.SSLContext, tmp_path: Path
) -> None:
    """The result is known, and told; that it was not submitted, too."""
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    password.chmod(0o600)
    with (
        ScriptedServer(OK).running() as server,
        ScriptedServer((Handshake(certificate), Hang())).running() as there,
    ):
        outcome = plugin.run(
            *plugin.at(server.port),
            *("--output-format", "icinga2", "--output-to", f"https://u@127.0.0.1:{there.port}"),
            *("--output-pass-file", str(password), "--output-ca-file", authority.path),
            prefix=("timeout", "--preserve-status", "--signal=TERM", "2"),
        )
    lost = f"1 result lost, 127.0.0.1:{there.port}: interrupted by SIGTERM"
    assert outcome.code == 2
    assert outcome.line.startswith(f"SMTP CRITICAL - output: {lost}, also 127.0.0.1:")
    assert outcome.seconds < plugin.SLACK
