"""Access tokens, told and refused: what servers do by script, and any words that they might say."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health import masking
from check_smtp_health.config.login import CERTIFICATE_MECHANISM
from check_smtp_health.config.mailbox_url import TOKEN_MECHANISMS
from check_smtp_health.errors import SessionFault
from check_smtp_health.masking import Mask
from check_smtp_health.net.https import Page
from check_smtp_health.smtp import sasl
from check_smtp_health.stages import token
from tests import plugin
from tests.servers.catalogue import BANNER, EHLO, QUIT
from tests.servers.roundtrip import SENDING
from tests.servers.scripted import Expect, Hang, ScriptedServer, Step, Tagged

TOKEN = "eyJ0-s3cret-t0ken"
XOAUTH2 = base64.b64encode(f"user=me\1auth=Bearer {TOKEN}\1\1".encode())
OAUTHBEARER = base64.b64encode(f"n,a=me,\1auth=Bearer {TOKEN}\1\1".encode())
WHY = base64.b64encode(b'{"status":"invalid_token","scope":"mail.send"}')

GREETED = (BANNER, EHLO, b"250-mx.example\r\n250 AUTH PLAIN XOAUTH2 OAUTHBEARER\r\n")
ASKED = (*GREETED, Expect(b"AUTH OAUTHBEARER " + OAUTHBEARER + b"\r\n"))
YES_AFTER_NO = "success after the reason of a refusal (status invalid_token, scope mail.send)"


def test_config_and_sasl_mean_the_same() -> None:
    """The one may not import the other."""
    by_proof: dict[str, list[str]] = {}
    for one in sasl.MECHANISMS:
        by_proof.setdefault(one.proof, []).append(one.name)
    assert by_proof["token"] == list(TOKEN_MECHANISMS)
    assert by_proof["certificate"] == [CERTIFICATE_MECHANISM]


@pytest.mark.parametrize(
    ("dialogue", "said"),
    [
        (
            (b"334 " + WHY + b"\r\n", Expect(b"AQ==\r\n"), b"535 5.7.8 no\r\n"),
            "535 5.7.8 no (status invalid_token, scope mail.send) (after # s), "
            "cause: token rejected",
        ),
        (
            (b"334 e30=\r\n", Expect(b"AQ==\r\n"), b"454 4.7.0 later\r\n"),
            "454 4.7.0 later (after # s)",
        ),
        (
            (b"334 " + WHY + b"\r\n", Expect(b"AQ==\r\n"), b"235 in\r\n"),
            f"{YES_AFTER_NO}: '235 in' (after # s)",
        ),
        (
            (b"334 x\r\n", Expect(b"AQ=="), b"334 x\r\n", Expect(b"*\r\n"), b"501 no\r\n"),
            "more challenges than the mechanism has answers: '334 x' (after # s)",
        ),
    ],
)
def test_oauthbearer(dialogue: tuple[Step, ...], said: str) -> None:
    farewell = () if dialogue[-1] == b"501 no\r\n" or b"235" in dialogue[-1] else QUIT  # type: ignore[operator]
    login = ("-U", "me", "-A", "OAUTHBEARER", "--auth-insecure")
    given = {"CHECK_SMTP_HEALTH_AUTHPASS": TOKEN}
    got = plugin.check((*ASKED, *dialogue, *farewell), *login, environment=given)
    assert got.line.partition(" auth: OAUTHBEARER: ")[2] == said


def test_a_user_is_written_as_rfc_7628_has_it() -> None:
    assert next(sasl.oauthbearer("a=b,c", "t")) == b"n,a=a=3Db=2Cc,\1auth=Bearer t\1\1"


def looks(script: tuple[Step, ...], scheme: str, mechanism: str) -> str:
    """Return what is said of a mailbox that does this, to whom a token is given."""
    with ScriptedServer(SENDING).running() as smtp, ScriptedServer(script).running() as box:
        done = plugin.run(
            *(*plugin.at(smtp.port), "--rcpt", "a@x", "--deliver", "--delivery-timeout", "1"),
            *("--mailbox", f"{scheme}://me;AUTH={mechanism}@127.0.0.1:{box.port}"),
            *("--auth-insecure", "-vv"),
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": TOKEN},
        )
    assert (done.stderr, smtp.faults, box.faults) == ("", [], [])
    assert [
        form for form in (TOKEN, XOAUTH2.decode(), OAUTHBEARER.decode()) if form in done.stdout
    ] == []
    return done.line.partition("@127.0.0.1")[2].removeprefix("/INBOX").removeprefix(": ")


HI = b"* OK hi\r\n"
REFUSED = "(status invalid_token, scope mail.send)"


def capable(words: bytes) -> Tagged:
    return Tagged(b"CAPABILITY", b"* CAPABILITY IMAP4rev1 " + words + b"\r\nTAG OK x\r\n")


@pytest.mark.parametrize(
    ("script", "mechanism", "said"),
    [
        (
            # Without SASL-IR the response waits, then the reason is answered.
            (
                *(HI, capable(b"AUTH=XOAUTH2"), Tagged(b"AUTHENTICATE XOAUTH2\r\n", b"+ \r\n")),
                *(Expect(XOAUTH2 + b"\r\n"), b"+ " + WHY + b"\r\n", Expect(b"\r\n")),
                b"a2 NO [AUTHENTICATIONFAILED] bad\r\n",
            ),
            "XOAUTH2",
            "login refused (XOAUTH2; status invalid_token, scope mail.send): "
            "'NO (AUTHENTICATIONFAILED) bad' (after # s), cause: token rejected",
        ),
        (
            (
                *(HI, capable(b"AUTH=OAUTHBEARER SASL-IR")),
                Tagged(b"AUTHENTICATE OAUTHBEARER " + OAUTHBEARER + b"\r\n", b"+ " + WHY + b"\r\n"),
                *(Expect(b"AQ==\r\n"), b"a2 NO bad\r\n"),
            ),
            "OAUTHBEARER",
            "login refused (OAUTHBEARER; status invalid_token, scope mail.send): 'NO bad' "
            "(after # s)",
        ),
        (
            (
                *(HI, capable(b"AUTH=XOAUTH2 SASL-IR")),
                Tagged(b"AUTHENTICATE XOAUTH2 ", b"+ " + WHY + b"\r\n"),
                *(Expect(b"\r\n"), b"a2 OK in\r\n"),
            ),
            "XOAUTH2",
            f"{YES_AFTER_NO}: 'a2 OK in' (after # s)",
        ),
        (
            (
                *(HI, capable(b"AUTH=XOAUTH2 SASL-IR")),
                Tagged(b"AUTHENTICATE XOAUTH2 ", b"+ x\r\n"),
                *(Expect(b"\r\n"), b"+ y\r\n"),
            ),
            "XOAUTH2",
            "not IMAP: '+ y' (after # s)",
        ),
        (
            (HI, capable(b"AUTH=PLAIN AUTH=LOGIN")),
            "XOAUTH2",
            "XOAUTH2 is not offered, only LOGIN and PLAIN (after # s)",
        ),
        ((HI, capable(b"SASL-IR")), "XOAUTH2", "XOAUTH2 is not offered (after # s)"),
        (
            # "Not now" is asked again, with all of the response.
            (
                *(HI, capable(b"AUTH=XOAUTH2 SASL-IR")),
                Tagged(b"AUTHENTICATE XOAUTH2 " + XOAUTH2, b"TAG NO [UNAVAILABLE] x\r\n"),
                Tagged(b"AUTHENTICATE XOAUTH2 " + XOAUTH2, b"TAG NO [INUSE] y\r\n"),
                Hang(),
            ),
            "XOAUTH2",
            "login refused (XOAUTH2): 'NO (INUSE) y' (after # s)",
        ),
    ],
)
def test_imap(script: tuple[Step, ...], mechanism: str, said: str) -> None:
    assert looks(script, "imap", mechanism) == said


OK = b"+OK\r\n"


def capa(words: bytes) -> tuple[Step, ...]:
    return (OK, Expect(b"CAPA\r\n"), b"+OK\r\nSASL " + words + b"\r\n.\r\n")


@pytest.mark.parametrize(
    ("script", "mechanism", "said"),
    [
        (
            (
                *(*capa(b"XOAUTH2"), Expect(b"AUTH XOAUTH2 " + XOAUTH2 + b"\r\n")),
                *(b"+ " + WHY + b"\r\n", Expect(b"\r\n"), b"-ERR [AUTH] bad\r\n"),
            ),
            "XOAUTH2",
            "login refused (XOAUTH2; status invalid_token, scope mail.send): '-ERR (AUTH) bad' "
            "(after # s)",
        ),
        (
            (
                *(*capa(b"OAUTHBEARER"), Expect(b"AUTH OAUTHBEARER "), b"+ " + WHY + b"\r\n"),
                *(Expect(b"AQ==\r\n"), b"+OK in\r\n"),
            ),
            "OAUTHBEARER",
            f"{YES_AFTER_NO}: '+OK in' (after # s)",
        ),
        (
            (
                *(*capa(b"XOAUTH2"), Expect(b"AUTH XOAUTH2 "), b"+\r\n", Expect(b"\r\n")),
                b"+ again\r\n",
            ),
            "XOAUTH2",
            "more challenges than the mechanism has answers: '+ again' (after # s)",
        ),
        (
            capa(b"PLAIN LOGIN"),
            "XOAUTH2",
            "XOAUTH2 is not offered, only LOGIN and PLAIN (after # s)",
        ),
        (
            (OK, Expect(b"CAPA\r\n"), b"-ERR what?\r\n"),
            "XOAUTH2",
            "XOAUTH2 is not offered (after # s)",
        ),
    ],
)
def test_pop3(script: tuple[Step, ...], mechanism: str, said: str) -> None:
    assert looks(script, "pop3", mechanism).replace(", cause: token rejected", "") == said


@pytest.mark.parametrize(
    ("challenge", "said"),
    [
        ({"status": "401", "schemes": "Bearer", "scope": "mail"}, "status 401, scope mail"),
        ({"status": 401}, "status 401"),
        ({"scope": "a\r\nb<i>|[OK]\x1b"}, "scope a / b(i)\\x7c(OK )\\x1b"),
        ({"status": "x" * 201, "scope": "y"}, "scope y"),
        ({"status": ["401"], "scope": None}, ""),
        (["status"], ""),
    ],
)
def test_an_error_challenge(challenge: object, said: str) -> None:
    assert sasl.refusal(base64.b64encode(json.dumps(challenge).encode())) == said


@given(
    st.binary()
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["status", "scope"]), inner)
        ),
    ).map(lambda said: base64.b64encode(json.dumps(said).encode()))
)
def test_any_challenge_is_a_harmless_reason(challenge: bytes) -> None:
    assert sasl.refusal(challenge).isprintable()


@pytest.mark.parametrize("length", range(30, 34))
@pytest.mark.parametrize("around", [("", ""), ("a", "b"), ("ab", "cd"), ("abc", "")])
def test_a_token_is_hidden_within_what_is_in_base64(length: int, around: tuple[str, str]) -> None:
    secret = "".join(chr(0x21 + 7 * number % 93) for number in range(length))
    mask = Mask(masking.token_forms(secret))
    before, after = around
    shown = mask.applied(base64.b64encode(f"{before}{secret}{after}".encode()))
    # At each end there are some bits of it left at most.
    assert len(shown) <= len("***") + 4 * 4


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["access_token", "token_type", "error", "error_description", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)


@given(
    st.sampled_from([200, 204, 302, 400, 401, 429, 500]),
    st.binary() | ANYTHING.map(lambda said: json.dumps(said).encode()),
    st.text(max_size=9),
)
def test_any_answer_is_a_token_or_a_harmless_fault(status: int, body: bytes, kind: str) -> None:
    found = told = said = ""
    try:
        found = token.parsed(Page(kind, body, None, status), Mask())
    except SessionFault as fault:
        told, said = fault.problem, fault.said.decode()
    assert told.isprintable()
    assert not said
    assert bool(found) is not bool(told)
    assert found.isascii()
    assert found.isprintable()
    assert not found or status == 200


def asked(status: int, body: bytes, kind: str = "application/json") -> str:
    """Return what is said of an answer that holds no token; the client's secret is ``s3cret``."""
    with pytest.raises(SessionFault) as caught:
        token.parsed(Page(kind, body, None, status), Mask([b"s3cret"]))
    return f"{type(caught.value).__name__}: {caught.value.problem}"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"error": "x", "access_token": "\\ud800abc"}', "Refused: x"),
        (400, b'{"error": "x\\ud800", "id_token": "x\\ud800yz"}', "Refused: x?"),
        (408, b"", "NotNow: the answer is 408"),
        (425, b"", "NotNow: the answer is 425"),
        (400, b'{"error": "slow_down"}', "NotNow: slow_down"),
        (409, b"", "Refused: the answer is 409"),
    ],
)
def test_an_odd_answer(status: int, body: bytes, said: str) -> None:
    assert asked(status, body) == said


