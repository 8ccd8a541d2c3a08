"""Options files are read as the Monitoring Plugins read them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health.config import ini
from check_smtp_health.errors import UsageFault
from tests import command_line, plugin
from tests.servers.catalogue import BANNER, HELO, QUIT
from tests.servers.scripted import ScriptedServer, Sleep

INI = """\
# a comment
; another

[check_smtp_health]
port = 2525
w=-5:
warning = helo=3
 4 =
fqdn=a = b

[ other ] ignored
H=mx.example
H = mx2.example
ehlo=
"""


@pytest.mark.parametrize(
    ("locator", "arguments"),
    [
        ("", ["--port=2525", "--warning=-5:", "--warning=helo=3", "--use-ipv4=", "--fqdn=a = b"]),
        ("other", ["--hostname=mx.example", "--hostname=mx2.example", "--ehlo="]),
    ],
)
def test_sections(tmp_path: Path, locator: str, arguments: list[str]) -> None:
    file = tmp_path / "plugins.ini"
    file.write_text(INI)
    assert ini.read((f"{locator}@{file}",)) == arguments


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("plugins.ini").write_text(INI + "#" * ini.SIZE_LIMIT)
    with pytest.raises(UsageFault) as caught:
        ini.read(("@plugins.ini",))
    assert caught.value.problem == f"'plugins.ini' is larger than {ini.SIZE_LIMIT} bytes"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("port=1\n", "line 1 of 'f' stands before the first [section]"),
        ("[check_smtp_health]\n\nport\n", "line 3 of 'f' is not key=value"),
        ("[check_smtp_health]\n=1\n", "line 2 of 'f' is not key=value"),
        ("[other]\na=1\n", "'f' has no section 'check_smtp_health'"),
        ("[check_smtp_health]\nextra-opts=@g\n", "line 2 of 'f' takes no further --extra-opts"),
        ("[check_smtp_health]\nlunch=1\n", "unknown option '--lunch'"),
        ("[check_smtp_health]\nauthpass s3cret\n", "line 2 of 'f' is not key=value"),
        ("[check_smtp_health]\npassword: s3cret=\n", "line 2 of 'f' is not key=value"),
        ("[check_smtp_health]\nssl=s3cret\n", "line 2 of 'f': ssl takes no value"),
        ("[check_smtp_health]\nX=1\n", "unknown option '-X'"),
    ],
)
def test_mistakes(text: str, problem: str) -> None:
    with pytest.raises(UsageFault) as caught:
        ini.parse(text.split("\n"), "check_smtp_health", "f")
    assert caught.value.problem == problem


@given(st.text(max_size=200))
def test_any_file_gives_arguments_or_a_fault(text: str) -> None:
    try:
        arguments = ini.parse(text.split("\n"), "s", "f")
    except UsageFault:
        return
    assert all(argument.startswith("--") and "=" in argument for argument in arguments)


@given(
    st.lists(
        st.binary(max_size=12)
        | st.builds(
            lambda key, value: key.encode() + b"=" + value,
            st.sampled_from(["H", "hostname", "p", "w", "rcpt", "f", "ssl", "S", "C", "4", "fqdn"]),
            st.binary(max_size=12),
        ),
        max_size=8,
    )
)
def test_any_file_is_taken_or_refused_in_one_good_line(lines: list[bytes]) -> None:
    text = os.fsdecode(b"\n".join([b"[s]", *lines]))
    problem = ""
    try:
        command_line.settings(*ini.parse(text.split("\n"), "s", "f"))
    except UsageFault as fault:
        problem = fault.problem
    assert problem.isprintable()
    assert "|" not in problem


def test_the_command_line_comes_after_the_file(tmp_path: Path) -> None:
    file = tmp_path / "plugins.ini"
    file.write_text("[check_smtp_health]\np=1\nt=1\n")
    done = plugin.run("-p", "2", f"--extra-opts=@{file}", "127.0.0.1")
    assert (done.code, done.line, done.perfdata, done.stderr) == (
        2,
        "SMTP CRITICAL - 127.0.0.1:2 connect: connection refused (after # s), cause: refused",
        "time=#s;;;0;1",
        "",
    )


def test_a_value_is_no_end_of_options() -> None:
    done = plugin.run("-e", "--", "--extra-opts=@/nonexistent", "-H", "127.0.0.1")
    assert (done.code, done.stdout, done.stderr) == (
        3,
        "SMTP UNKNOWN - --extra-opts: cannot read '/nonexistent': No such file or directory\n",
        "",
    )


def test_standard_places(tmp_path: Path) -> None:
    with ScriptedServer((Sleep(0.02), BANNER, *HELO, *QUIT)).running() as server:
        options = f"[check_smtp_health]\nH=127.0.0.1\np={server.port}\nF=me.example\n"
        (tmp_path / "plugins.ini").write_text(options)
        for arguments, environment in (
            (("--extra-opts",), {"MP_CONFIG_FILE": str(tmp_path / "plugins.ini")}),
            (("--extra-opts", "-t2"), {"NAGIOS_CONFIG_PATH": f"/nonexistent:{tmp_path}"}),
        ):
            done = plugin.run(*arguments, environment=environment)
            assert (done.code, done.line, done.stderr) == (
                0,
                f"SMTP OK - 127.0.0.1:{server.port} answered in # s (slowest: # # s)",
                "",
            )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("p=s3cret", "--port of --extra-opts: '***' is not a port (1 to 65535)"),
        ("w=1,helo=s3'cret", "--warning of --extra-opts: '***' is not a threshold range"),
        (
            "authpass-file=s3cret",
            "--authpass-file of --extra-opts: cannot read '***': No such file or directory",
        ),
        ("proxy=v1", ""),
    ],
)
def test_no_value_of_a_file_is_repeated(tmp_path: Path, line: str, problem: str) -> None:
    """It might be a password that stands in the wrong place."""
    file = tmp_path / "plugins.ini"
    file.write_text(f"[check_smtp_health]\nH=127.0.0.1\n{line}\n")
    assert command_line.problem(f"--extra-opts=@{file}") == problem


def test_what_was_typed_is_repeated(tmp_path: Path) -> None:
    file = tmp_path / "plugins.ini"
    file.write_text("[check_smtp_health]\nH=127.0.0.1\n")
    assert command_line.problem(f"--extra-opts=@{file}", "-p", "x") == (
        "-p: 'x' is not a port (1 to 65535)"
    )


def test_a_file_that_somebody_holds_back(tmp_path: Path) -> None:
    """A FIFO would keep whoever opens it waiting for a writer."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for option in ("--extra-opts=@", "--authpass-file=", "--mailbox-pass-file=", "--cert="):
        flag, _, at = option.partition("=")
        problem = command_line.problem("-H", "127.0.0.1", "-S", f"{flag}={at}{fifo}")
        assert problem == f"{flag}: '{fifo}' is not a regular file"


@pytest.mark.parametrize(
    ("locator", "problem"),
    [
        ("", "no options file in any of the standard places; give @FILE"),
        ("@/dev/zero", "'/dev/zero' is not a regular file"),
        ("@/", "cannot read '/': Is a directory"),
        ("@a\0b", "cannot read 'a\\x00b': embedded null byte"),
    ],
)
def test_unreadable(locator: str, problem: str) -> None:
    with pytest.raises(UsageFault) as caught:
        ini.read((locator,))
    assert (caught.value.option, caught.value.problem) == ("extra-opts", problem)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "plugins.ini"
    file.write_bytes(b"[check_smtp_health]\nhostname=m\xfcller\n")
    done = plugin.run(f"--extra-opts=@{file}")
    assert (done.code, done.stdout, done.stderr) == (
        3,
        "SMTP UNKNOWN - --hostname of --extra-opts: '***' is not a host name, IP address or socket "
        "path\n",
        "",
    )
