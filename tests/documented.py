"""A world in which the commands that the README and docs/ show do what is said of them.

Behind each host there is a server of ours, behind each file one in a folder, and what the servers
do follows from the command.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shlex
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests import masking, needs, plugin
from tests.servers import tokens
from tests.servers.authority import Authority
from tests.servers.mail_signer import key
from tests.servers.name_server import Answer, NameServer
from tests.servers.roundtrip import FETCHED, IN, NOTHING, POOR, UNREAD, WHOLE, named
from tests.servers.roundtrip import LOGIN as MAILBOX_LOGIN
from tests.servers.scripted import (
    Expect,
    Handshake,
    Hang,
    Message,
    ScriptedServer,
    Sleep,
    Step,
    Swallow,
    Tagged,
)

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
ENGINES = (ROOT / "docs" / "engines.md").read_text()
NAGIOS = (ROOT / "contrib" / "nagios-commands.cfg").read_text()
ICINGA = (ROOT / "contrib" / "icinga2-commands.conf").read_text()

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

QUIT = (Expect(b"QUIT"), b"221 2.0.0 Bye\r\n")

REFUSING = (
    b"220 mx2.example.org ESMTP Postfix\r\n",
    Expect(b"HELO"),
    b"550 5.7.1 Access denied\r\n",
    *QUIT,
)

LMTP = (
    b"220 mx.example.org Dovecot ready.\r\n",
    Expect(b"LHLO"),
    b"250 mx.example.org\r\n",
    *QUIT,
)

OFFERED = "250-SIZE 30000000\r\n", "250-STARTTLS\r\n", "250 AUTH PLAIN LOGIN\r\n"
"""What follows the host's name in the reply to EHLO; the second ends with TLS."""

FIRST_ADDRESS = "127.0.0.25"
"""That of the other hosts where name servers are asked, which 127.0.0.1 would not be for an MX."""

SECOND, SECOND_ADDRESS = "mx2.example.org", "127.0.0.26"
"""The host that refuses everybody; its address where it stands beside the other one."""

PASSWORD = "s3cret"

PASSWORD_FILES = {
    "smtp-password": 0o640,
    "mailbox-password": 0o640,
    "dnsbl-key": 0o640,
    "password.txt": 0o644,
}
"""What is in the folders of the engines, and who may read it."""

TOKEN = "eyJ0-t0ken"
"""What whoever asks is given to log in with."""

USER, LOST = "monitor", "lost@example.org"
"""Who can log in; whose mail is accepted and never seen again."""

SIGNER = key("documented", 0)
"""Whoever signs the mail of the domain."""

SIGNED = b"SIGNED"
"""Stands for the whole message in what a mailbox says."""

WANTED_WHOLE = Tagged(
    b"UID FETCH 7 (UID BODY.PEEK[]<0.65536>)\r\n",
    b"* 3 FETCH (UID 7 BODY[]<0> " + SIGNED + b")\r\nTAG OK x\r\n",
)

RECEIVED = (
    b"Return-Path: <monitor@example.org>\r\nReceived: from out.example.org (unknown [192.0.2.30])"
    b"\r\n\tby mx.example.org (Postfix) with ESMTPS id 1; %s\r\n"
)
"""What the server writes on top of a message."""

TLS = {"-S", "--ssl"}
ASKING_DNS = {"--mx", "--dnsbl", "--reverse", "--dane", "--mta-sts", "--sender"}


class World(NamedTuple):
    """What stands behind hosts and files: a folder, and who vouches for the hosts."""

    folder: Path
    authority: Authority


def made(folder: Path) -> World:
    """Return a world with password files in that folder, one of which everyone can read."""
    for name, mode in PASSWORD_FILES.items():
        (folder / name).write_text(f"{PASSWORD}\n")
        (folder / name).chmod(mode)
    return World(folder, Authority.made(folder, "Private CA"))


def script(words: list[str], host: str, certificate: ssl.SSLContext) -> tuple[Step, ...]:
    """Return what the server does on a documented host, as far as the command asks for it."""
    if host.startswith("/"):
        return LMTP
    if host == SECOND:
        return REFUSING
    name = "mx.example.org" if host[0].isdigit() else host
    size, tls, auth = OFFERED
    by_token = "--oauth" in words
    auth = "250 AUTH XOAUTH2\r\n" if by_token else auth
    secured = (Expect(b""), f"250-{name}\r\n{size}{auth}".encode())
    greeting = (Expect(b""), f"250-{name}\r\n{size}{tls}{auth}".encode())
    starttls = (Expect(b"STARTTLS"), b"220 2.0.0 Ready\r\n", Handshake(certificate), *secured)
    return (
        *((Expect(b"PROXY TCP4 "),) if "-r" in words else ()),
        *((Handshake(certificate),) if "--ssl" in words else ()),
        # This makes the banner the slowest stage beyond doubt.
        Sleep(0.1),
        f"220 {name} ESMTP Postfix\r\n".encode(),
        *(secured if "--ssl" in words else greeting),
        *(starttls if "-S" in words else ()),
        *(login(words) if "-U" in words and "/etc/nagios/expired.ini" not in words else ()),
        *transaction(words),
        *QUIT,
    )


