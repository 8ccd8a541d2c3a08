"""Bad input: one line on standard output that says what is wrong, exit 3, and nothing is sent."""

from __future__ import annotations

import pytest

from check_smtp_health import __version__
from check_smtp_health.errors import UsageFault
from tests import command_line, plugin
from tests.servers.scripted import Hang, ScriptedServer

STAGES = (
    "token, resolve, connect, tls, banner, helo, starttls, auth, mail, rcpt, relay, command, data, "
    "quit, delivery, time, dnsbl or healthy"
)

TO = ("--rcpt", "a@x")
SENT = (*TO, "--deliver")
SOUGHT = (*SENT, "--mailbox", "imap://me@x")
NO_SCHEME = "--mailbox: must begin with one of imap://, imaps://, pop3://, pop3s://"
WITH_PASSWORD = (
    "--mailbox: contains a password, which everybody could see: use --mailbox-pass-file FILE "
    "(a ':' in a user name is %3A, a '/' %2F)"
)

TO_API = ("--output-format", "icinga2", "--output-to")
WITH_CONTROL = "the password contains a control character, such as a line break"

TABLE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("-w", "abc"), "-w: 'abc' is not a threshold range"),
    (("--warning", "abc"), "--warning: 'abc' is not a threshold range"),
    (("--warning=abc",), "--warning: 'abc' is not a threshold range"),
    (("-c", "1:2:3"), "-c: '1:2:3' is not a threshold range"),
    (("-c", "@"), "-c: '@' is not a threshold range"),
    (("-c", "@:"), "-c: '@:' is not a threshold range"),
    (("-c", "~"), "-c: '~' is not a threshold range"),
    (("-c", "9" * 5000), f"-c: '{'9' * 80}...' is not a threshold range"),
    (("-c", "1_000"), "-c: '1_000' is not a threshold range"),
    (("-c", "\u0663"), "-c: '\u0663' is not a threshold range"),
    (("-c", "1e3"), "-c: '1e3' is not a threshold range"),
    (("-c", "nan"), "-c: 'nan' is not a threshold range"),
    (("-c", "5ms"), "-c: '5ms' is not a threshold range, write 0.005"),
    (("-w=5",), "-w: write -w 5, without '='"),
    (("-w", "/root:5"), "-w: '/root:5' is not a threshold range (quote '~:N' in the shell)"),
    (
        ("-w", "9:3"),
        "-w: '9:3' is not a threshold range: its start, 9, is above its end, 3",
    ),
    (
        ("-w", "-5"),
        "-w: '-5' is not a threshold range: its start, 0, is above its end, -5",
    ),
    (
        ("-w", "lunch=3"),
        f"-w: 'lunch' is not a stage ({STAGES})",
    ),
    (("-w", "helo=1,2,helo=3"), "-w: helo has two ranges, 1 and 3"),
    (("-c", "1", "-c", "2"), "-c: time has two ranges, 1 and 2"),
    (("-c", "1,"), "-c: '' is not a threshold range"),
    (("-c", "helo=1,"), "-c: '' is not a threshold range"),
    (("-p", "99999"), "-p: '99999' is not a port (1 to 65535)"),
    (("-p", "0"), "-p: '0' is not a port (1 to 65535)"),
    (("-p", "https"), "-p: 'https' is not a port (1 to 65535)"),
    (("--port", "-25"), "--port: '-25' is not a port (1 to 65535)"),
    (("-t", "abc"), "-t: 'abc' is not a number of seconds"),
    (("-t", "nan"), "-t: 'nan' is not a number of seconds"),
    (("-t", "1e9"), "-t: '1e9' is not a number of seconds"),
    (("-t", "-1"), "-t: '-1' is not a number of seconds"),
    (("-t", ""), "-t: '' is not a number of seconds"),
    (("-t", "0"), "-t: '0' is not between 0.001 and 86400 seconds"),
    (("-t", "0.0"), "-t: '0.0' is not between 0.001 and 86400 seconds"),
    (("-t", "86401"), "-t: '86401' is not between 0.001 and 86400 seconds"),
    (("-t", "5:bad"), "-t: 'bad' is not a state (ok, warning, critical, unknown)"),
    (("-t", "5:"), "-t: '' is not a state (ok, warning, critical, unknown)"),
    (
        ("--print-definition", "checkmk"),
        "--print-definition: 'checkmk' is not one of icinga2, director, nagios, nrpe",
    ),
    (
        ("--print-definition", ""),
        "--print-definition: '' is not one of icinga2, director, nagios, nrpe",
    ),
    *(
        (("--control", given), f"--control: '{given}' is not HOST or HOST:PORT")
        for given in ("", "a b", "a.example:", "a.example:0", "a.example:x", "a:1:2", "/run/smtp")
    ),
    *(
        (("--control", given), f"--control: '{given}' is not HOST or HOST:PORT")
        for given in ("[::1]25", "[::1", "[::1]:99999", "256.1.1.1")
    ),
    (("--state", ""), "--state: '' is not NAME=STATE"),
    (("--state", "greylisted"), "--state: 'greylisted' is not NAME=STATE"),
    (("--state", "=ok"), "--state: '=ok' is not NAME=STATE"),
    (
        ("--state", "greylisted=fine"),
        "--state: 'fine' is not a state (ok, warning, critical, unknown)",
    ),
    (
        ("--state", "grey-listed=ok"),
        "--state: 'grey-listed' is not a cause or kind of failure, did you mean greylisted?",
    ),
    (
        ("--state", "disk_full=ok"),
        "--state: 'disk_full' is not a cause or kind of failure, did you mean disk-full?",
    ),
    (
        ("--state", "timeout=ok"),
        "--state: 'timeout' is not a cause or kind of failure, did you mean timed_out?",
    ),
    (("--state", "xyzzy=ok"), "--state: 'xyzzy' is not a cause or kind of failure"),
    (("--state", "silent=ok,silent=ok"), "--state: silent is given twice"),
    (("--tempfail", "4"), "--tempfail: '4' is not a state (ok, warning, critical, unknown)"),
    (("--tempfail", ""), "--tempfail: '' is not a state (ok, warning, critical, unknown)"),
    (
        ("-H", "a", "-H", "b", "--min-healthy", "4"),
        "--min-healthy: asks for 4, but there are only 3 hosts",
    ),
    (("--min-healthy", "3"), "--min-healthy: asks for 3, but there is only one host"),
    (("--min-healthy", "0"), "--min-healthy: '0' is not a number of targets"),
    (("--mx",), "--mx: '127.0.0.1' is an IP address, a domain is needed"),
    (("--all-addresses",), "--all-addresses: '127.0.0.1' is an IP address, a domain is needed"),
    (("--nameserver", "ns.example"), "--nameserver: 'ns.example' is not ADDRESS or ADDRESS:PORT"),
    (("--nameserver", "192.0.2.1:0"), "--nameserver: '0' is not a port (1 to 65535)"),
    (
        ("--nameserver", "2001:db8::x:53"),
        "--nameserver: '2001:db8::x:53' is not ADDRESS or ADDRESS:PORT",
    ),
    (("--nameserver", "[::1"), "--nameserver: '[::1' is not ADDRESS or ADDRESS:PORT"),
    (("--dnsbl", "a..b"), "--dnsbl: 'a..b' is not a DNS zone"),
    (("--dnsbl", "zen.example/here"), "--dnsbl: 'here' is neither an IP address nor a domain"),
    (("--dnsbl", "zen.example/"), "--dnsbl: '' is neither an IP address nor a domain"),
    (
        ("--dnsbl", "zen.example/example..org"),
        "--dnsbl: 'example..org' is neither an IP address nor a domain",
    ),
    (
        ("--dnsbl", "zen.example/192.0.2.256"),
        "--dnsbl: '192.0.2.256' is neither an IP address nor a domain",
    ),
    (("--dnsbl", "zen.example="), "--dnsbl: '' is not a list of codes, as in 127.0.0.[2;4..11]"),
    *(
        (
            ("--dnsbl", f"zen.example={codes}/192.0.2.1"),
            f"--dnsbl: '{codes}' is not a list of codes, as in 127.0.0.[2;4..11]",
        )
        for codes in (
            "127.0.0",
            "127.0.0.256",
            "127.0.0.[]",
            "127.0.0.[4..2]",
            "127.0.0.[2;]",
            "127.0.0.[2...4]",
            "127.0.0.2.3",
            "127.0.0.[2",
            "127.0.0.x",
            "127.0.0.2, 127.0.0.3",
        )
    ),
    (
        ("--dnsbl", "zen.example=127.0.0.2*3"),
        "--dnsbl: 'zen.example=127.0.0.2*3' has a weight, which only postscreen uses: leave it out",
    ),
    (
        ("--dnsbl", "KEY.zen.example"),
        "--dnsbl: 'KEY.zen.example' needs a key, use --dnsbl-key-file FILE",
    ),
    (
        ("--dnsbl", "zen.example", "--dnsbl-key-file", "x"),
        "--dnsbl-key-file: cannot read 'x': No such file or directory",
    ),
    (("--dnsbl-key-file", "x"), "--dnsbl-key-file: needs --dnsbl with the label KEY in its zone"),
    (("--expect-mx", "mx.example"), "--expect-mx: needs --mx"),
    (
        ("--dnsbl", "q7xk3m5n.zen.dq.spamhaus.net=127.0.0.999"),
        "--dnsbl: '127.0.0.999' is not a list of codes, as in 127.0.0.[2;4..11]",
    ),
    (
        ("--dnsbl", "q7xk3m5n..zen.dq.spamhaus.net"),
        "--dnsbl: '***..zen.dq.spamhaus.net' is not a DNS zone",
    ),
    (
        ("Q7xk3m5n.zen.dq.Spamhaus.net",),
        "unexpected argument '***.zen.dq.Spamhaus.net', repeat -H for several hosts",
    ),
    (
        ("--dnsbl", "zen.example/fe80::1%eth0"),
        "--dnsbl: 'fe80::1%eth0' is neither an IP address nor a domain",
    ),
    (("--dane",), "--dane: needs TLS, add -S or --ssl"),
    (("--dane", "-S", "--no-verify"), "--dane: cannot be combined with --no-verify"),
    (
        ("--dane", "-S"),
        "--dane: '127.0.0.1' is an IP address, a domain is needed, add --sni NAME",
    ),
    (("--mta-sts",), "--mta-sts: '127.0.0.1' is an IP address, a domain is needed"),
    (
        ("-e", "554", "--require", "SIZE"),
        "-e: after 554 nothing is asked, so --require has no effect",
    ),
    (("-e", "554", "-S"), "-e: after 554 nothing is asked, so -S has no effect"),
    (("--require", "AUTH=a|b"), "--require: 'AUTH=a\\x7cb' is not an EHLO keyword"),
    (
        ("--source", "fe80::1%a|b"),
        "--source: 'fe80::1%a\\x7cb' is not an IP address to connect from",
    ),
    (("-S", "--ssl"), "--ssl: cannot be combined with -S"),
    (("-H", "mx", "--ca-file", ""), "--ca-file: needs TLS, add -S or --ssl"),
    (("-H", "mx", "--tls-min", ""), "--tls-min: needs TLS, add -S or --ssl"),
    (("-H", "mx", "-S", "--tls-min", ""), "--tls-min: '' is not one of 1.0, 1.1, 1.2, 1.3"),
    (
        ("-H", "mx", "-4", "--control", "[::1]:25"),
        "--control: ::1 is never asked: this run uses IPv4 only",
    ),
    (("--sni=127.0.0.1", "-S"), "--sni: '127.0.0.1' is not a host name"),
    (("--sni", "https://mx", "-S"), "--sni: 'https://mx' is not a host name"),
    (("--sni", "mx:25", "-S"), "--sni: 'mx:25' is not a host name"),
    (("-S", "--tls-min", "1.4"), "--tls-min: '1.4' is not one of 1.0, 1.1, 1.2, 1.3"),
    (("-D", "soon"), "-D: 'soon' is not a number of days W[,C]"),
    (("-D", "1,2,3"), "-D: '1,2,3' is not a number of days W[,C]"),
    (("-S", "--key", "k"), "--key: needs --cert FILE"),
    (("--ehlo", "-L"), "--ehlo: cannot be combined with -L, which greets with LHLO"),
    (("-e", "554", "-w", "helo=1"), "-w: this run does not measure helo"),
    (
        ("-S", "--ca-file", "/nonexistent"),
        "--ca-file: cannot read '/nonexistent': No such file or directory",
    ),
    (("-S", "--ca-file", "/etc/passwd"), "--ca-file: '/etc/passwd' contains no certificate"),
    *(
        (("-S", flag, "/dev/tty"), f"{flag}: '/dev/tty' is not a regular file")
        for flag in ("--ca-file", "--cert")
    ),
    (
        ("-S", "--cert", "/etc/passwd", "--key", "/dev/tty"),
        "--key: '/dev/tty' is not a regular file",
    ),
    (("-S", "--ca-path", "/dev/null"), "--ca-path: '/dev/null' is not a directory"),
    (
        ("-S", "--cert", "/nonexistent"),
        "--cert: cannot read '/nonexistent': No such file or directory",
    ),
    (
        ("-S", "--cert", "/etc/passwd"),
        "--cert: '/etc/passwd' contains no matching certificate and key",
    ),
    (("-A", "PLAIN"), "-A: needs -U USER"),
    (("-P", "x"), "-P: needs -U USER"),
    (("--authpass-file", "x"), "--authpass-file: cannot read 'x': No such file or directory"),
    (("-U", "me"), "-U: needs a password, use --authpass-file FILE"),
    (("-U", "", "-P", "x"), "-U: '' is not a user name"),
    (
        ("-U", "me", "-P", "x\ny"),
        "-U: the password contains a control character, such as a line break",
    ),
    (("-U", "me\rx", "-P", "y"), "-U: 'me\\x0dx' is not a user name"),
    (
        ("-U", "me", "-P", "my", "password"),
        "one word too many, put the value of -P in quotes",
    ),
    (("-U", "me", "-P", ""), "-U: needs a password, use --authpass-file FILE"),
    (
        ("-U", "me", "-P", "x", "--authpass-file", "y"),
        "--authpass-file: cannot be combined with -P",
    ),
    (
        ("-U", "me", "-P", "x", "-A", "NTLM", "-S"),
        "-A: 'NTLM' is not one of SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN, XOAUTH2, "
        "OAUTHBEARER, EXTERNAL",
    ),
    (
        ("-U", "me", "-P", "x", "-A", "plain"),
        "-A: PLAIN without TLS would expose the password, use -S, --ssl or --auth-insecure",
    ),
    (("--deliver",), "--deliver: needs --rcpt ADDRESS"),
    ((*TO, "--mailbox", "imap://me@x"), "--mailbox: needs --deliver"),
    (
        (*SOUGHT, "--mailbox-pass-file", "/nonexistent"),
        "--mailbox-pass-file: cannot read '/nonexistent': No such file or directory",
    ),
    ((*SENT, "--delivery-timeout", "9"), "--delivery-timeout: needs --mailbox URL"),
    ((*SENT, "--require-auth-results", "spf"), "--require-auth-results: needs --mailbox URL"),
    ((*SENT, "--verify-message"), "--verify-message: needs --mailbox URL"),
    (("--verify-message",), "--verify-message: needs --mailbox URL"),
    (
        (*SOUGHT, "--require-auth-results", "spf,arc"),
        "--require-auth-results: 'arc' is not one of spf, dkim, dmarc",
    ),
    (
        (*SOUGHT, "--require-auth-results", ""),
        "--require-auth-results: '' is not one of spf, dkim, dmarc",
    ),
    (
        (*SOUGHT, "--delivery-timeout", "0"),
        "--delivery-timeout: '0' is not between 0.001 and 86400 seconds",
    ),
    (
        (*SOUGHT, "--delivery-timeout", "5:ok"),
        "--delivery-timeout: '5:ok' is not a number of seconds",
    ),
    (
        (*SENT, "--mailbox", "imap://me@x"),
        "--mailbox: needs a password, use --mailbox-pass-file FILE",
    ),
    ((*SENT, "--mailbox", "imap://me:s3cret@x"), WITH_PASSWORD),
    ((*SENT, "--mailbox", "imap://me:s3/cret@x"), WITH_PASSWORD),
    ((*SENT, "--mailbox", "smtp://me:s3cret@x"), NO_SCHEME),
    ((*SENT, "--mailbox", "me:s3cret@x"), NO_SCHEME),
    ((*SENT, "--mailbox", ""), NO_SCHEME),
    (
        (*SENT, "--mailbox", "imap://x/INBOX"),
        "--mailbox: 'imap://x/INBOX' has no user (USER@HOST)",
    ),
    (
        (*SENT, "--mailbox", "pop3://me@x/INBOX"),
        "--mailbox: 'pop3://me@x/INBOX' names a folder, and POP3 has none",
    ),
    (
        (*SENT, "--mailbox", "imap://me@::1"),
        "--mailbox: 'imap://me@::1' has no valid HOST[:PORT] (IPv6 in brackets)",
    ),
    ((*SENT, "--mailbox", "imap://me@x:0"), "--mailbox: '0' is not a port (1 to 65535)"),
    (
        (*SENT, "--mailbox", "imap://me@"),
        "--mailbox: '' is not a host name, IP address or socket path",
    ),
    (
        (*SENT, "--mailbox", "imap://m%e@x"),
        "--mailbox: 'imap://m%e@x' has a '%' without two hex digits (it is %25)",
    ),
    (
        (*SENT, "--mailbox", "imap://me@x/a%0Ab"),
        "--mailbox: 'imap://me@x/a%0Ab' contains unprintable characters",
    ),
    (
        (*SENT, "--mailbox", "imap://me@x/%FF"),
        "--mailbox: 'imap://me@x/%FF' contains unprintable characters",
    ),
    (("--lunch",), "unknown option '--lunch'"),
    (("-X",), "unknown option '-X'"),
    (("-vX",), "unknown option '-X'"),
    (("--ehlo=1",), "--ehlo: takes no value, but '1' was given"),
    (("-p",), "-p: needs a value, PORT"),
    (("--auth-insecure",), "--auth-insecure: needs -U USER or --mailbox URL"),
    (
        ("--ssl", "-D", "x", "--ignore-certificate-expiration"),
        "-D: 'x' is not a number of days W[,C]",
    ),
    (("-e", "554", "-D", "9"), "-e: after 554 nothing is asked, so -D has no effect"),
    (("-4", "-6"), "-6: cannot be combined with -4"),
    (("--use-ipv6",), "--use-ipv6: cannot be combined with the address 127.0.0.1"),
    (("--source", "::1"), "--source: cannot be combined with the address 127.0.0.1"),
    (("--source", "127.0.0.1", "-6"), "-6: cannot be combined with --source 127.0.0.1"),
    (("--source", "eth0"), "--source: 'eth0' is not an IP address to connect from"),
    (("elsewhere",), "unexpected argument 'elsewhere', repeat -H for several hosts"),
    (("--", "-x"), "unexpected argument '-x', repeat -H for several hosts"),
    (
        ("-F", "me\r\nMAIL FROM:<a@b>"),
        "-F: 'me\\x0d\\x0aMAIL FROM:<a@b>' is not a name of 1 to 255 visible ASCII characters",
    ),
    (("-F", "a\x07b"), "-F: 'a\\x07b' is not a name of 1 to 255 visible ASCII characters"),
    (("-F", "a b"), "-F: 'a b' is not a name of 1 to 255 visible ASCII characters"),
    (("-F", "\u00e4"), "-F: '\u00e4' is not a name of 1 to 255 visible ASCII characters"),
    (("-F", ""), "-F: '' is not a name of 1 to 255 visible ASCII characters"),
    (
        ("--fqdn", "x" * 256),
        f"--fqdn: '{'x' * 80}...' is not a name of 1 to 255 visible ASCII characters",
    ),
    (("--require", "STARTTLS PLEASE"), "--require: 'STARTTLS PLEASE' is not an EHLO keyword"),
    (("--forbid", ""), "--forbid: '' is not an EHLO keyword"),
    (("-f", "a@b\r\nRCPT"), "-f: 'a@b\\x0d\\x0aRCPT' is not a mail address"),
    (("-f", "<a@b"), "-f: '<a@b' is not a mail address"),
    (("--from", "a b@c"), "--from: 'a b@c' is not a mail address"),
    (("-f", "x" * 255), f"-f: '{'x' * 80}...' is not a mail address"),
    (("--rcpt", ""), "--rcpt: '' is not a mail address"),
    (("--rcpt", "<>"), "--rcpt: '<>' is not a mail address"),
    (("--no-relay", "a@b> SIZE=1"), "--no-relay: 'a@b> SIZE=1' is not a mail address"),
    (("--no-relay", "\udcff@b"), "--no-relay: '\\udcff@b' is not a mail address"),
    (("--size", "1k"), "--size: '1k' is not a number of bytes"),
    (("--size", "-1"), "--size: '-1' is not a number of bytes"),
    (("-C", "DATA"), "-C: 'DATA' would begin a message"),
    (("-f", '"a b" c@d'), "-f: '\"a b\" c@d' is not a mail address"),
    (("-C", "NOOP\n"), "-C: 'NOOP\\x0a' is not a command line of 1 to 510 bytes"),
    (("-C", ""), "-C: '' is not a command line of 1 to 510 bytes"),
    (("-C", "x" * 511), f"-C: '{'x' * 80}...' is not a command line of 1 to 510 bytes"),
    (("-C", "NOOP", "-R", "a", "-R", "b"), "-R: 'b' has no matching -C"),
    (
        ("-C", "NOOP", "-R", "(ok"),
        "-R: '(ok' is not a regular expression: missing ), unterminated subpattern",
    ),
    (
        ("-C", "NOOP", "-R", "+ok"),
        "-R: '+ok' is not a regular expression: nothing to repeat",
    ),
    (
        ("-C", "NOOP", "-R", "a{99999999999}"),
        "-R: 'a{99999999999}' is not a regular expression",
    ),
    (
        (*SENT, "--mailbox", "imap://me@x:\uff11\uff11\uff10"),
        "--mailbox: 'imap://me@x:\uff11\uff11\uff10' has no valid HOST[:PORT] (IPv6 in brackets)",
    ),
    (("-e", "554", "-f", ""), "-e: after 554 nothing is asked, so -f has no effect"),
    (
        ("--output-format", "xml"),
        "--output-format: 'xml' is not one of text, json, nagios, nsca, checkmk, openmetrics, "
        "icinga2",
    ),
    (
        ("-H", "x", "--output-format", "nagios", "-H", "y"),
        "--output-format: nagios of several hosts needs --output-host NAME",
    ),
    (("--output-to", ""), "--output-to: '' is not a path or URL"),
    (("--output-to", "a\r\nb"), "--output-to: 'a\\x0d\\x0ab' is not a path or URL"),
    (("--output-to", "http://u@x"), "--output-to: is not https://USER@HOST:5665"),
    (("--output-to", "https://x"), "--output-to: is not https://USER@HOST:5665"),
    (("--output-to", "https://u@x:0"), "--output-to: is not https://USER@HOST:5665"),
    (("--output-to", "https://u@a..b"), "--output-to: is not https://USER@HOST:5665"),
    (("--output-to", "https://u@x/v1"), "--output-to: is not https://USER@HOST:5665"),
    (("--output-to", "https://u%0a@x"), "--output-to: is not https://USER@HOST:5665"),
    (
        ("--output-to", "https://u:s3cret@x"),
        "--output-to: takes no password, use --output-pass-file FILE",
    ),
    (
        ("--output-to", "https://u@x", "--output-format", "json"),
        "--output-to: a URL needs --output-format icinga2, not json",
    ),
    (
        ("--output-to", "https://u@x", "--output-format", "icinga2"),
        "--output-to: needs a password, use --output-pass-file FILE",
    ),
    (
        (*TO_API, "https://u@[::1]", "-4"),
        "-4: cannot be combined with the API's address ::1",
    ),
    (
        (*TO_API, "https://u@[::1]", "--source", "127.0.0.1"),
        "--source: cannot be combined with the API's address ::1",
    ),
    (("--output-pass-file", "x"), "--output-pass-file: needs --output-to https://USER@HOST:5665"),
    (
        ("--output-to", "x", "--output-ca-file", "x"),
        "--output-ca-file: needs --output-to https://USER@HOST:5665",
    ),
    (("--output-host", "x"), "--output-host: has no effect on text"),
    (("--output-service", "x"), "--output-service: has no effect on text"),
    (
        ("--output-format", "nsca", "--output-service", "a\tb"),
        "--output-service: 'a\\x09b' is not the name of a host or service",
    ),
    (
        ("--output-format", "nsca", "--output-host", "a" * 256),
        f"--output-host: '{'a' * 80}...' is longer than 255 characters",
    ),
    (
        ("--output-format", "nsca", "--output-host", "a;b"),
        "--output-host: 'a;b' is not the name of a host or service",
    ),
    (("--proxy=v3",), "--proxy: 'v3' is neither v1 nor v2"),
    (
        ("--extra-opts=a@/nonexistent",),
        "--extra-opts: cannot read '/nonexistent': No such file or directory",
    ),
)

