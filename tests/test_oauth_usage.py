"""What can be wrong with an access token's options and files, told before anybody is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from check_smtp_health import cli, stages
from check_smtp_health.config import build, credentials, getopt, oauth
from check_smtp_health.errors import UsageFault
from check_smtp_health.probing import targets
from tests import plugin

URL = "token_url = https://login.example/token"
ID = "client_id = me"
SECRET = "client_secret = s3cret"
WHOLE = (URL, ID, SECRET)

HOST = ("-H", "mx.example", "-S")
LOGIN = (*HOST, "-U", "me", "--oauth", "FILE")
BOX = ("--rcpt", "a@x", "--deliver", "--mailbox", "imaps://me@x")
ODD = ("client_secret_file = odd",)


def problem(folder: Path, lines: tuple[str, ...], *arguments: str) -> str:
    """Return what is wrong with a command line whose FILE has these lines."""
    file = folder / "FILE"
    file.write_text("\n".join(("[oauth]", *lines)))
    file.chmod(0o600)
    options = getopt.read([one.replace("FILE", "./FILE") for one in arguments])
    try:
        if options.fault is not None:
            raise options.fault
        passwords = credentials.read(options, {})
        got = oauth.read(options)
        targets.prepare(
            build.build(
                options, stages.MEASURES, "here", *passwords, oauth=got, causes=cli.causes()
            )
        )
    except UsageFault as fault:
        return options.told(fault)
    return ""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("https_proxy", raising=False)
    for name, text in (("secret", "s3cret\n"), ("odd", "s3\tcret\n"), ("empty", "\n")):
        Path(name).write_text(text)
        Path(name).chmod(0o600)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (WHOLE, ""),
        ((URL, ID, "client_secret_file = secret"), ""),
        ((URL, ID, "refresh_token = r3fresh"), ""),
        ((URL, ID, SECRET, "refresh_token = r3fresh", "grant = refresh_token"), ""),
        ((*WHOLE, "grant = client_credentials", "scope = a b", "# a comment", "[x]", "y"), ""),
        (("token_url = HTTPS://[::1]:8443?x=y", ID, SECRET), ""),
        ((ID, SECRET), "'./FILE' has no token_url"),
        ((URL, SECRET), "'./FILE' has no client_id"),
        (
            (URL, ID),
            "'./FILE' has no client_secret, which the grant client_credentials needs",
        ),
        (
            (*WHOLE, "grant = refresh_token"),
            "'./FILE' has no refresh_token, which the grant refresh_token needs",
        ),
        (
            (*WHOLE, "grant = password"),
            "'./FILE': grant is not one of client_credentials, refresh_token",
        ),
        (
            (*WHOLE, "refresh_token = r3fresh", "grant = client_credentials"),
            "'./FILE': refresh_token has no effect with the grant client_credentials",
        ),
        ((*WHOLE, SECRET), "line 5 of './FILE': client_secret is given twice"),
        (
            (*WHOLE, "client_secret_file = secret"),
            "'./FILE' has both client_secret and client_secret_file",
        ),
        (
            (*WHOLE, "client-secret = s3cret"),
            "line 5 of './FILE' is not key=value",
        ),
        ((*WHOLE, "s3cret"), "line 5 of './FILE' is not key=value"),
        (
            (*WHOLE, "tokenurl = s3cret"),
            "line 5 of './FILE': tokenurl is not one of token_url, client_id, scope, grant, "
            "client_secret, refresh_token, client_secret_file, refresh_token_file",
        ),
        ((*WHOLE, "scope ="), "line 5 of './FILE': scope is empty or contains a control character"),
        (
            (*WHOLE, "scope = a\x1bb"),
            "line 5 of './FILE': scope is empty or contains a control character",
        ),
        ((URL, ID, "client_secret_file = empty"), "the first line of './empty' is empty"),
        (
            (URL, ID, *ODD),
            "'odd' contains a control character in its first line",
        ),
        (
            (URL, ID, "client_secret_file = none"),
            "'./FILE': cannot read what client_secret_file names: No such file or directory",
        ),
        *(
            (
                (f"token_url = {url}", ID, SECRET),
                "'./FILE': token_url is not https://HOST[:PORT]/PATH",
            )
            for url in (
                *("http://login.example/token", "login.example/token", "https://", "https:///x"),
                *("https://me:s3cret@login.example/", "https://login.example/#x", "https://a b/"),
                *("https://login.example:0/", "https://login.example:65536/", "https://a..b/"),
                *("https://login.example/a b", "https://login.example/\u00e9", "https://-x/"),
            )
        ),
    ],
)
def test_a_file(tmp_path: Path, lines: tuple[str, ...], said: str) -> None:
    for option in ("--oauth", "--mailbox-oauth"):
        more = ("-U", "me") if option == "--oauth" else BOX
        given = (*HOST, option, "FILE", *more)
        expected = f"{option}: {said}" if said else ""
        assert problem(tmp_path, lines, *given) == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (LOGIN, ""),
        ((*LOGIN, "-A", "oauthbearer"), ""),
        # Authorities are for whoever gives out tokens, too.
        ((*LOGIN, "--no-verify", "--ca-path", "."), ""),
        ((*LOGIN, *BOX, "-w", "token=1"), ""),
        ((*HOST, "--oauth", "FILE", *BOX), ""),
        ((*LOGIN, "--mailbox-oauth", "FILE", *BOX), ""),
        ((*HOST, "--oauth", "FILE"), "--oauth: needs -U USER or --mailbox URL"),
        ((*LOGIN, "--mailbox-oauth", "FILE"), "--mailbox-oauth: needs --mailbox URL"),
        ((*LOGIN, "-P", "x"), "-P: cannot be combined with --oauth"),
        ((*LOGIN, "--authpass-file", "secret"), "--authpass-file: cannot be combined with --oauth"),
        (
            (*HOST, *BOX, "--mailbox-oauth", "FILE", "--mailbox-pass-file", "secret"),
            "--mailbox-pass-file: cannot be combined with --mailbox-oauth",
        ),
        (
            (*HOST, *BOX, "--oauth", "FILE", "--mailbox-pass-file", "secret"),
            "--oauth: has no effect: there is no -U, and a password for the mailbox",
        ),
        (
            (*HOST, *BOX, "--oauth", "FILE", "--mailbox-oauth", "secret"),
            "--mailbox-oauth: line 1 of 'secret' stands before the first [section]",
        ),
        (
            (*LOGIN, "-A", "PLAIN"),
            "-A: PLAIN takes no access token (--oauth), XOAUTH2 and OAUTHBEARER do",
        ),
        (
            ("-H", "mx.example", "-U", "me", "--oauth", "FILE"),
            "--oauth: without TLS the access token would be shown, use -S, --ssl or "
            "--auth-insecure",
        ),
        (
            (*LOGIN, *BOX[:-1], "imaps://me;AUTH=PLAIN@x"),
            "--mailbox: PLAIN takes no access token (--oauth)",
        ),
        (
            (*LOGIN, *BOX[:-1], "imaps://me;AUTH=NTLM@x"),
            "--mailbox: 'imaps://me;AUTH=NTLM@x' asks for a mechanism other than PLAIN, XOAUTH2, "
            "OAUTHBEARER",
        ),
        (
            (*LOGIN, *BOX, "--mailbox", "imaps://me;AUTH=XOAUTH2@x/Junk"),
            "--mailbox: asks for two ways to log in to the account of me@x/Junk",
        ),
        ((*HOST, "-w", "token=1"), "-w: this run does not measure token"),
        ((*HOST, "-A", "EXTERNAL"), "-A: EXTERNAL needs TLS and --cert FILE"),
        ((*HOST, "-A", "external", "-P", "x"), "-P: has no effect with EXTERNAL"),
        (
            (*HOST, "-A", "EXTERNAL", "--auth-insecure"),
            "--auth-insecure: has no effect with EXTERNAL",
        ),
        ((*HOST, "-A", "EXTERNAL", "--oauth", "FILE"), "--oauth: has no effect with EXTERNAL"),
        ((*HOST, "-A", "EXTERNAL", "-U", "", "--cert", "x"), "-U: '' is not a user name"),
    ],
)
def test_options(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    assert problem(tmp_path, WHOLE, *arguments) == said


@pytest.mark.parametrize("evil", ["\ud800", "\u00e9"])
def test_values_beyond_ascii_are_sent_as_they_are(tmp_path: Path, evil: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(f"[oauth]\n{URL}\n{ID}{evil}\n{SECRET}\n".encode("utf-8", "surrogatepass"))
    file.chmod(0o600)
    got = oauth.read(getopt.read(["--oauth", str(file)]))[0]
    assert got is not None
    assert dict(got.fields)["client_id"].startswith("me")


def test_the_mark_of_an_editor_is_no_part_of_a_file(tmp_path: Path) -> None:
    """Some put a byte order mark in front of a text."""
    for name, text in (("file", f"[oauth]\n{URL}\n{ID}\n{ODD[0]}\n"), ("odd", "s3cret\r\n")):
        (tmp_path / name).write_text(f"\ufeff{text}", encoding="utf-8")
        (tmp_path / name).chmod(0o600)
    got = oauth.read(getopt.read(["--oauth", "file"]))[0]
    assert got is not None
    assert {name: secret.reveal() for name, secret in got.secrets} == {"client_secret": "s3cret"}
    options = getopt.read(["--authpass-file", "odd"])
    assert credentials.password(options, {}) == "s3cret"


@pytest.mark.parametrize("name", ["file", "secret"])
def test_no_file_may_be_read_by_everyone(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("\n".join(("[oauth]", URL, ID, "client_secret_file = secret")))
    (tmp_path / "file").chmod(0o600)
    (tmp_path / name).chmod(0o644)
    done = plugin.run(*HOST, "-U", "me", "--oauth", "file")
    assert (done.code, done.stderr) == (3, "")
    assert done.stdout == (
        f"SMTP UNKNOWN - --oauth: '{name}' can be read by everyone, run chmod o-r on it\n"
    )


def test_a_file_that_is_no_file_of_ours(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "large").write_text("[oauth]\n" + "# \n" * 30000)
    (tmp_path / "large").chmod(0o600)
    for name, said in (
        ("fifo", "'fifo' is not a regular file"),
        ("none", "cannot read 'none': No such file or directory"),
        ("large", "'large' is larger than 65536 bytes"),
        ("secret", "line 1 of 'secret' stands before the first [section]"),
        ("empty", "'empty' has no section 'oauth'"),
    ):
        done = plugin.run(*HOST, "-U", "me", "--oauth", name)
        assert (done.code, done.stdout, done.stderr) == (3, f"SMTP UNKNOWN - --oauth: {said}\n", "")
