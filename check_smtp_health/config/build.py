"""From options to ``Settings``: a function per group, with the rules between its options.

Those of the round trip are in ``roundtrip``. Reads and sends nothing. Whatever is wrong is a
``UsageFault`` with the sentence for the user.
"""

from __future__ import annotations

import itertools

from check_smtp_health.config import parsers, thresholds
from check_smtp_health.config.option_table import POLICIES, ROUND_TRIP
from check_smtp_health.config.settings import (
    SMTP_PORT,
    SUBMISSIONS_PORT,
    Endpoint,
    Greeting,
    Judging,
    Login,
    Policies,
    Secret,
    Settings,
    Tls,
    Transaction,
)
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import has_controls, quoted
from check_smtp_health.loading import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from check_smtp_health.config.getopt import Options
    from check_smtp_health.config.parsers import Control, State
    from check_smtp_health.config.settings import OAuth
    from check_smtp_health.report import Host

# Which connections the options about TLS are about: that of the session, those to the mailboxes as
# well, that to a host of the web as well, which has a policy or gives out tokens.
_SESSION_TLS = ("sni", "all-certificates")
_MAILBOX_TLS = ("no-verify", "cert", "key", "tls-min", "ignore-certificate-expiration")
_POLICY_TLS = ("ca-file", "ca-path")

# HELO is left out: check_smtp is given its options, too, where it sends none.
_AFTER_BANNER = (
    "require",
    "forbid",
    "authuser",
    "authtype",
    "from",
    "size",
    "rcpt",
    "no-relay",
    "no-rcpt",
    "command",
)

# What is asked of a server's extensions, which HELO does not tell.
_NEED_EHLO = ("require", "forbid", "authuser", "authtype", "size")

_NEED_CHECKS = ("at-once", "spread")

_ASKS_WEB = ("mta-sts", "oauth", "mailbox-oauth")
"""What asks hosts of the web, whose certificates are verified in any case."""

_SWITCHES = ("no-verify", "ignore-certificate-expiration", "all-certificates")


def build(  # noqa: PLR0913
    options: Options,
    labels: tuple[str, ...],
    nodename: str,
    password: str | None = None,
    mailbox_password: str | None = None,
    *,
    dnsbl_key: str | None = None,
    oauth: tuple[OAuth | None, OAuth | None] = (None, None),
    keeps_transcript: bool = False,
    causes: Sequence[str] = (),
) -> Settings:
    """Return the settings that the options make.

    ``labels`` are those of all that is ever measured, ``nodename`` is this host's own name, the
    passwords and the key are what ``credentials`` found, ``oauth`` is what stands in their place,
    ``causes`` are what ``--state`` may name.

    Raises:
        UsageFault: the first thing that is wrong.
    """
    for name in _NEED_CHECKS:
        if options.count(name):
            raise UsageFault(name, "needs --checks FILE")
    endpoint = _endpoint(options)
    tls = _tls(options, endpoint)
    _need_effect(options, endpoint)
    transaction = _transaction(options)
    return Settings(
        endpoint=endpoint,
        greeting=_greeting(options, nodename, tls, transaction),
        tls=tls,
        login=_login(options, tls, password, oauth[0]),
        transaction=transaction,
        roundtrip=(
            load("config.roundtrip:build")(options, mailbox_password, endpoint, oauth)
            if any(map(options.count, ROUND_TRIP))
            else None
        ),
        policies=_policies(options, dnsbl_key),
        judging=_judging(
            options,
            labels,
            tls,
            keeps_transcript=keeps_transcript,
            states=parsers.states(options.all("state"), causes),
        ),
    )


def _endpoint(options: Options) -> Endpoint:
    hosts = parsers.unique(map(parsers.host, options.all("hostname")), parsers.identity)
    if not hosts:
        raise UsageFault("", "no host given, use -H HOST (try --help)")
    source = options.last("source")
    port = parsers.port(options.last("port"))
    port = port or (SUBMISSIONS_PORT if options.count("ssl") else SMTP_PORT)
    return Endpoint(
        hosts=hosts,
        port=port,
        timeout=parsers.timeout(options.last("timeout")),
        family=_family(options, hosts, source),
        source=source,
        proxy=parsers.proxy(options.last("proxy") or "v1") if options.count("proxy") else "",
        all_addresses=_is_about_names(options, "all-addresses", hosts),
        mx=_is_about_names(options, "mx", hosts),
        min_healthy=_min_healthy(options, hosts),
        nameservers=tuple(parsers.nameserver(one) for one in options.all("nameserver")),
        controls=_controls(options, hosts, port),
        expect_mx=_expect_mx(options),
    )


