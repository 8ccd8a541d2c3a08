"""The misbehaving servers by name: what each does, and what the plugin must say of it.

A row's ``line`` is the whole status line with ``{target}`` for the address and port and ``# s`` for
each measured time; ``labels`` the perfdata labels in their order.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.servers.scripted import Expect, Forever, Hang, Reset, Sleep, Slowly, Step

BANNER = b"220 mx.example ESMTP\r\n"
HELO = (Expect(b"HELO me.example\r\n"), b"250 mx.example\r\n")
EHLO = Expect(b"EHLO me.example\r\n")
QUIT = (Expect(b"QUIT\r\n"), b"221 bye\r\n")

TIMEOUT = 1
"""Seconds of every row's deadline."""

CONNECTED = "time connect"
GREETED = "time connect banner"
HELOED = "time connect banner helo"
DONE = "time connect banner helo quit"


@dataclass(frozen=True)
class Behaviour:
    """A row. ``quick`` rows must be answered well before the deadline, the others right at it."""

    name: str
    script: tuple[Step, ...]
    code: int
    line: str
    labels: str
    arguments: tuple[str, ...] = ()
    quick: bool = True


def _ok(
    name: str,
    *script: Step,
    arguments: tuple[str, ...] = (),
    slowest: str = "banner",
    labels: str = DONE,
) -> Behaviour:
    line = f"SMTP OK - {{target}} answered in # s (slowest: {slowest} # s)"
    return Behaviour(name, script, 0, line, labels, arguments)


def _critical(
    name: str, said: str, labels: str, *script: Step, arguments: tuple[str, ...] = ()
) -> Behaviour:
    return Behaviour(name, script, 2, f"SMTP CRITICAL - {{target}} {said}", labels, arguments)


def _warning(
    name: str, said: str, labels: str, *script: Step, arguments: tuple[str, ...] = ()
) -> Behaviour:
    return Behaviour(name, script, 1, f"SMTP WARNING - {{target}} {said}", labels, arguments)


def _hangs(name: str, said: str, labels: str, *script: Step) -> Behaviour:
    line = f"SMTP CRITICAL - {{target}} {said}"
    return Behaviour(name, script, 2, line, labels, quick=False)


