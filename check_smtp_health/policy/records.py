"""TXT records, and the tags that several kinds of them consist of."""

from __future__ import annotations

from collections import Counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_smtp_health.net.dns import Records


def texts(records: Records) -> list[bytes]:
    """Return the text of each TXT record."""
    return [b"".join(value.strings) for value in records.values]


def tags(text: bytes) -> dict[str, str]:
    """Return the tags of a list of them (RFC 6376 section 3.2), the first where one comes twice.

    What is not a tag is left out, as DMARC and DKIM require.
    """
    return dict(reversed(_pairs(text)))


def repeated(text: bytes) -> str:
    """Return a tag that comes twice, which makes the list invalid; empty where there is none."""
    counts = Counter(name for name, _ in _pairs(text))
    return next((name for name, count in counts.items() if count > 1), "")


def _pairs(text: bytes) -> list[tuple[str, str]]:
    parts = (part.partition("=") for part in text.decode("utf-8", "replace").split(";"))
    return [
        (name.strip(), value.strip()) for name, equals, value in parts if equals and name.strip()
    ]