def _need_effect(options: Options, endpoint: Endpoint) -> None:
    """Check that there is a port to connect to, and something to ask name servers about.

    Raises:
        UsageFault: one is given for nothing.
    """
    if options.count("port") and all(host.kind == "socket" for host in endpoint.hosts):
        raise UsageFault("port", "has no effect on a Unix socket")
    if not endpoint.nameservers:
        return
    hosts = [*endpoint.hosts, *(control.host for control in endpoint.controls)]
    if any(host.kind == "name" for host in hosts) or _connects_elsewhere(options):
        return
    if any(options.count(name) for name, asks in POLICIES.items() if asks != "tls"):
        return
    raise UsageFault("nameserver", "has no effect: nothing is looked up")


def _connects_elsewhere(options: Options) -> bool:
    """Return whether a run connects to more than the hosts that it checks."""
    has_api = "://" in (options.last("output-to") or "")
    return has_api or any(map(options.count, ("mailbox", "oauth", "mailbox-oauth")))


def _controls(options: Options, hosts: tuple[Host, ...], port: int) -> tuple[Control, ...]:
    given = options.all("control")
    if given and all(host.kind == "socket" for host in hosts):
        raise UsageFault("control", "has no effect on a Unix socket")
    controls = tuple(dict.fromkeys(parsers.control(one, port) for one in given))
    targets = set(map(parsers.identity, hosts))
    for one, control in zip(given, controls):
        if parsers.identity(control.host) in targets:
            raise UsageFault(
                "control", f"{quoted(one)} is a target of this run, name a host elsewhere"
            )
    return controls


def _family(options: Options, hosts: tuple[Host, ...], source: str | None) -> int | None:
    wanted = [
        (number, f"use-ipv{number}") for number in (4, 6) if options.count(f"use-ipv{number}")
    ]
    if len(wanted) > 1:
        raise UsageFault("use-ipv6", f"cannot be combined with {options.flag('use-ipv4')}")
    family, why = wanted[0] if wanted else (None, "")
    if source is not None:
        version = parsers.ip_version(source)
        if version is None or any(host.kind == "socket" for host in hosts):
            raise UsageFault("source", f"{quoted(source)} is not an IP address to connect from")
        if family not in (None, version):
            raise UsageFault(why, f"cannot be combined with {options.flag('source')} {source}")
        family, why = version, "source"
    is_of_sockets = all(one.kind == "socket" for one in hosts)
    if wanted and is_of_sockets and not _connects_elsewhere(options):
        raise UsageFault(why, "has no effect on a Unix socket")
    for host in hosts if family is not None else ():
        if host.kind == "address" and family != parsers.ip_version(host.ascii):
            raise UsageFault(why, f"cannot be combined with the address {host.ascii}")
    return family


def _is_about_names(options: Options, option: str, hosts: tuple[Host, ...]) -> bool:
    """Return whether an option is given that only makes sense for names."""
    if not options.count(option):
        return False
    parsers.need_names(option, hosts)
    return True


def _expect_mx(options: Options) -> tuple[Host, ...]:
    if options.count("expect-mx") and not options.count("mx"):
        raise UsageFault("expect-mx", "needs --mx")
    return parsers.unique(map(parsers.mx_host, options.all("expect-mx")), parsers.identity)


def _min_healthy(options: Options, hosts: tuple[Host, ...]) -> int | None:
    given = options.last("min-healthy")
    if given is None:
        return None
    least = parsers.count("min-healthy", given)
    if not (options.count("mx") or options.count("all-addresses") or len(hosts) >= least):
        there = f"are only {len(hosts)} hosts" if len(hosts) > 1 else "is only one host"
        raise UsageFault("min-healthy", f"asks for {least}, but there {there}")
    return least


