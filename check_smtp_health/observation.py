"""What happened, without judgement: values that ``probe`` makes and ``evaluation`` reads."""

from __future__ import annotations

from check_smtp_health.values import NamedTuple


class Failure(NamedTuple):
    """Why a stage did not complete.

    ``kind`` is the fault's (see ``errors``), ``problem`` our sentence, ``said`` the server's own
    words, raw, ``code`` the reply code where a complete reply was the reason.
    """

    kind: str
    problem: str
    said: bytes = b""
    code: int | None = None


class Finding(NamedTuple):
    """Something to judge that does not stop the walk.

    ``wanted`` is what the user asked for and is shown in quotes, ``said`` as in ``Failure``.
    """

    kind: str
    problem: str
    wanted: str = ""
    said: bytes = b""


class Observation(NamedTuple):
    """One stage of one session. Times in seconds; ``began`` counts from the session's start."""

    stage: str
    began: float
    seconds: float
    failure: Failure | None = None
    findings: tuple[Finding, ...] = ()


class Exchange(NamedTuple):
    """One piece of the transcript, raw: seconds since the start, ``C``, ``S`` or ``*``, bytes."""

    moment: float
    sender: str
    data: bytes


class Report(NamedTuple):
    """Everything observed of one target.

    ``address`` is the one that answered or was tried last, empty where none was;
    ``seconds`` the whole session without QUIT, None where connecting never began.
    """

    host: str
    port: int
    address: str
    seconds: float | None
    observations: tuple[Observation, ...]
    transcript: tuple[Exchange, ...] = ()