NEEDS_TLS = (
    ("--ca-file", "x"),
    ("--ca-path", "x"),
    ("--cafile", "x"),
    ("--cert", "x"),
    ("--tls-min", "1.3"),
    ("--no-verify",),
    ("--ignore-certificate-expiration",),
    ("--sni=mx.example",),
)
"""Options that mean nothing in a run without TLS."""

UNMEASURED = (
    *("resolve", "tls", "starttls", "auth", "mail", "rcpt", "relay", "command", "data"),
    *("delivery", "dnsbl", "healthy"),
)
"""What a run that only says HELO to an address does not measure."""

HOSTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("-H", "example.org", "--mx", "--expect-mx", "a b"), "--expect-mx: 'a b' is not a host name"),
    (("-H", "example.org", "--mx", "--expect-mx", ""), "--expect-mx: '' is not a host name"),
    (
        ("-H", "example.org", "--mx", "--expect-mx", "::1"),
        "--expect-mx: '::1' is an IP address, a domain is needed",
    ),
    ((), "no host given, use -H HOST (try --help)"),
    (("-H", ""), "-H: '' is not a host name, IP address or socket path"),
    (("-H", "a b"), "-H: 'a b' is not a host name, IP address or socket path"),
    (("-H", "a\nb"), "-H: 'a\\x0ab' is not a host name, IP address or socket path"),
    (("-H", "a|b:25"), "-H: 'a\\x7cb:25' is not a host name, IP address or socket path"),
    (("-H", "/tmp/a", "-4"), "-4: has no effect on a Unix socket"),
    (("-H", "/tmp/a\nb"), "-H: '/tmp/a\\x0ab' is not a path of a Unix socket"),
    (("-H", "/tmp/a|b"), "-H: '/tmp/a\\x7cb' is not a path of a Unix socket"),
    (("-H", "fe80::1%a|b"), "-H: 'fe80::1%a\\x7cb' is not a host name, IP address or socket path"),
    (("-H", "/run/x", "-S"), "-H: TLS over a Unix socket needs --sni NAME or --no-verify"),
    (("-H", "a|b"), "-H: 'a\\x7cb' is not a host name, IP address or socket path"),
    (("-H", "a..b"), "-H: 'a..b' is not a host name, IP address or socket path"),
    (("-H", "-a.b"), "-H: '-a.b' is not a host name, IP address or socket path"),
    (("-H", "x" * 64), f"-H: '{'x' * 64}' is not a host name, IP address or socket path"),
    (("-H", "a." * 130), f"-H: '{'a.' * 40}...' is not a host name, IP address or socket path"),
    (("-H", "127.0.0.256"), "-H: '127.0.0.256' is not a host name, IP address or socket path"),
    (
        ("-H", "1.1.1." + "1" * 5000),
        f"-H: '1.1.1.{'1' * 74}...' is not a host name, IP address or socket path",
    ),
    (("-H", "::1::"), "-H: '::1::' is not a host name, IP address or socket path"),
    (("-H", "[mx.example"), "-H: '[mx.example' is not a host name, IP address or socket path"),
    (
        ("-H", "\u00fc" * 300),
        f"-H: '{chr(252) * 80}...' is not a host name, IP address or socket path",
    ),
    (("-H", "a\udcffb"), "-H: 'a\\udcffb' is not a host name, IP address or socket path"),
    (("mx.example:25",), "HOST: 'mx.example:25' holds a port, use -H mx.example -p 25"),
    (("-H", "/" + "x" * 107), f"-H: '/{'x' * 79}...' is not a path of a Unix socket"),
    (("-H", "/run/x", "--reverse"), "--reverse: '/run/x' has no IP address"),
    (
        ("-H", "/run/x", "--dnsbl", "a.example/::1", "--dnsbl", "b.example"),
        "--dnsbl: '/run/x' has no IP address",
    ),
    (
        ("-H", "/run/x", "--source", "127.0.0.1"),
        "--source: cannot be combined with a Unix socket",
    ),
)


