"""What all graphs have in common: the colour of each stage, and where each target's metrics are."""

from __future__ import annotations

COLOURS = {
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
"""In the order of a session, from the bottom to the top of a stack."""

STACKED = tuple(stage for stage in COLOURS if stage not in ("quit", "delivery"))
"""What adds up to ``time``, which counts neither the farewell nor the way to a mailbox."""

TIME = "#1a7dd7"
WARNING = "#e0a100"
CRITICAL = "#c4162a"
DAYS = "#59a14f"
HEALTHY = "#4e79a7"

DEPTHS = (1, 2, 3, 4)
"""How many names a target may have in Graphite, where each dot in a label begins another."""
