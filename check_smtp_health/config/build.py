"""From options to ``Settings``: a function per group, with the rules between its options.

Those of the login and of the round trip are in modules of their own, which few runs load. Reads and
sends nothing. Whatever is wrong is a ``UsageFault`` with the sentence for the user.
"""

from __future__ import annotations

import re

from check_smtp_health.config import hosts, thresholds
from check_smtp_health.config.option_table import ASKS_WEB, LOGIN, POLICIES, ROUND_TRIP
from check_smtp_health.config.settings import (
    SIZE_DIGITS,
    SMTP_PORT,
    SUBMISSIONS_PORT,
    Endpoint,
    Expect,
    Greeting,
    Judging,
    Policies,
    Settings,
    Tls,
    Transaction,
)
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.loading import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from check_smtp_health.config.accounts import OAuth
    from check_smtp_health.config.getopt import Options
    from check_smtp_health.config.hosts import Control
    from check_smtp_health.config.keywords import Keyword
    from check_smtp_health.config.settings import State
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

_CODE = r"[45][0-9][0-9](?=[ -]|\Z)"

PATH_OCTETS = 254
"""Octets of an address; its path of 256 has the brackets, too (RFC 5321 section 4.5.3.1.3)."""

_QUOTED = r'"(?:[^"\\]|\\.)*"'

_NEED_CHECKS = ("at-once", "spread")

_MAY_HOLD_MACROS = {
    *("fqdn", "expect", "authuser", "from", "rcpt", "no-relay", "no-rcpt"),
    *("command", "response"),
}
"""Options whose values may be almost anything, even the name of a macro."""


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
    for name in options.given():
        if name in _MAY_HOLD_MACROS:
            _need_values(name, options.all(name))
    endpoint = _endpoint(options)
    tls = _tls(options, endpoint)
    _need_effect(options, endpoint)
    transaction = _transaction(options)
    return Settings(
        endpoint=endpoint,
        greeting=_greeting(options, nodename, tls, transaction),
        tls=tls,
        login=(
            load("config.login:build")(options, tls, password, oauth[0])
            if any(map(options.count, LOGIN))
            else None
        ),
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
            causes=causes,
        ),
    )


def _need_values(name: str, values: Sequence[str]) -> None:
    """Check that no value is a macro that an engine has left as it was.

    Raises:
        UsageFault: one is; the server would be blamed for what it says of it.
    """
    for value in values:
        if value.startswith("$") and value.endswith("$"):
            from check_smtp_health.config import remedies

            if remedies.is_macro(value):
                raise UsageFault(name, f"{quoted(value)} is not a value")


def _endpoint(options: Options) -> Endpoint:
    targets = hosts.unique(map(hosts.host, options.all("hostname")), hosts.identity)
    if not targets:
        raise UsageFault("", "no host given, use -H HOST (try --help)")
    source = options.last("source")
    port = hosts.port(options.last("port"))
    port = port or (SUBMISSIONS_PORT if options.count("ssl") else SMTP_PORT)
    family = _family(options, targets, source)
    return Endpoint(
        hosts=targets,
        port=port,
        timeout=_timeout(options.last("timeout")),
        family=family,
        source=source,
        proxy=_proxy(options.last("proxy") or "v1") if options.count("proxy") else "",
        all_addresses=_is_about_names(options, "all-addresses", targets),
        mx=_is_about_names(options, "mx", targets),
        min_healthy=_min_healthy(options, targets),
        nameservers=tuple(hosts.nameserver(one) for one in options.all("nameserver")),
        controls=_controls(options, targets, port, family),
        expect_mx=_expect_mx(options),
    )


def _timeout(given: str | None) -> float:
    """Return the deadline in seconds."""
    if given is None:
        return 10.0
    return thresholds.seconds("timeout", given, given.partition(":")[0])


def _proxy(given: str) -> str:
    """Return the version of the PROXY protocol."""
    if given not in ("v1", "v2"):
        raise UsageFault("proxy", f"{quoted(given)} is neither v1 nor v2")
    return given


def _need_effect(options: Options, endpoint: Endpoint) -> None:
    """Check that there is a port to connect to, and something to ask name servers about.

    Raises:
        UsageFault: one is given for nothing.
    """
    if options.count("port") and all(host.kind == "socket" for host in endpoint.hosts):
        raise UsageFault("port", "has no effect on a Unix socket")
    if not endpoint.nameservers:
        return
    named = [*endpoint.hosts, *(control.host for control in endpoint.controls)]
    if any(host.kind == "name" for host in named) or _connects_elsewhere(options):
        return
    if any(options.count(name) for name, asks in POLICIES.items() if asks != "tls"):
        return
    raise UsageFault("nameserver", "has no effect: nothing is looked up")


