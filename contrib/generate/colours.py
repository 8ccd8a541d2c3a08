"""What all graphs share: a colour for each stage, the names of targets, limits that are near."""

from __future__ import annotations

from check_smtp_health.stages import NAMES, OUTSIDE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SETTLED = {
    "token": "#6b4c9a",
    "resolve": "#9aa5b1",
    "connect": "#4e79a7",
    "tls": "#59a14f",
    "banner": "#f28e2b",
    "helo": "#edc948",
    "starttls": "#a0cbe8",
    "auth": "#b07aa1",
    "mail": "#76b7b2",
    "rcpt": "#2f7f86",
    "relay": "#e15759",
    "command": "#9c755f",
    "data": "#ff9da7",
    "quit": "#c7b8ae",
    "delivery": "#d37295",
}
"""The colours that people know: a stage keeps its colour whatever is added before it."""

SPARE = ("#8cd17d", "#b6992d", "#499894", "#d4a6c8", "#a05195")
"""The colours for new stages. Move a colour to ``SETTLED`` in the first release with its stage."""


def colours(stages: Iterable[str]) -> dict[str, str]:
    """Return the colour of each stage, in their order.

    Raises:
        LookupError: there are more new stages than spare colours.
    """
    spare = iter(SPARE)
    given = {}
    for stage in stages:
        colour = SETTLED.get(stage) or next(spare, None)
        if colour is None:
            raise LookupError(f"The stage {stage!r} has no colour: give it one in SETTLED.")
        given[stage] = colour
    return given


COLOURS = colours(NAMES)
"""In the order of a session, from the bottom to the top of a stack."""

STACKED = tuple(name for name in NAMES if name not in OUTSIDE)
"""The stages that add up to ``time``: all but ``token``, ``quit`` and ``delivery``."""

TIME = "#1a7dd7"
WARNING = "#e0a100"
CRITICAL = "#c4162a"
DAYS = "#59a14f"
HEALTHY = "#4e79a7"

DEPTHS = range(1, 7)
"""How many names a target may have in Graphite, where each dot in a label begins another."""

NEAR = 0.5
"""A limit is drawn once this part of it has been reached: one far above would flatten the curve."""


def near_limit(path: str, limit: str) -> str:
    """Return the function for Graphite that gives a limit of the response time once that is near.

    ``path`` leads to ``limit``, which is ``warn`` or ``crit``. ``useSeriesAbove`` takes the name of
    a series for what to give instead, hence the alias, and does not bear a missing value.
    """
    ratio = f"transformNull(divideSeries(%.value, %.{limit}), 0)"
    given = f"useSeriesAbove(alias({ratio}, '%.{limit}'), {NEAR}, '^', '')"
    return f'applyByNode({path}, -2, "{given}")'
