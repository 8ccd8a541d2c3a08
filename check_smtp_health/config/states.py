"""``--state``, ``--tempfail``, ``--timeout SECONDS:STATE``: the states that the user may choose.

Loaded where one is given.
"""

from __future__ import annotations

from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from check_smtp_health.config.settings import State

STATES: tuple[State, ...] = ("ok", "warning", "critical", "unknown")
"""All of them, each at the place of its exit code."""


def state(option: str, given: str) -> State:
    """Return a state as a word; its exit code is taken, too."""
    if given in ("0", "1", "2", "3"):
        return STATES[int(given)]
    for word in STATES:
        if word == given.lower():
            return word
    from check_smtp_health.config import remedies

    remedy = remedies.state(given, STATES)
    raise UsageFault(option, f"{quoted(given)} is not a state ({', '.join(STATES)}){remedy}")


def states(given: Iterable[str], names: Sequence[str]) -> dict[str, State]:
    """Return the states of ``--state`` by the cause or kind that they are for, one of ``names``."""
    found: dict[str, State] = {}
    for part in [part for one in given for part in one.split(",")]:
        name, equals, word = part.partition("=")
        if not (equals and name):
            name, colon, word = part.partition(":")
            remedy = f", write {name}={word}" if colon and name in names else ""
            raise UsageFault("state", f"{quoted(part)} is not NAME=STATE{remedy}")
        if name not in names:
            raise UsageFault(
                "state", f"{quoted(name)} is not a cause or kind of failure{_nearest(name, names)}"
            )
        if name in found:
            raise UsageFault("state", f"{name} is given twice")
        found[name] = state("state", word)
    return found


def _nearest(given: str, names: Sequence[str]) -> str:
    """Return the name that may have been meant, as the end of a sentence."""
    import difflib

    # The two tables spell their names differently: timed_out, disk-full.
    plain = {name.replace("_", "-"): name for name in names}
    close = difflib.get_close_matches(given.lower().replace("_", "-").replace(" ", "-"), plain, 1)
    return f", did you mean {plain[close[0]]}?" if close else ""
