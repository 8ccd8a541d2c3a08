"""What a run shall do: the user's words, checked, as values. Reads and sends nothing."""

from __future__ import annotations

from check_smtp_health import arguments, policies, round_trip, thresholds
from check_smtp_health.errors import UsageFault
from check_smtp_health.policies import Policies
from check_smtp_health.text import quoted
from check_smtp_health.values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from check_smtp_health.arguments import Expect, Host, Keyword
    from check_smtp_health.mailbox_url import Mailbox
    from check_smtp_health.options import Options

SMTP_PORT = 25

SUBMISSIONS_PORT = 465
"""Implicit TLS (RFC 8314 section 3.3)."""


class Secret:
    """A password that cannot be printed by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the password itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not to be copied or stored")


class Settings(NamedTuple):
    """A checked command line. ``family`` is 4, 6 or None; states are words in lower case.

    ``fqdn`` is None where the connection's local address is to be said. ``warning`` and
    ``critical`` map a stage, ``time``, ``certificate_days``, ``dnsbl`` or ``healthy`` to a range
    as Nagios writes it.
    ``tls`` is ``starttls``, ``implicit`` or empty; ``sni`` is sent and verified instead of the
    host's own name. ``mechanism`` is None where the best is to be chosen. Addresses are
    without angle brackets; ``commands`` are pairs of a line and the text its reply must contain.
    """

    hosts: tuple[Host, ...]
    port: int
    family: int | None
    source: str | None
    fqdn: str | None
    greeting: str
    expect: Expect
    require: tuple[Keyword, ...]
    forbid: tuple[Keyword, ...]
    warning: Mapping[str, str]
    critical: Mapping[str, str]
    timeout: float
    timeout_state: str
    tempfail: str
    verbose: int
    tls: str = ""
    sni: str | None = None
    verify: bool = True
    ca_file: str | None = None
    ca_path: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    tls_min: str = "1.2"
    judge_expiry: bool = True
    user: str | None = None
    password: Secret | None = None
    mechanism: str | None = None
    auth_insecure: bool = False
    proxy: str = ""
    reverse_path: str | None = None
    size: int | None = None
    recipients: tuple[str, ...] = ()
    no_relay: tuple[str, ...] = ()
    commands: tuple[tuple[str, str | None], ...] = ()
    output_format: str = "text"
    deliver: bool = False
    mailboxes: tuple[Mailbox, ...] = ()
    mailbox_password: Secret | None = None
    delivery_timeout: float = 60.0
    require_auth_results: tuple[str, ...] = ()
    all_addresses: bool = False
    mx: bool = False
    min_healthy: int | None = None
    nameservers: tuple[tuple[str, int], ...] = ()
    policies: Policies = Policies()

    @property
    def longest(self) -> float:
        """Seconds after which the run must have ended: both deadlines, one after the other."""
        return self.timeout + (self.delivery_timeout if self.mailboxes else 0.0)

    @property
    def has_several(self) -> bool:
        """Whether the run may have several targets, told apart in what it prints."""
        is_asked_for = self.mx or self.all_addresses or self.min_healthy is not None
        return is_asked_for or len(self.hosts) > 1

    @property
    def keeps_transcript(self) -> bool:
        """Whether somebody is going to read what was said."""
        return self.verbose > 1 or self.output_format == "json"

    @property
    def asking_dns(self) -> tuple[str, ...]:
        """The options for which something is to be looked up that the system's resolver cannot."""
        named = ("nameserver",) if self.nameservers else ()
        return (*(("mx",) if self.mx else ()), *self.policies.asked, *named)

    @property
    def needs_extensions(self) -> bool:
        """Whether the run is pointless without the reply to EHLO."""
        return bool(
            self.require
            or self.forbid
            or self.user
            or self.tls == "starttls"
            or self.size is not None
            or self.is_international
        )

    @property
    def has_transaction(self) -> bool:
        """Whether MAIL is to be sent."""
        return bool(
            self.reverse_path is not None
            or self.size is not None
            or self.recipients
            or self.no_relay
        )

    @property
    def is_international(self) -> bool:
        """Whether an address needs SMTPUTF8 (RFC 6531)."""
        return not all(
            address.isascii()
            for address in (self.reverse_path or "", *self.recipients, *self.no_relay)
        )

    @property
    def may_show_password(self) -> bool:
        """Whether a mechanism that shows the password may be used."""
        return bool(self.tls) or self.auth_insecure