def login(words: list[str]) -> tuple[Step, ...]:
    """Return what the server does with a user who has that password, or token: it knows one."""
    user = words[words.index("-U") + 1]
    if "--oauth" in words:
        shown = base64.b64encode(f"user={user}\1auth=Bearer {TOKEN}\1\1".encode())
        return (Expect(b"AUTH XOAUTH2 " + shown + b"\r\n"), b"235 2.7.0 Accepted\r\n")
    # In the words of RFC 4616.
    response = base64.b64encode(f"\0{user}\0{PASSWORD}".encode())
    is_known = user == USER
    reply = b"235 2.7.0 Accepted\r\n" if is_known else b"535 5.7.8 Authentication failed\r\n"
    return (Expect(b"AUTH PLAIN " + response + b"\r\n"), reply)


REFUSALS = {
    "--no-relay": b"554 5.7.1 Relay access denied\r\n",
    "--no-rcpt": b"550 5.1.1 User unknown\r\n",
}


def transaction(words: list[str]) -> tuple[Step, ...]:
    """Return what the server does between MAIL and RSET: it takes its own recipients."""
    given = dict(zip(words, words[1:]))
    size = f" SIZE={given['--size']}" if "--size" in given else ""
    steps: list[Step] = [
        Expect(f"MAIL FROM:<{given.get('-f', '')}>{size}\r\n".encode()),
        b"250 2.1.0 Ok\r\n",
    ]
    for option, address in zip(words, words[1:]):
        if option in ("--rcpt", "--no-relay", "--no-rcpt"):
            steps.append(Expect(f"RCPT TO:<{address}>\r\n".encode()))
        elif option == "-C":
            steps.append(Expect(f"{address}\r\n".encode()))
        else:
            continue
        steps.append(REFUSALS.get(option, b"250 2.1.5 Ok\r\n"))
    if "--deliver" in words:
        return (*steps, Expect(b"DATA\r\n"), b"354 Go\r\n", Message(), b"250 2.0.0 Ok: queued\r\n")
    is_begun = {"-f", "--size", "--rcpt", "--no-relay", "--no-rcpt"} & set(words)
    return (*steps, Expect(b"RSET\r\n"), b"250 2.0.0 Ok\r\n") if is_begun else ()


def mailbox(words: list[str], world: World) -> tuple[Step, ...]:
    """Return what the server does in whose mailbox the message is, or is not."""
    login = Tagged(f'LOGIN "{USER}" "{PASSWORD}"\r\n'.encode(), b"TAG OK in\r\n")
    script: tuple[Step, ...] = (*IN, NOTHING, UNREAD, Hang()) if LOST in words else WHOLE
    if "--verify-message" in words:
        at = script.index(FETCHED) + 1
        script = (*script[:at], WANTED_WHOLE, *script[at:])
    steps = tuple(login if step is MAILBOX_LOGIN else step for step in script)
    if "--oauth" in words:
        shown = base64.b64encode(f"user={USER}\1auth=Bearer {TOKEN}\1\1".encode())
        offer = b"* CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR\r\nTAG OK x\r\n"
        asked = Tagged(b"CAPABILITY", offer)
        login_by_token = Tagged(b"AUTHENTICATE XOAUTH2 " + shown + b"\r\n", b"TAG OK in\r\n")
        others = ((POOR, asked), (login, login_by_token))
        steps = tuple(next((new for old, new in others if step is old), step) for step in steps)
    return (Handshake(world.authority.serving("localhost")), *steps)


def signed(server: ScriptedServer) -> Callable[[bytes], bytes]:
    """Return what has the mailbox say what came of the message that this server took."""
    edit = named(server)

    def edited(data: bytes) -> bytes:
        if SIGNED not in data:
            return edit(data)
        sent = next(one for one in reversed(server.received) if b"Message-ID" in one)
        message = SIGNER.signed(sent.removesuffix(b".\r\n"), "example.org", "mail2026")
        whole = RECEIVED % formatdate().encode() + message
        return data.replace(SIGNED, b"{%d}\r\n%s" % (len(whole), whole))

    return edited