def _tls(options: Options, endpoint: Endpoint) -> Tls:
    if options.count("starttls") and options.count("ssl"):
        raise UsageFault("ssl", f"cannot be combined with {options.flag('starttls')}")
    mode: Literal["", "starttls", "implicit"] = ""
    if options.count("ssl"):
        mode = "implicit"
    elif options.count("starttls"):
        mode = "starttls"
    elif options.count("certificate"):
        mode = "implicit" if endpoint.port == SUBMISSIONS_PORT else "starttls"
    _need_tls(options, mode)
    if options.count("no-verify") and not any(map(options.count, _ASKS_WEB)):
        for name in _POLICY_TLS:
            if options.count(name):
                flag = options.flag("no-verify")
                raise UsageFault(name, f"cannot be combined with {flag}")
    if options.count("key") and not options.count("cert"):
        raise UsageFault("key", "needs --cert FILE")
    return Tls(
        mode=mode,
        sni=_sni(options, endpoint.hosts, mode),
        verify=not options.count("no-verify"),
        ca_file=options.last("ca-file"),
        ca_path=options.last("ca-path"),
        certfile=options.last("cert"),
        keyfile=options.last("key"),
        minimum=parsers.tls_min(options.last("tls-min") or "1.2"),
        judge_expiry=not options.count("ignore-certificate-expiration"),
        all_certificates=bool(options.count("all-certificates")),
    )


def _need_tls(options: Options, mode: str) -> None:
    """Check that each option about TLS concerns a connection of this run.

    Raises:
        UsageFault: one is not. ``--sni`` without a name is a switch of check_smtp's.
    """
    has_mailbox = options.count("mailbox")
    has_web_host = options.count("mta-sts") or options.count("oauth")
    for options_of, is_there in (
        (_SESSION_TLS, mode),
        (_MAILBOX_TLS, mode or has_mailbox),
        (_POLICY_TLS, mode or has_mailbox or has_web_host),
    ):
        for name in () if is_there else options_of:
            if options.last(name) or (options.count(name) and name in _SWITCHES):
                raise UsageFault(name, "needs TLS, add -S or --ssl")


def _sni(options: Options, hosts: tuple[Host, ...], mode: str) -> str | None:
    given = options.last("sni")
    if given:
        name = parsers.host(given)
        if name.kind != "name":
            raise UsageFault("sni", f"{quoted(given)} is not a host name")
        return name.dns_name
    if mode and any(host.kind == "socket" for host in hosts) and not options.count("no-verify"):
        raise UsageFault("hostname", "TLS over a Unix socket needs --sni NAME or --no-verify")
    return None


def _greeting(options: Options, nodename: str, tls: Tls, transaction: Transaction) -> Greeting:
    expect = parsers.expect(options.last("expect"))
    after_banner = [name for name in _AFTER_BANNER if options.count(name)]
    if tls.mode == "starttls":
        after_banner.append("starttls" if options.count("starttls") else "certificate")
    if expect.code >= 400 and after_banner:
        flag = options.flag(after_banner[0])
        raise UsageFault("expect", f"after {expect.code} nothing is asked, so {flag} has no effect")
    needs_extensions = (
        any(map(options.count, _NEED_EHLO))
        or tls.mode == "starttls"
        or transaction.is_international
    )
    if options.count("ehlo") and options.count("lmtp"):
        flag = options.flag("lmtp")
        raise UsageFault("ehlo", f"cannot be combined with {flag}, which greets with LHLO")
    verb = "EHLO" if needs_extensions or options.count("ehlo") else "HELO"
    require = tuple(parsers.keyword("require", word) for word in options.all("require"))
    forbid = tuple(parsers.keyword("forbid", word) for word in options.all("forbid"))
    for one, other in itertools.product(require, forbid):
        if one.name == other.name and other.parameter in (None, one.parameter):
            flag = options.flag("require")
            raise UsageFault("forbid", f"{other} cannot be combined with {flag} {one}")
    return Greeting(
        verb="LHLO" if options.count("lmtp") else verb,
        expect=expect,
        fqdn=parsers.fqdn(options.last("fqdn"), nodename),
        require=require,
        forbid=forbid,
        needs_extensions=needs_extensions,
    )


def _login(options: Options, tls: Tls, password: str | None, oauth: OAuth | None) -> Login | None:
    user = options.last("authuser")
    mechanism = (options.last("authtype") or "").upper() or None
    if mechanism == parsers.CERTIFICATE_MECHANISM:
        return _login_by_certificate(options, tls, user)
    if user is None:
        for name in ("authtype", "authpass", "authpass-file"):
            if options.count(name):
                problem = "needs -U USER"
                if name == "authtype" and options.count("mailbox"):
                    problem += " (it is for SMTP, a mailbox takes ;AUTH=XOAUTH2 in its URL)"
                raise UsageFault(name, problem)
        if options.count("auth-insecure") and not options.count("mailbox"):
            raise UsageFault("auth-insecure", "needs -U USER or --mailbox URL")
        if oauth is not None and not options.count("mailbox"):
            raise UsageFault("oauth", "needs -U USER or --mailbox URL")
        return None
    _need_user_name(user)
    if not password and oauth is None:
        raise UsageFault("authuser", "needs a password, use --authpass-file FILE")
    return Login(
        user=user,
        password=Secret(parsers.password("authuser", password or "")),
        mechanism=mechanism,
        may_show_password=bool(tls.mode or options.count("auth-insecure")),
        oauth=oauth,
    )