def build(
    options: Options,
    threshold_keys: tuple[str, ...],
    nodename: str,
    password: str | None = None,
    mailbox_password: str | None = None,
) -> Settings:
    """Return the settings that the options make.

    ``nodename`` is this host's own name, the passwords are what ``credentials`` found.

    Raises:
        UsageFault: the first thing that is wrong.
    """
    hosts = tuple(dict.fromkeys(map(arguments.host, options.all("hostname"))))
    if not hosts:
        raise UsageFault("", "no host given, use -H HOST")
    source = options.last("source")
    port = arguments.port(options.last("port"))
    tls = _tls(options, port)
    tempfail = options.last("tempfail")
    reverse_path = options.last("from")
    size = options.last("size")
    expect = arguments.expect(options.last("expect"))
    user = _user(options, password)
    mailboxes = round_trip.mailboxes(options)
    further = ("require", "forbid", "authuser", "from", "size", "rcpt", "no-relay", "command")
    needs_more = [name for name in further if options.count(name)]
    if expect.code >= 400 and (needs_more or tls == "starttls"):
        option = needs_more[0] if needs_more else "starttls"
        raise UsageFault("expect", f"a server that says {expect.code} ends before --{option}")
    return Settings(
        hosts=hosts,
        port=port or (SUBMISSIONS_PORT if tls == "implicit" else SMTP_PORT),
        family=_family(options, hosts, source),
        source=source,
        fqdn=arguments.fqdn(options.last("fqdn"), nodename),
        greeting=_greeting(options, tls),
        expect=expect,
        require=tuple(arguments.keyword("require", word) for word in options.all("require")),
        forbid=tuple(arguments.keyword("forbid", word) for word in options.all("forbid")),
        warning=thresholds.ranges(options, "warning", threshold_keys, tls),
        critical=thresholds.ranges(options, "critical", threshold_keys, tls),
        timeout=arguments.timeout(options.last("timeout")),
        timeout_state=arguments.timeout_state(options.last("timeout")),
        tempfail=arguments.state("tempfail", "warning" if tempfail is None else tempfail),
        verbose=options.count("verbose"),
        tls=tls,
        sni=_sni(options, hosts, tls),
        verify=not options.count("no-verify"),
        ca_file=options.last("ca-file"),
        ca_path=options.last("ca-path"),
        certfile=_client_certificate(options),
        keyfile=options.last("key"),
        tls_min=arguments.tls_min(options.last("tls-min") or "1.2"),
        judge_expiry=not options.count("ignore-certificate-expiration"),
        user=user,
        password=Secret(password) if user is not None and password is not None else None,
        mechanism=(options.last("authtype") or "").upper() or None,
        auth_insecure=bool(options.count("auth-insecure")),
        proxy=arguments.proxy(options.last("proxy") or "v1") if options.count("proxy") else "",
        reverse_path=None if reverse_path is None else arguments.mailbox("from", reverse_path),
        size=None if size is None else arguments.size(size),
        recipients=tuple(arguments.mailbox("rcpt", one) for one in options.all("rcpt")),
        no_relay=tuple(arguments.mailbox("no-relay", one) for one in options.all("no-relay")),
        commands=_commands(options),
        output_format=arguments.output_format(options.last("output-format") or "text"),
        all_addresses=policies.is_about_names(options, "all-addresses", hosts),
        mx=policies.is_about_names(options, "mx", hosts),
        min_healthy=_min_healthy(options, hosts),
        nameservers=tuple(arguments.nameserver(one) for one in options.all("nameserver")),
        policies=policies.build(options, hosts, tls),
        deliver=round_trip.is_wanted(options),
        mailboxes=mailboxes,
        delivery_timeout=arguments.delivery_timeout(options.last("delivery-timeout")),
        require_auth_results=round_trip.required(options),
        mailbox_password=Secret(round_trip.password(mailbox_password)) if mailboxes else None,
    )


