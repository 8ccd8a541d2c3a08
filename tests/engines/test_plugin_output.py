"""What the pages of Icinga Web make of our output: state balls of our marks, and nothing else."""

from __future__ import annotations

import pytest

from tests import plugin
from tests.engines import icinga_web
from tests.engines.icinga import timeless
from tests.engines.icinga_web import IcingaWeb
from tests.engines.plugin_output import rendered, rendered_by_monitoring
from tests.servers.scripted import Expect, ScriptedServer

REFUSING = (
    b"220 mx.example.org ESMTP\r\n",
    Expect(b"HELO"),
    b"250 mx.example.org\r\n",
    Expect(b"MAIL"),
    b"250 2.1.0 Ok\r\n",
    Expect(b"RCPT"),
    b'550-5.1.1 <info@example.org>: "unknown" & gone,see\r\n550 5.1.1 it\'s over\r\n',
    Expect(b"QUIT"),
    b"221 2.0.0 Bye\r\n",
)


LINE = (
    "SMTP CRITICAL - 127.0.0.1:25 rcpt: info@example.org: "
    '550 5.1.1 (info@example.org): "unknown" & gone,see / 5.1.1 it\'s over (after # s)'
)

LINE_AS_HTML = (
    "SMTP CRITICAL - 127.0.0.1:25 rcpt: info@example.org: 550 5.1.1 (info@example.org): "
    "&quot;unknown&quot; &amp; gone,&#8203;see / 5.1.1 it's over (after # s)"
)
"""The same in HTML, in which Icinga Web lets a browser break a line after each comma."""

STAGES = (
    ("[OK]      ", "connect   # s"),
    ("[OK]      ", "banner    # s"),
    ("[OK]      ", "helo      # s"),
    ("[OK]      ", "mail      # s"),
    ("[CRITICAL]", "rcpt      # s"),
    ("[OK]      ", "quit      # s"),
)
"""The lines below it: mark and stage."""


@pytest.fixture(scope="module")
def output() -> str:
    """Return what Icinga keeps of the output of a check that fails, times as ``#``."""
    with ScriptedServer(REFUSING).running() as server:
        outcome = plugin.run(
            *("-H", "127.0.0.1", "-p", str(server.port), "-F", "probe.example"),
            *("--rcpt", "info@example.org", "-v"),
        )
    assert (outcome.code, outcome.stderr) == (2, "")
    text, _, _ = outcome.stdout.rpartition("| ")
    return timeless(text.replace(f":{server.port}", ":25"))


def test_output(output: str) -> None:
    lines = [f"{mark} {stage}" for mark, stage in STAGES]
    assert output == "\n".join([LINE, *lines, ""])


@pytest.mark.parametrize("web", icinga_web.ALL.values(), ids=list(icinga_web.ALL))
def test_icingadb_web_turns_marks_into_balls(output: str, web: IcingaWeb) -> None:
    balls = {
        "[OK]": '<span class="state-ball ball-size-m state-ok"></span>',
        "[CRITICAL]": '<span class="state-ball ball-size-m state-critical"></span>',
    }
    page = "\n".join([LINE_AS_HTML, *_marked(balls)])
    assert rendered(output, web) == f'<div class="plugin-output preformatted">{page}</div>'


def test_monitoring_colours_marks(output: str) -> None:
    colours = {
        "[OK]": '<span class="state-ok">[OK]</span>',
        "[CRITICAL]": '<span class="state-critical">[CRITICAL]</span>',
    }
    below = "\n".join(_marked(colours))
    assert rendered_by_monitoring(output) == (
        f'<div class="plugin-output preformatted">{LINE_AS_HTML}</div>'
        f'<div class="plugin-output preformatted">{below}</div>'
    )


def _marked(marks: dict[str, str]) -> list[str]:
    """Return the lines below the first, with something else in the place of their marks."""
    return [
        f"{mark.replace(word, marks[word])} {stage}"
        for mark, stage in STAGES
        for word in [mark.strip()]
    ]
