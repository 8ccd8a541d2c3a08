"""THE OPTION TABLE. Nothing else knows a flag: reading, help and completions follow it."""

from __future__ import annotations

from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

ANY_WORD = ("*",)


class Option(NamedTuple):
    """A row: its flags, the short ones first; the first long one, without dashes, is its name.

    ``value`` names the value in the help, empty for a switch. With ``optional`` words the next
    argument is taken only if it is one of them; with ``ANY_WORD`` unless it begins with a dash.
    An option that asks for a policy says in ``policy`` what is asked about it: name servers, the
    server in one more handshake, or name servers about the whole message that came.
    """

    flags: tuple[str, ...]
    value: str
    help: str
    repeatable: bool = False
    optional: tuple[str, ...] = ()
    policy: Literal["", "dns", "tls", "message"] = ""

    @property
    def name(self) -> str:
        """The option's name: its first long flag without dashes."""
        return next(flag for flag in self.flags if flag.startswith("--"))[2:]


LOGIN_TITLE = "login"
"""The group of options that ``config.login`` reads."""

ROUND_TRIP_TITLE = "round trip"
"""The group of options that ``config.roundtrip`` reads."""

GROUPS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    (
        "what to check",
        (
            Option(
                ("-H", "--hostname"),
                "HOST",
                "host name, IPv4 or IPv6 address, or absolute path of a Unix socket; several hosts "
                "are probed at the same time",
                repeatable=True,
            ),
            Option(
                ("-p", "--port"),
                "PORT",
                "TCP port, or smtp, submission, submissions, lmtp (default: 25, with --ssl 465)",
            ),
            Option(("-4", "--use-ipv4"), "", "use IPv4 only"),
            Option(("-6", "--use-ipv6"), "", "use IPv6 only"),
            Option(
                ("--all-addresses",),
                "",
                "probe every address of HOST, not only the first that connects",
            ),
            Option(("--mx",), "", "HOST is a mail domain: probe every host of its MX set"),
            Option(
                ("--expect-mx",),
                "HOST",
                "host that the MX set must contain; it must contain no other",
                repeatable=True,
            ),
            Option(
                ("--min-healthy",),
                "N",
                "with several targets: CRITICAL if fewer than N are healthy (OK or WARNING), "
                "WARNING if N or more but not all are (default: the worst target decides)",
            ),
            Option(
                ("--nameserver",),
                "ADDRESS[:PORT]",
                "name server to use for every look-up (default: the system's)",
                repeatable=True,
            ),
            Option(("--source",), "ADDRESS", "local IP address to connect from"),
            Option(
                ("--control",),
                "HOST[:PORT]",
                "server elsewhere that can be reached as long as our own network works; tried when "
                "a target gives no answer: if the control does not answer either, the state is "
                "UNKNOWN",
                repeatable=True,
            ),
            Option(
                ("-r", "--proxy"),
                "VERSION",
                "send a PROXY protocol header first: v1 (default) or v2",
                optional=("v1", "v2"),
            ),
        ),
    ),
    (
        "greeting",
        (
            Option(
                ("-F", "--fqdn"),
                "NAME",
                "name to say in HELO, EHLO or LHLO (default: this host's name if it is fully "
                "qualified, else the local address in brackets)",
            ),
            Option(
                ("--ehlo",),
                "",
                "greet with EHLO (default: HELO, unless the run needs an extension)",
            ),
            Option(("-L", "--lmtp"), "", "speak LMTP: greet with LHLO"),
            Option(
                ("-e", "--expect"),
                "STRING",
                "text that the banner or the first reply to HELO, EHLO or LHLO must contain; if it "
                "begins with the code of a refusal (4yz, 5yz), that code replaces 220",
            ),
            Option(
                ("--require",),
                "KEYWORD",
                "EHLO keyword that must be offered, with or without a parameter (AUTH=PLAIN)",
                repeatable=True,
            ),
            Option(
                ("--forbid",),
                "KEYWORD",
                "EHLO keyword that must not be offered, with or without a parameter",
                repeatable=True,
            ),
            Option(
                ("-q", "--ignore-quit-failure"),
                "",
                "accepted for compatibility: a failed QUIT never changes the state",
                optional=("true", "false", "1", "0"),
            ),
        ),
    ),
    (
        "TLS",
        (
            Option(("-S", "--starttls"), "", "require STARTTLS"),
            Option(("-s", "--ssl", "--tls"), "", "use TLS from the first byte"),
            Option(
                ("--sni",),
                "[NAME]",
                "name to send (SNI) and to verify (default: HOST if it is a name)",
                optional=ANY_WORD,
            ),
            Option(
                ("--no-verify",),
                "",
                "do not verify the certificate's chain and name; its dates are still checked",
            ),
            Option(
                ("--ca-file", "--cafile"),
                "FILE",
                "CA certificates (PEM) to trust instead of the system's: roots, intermediates or "
                "the server's own certificate",
            ),
            Option(
                ("--ca-path", "--capath"),
                "DIR",
                "hashed directory of CA certificates to trust instead of the system's",
            ),
            Option(("--cert",), "FILE", "client certificate to present (PEM)"),
            Option(
                ("--key",), "FILE", "key of the client certificate (default: in the file of --cert)"
            ),
            Option(
                ("--tls-min",),
                "VERSION",
                "minimum TLS version: 1.0, 1.1, 1.2 (default) or 1.3",
            ),
            Option(
                ("-D", "--certificate"),
                "W[,C]",
                "WARNING and CRITICAL if a certificate expires sooner than that: days (14 or 1.5) "
                "or a share of its lifetime (33%); default: 14 days but at most a third, 3 days "
                "but at most a tenth; 0 turns both off; implies --starttls, or --ssl on port 465",
            ),
            Option(
                ("--all-certificates",),
                "",
                "check both the RSA and the ECDSA certificate, with an extra handshake for each "
                "(TLS 1.2)",
                policy="tls",
            ),
            Option(
                ("--ignore-certificate-expiration",),
                "",
                "do not check when certificates expire",
            ),
        ),
    ),
    (
        LOGIN_TITLE,
        (
            Option(
                ("-A", "--authtype"),
                "MECH",
                "SASL mechanism: PLAIN, LOGIN, CRAM-MD5, XOAUTH2, OAUTHBEARER, EXTERNAL, "
                "SCRAM-SHA-1 or SCRAM-SHA-256 (default: PLAIN or LOGIN with TLS, else the "
                "strongest that both sides support)",
            ),
            Option(("-U", "--authuser"), "USER", "user to log in as"),
            Option(
                ("-P", "--authpass"),
                "PASSWORD",
                "password; everyone can see it in the process list, so prefer --authpass-file or "
                "the environment variable CHECK_SMTP_HEALTH_AUTHPASS",
            ),
            Option(
                ("--authpass-file",),
                "FILE",
                "file whose first line is the password; must not be readable by everyone",
            ),
            Option(
                ("--oauth",),
                "FILE",
                "get an access token first, as section [oauth] of this INI file says, and log in "
                "with it; it also serves the mailbox",
            ),
            Option(
                ("--auth-insecure",),
                "",
                "allow a mechanism that sends the password in plain text, even without TLS",
            ),
        ),
    ),
    (
        "transaction and commands",
        (
            Option(
                ("-f", "--from"),
                "ADDRESS",
                "sender address (reverse-path) for MAIL; '' or '<>' for the null one (default)",
            ),
            Option(
                ("--size",),
                "BYTES",
                "announce a message of that size in MAIL: would the server accept it?",
            ),
            Option(("--rcpt",), "ADDRESS", "recipient that must be accepted", repeatable=True),
            Option(
                ("--no-relay",),
                "ADDRESS",
                "recipient of a foreign domain that must be refused as a relay attempt; if it is "
                "accepted, the server is an open relay",
                repeatable=True,
            ),
            Option(
                ("--no-rcpt",),
                "ADDRESS",
                "recipient that must be refused as unknown; if it is accepted, its bounces go to "
                "strangers",
                repeatable=True,
            ),
            Option(("-C", "--command"), "STRING", "command to send", repeatable=True),
            Option(
                ("-R", "--response"),
                "STRING",
                "text (or regular expression) that the reply must contain; the first -R belongs to "
                "the first -C, and so on",
                repeatable=True,
            ),
        ),
    ),
    (
        ROUND_TRIP_TITLE,
        (
            Option(("--deliver",), "", "send one small message to the --rcpt addresses"),
            Option(
                ("--mailbox",),
                "URL",
                "look for the message of --deliver and delete it: imap://, imaps://, pop3:// or "
                "pop3s:// USER[;AUTH=MECH]@HOST[:PORT][/FOLDER]; the first folder given for an "
                "account is where the message should arrive",
                repeatable=True,
            ),
            Option(
                ("--mailbox-pass-file",),
                "FILE",
                "file whose first line is the mailbox's password; or the environment variable "
                "CHECK_SMTP_HEALTH_MAILBOXPASS",
            ),
            Option(
                ("--mailbox-oauth",),
                "FILE",
                "get an access token for the mailbox only, as --oauth does for both",
            ),
            Option(
                ("--reply",),
                "",
                "a reply counts as well: a message that refers to ours, or has it attached",
            ),
            Option(
                ("--clean",),
                "URL",
                "another folder of a --mailbox account, such as a folder for all mail, from which "
                "copies of the message are deleted once it has arrived; what is in it has no "
                "effect on the state",
                repeatable=True,
            ),
            Option(
                ("--delivery-timeout",),
                "SECONDS",
                "time for the message to arrive, not part of --timeout (default: 60)",
            ),
            Option(
                ("--require-auth-results",),
                "METHODS",
                "methods that the receiving server must report as passed: spf, dkim, dmarc",
                repeatable=True,
            ),
            Option(
                ("--verify-message",),
                "",
                "verify the message that arrived: its DKIM signatures, SPF for the address that "
                "sent it, and DMARC; --dnsbl and --reverse then check that address as well",
                policy="message",
            ),
        ),
    ),
    (
        "DNS checks",
        (
            Option(
                ("--dnsbl",),
                "ZONE[=CODES][/ADDRESS|/DOMAIN]",
                "DNS blocklist that must not list the server's addresses, or ADDRESS, or DOMAIN; "
                "CODES are the answers that count, as in 127.0.0.[2;4..11] (default: all but "
                "127.0.0.1)",
                repeatable=True,
                policy="dns",
            ),
            Option(
                ("--dnsbl-key-file",),
                "FILE",
                "file whose first line replaces the label KEY in ZONE; or the environment variable "
                "CHECK_SMTP_HEALTH_DNSBLKEY",
            ),
            Option(
                ("--reverse",),
                "",
                "each of the server's addresses must have a name (PTR) that leads back to it, and "
                "that the banner and the HELO reply use",
                policy="dns",
            ),
            Option(
                ("--dane",),
                "",
                "DNSSEC-secure TLSA records must match the certificate; they replace the CA",
                policy="dns",
            ),
            Option(
                ("--mta-sts",),
                "",
                "HOST is a mail domain: it must have an MTA-STS policy that covers its MX set, and "
                "each MX host must have a certificate from a public CA; needs TLS",
                policy="dns",
            ),
            Option(
                ("--sender",),
                "DOMAIN[/ADDRESS]",
                "check that mail can be sent as DOMAIN: SPF works and authorises ADDRESS, and "
                "there is a DMARC record",
                repeatable=True,
                policy="dns",
            ),
            Option(
                ("--dkim",),
                "SELECTOR[:DOMAIN]",
                "with --sender: the DKIM key of SELECTOR must be published and usable",
                repeatable=True,
                policy="dns",
            ),
        ),
    ),
    (
        "thresholds and states",
        (
            Option(
                ("-w", "--warning"),
                "[STAGE=]RANGE",
                "WARNING if a time in seconds is outside RANGE, that of a stage or of the whole "
                "session; STAGE may also be dnsbl (listings) or healthy (targets); separate "
                "several by commas",
                repeatable=True,
            ),
            Option(
                ("-c", "--critical"),
                "[STAGE=]RANGE",
                "CRITICAL if a time in seconds is outside RANGE; written as for --warning",
                repeatable=True,
            ),
            Option(
                ("-t", "--timeout"),
                "SECONDS[:STATE]",
                "time limit for the whole run, name resolution included, and the state if it is "
                "exceeded (default: 10:critical)",
            ),
            Option(
                ("--tempfail",),
                "STATE",
                "state for a transient (4yz) reply (default: warning)",
            ),
            Option(
                ("--state",),
                "NAME=STATE",
                "state for a cause, such as greylisted, or for a kind of failure, such as "
                "timed_out; separate several by commas",
                repeatable=True,
            ),
        ),
    ),
    (
        "many checks in one run",
        (
            Option(
                ("--checks",),
                "FILE",
                "run every check in FILE (-: standard input), one per line, "
                "HOST;SERVICE;ARGUMENTS: names of the engine's objects, and the options of that "
                "check; options beside --checks apply to each line that does not set them itself",
            ),
            Option(("--at-once",), "N", "run at most N sessions at a time (default: 100)"),
            Option(("--spread",), "SECONDS", "begin the checks evenly over that time (default: 0)"),
        ),
    ),
    (
        "output and help",
        (
            Option(
                ("-v", "--verbose"),
                "",
                "one line per stage; -vv: the transcript; -vvv: TLS details, tracebacks of bugs",
                repeatable=True,
            ),
            Option(
                ("--output-format",),
                "FORMAT",
                "json: one JSON object with everything measured and judged; nagios, nsca, "
                "checkmk, openmetrics, icinga2: a result in the format of that receiver (default: "
                "text)",
            ),
            Option(
                ("--output-to",),
                "PATH|URL",
                "write that format to a file, a FIFO, or Icinga's API, https://USER@HOST:5665; "
                "the status line still goes to standard output",
            ),
            Option(
                ("--output-pass-file",),
                "FILE",
                "file whose first line is the password for Icinga's API",
            ),
            Option(
                ("--output-ca-file",),
                "FILE",
                "CA certificates (PEM) to trust for Icinga's API (default: the system's)",
            ),
            Option(
                ("--output-host",),
                "NAME",
                "name of the host object that the result is for (default: HOST)",
            ),
            Option(
                ("--output-service",),
                "NAME",
                "name of the service object that the result is for (default: SMTP)",
            ),
            Option(
                ("--extra-opts",),
                "[SECTION][@FILE]",
                "read options from an INI file",
                repeatable=True,
                optional=ANY_WORD,
            ),
            Option(
                ("--print-definition",),
                "ENGINE",
                "print the definitions for icinga2, director, nagios or nrpe, and exit with 3",
            ),
            Option(
                ("--explain",),
                "TEXT",
                "print cause and advice for a reply from a mail log or a bounce, and exit with 3; "
                "asks no server",
            ),
            Option(("-V", "--version"), "", "print the version, and exit with 3"),
            Option(
                ("-h", "--help"),
                "",
                "print the most important options (-h) or all of them (--help), and exit with 3",
            ),
        ),
    ),
)

ABBREVIATED = (
    *("hostname", "expect", "critical", "warning", "timeout", "port", "from", "fqdn", "authtype"),
    *("authuser", "authpass", "command", "response", "verbose", "version", "use-ipv4", "use-ipv6"),
    *("help", "lmtp", "ssl", "tls", "sni", "certificate", "ignore-quit-failure", "proxy"),
    *("ignore-certificate-expiration", "output-format", "extra-opts", "starttls"),
)
"""The long options of check_smtp, which getopt_long lets its users abbreviate."""

WRITTEN_OUT = ("starttls",)
"""Those that protect: half of one is probably a slip, and the user should hear of it."""

OPTIONS = tuple(option for _, options in GROUPS for option in options)
"""All rows."""

POLICIES = {option.name: option.policy for option in OPTIONS if option.policy}
"""The names of the options that ``policy`` reads, and what each asks."""

ASKS_WEB = ("mta-sts", "oauth", "mailbox-oauth")
"""Options that ask hosts of the web, whose certificates are verified in any case."""

LOGIN, ROUND_TRIP = (
    tuple(option.name for option in dict(GROUPS)[title])
    for title in (LOGIN_TITLE, ROUND_TRIP_TITLE)
)
"""The names of the options of these groups."""
