"""Causes: never a wrong one, named for most replies that have one, whatever a server sends."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from check_smtp_health import errors
from check_smtp_health.judge import cause_table, causes, reply_words
from check_smtp_health.judge.cause_table import CAUSES, KINDS, LISTS, ROWS, STATUSES
from check_smtp_health.judge.causes import Diagnosis, of_kind, of_reply
from check_smtp_health.judge.explain import explain, told
from check_smtp_health.judge.states import FAILURES
from check_smtp_health.stages import NAMES

CORPUS = Path(__file__).parent / "corpus"

CONTRACT = {
    "network": "our-network port-blocked unresolvable refused no-route silent reset",
    "resources": "disk-full mailbox-full overloaded too-many-connections message-too-big",
    "configuration": "relay-denied unknown-recipient sender-rejected helo-rejected no-reverse-dns "
    "login-rejected login-mechanism token-rejected tls-required tls-broken certificate mail-loop "
    "not-accepting no-proxy-expected keywords-masked",
    "policy": "greylisted rate-limited unauthenticated content",
    "blocklist": "blocklisted poor-reputation",
}

STATES = {
    "our-network": "unknown",
    "port-blocked": "unknown",
    "disk-full": "critical",
    "mailbox-full": "critical",
    "relay-denied": "critical",
}


class Said(NamedTuple):
    """A line of the corpus, judged by hand. ``source`` is who says so."""

    stage: str
    cause: str
    listing: str
    source: str
    text: str

    @property
    def code(self) -> int:
        return int(self.text[:3]) if self.text[:3].isdigit() else 0


def read(name: str) -> list[Said]:
    lines = (CORPUS / name).read_text(encoding="utf-8").splitlines()
    rows = [_unescaped(line).split("\t") for line in lines if not line.startswith("#")]
    return [Said._make(row) for row in rows]


def _unescaped(text: str) -> str:
    return "\\n".join(part.replace("\\n", "\n") for part in text.split("\\\\n"))


REPLIES = read("replies.tsv")
# Judged by hand and kept apart until the table was done.
HELD_OUT = read("replies_held_out.tsv")
LINES = read("lines.tsv")


def shown(diagnosis: Diagnosis | None) -> tuple[str, str]:
    return ("none", "") if diagnosis is None else (diagnosis.cause.name, diagnosis.listing)


@pytest.fixture(scope="module")
def judged() -> dict[Said, Diagnosis | None]:
    """What each reply of the corpus has as its cause."""
    return {said: of_reply(said.stage, said.code, said.text) for said in REPLIES + HELD_OUT}


@pytest.mark.parametrize("replies", [REPLIES, HELD_OUT], ids=["replies", "held out"])
def test_no_wrong_cause_and_most_are_named(
    replies: list[Said], judged: dict[Said, Diagnosis | None]
) -> None:
    results = [(said, shown(judged[said])) for said in replies]
    missed = [said for said, (cause, _) in results if cause == "none" != said.cause]
    wrong = [
        (said, result)
        for said, result in results
        if said not in missed and result != (said.cause, said.listing)
    ]
    assert wrong == []
    assert len(missed) <= 0.2 * sum(said.cause != "none" for said in replies)


def test_corpus_is_large_and_without_doublets() -> None:
    everything = [(said.stage, said.text) for said in REPLIES + HELD_OUT]
    assert len(everything) >= 300
    assert len(everything) == len(set(everything))
    assert 3 * len(HELD_OUT) >= 300
    assert {said.stage for said in REPLIES + HELD_OUT} <= set(NAMES)
    assert {said.cause for said in REPLIES + HELD_OUT} <= {*CAUSES, "none"}


@pytest.mark.parametrize("said", LINES, ids=lambda said: said.text[:60])
def test_explain(said: Said) -> None:
    explanation = explain(said.text)
    if explanation is None:
        assert (said.stage, said.cause) == ("", "none")
    else:
        found = (explanation.stage, *shown(explanation.diagnosis))
        assert found == (said.stage, said.cause, said.listing)


def test_explains_a_bare_reply_as_it_judges_it() -> None:
    for said in REPLIES + HELD_OUT:
        if said.code:
            explanation = explain(said.text)
            assert explanation is not None
            judged = of_reply("", said.code, said.text)
            assert (explanation.code, explanation.diagnosis) == (said.code, judged), said


# The table


def test_causes_are_those_of_the_contract() -> None:
    names = {name: group for group, words in CONTRACT.items() for name in words.split()}
    assert {cause.name: cause.group for cause in CAUSES.values()} == names
    assert {name: cause.state for name, cause in CAUSES.items() if cause.state} == STATES


def test_table_is_small() -> None:
    assert len(ROWS) + len(STATUSES) + len(KINDS) + len(LISTS) <= 150


def test_advice_is_one_sentence() -> None:
    advices = [cause.advice for cause in CAUSES.values()]
    advices += [row.advice for row in (*ROWS, *KINDS) if row.advice]
    for advice in advices:
        assert advice[0].isupper(), advice
        assert advice.endswith("."), advice
        assert ". " not in advice, advice
        assert advice.isprintable(), advice
        assert len(advice) <= 240, advice
        assert ("Postfix: " in advice) == ("Exim: " in advice), advice


def test_each_phrase_decides_a_reply() -> None:
    said = [(one, reply_words.read(one.text)) for one in REPLIES + HELD_OUT]
    idle = [
        (row.cause, phrase)
        for row in ROWS
        for phrase in row.says.split(", ")
        if not any(
            one.cause == row.cause
            and causes._fits(row, one.stage, one.code)
            and causes._is_said(row._replace(says=phrase), read)
            for one, read in said
        )
    ]
    assert idle == []


def test_each_exception_is_needed() -> None:
    said = [reply_words.read(one.text) for one in REPLIES + HELD_OUT]
    exceptions = {phrase for row in ROWS for phrase in row.unless.split(", ") if phrase}
    needed = {
        phrase
        for row in ROWS
        if row.unless
        for one in said
        if reply_words.has_any(one, row.says)
        for phrase in row.unless.split(", ")
        if reply_words.has_any(one, phrase)
    }
    assert exceptions - needed == set()


def test_each_status_is_in_the_corpus() -> None:
    seen = {reply_words.read(one.text).status for one in REPLIES + HELD_OUT}
    assert set(STATUSES) - seen == set()


def test_rows_name_what_there_is() -> None:
    rows: list[cause_table.Row | cause_table.Status | cause_table.Silent] = [*ROWS, *KINDS]
    for row in (*rows, *STATUSES.values()):
        assert row.cause is None or row.cause in CAUSES
        assert set(row.stages) <= set(NAMES)
    kinds = {fault.kind for fault in vars(errors).values() if hasattr(fault, "kind")}
    assert {row.kind for row in KINDS} <= kinds | set(FAILURES)


@pytest.mark.parametrize("row", KINDS, ids=lambda row: f"{row.kind} {row.reason}")
def test_each_kind_is_reached(row: cause_table.Silent) -> None:
    for stage in row.stages or ("connect",):
        diagnosis = of_kind(stage, row.kind, row.reason)
        assert diagnosis == Diagnosis(CAUSES[row.cause], row.advice or CAUSES[row.cause].advice)


@pytest.mark.parametrize(
    ("stage", "kind", "reason"),
    [
        ("connect", "unreachable", ""),
        ("connect", "unreachable", "prohibited"),
        ("connect", "unreachable", "various"),
        ("connect", "unreachable", "partly refused"),
        ("banner", "timed_out", "various"),
        ("delivery", "timed_out", ""),
        ("banner", "disconnected", ""),
        ("helo", "violation", ""),
        ("tls", "handshake_failed", ""),
        ("starttls", "not_offered", ""),
        ("rcpt", "rejected", ""),
        ("connect", "local", ""),
        ("connect", "interrupted", ""),
    ],
)
def test_kinds_with_several_causes_have_none(stage: str, kind: Any, reason: Any) -> None:
    assert of_kind(stage, kind, reason) is None


# How a reply is read


@pytest.mark.parametrize(
    ("said", "listing", "address"),
    [
        (
            "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using "
            "zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1",
            "zen.spamhaus.org",
            "192.0.2.1",
        ),
        ("550 https://www.spamhaus.org/query/ip/192.0.2.1", "spamhaus.org", "192.0.2.1"),
        ("553 http://www.spamhaus.org/query/bl?ip=192.0.2.1.", "spamhaus.org", "192.0.2.1"),
        ("554 Refused, 2001:db8::1 is listed at BL.Example.net.", "bl.example.net", "2001:db8::1"),
        ("550 192.0.2.1 and 192.0.2.2 are blacklisted", "", ""),
        ("550 Black listed at hostkarma", "hostkarma.junkemailfilter.com", ""),
        ("550 Your address is blacklisted by SpamCop", "spamcop.net", ""),
        ("550 1.2.3.400 is blacklisted by the postmaster of mx.example.org", "", ""),
        ("554 blocked by Barracuda: 192.0.2.1 is blacklisted", "barracudacentral.org", "192.0.2.1"),
    ],
)
def test_list_and_address(said: str, listing: str, address: str) -> None:
    diagnosis = of_reply("rcpt", 554, said)
    assert diagnosis is not None
    assert (diagnosis.cause.name, diagnosis.listing, diagnosis.address) == (
        "blocklisted",
        listing,
        address,
    )


def test_a_row_may_advise_otherwise() -> None:
    plain = of_reply("auth", 535, "535 5.7.8 Error: authentication failed")
    special = of_reply("auth", 534, "534-5.7.9 Application-specific password required.")
    assert plain is not None
    assert special is not None
    assert plain.cause == special.cause
    assert plain.advice == plain.cause.advice
    assert special.advice == (
        "Make an application-specific password for this account and use that: "
        "it has two-step verification."
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("535 5.7.8 Username and Password not accepted", "token-rejected"),
        ("535 5.7.8 no", "token-rejected"),
        (
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for "
            "the Mailbox.",
            "login-rejected",
        ),
        ("504 5.7.4 Unrecognized authentication type", "login-mechanism"),
    ],
)
def test_login_by_token(text: str, cause: str) -> None:
    assert shown(of_reply("auth", int(text[:3]), text, by_token=True)) == (cause, "")


@pytest.mark.parametrize("code", [220, 250, 334, 354, 600])
def test_only_a_refusal_has_a_cause(code: int) -> None:
    assert of_reply("rcpt", code, f"{code} User unknown") is None


def test_code_may_be_left_out() -> None:
    assert of_reply("rcpt", 550, "5.7.25 rejected") == of_reply("rcpt", 550, "550 5.7.25 rejected")


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", " "),  # as Postfix logs a reply of several lines
        lambda text: f"{text} {'please ' * ((2000 - len(text)) // 7)}",
    ],
    ids=["upper case", "CRLF", "joined", "long"],
)
def test_form_makes_no_difference(
    change: Callable[[str], str], judged: dict[Said, Diagnosis | None]
) -> None:
    for said, due in judged.items():
        changed = change(said.text)
        if changed != said.text:
            assert of_reply(said.stage, said.code, changed) == due, said


PHRASES = [phrase for row in ROWS for phrase in row.says.split(", ") if ".." not in phrase]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.says[:40])
def test_addresses_and_hosts_tell_nothing(row: cause_table.Row) -> None:
    phrases = [phrase for phrase in row.says.split(", ") if phrase in PHRASES]
    for stage, phrase in itertools.product(("", *row.stages[:1]), phrases):
        words = " ".join(phrase.translate(str.maketrans("*/#.%", "     ")).split())
        joined = words.replace(" ", "-")
        for text in (
            f'550 <"{words}"@example.org>: no',
            f"550 <{words}>: no",
            f"550 {joined}@example.org no",
            f"550 {joined}.example.net says no",
            f"550 host {joined}[192.0.2.1] says no",
            f"550 see https://example.org/{joined}?{joined}",
            f"554 {joined}.example ESMTP",
        ):
            assert of_reply(stage, 550, text) is None, text


@given(st.sampled_from(["", *NAMES]), st.integers(0, 999), st.text(max_size=300))
def test_never_breaks(stage: str, code: int, text: str) -> None:
    of_reply(stage, code, text)
    explain(text)


@given(st.lists(st.sampled_from(sorted({*" ".join(PHRASES).split(), "<", ">", "550-", "\n", "#"}))))
def test_never_breaks_on_its_own_words(words: list[str]) -> None:
    of_reply("", 550, " ".join(words))
    explain(" ".join(words))


HOSTILE = [
    "account " * 8_000,
    "<" * 64_000,
    "<>" * 32_000,
    "a" * 64_000,
    "a.b" * 20_000,
    "4.4.4 " * 10_000,
    "450 " * 16_000,
    "https://" * 8_000,
    "".join(f" {phrase}" for phrase in PHRASES) * 20,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_takes_no_longer_for_a_hostile_text(text: str) -> None:
    def seconds(judge: object) -> float:
        began = time.perf_counter()
        assert callable(judge)
        judge()
        return time.perf_counter() - began

    # The best of several: others use this machine, too.
    assert min(seconds(lambda: of_reply("", 550, text)) for _ in range(5)) < 0.1
    assert min(seconds(lambda: explain(text)) for _ in range(5)) < 0.5


def test_imports_next_to_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules)\n"
        "import check_smtp_health.judge.causes\n"
        "print(*sorted(name for name in set(sys.modules) - before if name.startswith('check_')))\n"
        "print('re' in sys.modules, 'typing' in sys.modules, 'nagiosplugin' in sys.modules)"
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {root!r})\n{program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "check_smtp_health check_smtp_health.judge check_smtp_health.judge.cause_table "
        "check_smtp_health.judge.causes check_smtp_health.judge.reply_words "
        "check_smtp_health.namedtuple",
        "False False False",
    ]


@pytest.mark.parametrize(
    ("pasted", "lines"),
    [
        (
            "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org",
            ["cause: blocklisted by zen.spamhaus.org (blocklist)", "listed: 192.0.2.7"],
        ),
        (
            "452 4.3.1 Insufficient system storage",
            ["cause: disk full (resources)", "state: CRITICAL, unless --state says otherwise"],
        ),
        ("550 no", ["cause: unknown, the reply leaves room for doubt"]),
        ("all is well", ["'all is well' contains no refusal, paste a reply with its code"]),
    ],
)
def test_told(pasted: str, lines: list[str]) -> None:
    said = told(pasted).splitlines()
    assert [line for line in said if not line.startswith(("4", "5", "advice: "))] == lines
    assert any(line.startswith("advice: ") for line in said) == (len(lines) == 2)
