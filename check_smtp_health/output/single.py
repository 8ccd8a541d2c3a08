"""The answer of a single check for an engine: in its format, written where the user wants it."""

from __future__ import annotations

from check_smtp_health.config import destination, hosts
from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import STATUS_LIMIT, shortened
from check_smtp_health.net import clock
from check_smtp_health.output import answer, text
from check_smtp_health.output.writer import LIMIT, Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from signal import Signals

    from check_smtp_health.config.getopt import Options
    from check_smtp_health.config.settings import Endpoint
    from check_smtp_health.judge.check import HealthCheck
    from check_smtp_health.output import Format

CRITICAL = 2


class Single:
    """Brings one answer to its receiver. ``limit`` is how many seconds that may take."""

    def __init__(self, options: Options, form: Format, endpoint: Endpoint) -> None:
        """Make ready; nothing is written. ``endpoint`` has the hosts that are checked.

        Raises:
            UsageFault: an option has no effect, a name is missing, a file cannot be used.
        """
        self._destination = destination.read(options)
        self._host, self._service = destination.names(
            options, form.names, [host.given for host in endpoint.hosts]
        )
        limit = min(LIMIT, endpoint.timeout)  # whoever must have an answer soon has said so
        self._writer = Writer(form, self._destination, limit)
        self._began = clock.now()
        self.limit = limit if self._destination is not None else 0.0

    def begin(self) -> None:
        """Note that the check begins now."""
        self._began = clock.now()

    def finish(
        self, check: HealthCheck, verbose: int, signals: Sequence[Signals]
    ) -> tuple[Iterator[str], str, int]:
        """Write the answer; return what goes to standard output, a short form of it, exit code."""
        times = (self._began, clock.now())
        made = answer.judged(self._host, self._service, times, check, verbose)
        self._writer.take(made)
        if self._destination is None:
            return self._writer.document(), "", made.code
        loss = self._writer.close(signals)
        if not loss.lost:
            return text.render(check, verbose), text.short(check), made.code
        said = f"output: 1 result lost, {loss.problem}, also {check.summary_str}"
        status = f"SMTP CRITICAL - {shortened(said, STATUS_LIMIT)}"
        return text.render(check, verbose, status), f"{status}\n", CRITICAL


def unknown(options: Options, form: Format, problem: str) -> str | None:
    """Return the document for a run that came to nothing, None where nobody knows its name."""
    try:
        hosts = tuple(dict.fromkeys(map(_name, options.all("hostname"))))
        names = destination.names(options, form.names, hosts)
    except UsageFault:
        return None
    if form.names == "both" and not names[0]:
        return None
    now = clock.now()
    record = form.record(answer.unknown(*names, (now, now), problem))
    return "".join(form.document([record]))


def _name(given: str) -> str:
    """Return a host's name as a run without fault has it, such as an address without brackets."""
    try:
        return hosts.host(given).given
    except UsageFault:
        return given
