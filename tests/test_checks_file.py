"""What a line of ``--checks FILE`` may be, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from check_smtp_health.config import checks_file, defaults, getopt
from check_smtp_health.config.checks_file import Line

FORM = checks_file.FORM
QUOTE = "has a quote that is not closed, or a backslash at its end"
NAMES = "has a name of more than 255 characters, or with unprintable ones"


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("a;S;-H x", Line(1, "a", "S", ("-H", "x"))),
        (" a ;\tS ; -H  x\t-4 ", Line(1, "a", "S", ("-H", "x", "-4"))),
        ("a;S;-H x\r", Line(1, "a", "S", ("-H", "x"))),
        ("\n\n# x;y;z\n  # x\n\t\na;S;-H x", Line(6, "a", "S", ("-H", "x"))),
        ("a;S;", Line(1, "a", "S")),
        (";S;-H x", Line(1, "", "S", ("-H", "x"))),
        ("a;S;-C 'a b' -R \"c;d\" e\\ f", Line(1, "a", "S", ("-C", "a b", "-R", "c;d", "e f"))),
        ("a;S;-H $HOME *.x ~ `y` #z", Line(1, "a", "S", ("-H", "$HOME", "*.x", "~", "`y`", "#z"))),
        ("ä;S ö;-H x", Line(1, "ä", "S ö", ("-H", "x"))),
        ("a;S;-C a\xa0b", Line(1, "a", "S", ("-C", "a\xa0b"))),
        ("a;S;-f ''", Line(1, "a", "S", ("-f", ""))),
        ("nonsense", Line(1, "", "", (), FORM)),
        ("a;", Line(1, "", "", (), FORM)),
        (";;", Line(1, "", "", (), FORM)),
        ("a;S", Line(1, "a", "S", (), FORM)),
        ("a;S;-C 'x", Line(1, "a", "S", (), QUOTE)),
        ("a;S;-C x\\", Line(1, "a", "S", (), QUOTE)),
        ("a;S;-C \0", Line(1, "a", "S", (), "contains a control character")),
        ("a;S\x1b;-C x", Line(1, "", "", (), "contains a control character")),
        ("a;S\x85;-C x", Line(1, "", "", (), "contains a control character")),
        ("a;S;-C \udcff", Line(1, "a", "S", (), "is not UTF-8")),
        ("a\udcff;S;-C x", Line(1, "", "", (), "is not UTF-8")),
        ("a\u202e;S;-C x", Line(1, "", "", (), NAMES)),
        (f"a;{'S' * 256};-H x", Line(1, "", "", (), NAMES)),
        (f"a;S;{'x' * 8189}", Line(1, "a", "S", (), "is longer than 8192 characters")),
    ],
)
def test_a_line(text: str, due: Line) -> None:
    assert list(checks_file.parse(text)) == [due]


def test_a_service_of_several_lines_is_wrong_once() -> None:
    text = "a;S;-H x\na;T;-H x\nb;S;-H x\na;S;-H y\na;S;-H z"
    assert list(checks_file.parse(text)) == [
        Line(5, "a", "S", ("-H", "x"), "is for the same service as line 4"),
        Line(2, "a", "T", ("-H", "x")),
        Line(3, "b", "S", ("-H", "x")),
    ]


def beside(own: str, others: str) -> list[str]:
    """Return what a line comes to with what stands on the command line, as flags and values."""
    both = defaults.beside(getopt.read(own.split()), getopt.read(others.split()))
    names = (
        *("hostname", "port", "warning", "critical", "state", "starttls", "ssl", "command"),
        *("ca-file", "no-verify", "authuser", "authpass-file", "oauth", "mailbox-oauth"),
    )
    told = [f"{name}={value}" for name in names for value in both.all(name)]
    return [*told, *(f"response={value}" for value in both.all("response"))]


@pytest.mark.parametrize(
    ("own", "others", "due"),
    [
        ("-H a", "-H b -p 26", ["hostname=a", "port=26"]),
        ("", "-H b", ["hostname=b"]),
        ("a", "-H b", ["hostname=a"]),
        ("-H a -H c", "-H b", ["hostname=a", "hostname=c"]),
        ("-p 27", "-p 26", ["port=27"]),
        ("-w 3", "-w 1,helo=2 -c 4", ["warning=helo=2", "warning=3", "critical=4"]),
        ("-w helo=3", "-w 1,helo=2", ["warning=1", "warning=helo=3"]),
        ("-w time=3", "-w 1", ["warning=time=3"]),
        ("--state a=ok", "--state a=warning,b=ok", ["state=b=ok", "state=a=ok"]),
        ("--ssl", "-S", ["ssl="]),
        ("-S", "--ssl", ["starttls="]),
        ("-C x", "-C y -R z", ["command=x"]),
        ("-U a --authpass-file b", "--oauth c", ["authuser=a", "authpass-file=b"]),
        ("-U a", "--oauth c", ["authuser=a", "oauth=c"]),
        ("--oauth c", "-H a", ["hostname=a", "oauth=c"]),
        ("-H a -S", "--ca-file b", ["hostname=a", "starttls=", "ca-file=b"]),
        ("-H a -S --no-verify", "--ca-file b", ["hostname=a", "starttls=", "no-verify="]),
        (
            "-S --no-verify -U a --oauth c",
            "--ca-file b",
            ["starttls=", "ca-file=b", "no-verify=", "authuser=a", "oauth=c"],
        ),
        ("-H a -S --ca-file b", "--no-verify", ["hostname=a", "starttls=", "ca-file=b"]),
        ("-H a", "-U b --authpass-file c", ["hostname=a", "authuser=b", "authpass-file=c"]),
    ],
)
def test_what_the_command_line_says_holds_where_a_line_says_nothing(
    own: str, others: str, due: list[str]
) -> None:
    assert beside(own, others) == due


def test_names_that_are_alike_to_a_receiver() -> None:
    """Checkmk has no quotes in a service's name, and no angle brackets in a host's."""
    lines = list(checks_file.parse("h;a'b;-H x\nh;a\"b;-H y\nh<;c;-H x\nh>;c;-H x"))
    assert [line.problem for line in lines] == [
        "is for the same service as line 1",
        "is for the same service as line 3",
    ]
