"""The message that came, verified: signed well and badly, changed, forwarded, hostile."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from check_smtp_health.policy import signatures
from tests import json_answer, plugin
from tests.plugin import Outcome
from tests.servers.inbox import Inbox
from tests.servers.mail_signer import key, split
from tests.servers.name_server import SILENCE, Answer, NameServer, fails, records
from tests.servers.scripted import Expect, Message, ScriptedServer

SENDING = (
    b"220 mx.b.test ESMTP\r\n",
    Expect(b"HELO"),
    b"250 mx.b.test\r\n",
    Expect(b"MAIL FROM:<monitor@a.test>\r\n"),
    b"250 ok\r\n",
    Expect(b"RCPT TO:<box@b.test>\r\n"),
    b"250 ok\r\n",
    Expect(b"DATA\r\n"),
    b"354 go\r\n",
    Message(),
    b"250 ok\r\n",
    Expect(b"QUIT"),
    b"221 bye\r\n",
)

Zone = Mapping[tuple[str, str], Answer]
Change = Callable[[bytes], bytes]


def text(*strings: str) -> Answer:
    """Answer with a TXT record each."""
    return records(*(f"TXT {split(one)}" for one in strings))


GOOD: Zone = {
    ("a.test", "TXT"): text("v=spf1 ip4:192.0.2.0/28 -all"),
    ("_dmarc.a.test", "TXT"): text("v=DMARC1; p=reject"),
    ("s1._domainkey.a.test", "TXT"): text(key("good").record),
    ("e1._domainkey.a.test", "TXT"): text(key("ed", 0).record),
}

OUT = "out.a.test (out.a.test [192.0.2.9])"


def trace(client: str = OUT, path: str = "monitor@a.test", more: str = "") -> bytes:
    """Return what the receiving server writes on top."""
    return (
        f"Return-Path: <{path}>\r\n{more}"
        f"Received: from {client}\r\n\tby mx.b.test (Postfix) with ESMTPS id 1\r\n"
        f"\tfor <box@b.test>; {formatdate()}\r\n"
    ).encode()


def signed(message: bytes) -> bytes:
    return key("good").signed(message, "a.test")


def received(message: bytes) -> bytes:
    return trace() + signed(message)


def run(
    zone: Zone,
    change: Change,
    *arguments: str,
    scheme: str = "imap",
    password: str = "s3cret",
    prefix: tuple[str, ...] = (),
    refusal: Sequence[str] = (),
) -> Outcome:
    capabilities = "IMAP4rev1 AUTH=PLAIN UIDPLUS" if scheme == "imap" else "USER,TOP,UIDL"
    with (
        NameServer(dict(zone)).running() as names,
        ScriptedServer(SENDING).running() as smtp,
        Inbox(
            smtp, scheme, capabilities, changed=change, withheld=list(refusal)
        ).running() as inbox,
    ):
        done = plugin.run(
            *plugin.at(smtp.port),
            *("-f", "monitor@a.test", "--rcpt", "box@b.test", "--deliver", "--auth-insecure"),
            *("--mailbox", f"{scheme}://me@127.0.0.1:{inbox.port}", "--verify-message"),
            *("--nameserver", names.nameserver, "-t", "5", "--delivery-timeout", "5", *arguments),
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": password},
            prefix=prefix,
        )
    assert (smtp.faults, done.stderr) == ([], "")
    assert inbox.is_deleted
    return done


def answer(zone: Zone, change: Change, *arguments: str, **others: Any) -> tuple[int, str]:
    """Return the exit code, and what the status line says of the message."""
    done = run(zone, change, *arguments, **others)
    line = done.line.replace(", cause: unauthenticated", "")
    said = line.partition(" - 127.0.0.1:")[2].partition(" ")[2]
    begin = r"answered in # s \(slowest: # # s\), (.*), 1 recipient accepted"
    said = re.sub(r", delivered to (?:INBOX|127\.0\.0\.1) after # s", "", said)
    return done.code, re.sub(begin, r"\1", said)


@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_all_is_well(scheme: str) -> None:
    done = run(GOOD, received, "-v", scheme=scheme)
    lines = [line for line in done.stdout.splitlines() if line.startswith("verify-message")]
    assert (done.code, lines) == (
        0,
        [
            "verify-message [OK] DKIM signature s1._domainkey.a.test is valid",
            "verify-message [OK] SPF of a.test (the envelope sender) authorises 192.0.2.9",
            "verify-message [OK] DMARC of a.test (reject): aligned are DKIM of a.test and SPF of "
            "a.test",
        ],
    )
    assert ", DKIM, SPF, DMARC verified" in done.line


NOBODY = b"-- \r\nBrought to you by a list\r\n"

RSA_NAME = "s1._domainkey.a.test"
NOT_SPF = "verify-message: SPF of a.test (the envelope sender) does not authorise"
NEITHER = (
    "also verify-message: neither DKIM nor SPF is aligned with From a.test, DMARC fails (reject)"
)


def with_key(record: str | None, **others: Answer) -> Zone:
    """Return the zone with another key, or none, and with other answers of a.test."""
    zone = {**GOOD, ("s1._domainkey.a.test", "TXT"): text(record or "")}
    if record is None:
        del zone["s1._domainkey.a.test", "TXT"]
    zone.update({(f"{name}.test", "TXT"): said for name, said in others.items()})
    return zone


def published(**records: str) -> Zone:
    """Return the zone with other records: of ``a`` SPF, of ``_dmarc`` DMARC."""
    names = {"spf": "a.test", "dmarc": "_dmarc.a.test"}
    return {**GOOD, **{(names.get(name, name), "TXT"): text(one) for name, one in records.items()}}


def as_signed(**options: Any) -> Change:
    """Return what a signer makes of a message, by these options of dkimpy."""
    return lambda message: trace() + key("good").signed(message, "a.test", **options)


def edited(before: bytes, after: bytes) -> Change:
    """Return what somebody makes of the message once it has been signed and received."""

    def change(message: bytes) -> bytes:
        whole = received(message)
        assert before in whole
        return whole.replace(before, after, 1)

    return change


def signed_with(before: bytes, after: bytes) -> Change:
    """Return what has something else in its signature than its signer wrote."""
    return lambda message: trace() + re.sub(before, after, signed(message), count=1)


def doubly(message: bytes) -> bytes:
    return trace() + key("ed", 0).signed(signed(message), "a.test", "e1")


ROWS: dict[str, tuple[Zone, Change, int, str]] = {
    "Ed25519 beside RSA": (GOOD, doubly, 0, "DKIM, SPF, DMARC verified"),
    "not signed": (
        GOOD,
        lambda message: trace() + message,
        1,
        "verify-message: the message has no DKIM signature",
    ),
    "no key": (
        with_key(None),
        received,
        1,
        f"verify-message: DKIM signature {RSA_NAME}: there is no key at {RSA_NAME}",
    ),
    "a key that is revoked": (
        with_key("v=DKIM1; p="),
        received,
        1,
        f"verify-message: DKIM signature {RSA_NAME}: the key at {RSA_NAME} is revoked",
    ),
    "another key": (
        with_key(key("other").record),
        received,
        1,
        f"verify-message: DKIM signature {RSA_NAME}: it was made with a key other than the "
        "published one",
    ),
    "a key of another kind": (
        with_key(key("ed", 0).record),
        received,
        1,
        f"verify-message: DKIM signature {RSA_NAME}: the key at {RSA_NAME} is for an "
        "algorithm other than rsa-sha256",
    ),
    "a key not for subdomains": (
        with_key(key("good").record + "; t=s"),
        as_signed(identity=b"me@x.a.test"),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: the key at {RSA_NAME} is not for subdomains "
        "(t=s)",
    ),
    "a key in testing, and weak": (
        with_key(key("small", 1024).record + "; t=y"),
        lambda message: trace() + key("small", 1024).signed(message, "a.test"),
        0,
        f"DKIM, SPF, DMARC verified, also verify-message: DKIM signature {RSA_NAME}: the key at "
        f"{RSA_NAME} has 1024 bits, fewer than 2048, also verify-message: DKIM signature "
        f"{RSA_NAME}: the key at {RSA_NAME} is in test mode (t=y)",
    ),
    "a key for several services": (
        with_key(key("good").record + "; s=other:email; n=mine"),
        received,
        0,
        "DKIM, SPF, DMARC verified",
    ),
    "two records, one of which fits": (
        {**GOOD, ("s1._domainkey.a.test", "TXT"): text(key("other").record, key("good").record)},
        received,
        0,
        "DKIM, SPF, DMARC verified",
    ),
    "a footer": (
        GOOD,
        lambda message: received(message) + NOBODY,
        1,
        f"verify-message: DKIM signature {RSA_NAME}: the body was changed on the way: its hash "
        "differs",
    ),
    "a footer that was allowed": (
        GOOD,
        lambda message: as_signed(length=True)(message) + NOBODY,
        0,
        f"DKIM, SPF, DMARC verified, also verify-message: DKIM signature {RSA_NAME}: covers only "
        "the beginning of the body (l=), so that more can be added",
    ),
    "a body that was cut": (
        GOOD,
        lambda message: as_signed(length=True)(message)[:-20],
        1,
        f"verify-message: DKIM signature {RSA_NAME}: the body was changed on the way: its hash "
        "differs",
    ),
    "no body": (
        GOOD,
        lambda message: received(message).partition(b"\r\n\r\n")[0] + b"\r\n",
        1,
        f"verify-message: DKIM signature {RSA_NAME}: the body was changed on the way: its hash "
        "differs",
    ),
    "another subject": (
        GOOD,
        edited(b"Subject: ", b"Subject: [list] "),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: a field that it covers was changed on the "
        "way: the key is right",
    ),
    "another subject, and a footer": (
        GOOD,
        lambda message: edited(b"Subject: ", b"Subject: [list] ")(message) + NOBODY,
        1,
        f"verify-message: DKIM signature {RSA_NAME}: a field that it covers was changed on the "
        "way, and the body, too: the key is right",
    ),
    "another From": (
        GOOD,
        edited(b"From: <monitor@a.test>", b"From: <monitor@c.test>"),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: a field that it covers was changed on the "
        "way: the key is right, also verify-message: c.test has no DMARC record that applies",
    ),
    "SPF of another address": (
        published(spf="v=spf1 ip4:192.0.2.7 -all"),
        received,
        1,
        f"{NOT_SPF} 192.0.2.9: fail by '-all' of a.test",
    ),
    "no SPF": (
        published(spf="another"),
        received,
        1,
        "verify-message: SPF for 192.0.2.9: none, a.test has no SPF record",
    ),
    "neither": (
        {**published(spf="v=spf1 ~all"), ("s1._domainkey.a.test", "TXT"): text("p=")},
        received,
        1,
        f"verify-message: DKIM signature {RSA_NAME}: the key at {RSA_NAME} is revoked, also "
        f"{NOT_SPF} 192.0.2.9: softfail by '~all' of a.test, {NEITHER}",
    ),
    "forwarded": (
        GOOD,
        lambda message: trace("f.test (f.test [198.51.100.1])") + signed(message),
        1,
        f"{NOT_SPF} 198.51.100.1: fail by '-all' of a.test",
    ),
    "forwarded by SRS": (
        {**GOOD, ("f.test", "TXT"): text("v=spf1 ip4:198.51.100.1 -all")},
        lambda message: (
            trace("f.test (f.test [198.51.100.1])", "SRS0=x=y=a.test=me@f.test") + signed(message)
        ),
        0,
        "DKIM, SPF, DMARC verified",
    ),
    "signed by somebody else": (
        {**GOOD, ("s1._domainkey.c.test", "TXT"): text(key("good").record)},
        lambda message: (
            trace("f.test (f.test [198.51.100.1])", "me@c.test")
            + key("good").signed(message, "c.test")
        ),
        1,
        "verify-message: SPF for 198.51.100.1: none, c.test has no SPF record, " + NEITHER,
    ),
    "signed by the domain above": (
        {
            **published(dmarc="v=DMARC1; p=reject; adkim=r"),
            ("x.a.test", "TXT"): text("v=spf1 ip4:192.0.2.9 -all"),
        },
        lambda message: trace(path="me@x.a.test") + signed(message),
        0,
        "DKIM, SPF, DMARC verified",
    ),
    "strict, and only the domain below": (
        {
            **published(dmarc="v=DMARC1; p=reject; aspf=s; adkim=s"),
            ("x.a.test", "TXT"): text("v=spf1 ip4:192.0.2.9 -all"),
            ("s1._domainkey.x.a.test", "TXT"): text(key("good").record),
        },
        lambda message: trace(path="me@x.a.test") + key("good").signed(message, "x.a.test"),
        1,
        NEITHER.removeprefix("also "),
    ),
    "the null reverse-path": (
        {**GOOD, ("out.a.test", "TXT"): text("v=spf1 ip4:192.0.2.9 -all")},
        lambda message: trace(path="") + signed(message),
        0,
        "DKIM, SPF, DMARC verified",
    ),
    "no DMARC": (
        published(dmarc="another"),
        received,
        1,
        "verify-message: a.test has no DMARC record that applies",
    ),
    "nobody knows where it came from": (
        GOOD,
        lambda message: trace("out (localhost [127.0.0.1])") + signed(message),
        0,
        "DKIM, DMARC verified, also verify-message: SPF was not evaluated: no Received field of "
        "the receiving server names a public address",
    ),
    "nobody knows, and no signature": (
        GOOD,
        lambda message: trace("out (localhost [127.0.0.1])") + message,
        1,
        "verify-message: the message has no DKIM signature, also verify-message: whether DMARC of "
        "a.test passes is not known, also verify-message: SPF was not evaluated: no Received "
        "field of the receiving server names a public address",
    ),
    "a name server that has failed": (
        {
            **GOOD,
            ("s1._domainkey.a.test", "TXT"): fails("SERVFAIL"),
            ("_dmarc.a.test", "TXT"): fails("SERVFAIL"),
            ("a.test", "TXT"): fails("SERVFAIL"),
        },
        received,
        3,
        f"verify-message: DKIM signature {RSA_NAME}: TXT of {RSA_NAME}: SERVFAIL from 127.0.0.1, "
        "also verify-message: SPF was not evaluated: TXT of a.test: SERVFAIL from 127.0.0.1, also "
        "verify-message: DMARC: TXT of _dmarc.a.test: SERVFAIL from 127.0.0.1",
    ),
    "nobody knows as whom it came": (
        GOOD,
        lambda message: trace().partition(b"\r\n")[2] + signed(message),
        0,
        "DKIM, DMARC verified, also verify-message: SPF was not evaluated: its envelope sender "
        "is not known (no Return-Path)",
    ),
    "a sender beyond ASCII": (
        {**GOOD, ("xn--bcher-kva.a.test", "TXT"): text("v=spf1 ip4:192.0.2.9 -all")},
        lambda message: trace(path="me@b\u00fccher.a.test") + signed(message),
        0,
        "DKIM, SPF, DMARC verified",
    ),
    "a HELO that is no name": (
        GOOD,
        lambda message: trace("laptop (unknown [192.0.2.9])", "") + signed(message),
        1,
        "verify-message: SPF for 192.0.2.9: HELO 'laptop' is not a domain",
    ),
    "several authors": (
        GOOD,
        edited(b"From: <monitor@a.test>", b"From: <monitor@a.test>, <x@c.test>"),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: a field that it covers was changed on the "
        "way: the key is right, also verify-message: From names several domains, so DMARC "
        "does not apply",
    ),
    "a receiver of another opinion": (
        GOOD,
        lambda message: (
            trace(more="Authentication-Results: mx.b.test; dkim=fail; spf=pass\r\n")
            + signed(message)
        ),
        0,
        "DKIM, SPF, DMARC verified, also verify-message: the receiving server says dkim=fail, but "
        "here it passes",
    ),
    "a signature that is expired": (
        GOOD,
        lambda message: trace() + signed(message).replace(b" t=", b" x=1000000000; t=", 1),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: had expired when the message came (x=)",
    ),
    **{
        f"a signature with {after!r}": (
            GOOD,
            signed_with(before, after),
            1,
            f"verify-message: DKIM signature {RSA_NAME}: {said}",
        )
        for before, after, said in (
            (b" v=1;", b"", "has no v="),
            (b" v=1;", b" v=2;", "has an unknown version"),
            (b" v=1;", b" v=1; v=1;", "has a tag twice"),
            (b" a=rsa-sha256;", b" a=magic;", "uses an unknown algorithm, which does not count"),
            (rb"h=[^;]*;", b"h=subject;", "does not cover From"),
            (b"c=relaxed/relaxed;", b"c=odd;", "is canonicalized in an unknown way (c=)"),
            (b" q=dns/txt;", b" q=paper;", "cannot be verified: q= value is not dns/txt"),
        )
    },
    "Ed25519, and another subject": (
        GOOD,
        lambda message: (
            trace()
            + key("ed", 0)
            .signed(message, "a.test", "e1")
            .replace(b"Subject: ", b"Subject: [list] ")
        ),
        1,
        "verify-message: DKIM signature e1._domainkey.a.test: it does not match: a different "
        "key, or a field was changed on the way",
    ),
    "more signatures than anybody verifies": (
        GOOD,
        lambda message: (
            trace()
            + signed(message).replace(
                b"\r\n\r\n", b"\r\n%s\r\n" % (b"DKIM-Signature:;\r\n" * 11), 1
            )
        ),
        1,
        ", also ".join(
            f"verify-message: DKIM signature {number}: names no key that can be looked up"
            for number in range(2, 11)
        )
        + ", also verify-message: of 12 DKIM signatures only the first 10 were verified",
    ),
    "a line that goes on before any field": (
        GOOD,
        lambda message: b" goes on\r\n" + received(message),
        0,
        "DKIM, SPF, DMARC verified",
    ),
    "a signature by SHA-1": (
        GOOD,
        as_signed(signature_algorithm=b"rsa-sha1"),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: uses rsa-sha1, which does not count",
    ),
}


def test_a_name_server_that_is_silent() -> None:
    zone = {**GOOD, ("s1._domainkey.a.test", "TXT"): SILENCE}
    assert answer(zone, received, "-t", "1") == (
        3,
        f"verify-message: DKIM signature {RSA_NAME}: TXT of {RSA_NAME}: no answer within 1 s",
    )


def test_an_answer_cannot_be_verified() -> None:
    done = plugin.run(
        *("-H", "mx.test", "--rcpt", "a@x", "--deliver", "--mailbox", "imap://me@x"),
        *("--reply", "--verify-message"),
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret"},
    )
    said = "SMTP UNKNOWN - --verify-message: cannot be combined with --reply\n"
    assert (done.code, done.stdout, done.stderr) == (3, said, "")


@pytest.mark.parametrize("name", ROWS)
def test_verdicts(name: str) -> None:
    zone, change, code, said = ROWS[name]
    assert answer(zone, change) == (code, said)


# What somebody else may have made of the message, to harm whoever reads it.


def below(fields: bytes) -> Change:
    """Put fields below ours."""
    return lambda message: (
        trace() + signed(message).replace(b"\r\n\r\n", b"\r\n" + fields + b"\r\n", 1)
    )


def with_body(body: bytes) -> Change:
    """Return a message with that body, which its signature is not for."""
    return lambda message: received(message).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body


SIGNATURE = b"DKIM-Signature: v=1; a=rsa-sha256; d=x%d.test; s=s; h=from; bh=YQ==; b=YQ==\r\n"

LARGE: dict[str, tuple[Change, int, str]] = {
    "a footer of 150 KiB": (
        lambda message: as_signed(length=True)(message) + NOBODY * 5_000,
        0,
        f"DKIM, SPF, DMARC verified, also verify-message: DKIM signature {RSA_NAME}: covers only "
        "the beginning of the body (l=), so that more can be added",
    ),
    "2 MiB": (
        with_body((b"y" * 70 + b"\r\n") * 30_000),
        3,
        "verify-message: the message was not verified: it has more than 1024 KiB",
    ),
}
"""What takes more than one piece by IMAP."""

HOSTILE: dict[str, tuple[Change, int, str]] = {
    "10,000 signatures": (
        below(b"".join(SIGNATURE % number for number in range(10_000))),
        3,
        "verify-message: the message was not verified: its header has more than 64 KiB",
    ),
    "500 signatures": (
        below(b"".join(SIGNATURE % number for number in range(500))),
        1,
        ", also ".join(
            f"verify-message: DKIM signature s._domainkey.x{number}.test: there is no key at "
            f"s._domainkey.x{number}.test"
            for number in range(9)
        )
        + ", also verify-message: of 501 DKIM signatures only the first 10 were verified",
    ),
    "3,000 signatures that are none": (
        below(b"DKIM-Signature:;\r\n" * 3000),
        1,
        ", also ".join(
            f"verify-message: DKIM signature {number}: names no key that can be looked up"
            for number in range(2, 11)
        )
        + ", also verify-message: of 3001 DKIM signatures only the first 10 were verified",
    ),
    "a header without end": (
        below(b"X: y\r\n" * 20_000),
        3,
        "verify-message: the message was not verified: its header has more than 64 KiB",
    ),
    "2 MiB": (
        with_body(b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 30_000),
        3,
        "verify-message: the message was not verified: it has more than 1024 KiB",
    ),
    "blanks without end": (
        with_body(b" " * 1_000_000),
        3,
        f"verify-message: DKIM signature {RSA_NAME}: verifying it takes too long",
    ),
    "lines without end": (
        with_body(b"\n" * 1_000_000),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: the body was changed on the way: its hash "
        "differs",
    ),
    "a tag without end": (
        lambda message: (
            trace() + signed(message).replace(b" b=", b" b" + b"\r\n " * 3000 + b"=", 1)
        ),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: a field that it covers was changed on the "
        "way: the key is right",
    ),
    "bytes of no charset": (
        below(b"".join(b"X-%d: \xff\xfe\x80\x00\x1b[31m\r\n" % number for number in range(500))),
        0,
        "DKIM, SPF, DMARC verified",
    ),
    "lines that are no fields": (
        below(b"no field\r\n: nothing\r\n\xff: y\r\n"),
        0,
        "DKIM, SPF, DMARC verified",
    ),
    "9,000 authors": (
        below(b"From: " + b"<a@b>,\r\n " * 6_000 + b"<c@d>\r\n"),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: a field that it covers was changed on the "
        "way: the key is right, also verify-message: From names several domains, so DMARC "
        "does not apply",
    ),
    "an author in comments without end": (
        below(b"From: " + b"(" * 50_000 + b"\r\n"),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: a field that it covers was changed on the "
        "way: the key is right",
    ),
    "an author in quotes without end": (
        below(b"From: " + b'"\\' * 25_000 + b"\r\n"),
        1,
        f"verify-message: DKIM signature {RSA_NAME}: a field that it covers was changed on the "
        "way: the key is right",
    ),
    "a hop in comments without end": (
        lambda message: trace("a (" + "(" * 50_000) + signed(message),
        0,
        "DKIM, DMARC verified, also verify-message: SPF was not evaluated: a Received field names "
        "no address",
    ),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("scheme", ["imap", "pop3"])
def test_large_messages(name: str, scheme: str) -> None:
    change, code, said = LARGE[name]
    assert answer(GOOD, change, scheme=scheme) == (code, said)


def test_the_deadline_comes_before_the_verdict() -> None:
    change, code, said = HOSTILE["blanks without end"]
    assert answer(GOOD, change, "-t", "1") == (code, said)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("uncovered")
def test_hostile_messages(name: str, tmp_path: Path) -> None:
    change, code, said = HOSTILE[name]
    peak = tmp_path / "peak"
    done = answer(GOOD, change, prefix=plugin.measuring(peak))
    assert done == (code, said)
    assert int(peak.read_text()) < 64 * 1024


def test_secrets_are_masked() -> None:
    """They are in what we look up and show: whoever has the password may put it anywhere."""
    secret = "sesame-open-sesame"

    def change(message: bytes) -> bytes:
        field = SIGNATURE.replace(b"x%d", secret.encode()).replace(b"rsa-sha256", b"%s")
        fields = (
            field % b"rsa-sha256",
            field % secret.encode(),
            b"X: " + secret.encode() + b"\r\n",
        )
        client = f"{secret}.test ({secret}.test [192.0.2.9])"
        return trace(client, f"me@{secret}.test") + b"".join(fields) + signed(message)

    for arguments in ((), ("-vvv",), ("--output-format", "json")):
        done = run(GOOD, change, *arguments, password=secret)
        assert done.code == 1
        assert secret not in done.stdout
        assert "s._domainkey.***.test" in done.stdout


def test_the_json_object_has_all() -> None:
    done = run(GOOD, lambda message: received(message) + NOBODY, "--output-format", "json")
    ((target,), code) = json_answer.read(done)["targets"], done.code
    verdict = target["verdicts"][0]
    assert (code, verdict["name"], verdict["held"]) == (1, "verify-message", "")
    assert [(one["kind"], one["problem"]) for one in verdict["findings"]] == [
        (
            "unauthenticated",
            f"DKIM signature {RSA_NAME}: the body was changed on the way: its hash differs",
        )
    ]
    assert verdict["notes"] == [
        "SPF of a.test (the envelope sender) authorises 192.0.2.9",
        "DMARC of a.test (reject): aligned are SPF of a.test",
    ]


@pytest.mark.parametrize(
    ("module", "library", "package"),
    [
        ("dns", "dnspython", "python3-dnspython"),
        ("dkim", "dkimpy", "python3-dkim"),
        ("nacl", "PyNaCl", "python3-nacl"),
        ("cryptography", "cryptography", "python3-cryptography"),
    ],
)
def test_a_library_that_is_missing(tmp_path: Path, module: str, library: str, package: str) -> None:
    (tmp_path / f"{module}.py").write_text("raise ImportError('not here')")
    done = plugin.run(
        *("-H", "127.0.0.1", "-p", "1", "--rcpt", "a@x", "--deliver", "--auth-insecure"),
        *("--mailbox", "imap://me@x", "--verify-message"),
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret", "PYTHONPATH": str(tmp_path)},
    )
    said = (
        f"SMTP UNKNOWN - --verify-message: needs the library {library}: "
        f"install {package}, or {library} with pip\n"
    )
    assert (done.code, done.stdout, done.stderr) == (3, said, "")


REFUSED = "verify-message: the message was not verified: "


@pytest.mark.parametrize(
    ("scheme", "reply", "said"),
    [
        ("imap", "NO not today", "UID FETCH refused"),
        ("imap", "", "connection closed by the server"),
        ("pop3", "-ERR not today", "RETR refused"),
        ("pop3", "", "connection closed by the server"),
    ],
)
def test_a_message_that_is_not_handed_out(scheme: str, reply: str, said: str) -> None:
    """It has been seen, and is deleted: only what it is like is not known."""
    done = answer(GOOD, received, scheme=scheme, refusal=[reply])
    assert done == (3, REFUSED + said)


def options(smtp: ScriptedServer, names: NameServer, *inboxes: Inbox) -> tuple[str, ...]:
    """Return the options that have a message verified in each of these mailboxes."""
    return (
        *plugin.at(smtp.port),
        *("-f", "monitor@a.test", "--rcpt", "box@b.test", "--deliver", "--auth-insecure"),
        *(word for one in inboxes for word in ("--mailbox", f"imap://me@127.0.0.1:{one.port}")),
        *("--verify-message", "--nameserver", names.nameserver, "--delivery-timeout", "5"),
    )


def test_several_accounts() -> None:
    """Each has a copy of its own, which has gone its own way."""
    capabilities = "IMAP4rev1 AUTH=PLAIN UIDPLUS"
    with (
        NameServer(dict(GOOD)).running() as names,
        ScriptedServer(SENDING).running() as smtp,
        Inbox(smtp, "imap", capabilities, changed=received).running() as one,
        Inbox(
            smtp, "imap", capabilities, changed=lambda message: received(message) + NOBODY
        ).running() as other,
    ):
        done = plugin.run(
            *options(smtp, names, one, other),
            environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret"},
        )
    where = "me@127.0.0.1/INBOX"
    said = done.line.partition(" 127.0.0.1:")[2].partition(" ")[2]
    assert (done.code, said, done.stderr) == (
        1,
        f"verify-message: {where}: DKIM signature {RSA_NAME}: the body was changed on the way: its "
        "hash differs, cause: unauthenticated",
        "",
    )


def test_interrupted_amid_it() -> None:
    zone = {**GOOD, ("s1._domainkey.a.test", "TXT"): SILENCE}
    with (
        NameServer(zone).running() as names,
        ScriptedServer(SENDING).running() as smtp,
        Inbox(smtp, "imap", "IMAP4rev1 AUTH=PLAIN UIDPLUS", changed=received).running() as inbox,
        subprocess.Popen(
            [plugin.SCRIPT, *options(smtp, names, inbox)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "CHECK_SMTP_HEALTH_MAILBOXPASS": "s3cret"},
        ) as process,
    ):
        while ("udp", RSA_NAME, "TXT") not in names.asked:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=10)[0]
    assert process.returncode == 3
    said = said.partition(" verify-message: ")[2].partition(" | ")[0]
    assert said == "interrupted by SIGTERM"


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (b"l=x", "cannot be verified: l= value is not a decimal integer"),
        (b"c=nonsense", "cannot be verified (InvalidCanonicalizationPolicyError)"),
    ],
)
def test_what_the_library_fails_on(tags: bytes, said: str) -> None:
    """Whatever it raises is the signature's problem; no more of it is told."""
    public = generate_private_key(65537, 2048).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = b" v=1; a=rsa-sha256; d=a.test; s=s; h=from; bh=AA==; b=AA==; %s\r\n" % tags
    head = [(b"DKIM-Signature", signature), (b"From", b" me@a.test\r\n")]
    record = b"p=" + base64.b64encode(der)
    assert signatures.problem(head, b"body\r\n", 0, record) == said
