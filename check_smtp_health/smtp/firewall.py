"""What is left of a session that a firewall rewrites, as Cisco's do: stars and X for words.

Loaded only where something is missing.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from check_smtp_health.smtp.session import Keywords

_KEYWORD = re.compile(r"X{2,}[A-Z]|X{4,}")
_BANNER = re.compile(rb"[*\d ]*\*{4}[*\d ]*")
_KEYWORDS_SHOWN = 3


def masked(banner: bytes, keywords: Keywords) -> list[str]:
    """Return what of a server's words is masked: the banner, keywords."""
    return list(_masked(banner, keywords))


def _masked(banner: bytes, keywords: Keywords) -> Iterator[str]:
    if _BANNER.fullmatch(banner):
        yield "220 ****"
    yield from [word for word in keywords if _KEYWORD.fullmatch(word)][:_KEYWORDS_SHOWN]
