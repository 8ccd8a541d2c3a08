"""``--checks``: every check of a file, each with an answer of its own, and a line about the whole.

A line is a command line: its options, and beside them those of the command line that it does not
say otherwise. Whatever goes wrong with one is that service's UNKNOWN.
"""

from __future__ import annotations

import re

from check_smtp_health.config import checks_file, defaults, getopt, hosts
from check_smtp_health.config.settings import Endpoint, Settings
from check_smtp_health.config.thresholds import SECONDS, TIMEOUT_LIMIT
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import STATUS_LIMIT, harmless, quoted, shortened
from check_smtp_health.judge.check import HealthCheck, scale
from check_smtp_health.judge.text import NAME_LIMIT, HealthSummary, where
from check_smtp_health.loading import remember
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import clock
from check_smtp_health.output import answer
from check_smtp_health.probing import checks, targets
from check_smtp_health.probing.probe import ProbePlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from signal import Signals

    from check_smtp_health.config.checks_file import Line
    from check_smtp_health.config.getopt import Options
    from check_smtp_health.judge.check import Scale
    from check_smtp_health.net.turns import Ended
    from check_smtp_health.output import Format
    from check_smtp_health.output.answer import Answer
    from check_smtp_health.output.writer import Writer
    from check_smtp_health.report import Host

OPTIONS = ("checks", "at-once", "spread")
"""The options of this module."""

WHERE_TO = ("output-to", "output-pass-file", "output-ca-file")

OF_THE_RUN = (
    *(*OPTIONS, "output-format", *WHERE_TO, "output-host", "output-service"),
    *("print-definition", "explain", "version", "help"),
)
"""The options that are for the run, and for no line."""

NAMED_BY_LINES = ("output-host", "output-service")

AT_ONCE = 100
"""Sessions at a time where nobody says how many."""

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
"""By exit code."""

WORST_FIRST = (2, 1, 3, 0)
"""Exit codes, as Monitoring Plugins rank them."""

CRITICAL, UNKNOWN = 2, 3

SEPARATOR, MORE = "; ", "; and {} more"
"""What stands between two problems, and for those for which there is no room."""

PROBLEM_LIMIT = 240
"""Characters of one service's problem in the line about the whole, which is to name several."""


class Means(NamedTuple):
    """What ``cli`` lends: it is the one that knows the environment, and the alarm clock.

    ``settings`` makes settings of options; ``alarm`` ends the process in so many seconds, unless it
    is set anew.
    """

    settings: Callable[[Options], Settings]
    alarm: Callable[[float], object]


class _Asked(NamedTuple):
    """A line that can be carried out: its plan, what it is judged by, the options behind that."""

    line: Line
    plan: ProbePlan
    scale: Scale
    options: Options


class _Problem(NamedTuple):
    """A check that is not OK: its number in the file, its exit code, what is to be said of it."""

    code: int
    number: int
    text: str


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
        self._verbose = options.count("verbose")
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
        self._counts = dict.fromkeys(WORST_FIRST, 0)
        self._problems: list[_Problem] = []
        self._lines = checks_file.read(self._path)
        self._asked: list[_Asked] = []
        self._wrong: list[tuple[Line, str]] = []
        remember()
        self._prepare(defaults.without(options, OF_THE_RUN), limit)
        longest = max((one.plan.settings.longest for one in self._asked), default=0.0)
        self._patience = longest + self._spread

    def _prepare(self, beside: Options, limit: float) -> None:
        preparer = _Preparer(beside, self._means.settings)
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
        code = self._code(loss)
        if self._writer is not None and not self._tells_whole:
            # Nothing but the exit code is there to say that the format has no place for a result.
            is_whole = self._takes_unnamed or all(self._has_place(line) for line in self._lines)
            return self._writer.document(), "", code if is_whole else CRITICAL
        status = self._status(code, loss)
        return self._pieces(status, seconds), f"{status}\n", code

    # What comes of each

    def _take_wrong(self, line: Line, problem: str) -> None:
        at = f"line {line.number} of {checks_file.name(self._path)}"
        space = "" if problem.startswith(":") else " "
        now = clock.now()
        said = f"{at}{space}{problem}"
        self._pass_on(answer.unknown(line.host, line.service, (now, now), said))
        self._note(line, UNKNOWN, said)

    def _take(self, asked: _Asked, ended: Ended) -> None:
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
            self._note(line, code, of_service(check) if code else "")
            check.summary = None  # which holds the check: nobody collects what holds itself
        except Exception as error:
            from check_smtp_health.config import remedies

            said = remedies.explained(error, asked.options.told)
            self._pass_on(answer.unknown(line.host, line.service, times, said))
            self._note(line, UNKNOWN, said)

    def _has_place(self, line: Line) -> bool:
        """Whether a line has the names that the format needs."""
        return bool(line.service and (line.host or not self._needs_host))

    def _pass_on(self, made: Answer) -> None:
        """Have an answer written, if it is known whose it is, or nobody needs to know."""
        if self._writer is not None and (made.service or self._takes_unnamed):
            self._writer.take(made)

    def _note(self, line: Line, code: int, said: str) -> None:
        """Keep of an answer what the line about the whole needs."""
        self._counts[code] += 1
        if code:
            named = " ".join(filter(None, (line.host, line.service)))
            shown = f"{harmless(named)} {said}" if named else said
            self._problems.append(_Problem(code, line.number, shown))

    # What is said of the whole

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

    def _code(self, loss: str) -> int:
        if loss:
            return CRITICAL
        return next(code for code in WORST_FIRST if self._counts[code] or not code)

    def _status(self, code: int, loss: str) -> str:
        others = [(self._counts[one], STATES[one]) for one in WORST_FIRST if one]
        counted = [f"{count} {state}" for count, state in others if count]
        head = ", ".join((f"{self._counts[0]} of {len(self._lines)} checks OK", *counted))
        texts = [loss] if loss else []
        texts += [shortened(one.text, PROBLEM_LIMIT) for one in self._worst_first()]
        said = f"{head}: {_joined(texts, STATUS_LIMIT - len(head) - 2)}" if texts else head
        return f"SMTP {STATES[code]} - {said}"

    def _worst_first(self) -> list[_Problem]:
        return sorted(self._problems, key=lambda one: (WORST_FIRST.index(one.code), one.number))

    def _pieces(self, status: str, seconds: float) -> Iterator[str]:
        counts = [(STATES[code].lower(), self._counts[code]) for code in range(len(STATES))]
        items = " ".join(f"{name}={count}" for name, count in counts)
        perfdata = f"| checks={len(self._lines)} {items} time={seconds:.6f}s"
        if not self._verbose:
            yield f"{status} {perfdata}\n"
            return
        yield f"{status}\n"
        for one in self._worst_first():
            yield f"[{STATES[one.code]}] {one.text}\n"
        yield f"{perfdata}\n"


