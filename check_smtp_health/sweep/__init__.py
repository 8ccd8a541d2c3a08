"""``--checks``: every check of a file, each with an answer of its own, and a line about the whole.

A line is a command line: its options, and beside them those of the command line that it does not
say otherwise. Whatever goes wrong with one is that service's UNKNOWN.
"""

from __future__ import annotations

import re

from check_smtp_health.config import checks_file
from check_smtp_health.config.thresholds import TIMEOUT_LIMIT, is_number
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.judge.check import HealthCheck
from check_smtp_health.judge.text import HealthSummary
from check_smtp_health.loading import remember
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import clock
from check_smtp_health.output import answer
from check_smtp_health.probing import checks, targets
from check_smtp_health.sweep.preparing import WHERE_TO, Asked, Preparer
from check_smtp_health.sweep.whole import CRITICAL, UNKNOWN, Whole, of_service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from signal import Signals

    from check_smtp_health.config.checks_file import Line
    from check_smtp_health.config.getopt import Options
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.turns import Ended
    from check_smtp_health.output import Format
    from check_smtp_health.output.answer import Answer
    from check_smtp_health.output.writer import Writer

NAMED_BY_LINES = ("output-host", "output-service")

AT_ONCE = 100
"""Sessions at a time where nobody says how many."""


class Means(NamedTuple):
    """What ``cli`` lends: it is the one that knows the environment, and the alarm clock.

    ``settings`` makes settings of options; ``alarm`` ends the process in so many seconds, unless it
    is set anew.
    """

    settings: Callable[[Options], Settings]
    alarm: Callable[[float], object]