def test_of_a_secret_not_even_half_is_shown() -> None:
    kind = f"{'x' * 74}s3cret/html"
    assert asked(200, b"<html>", kind).endswith("xxx***...)")


@pytest.mark.parametrize("make", [lambda: b"[" * 60000, lambda: b'{"a":' * 13000])
def test_an_answer_without_bottom(make: Callable[[], bytes]) -> None:
    with pytest.raises(SessionFault):
        token.parsed(Page("application/json", make(), None, 200), Mask())


@pytest.mark.parametrize(
    ("scheme", "greeted", "begin", "limit"),
    [
        (
            "imap",
            (HI, capable(b"AUTH=XOAUTH2 SASL-IR"), Expect(b"a2 AUTHENTICATE XOAUTH2")),
            b"* ",
            65536,
        ),
        (
            "pop3",
            (OK, Expect(b"CAPA\r\n"), b"+OK\r\nSASL XOAUTH2\r\n.\r\n", Expect(b"AUTH XOAUTH2")),
            b"-ERR ",
            2048,
        ),
    ],
)
def test_of_a_token_not_even_half_is_shown(
    scheme: str, greeted: tuple[Step, ...], begin: bytes, limit: int
) -> None:
    said = begin + b"x" * (250 - len(begin))
    script = (*greeted, said + TOKEN.encode() + b"y" * limit, Hang())
    shown = f"{said.decode()}***..."
    problem = f"a line longer than {limit} bytes: '{shown}' (after # s)"
    assert looks(script, scheme, "XOAUTH2") == problem