def _need_user_name(user: str) -> None:
    if not user or has_controls(user):
        raise UsageFault("authuser", f"{quoted(user)} is not a user name")


def _login_by_certificate(options: Options, tls: Tls, user: str | None) -> Login:
    """Return a login in which TLS says who we are; ``user`` is for whom, if not for ourselves."""
    in_vain = ["authpass", "authpass-file", "oauth"]
    in_vain += [] if options.count("mailbox") else ["auth-insecure"]
    for name in in_vain:
        if options.count(name):
            raise UsageFault(name, f"has no effect with {parsers.CERTIFICATE_MECHANISM}")
    if not tls.mode or tls.certfile is None:
        raise UsageFault("authtype", f"{parsers.CERTIFICATE_MECHANISM} needs TLS and --cert FILE")
    if user is not None:
        _need_user_name(user)
    return Login(user or "", Secret(""), parsers.CERTIFICATE_MECHANISM)


def _transaction(options: Options) -> Transaction:
    reverse_path, size = options.last("from"), options.last("size")
    _need_one_answer(options)
    return Transaction(
        reverse_path=None if reverse_path is None else parsers.mailbox("from", reverse_path),
        size=None if size is None else parsers.size(size),
        recipients=tuple(parsers.mailbox("rcpt", one) for one in options.all("rcpt")),
        no_relay=tuple(parsers.mailbox("no-relay", one) for one in options.all("no-relay")),
        no_rcpt=tuple(parsers.mailbox("no-rcpt", one) for one in options.all("no-rcpt")),
        commands=_commands(options),
    )


def _need_one_answer(options: Options) -> None:
    """Check that each address has only one right answer.

    Raises:
        UsageFault: one is given to two options.
    """
    known: dict[tuple[str, str], str] = {}
    for name in ("rcpt", "no-relay", "no-rcpt"):
        for given in options.all(name):
            local, _, domain = given.strip("<>").rpartition("@")
            first = known.setdefault((local, domain.lower()), name)
            if first != name:
                raise UsageFault(name, f"{quoted(given)} is given to {options.flag(first)} as well")


def _commands(options: Options) -> tuple[tuple[str, str | None], ...]:
    lines = [parsers.line(one) for one in options.all("command")]
    # An engine passes a missing macro as an empty text, which every reply contains.
    texts = [parsers.response(text) if text else None for text in options.all("response")]
    if len(texts) > len(lines):
        raise UsageFault("response", f"{quoted(texts[len(lines)] or '')} has no matching -C")
    texts += [None] * (len(lines) - len(texts))
    return tuple(zip(lines, texts))


def _policies(options: Options, dnsbl_key: str | None) -> Policies:
    keyed = [one for one in options.all("dnsbl") if parsers.has_key(one)]
    if options.count("dnsbl-key-file") and not keyed:
        label = parsers.KEY_LABEL
        raise UsageFault("dnsbl-key-file", f"needs --dnsbl with the label {label} in its zone")
    if keyed and not dnsbl_key:
        raise UsageFault("dnsbl", f"{quoted(keyed[0])} needs a key, use --dnsbl-key-file FILE")
    if keyed and dnsbl_key and not parsers.is_label(dnsbl_key):
        raise UsageFault("dnsbl", "the key is not a DNS label: letters, digits and hyphens")
    return Policies(
        {name: options.all(name) for name in POLICIES if options.count(name)},
        dnsbl_key=Secret(dnsbl_key) if keyed and dnsbl_key else None,
    )


def _judging(
    options: Options,
    labels: tuple[str, ...],
    tls: Tls,
    *,
    keeps_transcript: bool,
    states: Mapping[str, State],
) -> Judging:
    tempfail = options.last("tempfail")
    verbose = options.count("verbose")
    return Judging(
        limits=thresholds.limits(
            options, labels, has_tls=bool(tls.mode or options.count("mailbox"))
        ),
        timeout_state=parsers.timeout_state(options.last("timeout")),
        tempfail=parsers.state("tempfail", "warning" if tempfail is None else tempfail),
        verbose=verbose,
        keeps_transcript=keeps_transcript or verbose > 1,
        states=states,
    )