AS_PROCESSES: tuple[tuple[str, ...], ...] = (
    (),
    ("-H", ""),
    ("-H", "a\udcffb"),
    ("-H", "/run/x", "-S"),
    ("-X",),
    ("-c", "9" * 5000),
    ("-F", "me\r\nMAIL FROM:<a@b>"),
    ("-S", "--ca-file", "/etc/passwd"),
    ("--extra-opts=a@/nonexistent",),
    (*SENT, "--mailbox", "imap://me:s3cret@x"),
)
"""One for each place where such a thing is found, and for each kind of character."""


def whole(arguments: tuple[str, ...], *instead: str) -> tuple[str, ...]:
    """Return a row's command line: with a host, and a port, where the row has none."""
    has_port = {"-p", "--port"} & set(arguments)
    return ("-H", "127.0.0.1", *(() if has_port else instead), *arguments)


@pytest.mark.parametrize(("arguments", "problem"), TABLE, ids=[row[1][:60] for row in TABLE])
def test_bad_option_is_named(arguments: tuple[str, ...], problem: str) -> None:
    assert command_line.problem(*whole(arguments)) == problem


@pytest.mark.parametrize(("arguments", "problem"), HOSTS, ids=[row[1][:60] for row in HOSTS])
def test_bad_host(arguments: tuple[str, ...], problem: str) -> None:
    assert command_line.problem(*arguments) == problem


