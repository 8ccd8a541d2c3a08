"""Whatever a mailbox says, looking into it ends with an answer or a fault of ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from check_smtp_health.config.accounts import Secret
from check_smtp_health.config.mailbox_url import folder_of, imap_name, parse
from check_smtp_health.errors import LocalFault, SessionFault, Violation
from check_smtp_health.net import driver
from check_smtp_health.net.driver import Deadline
from check_smtp_health.net.operations import Watch, untimed
from check_smtp_health.net.way import Way
from check_smtp_health.roundtrip.imap import Imap
from check_smtp_health.roundtrip.lines import LINE_LIMIT, LINES_LIMIT, REPLY_LIMIT, LineParser
from check_smtp_health.roundtrip.mailbox import Access, Reader
from check_smtp_health.roundtrip.matching import MessageQuery
from check_smtp_health.roundtrip.message import RECIPIENTS, TOKEN
from check_smtp_health.roundtrip.pop3 import HEADERS_LIMIT, Pop3
from tests import memory
from tests.servers.roundtrip import CAPABLE, HI, SELECT
from tests.servers.scripted import Expect, Hang, ScriptedServer, Step, Tagged

if TYPE_CHECKING:
    from check_smtp_health.net.operations import Procedure

SOUGHT = MessageQuery(TOKEN, "t0ken", RECIPIENTS, ("one",), 900)


def reader(kind: type[Reader], port: int, user: str = "me", password: str = "s3cret") -> Reader:
    """Return what gets the test into a mailbox, without TLS."""
    url = parse(f"{kind.__name__.lower()}://{user}@127.0.0.1:{port}")
    access = Access((url,), Secret(password), None, True)  # type: ignore[arg-type]
    return kind(access, Way(None, None, None), Watch())


def served(one: Reader, *procedures: Procedure[object], seconds: float = 2) -> object:
    """Go through these, and return what the last one returns, or the fault of the first."""

    def whole() -> Procedure[object]:
        result: object = None
        try:
            for procedure in procedures:
                result = yield from procedure
        except SessionFault as fault:
            return fault
        return result

    (result,) = driver.run([untimed(whole(), one.watch)], Deadline(seconds))
    return result


def all_of(one: Reader) -> str:
    """Do all that can be done with a mailbox; return what went wrong, or nothing."""

    def everything() -> Procedure[None]:
        one.copies = yield from one.look(SOUGHT)
        yield from one.bounce(SOUGHT)
        if one.copies:
            yield from one.clean_up(SOUGHT, 0)

    result = served(one, everything())
    return result.problem if isinstance(result, SessionFault) else ""


IMAP_WORDS = (
    *(b"* ", b"TAG ", b"+ ", b"OK ", b"NO ", b"BAD ", b"BYE ", b"[", b"]", b"(", b")", b"\r\n"),
    *(b"{3}\r\n", b"{0}", b"{-1}", b"1 ", b"99999999999 ", b"SEARCH ", b"FETCH ", b"CAPABILITY "),
    *(b"IMAP4rev1 ", b"UID 7 ", b"READ-ONLY", b"UIDNEXT x", b"EXPUNGE", b"\xff", b'"', b"\0"),
    *(b"BODY[HEADER] ", TOKEN.encode() + b": t0ken", b"LIST ", b"\\Junk "),
)
LINES = st.lists(st.sampled_from(IMAP_WORDS), max_size=8).map(b"".join)
SEARCHED = Tagged(b"", b"* SEARCH 7\r\nTAG OK x\r\n")
FETCHED = Tagged(
    b"", b'* 1 FETCH (UID 7 BODY[HEADER]<0> "%s: t0ken")\r\nTAG OK x\r\n' % TOKEN.encode()
)
POP_WORDS = (
    *(b"+OK ", b"-ERR ", b"[IN-USE] ", b"\r\n", b".\r\n", b"..", b"1 ", b"x ", b"900 ", b"\xff"),
    *(b"\0", b"TOP", b"\n", b"\r", b"99999999999999999999 ", TOKEN.encode() + b": t0ken\r\n"),
)
REPLIES = st.lists(st.sampled_from(POP_WORDS), max_size=8).map(b"".join)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@QUICK
@example([b"* SEARCH {1}\r\n", b"TAG OK x\r\n"], 2)
@example([b"* 1 FETCH (UID 7 BODY[] {1}\r\n", b"TAG OK x\r\n"], 3)
@given(st.lists(LINES, max_size=4), st.integers(0, 4))
def test_any_imap_server(said: list[bytes], good: int) -> None:
    begun: tuple[Step, ...] = (HI, CAPABLE, Tagged(b"", b"+ \r\n"))
    replies = [Tagged(b"", line + b"\r\nTAG OK x\r\n") for line in said]
    found = (HI, CAPABLE, SEARCHED, FETCHED)
    scripts = (begun, (HI,), (HI, CAPABLE, SELECT), (HI, CAPABLE, SEARCHED), found)
    with ScriptedServer((*scripts[good], *replies)).running() as server:
        assert all_of(reader(Imap, server.port)).isprintable()


@QUICK
@given(st.lists(REPLIES, max_size=6), st.booleans())
def test_any_pop3_server(said: list[bytes], is_begun: bool) -> None:
    ok = b"+OK\r\n"
    begun = (ok, Expect(b""), b"-ERR\r\n", Expect(b""), ok, Expect(b""), ok) if is_begun else ()
    # All at once, so that neither side waits for the other.
    with ScriptedServer((*begun, b"\r\n".join(said))).running() as server:
        assert all_of(reader(Pop3, server.port)).isprintable()


@pytest.mark.parametrize(("user", "password"), [("m\u00fc", "x"), ("me", "\u00fc"), ("me", "a\rb")])
def test_what_login_cannot_send(user: str, password: str) -> None:
    poor = Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1\r\nTAG OK x\r\n")
    with ScriptedServer((HI, poor, Hang())).running() as server:
        one = reader(Imap, server.port, user, password)
        fault = served(one, one.look(SOUGHT))
    assert isinstance(fault, LocalFault)
    assert fault.problem.startswith("LOGIN cannot send")
    assert len(server.received) == 1


def test_a_login_is_quoted() -> None:
    poor = Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1\r\nTAG OK x\r\n")
    login = Tagged(b'LOGIN "a b" "x \\"y\\" \\\\"\r\n', b"TAG NO x\r\n")
    with ScriptedServer((HI, poor, login)).running() as server:
        one = reader(Imap, server.port, "a b", 'x "y" \\')
        served(one, one.look(SOUGHT))
    assert server.faults == []


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x7f"])
def test_what_pop3_cannot_send(character: str) -> None:
    """It would be a second command; as a test in process, for no option takes such a password."""
    hi = b"+OK\r\n"
    begun = (hi, Expect(b"CAPA"), hi + b".\r\n", Expect(b"USER"), hi, Hang())
    with ScriptedServer(begun).running() as server:
        one = reader(Pop3, server.port, password=f"x{character}DELE 1")
        fault = served(one, one.look(SOUGHT))
    assert isinstance(fault, LocalFault)
    assert fault.problem == "a user, password or folder with a control character cannot be sent"
    assert len(server.received) == 2


def test_pop3_sends_any_password_that_is_a_line() -> None:
    hi = b"+OK\r\n"
    steps = (
        hi,
        Expect(b"CAPA"),
        b"-ERR\r\n",
        Expect(b"USER"),
        hi,
        Expect(b"PASS \xff \xc3\xbc\r\n"),
    )
    with ScriptedServer((*steps, b"-ERR x\r\n")).running() as server:
        one = reader(Pop3, server.port, password="\udcff \u00fc")
        served(one, one.look(SOUGHT))
    assert server.faults == []


def test_pop3_looks_at_so_many_headers_at_once() -> None:
    """The newest first; the next look goes on before these."""
    hi, numbers = b"+OK\r\n", range(1, HEADERS_LIMIT + 3)
    ids = b"".join(b"%d id%d\r\n" % (number, number) for number in numbers)
    sizes = b"".join(b"%d 900\r\n" % number for number in numbers)
    begun = (
        *(hi, Expect(b"CAPA"), hi + b".\r\n", Expect(b"USER"), hi, Expect(b"PASS"), hi),
        *(Expect(b"LIST"), b"+OK\r\n%s.\r\n" % sizes, Expect(b"UIDL"), b"+OK\r\n%s.\r\n" % ids),
    )

    def topped(*asked: int) -> tuple[Step, ...]:
        steps: list[Step] = []
        for number in asked:
            steps += [Expect(b"TOP %d 0\r\n" % number), b"+OK\r\nA: b\r\n\r\n.\r\n"]
        return (*steps, Expect(b"QUIT"), hi)

    first = (*begun, *topped(*reversed(numbers[2:])))
    with ScriptedServer(first, later=(*begun, *topped(2, 1))).running() as server:
        one = reader(Pop3, server.port)
        assert served(one, one.look(SOUGHT), one.look(SOUGHT), seconds=9) == []
    assert server.faults == []


# The lines of POP3.


def lines(pieces: Iterable[bytes]) -> tuple[bytes | None, list[bytes], bool, bytes]:
    """Return status, lines, whether they have ended, and what is behind."""
    parser = LineParser()
    found: list[bytes] = []
    status, is_over = None, False
    for piece in pieces:
        parser.feed(piece)
        if status is None:
            status = parser.status()
        if status is not None and not is_over:
            more, is_over = parser.lines()
            found += more
    return status, found, is_over, parser.unread if is_over else b""


@pytest.mark.parametrize(
    ("data", "status", "found", "is_over"),
    [
        (b"+OK\r\n", b"+OK", [], False),
        (b"-ERR [SYS/TEMP] x\n.\n", b"-ERR [SYS/TEMP] x", [], True),
        (b"+OK a\r\n..b\r\n.c\r\n\r\nd\r\r\n.\r\n", b"+OK a", [b".b", b"c", b"", b"d\r"], True),
        (b"+OK\r\n%s\r\n.\r\n" % (b"x" * 5000), b"+OK", [b"x" * LINE_LIMIT], True),
        (b"+OK\r\n.%s\n.\n" % (b"x" * 5000), b"+OK", [b"x" * LINE_LIMIT], True),
        (b"+OK\r\n%s\r\n.\r\n" % (b"x" * LINE_LIMIT), b"+OK", [b"x" * LINE_LIMIT], True),
        (b"+OK\r\n1 a\r\n2", b"+OK", [b"1 a"], False),
        (b"+O", None, [], False),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_lines(data: bytes, status: bytes | None, found: list[bytes], is_over: bool) -> None:
    assert lines([data]) == (status, found, is_over, b"")
    assert lines(bytes([byte]) for byte in data) == (status, found, is_over, b"")
    if is_over:
        assert lines([data + b"+OK tail"]) == (status, found, is_over, b"+OK tail")


@given(st.lists(st.sampled_from(POP_WORDS), max_size=12).map(b"".join), st.integers(0, 40))
def test_whatever_comes_by_pop3(data: bytes, cut: int) -> None:
    data = b"+OK\r\n" + data
    whole = lines([data])
    assert lines([data[:cut], data[cut:]]) == whole
    assert lines(bytes([byte]) for byte in data)[:3] == whole[:3]


@pytest.mark.parametrize("said", [b"", b"220 hi", b"+OKAY", b"ok", b"* OK", b"-ERROR", b"\xff"])
def test_no_status(said: bytes) -> None:
    for pieces in ([said + b"\r\n"], [bytes([byte]) for byte in said + b"\r\n"]):
        with pytest.raises(Violation, match="not POP3"):
            lines(pieces)


@pytest.mark.parametrize(
    ("first", "data", "said"),
    [
        (b"", b"x" * 999, f"a line longer than {LINE_LIMIT} bytes"),
        (b"+OK\r\n", b"x" * 9999, f"a reply longer than {REPLY_LIMIT} bytes"),
        (b"+OK\r\n", b"\n" * 9999, f"a reply of more than {LINES_LIMIT} lines"),
    ],
)
def test_limits(first: bytes, data: bytes, said: str) -> None:
    """Each is noticed, and none takes memory until it is."""
    parser = LineParser()
    parser.feed(first)
    parser.status()

    def step() -> None:
        parser.feed(data)
        if first:
            parser.lines()
        else:
            parser.status()

    violation = memory.flooded(step, len(data))
    assert violation is not None
    assert violation.problem == said


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        (b"Junk", "Junk"),
        (b"M&APw-ll &- &ZeVnLA-", "M\u00fcll & \u65e5\u672c"),
        ("M\u00fcll".encode(), "M\u00fcll"),
        (b"&AAo-", None),
        (b"a\rb", None),
        (b"\xff", None),
        (b"&AP-", None),
        (b"&2AA-", None),
    ],
)
def test_a_folder_that_the_server_names(name: bytes, folder: str | None) -> None:
    assert folder_of(name) == folder
    if folder is not None and name.isascii():
        assert imap_name(folder) == f'"{name.decode()}"'
