"""argv in, one answer and an exit code out, whatever happens.

Exit codes are 0, 1, 2 and 3; nothing is written to standard error. What is imported here at the
top cannot be missing; everything else is imported under the guard.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import sys

from check_smtp_health import __version__, stdout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from check_smtp_health.config.accounts import OAuth
    from check_smtp_health.config.getopt import Options
    from check_smtp_health.config.settings import Settings
    from check_smtp_health.net.operations import TimedProcedure

_NO_MEMORY = "out of memory"

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""As in ``errors``, which itself may be what cannot be loaded for lack of a file descriptor."""

_ENDING = (
    *("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGVTALRM"),
    *("SIGPROF", "SIGIO", "SIGPWR"),
)
SIGNALS = tuple(getattr(signal, name) for name in _ENDING if hasattr(signal, name))
"""What would end the process without a line; so would SIGALRM, which is our own last resort."""

PREPARATION_LIMIT = 5.0
"""Seconds for reading options and files, which no deadline covers."""

GRACE = 1.0
"""Seconds after the deadline at which the last resort strikes."""

TRACE_VERBOSITY = 3
"""How often ``-v`` must be given for the traceback of a bug."""

PROGRAM = "check_smtp_health"
UNKNOWN = 3


class _Stopped(BaseException):
    """A signal came while no server was being asked; ``by`` is the name of the first.

    It is kept here, because Python may have swallowed the exception (in a weakref's callback).
    """

    by = ""


def main() -> NoReturn:
    """Run the plugin on ``sys.argv`` and end the process.

    By ``os._exit``: a thread may still be stuck in the resolver, and a standard output that is
    gone must not turn the exit code into 120.
    """
    code = UNKNOWN
    gc.disable()  # 5 % of a run that ends before there is anything to collect
    try:
        code = _Run(sys.argv[1:]).guarded()
    except BaseException:
        code = UNKNOWN  # nobody is there to read why
    finally:
        os._exit(code)


def _on_signals(action: signal.Handlers | Callable[[int, Any], None]) -> None:
    for number in (*SIGNALS, signal.SIGALRM):
        signal.signal(number, action)


def _stop(number: int, frame: object) -> None:
    _turn_deaf()  # a second one must not cost us the line that says so
    _Stopped.by = signal.Signals(number).name
    raise _Stopped


def _turn_deaf() -> None:
    """Take no signals any more; what gets stuck now has a second until the last resort."""
    _on_signals(signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _give_up)
    signal.setitimer(signal.ITIMER_REAL, GRACE)


def _interruption() -> str:
    if _Stopped.by == "SIGALRM":
        return f"reading options and files took more than {PREPARATION_LIMIT:g} s"
    return f"interrupted by {_Stopped.by} while preparing"


def _give_up(number: int, frame: object) -> None:
    """End a run that does not end by itself: the last resort, and somebody else's alarm."""
    problem = _interruption() if _Stopped.by else "stuck beyond the deadline, ended by SIGALRM"
    if not stdout.must_wait(problem):
        os._exit(stdout.give_up(problem))


