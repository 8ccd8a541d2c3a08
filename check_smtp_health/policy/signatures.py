"""The DKIM signatures of a message that has come (RFC 6376, RFC 8301, RFC 8463).

The package dkimpy (extra ``dkim``) canonicalizes and verifies, in a process of its own: what a
message makes it compute is up to its author. The keys are looked up before, by our own
name servers. Header and body are verified separately: a body that was changed on the way is a
different problem from a key that does not match.
"""

from __future__ import annotations

import json
import re

from check_smtp_health.config import hosts
from check_smtp_health.errors import PeerFault, TimedOut
from check_smtp_health.namedtuple import NamedTuple
from check_smtp_health.net import aside
from check_smtp_health.net.addresses import plain_name
from check_smtp_health.net.dns import ask
from check_smtp_health.net.operations import Call, together
from check_smtp_health.policy import dkim
from check_smtp_health.policy.records import repeated, tags, texts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from check_smtp_health.net.dns import Records, Servers
    from check_smtp_health.net.operations import Procedure

    Field = tuple[bytes, bytes]

LIMIT = 10
"""Signatures that are verified, the topmost; most messages have one or two, and each takes a
question to DNS (RFC 6376 section 8.4)."""

PROCESSOR_LIMIT = 2
"""Seconds of processor time for all of them; a message of 1 MiB takes 0.1."""

KEYS_LIMIT = 3
"""Records under one name that are tried."""

ALGORITHMS = ("rsa-sha256", "ed25519-sha256")
"""Those that count (RFC 8301, RFC 8463)."""

MANDATORY = ("v", "a", "b", "bh", "d", "h", "s")
"""Tags that every signature has (RFC 6376 section 3.5)."""


class Verified(NamedTuple):
    """The outcome of one signature.

    ``name`` is that of its key, ``domain`` the signer's; ``problem`` says why it does not count,
    ``trouble`` why nobody knows; both are empty where it holds. ``remarks`` are what is worth
    knowing beside that.
    """

    name: str
    domain: str
    problem: str = ""
    trouble: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it has been seen to be right."""
        return not (self.problem or self.trouble)


class _Signature(NamedTuple):
    """A signature: which of the message's it is, its tags, and what is wrong before it is tried."""

    number: int
    tags: Mapping[str, str]
    name: str
    domain: str
    problem: str


def fields(head: bytes) -> list[Field]:
    """Return the fields of a header as they are, each value with its line ends.

    Lines that are not fields are left out: DKIM does not mention them.
    """
    found: list[tuple[bytes, list[bytes]]] = []
    for line in re.split(rb"\r?\n", head):
        if line[:1] in (b" ", b"\t"):
            if found:
                found[-1][1].append(line)
            continue
        name, colon, value = line.partition(b":")
        if colon and re.fullmatch(rb"[\x21-\x39\x3b-\x7e]+[ \t]*", name):
            found.append((name, [value]))
    return [(name, b"\r\n".join(lines) + b"\r\n") for name, lines in found]


def check(
    servers: Servers, head: Sequence[Field], body: bytes, received: float | None
) -> Procedure[tuple[list[Verified], int]]:
    """Return the outcome of each signature, topmost first, and how many there are.

    ``received`` is when the message came, by the receiving server's clock.
    """
    values = [value for name, value in head if name.strip().lower() == b"dkim-signature"]
    signatures = [_read(at, value, received) for at, value in enumerate(values[:LIMIT])]
    usable = [one for one in signatures if not one.problem]
    names = list(dict.fromkeys(one.name for one in usable))
    answers = yield from together(ask(servers, name, "TXT") for name in names)
    records: dict[str, Records | PeerFault] = dict(zip(names, answers))
    tried = {one.number: [_bare(text) for text in _keys(one, records[one.name])] for one in usable}
    said: bytes | None = b"{}"
    if any(tried.values()):
        try:
            said = yield Call(_computed, (head, body, tried))
        except TimedOut:
            said = None
    results = None if said is None else json.loads(said)
    return [_judged(one, records, results) for one in signatures], len(values)


def _read(number: int, value: bytes, received: float | None) -> _Signature:
    """Return a signature as it stands in its field, and what is wrong with it as it stands."""
    unfolded = re.sub(rb"\r?\n", b"", value)
    found = tags(unfolded)
    domain, selector = plain_name(found.get("d", "")), plain_name(found.get("s", ""))
    name = f"{selector}._domainkey.{domain}"
    problem = ""
    missing = [tag for tag in MANDATORY if not found.get(tag)]
    if not (hosts.is_name(domain) and hosts.is_name(name)):
        name, domain, problem = "", "", "names no key that can be looked up"
    elif missing:
        problem = f"has no {missing[0]}="
    elif repeated(unfolded):
        problem = "has a tag twice"
    elif found["v"] != "1":
        problem = "has an unknown version"
    elif found["a"] not in ALGORITHMS:
        algorithm = "rsa-sha1" if found["a"] == "rsa-sha1" else "an unknown algorithm"
        problem = f"uses {algorithm}, which does not count"
    elif not set(found.get("c", "simple").split("/")) <= {"simple", "relaxed"}:
        problem = "is canonicalized in an unknown way (c=)"
    elif "from" not in [one.strip().lower() for one in found["h"].split(":")]:
        problem = "does not cover From"
    elif received is not None and _moment(found.get("x", "")) < received:
        problem = "had expired when the message came (x=)"
    return _Signature(number, found, name, domain, problem)


def _moment(text: str) -> float:
    """Return a time as the tags have it, one that never comes where there is none."""
    return float(text) if re.fullmatch(r"[0-9]{1,12}", text) else float("inf")