class _Template(NamedTuple):
    """What lines have in common that differ in their host only."""

    plan: ProbePlan
    scale: Scale
    options: Options


class _Preparer:
    """Turns lines into what is to be done; ``options`` are those of the last one.

    Most lines of a file ask the same of different hosts. Where such a host is of the same kind, it
    takes the place of the other's in what that line came to.
    """

    def __init__(self, beside: Options, settings: Callable[[Options], Settings]) -> None:
        self.options = self._defaults = beside
        self._settings = settings
        self._templates: dict[object, _Template] = {}
        self._room = checks.EqualRoom()

    def prepared(self, line: Line) -> _Asked:
        """Return what is to be done for a line.

        Raises:
            UsageFault: something is wrong with it.
        """
        key, host = _replaceable(line.arguments)
        template = self._templates.get(key)
        if template is not None and host is not None:
            plan, by, options = template
            # In a third of the time that ``_replace`` takes: it is most of what a line costs.
            of_plan, of_settings = list(plan), list(plan.settings)
            of_settings[0] = Endpoint._make(((host,), *plan.settings.endpoint[1:]))
            of_plan[0] = Settings._make(of_settings)
            return _Asked._make((line, ProbePlan._make(of_plan), by, options))
        settings = self._settings(self._read(line.arguments))
        plan = targets.prepare(settings)._replace(room=self._room)
        by = scale(settings)
        if host is not None and _is_template(settings):
            self._templates[key] = _Template(plan, by, self.options)
        return _Asked(line, plan, by, self.options)

    def _read(self, arguments: Sequence[str]) -> Options:
        options = self.options = getopt.read(list(arguments))
        if options.fault is None and options.count("extra-opts"):
            from check_smtp_health.config import ini

            options = self.options = ini.expanded(options)
        if options.fault is not None:
            raise options.fault
        for name in OF_THE_RUN:
            if options.count(name):
                raise UsageFault(name, "is for the whole run, not for one of its checks")
        self.options = defaults.beside(options, self._defaults)
        return self.options


def _replaceable(arguments: tuple[str, ...]) -> tuple[object, Host | None]:
    """Return what a line asks whatever its host, and its host, where that is the first word."""
    if len(arguments) < 2 or arguments[0] != "-H":
        return None, None
    try:
        host = hosts.host(arguments[1])
    except UsageFault:
        return None, None  # whoever knows the options will say so
    return (host.kind, ":" in host.ascii, arguments[2:]), host


def _is_template(settings: Settings) -> bool:
    """Whether nothing that was made for these settings depends on who their host is."""
    endpoint = settings.endpoint
    return not (
        endpoint.has_several
        or endpoint.controls
        or settings.policies.given
        or settings.roundtrip
        or (settings.login and settings.login.oauth)
    )


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
    if not re.fullmatch(SECONDS, given) or float(given) > TIMEOUT_LIMIT:
        most = f"{TIMEOUT_LIMIT:.0f}"
        raise UsageFault("spread", f"{quoted(given)} is not a number of seconds up to {most}")
    return float(given)


def of_service(check: HealthCheck) -> str:
    """Return what is to be said of a check that has been called, behind its service's name.

    A single target is left out there.
    """
    said: str = check.summary_str
    if check.count is None:
        said = said.removeprefix(f"{where(check.targets[0].report, NAME_LIMIT)} ")
    return said


def _joined(texts: Sequence[str], room: int) -> str:
    """Return as many texts as there is room for, at least one, and how many there is none for."""
    line, left = texts[0], len(texts) - 1
    for one in texts[1:]:
        longer = f"{line}{SEPARATOR}{one}"
        if len(longer) + len(MORE.format(left)) > room:
            break
        line, left = longer, left - 1
    return line + (MORE.format(left) if left else "")