CATALOGUE = (
    # the banner
    _ok("healthy", Sleep(0.02), BANNER, *HELO, *QUIT),
    _ok("banner of several lines", Sleep(0.02), b"220-a\r\n220-b\r\n220 c\r\n", *HELO, *QUIT),
    _ok("banner of a code alone", Sleep(0.02), b"220\r\n", *HELO, *QUIT),
    _ok("bare line feeds", Sleep(0.02), b"220 mx\n", HELO[0], b"250 mx\n", QUIT[0], b"221\n"),
    _ok("segments of one byte", Slowly(BANNER, 0.002), *HELO, *QUIT),
    _ok("a line of 2048 bytes", Sleep(0.02), b"220 %s\r\n" % (b"x" * 2042), *HELO, *QUIT),
    _ok("a NUL in the banner", Sleep(0.02), b"220 a\0b\r\n", *HELO, *QUIT),
    _critical("closes at once", "banner: connection closed by the server (after # s)", CONNECTED),
    _critical(
        "resets at once", "banner: connection reset by the server (after # s)", CONNECTED, Reset()
    ),
    _hangs("silent", "banner: no answer within 1 s", CONNECTED, Hang()),
    _critical(
        "banner 554",
        "banner: 554 No SMTP here (after # s)",
        f"{CONNECTED} quit",
        b"554 No SMTP here\r\n",
        *QUIT,
    ),
    _critical(
        "banner 554 that speaks of 220",
        "banner: 554 smtp220.example (after # s)",
        f"{CONNECTED} quit",
        b"554 smtp220.example\r\n",
        *QUIT,
    ),
    _warning(
        "banner 421, then closed",
        "banner: 421 too busy (after # s)",
        f"{CONNECTED} quit",
        b"421 too busy\r\n",
    ),
    _warning(
        "banner 450", "banner: 450 later (after # s)", f"{CONNECTED} quit", b"450 later\r\n", *QUIT
    ),
    _critical(
        "banner 250",
        "banner: 250 hello instead of 220 (after # s)",
        f"{CONNECTED} quit",
        b"250 hello\r\n",
        *QUIT,
    ),
    _critical(
        "never-ending banner",
        "banner: a reply of more than 256 lines: '220-more' (after # s)",
        CONNECTED,
        Forever(b"220-more\r\n"),
    ),
    _hangs(
        "never-ending banner, slowly",
        "banner: no complete answer within 1 s: '220-more / 220-more / 220-more / 220-more'",
        CONNECTED,
        Forever(b"220-more\r\n", 0.3),
    ),
    _hangs(
        "a byte now and then",
        "banner: no complete answer within 1 s: '220'",
        CONNECTED,
        Slowly(BANNER, 0.4),
    ),
    _critical(
        "a line of 10 MB",
        f"banner: a line longer than 2048 bytes: '{'x' * 253}...' (after # s)",
        CONNECTED,
        b"x" * 10_000_000,
    ),
    _critical(
        "a line of 2049 bytes",
        f"banner: a line longer than 2048 bytes: '220 {'x' * 249}...' (after # s)",
        CONNECTED,
        b"220 %s\r\n" % (b"x" * 2043),
        Hang(),
    ),
    _critical(
        "closed in mid-line",
        "banner: connection closed in the middle of a reply: '220 par' (after # s)",
        CONNECTED,
        b"220 par",
    ),
    _critical(
        "closed between lines",
        "banner: connection closed in the middle of a reply: '220-a' (after # s)",
        CONNECTED,
        b"220-a\r\n",
    ),
    _critical(
        "differing codes",
        "banner: differing codes in one reply: '220-a / 250 b' (after # s)",
        CONNECTED,
        b"220-a\r\n250 b\r\n",
        Hang(),
    ),
    _critical(
        "SSH",
        "banner: not an SMTP reply: 'SSH-2.0-OpenSSH_9.2p1' (after # s)",
        CONNECTED,
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        Hang(),
    ),
    _critical(
        "HTTP",
        "banner: not an SMTP reply: 'HTTP/1.1 408 Request Timeout' (after # s)",
        CONNECTED,
        b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
    ),
    _critical(
        "IMAP",
        "banner: not an SMTP reply: '* OK ready' (after # s)",
        CONNECTED,
        b"* OK ready\r\n",
        Hang(),
    ),
    _critical(
        "FTP",
        "helo: 500 Unknown command (after # s)",
        f"{GREETED} quit",
        b"220 ProFTPD\r\n",
        Expect(b"HELO"),
        b"500 Unknown command\r\n",
        *QUIT,
    ),
    _critical(
        "a TLS alert",
        "banner: TLS instead of SMTP, try --ssl: '\\x15\\x03' (after # s)",
        CONNECTED,
        b"\x15\x03\x03\x00\x02\x02\x28",
        Hang(),
    ),
    _critical(
        "an empty line",
        "banner: an empty line, not a reply (after # s)",
        CONNECTED,
        b"\r\n",
        Hang(),
    ),
    _critical(
        "four digits",
        "banner: not an SMTP reply: '2200 hi' (after # s)",
        CONNECTED,
        b"2200 hi\r\n",
        Hang(),
    ),
    _critical(
        "a code of FTP's",
        "banner: not a reply code of SMTP: '120 wait' (after # s)",
        CONNECTED,
        b"120 wait\r\n",
        Hang(),
    ),
    _critical(
        "two banners",
        "banner: more than the one reply that was due: '220 b' (after # s)",
        CONNECTED,
        b"220 a\r\n220 b\r\n",
        Hang(),
    ),
    _warning(
        "a banner and 421 behind it",
        "banner: 421 closing (after # s)",
        f"{CONNECTED} quit",
        b"220 a\r\n421 closing\r\n",
    ),
    _warning(
        "banner without the expected text",
        "banner: lacks '220 mx2': '220 mx.example ESMTP'",
        DONE,
        BANNER,
        *HELO,
        *QUIT,
        arguments=("-e", "220 mx2"),
    ),
    _critical(
        "a refusal and 421 behind it",
        "banner: 554 no (after # s)",
        f"{CONNECTED} quit",
        b"554 no\r\n421 closing\r\n",
    ),
    _critical(
        "another refusal than expected",
        "banner: 554 a (lacks '554 b') (after # s)",
        f"{CONNECTED} quit",
        b"554 a\r\n",
        *QUIT,
        arguments=("-e", "554 b"),
    ),
    _warning(
        "a tolerated refusal is named beside what is not",
        "session took # s (limit 0 s, slowest: banner # s); helo: 450 later (after # s)",
        f"{GREETED} quit",
        *(Sleep(0.02), BANNER, HELO[0], b"450 later\r\n", *QUIT),
        arguments=("--tempfail", "ok", "-w", "0"),
    ),
    _warning(
        "EHLO 502 and 421 behind it",
        "helo: 421 shutting down (after # s)",
        f"{GREETED} quit",
        *(BANNER, EHLO, b"502 no\r\n421 shutting down\r\n"),
        arguments=("--ehlo",),
    ),
    _critical(
        "refusal in place of the expected text",
        "banner: 554 no (after # s)",
        f"{CONNECTED} quit",
        b"554 no\r\n",
        *QUIT,
        arguments=("-e", "220 mx2"),
    ),
    Behaviour(
        "refusal as expected",
        (Sleep(0.02), b"554-no\r\n554 mail\r\n", *QUIT),
        0,
        "SMTP OK - {target} answered in # s (slowest: banner # s)",
        f"{GREETED} quit",
        ("-e", "554-no"),
    ),
    # HELO
    _critical(
        "HELO 550",
        "helo: 550 5.7.1 Access denied (after # s)",
        f"{GREETED} quit",
        BANNER,
        HELO[0],
        b"550 5.7.1 Access denied\r\n",
        *QUIT,
    ),
    _critical(
        "HELO 550 of two lines",
        "helo: 550 5.7.1 Access denied / 5.7.1 see (a) (after # s)",
        f"{GREETED} quit",
        BANNER,
        HELO[0],
        b"550-5.7.1 Access denied\r\n550 5.7.1 see <a>\r\n",
        *QUIT,
    ),
    _warning(
        "HELO 450",
        "helo: 450 later (after # s)",
        f"{GREETED} quit",
        BANNER,
        HELO[0],
        b"450 later\r\n",
        *QUIT,
    ),
    _critical(
        "HELO 450 with --tempfail",
        "helo: 450 later (after # s)",
        f"{GREETED} quit",
        BANNER,
        HELO[0],
        b"450 later\r\n",
        *QUIT,
        arguments=("--tempfail", "critical"),
    ),
    Behaviour(
        "HELO 450 tolerated",
        (BANNER, HELO[0], b"450 later\r\n", *QUIT),
        0,
        "SMTP OK - {target} helo: 450 later (after # s)",
        f"{GREETED} quit",
        ("--tempfail", "ok"),
    ),
    _warning(
        "HELO 421, then closed",
        "helo: 421 shutting down (after # s)",
        f"{GREETED} quit",
        BANNER,
        HELO[0],
        b"421 shutting down\r\n",
    ),
    _critical(
        "HELO 354",
        "helo: 354 go on instead of 250 (after # s)",
        f"{GREETED} quit",
        BANNER,
        HELO[0],
        b"354 go on\r\n",
        *QUIT,
    ),
    _ok(
        "EHLO 502, HELO 250",
        BANNER,
        EHLO,
        Sleep(0.02),
        b"502 what\r\n",
        *HELO,
        *QUIT,
        arguments=("--ehlo",),
        slowest="helo",
    ),
    _critical(
        "EHLO 550",
        "helo: 550 no (after # s)",
        f"{GREETED} quit",
        BANNER,
        EHLO,
        b"550 no\r\n",
        *QUIT,
        arguments=("--ehlo",),
    ),
    _critical(
        "EHLO 502 where extensions are needed",
        "helo: 502 what (after # s)",
        f"{GREETED} quit",
        BANNER,
        EHLO,
        b"502 what\r\n",
        *QUIT,
        arguments=("--require", "SIZE"),
    ),
    _critical(
        "EHLO without what is required, with what is forbidden",
        "helo: STARTTLS is not offered; helo: AUTH=PLAIN is not offered; helo: VRFY is offered",
        DONE,
        BANNER,
        EHLO,
        b"250-mx STARTTLS\r\n250-xstarttlsx\r\n250-auth=login\r\n250 vrfy\r\n",
        *QUIT,
        arguments=(
            "--require",
            "STARTTLS",
            "--require",
            "AUTH=PLAIN",
            "--require",
            "auth=LOGIN",
            "--forbid",
            "VRFY",
        ),
    ),
    _critical(
        "HELO garbage",
        "helo: not an SMTP reply: '\\x1b(31m\ufffd\\x7cx=1' (after # s)",
        GREETED,
        BANNER,
        HELO[0],
        b"\x1b[31m\xff|x=1\r\n",
        Hang(),
    ),
    _hangs("HELO silence", "helo: no answer within 1 s", GREETED, BANNER, HELO[0], Hang()),
    _critical(
        "HELO close", "helo: connection closed by the server (after # s)", GREETED, BANNER, HELO[0]
    ),
    _critical(
        "HELO reset in mid-reply",
        "helo: connection reset by the server: '250-a / 25' (after # s)",
        GREETED,
        BANNER,
        HELO[0],
        b"250-a\r\n25",
        Sleep(0.05),
        Reset(),
    ),
    _critical(
        "HELO reply of 10,000 lines",
        "helo: a reply of more than 256 lines: '250-a' (after # s)",
        GREETED,
        BANNER,
        EHLO,
        b"250-a\r\n" * 10_000,
        Hang(),
        arguments=("--ehlo",),
    ),
    _critical(
        "HELO reply of 500 KB",
        f"helo: a reply longer than 65536 bytes: '250-{'x' * 249}...' (after # s)",
        GREETED,
        BANNER,
        EHLO,
        b"250-%s\r\n" % (b"x" * 2000) * 250,
        Hang(),
        arguments=("--ehlo",),
    ),
    _ok(
        "EHLO of 60 extensions",
        BANNER,
        EHLO,
        Sleep(0.02),
        b"250-mx\r\n" + b"250-XKEYWORD some parameters\r\n" * 60 + b"250 HELP\r\n",
        *QUIT,
        arguments=("--ehlo",),
        slowest="helo",
    ),
    # times
    _warning(
        "slow banner",
        "banner took # s (limit 0.2 s)",
        DONE,
        Sleep(0.25),
        BANNER,
        *HELO,
        *QUIT,
        arguments=("-w", "banner=0.2"),
    ),
    _critical(
        "slow HELO",
        "answered in # s (limit 0.25 s, slowest: helo # s); helo took # s (limit 0.2 s)",
        DONE,
        BANNER,
        HELO[0],
        Sleep(0.3),
        HELO[1],
        *QUIT,
        arguments=("-w", "helo=0.2", "-c", "0.25"),
    ),
    # QUIT never matters
    _ok("QUIT ignored", Sleep(0.02), BANNER, *HELO, QUIT[0], Hang(), labels=HELOED),
    _ok("QUIT answered by close", Sleep(0.02), BANNER, *HELO, QUIT[0]),
    _ok("QUIT answered by reset", Sleep(0.02), BANNER, *HELO, QUIT[0], Reset()),
    _ok("QUIT 500", Sleep(0.02), BANNER, *HELO, QUIT[0], b"500 what\r\n", labels=HELOED),
    _ok("QUIT garbage", Sleep(0.02), BANNER, *HELO, QUIT[0], b"\0\r\n", labels=HELOED),
    # what is said must stay harmless
    _critical(
        "a forged metric and a forged state",
        "banner: 554 a \\x7c b=1;2 (CRITICAL) (script) (after # s)",
        f"{CONNECTED} quit",
        b"554 a | b=1;2 [CRITICAL] <script>\r\n",
        *QUIT,
    ),
    _critical(
        "controls, C1, bidi and a lone CR",
        "banner: 554 \\x00\\x07\\x1b(1m\\x7f\\x85\\u202e\\u2028\\x0d\u00e4 (after # s)",
        f"{CONNECTED} quit",
        "554 \0\a\x1b[1m\x7f\x85\u202e\u2028\r\u00e4\r\n".encode(),
        *QUIT,
    ),
)
