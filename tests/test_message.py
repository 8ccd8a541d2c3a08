"""The message of a round trip, and what the header of any message tells."""

from __future__ import annotations

import time
from email import message_from_bytes
from email.policy import SMTP
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.report.delivery import Hop
from check_smtp_health.roundtrip import header
from check_smtp_health.roundtrip.matching import STALE_AFTER, FoundMessage, MessageQuery
from check_smtp_health.roundtrip.message import RECIPIENTS, TOKEN, compose, mark
from check_smtp_health.smtp.session import dotted

ADDRESS = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1)
ADDRESSES = ADDRESS.filter(lambda text: text.isprintable() and not set(text) & set("<>"))


@given(st.lists(ADDRESSES.map(lambda text: text[:250]), min_size=1, max_size=60), ADDRESSES)
def test_every_message_is_one(recipients: list[str], sender: str) -> None:
    text = compose("t0ken", "Tue, 24 Nov 2026 12:00:00 +0000", sender[:250], recipients, "me.x")
    lines = text.split(b"\r\n")
    assert b"\n" not in text.replace(b"\r\n", b"")
    assert max(map(len, lines)) < 998
    assert all(map(str.isascii, (*recipients, sender))) == text.isascii()
    read = header.fields(text)
    assert header.values(read, TOKEN) == ["t0ken"]
    assert header.values(read, RECIPIENTS) == [" ".join(map(mark, recipients))]
    assert [name for name, _ in read] == [name.lower() for name in message_from_bytes(text)]


def test_what_another_parser_makes_of_it() -> None:
    text = compose("t0ken", formatdate(0), "", ["a@x", "b@y"], "[127.0.0.1]")
    read = message_from_bytes(text, policy=SMTP)
    assert (read["From"], read["To"], read["Message-ID"]) == (
        "check_smtp_health@[127.0.0.1]",
        "a@x, b@y",
        "<t0ken@[127.0.0.1]>",
    )
    assert (read.get_content_type(), read["Auto-Submitted"]) == ("text/plain", "auto-generated")
    assert read.defects == []


def test_a_mark_is_no_part_of_another_s() -> None:
    assert mark("a@x") == mark("A@X")
    assert mark("a@x") not in mark("aa@x")
    assert len(mark("a@x")) == 32


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        (b"a\r\n", b"a\r\n.\r\n"),
        (b".\r\n..\r\na.\r\n", b"..\r\n...\r\na.\r\n.\r\n"),
        (b"", b".\r\n"),
    ],
)
def test_dotted(message: bytes, sent: bytes) -> None:
    assert dotted(message) == sent


def test_fields() -> None:
    assert header.fields(b" x\nA: b\r\n\tc\n d\r\nB :\xff\nnone\n: e\n\nC: f\n") == [
        ("a", "b c d"),
        ("b", "\ufffd"),
        ("", "e"),
    ]


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        ("Thu, 1 Jan 1970 01:00:00 +0100 (CET)", 0.0),
        ("1 Jan 1970 00:00:10 -0000", 10.0),
        ("yesterday", None),
        ("", None),
        ("1 Jan 99999999999999999999 00:00:00 +0000", None),
        ("32 Foo 2026 00:00:00 +0000", None),
        ("1 Jan 2026 00:00:00 +" + "9" * 300, None),
        ("1 Jan 2026 00:00:00 -" + "9" * 300, None),
    ],
)
def test_moment(date: str, moment: float | None) -> None:
    assert header.moment(date) == moment


@given(st.text())
def test_any_moment(date: str) -> None:
    header.moment(date)


WAY = b"""\
Received: from b.x by c.x with LMTP id 1;
 Thu, 1 Jan 1970 00:00:09 +0000
Received: by b.x; no date
Received: from me; Thu, 1 Jan 1970 01:00:05 +0100
Date: Thu, 1 Jan 1970 00:00:07 +0000
"""


def test_hops() -> None:
    read = header.fields(WAY)
    assert header.hops(read) == (Hop("", -2.0), Hop("b.x", None), Hop("c.x", 4.0))
    assert header.received(read) == 9.0
    assert header.received([]) is None
    assert header.hops(header.fields(WAY.replace(b"Date: ", b"X: ")))[0] == Hop("", None)


