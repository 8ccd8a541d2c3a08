"""What was observed, without judgement: values that ``probing`` makes and ``judge`` reads.

Those of TLS and of a message that came are in modules of their own, which few runs load.
"""

from __future__ import annotations

from check_smtp_health.namedtuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal, TypeVar

    from check_smtp_health.errors import Kind, Reason
    from check_smtp_health.report.delivery import Delivery
    from check_smtp_health.report.tls import Certificate, TlsFacts

    _T = TypeVar("_T")


MILLISECOND = 0.001


class Host(NamedTuple):
    """A host named by the user: ``given`` as typed, ``ascii`` for the network (IDNA, bare)."""

    given: str
    ascii: str
    kind: Literal["name", "address", "socket"]

    @property
    def dns_name(self) -> str:
        """The name as DNS and certificates have it: without final dot."""
        return self.ascii.rstrip(".")


class Failure(NamedTuple):
    """Why a stage did not complete.

    ``kind`` is the fault's (see ``errors``), ``problem`` our sentence, ``said`` the server's own
    words, raw, ``code`` the reply code where a complete reply was the reason, ``reason`` what else
    is known of the fault, ``subject`` what that reply was about, where its stage alone does not say
    it.
    """

    kind: Kind
    problem: str
    said: bytes = b""
    code: int | None = None
    reason: Reason = ""
    subject: str = ""


class Finding(NamedTuple):
    """Something to judge that does not end the session. Fields as in ``Failure``."""

    kind: Kind
    problem: str
    said: bytes = b""
    reason: Reason = ""


class Observation(NamedTuple):
    """One stage of one session. Times in seconds; ``began`` counts from the session's start.

    ``notes`` are what is worth knowing beside the findings: they change no state.
    """

    stage: str
    began: float
    seconds: float
    failure: Failure | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()


class PolicyResult(NamedTuple):
    """What is known of a server, or of its domain, without a session: from DNS or the web.

    ``name`` is that of the option that asked for it; ``notes`` are what is worth knowing beside the
    findings, ``listings`` how many DNSBLs list the server, where one was asked, ``is_pinned``
    whether the records of the server vouch for its certificate, whatever that says itself. ``held``
    is what was seen to hold, in a few words, where nothing is wrong; ``measures`` are further
    metrics, by label; ``certificates`` are those that were met on the way, whose dates count, too;
    ``mode`` is how far a policy is enforced.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    listings: int | None = None
    is_pinned: bool = False
    held: str = ""
    measures: tuple[tuple[str, int], ...] = ()
    certificates: tuple[Certificate, ...] = ()
    mode: Literal["", "enforce", "testing", "none"] = ""


class Exchange(NamedTuple):
    """One piece of the transcript, raw: seconds since the start, ``C``, ``S`` or ``*``, bytes."""

    moment: float
    sender: str
    data: bytes


class Report(NamedTuple):
    """Everything observed of one target, or of the mail domain that led to several.

    ``address`` is the one that answered or was tried last, empty where none was;
    ``seconds`` the whole session without QUIT, None where connecting never began; ``tls`` what
    the handshake agreed on, or would have; ``delivery`` how the message came, where it did;
    ``label`` what its metrics are told apart by, empty where the run has but one target; ``held``
    what the session has shown to hold, in a few words each, in the order of its stages;
    ``elsewhere`` who else was asked when
    it did not answer, and what came of that; ``is_alone`` whether its domain has no other host that
    could take mail.
    """

    host: Host
    port: int
    address: str
    seconds: float | None
    observations: tuple[Observation, ...]
    transcript: tuple[Exchange, ...] = ()
    tls: TlsFacts | None = None
    delivery: Delivery | None = None
    policies: tuple[PolicyResult, ...] = ()
    label: str = ""
    is_domain: bool = False
    held: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    is_alone: bool = False

    @property
    def is_misdirected(self) -> bool:
        """Whether it is an MX host that leads back to whoever asks, or to nobody: not probed."""
        return self.failure is not None and self.failure.kind == "misconfigured"

    @property
    def failure(self) -> Failure | None:
        """Why the session, or the look-up of the domain, went no further."""
        return next((seen.failure for seen in self.observations if seen.failure is not None), None)


def first_of(values: Sequence[_T], limit: int, words: Callable[[_T], str] = str) -> str:
    """Return the words of the first values, and how many more there are."""
    more = len(values) - limit
    return ", ".join(map(words, values[:limit])) + (f" and {more} more" if more > 0 else "")


def duration(seconds: float) -> str:
    """Return a time in words: nothing that took time is shown as 0.000 s."""
    if seconds >= MILLISECOND:
        return f"{seconds:.3f} s"
    return f"{max(seconds / MILLISECOND, 0.01):.2g} ms"
