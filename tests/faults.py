"""Both programs against every row of the catalogue, and docs/faults.md made of what they said.

``python -m tests.faults`` shows it and writes the file, which test_catalogue compares.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from check_smtp_health.escaping import escaped, shortened
from tests import needs, plugin
from tests.servers import wire
from tests.servers.catalogue import CATALOGUE, GROUPS, NAME, Answer, Behaviour, Group
from tests.servers.certificates import Certificates
from tests.servers.scripted import ScriptedServer, Step

DOCUMENT = Path(__file__).parents[1] / "docs" / "faults.md"

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")

ENDLESS = "none"
"""The state of a program that had to be killed."""

SLACK = 0.5
"""Seconds that the plugin may go over its deadline."""

GRACE = 2
"""Seconds over its deadline after which a program is killed."""

CELL = 200
"""Characters of a line that a cell of the document shows."""

QUICK, SLOW, THEIRS = 3, 4, 6
"""Rows at the same time: more than that, and a small machine would be late for their deadlines."""


@dataclass(frozen=True)
class Result:
    """What the plugin did: its outcome, its answer, what it did that the script did not expect.

    ``seconds`` are those from the first that was seen of it to its end; its start-up is none of
    them, which takes its time on a busy machine.
    """

    outcome: plugin.Outcome
    answer: Answer
    unexpected: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Place:
    """Where a row stands: its server, the words that name it, and what to put before a command.

    ``moments`` are those at which the way there saw something.
    """

    server: ScriptedServer
    target: tuple[str, ...]
    prefix: tuple[str, ...] = ()
    moments: Sequence[float] = ()

    def answer(self, code: int, line: str) -> Answer:
        """Return what a program said, without what differs from run to run."""
        line = re.sub(r"\d{4}-\d\d-\d\d|\w{3} \w{3} [ \d]\d [\d:]{8} \d{4} \+0000", "#", line)
        line = re.sub(rf"(:|port ){self.server.port}\b", r"\g<1>25", line)
        return Answer(STATES[code] if 0 <= code < 4 else str(code), line)


class Arena:
    """Where both programs meet rows: the servers' certificates, and a place for files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._certificates = Certificates(folder, NAME)

    @contextmanager
    def standing(self, row: Behaviour) -> Iterator[Place]:
        """Have the row's server, and its network, run until the block ends."""
        script = self.script(row)
        if row.network is None:
            with ScriptedServer(script).running() as server:
                yield Place(server, ("-H", server.address, "-p", str(server.port)))
        else:
            folder = Path(tempfile.mkdtemp(dir=self._folder))
            with row.network.standing(script, folder) as (server, prefix, moments):
                yield Place(server, ("-H", row.host), prefix, moments)

    @property
    def trusted(self) -> str:
        """The file with the authority that good certificates are by."""
        return self._certificates.good.path

    def script(self, row: Behaviour) -> tuple[Step, ...]:
        """Return what the row's server does, with its certificates."""
        return self._certificates.script(row.script)

    def arguments(self, row: Behaviour, place: Place) -> tuple[str, ...]:
        """Return the plugin's arguments for a row."""
        return (
            *(*place.target, "-t", str(row.timeout), "-F", "me.example"),
            *(*_name(row.asks.ours), *row.asks.ours),
        )

    def ours(self, row: Behaviour) -> Result:
        """Have the plugin meet the row."""
        with self.standing(row) as place:
            outcome = plugin.run(
                *self.arguments(row, place),
                prefix=place.prefix,
                environment={"SSL_CERT_FILE": self.trusted},
            )
            ended = time.monotonic()
        moments = [*place.moments, *(moment for _, moment in place.server.moments)]
        return Result(
            outcome,
            place.answer(outcome.code, outcome.line_with_slowest),
            tuple(place.server.faults),
            ended - min(moments) if moments else outcome.times().get("time", 0.0),
        )

    def theirs(self, row: Behaviour, check_smtp: str) -> Answer:
        """Have check_smtp meet the row."""
        with self.standing(row) as place:
            command = (
                *(*place.prefix, check_smtp, *place.target, "-t", str(row.timeout)),
                *("-F", "me.example", *row.asks.for_check_smtp),
            )
            try:
                code, stdout = run_theirs(command, row.timeout + GRACE)
            except subprocess.TimeoutExpired:
                return Answer(ENDLESS, f"(still running {GRACE} s after its deadline)")
        line = stdout.split("\n")[0].rstrip("\r")
        # Its own perfdata, not a forged one.
        line = re.sub(r"\|time=[\d.]+s;[\d.]*;[\d.]*;0\.0+$", "", line)
        return place.answer(code, re.sub(r"[\d.]+ sec\.", "# sec.", line))

    def both(
        self, rows: Sequence[Behaviour], check_smtp: str | None
    ) -> dict[Behaviour, tuple[Result, Answer | None]]:
        """Have both meet many rows at the same time; without check_smtp, the plugin alone."""
        with ExitStack() as stack:
            quick, slow, other = (
                stack.enter_context(ThreadPoolExecutor(size, initializer=_give_way))
                for size in (QUICK, SLOW, THEIRS)
            )
            ours = {row: (quick if row.quick else slow).submit(self.ours, row) for row in rows}
            theirs = {
                row: other.submit(self.theirs, row, check_smtp)
                for row in rows
                if check_smtp is not None and not row.asks.unasked
            }
        return {
            row: (
                self._again_if_held_up(row, ours[row].result()),
                theirs[row].result() if row in theirs else None,
            )
            for row in rows
        }

    def _again_if_held_up(self, row: Behaviour, result: Result) -> Result:
        """Return the same, or what comes of the row alone: so many at once take time."""
        is_due = (result.answer, result.outcome.labels) == (row.due, row.labels)
        return result if is_due and in_time(row, result) else self.ours(row)