@pytest.mark.parametrize("arguments", NEEDS_TLS, ids=lambda row: row[0])
def test_an_option_for_tls_needs_tls(arguments: tuple[str, ...]) -> None:
    flag = arguments[0].partition("=")[0]
    assert command_line.problem(*whole(arguments)) == f"{flag}: needs TLS, add -S or --ssl"


@pytest.mark.parametrize("sought", [(), ("--no-verify",), ("--tls-min", "1.3")], ids=str)
def test_a_mailbox_is_asked_by_tls(sought: tuple[str, ...]) -> None:
    """What holds for a mailbox, too, has an effect; what is about the session only has none."""
    password = {"mailbox_password": "x"}
    command_line.settings("-H", "mx.example", *SOUGHT, *sought, **password)
    with pytest.raises(UsageFault, match="needs TLS"):
        command_line.settings("-H", "mx.example", *SOUGHT, *sought, "--sni=x", **password)


def test_a_policy_host_is_asked_by_tls() -> None:
    """Whoever may vouch for it is the user's choice; all else is the standard's."""
    where = ("-H", "example.org", "--mta-sts")
    command_line.settings(*where, "--ca-file", "x")
    command_line.settings(*where, "--ca-path", "x")
    with pytest.raises(UsageFault, match="needs TLS"):
        command_line.settings(*where, "--no-verify")


