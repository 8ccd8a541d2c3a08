"""Options on the command line beside ``--checks`` apply to each line that does not set them."""

from __future__ import annotations

from check_smtp_health.config.getopt import Options
from check_smtp_health.config.option_table import ASKS_WEB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

_TRUST = ("ca-file", "ca-path")

_PAIRS = (
    *(("starttls", "ssl"), ("use-ipv4", "use-ipv6"), ("ehlo", "lmtp"), ("command", "response")),
    *(("authpass", "authpass-file"), ("authpass", "oauth"), ("authpass-file", "oauth")),
    ("mailbox-pass-file", "mailbox-oauth"),
)
_INSTEAD = (
    *_PAIRS,
    *((other, one) for one, other in _PAIRS),
    *((one, "no-verify") for one in _TRUST),
)
"""Options that say something otherwise than another one does, whose default then does not hold."""

_KEYED = ("warning", "critical", "state")
"""Options whose values say something of several things each: of one, nothing of another."""


def beside(own: Options, defaults: Options) -> Options:
    """Return a line's own options, and those of the ``defaults`` that it does not set."""
    both = Options()
    both.fault = own.fault
    said = {*own.given(), *(other for one, other in _INSTEAD if one in own.given())}
    asked = {*own.given(), *defaults.given()}
    if "no-verify" in own.given() and asked.isdisjoint(ASKS_WEB):
        said.update(_TRUST)
    for name, several in defaults.given().items():
        if name in _KEYED and name in own.given():
            known = {key for one in own.given()[name] for key, _ in _keyed(one.value)}
            for one in several:
                for key, piece in _keyed(one.value):
                    if key not in known:
                        both.add(name, one._replace(value=piece))
        elif name not in said:
            both.given()[name] = several
    return own.after(both)


def without(options: Options, names: Collection[str]) -> Options:
    """Return the same options but those of these names."""
    same = Options()
    same.fault = options.fault
    for name, several in options.given().items():
        if name not in names:
            same.given()[name] = several
    return same


def _keyed(value: str) -> list[tuple[str, str]]:
    """Return the pieces of a value, each with what it is about."""
    pieces = [(piece.rpartition("=")[0].strip(), piece) for piece in value.split(",")]
    return [(key or "time", piece) for key, piece in pieces]