def _family(options: Options, hosts: tuple[Host, ...], source: str | None) -> int | None:
    wanted = [
        (number, f"use-ipv{number}") for number in (4, 6) if options.count(f"use-ipv{number}")
    ]
    if len(wanted) > 1:
        raise UsageFault("use-ipv6", f"contradicts {options.flag('use-ipv4')}")
    family, why = wanted[0] if wanted else (None, "")
    if source is not None:
        version = arguments.ip_version(source)
        if version is None or any(host.kind == "socket" for host in hosts):
            raise UsageFault("source", f"{quoted(source)} is not an IP address to connect from")
        if family not in (None, version):
            raise UsageFault(why, f"contradicts {options.flag('source')} {source}")
        family, why = version, "source"
    for host in hosts if family is not None else ():
        if host.kind == "address" and family != arguments.ip_version(host.ascii):
            raise UsageFault(why, f"contradicts the address {host.ascii}")
    return family


def _min_healthy(options: Options, hosts: tuple[Host, ...]) -> int | None:
    given = options.last("min-healthy")
    if given is None:
        return None
    least = arguments.count("min-healthy", given)
    if not (options.count("mx") or options.count("all-addresses") or len(hosts) >= least):
        raise UsageFault("min-healthy", f"{least} of {len(hosts)} cannot be healthy")
    return least


def _greeting(options: Options, tls: str) -> str:
    if options.count("lmtp"):
        return "LHLO"
    needing = ("ehlo", "require", "forbid", "authuser", "size")
    addresses = "".join(map("".join, map(options.all, ("from", "rcpt", "no-relay"))))
    wanted = (
        any(options.count(name) for name in needing) or tls == "starttls" or not addresses.isascii()
    )
    return "EHLO" if wanted else "HELO"


def _commands(options: Options) -> tuple[tuple[str, str | None], ...]:
    lines = [arguments.line(one) for one in options.all("command")]
    # An engine passes a missing macro as an empty text, which no reply could lack.
    texts: list[str | None] = [text or None for text in options.all("response")]
    if len(texts) > len(lines):
        raise UsageFault("response", f"{quoted(texts[len(lines)] or '')} belongs to no -C")
    texts += [None] * (len(lines) - len(texts))
    return tuple(zip(lines, texts))


def _tls(options: Options, port: int | None) -> str:
    if options.count("starttls") and options.count("ssl"):
        raise UsageFault("ssl", f"contradicts {options.flag('starttls')}")
    if options.count("ssl"):
        return "implicit"
    if options.count("starttls"):
        return "starttls"
    if options.count("certificate"):
        return "implicit" if port == SUBMISSIONS_PORT else "starttls"
    return ""


def _sni(options: Options, hosts: tuple[Host, ...], tls: str) -> str | None:
    given = options.last("sni")
    if given:
        name = arguments.host(given)
        if name.kind != "name":
            raise UsageFault("sni", f"{quoted(given)} is not a host name")
        return name.ascii.rstrip(".")
    if tls and any(host.kind == "socket" for host in hosts) and not options.count("no-verify"):
        raise UsageFault("hostname", "TLS over a Unix socket needs --sni NAME or --no-verify")
    return None


def _client_certificate(options: Options) -> str | None:
    if options.count("key") and not options.count("cert"):
        raise UsageFault("key", "needs --cert FILE")
    return options.last("cert")


def _user(options: Options, password: str | None) -> str | None:
    user = options.last("authuser")
    if user is None:
        for name in ("authtype", "authpass", "authpass-file"):
            if options.count(name):
                raise UsageFault(name, "needs -U USER")
        return None
    if not user or "\0" in user:
        raise UsageFault("authuser", f"{quoted(user)} is no user name")
    if not password:
        raise UsageFault("authuser", "needs a password, use --authpass-file FILE")
    if "\0" in password:
        raise UsageFault("authuser", "the password holds a NUL, which no mechanism can send")
    return user