@pytest.mark.parametrize("given", [("--sni",), ("--sni", ""), ("-q", "true"), ("--tempfail", "ok")])
def test_switches_of_check_smtp_need_no_effect(given: tuple[str, ...]) -> None:
    assert command_line.problem("-H", "127.0.0.1", *given) == ""


@pytest.mark.parametrize("option", ["-w", "-c"])
@pytest.mark.parametrize("label", UNMEASURED)
def test_a_threshold_for_what_is_not_measured(option: str, label: str) -> None:
    problem = command_line.problem("-H", "127.0.0.1", option, f"9,{label}=1:")
    assert problem == f"{option}: this run does not measure {label}"


@pytest.mark.parametrize(
    ("label", "arguments"),
    [
        ("time", ()),
        ("connect", ()),
        ("banner", ("-e", "554")),
        ("helo", ("-L",)),
        ("quit", ()),
        ("resolve", ("-H", "mx.example")),
        ("tls", ("-D", "9")),
        ("starttls", ("-S", "--no-verify")),
        ("auth", ("-U", "me", "-P", "secret", "--auth-insecure")),
        ("mail", ("--size", "9")),
        ("rcpt", TO),
        ("relay", ("--no-relay", "a@x")),
        ("command", ("-C", "NOOP")),
        ("data", SENT),
        ("dnsbl", ("--dnsbl", "x.example", "--nameserver", "127.0.0.1")),
        ("healthy", ("-H", "mx.example")),
        ("healthy", ("--min-healthy", "1")),
    ],
)
def test_a_threshold_for_what_is_measured(label: str, arguments: tuple[str, ...]) -> None:
    assert command_line.problem("-H", "127.0.0.1", *arguments, "-w", f"{label}=1:") == ""