def _give_way() -> None:
    """Have others go first: tests that run at the same time may have stricter limits."""
    os.setpriority(os.PRIO_PROCESS, 0, 10)  # on Linux of this thread, and of what it starts


def in_time(row: Behaviour, result: Result) -> bool:
    """Whether the plugin took no longer than it may, and each stage as long as it should."""
    times = result.outcome.times()
    return result.seconds < (row.timeout if row.quick else row.timeout + SLACK) and all(
        least <= times.get(stage, 0) <= most for stage, (least, most) in row.times.items()
    )


def run_theirs(command: Sequence[str], timeout: float = 30) -> tuple[int, str]:
    """Run check_smtp, in English; return its exit code and what it printed."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        timeout=timeout,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def check_smtp() -> str | None:
    """Return the path of check_smtp, or None if the version of docs/faults.md is not available."""
    path = needs.found("check_smtp")
    is_right = path is not None and run_theirs([path, "-V"])[1].startswith("check_smtp v2.3")
    return path if is_right else None


Results = Mapping[Behaviour, tuple[Result, Union[Answer, None]]]

RIGHT = "yes"
WRONG = {
    "looks well": "passed as OK",
    "looks ill": "are fine but were reported as a problem",
    "another state": "got another state",
    "had to be killed": "outlasted its deadline",
}
"""How check_smtp can be wrong, and how that is said of several rows."""


def judgement(row: Behaviour, theirs: Answer | None) -> str:
    """Return whether check_smtp is right, and how it is not: a key of ``WRONG``."""
    if theirs is None:
        return f"cannot ask: {row.asks.unasked}"
    if theirs.state == row.state:
        return RIGHT
    if theirs.state == ENDLESS:
        return "had to be killed"
    if theirs.state == "OK":
        return "looks well"
    return "looks ill" if row.state == "OK" else "another state"


def total(results: Results) -> str:
    """Return how often check_smtp was right."""
    count = Counter(judgement(row, theirs) for row, (_, theirs) in results.items())
    right = count[RIGHT]
    asked = right + sum(count[one] for one in WRONG)
    others = [f"{count[one]} {words}" for one, words in WRONG.items()]
    return (
        f"check_smtp got {right} of {asked} right. Of the others, {', '.join(others[:-1])}, "
        f"and {others[-1]}. It has no option to ask about the remaining {len(results) - asked}."
    )


def _name(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the option that names a server's certificate, where one is asked for."""
    return ("--sni", NAME) if {"-S", "--ssl", "-D"} & set(asked) else ()


