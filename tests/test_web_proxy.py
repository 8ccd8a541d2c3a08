"""HTTPS by a proxy: which one the environment names, what it is asked, and what it may answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from check_smtp_health.config import web_proxy
from check_smtp_health.errors import UsageFault
from tests import needs, plugin
from tests.plugin import Outcome
from tests.servers import tinyproxy
from tests.servers.authority import Authority
from tests.servers.catalogue import BANNER, EHLO, QUIT
from tests.servers.loopback import free_port
from tests.servers.name_server import NameServer, records
from tests.servers.scripted import (
    Expect,
    Forever,
    Handshake,
    Hang,
    Reset,
    ScriptedServer,
    Step,
    Swallow,
)

HTTPS, SMTP = "127.0.0.44", "127.0.0.45"
"""Where the policy is served, which only the proxy knows, and where the MX host is."""

POLICY = b"version: STSv1\nmode: enforce\nmx: mx.mail.test\nmax_age: 604800\n"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + POLICY

CONNECT = (
    b"CONNECT mta-sts.mail.test:443 HTTP/1.1\r\nHost: mta-sts.mail.test:443\r\n"
    b"User-Agent: check_smtp_health\r\n"
)

ENOUGH = "SMTP OK - mail.test: 1 of 1 healthy"
FETCHED = "no policy from mta-sts.mail.test: "
PASSWORD = "pa:ss-w%C3%B6rd"


@dataclass(frozen=True)
class World:
    """A mail server, who knows its addresses, and who vouches for the policy host."""

    smtp: ScriptedServer
    names: NameServer
    policy_host: ScriptedServer
    authority: Authority

    def run(self, *arguments: str, deadline: str = "5", **environment: str) -> Outcome:
        """Check the domain in that environment."""
        outcome = plugin.run(
            *("-H", "mail.test", "-p", str(self.smtp.port), "-F", "me.example", "--mx"),
            *("-t", deadline, "--nameserver", self.names.nameserver, "--mta-sts", "-S"),
            *("--ca-file", self.authority.path, *arguments),
            environment=environment,
        )
        assert outcome.stderr == ""
        return outcome

    def by(self, *steps: Step, login: str = "", deadline: str = "5") -> tuple[int, str, bytes]:
        """Check the domain by a proxy that takes these steps.

        Return exit code, what is said of the policy, and what the proxy was asked.
        """
        proxy = ScriptedServer((Swallow(), *steps))
        with proxy.running():
            url = f"http://{login}127.0.0.1:{proxy.port}"
            outcome = self.run("-v", deadline=deadline, https_proxy=url)
        line = outcome.line.replace(f":{proxy.port}", ":PORT")
        assert "pa:ss" not in outcome.stdout
        return outcome.code, line, b"".join(proxy.received[:1])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    needs.root()  # for the port of HTTPS
    authority = Authority.made(tmp_path_factory.mktemp("web-proxy"), "ours")
    shown = Handshake(authority.serving("mta-sts.mail.test"))
    answers = {
        ("mail.test", "MX"): records("MX 10 mx.mail.test."),
        ("mx.mail.test", "A"): records(f"A {SMTP}"),
        ("_mta-sts.mail.test", "TXT"): records('TXT "v=STSv1; id=1"'),
        ("proxy.test", "A"): records("A 127.0.0.1"),
    }
    session = (
        *(BANNER, EHLO, b"250-mx.mail.test\r\n250 STARTTLS\r\n"),
        *(Expect(b"STARTTLS"), b"220 go\r\n", Handshake(authority.serving("mx.mail.test"))),
        *(EHLO, b"250 mx.mail.test\r\n", *QUIT),
    )
    policy_host = ScriptedServer((shown, Swallow(), PAGE), address=HTTPS, port=443)
    with ExitStack() as stack:
        smtp = stack.enter_context(ScriptedServer(session, address=SMTP).running())
        names = stack.enter_context(NameServer(answers).running())
        stack.enter_context(policy_host.running())
        yield World(smtp, names, policy_host, authority)


def test_by_a_real_proxy(world: World, tmp_path: Path) -> None:
    """It alone knows where the policy host is, and each of the names may name it."""
    with tinyproxy.running(tmp_path, f"{HTTPS} mta-sts.mail.test\n") as port:
        for name in ("https_proxy", "HTTPS_PROXY"):
            for url in (f"http://127.0.0.1:{port}", f"proxy.test:{port}/"):
                outcome = world.run(**{name: url})
                assert (outcome.code, outcome.line[: len(ENOUGH)]) == (0, ENOUGH)
                assert outcome.line.endswith(", MTA-STS enforce")
        # The policy host is not reached in another way,
        outcome = world.run(https_proxy="", HTTPS_PROXY=f"http://127.0.0.1:{port}")
        assert (outcome.code, outcome.line) == (
            2,
            f"SMTP CRITICAL - mail.test mta-sts: {FETCHED}no such host name, 1 of 1 healthy",
        )
        # as it would be if it were an exception.
        outcome = world.run(https_proxy=f"http://127.0.0.1:{port}", no_proxy=".mail.test")
        assert (outcome.code, "no such host name" in outcome.line) == (2, True)


def test_a_login(world: World, tmp_path: Path) -> None:
    hosts = f"{HTTPS} mta-sts.mail.test\n"
    with tinyproxy.running(tmp_path, hosts, login="me s3cret") as port:
        outcome = world.run(https_proxy=f"http://me:s3cr%65t@127.0.0.1:{port}")
        assert (outcome.code, outcome.line[: len(ENOUGH)]) == (0, ENOUGH)
        outcome = world.run("-vvv", https_proxy=f"http://me:s3cre7@127.0.0.1:{port}")
    assert (outcome.code, outcome.line) == (
        3,
        f"SMTP UNKNOWN - mail.test mta-sts: the proxy 127.0.0.1:{port}: the answer is 401, "
        "1 of 1 healthy",
    )
    assert "s3cre7" not in outcome.stdout


def test_what_a_proxy_is_asked(world: World) -> None:
    refusal = b"HTTP/1.1 407 <b>pa:ss-w\xc3\xb6rd</b>\r\nX: y\r\n\r\n"
    code, line, asked = world.by(refusal, login=f"me:{PASSWORD}@")
    assert (code, line) == (
        3,
        "SMTP UNKNOWN - mail.test mta-sts: the proxy 127.0.0.1:PORT: the answer is 407, "
        "1 of 1 healthy",
    )
    assert asked == CONNECT + b"Proxy-Authorization: Basic bWU6cGE6c3Mtd8O2cmQ=\r\n\r\n"


@pytest.mark.parametrize(
    ("steps", "code", "problem"),
    [
        # It refuses, or is none: that is no fault of the domain's.
        ((b"HTTP/1.0 403 Filtered\r\n\r\n",), 3, "the answer is 403"),
        ((b"HTTP/1.1 302 Log in\r\nLocation: x\r\n\r\nhello",), 3, "the answer is 302"),
        ((b"220 mx.test ESMTP\r\n\r\n",), 3, "no HTTP response"),
        ((b"HTTP/1.1 2000 ok\r\n\r\n",), 3, "no HTTP response"),
        ((b"HTTP/1.1 200 ok\r\n",), 3, "no HTTP response"),
        ((b"HTTP/1.1 200 ok\r\n\r\nHTTP/1.1 200 ok\r\n\r\n",), 3, "no HTTP response"),
        ((), 3, "no HTTP response"),
        ((Reset(),), 3, "connection reset by the server"),
        ((Forever(b"HTTP/1.1 200 ok\r\n"),), 3, "no HTTP response"),
        # It cannot reach the policy host either.
        ((b"HTTP/1.1 502 Bad Gateway\r\n\r\n",), 2, "the answer is 502"),
        ((b"HTTP/1.1 504 Gateway Timeout\r\nA: b\r\n\r\n",), 2, "the answer is 504"),
        ((Hang(),), 2, "no answer within 1 s"),
    ],
)
def test_what_a_proxy_answers(
    world: World, steps: tuple[Step, ...], code: int, problem: str
) -> None:
    found, line, asked = world.by(*steps, deadline="1" if "within" in problem else "5")
    state, about = ("UNKNOWN", "") if code == 3 else ("CRITICAL", FETCHED)
    assert (found, line, asked) == (
        code,
        f"SMTP {state} - mail.test mta-sts: {about}the proxy 127.0.0.1:PORT: {problem}, "
        "1 of 1 healthy",
        CONNECT + b"\r\n",
    )


def test_a_proxy_that_is_not_there(world: World) -> None:
    port = free_port()
    outcome = world.run(https_proxy=f"http://proxy.test:{port}")
    assert (outcome.code, outcome.line) == (
        3,
        f"SMTP UNKNOWN - mail.test mta-sts: the proxy proxy.test:{port}: connection refused, "
        "1 of 1 healthy",
    )
    outcome = world.run(https_proxy="http://unknown.test")
    assert (outcome.code, outcome.line) == (
        3,
        "SMTP UNKNOWN - mail.test mta-sts: the proxy unknown.test:80: no such host name, "
        "1 of 1 healthy",
    )


def test_the_family_and_the_source_hold_for_the_proxy(world: World) -> None:
    proxy = ScriptedServer((Swallow(), b"HTTP/1.1 403 no\r\n\r\n"))
    with proxy.running():
        url = f"http://proxy.test:{proxy.port}"
        world.names.asked.clear()
        assert world.run("--source", "127.0.0.9", https_proxy=url).code == 3
    assert proxy.peers == ["127.0.0.9"]
    asked = [kind for _, name, kind in world.names.asked if name == "proxy.test"]
    assert asked == ["A"]


@pytest.mark.parametrize(
    ("url", "arguments", "problem"),
    [
        (
            "socks5://a.test:1080",
            (),
            "--mta-sts: https_proxy is not the address of an http:// proxy",
        ),
        (
            "https://me:pa:ss@a.test",
            (),
            "--mta-sts: https_proxy is not the address of an http:// proxy",
        ),
        ("http://me:pa:ss@", (), "--mta-sts: https_proxy is not http://HOST[:PORT]"),
        ("http://a.test:0", (), "--mta-sts: https_proxy is not http://HOST[:PORT]"),
        ("http://a..test:80", (), "--mta-sts: https_proxy is not http://HOST[:PORT]"),
        ("a.test:80:80", (), "--mta-sts: https_proxy is not http://HOST[:PORT]"),
        (
            "http://[::1]:3128",
            ("-4",),
            "-4: cannot be combined with the proxy's address ::1",
        ),
        (
            "http://[::1]:3128",
            ("--source", "127.0.0.1"),
            "--source: cannot be combined with the proxy's address ::1",
        ),
    ],
)
def test_a_proxy_that_cannot_be_used(url: str, arguments: tuple[str, ...], problem: str) -> None:
    outcome = plugin.run(
        *("-H", "mail.test", "--mta-sts", "-S", *arguments), environment={"https_proxy": url}
    )
    assert (outcome.code, outcome.stdout, outcome.stderr) == (3, f"SMTP UNKNOWN - {problem}\n", "")


@pytest.mark.parametrize(
    ("exceptions", "is_served"),
    [
        ("", True),
        ("localhost, 127.0.0.1,::1", True),
        ("mail.test", False),
        (".mail.test", False),
        ("*.MAIL.test", False),
        ("a.test mta-sts.mail.test", False),
        ("ail.test,mta", True),
        ("mx.mta-sts.mail.test", True),
        ("*", False),
        ("*:80 mail.test:80", True),
        ("mail.test:443", False),
        (".,*.", True),
    ],
)
def test_exceptions(exceptions: str, is_served: bool) -> None:
    proxy = web_proxy.read({"https_proxy": "http://a.test", "NO_PROXY": exceptions}, "x")
    assert proxy is not None
    assert proxy.serves("mta-sts.mail.test", 443) is is_served


def test_what_the_environment_names() -> None:
    assert web_proxy.read({}, "x") is None
    proxy = web_proxy.read({"HTTPS_PROXY": " http://u@x:%40@[2001:db8::1]:3128/x "}, "x")
    assert proxy is not None
    assert (proxy.host.ascii, proxy.port) == ("2001:db8::1", 3128)
    assert proxy.login is not None
    assert (proxy.login.reveal(), str(proxy.login)) == ("u@x:%40", "Secret(***)")
    with pytest.raises(UsageFault):
        web_proxy.read({"https_proxy": "http:///"}, "x")