def blocks(language: str, text: str) -> list[str]:
    """Return the code blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def nagios_checks(text: str) -> list[str]:
    """Return each check_command that is given arguments, in comments, too."""
    lines = re.findall(r"^(?:# )?  check_command +(check_\w+!.*)$", text, re.MULTILINE)
    return [line for line in lines if not line.startswith("check_nrpe!")]


def nagios_line(check: str, definitions: str) -> str:
    """Return what Nagios runs for a check_command, given the commands that are defined."""
    name, *arguments = check.split("!")
    command = r"^  command_name +(.*)\n  command_line +(.*)$"
    lines = dict(re.findall(command, definitions, re.MULTILINE))
    host = (re.findall(r"\w+\.example\.org", check) or [""])[-1]
    line = str(lines[name]).replace("$USER1$/", "").replace("$HOSTADDRESS$", host)
    for number, argument in enumerate(arguments, 1):
        assert f"$ARG{number}$" in line
        line = line.replace(f"$ARG{number}$", argument)
    line = re.sub(r"\$ARG\d\$", "", line)
    assert "$" not in line
    return line


def section(text: str, title: str) -> str:
    """Return what stands below that heading."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def table(text: str, title: str) -> list[tuple[str, ...]]:
    """Return the cells of the table below that heading, its head left out."""
    lines = [line.strip("|") for line in section(text, title).splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines[2:]]
    return [tuple(cell.replace(r"\|", "|") for cell in row) for row in rows]


def coded(cell: str) -> list[str]:
    """Return the words between backticks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", cell)


def shell_lines(text: str) -> list[str]:
    """Return the lines that run the plugin, sample answers left out."""
    return [
        line
        for block in blocks("sh", text)
        for line in block.splitlines()
        if line.startswith("check_smtp_health")
    ]


def samples(text: str) -> list[tuple[str, str]]:
    """Return each command that is shown with its answer."""
    return [
        (command, answer)
        for block in blocks("console", text)
        for command, answer in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)+)", block, re.MULTILINE)
    ]


@contextlib.contextmanager
def giving_tokens(words: list[str], world: World) -> Iterator[None]:
    """Give out the token that a file asks for, where the command names one."""
    if "--oauth" not in words:
        yield
        return
    with tokens.running(world.authority, USER) as giver:
        given = {"token_type": "Bearer", "access_token": TOKEN}
        giver.answer = tokens.Answer(200, json.dumps(given).encode())
        if words[words.index("--oauth") + 1].endswith("/expired.ini"):
            giver.answer = tokens.refusing(401, **tokens.EXPIRED)
        for name in ("oauth.ini", "expired.ini"):
            tokens.written(world.folder / name, giver.url)
        yield


@contextlib.contextmanager
def published(words: list[str], world: World, port: int, pem: str) -> Iterator[str]:
    """Publish what a command asks DNS and the web for; yield the resolver's address."""
    domain, host, policy = "example.org", "mx.example.org", "127.0.0.47"
    (certificate,) = x509.load_pem_x509_certificates(Path(pem).read_bytes())
    digest = certificate.fingerprint(hashes.SHA256()).hex()
    answers = {
        (domain, "MX"): f"MX 10 {host}.",
        (host, "A"): f"A {FIRST_ADDRESS}",
        ("25.0.0.127.in-addr.arpa", "PTR"): f"PTR {host}.",
        (f"_{port}._tcp.{host}", "TLSA"): f"TLSA 3 0 1 {digest}",
        (f"_mta-sts.{domain}", "TXT"): 'TXT "v=STSv1; id=1"',
        (f"mta-sts.{domain}", "A"): f"A {policy}",
        (domain, "TXT"): 'TXT "v=spf1 ip4:192.0.2.0/24 -all"',
        (f"_dmarc.{domain}", "TXT"): f'TXT "v=DMARC1; p=reject; rua=mailto:dmarc@{domain}"',
        (f"mail2026._domainkey.{domain}", "TXT"): f'TXT "{SIGNER.record}"',
        ("localhost", "A"): "A 127.0.0.1",
        **{
            (f"{point}.{re.split('[=/]', zone)[0].replace('KEY', PASSWORD)}", "A"): "A 127.0.0.2"
            for option, zone in zip(words, words[1:])
            for point in ("2.0.0.127", "test")
            if option == "--dnsbl"
        },
    }
    body = b"version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 604800\n"
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + body
    with contextlib.ExitStack() as stack:
        if "--mta-sts" in words:
            needs.root()  # for the port of HTTPS
            handshake = Handshake(world.authority.serving(f"mta-sts.{domain}"))
            web = ScriptedServer((handshake, Swallow(), page), address=policy, port=443)
            stack.enter_context(web.running())
        table = {name: Answer((text,), is_secure=True) for name, text in answers.items()}
        if "--min-healthy" in words:
            table[domain, "MX"] = Answer((f"MX 10 {host}.", f"MX 20 {SECOND}."))
            table[SECOND, "A"] = Answer((f"A {SECOND_ADDRESS}",))
        yield stack.enter_context(NameServer(table).running()).nameserver