class Sweep:
    """All checks of a file."""

    def __init__(self, options: Options, form: Format, means: Means, limit: float) -> None:
        """Read all files and make ready what can be; nothing is sent.

        A hundred lines may take ``limit`` seconds.

        Raises:
            UsageFault: there is nothing to begin with.
        """
        for name in NAMED_BY_LINES:
            if options.count(name):
                raise UsageFault(name, "has no effect with --checks, where each line names its own")
        if options.count("checks") > 1:
            raise UsageFault("checks", "takes one FILE")
        self._at_once = _at_once(options.last("at-once"))
        _make_room(self._at_once)
        self._spread = _spread(options.last("spread"))
        self._path = options.last("checks") or ""
        self._is_verbose = bool(options.count("verbose"))
        self._means = means
        to = None
        self._writer: Writer | None = None
        if form.names != "none" or any(map(options.count, WHERE_TO)):
            from check_smtp_health.config import destination
            from check_smtp_health.output.writer import Writer

            to = destination.read(options)
            self._writer = Writer(form, to)
        self._needs_host = form.names == "both"
        self._takes_unnamed = form.names == "optional"
        self._tells_whole = to is not None or self._writer is None
        self._lines = checks_file.read(self._path)
        self._whole = Whole(len(self._lines))
        self._asked: list[Asked] = []
        self._wrong: list[tuple[Line, str]] = []
        remember()
        self._prepare(options, limit)
        longest = max((one.plan.settings.longest for one in self._asked), default=0.0)
        self._patience = longest + self._spread

    def _prepare(self, options: Options, limit: float) -> None:
        preparer = Preparer(options, self._means.settings)
        for at, line in enumerate(self._lines):
            if at % 100 == 0:
                self._means.alarm(limit)
            if line.problem:
                self._wrong.append((line, line.problem))
                continue
            try:
                self._asked.append(preparer.prepared(line))
            except Exception as error:
                from check_smtp_health.config import remedies

                problem = remedies.explained(error, preparer.options.told)
                self._wrong.append((line, f": {problem}"))

    def run(self, signals: Sequence[Signals], grace: float) -> tuple[Iterator[str], str, int]:
        """Run all checks; return what goes to standard output, a short form of it, the exit code.

        The alarm strikes where nothing happens for ``grace`` seconds longer than a check may take.
        """
        began = clock.monotonic()
        for line, problem in self._wrong:
            self._take_wrong(line, problem)
        patience = self._patience + 2 * grace
        self._means.alarm(patience)

        set_at = clock.now()

        def report(number: int, ended: Ended) -> None:
            nonlocal set_at
            if ended.moment - set_at > grace / 2:
                self._means.alarm(patience)
                set_at = ended.moment
            self._take(self._asked[number], ended)

        plans = [one.plan for one in self._asked]
        checks.run(plans, self._at_once, self._spread, report, signals)
        seconds = clock.monotonic() - began
        loss = self._loss(signals, grace)
        code = self._whole.code(loss)
        if self._writer is not None and not self._tells_whole:
            # Nothing but the exit code is there to say that the format has no place for a result.
            is_whole = self._takes_unnamed or all(self._has_place(line) for line in self._lines)
            return self._writer.document(), "", code if is_whole else CRITICAL
        status = self._whole.status(code, loss)
        return self._whole.pieces(status, seconds, is_verbose=self._is_verbose), f"{status}\n", code

    def _take_wrong(self, line: Line, problem: str) -> None:
        at = f"line {line.number} of {checks_file.name(self._path)}"
        space = "" if problem.startswith(":") else " "
        now = clock.now()
        said = f"{at}{space}{problem}"
        self._pass_on(answer.unknown(line.host, line.service, (now, now), said))
        self._whole.note(line, UNKNOWN, said)

    def _take(self, asked: Asked, ended: Ended) -> None:
        """Judge what came of a check; whatever goes wrong with that is its UNKNOWN, too."""
        line, times = asked.line, (ended.moment - ended.seconds, ended.moment)
        try:
            if isinstance(ended.value, Exception):
                raise ended.value
            settings = asked.plan.settings
            check = HealthCheck(settings, ended.value, asked.scale)
            check.summary = HealthSummary(check)
            check()
            code = int(check.exitcode)
            if self._writer is not None:
                verbose = settings.judging.verbose
                self._pass_on(answer.judged(line.host, line.service, times, check, verbose))
            self._whole.note(line, code, of_service(check) if code else "")
            check.summary = None  # which holds the check: nobody collects what holds itself
        except Exception as error:
            from check_smtp_health.config import remedies

            said = remedies.explained(error, asked.options.told)
            self._pass_on(answer.unknown(line.host, line.service, times, said))
            self._whole.note(line, UNKNOWN, said)

    def _has_place(self, line: Line) -> bool:
        """Whether a line has the names that the format needs."""
        return bool(line.service and (line.host or not self._needs_host))

    def _pass_on(self, made: Answer) -> None:
        """Have an answer written, if it is known whose it is, or nobody needs to know."""
        if self._writer is not None and (made.service or self._takes_unnamed):
            self._writer.take(made)

    def _loss(self, signals: Sequence[Signals], grace: float) -> str:
        """Write the answers to where they go, and return what is to be said of those lost."""
        if self._writer is None or not self._tells_whole:
            return ""
        from check_smtp_health.output.writer import LIMIT

        self._means.alarm(LIMIT + grace)
        lost, problem = self._writer.close(signals)
        if not lost:
            return ""
        return f"output: {lost} result{'' if lost == 1 else 's'} lost, {problem}"


def _at_once(given: str | None) -> int:
    """Return how many sessions there may be at a time.

    Raises:
        UsageFault: that is no number, or more than this process may open files for.
    """
    if given is None:
        return AT_ONCE
    if not re.fullmatch("[0-9]{1,5}", given) or not int(given):
        raise UsageFault("at-once", f"{quoted(given)} is not a number of sessions")
    return int(given)


def _make_room(count: int) -> None:
    """Let this process open as many files as it may.

    Raises:
        UsageFault: these are too few for so many sessions.
    """
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and count + targets.SPARE > hard:
        raise UsageFault(
            "at-once",
            f"{count} sessions are too many for {hard} open files (ulimit -n), "
            f"{max(0, hard - targets.SPARE)} would fit",
        )


def _spread(given: str | None) -> float:
    if given is None:
        return 0.0
    if not is_number(given) or float(given) > TIMEOUT_LIMIT:
        most = f"{TIMEOUT_LIMIT:.0f}"
        raise UsageFault("spread", f"{quoted(given)} is not a number of seconds up to {most}")
    return float(given)
