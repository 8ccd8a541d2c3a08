"""A real Postfix, healthy and refusing: what the plugin says of it, and what it says of us."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import needs, plugin
from tests.servers import postfix
from tests.servers.loopback import has_ipv6
from tests.servers.postfix import Postfix

HEALTHY = "answered in # s (slowest: # # s)"
STAGES = "connect=#s;;;0 banner=#s;;;0 helo=#s;;;0 quit=#s;;;0"
REFUSED = "connect=#s;;;0 banner=#s;;;0 quit=#s;;;0"


@pytest.fixture
def server() -> Iterator[Postfix]:
    with postfix.running() as server:
        yield server


def answer(server: Postfix, *arguments: str, host: str = "127.0.0.1") -> tuple[int, str, str, str]:
    """Return exit code, status line, perfdata and standard error, what varies masked."""
    outcome = plugin.run("-H", host, "-p", str(server.port), *arguments)
    line = outcome.line
    return outcome.code, line, outcome.perfdata, outcome.stderr


def clean(counts: str, client: str = "127.0.0.1") -> list[str]:
    """Return what Postfix logs of a session in which nothing went wrong."""
    return [f"connect from unknown[{client}]", f"disconnect from unknown[{client}] {counts}"]


def test_by_address(server: Postfix) -> None:
    line = f"SMTP OK - 127.0.0.1:{server.port} {HEALTHY}"
    assert answer(server) == (0, line, f"time=#s;;;0;10 {STAGES}", "")
    assert server.sessions() == clean("helo=1 quit=1 commands=2")


def test_by_name(server: Postfix) -> None:
    line = f"SMTP OK - localhost:{server.port} [127.0.0.1] {HEALTHY}"
    perfdata = f"time=#s;;;0;10 resolve=#s;;;0 {STAGES}"
    assert answer(server, "-4", host="localhost") == (0, line, perfdata, "")
    assert server.sessions() == clean("helo=1 quit=1 commands=2")


def test_over_ipv6(server: Postfix) -> None:
    if not has_ipv6():
        needs.leave_out("needs IPv6")
    line = f"SMTP OK - [::1]:{server.port} {HEALTHY}"
    assert answer(server, host="::1") == (0, line, f"time=#s;;;0;10 {STAGES}", "")
    assert server.sessions() == clean("helo=1 quit=1 commands=2", "::1")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--ehlo",),
        ("--require", "PIPELINING", "--require", "SIZE"),
        ("--require", "size=10240000", "--forbid", "STARTTLS", "--forbid", "AUTH"),
    ],
)
def test_ehlo(server: Postfix, arguments: tuple[str, ...]) -> None:
    line = f"SMTP OK - 127.0.0.1:{server.port} {HEALTHY}"
    assert answer(server, *arguments) == (0, line, f"time=#s;;;0;10 {STAGES}", "")
    assert server.sessions() == clean("ehlo=1 quit=1 commands=2")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--forbid", "VRFY"), "VRFY is offered"),
        (("--require", "AUTH"), "AUTH is not offered"),
        (("--require", "SIZE=1"), "SIZE=1 is not offered"),
    ],
)
def test_keywords(server: Postfix, arguments: tuple[str, ...], problem: str) -> None:
    line = f"SMTP CRITICAL - 127.0.0.1:{server.port} helo: {problem}"
    assert answer(server, *arguments) == (2, line, f"time=#s;;;0;10 {STAGES}", "")
    assert server.sessions() == clean("ehlo=1 quit=1 commands=2")


@pytest.mark.parametrize("text", ["ESMTP Postfix", "220 mail.example.org ESMTP"])
def test_text_in_the_banner(server: Postfix, text: str) -> None:
    line = f"SMTP OK - 127.0.0.1:{server.port} {HEALTHY}"
    assert answer(server, "-e", text) == (0, line, f"time=#s;;;0;10 {STAGES}", "")
    assert server.sessions() == clean("helo=1 quit=1 commands=2")


def test_text_not_in_the_banner(server: Postfix) -> None:
    line = (
        f"SMTP WARNING - 127.0.0.1:{server.port} "
        "helo: neither this reply nor the banner contains 'Exim': "
        "'220 mail.example.org ESMTP Postfix'"
    )
    assert answer(server, "-e", "Exim") == (1, line, f"time=#s;;;0;10 {STAGES}", "")
    assert server.sessions() == clean("helo=1 quit=1 commands=2")


DISLIKED = "(we said HELO client, try -F) (after # s), cause: helo rejected"


@pytest.mark.parametrize(
    ("restriction", "soft_bounce", "code", "problem"),
    [
        (
            "check_helo_access static:{550 5.7.1 go away}",
            "no",
            2,
            "CRITICAL - {} helo: 550 5.7.1 (client): Helo command rejected: go away",
        ),
        (
            "check_helo_access static:{450 4.7.1 come back}",
            "no",
            1,
            "WARNING - {} helo: 450 4.7.1 (client): Helo command rejected: come back",
        ),
        (
            "reject",
            "no",
            2,
            "CRITICAL - {} helo: 554 5.7.1 (client): Helo command rejected: Access denied",
        ),
        (
            "reject",
            "yes",
            1,
            "WARNING - {} helo: 454 4.7.1 (client): Helo command rejected: Access denied",
        ),
    ],
    ids=["550", "450", "554", "454"],
)
def test_helo_refused(restriction: str, soft_bounce: str, code: int, problem: str) -> None:
    with postfix.running(
        smtpd_delay_reject="no", smtpd_helo_restrictions=restriction, soft_bounce=soft_bounce
    ) as server:
        line = f"SMTP {problem.format(f'127.0.0.1:{server.port}')} {DISLIKED}"
        perfdata = f"time=#s;;;0;10 {REFUSED}"
        assert answer(server, "-F", "client") == (code, line, perfdata, "")
        connected, rejected, disconnected = server.sessions()
    assert [connected, disconnected] == clean("helo=0/1 quit=1 commands=1/2")
    assert rejected.startswith("NOQUEUE: reject: HELO from unknown[127.0.0.1]: ")


def test_helo_tried_where_ehlo_is_refused_with_504() -> None:
    with postfix.running(
        smtpd_delay_reject="no", smtpd_helo_restrictions="reject_non_fqdn_helo_hostname"
    ) as server:
        line = (
            f"SMTP CRITICAL - 127.0.0.1:{server.port} helo: 504 5.5.2 (client): "
            "Helo command rejected: need fully-qualified hostname (we said EHLO client, try -F) "
            "(after # s), cause: helo rejected"
        )
        perfdata = f"time=#s;;;0;10 {REFUSED}"
        assert answer(server, "-F", "client", "--ehlo") == (2, line, perfdata, "")
        *_, disconnected = server.sessions()
    assert disconnected == clean("helo=0/1 ehlo=0/1 quit=1 commands=1/3")[-1]


def test_client_refused() -> None:
    with postfix.running(smtpd_delay_reject="no", smtpd_client_restrictions="reject") as server:
        line = (
            f"SMTP CRITICAL - 127.0.0.1:{server.port} banner: 554 5.7.1 (unknown(127.0.0.1)): "
            "Client host rejected: Access denied (after # s)"
        )
        perfdata = "time=#s;;;0;10 connect=#s;;;0 quit=#s;;;0"
        assert answer(server) == (2, line, perfdata, "")
        *_, disconnected = server.sessions()
    assert disconnected == clean("quit=1 commands=1")[-1]


def test_refusal_followed_by_a_farewell() -> None:
    # Postfix sends its 421 right behind the reply that was one error too many.
    with postfix.running(
        smtpd_delay_reject="no", smtpd_helo_restrictions="reject", smtpd_hard_error_limit="1"
    ) as server:
        line = (
            f"SMTP CRITICAL - 127.0.0.1:{server.port} helo: 554 5.7.1 (client): "
            f"Helo command rejected: Access denied {DISLIKED}"
        )
        perfdata = f"time=#s;;;0;10 {REFUSED}"
        assert answer(server, "-F", "client") == (2, line, perfdata, "")
        *_, disconnected = server.sessions()
    assert disconnected == clean("helo=0/1 commands=0/1")[-1]


def test_stopped() -> None:
    with postfix.running() as server:
        assert answer(server)[0] == 0
    line = (
        f"SMTP CRITICAL - 127.0.0.1:{server.port} connect: connection refused (after # s), "
        "cause: refused"
    )
    assert answer(server) == (2, line, "time=#s;;;0;10", "")
