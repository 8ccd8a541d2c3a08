"""``--require``, ``--forbid``: EHLO keywords. Loaded where one is given."""

from __future__ import annotations

import itertools
import re

from check_smtp_health.errors import UsageFault
from check_smtp_health.escaping import quoted
from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.config.getopt import Options

# RFC 5321 section 4.1.1.1: ehlo-keyword and ehlo-param.
_KEYWORD = r"(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)(?:=(?P<parameter>[\x21-\x7b\x7d\x7e]+))?"


class Keyword(NamedTuple):
    """An EHLO keyword, with a parameter or without."""

    name: str
    parameter: str | None

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name}={self.parameter}"


def build(options: Options) -> tuple[tuple[Keyword, ...], tuple[Keyword, ...]]:
    """Return the keywords that the server must offer, and those that it must not.

    Raises:
        UsageFault: one is not a keyword, or is asked for and forbidden.
    """
    require = tuple(_keyword("require", word) for word in options.all("require"))
    forbid = tuple(_keyword("forbid", word) for word in options.all("forbid"))
    for one, other in itertools.product(require, forbid):
        if one.name == other.name and other.parameter in (None, one.parameter):
            flag = options.flag("require")
            raise UsageFault("forbid", f"{other} cannot be combined with {flag} {one}")
    return require, forbid


def _keyword(option: str, given: str) -> Keyword:
    match = re.fullmatch(_KEYWORD, given)
    if match is None:
        words = given.split()
        is_login = len(words) == 2 and words[0].upper() == "AUTH"
        remedy = f", write AUTH={words[1].upper()}" if is_login else ""
        raise UsageFault(option, f"{quoted(given)} is not an EHLO keyword{remedy}")
    return Keyword(match["name"].upper(), match["parameter"])