PASSED = (("spf", "pass"), ("dkim", "pass"), ("dmarc", "pass"))

MICROSOFT = (
    "spf=pass (sender IP is 192.0.2.9) smtp.mailfrom=example.org; "
    "dkim=pass (signature was verified) header.d=example.org;dmarc=pass action=none "
    "header.from=example.org;compauth=pass reason=100"
)


@pytest.mark.parametrize(
    ("results", "found"),
    [
        (("mx.x; spf=pass smtp.mailfrom=a; dkim=none",), (("spf", "pass"), ("dkim", "none"))),
        (("mx.x 1; dkim=fail; dkim=pass; dkim=fail",), (("dkim", "pass"),)),
        (("mx.x; dmarc/1 = FAIL (spf=pass; (dkim=pass))",), (("dmarc", "fail"),)),
        # The last server that judged it has the only word.
        (("b; spf=fail", "a; spf=pass; dkim=pass"), (("spf", "fail"),)),
        (("b; spf=fail", "b; dkim=pass"), (("spf", "fail"), ("dkim", "pass"))),
        (("b; spf=fail", "B 1; spf=pass"), (("spf", "fail"),)),
        (('"b c"; spf=none', '"b d"; dkim=pass'), (("spf", "none"),)),
        # Of SPF the result of MAIL FROM counts, of HELO where there is no other.
        (("b; spf=pass smtp.helo=c; spf=fail smtp.mailfrom=d",), (("spf", "fail"),)),
        (("b; spf=none smtp.helo=c; spf=pass smtp.mailfrom=d",), (("spf", "pass"),)),
        (("b; spf=pass smtp.helo=c",), (("spf", "pass"),)),
        (("b; dmarc=pass; dmarc=fail",), (("dmarc", "fail"),)),
        (('mx.x; x=y a="; spf=pass"; spf=none',), (("spf", "none"),)),
        (('mx.x; x=y a="\\"; spf=pass"; spf=none',), (("spf", "none"),)),
        (("mx.x (a ) b; spf=pass",), (("spf", "pass"),)),
        (("mx.x (a \\) ; spf=pass",), ()),
        (('mx.x (a " ); spf=pass (")',), (("spf", "pass"),)),
        (("mx.x ((((((((a)))))))); spf=pass",), (("spf", "pass"),)),
        (("mx.x ((((((((a))))))); spf=pass",), ()),
        (('mx.x; "; spf=pass',), ()),
        (("mx.x; spf=pass-not", "mx.x; dkim=pass/x"), ()),
        (("spf=pass",), (("spf", "pass"),)),
        ((MICROSOFT,), PASSED),
        ((MICROSOFT.replace(";", ";example.net;"),), PASSED),
        (("mx.x; none",), ()),
        (("",), ()),
        ((), ()),
    ],
)
def test_authentication_results(
    results: tuple[str, ...], found: tuple[tuple[str, str], ...]
) -> None:
    assert (
        header.authentication_results([("authentication-results", one) for one in results]) == found
    )


RESULTS = "Authentication-Results: {}; spf=pass"

SPF = "Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=192.0.2.9"

DELIVERED = "Received: from mx.x.org by box.local (Dovecot) with LMTP id 1; x"

TAKEN = "Received: from mon.y.org (mon.y.org [192.0.2.9]) by mx.x.org with ESMTPS id 1 for <a@x>; x"

RELAYED = "Received: from relay.y.org ([192.0.2.9]) by mx.x.org (Postfix) with ESMTP id 1; x"

BEFORE = "Received: from mon.y.org ([192.0.2.9]) by relay.y.org with ESMTP id 1; x"


