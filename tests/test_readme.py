"""What is written for people is true: tables are the code's, commands run, answers are real."""

from __future__ import annotations

import configparser
import contextlib
import re
import shlex
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from check_smtp_health import __version__, errors, option_table, options, settings
from check_smtp_health.evaluation import FAILURES
from check_smtp_health.stages import NAMES
from tests import needs, plugin
from tests.servers.authority import Authority, self_signed
from tests.servers.name_server import Answer, NameServer
from tests.servers.roundtrip import LOGIN as MAILBOX_LOGIN
from tests.servers.roundtrip import WHOLE, named
from tests.servers.scripted import (
    Expect,
    Handshake,
    Message,
    ScriptedServer,
    Sleep,
    Step,
    Swallow,
    Tagged,
)
from tests.test_rooms import LEAVES, MAY_IMPORT

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
NAGIOS = (ROOT / "contrib" / "nagios-commands.cfg").read_text()
FAULTS = (ROOT / "docs" / "faults.md").read_text()
ICINGA = (ROOT / "contrib" / "icinga2-commands.conf").read_text()
NRPE = (ROOT / "contrib" / "nrpe.cfg").read_text()
MRPE = (ROOT / "contrib" / "mrpe.cfg").read_text()

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

GREETING = (
    Expect(b""),
    b"250-mx.example.org\r\n250-SIZE 30000000\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n",
)

SECOND, SECOND_ADDRESS = "mx2.example.org", "127.0.0.2"
"""The host that refuses everybody; its address where it stands beside the other one."""

PASSWORD = "s3cret"

ASKING_DNS = {"--mx", "--dnsbl", "--reverse", "--dane", "--mta-sts"}

LOGIN = b"AUTH PLAIN AG1vbml0b3IAczNjcmV0\r\n"
"""The user ``monitor`` and that password in the words of RFC 4616."""


class World(NamedTuple):
    """What stands behind the README's hosts and files: a folder, and who vouches for the hosts."""

    folder: Path
    authority: Authority


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return a world with a password file."""
    folder = tmp_path_factory.mktemp("world")
    password = folder / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o640)
    return World(folder, Authority.made(folder, "Private CA"))


def script(words: list[str], host: str, certificate: ssl.SSLContext) -> tuple[Step, ...]:
    """Return what the server does on a host of the README, as far as the command asks for it."""
    if host.startswith("/"):
        return LMTP
    if host == SECOND:
        return REFUSING
    starttls = (Expect(b"STARTTLS"), b"220 2.0.0 Ready\r\n", Handshake(certificate), *GREETING)
    auth = (Expect(LOGIN), b"235 2.7.0 Accepted\r\n")
    return (
        *((Expect(b"PROXY TCP4 "),) if "-r" in words else ()),
        *((Handshake(certificate),) if "--ssl" in words else ()),
        # This makes the banner the slowest stage beyond doubt.
        Sleep(0.1),
        b"220 mx.example.org ESMTP Postfix\r\n",
        *GREETING,
        *(starttls if "-S" in words else ()),
        *(auth if "-U" in words else ()),
        *transaction(words),
        *QUIT,
    )


def transaction(words: list[str]) -> tuple[Step, ...]:
    """Return what the server does between MAIL and RSET: it takes its own recipients."""
    given = dict(zip(words, words[1:]))
    size = f" SIZE={given['--size']}" if "--size" in given else ""
    steps: list[Step] = [
        Expect(f"MAIL FROM:<{given.get('-f', '')}>{size}\r\n".encode()),
        b"250 2.1.0 Ok\r\n",
    ]
    for option, address in zip(words, words[1:]):
        if option in ("--rcpt", "--no-relay"):
            steps.append(Expect(f"RCPT TO:<{address}>\r\n".encode()))
        elif option == "-C":
            steps.append(Expect(f"{address}\r\n".encode()))
        else:
            continue
        is_refused = option == "--no-relay"
        steps.append(b"554 5.7.1 Relay access denied\r\n" if is_refused else b"250 2.1.5 Ok\r\n")
    if "--deliver" in words:
        return (*steps, Expect(b"DATA\r\n"), b"354 Go\r\n", Message(), b"250 2.0.0 Ok: queued\r\n")
    is_begun = {"-f", "--size", "--rcpt", "--no-relay"} & set(words)
    return (*steps, Expect(b"RSET\r\n"), b"250 2.0.0 Ok\r\n") if is_begun else ()


def mailbox(world: World) -> tuple[Step, ...]:
    """Return what the server does in whose mailbox the message is."""
    login = Tagged(f'LOGIN monitor "{PASSWORD}"\r\n'.encode(), b"TAG OK in\r\n")
    steps = tuple(login if step is MAILBOX_LOGIN else step for step in WHOLE)
    return (Handshake(world.authority.serving("localhost")), *steps)


def blocks(language: str, text: str = README) -> list[str]:
    """Return the code blocks of that language, by default all of the README's."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


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


