"""Where a message came from, by the headers that real servers write."""

from __future__ import annotations

import pytest

from check_smtp_health.roundtrip import header, origin

DATE = "; Fri, 27 Nov 2026 20:14:29 +0000"

POSTFIX = (
    "Received: from out.a.test (out.a.test [192.0.2.9])\n"
    "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\n"
    "\tby mx.b.test (Postfix) with ESMTPS id 2EF48233B63\n\tfor <me@b.test>" + DATE + "\n"
)
SUBMITTED = (
    "Received: from laptop (unknown [203.0.113.200])\n"
    "\tby out.a.test (Postfix) with ESMTPSA id 1" + DATE + "\n"
)
AMAVIS = (
    "Received: from mx.b.test ([127.0.0.1])\n"
    "\tby localhost (mx.b.test [127.0.0.1]) (amavisd-new, port 10024)\n\twith ESMTP id x"
    + DATE
    + "\n"
)
BEHIND = "Received: from localhost (localhost [127.0.0.1])\n\tby mx.b.test (Postfix)" + DATE + "\n"
DOVECOT = (
    "Received: from mx.b.test\n\tby imap.b.test with LMTP\n\tid 1\n"
    "\t(envelope-from <x@a.test>)\n\tfor <me@b.test>" + DATE + "\n"
)
PATH = "Return-Path: <x@a.test>\n"

GOOGLE = (
    "Delivered-To: me@gmail.com\n"
    "Received: by 2002:a05:6000:1 with SMTP id z1csp1\n        Fri, 27 Nov 2026 20:14:29 -0800\n"
    "X-Received: by 2002:a17:907:1 with SMTP id a1" + DATE + "\n"
    "ARC-Seal: i=1; a=rsa-sha256\n"
    "Return-Path: <x@a.test>\n"
    "Received: from out.a.test (out.a.test. [192.0.2.9])\n"
    "        by mx.google.com with ESMTPS id b1si1\n        for <me@gmail.com>" + DATE + "\n"
    "Received-SPF: pass (google.com: domain of x@a.test designates 192.0.2.9 as permitted sender) "
    "client-ip=192.0.2.9;\n"
)

STEP = (
    "Received: from {0}.eurprd04.prod.outlook.com (2603:10a6:20b:1::1) by\n"
    " {1}.eurprd04.prod.outlook.com (2603:10a6:20b:2::2) with Microsoft SMTP Server\n"
    " (version=TLS1_2, cipher=TLS_ECDHE) id 15.20.1.1" + DATE + "\n"
)
EXCHANGE = (
    STEP.format("AM9PR", "DB8PR")
    + STEP.format("DB8EUR", "AM9PR")
    + "Authentication-Results: spf=pass (sender IP is 192.0.2.9) smtp.mailfrom=a.test;\n"
    " dkim=pass (signature was verified) header.d=a.test;\n"
    "Received-SPF: Pass (protection.outlook.com: domain of a.test designates 192.0.2.9\n"
    " as permitted sender) receiver=protection.outlook.com; client-ip=192.0.2.9;\n"
    " helo=out.a.test; pr=C\n"
    "Received: from out.a.test (192.0.2.9) by\n"
    " DB8EUR.mail.protection.outlook.com (10.233.242.1) with Microsoft SMTP Server\n"
    " (version=TLS1_3, cipher=TLS_AES) id 15.20.1.1 via Frontend Transport" + DATE + "\n"
)

OWN_SITE = (
    "Received: from out.b.test (out.b.test [192.0.2.9])\n\tby mx.b.test (Postfix) with ESMTPS id 1"
    + DATE
    + "\n"
)
OWN_SUBMITTED = SUBMITTED.replace("out.a.test", "out.b.test")
JUDGED = (
    "Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=192.0.2.9; helo=out.b.test; "
    "envelope-from=x@b.test; receiver=mx.b.test\n"
)

NOWHERE = "no Received field of the receiving server names a public address"
EITHER = "the Received fields do not tell who handed it over to the receiving site"


def received(client: str, by: str = "mx.b.test") -> str:
    return f"Received: {client}\n\tby {by} with ESMTP id 1{DATE}\n"


