"""A secret is hidden wherever somebody says it, in each form, and nothing else is."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import pytest

from check_smtp_health import masking, report
from check_smtp_health.masking import Mask
from check_smtp_health.report import tls

USER, PASSWORD = "monitor@x", 's3 "cr\u00e9t\\.<d>'
SECRET = PASSWORD.encode()


def based(text: str) -> str:
    """Return a text in base64."""
    return base64.b64encode(text.encode()).decode()


SAID = (
    PASSWORD,
    PASSWORD.upper().replace("\u00c9", "\u00e9"),
    r"s3 \"cr" + "\u00e9" + r"t\\.<d>",
    r"s3 \"cr" + "\u00e9" + r"t\\\.<d>",
    's3 "cr\u00e9t\\.(d)',
    based(PASSWORD),
    based(f"{USER}\0{USER}\0{PASSWORD}"),
    based(f"\0{USER}\0{PASSWORD}"),
    based(f"{USER}:{PASSWORD}"),
    quote(PASSWORD),
    quote(PASSWORD, safe="").lower(),
    SECRET.hex(),
    SECRET.hex().upper(),
    "".join(f"%{byte:02X}" for byte in SECRET),
)
"""What a server could make of the password."""


@pytest.fixture
def mask() -> Mask:
    return Mask(masking.forms(PASSWORD, "another", USER))


@pytest.mark.parametrize("said", SAID)
def test_each_form_is_hidden(mask: Mask, said: str) -> None:
    assert mask.applied(f"a{said}b{said}") == "a***b***"
    assert mask.applied(f"a{said}b".encode()) == b"a***b"


def test_all_else_stays(mask: Mask) -> None:
    assert mask.applied(b"250 s3 monitor@x \xff") == b"250 s3 monitor@x \xff"
    assert mask.applied("250 s3 monitor@x \udcff") == "250 s3 monitor@x \udcff"


@pytest.mark.parametrize("password", ["a", "ab", "abc"])
def test_a_very_short_one_is_hidden_only_in_what_is_made_of_it(password: str) -> None:
    """Else every other word would have stars in it, and tell by them what the password is."""
    mask = Mask(masking.forms(password, USER))
    plain = based(f"\0{USER}\0{password}")
    assert mask.applied(f"250 {password} abcd {plain}") == f"250 {password} abcd ***"


def test_what_was_learned_later_counts_too() -> None:
    mask = Mask()
    assert mask.applied(b"334 challenge") == b"334 challenge"
    mask.add(b"challenge", b"")
    assert mask.applied(b"334 challenge") == b"334 ***"
    mask.add(b"challenge2")
    assert mask.applied(b"334 challenge2") == b"334 ***"


def filled(kind: Any, said: str) -> Any:
    """Return a value of this kind that has ``said`` in each of its fields of words."""
    values = dict.fromkeys(kind._fields, "ours")
    certificate = tls.Certificate(said, said, (said,), *("ours",) * 6)  # type: ignore[arg-type]
    return kind(**values)._replace(
        **{
            name: {
                "said": said.encode(),
                "data": said.encode(),
                "names": (said,),
                "notes": (said, said),
                "spam": (("x-spam", said),),
                "authentication": (("spf", said),),
                "certificate": certificate,
            }.get(name, said)
            for name in masking._WORDS[kind]
        }
    )


@pytest.mark.parametrize("kind", masking._WORDS, ids=lambda kind: kind.__name__)
def test_other_peoples_words_in_a_report(mask: Mask, kind: Any) -> None:
    """All of them, and no word of ours, not even where it is the secret."""
    masked = mask.over(filled(kind, PASSWORD))
    assert masked == filled(kind, "***")
    ours = Mask([b"ours", b"x-spam-not"]).over(filled(kind, "theirs"))
    assert ours == filled(kind, "theirs")


def test_without_secrets_a_report_is_left_alone() -> None:
    finding = report.Finding("noted", "a")
    assert Mask().over(finding) is finding