def _connects_elsewhere(options: Options) -> bool:
    """Return whether a run connects to more than the hosts that it checks."""
    has_api = "://" in (options.last("output-to") or "")
    return has_api or any(map(options.count, ("mailbox", "oauth", "mailbox-oauth")))


def _controls(
    options: Options, targets: tuple[Host, ...], port: int, family: int | None
) -> tuple[Control, ...]:
    given = options.all("control")
    if given and all(host.kind == "socket" for host in targets):
        raise UsageFault("control", "has no effect on a Unix socket")
    controls = tuple(dict.fromkeys(hosts.control(one, port) for one in given))
    known = set(map(hosts.identity, targets))
    for one, control in zip(given, controls):
        if hosts.identity(control.host) in known:
            raise UsageFault(
                "control", f"{quoted(one)} is a target of this run, name a host elsewhere"
            )
        is_address = control.host.kind == "address"
        if is_address and family not in (None, hosts.ip_version(control.host.ascii)):
            problem = f"{control.host.given} is never asked: this run uses IPv{family} only"
            raise UsageFault("control", problem)
    return controls


def _family(options: Options, targets: tuple[Host, ...], source: str | None) -> int | None:
    wanted = [
        (number, f"use-ipv{number}") for number in (4, 6) if options.count(f"use-ipv{number}")
    ]
    if len(wanted) > 1:
        raise UsageFault("use-ipv6", f"cannot be combined with {options.flag('use-ipv4')}")
    family, why = wanted[0] if wanted else (None, "")
    if source is not None:
        version = hosts.ip_version(source)
        if version is None:
            raise UsageFault("source", f"{quoted(source)} is not an IP address to connect from")
        if any(host.kind == "socket" for host in targets):
            raise UsageFault("source", "cannot be combined with a Unix socket")
        if family not in (None, version):
            raise UsageFault(why, f"cannot be combined with {options.flag('source')} {source}")
        family, why = version, "source"
    is_of_sockets = all(one.kind == "socket" for one in targets)
    if wanted and is_of_sockets and not _connects_elsewhere(options):
        raise UsageFault(why, "has no effect on a Unix socket")
    for host in targets if family is not None else ():
        if host.kind == "address" and family != hosts.ip_version(host.ascii):
            raise UsageFault(why, f"cannot be combined with the address {host.ascii}")
    return family


def _is_about_names(options: Options, option: str, targets: tuple[Host, ...]) -> bool:
    """Return whether an option is given that only makes sense for names."""
    if not options.count(option):
        return False
    hosts.need_names(option, targets)
    return True


def _expect_mx(options: Options) -> tuple[Host, ...]:
    if options.count("expect-mx") and not options.count("mx"):
        raise UsageFault("expect-mx", "needs --mx")
    return hosts.unique(map(hosts.mx_host, options.all("expect-mx")), hosts.identity)


def _min_healthy(options: Options, targets: tuple[Host, ...]) -> int | None:
    given = options.last("min-healthy")
    if given is None:
        return None
    if not hosts.is_digits(given) or len(given) > 5 or not int(given):
        raise UsageFault("min-healthy", f"{quoted(given)} is not a number of targets")
    least = int(given)
    if not (options.count("mx") or options.count("all-addresses") or len(targets) >= least):
        there = f"are only {len(targets)} hosts" if len(targets) > 1 else "is only one host"
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
    if options.count("no-verify") and not any(map(options.count, ASKS_WEB)):
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
        minimum=_tls_min(options.last("tls-min")),
        judge_expiry=not options.count("ignore-certificate-expiration"),
    )


def _tls_min(given: str | None) -> str:
    """Return the lowest TLS version."""
    if given is None:
        return "1.2"
    if given not in ("1.0", "1.1", "1.2", "1.3"):
        raise UsageFault("tls-min", f"{quoted(given)} is not one of 1.0, 1.1, 1.2, 1.3")
    return given


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
            if options.last(name) or (options.count(name) and name != "sni"):
                raise UsageFault(name, "needs TLS, add -S or --ssl")


def _sni(options: Options, targets: tuple[Host, ...], mode: str) -> str | None:
    given = options.last("sni")
    if given:
        problem = f"{quoted(given)} is not a host name"
        try:
            name = hosts.host(given)
        except UsageFault as fault:
            raise UsageFault("sni", problem) from fault
        if name.kind != "name":
            raise UsageFault("sni", problem)
        return name.dns_name
    if mode and any(host.kind == "socket" for host in targets) and not options.count("no-verify"):
        raise UsageFault("hostname", "TLS over a Unix socket needs --sni NAME or --no-verify")
    return None


