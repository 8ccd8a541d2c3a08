"""Wrong usage says what would be right, for the mistakes that people make, and sends nothing."""

from __future__ import annotations

import errno

import pytest

from check_smtp_health.config import getopt, remedies
from check_smtp_health.errors import UsageFault
from tests import command_line, plugin

HOST = ("-H", "127.0.0.1")
BOX = ("--rcpt", "a@x", "--deliver", "--mailbox", "imaps://me@x")

ROWS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((), "no host given, use -H HOST (try --help)"),
    (("--starttl", *HOST), "unknown option '--starttl', did you mean --starttls?"),
    (("--insecure", *HOST), "unknown option '--insecure', did you mean --no-verify?"),
    (("--insecure=yes", *HOST), "unknown option '--insecure', did you mean --no-verify?"),
    (("--hostnaem", "a"), "unknown option '--hostnaem', did you mean --hostname?"),
    (("--no-realy", "a@b", *HOST), "unknown option '--no-realy', did you mean --no-relay?"),
    (("--no-rel", "a@b", *HOST), "unknown option '--no-rel', did you mean --no-relay?"),
    (("--password", "x", *HOST), "unknown option '--password', did you mean --authpass-file?"),
    (("--json", *HOST), "unknown option '--json', did you mean --output-format json?"),
    (("--lunch", *HOST), "unknown option '--lunch'"),
    (("--auth", "x", *HOST), "'--auth' may be --authtype, --authuser, --authpass"),
    (("--ver", *HOST), "'--ver' may be --verbose, --version"),
    (("-w", "5", "1"), "-w takes one value, use -w 1 -c 5"),
    (("-w", "1", "5", *HOST), "-w takes one value, use -w 1 -c 5"),
    (("-c", "5", "1.5", *HOST), "-c takes one value, use -w 1.5 -c 5"),
    (("--warning=1", "5", *HOST), "--warning takes one value, use -w 1 -c 5"),
    (("-w", "1:", "5", *HOST), "-w takes one value, '5' is one too many"),
    (("-t", "10", "5", *HOST), "-t takes one value, '5' is one too many"),
    (("-D", "30", "14", *HOST), "-D takes one value, use -D 30,14"),
    (("-H", "[::1]:25"), "-H: '[::1]:25' holds a port, use -H ::1 -p 25"),
    (("-H", "mx.example:25"), "-H: 'mx.example:25' holds a port, use -H mx.example -p 25"),
    (("-H", "smtp://mail"), "-H: 'smtp://mail' is a URL, use -H mail"),
    (("-H", "smtp://mail/"), "-H: 'smtp://mail/' is a URL, use -H mail"),
    (("-H", "smtps://mail"), "-H: 'smtps://mail' is a URL, use -H mail --ssl"),
    (("-H", "smtp://mail:587/x"), "-H: 'smtp://mail:587/x' is a URL, use -H mail -p 587"),
    (("-H", "smtp://[::1]:587"), "-H: 'smtp://[::1]:587' is a URL, use -H [::1] -p 587"),
    (("-H", "smtps://me:pw@mail"), "-H: 'smtps://***@mail' is a URL, use -H mail --ssl"),
    (("-H", "a,b"), "-H: 'a,b' is more than one host, repeat -H"),
    (("-H", "a, b"), "-H: 'a, b' is more than one host, repeat -H"),
    (
        ("-H", "me@example.org"),
        "-H: 'me@example.org' is a mail address, use -H example.org --mx",
    ),
    (
        ("-H", "me:pw@example.org"),
        "-H: '***@example.org' is a mail address, use -H example.org --mx",
    ),
    (("-H", "http://a|b"), "-H: 'http://a\\x7cb' is a URL, use -H a\\x7cb"),
    (("-H", "http://a\nb"), "-H: 'http://a\\x0ab' is a URL, use -H a\\x0ab"),
    (("-H", "a|\x1b:smtp"), "-H: 'a\\x7c\\x1b:smtp' holds a port, use -H a\\x7c\\x1b -p smtp"),
    ((*HOST, "-p=1|\n"), "-p: '=1\\x7c\\x0a' is not a port (1 to 65535), write -p 1\\x7c\\x0a"),
    (("a", "b"), "unexpected argument 'b', repeat -H for several hosts"),
    (("-H", "a", "b"), "unexpected argument 'b', repeat -H for several hosts"),
    ((*HOST, "-w", "500ms"), "-w: '500ms' is not a threshold range, write 0.5"),
    ((*HOST, "-w", "1s"), "-w: '1s' is not a threshold range, write 1"),
    ((*HOST, "-c", "1.5 sec"), "-c: '1.5 sec' is not a threshold range, write 1.5"),
    ((*HOST, "-c", "@1s:2min"), "-c: '@1s:2min' is not a threshold range, write @1:120"),
    ((*HOST, "-w", "helo=200ms"), "-w: '200ms' is not a threshold range, write 0.2"),
    ((*HOST, "-w", "1furlong"), "-w: '1furlong' is not a threshold range"),
    ((*HOST, "-t", "5s"), "-t: '5s' is not a number of seconds, write 5"),
    ((*HOST, "-t", "10s:ok"), "-t: '10s:ok' is not a number of seconds, write 10"),
    ((*HOST, "-t", "0,5"), "-t: '0,5' is not a number of seconds, write 0.5"),
    ((*HOST, "-t", "soon"), "-t: 'soon' is not a number of seconds"),
    (
        (*HOST, *BOX, "--delivery-timeout", "5m"),
        "--delivery-timeout: '5m' is not a number of seconds, write 300",
    ),
    ((*HOST, "-D", "36h,12h"), "-D: '36h,12h' is not a number of days W[,C], write 1.5,0.5"),
    ((*HOST, "-D", "14 3"), "-D: '14 3' is not a number of days W[,C]"),
    ((*HOST, "-w", "1 5"), "-w: '1 5' is not a threshold range"),
    ((*HOST, "-D", "2 weeks"), "-D: '2 weeks' is not a number of days W[,C], write 14"),
    (
        (*HOST, "-w", "0,5", "-c", "1,5"),
        "-w: time has two ranges, 0 and 5, write 0.5 (a point, no comma)",
    ),
    ((*HOST, "-r", "v3"), "-r: 'v3' is neither v1 nor v2"),
    (("-r", "v3", "mx.example"), "-r: 'v3' is neither v1 nor v2"),
    ((*HOST, "-S=yes"), "-S takes no value"),
    ((*HOST, "-vS=yes"), "-S takes no value"),
    (
        (*HOST, "--output-format", "xml"),
        "--output-format: 'xml' is not one of text, json, nagios, nsca, checkmk, "
        "openmetrics, icinga2",
    ),
    (
        (*HOST, "-C", "rcpt", "to:", "nobody@example.org", "-R", "550", "5.1.1"),
        "unexpected argument 'to:', put the value of -C in quotes",
    ),
    (
        ("mx.example", "-e", "220", "mx"),
        "unexpected argument 'mx', put the value of -e in quotes",
    ),
    (
        (*HOST, "-A", "XOAUTH2", *BOX),
        "-A: needs -U USER (it is for SMTP, a mailbox takes ;AUTH=XOAUTH2 in its URL)",
    ),
    ((*HOST, "-A", "XOAUTH2"), "-A: needs -U USER"),
    ((*HOST, "-p", "25", "--no-verify"), "--no-verify: needs TLS, add -S or --ssl"),
    ((*HOST, "-c", "healthy=2:"), "-c: this run does not measure healthy"),
    ((*HOST, "--min-healthy", "3"), "--min-healthy: asks for 3, but there is only one host"),
    (("-H", "mx", "-port", "25"), "unknown option '-port', did you mean --port?"),
    (("-H", "mx", "--start"), "unknown option '--start', did you mean --starttls?"),
    (("-H", "mx", "-ssl"), "unknown option '-ssl', did you mean --ssl?"),
    (("-hostname=mx",), "unknown option '-hostname', did you mean --hostname?"),
    (("\u2013S", "-H", "mx"), "'\u2013S' begins with a dash that is not '-'"),
    (("-H", "mx", "\u2014starttls"), "'\u2014starttls' begins with a dash that is not '-'"),
    (("-H", "\u201cmx\u201d"), "-H: '\u201cmx\u201d' is not a host name, did you mean mx?"),
    (("-H", "mx\u2013a"), "-H: 'mx\u2013a' is not a host name, IP address or socket path"),
    (("-H", "mx/"), "-H: 'mx/' is not a host name, did you mean mx?"),
    (("-H", "mx "), "-H: 'mx ' is not a host name, did you mean mx?"),
    (("-H", "mx:smtp"), "-H: 'mx:smtp' holds a port, use -H mx -p smtp"),
    (("-H", "192.0.2.0/24"), "-H: '192.0.2.0/24' is a network, use -H with one address"),
    (
        ("-H", "$HOSTADDRESS$"),
        "-H: '$HOSTADDRESS$' is not a host name, IP address or socket path, "
        "the engine has not replaced this macro",
    ),
    (
        (*HOST, "-f", "$ADMINEMAIL$"),
        "-f: '$ADMINEMAIL$' is not a value, the engine has not replaced this macro",
    ),
    (
        (*HOST, "--rcpt", "$_HOSTRCPT$"),
        "--rcpt: '$_HOSTRCPT$' is not a value, the engine has not replaced this macro",
    ),
    (
        (*HOST, "-C", "$ARG1$"),
        "-C: '$ARG1$' is not a value, the engine has not replaced this macro",
    ),
    ((*HOST, "--rcpt", "me@"), "--rcpt: 'me@' is not a mail address"),
    ((*HOST, "--no-rcpt", "<@c.example>"), "--no-rcpt: '<@c.example>' is not a mail address"),
    (
        (*HOST, "--no-relay", "me"),
        "--no-relay: 'me' has no domain, so no server would relay it",
    ),
    (
        ("-H", "fe80::1"),
        "-H: 'fe80::1' needs its interface, as in fe80::1%eth0",
    ),
    (
        ("-H", "submission://mx.example.org"),
        "-H: 'submission://mx.example.org' is a URL, use -H mx.example.org -p 587",
    ),
    (
        ("-H", "lmtp://mx.example.org:2424/"),
        "-H: 'lmtp://mx.example.org:2424/' is a URL, use -H mx.example.org -p 2424",
    ),
    (
        (*HOST, "check_smtp_health"),
        "unexpected argument 'check_smtp_health', leave out the name of the program",
    ),
    ((*HOST, "#", "ours"), "unexpected argument '#', a comment is a line of its own"),
    ((*HOST, "-v", "2"), "unexpected argument '2', -v takes no value"),
    ((*HOST, "--dane", "on"), "unexpected argument 'on', --dane takes no value"),
    ((*HOST, "mx2.example"), "unexpected argument 'mx2.example', repeat -H for several hosts"),
    ((*HOST, "=5"), "unexpected argument '=5'"),
    (
        ("-H", "mx", "-w", "$ARG1$"),
        "-w: '$ARG1$' is not a threshold range, the engine has not replaced this macro",
    ),
    (("-H", "mx", "-p=25"), "-p: '=25' is not a port (1 to 65535), write -p 25"),
    (("-H", "mx", "-t=5"), "-t: '=5' is not a number of seconds, write -t 5"),
    (
        ("-H", "mx", "-p", "smtps"),
        "-p: 'smtps' is not a port (1 to 65535), did you mean submissions?",
    ),
    (("-H", "mx", "-p", "smpt"), "-p: 'smpt' is not a port (1 to 65535), did you mean smtp?"),
    (("-H", "mx", "-c", "conect=5"), "-c: 'conect' is not a stage, did you mean connect?"),
    (("-H", "mx", "-w", "Banner=5"), "-w: 'Banner' is not a stage, did you mean banner?"),
    (("mx", "587", "-S"), "unexpected argument '587', use -p 587"),
    (("mx", "-p", "25", "587"), "-p takes one value, '587' is one too many"),
    (
        ("-H", "mx", "-w", "5,10"),
        "-w: time has two ranges, 5 and 10, use -w 5 -c 10, or -w 5.10 with a point",
    ),
    (("-H", "mx", "-w", "5-10"), "-w: '5-10' is not a threshold range, write 5:10"),
    (("-H", "mx", "-w", "5..10"), "-w: '5..10' is not a threshold range"),
    (
        ("-H", "mx", "-t", "10:warn"),
        "-t: 'warn' is not a state (ok, warning, critical, unknown), did you mean warning?",
    ),
    (
        ("-H", "mx", "--state", "silent:ok"),
        "--state: 'silent:ok' is not NAME=STATE, write silent=ok",
    ),
    (
        ("-H", "mx", "--require", "auth plain"),
        "--require: 'auth plain' is not an EHLO keyword, write AUTH=PLAIN",
    ),
    (
        ("-H", "mx", "--rcpt", "a@x,b@x"),
        "--rcpt: 'a@x,b@x' is more than one address, repeat --rcpt",
    ),
    (("-H", "mx", "-f", "a@x, b@x"), "-f: 'a@x, b@x' is more than one address, use one of them"),
)


