"""Makes plans of the lines of a file."""

from __future__ import annotations

from check_smtp_health.config import defaults, getopt, hosts
from check_smtp_health.config.settings import Endpoint, Settings
from check_smtp_health.errors import UsageFault
from check_smtp_health.judge.check import scale
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.probing import checks, targets
from check_smtp_health.probing.probe import ProbePlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from check_smtp_health.config.checks_file import Line
    from check_smtp_health.config.getopt import Options
    from check_smtp_health.judge.check import Scale
    from check_smtp_health.report import Host

OPTIONS = ("checks", "at-once", "spread")
"""The options about the file and how it is run."""

WHERE_TO = ("output-to", "output-pass-file", "output-ca-file")

OF_THE_RUN = (
    *(*OPTIONS, "output-format", *WHERE_TO, "output-host", "output-service"),
    *("print-definition", "explain", "version", "help"),
)
"""The options that are for the run, and for no line."""


class Asked(NamedTuple):
    """A line that can be carried out: its plan, what it is judged by, the options behind that."""

    line: Line
    plan: ProbePlan
    scale: Scale
    options: Options


class _Template(NamedTuple):
    """What lines have in common that differ in their host only."""

    plan: ProbePlan
    scale: Scale
    options: Options


class Preparer:
    """Turns lines into what is to be done; ``options`` are those of the last one.

    Most lines of a file ask the same of different hosts. Where such a host is of the same kind, it
    takes the place of the other's in what that line came to.
    """

    def __init__(self, options: Options, settings: Callable[[Options], Settings]) -> None:
        """Add those options of the command line that are not for the run to each line's own."""
        self.options = self._defaults = defaults.without(options, OF_THE_RUN)
        self._settings = settings
        self._templates: dict[object, _Template] = {}
        self._room = checks.EqualRoom()

    def prepared(self, line: Line) -> Asked:
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
            return Asked._make((line, ProbePlan._make(of_plan), by, options))
        settings = self._settings(self._read(line.arguments))
        plan = targets.prepare(settings)._replace(room=self._room)
        by = scale(settings)
        if host is not None and _is_template(settings):
            self._templates[key] = _Template(plan, by, self.options)
        return Asked(line, plan, by, self.options)

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
