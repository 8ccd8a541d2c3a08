"""Whatever a mailbox says, looking into it ends with an answer or a fault of ours."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from check_smtp_health.config.mailbox_url import parse
from check_smtp_health.config.settings import Secret
from check_smtp_health.errors import Disconnected, LocalFault, SessionFault, TimedOut, Violation
from check_smtp_health.net.addresses import Address
from check_smtp_health.net.driver import Deadline
from check_smtp_health.net.tls import TlsOptions, Trust
from check_smtp_health.net.wire import LINE_LIMIT, Wire
from check_smtp_health.roundtrip.imap import Imap
from check_smtp_health.roundtrip.mailbox import Access, Reader
from check_smtp_health.roundtrip.matching import FoundMessage, MessageQuery
from check_smtp_health.roundtrip.message import RECIPIENTS, TOKEN
from check_smtp_health.roundtrip.pop3 import HEADERS_LIMIT, Pop3
from tests.servers.certificates import Certificates
from tests.servers.loopback import free_port
from tests.servers.roundtrip import CAPABLE, HI, SELECT
from tests.servers.scripted import Expect, Handshake, Hang, ScriptedServer, Sleep, Step, Tagged

SOUGHT = MessageQuery(TOKEN, "t0ken", RECIPIENTS, ("one",), 900)


def access(scheme: str, port: int, user: str = "me", password: str = "s3cret") -> Access:
    """Return what gets the test into a mailbox, without TLS."""
    url = parse(f"{scheme}://{user}@127.0.0.1:{port}")
    return Access(url, Secret(password), None, True, Deadline(2))  # type: ignore[arg-type]


def all_of(reader: Reader) -> str:
    """Do all that can be done with a mailbox; return what went wrong, or nothing."""
    try:
        copies = reader.look(SOUGHT)
        reader.bounce(SOUGHT)
        reader.stale(SOUGHT, FoundMessage("1", b""))
        reader.remove(copies or [FoundMessage("1", b"")])
    except SessionFault as fault:
        return fault.problem
    finally:
        reader.close()
    return ""


IMAP_WORDS = (
    *(b"* ", b"TAG ", b"+ ", b"OK ", b"NO ", b"BAD ", b"BYE ", b"[", b"]", b"(", b")", b"\r\n"),
    *(b"{3}\r\n", b"{0}", b"{-1}", b"1 ", b"99999999999 ", b"SEARCH ", b"FETCH ", b"CAPABILITY "),
    *(b"IMAP4rev1 ", b"UID 7 ", b"READ-ONLY", b"UIDNEXT x", b"EXPUNGE", b"\xff", b'"', b"\0"),
)
LINES = st.lists(st.sampled_from(IMAP_WORDS), max_size=8).map(b"".join)
SEARCHED = Tagged(b"", b"* SEARCH 7\r\nTAG OK x\r\n")
POP_WORDS = (
    *(b"+OK ", b"-ERR ", b"[IN-USE] ", b"\r\n", b".\r\n", b"..", b"1 ", b"x ", b"900 ", b"\xff"),
    *(b"\0", b"TOP", b"\n", b"\r", b"99999999999999999999 "),
)
REPLIES = st.lists(st.sampled_from(POP_WORDS), max_size=8).map(b"".join)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@QUICK
@example([b"* SEARCH {1}\r\n", b"TAG OK x\r\n"], 2)
@example([b"* 1 FETCH (UID 7 BODY[] {1}\r\n", b"TAG OK x\r\n"], 3)
@given(st.lists(LINES, max_size=4), st.integers(0, 3))
def test_any_imap_server(said: list[bytes], good: int) -> None:
    begun: tuple[Step, ...] = (HI, CAPABLE, Tagged(b"", b"+ \r\n"))
    replies = [Tagged(b"", line + b"\r\nTAG OK x\r\n") for line in said]
    script = (*(begun, (HI,), (HI, CAPABLE, SELECT), (HI, CAPABLE, SEARCHED))[good], *replies)
    with ScriptedServer(script).running() as server:
        assert all_of(Imap(access("imap", server.port))).isprintable()


@QUICK
@given(st.lists(REPLIES, max_size=6), st.booleans())
def test_any_pop3_server(said: list[bytes], is_begun: bool) -> None:
    ok = b"+OK\r\n"
    begun = (ok, Expect(b""), b"-ERR\r\n", Expect(b""), ok, Expect(b""), ok) if is_begun else ()
    # All at once, so that neither side waits for the other.
    with ScriptedServer((*begun, b"\r\n".join(said))).running() as server:
        assert all_of(Pop3(access("pop3", server.port))).isprintable()


@pytest.mark.parametrize(("user", "password"), [("a b", "x"), ("me", "\u00fc"), ("m%22", "x")])
def test_what_login_cannot_send(user: str, password: str) -> None:
    """imaplib would send it all the same, and more words than there should be."""
    poor = Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1\r\nTAG OK x\r\n")
    with ScriptedServer((HI, poor, Hang())).running() as server:
        reader = Imap(access("imap", server.port, user, password))
        with pytest.raises(LocalFault, match="LOGIN cannot send"):
            reader.look(SOUGHT)
        reader.drop()
    assert len(server.received) == 1


def test_what_pop3_cannot_send() -> None:
    hi = b"+OK\r\n"
    with ScriptedServer((hi, Expect(b"CAPA"), hi + b".\r\n", Expect(b"USER"), hi)).running() as one:
        reader = Pop3(access("pop3", one.port, password="\udcff"))
        with pytest.raises(LocalFault, match="not UTF-8"):
            reader.look(SOUGHT)
        reader.drop()


def test_pop3_looks_at_so_many_headers_at_once() -> None:
    """The newest first; the next look goes on before these."""
    hi, numbers = b"+OK\r\n", range(1, HEADERS_LIMIT + 3)
    ids = b"".join(b"%d id%d\r\n" % (number, number) for number in numbers)
    sizes = b"".join(b"%d 900\r\n" % number for number in numbers)
    begun = (
        *(hi, Expect(b"CAPA"), hi + b".\r\n", Expect(b"USER"), hi, Expect(b"PASS"), hi),
        *(Expect(b"UIDL"), b"+OK\r\n%s.\r\n" % ids, Expect(b"LIST"), b"+OK\r\n%s.\r\n" % sizes),
    )

    def topped(*asked: int) -> tuple[Step, ...]:
        steps: list[Step] = []
        for number in asked:
            steps += [Expect(b"TOP %d 0\r\n" % number), b"+OK\r\nA: b\r\n\r\n.\r\n"]
        return (*steps, Expect(b"QUIT"), hi)

    first = (*begun, *topped(*reversed(numbers[2:])))
    with ScriptedServer(first, later=(*begun, *topped(2, 1))).running() as server:
        reader = Pop3(access("pop3", server.port)._replace(deadline=Deadline(9)))
        assert [reader.look(SOUGHT), reader.look(SOUGHT)] == [[], []]
        reader.close()
    assert server.faults == []


def wire(*servers: ScriptedServer, seconds: float = 1) -> Wire:
    """Return a connection to the first of these that takes it."""
    addresses = [Address(socket.AF_INET, ("127.0.0.1", server.port)) for server in servers]
    return Wire(addresses, Deadline(seconds))


def test_the_next_address_is_tried() -> None:
    down = ScriptedServer(())
    down.port = free_port()
    with ScriptedServer((b"hi\r\n",)).running() as up:
        one = wire(down, up)
        assert one.readline() == b"hi\r\n"
        with pytest.raises(Disconnected, match="closed"):
            one.readline()
        one.close()
        one.close()


def test_lines_and_bytes_in_any_pieces() -> None:
    with ScriptedServer(
        (b"a\r\nb", Sleep(0.05), b"c\nabc", Sleep(0.05), b"def", Hang())
    ).running() as up:
        one = wire(up, seconds=0.5)
        assert [one.readline(), one.readline(), one.read(5), one.last] == [
            b"a\r\n",
            b"bc\n",
            b"abcde",
            b"bc",
        ]
        with pytest.raises(TimedOut, match=r"no answer within 0\.5 s"):
            one.read(2)
        one.close()


def test_a_line_of_any_length_is_found_in_time() -> None:
    with ScriptedServer(
        (b"x" * (LINE_LIMIT - 1) + b"\n", b"y" * LINE_LIMIT, Hang())
    ).running() as up:
        one = wire(up, seconds=5)
        assert len(one.readline()) == LINE_LIMIT
        with pytest.raises(Violation, match="a line longer than"):
            one.readline()
        one.close()


def test_a_server_that_does_not_read() -> None:
    with ScriptedServer((Sleep(1),)).running() as up:
        one = wire(up, seconds=0.3)
        with pytest.raises(TimedOut):
            one.sendall(b"x" * 20_000_000)
        one.close()


def test_a_large_command_arrives_whole() -> None:
    data = b"x" * 5_000_000 + b"\n"
    with ScriptedServer((Expect(b"x"), b"done\n")).running() as up:
        one = wire(up, seconds=9)
        one.sendall(data)
        assert one.readline() == b"done\n"
        one.close()
    assert up.received == [data]


def test_what_takes_long_to_compute_in_tls(tmp_path: Path) -> None:
    pki = Certificates(tmp_path, "mx.example")
    trust = Trust(TlsOptions(ca_file=pki.good.path))
    script = (Handshake(pki.context("2,000 names")), b"hi\n", Hang())
    with ScriptedServer(script).running() as up:
        one = wire(up, seconds=5)
        one.start_tls(trust, "host7.example", is_upgrade=False)
        assert one.readline() == b"hi\n"
        one.close()