def shell_lines() -> list[str]:
    """Return the lines that run the plugin, sample answers left out."""
    return [
        line
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("check_smtp_health")
    ]


def samples() -> list[tuple[str, str]]:
    """Return each command that is shown with its answer."""
    return [
        (command, answer)
        for block in blocks("console")
        for command, answer in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)+)", block, re.MULTILINE)
    ]


@contextlib.contextmanager
def published(words: list[str], world: World, port: int, pem: str) -> Iterator[str]:
    """Publish what a command asks DNS and the web for; yield the resolver's address."""
    domain, host, address, policy = "example.org", "mx.example.org", "127.0.0.1", "127.0.0.43"
    (certificate,) = x509.load_pem_x509_certificates(Path(pem).read_bytes())
    digest = certificate.fingerprint(hashes.SHA256()).hex()
    answers = {
        (domain, "MX"): f"MX 10 {host}.",
        (host, "A"): f"A {address}",
        ("1.0.0.127.in-addr.arpa", "PTR"): f"PTR {host}.",
        (f"_{port}._tcp.{host}", "TLSA"): f"TLSA 3 0 1 {digest}",
        (f"_mta-sts.{domain}", "TXT"): 'TXT "v=STSv1; id=1"',
        (f"mta-sts.{domain}", "A"): f"A {policy}",
        **{
            (f"2.0.0.127.{zone.partition('/')[0]}", "A"): "A 127.0.0.2"
            for option, zone in zip(words, words[1:])
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


def run(line: str, world: World, certificate: ssl.SSLContext | None = None) -> plugin.Outcome:
    """Run a command line of the README in a shell, with a server of ours in place of its host.

    The authority is one of the system's; ``certificate`` is the server's where a good one of the
    host would not do.
    """
    words = shlex.split(line)
    host = words[words.index("-H") + 1]
    if ASKING_DNS & set(words):
        return run_with_names(line, words, world)
    path = str(Path(tempfile.mkdtemp(dir=world.folder)) / "socket") if host[0] == "/" else ""
    certificate = certificate or world.authority.serving(*(() if path else (host,)), days=59)
    line = re.sub(r"(?<=-H )(\S+)", path or "localhost", line)
    line = re.sub(r"(?<=pass-file )(\S+)", shlex.quote(f"{world.folder}/password"), line)
    line = line.replace("check_smtp_health", '"$0"', 1)
    server = ScriptedServer(script(words, host, certificate), path=path)
    box = ScriptedServer(mailbox(world), edit=named(server))
    with server.running(), box.running():
        line = line.replace("@mail.example.org", f"@localhost:{box.port}")
        where = () if path else ("-4", "-p", str(server.port))
        name = () if path or "--sni" in words else ("--sni", host)
        outcome = plugin.run(
            *where,
            *name,
            prefix=("sh", "-c", f'{line} "$@"'),
            environment={"PYTHONIOENCODING": "utf-8", "SSL_CERT_FILE": world.authority.path},
        )
    assert (server.faults, box.faults, box.connections) == ([], [], line.count("--mailbox "))
    return outcome


def run_with_names(line: str, words: list[str], world: World) -> plugin.Outcome:
    """Run a command line that is about what name servers say: with one of ours."""
    host = "mx.example.org"
    line = line.replace("check_smtp_health", '"$0"', 1)
    pem = world.authority.written(world.folder / "mx.pem", host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = ScriptedServer(script(words, host, context))
    with contextlib.ExitStack() as stack:
        stack.enter_context(server.running())
        if "--min-healthy" in words:
            second = ScriptedServer(REFUSING, address=SECOND_ADDRESS, port=server.port)
            stack.enter_context(second.running())
        nameserver = stack.enter_context(published(words, world, server.port, pem))
        outcome = plugin.run(
            *("-4", "-p", str(server.port), "--nameserver", nameserver),
            prefix=("sh", "-c", f'{line} "$@"'),
            environment={"SSL_CERT_FILE": world.authority.path},
        )
    assert server.faults == []
    return outcome


def masked(answer: str) -> str:
    """Return an answer without what differs from run to run: address, port, times, dates, bars."""
    answer = re.sub(r"\d+\.\d+\.\d+\.\d+", "ADDRESS", answer)
    answer = re.sub(r"\S+:\d+ \[ADDRESS\]", "TARGET", answer)
    answer = re.sub(r"\d+\.(\d{6}|\d{3})(?!\d)", "#", answer)
    answer = re.sub(r"\d{4}-\d\d-\d\d", "DATE", answer)
    return re.sub(" *█+ *", " █ ", answer)


def test_stages() -> None:
    assert [coded(row[0]) for row in table(README, "Stages")] == [[name] for name in NAMES]


def test_states() -> None:
    defaults = settings.build(options.read(["-H", "mx.example.org"]), (), "")
    chosen = {"-t": defaults.timeout_state, "--tempfail": defaults.tempfail, "-c": "critical"}
    assert [(kind, state) for kind, _, state, _ in table(README, "States")] == [
        (f"`{kind}`", chosen.get(word, word).upper()) for kind, word in FAILURES.items()
    ]


def test_the_option_that_changes_a_state_is_named() -> None:
    named = {
        kind.strip("`"): [words.split()[0] for words in coded(todo)]
        for kind, _, _, todo in table(README, "States")
    }
    changed = {kind: word for kind, word in FAILURES.items() if word.startswith("-")}
    assert [kind for kind, option in changed.items() if option not in named[kind]] == []


def test_faults() -> None:
    peer = [fault.__name__ for fault in errors.PeerFault.__subclasses__()]
    ours = [
        fault.__name__
        for parent in (errors.CheckFault, errors.SessionFault)
        for fault in parent.__subclasses__()
        if fault not in (errors.SessionFault, errors.PeerFault)
    ]
    named = coded(section(README, "Errors in the code"))
    assert named == ["CheckFault", *ours, "PeerFault", *peer]


def test_differences() -> None:
    measured = {
        (server, theirs, ours)
        for title in re.findall(r"^## (.*)$", FAULTS, re.MULTILINE)
        for server, _, ours, theirs, _ in table(FAULTS, re.escape(title))
    }
    rows = table(README, "Coming from check_smtp")
    # In docs/faults.md the options have a column of their own.
    told = [(re.sub(r", with `-S`.*", "", server), *answers) for server, *answers in rows]
    assert [row for row in told if row not in measured] == []
    assert len(told) > 20
    judged = r"judged \d+ of \d+ rightly"
    assert re.findall(judged, README) == re.findall(judged, FAULTS) != []


def test_every_option_exists() -> None:
    text = re.sub(r"^```sh\n.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    text = "\n".join([text, *shell_lines()])
    flags = {
        flag
        for word in re.findall(r"(?<![\w-])--?[A-Za-z0-9][\w-]*", text)
        for flag in ([word] if word.startswith("--") else [f"-{letter}" for letter in word[1:]])
    }
    assert flags - {flag for option in option_table.OPTIONS for flag in option.flags} == set()
    assert {"-H", "--require", "-v"} <= flags


@pytest.mark.parametrize("line", shell_lines())
def test_a_command_does_what_it_shall(line: str, world: World) -> None:
    outcome = run(line, world)
    assert (outcome.code, outcome.stdout[:10], outcome.stderr) == (0, "SMTP OK - ", "")


@pytest.mark.parametrize(("line", "answer"), samples(), ids=[line for line, _ in samples()])
def test_an_answer_is_real(line: str, answer: str, world: World) -> None:
    outcome = run(line, world)
    assert (masked(outcome.stdout), outcome.stderr) == (masked(answer), "")
    assert outcome.code == STATES.index(answer.split()[1])


def test_thresholds() -> None:
    words = coded(section(README, "Thresholds"))
    ranges = [word for word in words if re.search(r"\d", word)]
    assert len(ranges) == 5
    for given in ranges:
        chosen = options.read(["-H", "mx.example.org", "-w", given])
        assert settings.build(chosen, (*NAMES, "time"), "").warning


def certificates(world: World, folder: Path) -> dict[str, ssl.SSLContext]:
    """Return a server's context for each row of the table of certificates."""
    name = "mx.example.org"
    serving = world.authority.serving
    return {
        "runs out in less than 14 days": serving(name, days=11),
        "runs out in less than 3 days": serving(name, days=1),
        "has expired": serving(name, days=-3),
        "is not valid yet": serving(name, since=3),
        "is for another name": serving("mail.example.org"),
        "comes from an authority that is not trusted here, or without its intermediate "
        "certificates": Authority.made(folder, "Private CA").serving(name),
        "vouches for itself": self_signed(folder, name),
    }


def test_certificates(world: World, tmp_path: Path) -> None:
    rows = table(README, "Certificates")
    contexts = certificates(world, tmp_path)
    assert [row[0] for row in rows] == list(contexts)
    for certificate, state, said in rows:
        outcome = run("check_smtp_health -H mx.example.org -S", world, contexts[certificate])
        after = " (after # s)" if "tls: " in said else ""
        assert masked(outcome.line) == masked(
            f"SMTP {state} - localhost:25 [127.0.0.1] {said.strip('`')}{after}"
        )
        assert outcome.code == STATES.index(state)


def nagios_checks() -> list[str]:
    """Return each check_command of the README and of the comments of our commands."""
    lines = re.findall(r"^(?:# )?  check_command +(check_\w+!.*)$", README + NAGIOS, re.MULTILINE)
    return [line for line in lines if not line.startswith("check_nrpe!")]


@pytest.mark.parametrize("command", nagios_checks())
def test_nagios_service(command: str, world: World) -> None:
    name, *arguments = command.split("!")
    lines = dict(re.findall(r"^  command_name +(.*)\n  command_line +(.*)$", NAGIOS, re.MULTILINE))
    host = (re.findall(r"\w+\.example\.org", command) or [""])[-1]
    line = lines[name].replace("$USER1$/", "").replace("$HOSTADDRESS$", host)
    for number, argument in enumerate(arguments, 1):
        assert f"$ARG{number}$" in line
        line = line.replace(f"$ARG{number}$", argument)
    assert "$" not in line
    outcome = run(line, world)
    assert (outcome.code, outcome.stdout[:10], outcome.stderr) == (0, "SMTP OK - ", "")


def test_nagios_commands_that_are_named_exist() -> None:
    defined = re.findall(r"^  command_name +(.*)$", NAGIOS, re.MULTILINE)
    assert set(re.findall(r"\bcheck_\w+_health\b", README)) <= set(defined)


def agents_checks() -> dict[str, str]:
    """Return the command line of each check that NRPE or Checkmk's agent is to run, by its name."""
    nrpe = re.findall(r"^command\[(\w+)\]=(.*)$", NRPE, re.MULTILINE)
    mrpe = re.findall(r"^([^\s#]\S*) (?:\(interval=\d+\) )?(/.*)$", MRPE, re.MULTILINE)
    lines = [*NRPE.splitlines(), *MRPE.splitlines()]
    assert len(nrpe + mrpe) == len([line for line in lines if line and line[0] != "#"])
    return dict(nrpe + mrpe)


@pytest.mark.parametrize("name", agents_checks())
def test_check_of_an_agent(name: str, world: World) -> None:
    plugins, _, line = agents_checks()[name].rpartition("/check_smtp_health")
    assert plugins == "/usr/lib/nagios/plugins"
    assert "'" not in line  # Checkmk's agent has the line between single quotes
    outcome = run(f"check_smtp_health{line}", world)
    assert (outcome.code, outcome.stdout[:10], outcome.stderr) == (0, "SMTP OK - ", "")


def test_checks_of_agents_that_are_named_exist() -> None:
    named = re.findall(r"\bcheck_nrpe!(\w+)|\bnrpe_command = \"(\w+)\"", README + NRPE)
    assert named
    assert {one or other for one, other in named} <= set(agents_checks())


def test_icinga_services() -> None:
    (block,) = blocks("icinga2", section(README, "Use it"))
    (domain,) = blocks("icinga2", section(README, "Watch a mail domain in one service"))
    defined = set(re.findall(r'^object CheckCommand "(.*)"', ICINGA, re.MULTILINE))
    commands = re.findall(r'check_command = "(smtp.*)"', README)
    assert set(commands) <= defined
    # The same example is in the file itself, among others, and Icinga validates it there.
    comment = ICINGA.partition(" */")[0]
    example = "\n".join(re.findall(r"^ \*(?:\t(.*))?$", comment, re.MULTILINE)).strip("\n")
    example = example.replace("\t", "  ")
    imported = '  import "generic-service"\n'
    assert example.startswith(block.replace(imported, "").strip("\n"))
    assert domain.replace(imported, "") in example
    used = set(re.findall(r"^  vars\.(\w+) =", example, re.MULTILINE))
    named = set(re.findall(r"\b(?:smtp_health_\w+)", README)) - defined
    assert used
    variables = set(re.findall(r"\$(smtp_health_\w+)\$", ICINGA))
    assert (used | named) - {*variables, *commands} == set()


def test_extras() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = re.findall(r"pip install '\.\[([\w,]+)\]'", README)
    assert [set(extras.split(",")) - set(setup["options.extras_require"]) for extras in named] == [
        set()
    ]


def test_rooms() -> None:
    listed = {
        name: {
            word
            for cell in re.split(", ", allowed)
            for word in (LEAVES if cell == "the leaves" else coded(cell))
        }
        for names, allowed in table(CONTRIBUTING, "Rooms")
        for name in coded(names)
    }
    # A package that imports nothing is a folder, not a room.
    folders = {
        name for name, allowed in MAY_IMPORT.items() if name.endswith("__init__") and not allowed
    }
    assert listed == {
        name.removesuffix(".__init__"): {
            other.removesuffix(".__init__") for other in allowed - folders
        }
        for name, allowed in MAY_IMPORT.items()
        if name not in folders
    }


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_what_is_pointed_at_exists(text: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", text)
    titles = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    headings = {title.lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - headings == set()
    paths = [
        word for word in coded(text) if re.fullmatch(r"(tests|contrib|docs|\.ci)/[\w./-]+", word)
    ]
    assert [path for path in links + paths if not (ROOT / path).exists()] == []
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE)) - set(targets) == set()


def test_the_changelog_is_about_this_version() -> None:
    (version, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version == __version__