def seen_as(said: str, words: list[str], port: int) -> str:
    """Return an answer with host and port of the command in place of ours."""
    given = dict(zip(words, words[1:]))
    theirs = given.get("-p", "465" if "--ssl" in words else "25")
    said = re.sub(rf"\b(?:localhost|127\.0\.0\.1)(?=:{port}\b)", given["-H"], said)
    return re.sub(rf"(?<=\w):{port}\b", f":{theirs}", said)


def in_folder(line: str, world: World) -> str:
    """Return a command line with the files of the engines where ours are."""
    return re.sub(r"/etc/(nagios|icinga2)(?=/)", shlex.quote(str(world.folder)), line)


def run(line: str, world: World, certificate: ssl.SSLContext | None = None) -> plugin.Outcome:
    """Run a documented command line in a shell, with a server of ours in place of its host.

    The authority is one of the system's; ``certificate`` is the server's where a good one of the
    host would not do. What is said of files and mailboxes is said of those in the line.
    """
    words = shlex.split(line)
    host = words[words.index("-H") + 1]
    if ASKING_DNS & set(words):
        return run_with_names(line, words, world)
    path = str(Path(tempfile.mkdtemp(dir=world.folder)) / "socket") if host[0] == "/" else ""
    is_address = host[0].isdigit()
    names = () if path else ("mx.example.org",) if is_address else (host,)
    certificate = certificate or world.authority.serving(*names, days=59)
    line = re.sub(r"(?<=-H )(\S+)", path or ("127.0.0.1" if is_address else "localhost"), line)
    line = in_folder(line, world)
    is_theirs = line.startswith("check_smtp ")
    if is_theirs:
        line = line.replace("check_smtp", shlex.quote(needs.program("check_smtp")), 1)
    line = line.replace("check_smtp_health", '"$0"', 1)
    server = ScriptedServer(script(words, host, certificate), path=path)
    verifies = "--verify-message" in words
    box = ScriptedServer(mailbox(words, world), edit=signed(server) if verifies else named(server))
    with contextlib.ExitStack() as stack:
        stack.enter_context(server.running())
        stack.enter_context(box.running())
        stack.enter_context(giving_tokens(words, world))
        asked: tuple[str, ...] = ()
        if verifies:
            pem = world.authority.written(world.folder / "mx.pem", host)
            asked = ("--nameserver", stack.enter_context(published(words, world, 25, pem)))
        line = line.replace("@mail.example.org", f"@localhost:{box.port}")
        where = () if path else ("-4", "-p", str(server.port))
        is_named = path or is_address or is_theirs or "--sni" in words or not TLS & set(words)
        outcome = run_in_shell(
            *(line, world, *where, *asked), *(() if is_named else ("--sni", host))
        )
    assert (server.faults, box.faults, box.connections) == ([], [], line.count("--mailbox "))
    said = seen_as(outcome.stdout, words, server.port)
    said = said.replace("@localhost/", "@mail.example.org/")
    return replace(outcome, stdout=said.replace(str(world.folder), "/etc/nagios"))


def run_with_names(line: str, words: list[str], world: World) -> plugin.Outcome:
    """Run a command line that is about what name servers say: with one of ours."""
    host = "mx.example.org"
    line = in_folder(line.replace("check_smtp_health", '"$0"', 1), world)
    pem = world.authority.written(world.folder / "mx.pem", host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = ScriptedServer(script(words, host, context), address=FIRST_ADDRESS)
    with contextlib.ExitStack() as stack:
        stack.enter_context(server.running())
        if "--min-healthy" in words:
            second = ScriptedServer(REFUSING, address=SECOND_ADDRESS, port=server.port)
            stack.enter_context(second.running())
        nameserver = stack.enter_context(published(words, world, server.port, pem))
        added = ("-4", "-p", str(server.port), "--nameserver", nameserver)
        outcome = run_in_shell(line, world, *added)
    assert server.faults == []
    return replace(outcome, stdout=seen_as(outcome.stdout, words, server.port))


def run_in_shell(line: str, world: World, *added: str) -> plugin.Outcome:
    """Run a command line, of which a shell makes the words, with some added."""
    environment = {"SSL_CERT_FILE": world.authority.path}
    command, _, arguments = line.partition(" ")
    if command != '"$0"':
        return plugin.run(*added, prefix=("sh", "-c", f'{line} "$@"'), environment=environment)
    made = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {arguments}"], capture_output=True, text=True, check=True
    )
    return plugin.run(*made.stdout.split("\0")[:-1], *added, environment=environment)


def masked(answer: str) -> str:
    """Return an answer without what differs from run to run: addresses, times, dates, bars."""
    answer = re.sub(r"\d+\.\d+\.\d+\.\d+", "ADDRESS", answer)
    answer = re.sub(r"\b\d+\.\d{3} (?=sec\. )", "# ", answer)  # as check_smtp writes it
    return masking.undated(masking.timeless(answer))