ROWS: dict[str, tuple[str, tuple[str, str, str | None] | str]] = {
    "Postfix": (PATH + POSTFIX + SUBMITTED, ("192.0.2.9", "out.a.test", "x@a.test")),
    "Postfix, Dovecot": (PATH + DOVECOT + POSTFIX, ("192.0.2.9", "out.a.test", "x@a.test")),
    "amavis": (
        DOVECOT + BEHIND + AMAVIS + PATH + POSTFIX + SUBMITTED,
        ("192.0.2.9", "out.a.test", "x@a.test"),
    ),
    "Google": (GOOGLE, ("192.0.2.9", "out.a.test", "x@a.test")),
    "Microsoft 365": (EXCHANGE, ("192.0.2.9", "out.a.test", "a.test")),
    "Exim": (
        received("from out.a.test ([192.0.2.9])").replace(
            "id 1", "id 1 (envelope-from <x@a.test>)"
        ),
        ("192.0.2.9", "out.a.test", "x@a.test"),
    ),
    "Exim, another HELO": (
        received("from [192.0.2.9] (port=1234 helo=[10.0.0.1])"),
        ("192.0.2.9", "10.0.0.1", None),
    ),
    "Exim, a name": (
        received("from host.a.test ([192.0.2.9] helo=out.a.test)"),
        ("192.0.2.9", "out.a.test", None),
    ),
    "sendmail": (
        received("from out.a.test (out.a.test [192.0.2.9] (may be forged))"),
        ("192.0.2.9", "out.a.test", None),
    ),
    "qmail": (
        received("from unknown (HELO out.a.test) (192.0.2.9)"),
        ("192.0.2.9", "out.a.test", None),
    ),
    "OpenSMTPD": (
        received("from out.a.test (out.a.test [192.0.2.9])", "mx.b.test (OpenSMTPD)"),
        ("192.0.2.9", "out.a.test", None),
    ),
    "IPv6": (
        received("from out.a.test (unknown [IPv6:2001:db8::9])"),
        ("2001:db8::9", "out.a.test", None),
    ),
    "mapped": (
        received("from out.a.test (out.a.test [::ffff:192.0.2.9])"),
        ("192.0.2.9", "out.a.test", None),
    ),
    "a literal as HELO": (
        received("from [10.0.0.1] (unknown [192.0.2.9])"),
        ("192.0.2.9", "10.0.0.1", None),
    ),
    "the null reverse-path": (
        "Return-Path: <>\n" + POSTFIX,
        ("192.0.2.9", "out.a.test", ""),
    ),
    "a path that another site has left": (POSTFIX + PATH, ("192.0.2.9", "out.a.test", None)),
    "the site's own sender, alone": (OWN_SITE, ("192.0.2.9", "out.b.test", None)),
    "the site's own sender, or a step": (OWN_SITE + OWN_SUBMITTED, EITHER),
    "the site's own sender, as judged": (
        JUDGED + OWN_SITE + OWN_SUBMITTED,
        ("192.0.2.9", "out.b.test", "x@b.test"),
    ),
    "judged by nobody who is known": (
        JUDGED.replace("192.0.2.9", "192.0.2.77") + OWN_SITE + OWN_SUBMITTED,
        EITHER,
    ),
    "judged by somebody else": (
        OWN_SITE + OWN_SUBMITTED + JUDGED.replace("mx.b.test", "mx.c.test"),
        EITHER,
    ),
    "the site's own sender, without an address in the step before": (
        OWN_SITE + received("from laptop (laptop)", "out.b.test"),
        ("192.0.2.9", "out.b.test", None),
    ),
    "a network of its own": (
        received("from relay (relay [10.0.0.1])") + received("from pc ([192.168.1.2])", "relay"),
        NOWHERE,
    ),
    "nothing": ("Subject: x\n", NOWHERE),
    "no address": (
        received("from out.a.test (out.a.test)"),
        "the Received field of mx.b.test names no address",
    ),
    "no address in a step": (
        received("from mx2.b.test (helo mx2)") + POSTFIX,
        ("192.0.2.9", "out.a.test", None),
    ),
    "a number that is no address": (
        received("from out.a.test (out.a.test [192.0.2.999])"),
        "the Received field of mx.b.test names no address",
    ),
    "a comment without end": (
        "Received: from a (b [192.0.2.9] (((((\n",
        ("192.0.2.9", "a", None),
    ),
    "brackets only": ("Received: from (((((\n", "a Received field names no address"),
}


@pytest.mark.parametrize("name", ROWS)
def test_origin(name: str) -> None:
    text, expected = ROWS[name]
    found = origin.of(header.fields(text.replace("\n", "\r\n").encode()))
    if isinstance(expected, str):
        assert (found.address, found.problem) == (None, expected)
    else:
        assert (str(found.address), found.helo, found.sender) == expected


@pytest.mark.parametrize(
    ("value", "domains"),
    [
        ("<me@a.test>", ("a.test",)),
        ("me@A.Test.", ("a.test",)),
        ('"x@evil.test" <me@a.test>', ("a.test",)),
        ("x@evil.test <me@a.test>", ("a.test",)),
        ("me@a.test (x@evil.test)", ("a.test",)),
        ("<me@a.test>, <you@a.test>", ("a.test",)),
        ("<me@a.test>, <you@b.test>", ("a.test", "b.test")),
        ("<me@bücher.test>", ("xn--bcher-kva.test",)),
        ("undisclosed", ()),
        ("", ()),
        ("<@a.test>", ("a.test",)),
        (", ".join(f"<a@{number}.test>" for number in range(9)), 6),
    ],
)
def test_authors(value: str, domains: tuple[str, ...] | int) -> None:
    found = origin.authors([("from", value)])
    assert (len(found) if isinstance(domains, int) else found) == domains


def test_several_fields_are_several_authors() -> None:
    assert origin.authors([("from", "a@a.test"), ("from", "b@b.test")]) == ("a.test", "b.test")