@pytest.mark.parametrize("arguments", AS_PROCESSES, ids=lambda row: " ".join(row)[:60])
def test_bad_input_is_one_line_and_nothing_is_sent(arguments: tuple[str, ...]) -> None:
    with ScriptedServer((Hang(),)).running() as server:
        where = ("-p", str(server.port))
        is_host = arguments in dict(HOSTS)
        done = plugin.run(*((*where, *arguments) if is_host else whole(arguments, *where)))
    assert (done.code, done.stdout, done.stderr, server.connections) == (
        3,
        f"SMTP UNKNOWN - {dict(HOSTS + TABLE)[arguments]}\n",
        "",
        0,
    )


def test_a_right_command_line_has_no_problem() -> None:
    assert command_line.problem("-H", "127.0.0.1") == ""


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version_is_never_green(flag: str) -> None:
    done = plugin.run(flag)
    assert (done.code, done.stdout, done.stderr) == (3, f"check_smtp_health {__version__}\n", "")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_never_green_and_fits_a_terminal(flag: str) -> None:
    done = plugin.run(flag, environment={"COLUMNS": "80"})
    lines = done.stdout.splitlines()
    assert (done.code, done.stderr, lines[0]) == (
        3,
        "",
        "usage: check_smtp_health -H HOST [options]",
    )
    assert max(map(len, lines)) <= 80
