"""An option that has no effect in a run, or contradicts another one, is wrong usage."""

from __future__ import annotations

from pathlib import Path

import pytest

from check_smtp_health import cli
from check_smtp_health.judge import occasions
from tests import command_line, plugin

ADDRESS = ("-H", "127.0.0.1")
NAME = ("-H", "mx.example")
SOCKET = ("-H", "/run/smtp")
NAMESERVER = ("--nameserver", "192.0.2.53")
BOX = ("--rcpt", "a@x", "--deliver", "--mailbox", "imap://me@{}")
PASSWORD = ("--mailbox-pass-file", "/dev/null")

ROWS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((*ADDRESS, *NAMESERVER), "--nameserver: has no effect: nothing is looked up"),
    ((*SOCKET, *NAMESERVER), "--nameserver: has no effect: nothing is looked up"),
    ((*NAME, *NAMESERVER), ""),
    ((*ADDRESS, *NAME, *NAMESERVER), ""),
    ((*ADDRESS, "--reverse", *NAMESERVER), ""),
    (
        (*ADDRESS, "-S", "--all-certificates", *NAMESERVER),
        "--nameserver: has no effect: nothing is looked up",
    ),
    ((*ADDRESS, "--sender", "a.example", *NAMESERVER), ""),
    ((*ADDRESS, "--control", "a.example", *NAMESERVER), ""),
    (
        (*ADDRESS, "--control", "192.0.2.1", *NAMESERVER),
        "--nameserver: has no effect: nothing is looked up",
    ),
    ((*SOCKET, "-p", "25"), "-p: has no effect on a Unix socket"),
    ((*SOCKET, *ADDRESS, "--port", "25"), ""),
    (
        (*ADDRESS, "-S", "--no-verify", "--ca-file", "x"),
        "--ca-file: cannot be combined with --no-verify",
    ),
    (
        (*ADDRESS, "--ssl", "--capath", "x", "--no-verify"),
        "--capath: cannot be combined with --no-verify",
    ),
    (
        (*ADDRESS, "--rcpt", "a@x", "--no-relay", "a@X"),
        "--no-relay: 'a@X' is given to --rcpt as well",
    ),
    (
        (*ADDRESS, "--rcpt", "<a@x>", "--no-rcpt", "b@x", "--no-rcpt", "a@x"),
        "--no-rcpt: 'a@x' is given to --rcpt as well",
    ),
    (
        (*ADDRESS, "--no-relay", "a@x", "--no-rcpt", "a@x"),
        "--no-rcpt: 'a@x' is given to --no-relay as well",
    ),
    ((*ADDRESS, "--rcpt", "a@x", "--rcpt", "a@x", "--no-relay", "A@x"), ""),
    (
        (*ADDRESS, "--require", "size", "--forbid", "SIZE"),
        "--forbid: SIZE cannot be combined with --require SIZE",
    ),
    (
        (*ADDRESS, "--require", "AUTH=PLAIN", "--forbid", "AUTH"),
        "--forbid: AUTH cannot be combined with --require AUTH=PLAIN",
    ),
    ((*ADDRESS, "--require", "AUTH", "--forbid", "AUTH=LOGIN"), ""),
    ((*SOCKET, "--control", "a.example"), "--control: has no effect on a Unix socket"),
    ((*SOCKET, *ADDRESS, "--control", "a.example"), ""),
    ((*ADDRESS, "--require", "AUTH=PLAIN", "--forbid", "AUTH=LOGIN"), ""),
)


API = ("--output-format", "icinga2", "--output-to", "https://u@icinga.example")
TOKEN = ("-U", "me", "-S", "--oauth", "oauth.ini")


@pytest.mark.parametrize("elsewhere", [API, TOKEN], ids=["API", "token"])
@pytest.mark.parametrize("given", [(*ADDRESS, *NAMESERVER), (*SOCKET, "-6")], ids=" ".join)
def test_an_option_is_for_every_connection(
    elsewhere: tuple[str, ...], given: tuple[str, ...], tmp_path: Path
) -> None:
    """Of Icinga's API and of what gives out tokens it is a host, an address, a connection, too."""
    file = tmp_path / "oauth.ini"
    file.write_text("[oauth]\ntoken_url = https://a.example/\nclient_id = a\nclient_secret = b\n")
    file.chmod(0o600)
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    password.chmod(0o600)
    more = [str(file) if one == file.name else one for one in elsewhere]
    more += ["--output-pass-file", str(password)] if elsewhere is API else ["--sni", "a.example"]
    assert command_line.problem(*given, *more) == ""


