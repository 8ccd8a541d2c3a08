"""Signed by OpenDKIM, judged by OpenDMARC, carried by Postfix: our verdict beside theirs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests import masking, needs, plugin
from tests.servers import dns, mailbox, milters, postfix
from tests.servers.authority import Authority
from tests.servers.mail_signer import key, split
from tests.servers.mailbox import PASSWORD, USER
from tests.servers.namespace import Namespace
from tests.servers.network import private

OUT, FORWARDER, OTHER = "192.0.2.9", "198.51.100.9", "203.0.113.9"
"""Where mail leaves from: our own server, one that forwards, and one that nobody has authorised."""

ZONES = (
    dns.Zone(
        "a.example",
        f"""\
@ TXT "v=spf1 ip4:{OUT} -all"
other A {OTHER}
_dmarc TXT "v=DMARC1; p=none"
s1._domainkey TXT {split(key("good").record)}
s2._domainkey TXT "v=DKIM1; p="
s3._domainkey TXT {split(key("another").record)}
""",
    ),
    dns.Zone("f.example", f'@ TXT "v=spf1 ip4:{FORWARDER} -all"\n'),
    dns.Zone("example.org", ""),
    dns.Zone("dnsbl.example", "2.0.0.127 A 127.0.0.2\n9.113.0.203 A 127.0.0.4\n"),
    dns.Zone("113.0.203.in-addr.arpa", "9 PTR other.a.example.\n"),
)

SIGNERS = (
    ("monitor@a.example", "s1"),
    ("revoked@a.example", "s1"),
    ("revoked@a.example", "s2"),
    ("wrong@a.example", "s3"),
)

RELAYING = postfix.DELIVERING + "smtp unix - - n - - smtp\n"


class Site(NamedTuple):
    """Where mail is handed in, and the mailbox that it comes into; ``inside`` is their network."""

    inside: Namespace
    ports: dict[str, int]
    boxes: mailbox.Mailboxes
    authority: Authority


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    folder.chmod(0o755)
    authority = Authority.made(folder, "Private CA")
    certificate = authority.written(folder / "certificate", "localhost")
    for name in ("opendkim", "opendmarc"):
        needs.program(name)
    inside = Namespace()
    inside.ip(*(f"addr add {one}/32 dev lo" for one in (OUT, FORWARDER, OTHER)))
    footer = folder / "footer"
    footer.write_text("/^was looking there/ PREPEND Brought to you by a list\n")
    subject = folder / "subject"
    subject.write_text("/^Subject: (.*)/ REPLACE Subject: [list] $1\n")
    names = {"hosts": "", "resolver": "127.0.0.1"}
    with contextlib.ExitStack() as stack:
        with inside.entered():
            stack.callback(inside.close)
            stack.enter_context(dns.running(*ZONES, port=53))
            boxes = stack.enter_context(mailbox.running(certificate))
            verifier = stack.enter_context(milters.opendkim(folder / "verifier"))
            judge = stack.enter_context(
                milters.opendmarc(folder / "judge", private(folder, **names))
            )
            receiver = stack.enter_context(
                postfix.delivering(boxes.port, smtpd_milters=f"{verifier}, {judge}")
            )
            keys = {"s1": key("good"), "s2": key("old"), "s3": key("wrong")}
            signing = milters.Signing(
                "a.example", {name: one.pem for name, one in keys.items()}, SIGNERS
            )
            signer = stack.enter_context(milters.opendkim(folder / "signer", signing))

            def relay(address: str, **settings: str) -> int:
                """Run a Postfix that hands all mail on, from this address, and return its port."""
                ours = {
                    "mydestination": "",
                    "mynetworks": "0.0.0.0/0",
                    "default_transport": f"smtp:[127.0.0.1]:{receiver.port}",
                    "smtp_bind_address": address,
                    "smtpd_milters": signer,
                    "notify_classes": "",
                    "myhostname": "out.a.example",
                }
                server = postfix.running(RELAYING, **{**ours, **settings})
                return stack.enter_context(server).port

            ports = {
                "own": relay(OUT),
                "elsewhere": relay(OTHER),
                "forwarder": relay(FORWARDER, smtpd_milters="", myhostname="f.example"),
                "list": relay(
                    FORWARDER,
                    smtpd_milters="",
                    myhostname="f.example",
                    body_checks=f"regexp:{footer}",
                ),
                "subject": relay(
                    FORWARDER,
                    smtpd_milters="",
                    myhostname="f.example",
                    header_checks=f"regexp:{subject}",
                ),
            }
            for name in ("forwarder", "list", "subject"):
                onward = f"smtp:[127.0.0.1]:{ports[name]}"
                ports[f"by {name}"] = relay(OUT, default_transport=onward)
        yield Site(inside, ports, boxes, authority)


def verified(
    site: Site, way: str, sender: str = "monitor", *arguments: str
) -> tuple[int, list[str]]:
    """Return the exit code, and what is said of the message."""
    done = plugin.run(
        *("-H", "127.0.0.1", "-p", str(site.ports[way]), "-F", "client.example"),
        *("-f", f"{sender}@a.example", "--rcpt", USER, "--deliver", "--delivery-timeout", "10"),
        *("--mailbox", site.boxes.url(), "--ca-file", site.authority.path, "--verify-message"),
        *("-v", "--nameserver", "127.0.0.1", *arguments),
        environment={"CHECK_SMTP_HEALTH_MAILBOXPASS": PASSWORD},
        prefix=site.inside.prefix,
    )
    assert done.stderr == ""
    said = [masking.unraced(line) for line in done.stdout.splitlines()]
    return done.code, [line for line in said if re.match("verify-message|dnsbl|reverse", line)]


HOLDS = "[OK] DKIM signature s1._domainkey.a.example is valid"
AUTHORISED = "[OK] SPF of a.example (the envelope sender) authorises 192.0.2.9"
SPF_FAILS = (
    "[WARNING] SPF of a.example (the envelope sender) does not authorise {}: fail by '-all' of "
    "a.example"
)
ALIGNED = "[OK] DMARC of a.example (none): aligned are {}"
BOTH = ALIGNED.format("DKIM of a.example and SPF of a.example")
BY_DKIM, BY_SPF = ALIGNED.format("DKIM of a.example"), ALIGNED.format("SPF of a.example")
NEITHER = "[WARNING] neither DKIM nor SPF is aligned with From a.example, DMARC fails (none)"
UNSIGNED = "[WARNING] the message has no DKIM signature"
BAD = "[WARNING] DKIM signature {0}._domainkey.a.example: {1}"


def says(spf: str, dkim: str, dmarc: str) -> str:
    return f"[OK] the receiving server itself says spf {spf}, dkim {dkim}, dmarc {dmarc}"


ROWS = {
    ("own", "monitor"): (0, [HOLDS, AUTHORISED, BOTH, says("pass", "pass", "pass")]),
    ("own", "revoked"): (
        1,
        [
            BAD.format("s2", "the key at s2._domainkey.a.example is revoked"),
            *(HOLDS, AUTHORISED, BOTH, says("pass", "pass", "pass")),
        ],
    ),
    ("own", "wrong"): (
        1,
        [
            BAD.format("s3", "it was made with a key other than the published one"),
            *(AUTHORISED, BY_SPF, says("pass", "fail", "pass")),
        ],
    ),
    ("own", "unsigned"): (1, [UNSIGNED, AUTHORISED, BY_SPF, says("pass", "none", "pass")]),
    ("elsewhere", "monitor"): (
        1,
        [SPF_FAILS.format(OTHER), HOLDS, BY_DKIM, says("fail", "pass", "pass")],
    ),
    ("elsewhere", "unsigned"): (
        1,
        [UNSIGNED, SPF_FAILS.format(OTHER), NEITHER, says("fail", "none", "fail")],
    ),
    ("by forwarder", "monitor"): (
        1,
        [SPF_FAILS.format(FORWARDER), HOLDS, BY_DKIM, says("fail", "pass", "pass")],
    ),
    ("by list", "monitor"): (
        1,
        [
            BAD.format("s1", "the body was changed on the way: its hash differs"),
            *(SPF_FAILS.format(FORWARDER), NEITHER, says("fail", "fail", "fail")),
        ],
    ),
    ("by subject", "monitor"): (
        1,
        [
            BAD.format("s1", "a field that it covers was changed on the way: the key is right"),
            *(SPF_FAILS.format(FORWARDER), NEITHER, says("fail", "fail", "fail")),
        ],
    ),
}
"""What we say of a message, and that the filters of the receiving server say the same."""


@pytest.mark.parametrize(("way", "sender"), ROWS)
def test_verdicts(site: Site, way: str, sender: str) -> None:
    code, lines = ROWS[way, sender]
    assert verified(site, way, sender) == (code, [f"verify-message {line}" for line in lines])


def test_the_address_that_it_left_from_is_asked_about_too(site: Site) -> None:
    """Nobody but the receiving server has named it: the plugin has spoken to another one."""
    lists = ("--dnsbl", "dnsbl.example", "--reverse")
    assert verified(site, "elsewhere", "monitor", *lists) == (
        2,
        [
            "dnsbl    [CRITICAL] 203.0.113.9 is listed in dnsbl.example (127.0.0.4)",
            "dnsbl    [OK] 127.0.0.1 is not listed in dnsbl.example",
            "dnsbl    [OK] 127.0.0.1 is not a public address, few lists know it",
            "dnsbl    [OK] 203.0.113.9 is not a public address, few lists know it",
            "reverse  [WARNING] 127.0.0.1 has no PTR record",
            "reverse  [OK] 203.0.113.9 is other.a.example",
            *(
                f"verify-message {line}"
                for line in (
                    *(SPF_FAILS.format(OTHER), HOLDS, BY_DKIM, says("fail", "pass", "pass")),
                )
            ),
        ],
    )
