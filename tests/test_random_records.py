"""Whatever a domain publishes of SPF, DKIM and DMARC: the plugin gives one good line in time.

The same records in each run of the suite; ``make fuzz`` tries a thousand new ones.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests import harmless, plugin
from tests.launcher import Launcher, launcher
from tests.servers.mail_signer import key
from tests.servers.name_server import SILENCE, Answer, NameServer, fails, over_tcp, records
from tests.servers.scripted import Expect, ScriptedServer

TRIES = int(os.environ.get("RANDOM_SERVERS", "0"))

AS_USUAL = 16
"""As many end well and badly, and meet each kind of record; ``make fuzz`` tries new ones."""

MEMORY_LIMIT = 64 * 1024
"""KiB of the peak of any run."""

TIMEOUT = 0.5
"""Seconds of every run's deadline."""

LONGEST = TIMEOUT + 0.5
"""Seconds of any run, without those for which others had the processor."""

SCRIPT = (
    *(b"220 mx.test ESMTP\r\n", Expect(b"HELO me.example\r\n"), b"250 mx.test\r\n"),
    *(Expect(b"QUIT\r\n"), b"221 bye\r\n"),
)

NAMES = ("a.test", "b.test", "c.test", "x.a.test", "_spf.%{d}", "%{ir}.%{v}.b.test", "%{l1r-}")

TERMS = st.one_of(
    st.sampled_from(
        (
            *("-all", "~all", "?all", "+all", "a", "mx", "ptr", "ip4:192.0.2.0/24", "ip6:::/0"),
            *("ip4:192.0.2.1/33", "ip4:1.2.3", "ip6:2001:db8::/129", "a//0", "a/24//64", "include"),
            *("include:", "redirect=", "exp=%{", "a:%{z}", "a:%", "exists:%{S99999999999r.-+}"),
            *("redirect=a.test", "v=spf1", "=", ":", "/", "all:x", "x=y", "mx:.", "a:" + "y." * 90),
            *("exists:%{i}.%{p}.b.test", "a:%{h}.%{c}%{r}%{t}", "include:" + "z" * 64 + ".test"),
        )
    ),
    st.builds(
        lambda sign, name, target: f"{sign}{name}:{target}",
        st.sampled_from(("", "-", "~", "?", "+")),
        st.sampled_from(("include", "a", "mx", "exists", "ptr", "ip4", "ip6", "INCLUDE")),
        st.sampled_from(NAMES),
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=12),
)
SPF = st.builds(
    lambda version, terms, space: version + space + space.join(terms),
    st.sampled_from(("v=spf1", "v=spf1", "v=spf1", "V=SPF1", "v=spf10", "")),
    st.lists(TERMS, max_size=14),
    st.sampled_from((" ", "  ", "\t")),
)
TAGS = st.builds(
    lambda name, space, value: f"{name}{space}={space}{value}",
    st.sampled_from(
        (
            *("v", "p", "sp", "np", "t", "rua", "ruf", "adkim", "aspf", "psd", "fo", "pct", "k"),
            *("h", "s", "n", ""),
        )
    ),
    st.sampled_from(("", " ", "\t")),
    st.sampled_from(
        (
            *("DMARC1", "DKIM1", "none", "reject", "quarantine", "y", "n", "u", "s", "rsa", ""),
            *("ed25519", "sha1", "sha256:", "email", "*", "A" * 44, "A" * 4000, "!", "mailto:"),
            *(
                "mailto:d@b.test",
                ",".join(["mailto:d@x%d.test"] * 40),
                "https://b.test",
                "d@b.test",
            ),
            *("MCwwDQYJKoZIhvcNAQEBBQADGwAwGAIRAKj", "\u00ff\u0080", "a|b=1;[CRITICAL] <b>"),
        )
    ),
)
LISTS = st.builds(
    lambda first, rest, semicolon: semicolon.join([first, *rest]),
    st.sampled_from(("v=DMARC1", "v=DKIM1", "v=DMARC1; p=reject", "", "k=rsa")),
    st.lists(TAGS, max_size=12),
    st.sampled_from((";", "; ", " ;;")),
)
GOOD = (
    *("v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 -all", "v=DMARC1; p=reject; rua=mailto:d@a.test"),
    *(key("good").record, key("small", 1024).record),
)
TEXTS = st.one_of(SPF, SPF, LISTS, LISTS, st.sampled_from(GOOD))