def _keys(one: _Signature, answer: Records | PeerFault) -> list[bytes]:
    """Return the records that a signature may be tried with."""
    if isinstance(answer, PeerFault):
        return []
    found = texts(answer)[:KEYS_LIMIT]
    return [text for text in found if not _objection(one, text)]


def _bare(text: bytes) -> str:
    """Return a key's record without what has been judged: dkimpy takes less of it for right."""
    found = tags(text)
    return f"k={found.get('k', 'rsa')}; p={found.get('p', '')}"


def _objection(one: _Signature, text: bytes) -> str:
    """Return why a key's record is of no use for a signature, nothing where it is."""
    key = dkim.read(text, one.name)
    useless = [found.problem for found in key.findings if found.kind == "unauthorised"]
    if useless:
        return useless[0]
    kind = tags(text).get("k", "rsa")
    if not one.tags["a"].startswith(f"{kind}-"):
        return f"the key at {one.name} is for an algorithm other than {one.tags['a']}"
    flags = [flag.strip() for flag in tags(text).get("t", "").split(":")]
    identity = plain_name(one.tags.get("i", "").rpartition("@")[2]) or one.domain
    if "s" in flags and identity != one.domain:
        return f"the key at {one.name} is not for subdomains (t=s)"
    return ""


def _judged(
    one: _Signature,
    records: Mapping[str, Records | PeerFault],
    results: Mapping[str, Sequence[str]] | None,
) -> Verified:
    verified = Verified(one.name, one.domain)
    if one.problem:
        return verified._replace(problem=one.problem)
    answer = records[one.name]
    if isinstance(answer, PeerFault):
        return verified._replace(trouble=answer.sentence)
    found = texts(answer)
    if not found:
        return verified._replace(problem=f"there is no key at {one.name}")
    objections = [_objection(one, text) for text in found[:KEYS_LIMIT]]
    if all(objections):
        return verified._replace(problem=objections[0])
    if results is None:
        return verified._replace(trouble="verifying it takes too long")
    problems = results[str(one.number)]
    remarks = []
    if hosts.is_digits(one.tags.get("l", "")):
        remarks.append("covers only the beginning of the body (l=), so that more can be added")
    key = dkim.read(found[objections.index("")], one.name)
    remarks += [found.problem for found in key.findings]
    return verified._replace(problem="" if "" in problems else problems[0], remarks=tuple(remarks))


# What follows is computed in a process of its own.


def _computed(
    head: Sequence[Field], body: bytes, tried: Mapping[int, Sequence[str]]
) -> bytes | None:
    """Return the problems of each signature with each key, in JSON; None if it takes too long."""

    def compute() -> bytes:
        whole = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        found = {
            number: [problem(head, whole, number, key.encode("utf-8")) for key in keys]
            for number, keys in tried.items()
        }
        return json.dumps(found).encode()

    return aside.computed(compute, PROCESSOR_LIMIT)


def problem(head: Sequence[Field], body: bytes, number: int, key: bytes) -> str:
    """Return what is wrong with a signature, by a key's record; empty where it holds.

    Lines of the body end in CRLF. This may take long.
    """
    import dkim as dkimpy

    signer = dkimpy.DKIM()
    signer.headers, signer.body = list(map(list, head)), body
    try:
        own, covered, all_of_them = signer.verify_headerprep(number)
        signer.pk, signer.keysize, signer.ktag, signer.seqtlsrpt = dkimpy.evaluate_pk("", key)
        is_body = _is_body(own, body)
        # Without the body's hash it verifies all the rest.
        rest = {tag: value for tag, value in own.items() if tag != b"bh"}
        is_header = signer.verify_sig_process(rest, covered, all_of_them[number], None)
    except dkimpy.DKIMException as fault:
        # What follows is what it is about, in words that the message has chosen.
        return f"cannot be verified: {re.split('[(:]', str(fault))[0].strip()}"
    except Exception as fault:  # dkimpy fails on much that anyone can write
        return f"cannot be verified ({type(fault).__name__})"
    if is_header:
        return "" if is_body else "the body was changed on the way: its hash differs"
    if signer.ktag == b"rsa" and _is_of_key(own, signer.pk):
        also = "" if is_body else ", and the body, too"
        return f"a field that it covers was changed on the way{also}: the key is right"
    if signer.ktag == b"rsa":
        return "it was made with a key other than the published one"
    return "it does not match: a different key, or a field was changed on the way"


def _is_body(own: Mapping[bytes, bytes], body: bytes) -> bool:
    import base64
    import hashlib

    from dkim.canonicalization import CanonicalizationPolicy

    policy = CanonicalizationPolicy.from_c_value(own.get(b"c", b"simple/simple"))
    signed = policy.canonicalize_body(body)
    length = int(own.get(b"l", len(signed)))
    if length > len(signed):
        return False  # something was cut off (RFC 6376 section 3.5)
    signed = signed[:length]
    digest = hashlib.sha256(signed).digest()
    return bool(digest == base64.b64decode(re.sub(rb"\s", b"", own[b"bh"])))


def _is_of_key(own: Mapping[bytes, bytes], key: Mapping[str, int]) -> bool:
    """Whether the signature was made by this key of RSA, whatever it is the signature of.

    What it encloses begins in a fixed way then (RFC 8017 section 9.2).
    """
    import base64

    signature = int.from_bytes(base64.b64decode(re.sub(rb"\s", b"", own[b"b"])), "big")
    length = (key["modulus"].bit_length() + 7) // 8
    enclosed = pow(signature, key["publicExponent"], key["modulus"]).to_bytes(length, "big")
    return enclosed.startswith(b"\x00\x01\xff\xff\xff\xff")