class _Run:
    """One run: what the command line says, as far as it could be read, and what comes of it."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._options: Options | None = None

    def guarded(self) -> int:
        """Run, print the answer, whatever happens, and return the exit code."""
        try:
            if sys.stdout is None:
                return (
                    UNKNOWN  # nobody reads it, and file descriptor 1 may be something else by now
                )
            sys.stderr = io.StringIO()  # for libraries that warn of what a server sent, or log
            _on_signals(_stop)
            # Whoever started us may have blocked them.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (*SIGNALS, signal.SIGALRM))
            signal.setitimer(signal.ITIMER_REAL, PREPARATION_LIMIT)
            return self._protected()
        except _Stopped:
            return self._unknown(_interruption())

    def _protected(self) -> int:
        try:
            try:
                return self._run()
            except MemoryError:
                return stdout.give_up(_NO_MEMORY)
            except Exception as error:
                return self._failed(error)
        except (MemoryError, ImportError, OSError):
            # There was no room even for the modules that would have said why.
            return stdout.give_up(_NO_MEMORY)

    def _failed(self, error: Exception) -> int:
        """Print the answer of a run that an exception ended."""
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            return self._unknown(os.strerror(error.errno).lower())
        from check_smtp_health.config import remedies

        told = None if self._options is None else self._options.told
        trace = self._trace(error) if remedies.is_bug(error) else ""
        return self._unknown(remedies.explained(error, told), trace)

    def _run(self) -> int:
        from check_smtp_health.config import getopt

        options = self._options = getopt.read(self._arguments)
        self._prepare_last_word()
        if options.fault is not None:
            raise options.fault
        if options.count("extra-opts"):
            from check_smtp_health.config import ini

            options = self._options = ini.expanded(options)
            self._prepare_last_word()
        answer = _answer(options)
        if answer:
            return _say(answer)
        if options.count("checks"):
            return self._sweep(options)
        return self._check(options)

    def _sweep(self, options: Options) -> int:
        """Run the checks of a file."""
        from check_smtp_health import output
        from check_smtp_health.sweep import Means, Sweep

        form = output.find(options.last("output-format"))
        means = Means(lambda one: _settings(one, keeps_transcript=form.has_transcript), _alarm)
        sweep = Sweep(options, form, means, PREPARATION_LIMIT)
        _be_served_by_driver(PREPARATION_LIMIT)
        said = sweep.run(SIGNALS, GRACE)
        stdout.write(*said)
        return said[-1]

    def _check(self, options: Options) -> int:
        """Run the one check that the options ask for."""
        from check_smtp_health import escaping, output

        form = output.find(options.last("output-format"))
        is_watched = stdout.is_terminal()
        if is_watched and form is output.TEXT and not options.count("output-to"):
            escaping.keep_tags()
        settings = _settings(options, keeps_transcript=form.has_transcript)
        receiver = None
        if form.is_for_engines or any(map(options.count, output.OPTIONS)):
            from check_smtp_health.output.single import Single

            receiver = Single(options, form, settings.endpoint)
        from check_smtp_health.probing import targets

        plan = targets.prepare(settings)
        aside: list[Callable[[], TimedProcedure[None]]] = []
        if is_watched:
            from check_smtp_health.probing import progress

            plan, *aside = progress.watched(plan)
            stdout.erase_first()
        # Before any server is asked: what is missing must be known first, and no stage be blurred.
        from check_smtp_health.judge.check import HealthCheck
        from check_smtp_health.judge.text import HealthSummary

        _be_served_by_driver(settings.longest + GRACE)
        if receiver is not None:
            receiver.begin()
        check = HealthCheck(settings, targets.probe_all(plan, SIGNALS, *aside))
        check.add(HealthSummary(check))
        check()
        verbose = settings.judging.verbose
        if receiver is None:
            said = form.render(check, verbose), form.short(check), int(check.exitcode)
        else:
            _alarm(receiver.limit + GRACE)
            said = receiver.finish(check, verbose, SIGNALS)
        stdout.write(*said)
        return said[-1]

    def _trace(self, error: Exception) -> str:
        """Return the traceback of a bug, where the user wants to see it."""
        if self._options is None or self._options.count("verbose") < TRACE_VERBOSITY:
            return ""
        import traceback

        lines = traceback.format_exception(type(error), error, error.__traceback__)
        return "".join(lines).replace("|", "\\x7c")

    def _unknown(self, problem: str, trace: str = "") -> int:
        """Print the answer of a run that could not be made, in the format that was asked for."""
        return _say(self._in_format(problem, trace))

    def _prepare_last_word(self) -> None:
        if self._options is not None and self._options.count("output-format"):
            stdout.last_word(self._in_format(stdout.PLACE))

    def _in_format(self, problem: str, trace: str = "") -> str:
        from check_smtp_health import output
        from check_smtp_health.errors import UsageFault

        options = self._options
        given = options.last("output-format") if options is not None else None
        try:
            form = output.find(given)
        except UsageFault:
            form = output.TEXT
        if options is not None and (options.count("output-to") or options.count("checks")):
            form = output.TEXT  # what goes elsewhere, or is many answers, is what was found out
        if options is not None and form.is_for_engines:
            from check_smtp_health.output import single

            return single.unknown(options, form, problem) or output.TEXT.unknown(problem, trace)
        return form.unknown(problem, trace)


def _settings(options: Options, *, keeps_transcript: bool) -> Settings:
    """Return the settings of one check, with what this process alone knows.

    Raises:
        UsageFault: the first thing that is wrong.
    """
    from check_smtp_health import stages
    from check_smtp_health.config import build

    passwords: tuple[str | None, str | None] = (None, None)
    key: str | None = None
    if options.count("authuser") or options.count("mailbox"):
        from check_smtp_health.config import credentials

        passwords = credentials.read(options, os.environ)
    if options.count("dnsbl"):
        from check_smtp_health.config import credentials

        key = credentials.dnsbl_key(options, os.environ)
    settings = build.build(
        options,
        stages.MEASURES,
        os.uname().nodename,
        *passwords,
        dnsbl_key=key,
        oauth=_oauth(options),
        keeps_transcript=keeps_transcript,
        causes=causes() if options.count("state") else (),
    )
    if options.count("state"):
        from check_smtp_health.judge import occasions

        occasions.need_possible(settings)
    return settings


def _be_served_by_driver(limit: float) -> None:
    """Leave the signals to the driver, and an alarm in so many seconds to the last resort.

    From here on it takes them, whenever they come; once it is done the answer must not be lost to
    one.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    if _Stopped.by:
        raise _Stopped
    signal.signal(signal.SIGALRM, _give_up)
    _alarm(limit)


def _alarm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(options: Options) -> str:
    """Return the answer to a question that no server is asked; empty where there is none."""
    if options.count("help"):
        from check_smtp_health import terminal
        from check_smtp_health.config import manual

        told = manual.short if options.flag("help") == "-h" else manual.full
        return told(terminal.columns())
    if options.count("version"):
        return f"{PROGRAM} {__version__}\n"
    if options.count("explain"):
        from check_smtp_health import escaping
        from check_smtp_health.judge import explain

        if stdout.is_terminal():
            escaping.keep_tags()
        return explain.told(options.last("explain") or "")
    if options.count("print-definition"):
        from check_smtp_health import definitions

        return definitions.read(options.last("print-definition") or "")
    return ""


def _oauth(options: Options) -> tuple[OAuth | None, OAuth | None]:
    """Return how to get access tokens, for AUTH and for the mailboxes; most runs need none."""
    if not (options.count("oauth") or options.count("mailbox-oauth")):
        return None, None
    from check_smtp_health.config import oauth

    return oauth.read(options)


def causes() -> tuple[str, ...]:
    """Return what ``--state`` may name: causes, and kinds of failures."""
    from check_smtp_health.judge.cause_table import CAUSES
    from check_smtp_health.judge.states import FAILURES

    return (*CAUSES, *FAILURES)


def _say(answer: str) -> int:
    """Print the answer of a run that asks no server, and return its exit code."""
    _turn_deaf()  # no signal must cost us the answer any more, or double it
    stdout.write([answer])
    return UNKNOWN