@pytest.mark.parametrize(("arguments", "problem"), ROWS, ids=[" ".join(row[0]) for row in ROWS])
def test_no_effect(arguments: tuple[str, ...], problem: str) -> None:
    assert command_line.problem(*arguments) == problem


def test_a_policy_host_is_verified_all_the_same() -> None:
    where = ("-H", "example.org", "--mta-sts", "-S", "--no-verify")
    assert command_line.settings(*where, "--ca-file", "x").tls.ca_file == "x"


STATES: dict[tuple[str, ...], tuple[str, ...]] = {
    (): (
        *("our-network", "port-blocked", "mailbox-full", "relay-denied", "unknown-recipient"),
        *("login-mechanism", "message-too-big", "certificate", "open_relay"),
        *("backscatter", "unproven", "forbidden", "undelivered", "bounced", "duplicated"),
        *("misplaced", "undeleted", "listed", "insecure", "unauthorised"),
        *("handshake_failed", "untrusted", "no-proxy-expected", "login-rejected"),
    ),
    ("--control", "192.0.2.1"): ("login-rejected", "open_relay"),
    ("--rcpt", "a@x"): ("open_relay", "our-network", "listed"),
    ("--no-relay", "a@x"): ("backscatter", "forbidden"),
    ("-S",): ("listed", "insecure"),
}
"""What cannot happen in a run with these options."""

POSSIBLE: dict[tuple[str, ...], tuple[str, ...]] = {
    (): (
        *("silent", "refused", "reset", "overloaded", "too-many-connections", "blocklisted"),
        *("timed_out", "transient", "rejected", "violation", "disconnected", "interrupted"),
        *("local", "greylisted", "disk-full", "tls-required", "keywords-masked", "rate-limited"),
        "unauthenticated",
    ),
    ("--control", "192.0.2.1"): ("our-network", "port-blocked"),
    ("--rcpt", "a@x"): ("unknown-recipient", "mailbox-full", "relay-denied", "sender-rejected"),
    ("--no-relay", "a@x"): ("open_relay", "unproven"),
    ("--no-rcpt", "a@x"): ("backscatter", "unproven"),
    ("-S",): ("certificate", "tls-broken", "untrusted", "handshake_failed"),
    ("-U", "me", "-P", "x", "-S"): ("login-rejected", "login-mechanism"),
    ("-r",): ("no-proxy-expected",),
    ("--dnsbl", "bl.example"): ("listed", "blocklisted"),
    ("--sender", "a.example"): ("unauthorised",),
    ("--forbid", "VRFY"): ("forbidden",),
}


@pytest.mark.parametrize(
    ("arguments", "name"), [(key, one) for key, several in STATES.items() for one in several]
)
def test_a_state_of_what_cannot_happen(arguments: tuple[str, ...], name: str) -> None:
    problem = command_line.problem(*ADDRESS, *arguments, "--state", f"{name}=ok")
    assert problem == f"--state: {name} cannot happen in this run"


@pytest.mark.parametrize(
    ("arguments", "name"), [(key, one) for key, several in POSSIBLE.items() for one in several]
)
def test_a_state_of_what_can_happen(arguments: tuple[str, ...], name: str) -> None:
    nameserver = NAMESERVER if {"--dnsbl", "--sender"} & set(arguments) else ()
    assert command_line.problem(*ADDRESS, *arguments, *nameserver, "--state", f"{name}=ok") == ""


def test_everything_can_happen_in_some_run() -> None:
    mailbox = {"password": "x", "mailbox_password": "x"}
    settings = command_line.settings(
        *("-H", "example.org", "--mx", "-S", "-r", "--control", "192.0.2.1", "-U", "me", "-e", "x"),
        *("--rcpt", "a@x", "--deliver", "--mailbox", "imap://me@x", "--no-relay", "b@x"),
        *("--no-rcpt", "c@x", "--forbid", "VRFY", "--size", "9", "--dane", "--mta-sts", "--dnsbl"),
        *("x.example", "--sender", "example.org", "--reverse"),
        *("--state", ",".join(f"{name}=ok" for name in set(cli.causes()))),
        **mailbox,
    )
    occasions.need_possible(settings)


def test_as_a_process() -> None:
    done = plugin.run(*ADDRESS, "--state", "open_relay=ok")
    assert (done.code, done.stdout, done.stderr) == (
        3,
        "SMTP UNKNOWN - --state: open_relay cannot happen in this run\n",
        "",
    )