def _greeting(options: Options, nodename: str, tls: Tls, transaction: Transaction) -> Greeting:
    expect = _expect(options.last("expect"))
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
    require: tuple[Keyword, ...] = ()
    forbid: tuple[Keyword, ...] = ()
    if options.count("require") or options.count("forbid"):
        require, forbid = load("config.keywords:build")(options)
    return Greeting(
        verb="LHLO" if options.count("lmtp") else verb,
        expect=expect,
        fqdn=hosts.fqdn(options.last("fqdn"), nodename),
        require=require,
        forbid=forbid,
        needs_extensions=needs_extensions,
    )


def _expect(given: str | None) -> Expect:
    """Return what the banner must be; a code that is no refusal is a text like any other."""
    code = re.match(_CODE, given) if given else None
    return Expect(int(code[0]) if code else 220, given or "")


def _transaction(options: Options) -> Transaction:
    reverse_path, size = options.last("from"), options.last("size")
    _need_one_answer(options)
    has_commands = options.count("command") or options.count("response")
    return Transaction(
        reverse_path=None if reverse_path is None else _mailbox("from", reverse_path),
        size=None if size is None else _size(size),
        recipients=tuple(_mailbox("rcpt", one) for one in options.all("rcpt")),
        no_relay=tuple(map(_foreign, options.all("no-relay"))),
        no_rcpt=tuple(_mailbox("no-rcpt", one) for one in options.all("no-rcpt")),
        commands=load("config.commands:build")(options) if has_commands else (),
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


def _mailbox(option: str, given: str) -> str:
    """Return an address for MAIL or RCPT, without the angle brackets; empty for the null one.

    What a server thinks of the address is what the run is to find out; here only that is refused
    which could not be sent as one argument.
    """
    has_brackets = given.startswith("<") and given.endswith(">")
    address = given[1:-1] if has_brackets else given
    # What is in quotes may hold anything (RFC 5321 section 4.1.2).
    bare = re.sub(_QUOTED, "", address, count=1) if address.startswith('"') else address
    is_path = (
        address.isprintable()
        and not set(bare) & set('<> "')
        and len(address.encode("utf-8")) <= PATH_OCTETS
    )
    if re.fullmatch(r"[^@, ]+@[^@, ]+(?:, ?[^@, ]+@[^@, ]+)+", given):
        remedy = "use one of them" if option == "from" else f"repeat --{option}"
        raise UsageFault(option, f"{quoted(given)} is more than one address, {remedy}")
    local, at, domain = address.rpartition("@")
    if not is_path or (option != "from" and not address) or (at and not (local and domain)):
        raise UsageFault(option, f"{quoted(given)} is not a mail address")
    return address


def _foreign(given: str) -> str:
    """Return an address that a server must not relay to.

    One without a domain is the server's own, unless it is written as relays of other networks have
    it: ``user%domain``, ``domain!user``.

    Raises:
        UsageFault: it proves nothing about relaying.
    """
    address = _mailbox("no-relay", given)
    if not set(address) & set("@%!"):
        problem = f"{quoted(given)} has no domain, so no server would relay it"
        raise UsageFault("no-relay", problem)
    return address


def _size(given: str) -> int:
    """Return the octets of a message to announce (RFC 1870)."""
    if not hosts.is_digits(given) or len(given) > SIZE_DIGITS:
        raise UsageFault("size", f"{quoted(given)} is not a number of bytes")
    return int(given)


def _policies(options: Options, dnsbl_key: str | None) -> Policies:
    return Policies(
        {name: options.all(name) for name in POLICIES if options.count(name)},
        dnsbl_key=(
            load("config.credentials:key_of_zones")(options, dnsbl_key)
            if options.count("dnsbl") or options.count("dnsbl-key-file")
            else None
        ),
    )


def _judging(
    options: Options,
    labels: tuple[str, ...],
    tls: Tls,
    *,
    keeps_transcript: bool,
    causes: Sequence[str],
) -> Judging:
    _, colon, word = (options.last("timeout") or "").partition(":")
    timeout_state: State = "critical"
    if colon:
        timeout_state = load("config.states:state")("timeout", word)
    tempfail: State = "warning"
    if options.count("tempfail"):
        tempfail = load("config.states:state")("tempfail", options.last("tempfail"))
    states: Mapping[str, State] = {}
    if options.count("state"):
        states = load("config.states:states")(options.all("state"), causes)
    verbose = options.count("verbose")
    return Judging(
        limits=thresholds.limits(
            options, labels, has_tls=bool(tls.mode or options.count("mailbox"))
        ),
        timeout_state=timeout_state,
        tempfail=tempfail,
        verbose=verbose,
        keeps_transcript=keeps_transcript or verbose > 1,
        states=states,
    )