@pytest.mark.parametrize(
    ("lines", "is_own"),
    [
        ((RESULTS.format("mx.x.org"), TAKEN), True),
        ((DELIVERED, RESULTS.format("any"), TAKEN), True),
        (("Received: by 2002:a05::1; x", RESULTS.format("any"), TAKEN), True),
        # As Gmail writes it.
        (("Received: by 2002:a05::1; x", TAKEN, RESULTS.format("mx.x.org")), True),
        ((TAKEN, RESULTS.format("x.org")), True),
        # As Microsoft 365 does.
        ((RELAYED.replace("mx.", "box."), "Authentication-Results: spf=pass", TAKEN), True),
        ((TAKEN, "Authentication-Results: spf=pass"), True),
        ((RELAYED.replace("mx.", "box."), RESULTS.format("any"), TAKEN), True),
        # Somebody before wrote it.
        ((RELAYED, RESULTS.format("relay.y.org"), BEFORE), False),
        ((RELAYED, BEFORE, RESULTS.format("relay.y.org")), False),
        ((RELAYED, "Authentication-Results: spf=pass", BEFORE), False),
        ((RELAYED, BEFORE, "Authentication-Results: spf=pass"), False),
        ((TAKEN, RESULTS.format("relay.y.org")), False),
        ((DELIVERED, RELAYED, RESULTS.format("relay.y.org"), BEFORE), False),
        ((RELAYED, BEFORE, TAKEN, RESULTS.format("mx.x.org")), False),
        # A name that others chose is not what it looks like.
        ((RELAYED.replace("relay", "a with LMTP b"), RESULTS.format("relay.y.org"), BEFORE), False),
        ((RELAYED.replace("relay", "a by"), RESULTS.format("relay.y.org"), BEFORE), False),
        ((RELAYED.replace("relay", "("), RESULTS.format("relay.y.org"), BEFORE), False),
        ((RELAYED.replace("mx.x.org", "a.co.uk"), RESULTS.format("b.co.uk"), BEFORE), False),
        ((RELAYED.replace("mx.x.org", "c.a.co.uk"), RESULTS.format("a.co.uk"), BEFORE), True),
        ((RELAYED.replace("mx.x.org", "10.1.0.1"), RESULTS.format("10.2.0.1"), BEFORE), False),
        ((SPF, TAKEN), True),
        ((TAKEN, SPF), True),
        ((TAKEN, SPF, BEFORE), False),
        ((TAKEN, f"{SPF}; receiver=mx.x.org", BEFORE), True),
        ((TAKEN, f"{SPF}; receiver=relay.y.org", BEFORE), False),
        ((SPF.replace("Pass", "(Pass)"), TAKEN), False),
        ((SPF.replace("Pass (mailfrom) identity=mailfrom", ""), TAKEN), False),
        # Only where that is all there is.
        ((SPF, "Authentication-Results: mx.x.org; dkim=pass", TAKEN), False),
        ((SPF, RELAYED, RESULTS.format("relay.y.org"), BEFORE), True),
    ],
)
def test_only_the_receiving_server_s_word_counts(lines: tuple[str, ...], is_own: bool) -> None:
    read = header.fields("\r\n".join(lines).encode())
    assert (("spf", "pass") in header.authentication_results(read)) is is_own


def test_what_filters_leave_between_their_results_parts_them_not() -> None:
    lines = [
        *("Authentication-Results: mx.x; dmarc=pass", "DMARC-Filter: x", "X-Y: z"),
        *("Authentication-Results: mx.x; dkim=pass", "DKIM-Filter: x", SPF),
        *("Authentication-Results: mx.x; spf=pass", "Subject: x"),
        "Authentication-Results: mx.x; spf=fail",
    ]
    read = header.fields("\n".join(lines).encode())
    assert header.authentication_results(read) == PASSED
    del lines[1:4]
    read = header.fields("\n".join([lines[0], TAKEN, *lines[1:]]).encode())
    assert header.authentication_results(read) == (("dmarc", "pass"),)


@given(st.text(alphabet='()";=spf \\', max_size=200))
def test_any_verdict(value: str) -> None:
    assert set(
        dict(header.authentication_results([("authentication-results", f"x; {value}")]))
    ) <= {"spf"}


LONG_HEADERS = {
    "escaped quotes": b'Authentication-Results: "' + b'\\"' * 40000,
    "quotes": b"Authentication-Results: " + b'"' * 80000,
    "comments": b"Authentication-Results: " + b"(" * 40000 + b")" * 40000,
    "spaces": b"Authentication-Results: spf" + b" " * 80000,
    "versions": b"Authentication-Results: x;spf/" + b"1" * 80000,
    "parts": b"Authentication-Results: " + b";spf=pass" * 9000,
    "results": b"Authentication-Results: x;spf=pass\n" * 2000,
    "by": b"Received: from x " + b"by " * 30000,
    "trace": b"Received: from x by y; x\n" * 3000 + b"Authentication-Results: y; spf=pass\n",
    "names": b"Received: from x by " + b"y." * 30000 + b"\nAuthentication-Results: " + b"y." * 9000,
    "fields": b"A:\n" * 20000,
    "folded": b"A:\n" + b" x\n" * 20000,
    "date": b"Received: by x; " + b"9" * 60000,
    "date's words": b"Received: by x; " + b"9 " * 30000,
}


