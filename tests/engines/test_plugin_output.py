"""What the pages of Icinga Web make of our output: state balls of our marks, and nothing else."""

from __future__ import annotations

import re

import pytest

from tests import plugin
from tests.engines import icinga_web
from tests.engines.icinga_web import IcingaWeb
from tests.engines.plugin_output import rendered, rendered_by_monitoring
from tests.masking import timeless
from tests.servers.scripted import Expect, ScriptedServer

WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN", "UP", "DOWN")
"""Of which Icinga Web makes balls, between square brackets and between round ones."""

REFUSING = (
    b"220 mx.example.org ESMTP\r\n",
    Expect(b"HELO"),
    b"250 mx.example.org\r\n",
    Expect(b"MAIL"),
    b'550-5.1.1 <info@example.org>: "unknown" & gone,see\r\n',
    "".join(f"550-[{word}]\r\n" for word in WORDS).encode(),
    f"550 {' '.join(f'({word})' for word in WORDS)}, it's over\r\n".encode(),
    Expect(b"QUIT"),
    b"221 2.0.0 Bye\r\n",
)

SAID = (
    '550 5.1.1 (info@example.org): "unknown" & gone,see'
    " / (OK ) / (WARNING ) / (CRITICAL ) / (UNKNOWN ) / (UP ) / (DOWN )"
    " / (OK ) (WARNING ) (CRITICAL ) (UNKNOWN ) (UP ) (DOWN ), it's over"
)

SAID_AS_HTML = (
    "550 5.1.1 (info@example.org): &quot;unknown&quot; &amp; gone,&#8203;see"
    " / (OK ) / (WARNING ) / (CRITICAL ) / (UNKNOWN ) / (UP ) / (DOWN )"
    " / (OK ) (WARNING ) (CRITICAL ) (UNKNOWN ) (UP ) (DOWN ), it's over"
)
"""The same in HTML, in which Icinga Web lets a browser break a line after each comma."""

LINE = "SMTP CRITICAL - 127.0.0.1:25 mail: {said} (after # s)"

BELOW = """\
[CRITICAL] mail: {said} (after # s)
connect   #.###### s ==================== [OK]
banner    #.###### s ==================== [OK]
helo      #.###### s ==================== [OK]
mail      #.###### s ==================== [CRITICAL] {said}
quit      #.###### s ==================== [OK]"""
"""The lines below it: the problem, then the stages, each mark behind its bar."""

BALLS = {
    "[OK]": '<span class="state-ball ball-size-m state-ok"></span>',
    "[CRITICAL]": '<span class="state-ball ball-size-m state-critical"></span>',
}

COLOURS = {
    "[OK]": '<span class="state-ok">[OK]</span>',
    "[CRITICAL]": '<span class="state-critical">[CRITICAL]</span>',
}


@pytest.fixture(scope="module")
def output() -> str:
    """Return what Icinga keeps of the output of a check that fails.

    Digits of times are ``#``, bars are of one sign: what stands behind them stays where it is.
    """
    with ScriptedServer(REFUSING).running() as server:
        outcome = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "probe.example"),
            *("-f", "info@example.org", "-v"),
        )
    assert (outcome.code, outcome.stderr) == (2, "")
    text, _, _ = outcome.stdout.rpartition("| ")
    text = re.sub(r"\d\.\d{6} s", "#.###### s", re.sub("[\u2588\u2591]", "=", text))
    return timeless(text.replace(f":{server.port}", ":25"))


def test_output(output: str) -> None:
    assert output == f"{LINE}\n{BELOW}\n".replace("{said}", SAID)


@pytest.mark.parametrize("web", icinga_web.ALL.values(), ids=list(icinga_web.ALL))
def test_icingadb_web_turns_our_marks_into_balls(output: str, web: IcingaWeb) -> None:
    page = as_html(f"{LINE}\n{BELOW}", BALLS)
    assert rendered(output, web) == f'<div class="plugin-output preformatted">{page}</div>'


@pytest.mark.parametrize("web", icinga_web.ALL.values(), ids=list(icinga_web.ALL))
def test_balls_stand_below_each_other(output: str, web: IcingaWeb) -> None:
    rows = [row for row in rendered(output, web).split("\n") if "====" in row]
    assert [row.index("<span") for row in rows] == [len("connect   #.###### s ") + 21] * 5


def test_monitoring_colours_our_marks(output: str) -> None:
    assert rendered_by_monitoring(output) == (
        f'<div class="plugin-output preformatted">{as_html(LINE, COLOURS)}</div>'
        f'<div class="plugin-output preformatted">{as_html(BELOW, COLOURS)}</div>'
    )


def as_html(text: str, marks: dict[str, str]) -> str:
    """Return what becomes of a text where these become of our marks."""
    for mark, instead in marks.items():
        text = text.replace(mark, instead)
    return text.replace("{said}", SAID_AS_HTML)