@pytest.mark.parametrize(("arguments", "problem"), ROWS, ids=[" ".join(row[0]) for row in ROWS])
def test_what_would_be_right(arguments: tuple[str, ...], problem: str) -> None:
    assert command_line.problem(*arguments) == problem


@pytest.mark.parametrize(
    ("name", "port"), [("smtp", 25), ("submission", 587), ("Submissions", 465), ("lmtp", 24)]
)
def test_ports_have_names(name: str, port: int) -> None:
    assert command_line.settings("-H", "mx.example", "-p", name).endpoint.port == port


@pytest.mark.parametrize("given", [("-w", "", "-c", ""), ("-w", ""), ("--warning=", "-c", "")])
def test_no_value_is_no_range(given: tuple[str, ...]) -> None:
    limits = command_line.settings("-H", "mx.example", *given).judging.limits
    assert (limits.warning, limits.critical) == ({}, {})


@pytest.mark.parametrize(
    ("given", "name"),
    [
        *(("--warn", "warning"), ("--w", "warning"), ("--crit", "critical"), ("--time", "timeout")),
        *(("--host", "hostname"), ("--exp", "expect"), ("--resp", "response"), ("--fq", "fqdn")),
        *(("--comm", "command"), ("--authu", "authuser"), ("--authpas", "authpass")),
        *(("--fro", "from"), ("--po", "port"), ("--certif", "certificate")),
        # What is written in full is no abbreviation, whoever has it.
        *(("--cert", "cert"), ("--source", "source")),
    ],
)
@pytest.mark.parametrize("form", ["{}={}", "{} {}"])
def test_prefixes_of_check_smtps_options(given: str, name: str, form: str) -> None:
    options = getopt.read(form.format(given, "7").split())
    assert (options.fault, options.last(name), options.flag(name)) == (None, "7", given)


def test_as_a_process() -> None:
    done = plugin.run("-H", "127.0.0.1", "-w", "500ms")
    assert (done.code, done.stderr) == (3, "")
    assert done.stdout == "SMTP UNKNOWN - -w: '500ms' is not a threshold range, write 0.5\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (OSError(errno.EMFILE, "whatever"), "too many open files"),
        (UsageFault("port", "is wrong"), "is wrong"),
    ],
)
def test_what_ended_a_run_is_explained(error: Exception, said: str) -> None:
    assert remedies.explained(error, None) == said