@pytest.mark.parametrize("what", LONG_HEADERS)
def test_no_header_takes_long_to_read(what: str) -> None:
    """Read with more than one pass, such a header takes 7 s and more."""
    began = time.process_time()
    read = header.fields(LONG_HEADERS[what])
    header.authentication_results(read)
    header.hops(read)
    header.received(read)
    assert time.process_time() - began < 2


def test_a_header_is_read_as_far_as_it_is_sane() -> None:
    assert len(header.fields(b"A:\n" * 20000)) == header.LINES_LIMIT
    assert header.fields(b"A: " + b"x" * 70000)[0][1] == "x" * (header.SIZE_LIMIT - 3)


def test_spam() -> None:
    read = [("x-spam-flag", "NO"), ("subject", "x"), *[("x-rspamd-score", "1")] * 20]
    assert header.spam(read) == (("x-spam-flag", "NO"), *[("x-rspamd-score", "1")] * 9)


SOUGHT = MessageQuery(TOKEN, "t0ken", RECIPIENTS, ("one", "two"), 900)
NEWEST = FoundMessage("9", b"", "")


def copy(age: float, arrived: float | None, **fields: str) -> FoundMessage:
    """Return a message that is so old by its date, and by its arrival."""
    given = {TOKEN: fields.pop("token", "old"), RECIPIENTS: fields.pop("marks", "zero two")}
    lines = [f"{name}: {value}" for name, value in given.items()]
    text = "\n".join([f"Date: {formatdate(10 * STALE_AFTER - age)}", *lines])
    date = "" if arrived is None else formatdate(10 * STALE_AFTER - arrived)
    return FoundMessage("1", text.encode(), date)


@pytest.mark.parametrize(
    ("one", "is_stale"),
    [
        (copy(STALE_AFTER + 1, STALE_AFTER + 1), True),
        (copy(STALE_AFTER, STALE_AFTER + 1), False),
        (copy(STALE_AFTER + 1, STALE_AFTER), False),
        (copy(STALE_AFTER + 1, None), False),
        (copy(STALE_AFTER + 1, STALE_AFTER + 1, marks="twofold"), False),
        (copy(STALE_AFTER + 1, STALE_AFTER + 1, token="t0ken"), False),
        (FoundMessage("1", f"{TOKEN}: old\n{RECIPIENTS}: two".encode(), formatdate(0)), False),
    ],
)
def test_stale(one: FoundMessage, is_stale: bool) -> None:
    assert SOUGHT.is_stale(one, copy(0, 0, token="t0ken")) is is_stale


NOTIFICATION = b"""\
Reporting-MTA: dns; mx.x
Arrival-Date: x

Final-Recipient: rfc822; a@x
Action: %s
Status: 5.1.1
"""


def test_notification() -> None:
    kind = b'Content-Type: multipart/report;\n report-type=delivery-status; boundary="x"\n'
    assert SOUGHT.is_notification(FoundMessage("1", kind))
    assert not SOUGHT.is_notification(FoundMessage("1", b"Content-Type: multipart/report"))
    assert SOUGHT.reason(NOTIFICATION % b"failed") == b"5.1.1"
    assert SOUGHT.reason((NOTIFICATION % b"failed").replace(b"\n", b"\r\n")) == b"5.1.1"
    assert SOUGHT.reason(NOTIFICATION % b"delayed") is None
    assert SOUGHT.reason(b"Action: failed") == b""
    assert SOUGHT.reason(NOTIFICATION % b"Failed (user unknown)") == b"5.1.1"
    diagnosed = NOTIFICATION % b"failed" + b"Diagnostic-Code: smtp; 550 no\n user\n"
    assert SOUGHT.reason(diagnosed) == b"smtp; 550 no user"