def quoted(text: str) -> str:
    """Return a TXT record as a master file has it, in strings of 200."""
    escaped = [
        "".join(f"\\{octet:03d}" for octet in text[at : at + 200].encode("latin-1"))
        for at in range(0, max(1, len(text)), 200)
    ]
    return "TXT " + " ".join(f'"{one}"' for one in escaped)


ANSWERS = st.one_of(
    st.lists(TEXTS, min_size=1, max_size=3).map(lambda texts: records(*map(quoted, texts))),
    st.lists(TEXTS, min_size=1, max_size=1).map(lambda texts: records(*map(quoted, texts))),
    TEXTS.map(lambda text: over_tcp("answers", quoted(text))),
    st.sampled_from((SILENCE, fails("SERVFAIL"), fails("NXDOMAIN"), over_tcp("stops", 'TXT "x"'))),
)
PUBLISHED = (
    *("a.test", "b.test", "c.test", "x.a.test", "_spf.a.test", "_dmarc.a.test", "_dmarc.test"),
    "s1._domainkey.a.test",
)
OWN = {"a.test": SPF, "_dmarc.a.test": LISTS, "s1._domainkey.a.test": LISTS}
"""What mostly stands where; what else may stand there is in ``ANSWERS``."""


def zones() -> st.SearchStrategy[dict[tuple[str, str], Answer]]:
    """Return zones that have anything anywhere, and now and then one that is well."""
    well = {(name, "TXT"): records(quoted(text)) for name, text in zip(OWN, GOOD)}
    return st.just(well) | st.fixed_dictionaries(
        {
            (name, "TXT"): ANSWERS
            if name not in OWN
            else OWN[name].map(lambda text: records(quoted(text))) | ANSWERS
            for name in PUBLISHED
        }
    )


DEFAULTS = st.sampled_from(
    (fails("NXDOMAIN"), Answer(), records(*(f"MX 1 x{number}.b.test." for number in range(12))))
)


FORMS = st.sampled_from((("-v",), ("--output-format", "json")))


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[Launcher, ScriptedServer]]:
    with launcher() as started, ScriptedServer(SCRIPT).running() as server:
        yield started, server


@pytest.mark.hypothesis
def test_whatever_a_domain_publishes(world: tuple[Launcher, ScriptedServer]) -> None:
    started, server = world
    states: Counter[int] = Counter()
    words: Counter[str] = Counter()

    def meets(zone: dict[tuple[str, str], Answer], default: Answer, form: tuple[str, ...]) -> None:
        names = NameServer(zone, default)
        with names.running():
            run = started.run(
                *(str(plugin.SCRIPT), *plugin.at(server.port), "-t", str(TIMEOUT), *form),
                *("--nameserver", names.nameserver, "--sender", "a.test/192.0.2.1"),
                *("--sender", "a.test/2001:db8::1", "--dkim", "s1"),
                environment={},
            )
        assert run.stderr == ""
        assert run.peak < MEMORY_LIMIT
        assert run.seconds < LONGEST
        if "--output-format" in form:
            harmless.check_json(run.stdout, run.code)
        else:
            harmless.check_text(run.stdout, run.code, verbose=True)
        states[run.code] += 1
        words.update(re.findall(r"SPF|DMARC|DKIM|look-ups|no SPF|mechanism|p=|key", run.stdout))

    tries = settings(
        max_examples=TRIES or AS_USUAL,
        phases=list(Phase) if TRIES else [Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    number = random.getrandbits(64) if TRIES else 1
    seed(number)(tries(given(zones(), DEFAULTS, FORMS)(meets)))()
    # A strategy that finds nothing but what is malformed would be none.
    print(states, words)
    assert {0, 2} <= set(states) <= {0, 1, 2, 3}
    assert all(words[one] for one in ("SPF", "DMARC", "look-ups", "key", "mechanism"))
