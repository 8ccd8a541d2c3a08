"""The server's certificate: how long it is valid, for whom, and who says so."""

from __future__ import annotations

from tests.servers.catalogue.behaviour import QUIT, Question, critical, ok, warning
from tests.servers.catalogue.encryption import BEGUN, DONE, GO, WITH_STARTTLS, expires, shows
from tests.servers.certificates import Certificate
from tests.servers.scripted import Expect

_OTHER_NAME = "certificate is for www.example.org, not mail.example.org, try --sni or --no-verify"

REJECTED = (
    (
        "has a certificate that has expired",
        "expired",
        "certificate expired 3 days ago, #",
    ),
    (
        "has a certificate that is not valid yet",
        "not yet valid",
        "certificate is not valid before #, in 7 days",
    ),
    ("has a certificate for another name", "other name", _OTHER_NAME),
    (
        "has a certificate for another name, which has expired",
        "other name, expired",
        "certificate is for www.example.org, not mail.example.org (and expired 3 days ago, #), "
        "try --sni or --no-verify",
    ),
    (
        "has a certificate for five other names",
        "many names",
        "certificate is for a.example, b.example, c.example and 2 more, not mail.example.org, "
        "try --sni or --no-verify",
    ),
    (
        "has a certificate for 2,000 other names",
        "2,000 names",
        "certificate is for host0.example, host1.example, host2.example and 1997 more, not "
        "mail.example.org, try --sni or --no-verify",
    ),
    (
        "has a certificate whose wildcard is for one label less",
        "too wide a wildcard",
        "certificate is for *.org, not mail.example.org, try --sni or --no-verify",
    ),
    (
        "has a certificate with the right name where none counts",
        "right name in the wrong place",
        _OTHER_NAME,
    ),
    (
        "has a self-signed certificate",
        "self-signed",
        "certificate self-signed, try --ca-file or --no-verify",
    ),
    (
        "has a certificate of an authority that is not trusted",
        "unknown issuer",
        "certificate issuer unknown: other, try --ca-file or --no-verify",
    ),
    (
        "has a certificate of an authority with a hostile name",
        "hostile issuer",
        "certificate issuer unknown: CA\\x7ctime=0 / (OK ) (b)\\x1b(31m\\u202e, "
        "try --ca-file or --no-verify",
    ),
    (
        "leaves out its intermediate certificate",
        "without its intermediate",
        "certificate issuer unknown: intermediate, try --ca-file or --no-verify",
    ),
)
"""Certificates that are not taken: what the row is called, their kind, what is wrong with them."""

ROWS = (
    ok(
        "has a good certificate",
        *shows("good"),
        asks=WITH_STARTTLS,
        labels=DONE,
        besides=expires(90),
    ),
    warning(
        "has a certificate that runs out in 5 days",
        "certificate: expires in 5 days, # (limit 14)",
        DONE,
        *shows("5 days"),
        asks=WITH_STARTTLS,
    ),
    warning(
        "has a certificate that runs out in 5 days, with a limit of 7",
        "certificate: expires in 5 days, # (limit 7)",
        DONE,
        *shows("5 days"),
        asks=Question(("-S", "-D", "7,3")),
    ),
    critical(
        "has a certificate that runs out in 2 days",
        "certificate: expires in 2 days, # (limit 3)",
        DONE,
        *shows("2 days"),
        asks=WITH_STARTTLS,
    ),
    critical(
        "has a certificate that runs out in 2 days, with a limit of 3",
        "certificate: expires in 2 days, # (limit 3)",
        DONE,
        *shows("2 days"),
        asks=Question(("-S", "-D", "7,3")),
    ),
    *(
        critical(
            name,
            f"tls: {problem} (after # s), cause: certificate",
            f"{BEGUN} certificate_days",
            # We look twice, and then say QUIT, but check_smtp EHLO.
            *(*GO, Certificate(kind), Expect(b""), b"250 mail.example.org\r\n", *QUIT),
            asks=WITH_STARTTLS,
        )
        for name, kind, problem in REJECTED
    ),
)