def document(results: Results) -> str:
    """Return what docs/faults.md is to hold."""
    head = HEAD.format(rows=len(results), total=total(results))
    return "\n".join((head, *(_section(group, results) for group in GROUPS)))


HEAD = """\
# Faults: what servers and networks do wrong, and what is said of it

What do this plugin and `check_smtp` say of servers and networks that are broken?

`make faults` has both programs meet {rows} servers and networks, most of them broken, and writes
this file; a test does so again and compares. Each has 1 s (`-t 1`; in some rows more), and is told
`-F me.example`; with TLS check_smtp_health also gets `--sni mail.example.org`. `#` is a time or a
date, the port is always 25, and a long line is cut.

**{total}**

Right means the [state](reference.md#states) that check_smtp_health gives, in every row. Where
check_smtp has no option that asks the same, the row does not count.
"""


def _section(group: Group, results: Results) -> str:
    rows = [
        (group.subject, "options", "check_smtp_health", "check_smtp 2.3.3", "is its state right?"),
        ("---",) * 5,
        *(_cells(row, *results[row]) for row in group.rows),
    ]
    return "\n".join((f"## {group.title}\n", *map(_row, rows), ""))


def is_written(row: Behaviour, ours: Result, theirs: Answer | None) -> bool:
    """Whether docs/faults.md says this of a row."""
    return _row(_cells(row, ours, theirs)) in DOCUMENT.read_text().splitlines()


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(row: Behaviour, ours: Result, theirs: Answer | None) -> tuple[str, ...]:
    asked = row.asks
    options = code(shlex.join(asked.ours)) if asked.ours else ""
    if theirs is not None and asked.for_check_smtp != asked.ours:
        options += f" (check_smtp: {code(shlex.join(asked.for_check_smtp)) or 'none'})"
    judged = judgement(row, theirs)
    return (
        row.name,
        options,
        code(ours.answer.line),
        f"{theirs.state}: {code(theirs.line)}" if theirs is not None else "",
        f"**no**: {judged}" if judged in WRONG else judged,
    )


def code(text: str) -> str:
    """Return a text as code in a cell of a Markdown table, whatever is in it."""
    if not text:
        return ""
    text = shortened("".join(c if c.isprintable() else _escaped(c) for c in text), CELL)
    # Code ends with as many backticks as it began with, so these are more than the text has.
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", r"\|")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def main() -> int:
    """Show what both say of each row, write the document, and return the exit code."""
    path = check_smtp()
    if path is None or not wire.is_possible():
        print("needs root, a TUN device and check_smtp 2.3; docs/faults.md stays as it is")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        results = Arena(Path(folder)).both(CATALOGUE, path)
    for group in GROUPS:
        print(f"\n{group.title} ({group.subject} …)\n")
        for row in group.rows:
            _show(row, *results[row])
    print(f"\n{total(results)}")
    wrong = [row.name for row, (ours, _) in results.items() if ours.answer != row.due]
    if wrong:
        print(f"not as the catalogue has it, so that docs/faults.md stays as it is: {wrong}")
        return 1
    DOCUMENT.write_text(document(results))
    return 0


def _show(row: Behaviour, ours: Result, theirs: Answer | None) -> None:
    print(f"  {row.name}")
    print(f"      {ours.answer.line}")
    judged = judgement(row, theirs)
    if theirs is not None:
        print(f"      check_smtp: {theirs.state}: {escaped(theirs.line)}")
    print(f"      {f'WRONG: {judged}' if judged in WRONG else judged}")


if __name__ == "__main__":
    sys.exit(main())
