"""The access tokens of a run: got once, before the first target is asked, and used by all of them.

Without a token a session still goes as far as it can: whether the server is there, and what it
shows in TLS, is known whatever becomes of the login.
"""

from __future__ import annotations

from check_smtp_health.config.accounts import Secret
from check_smtp_health.errors import SessionFault
from check_smtp_health.masking import token_forms
from check_smtp_health.net.operations import Together
from check_smtp_health.probing import targets
from check_smtp_health.probing.probe import ProbePlan, probe
from check_smtp_health.probing.targets import bracketed
from check_smtp_health.stages.state import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from check_smtp_health.net.operations import TimedProcedure
    from check_smtp_health.report import Report

LOGIN, MESSAGE = "auth", "data"
"""The first stage that needs the token for AUTH, and the first in vain without the mailbox's."""


def session(plan: ProbePlan) -> TimedProcedure[list[Report]]:
    """Get the tokens, then probe every target, which has what is left of the time.

    Raises:
        SessionFault: what no session should let pass.
    """
    stages, endpoint = plan.stages, plan.settings.endpoint
    assert stages.token is not None
    target = Target(endpoint.hosts[0], None)
    getting = probe(target, plan._replace(policies=()), (stages.token,))
    outcome = yield Together([getting])
    (got,) = _reports(outcome.value)
    if got.failure is not None and got.failure.kind == "interrupted":
        labels = [bracketed(host.given) if endpoint.has_several else "" for host in endpoint.hosts]
        return [got._replace(host=host, label=label) for host, label in zip(endpoint.hosts, labels)]
    left = targets.seconds(endpoint) - (outcome.ended - outcome.began)
    sessions, reports = targets.begun_within(_with_tokens(plan), left)
    outcome = yield Together(sessions)
    return _told(reports(_reports(outcome.value)), got)


def _reports(found: list[Any]) -> list[Any]:
    """Return what sessions have returned.

    Raises:
        SessionFault: it ended one of them, which is a bug.
    """
    for one in found:
        if isinstance(one, SessionFault):
            raise one
    return found


def _with_tokens(plan: ProbePlan) -> ProbePlan:
    """Return the plan with the tokens in it; without one it ends before that is needed."""
    settings, prepared = plan.settings, plan.prepared
    tokens = prepared.tokens
    assert tokens is not None
    login, roundtrip = settings.login, settings.roundtrip
    users = [] if login is None else [login.user]
    users += [] if roundtrip is None else [one.user for one in roundtrip.mailboxes]
    hidden = [form for _, token in tokens.found for form in token_forms(token, *users)]
    plan = plan._replace(prepared=prepared._replace(secrets=(*prepared.secrets, *hidden)))
    end = ""
    if tokens.mailbox is not None:
        token = tokens.of(tokens.mailbox)
        if token is None:
            end = MESSAGE
        elif prepared.roundtrip is not None and prepared.roundtrip.search is not None:
            prepared.roundtrip.search.use(Secret(token))
    if tokens.login is not None:
        token = tokens.of(tokens.login)
        if token is None:
            end = LOGIN
        elif login is not None:
            login = login._replace(password=Secret(token))
            plan = plan._replace(settings=settings._replace(login=login))
    return plan if not end else _ending_before(plan, end)


def _ending_before(plan: ProbePlan, end: str) -> ProbePlan:
    names = [stage.name for stage in plan.stages.session]
    session = plan.stages.session[: names.index(end)]
    return plan._replace(stages=plan.stages._replace(session=session, delivery=None))


def _told(reports: list[Report], got: Report) -> list[Report]:
    """Return the reports, with what came of the tokens in that of every target.

    On the time axis of a session that was before its beginning.
    """
    seconds = sum(seen.seconds for seen in got.observations)
    before = tuple(seen._replace(began=seen.began - seconds) for seen in got.observations)
    said = tuple(one._replace(moment=one.moment - seconds) for one in got.transcript)
    probed = [one for one in reports if not one.is_domain] or reports[:1]
    first = probed[0]
    return [
        one._replace(
            observations=(*before, *one.observations),
            transcript=(*said, *one.transcript) if one is first else one.transcript,
        )
        if any(one is target for target in probed)
        else one
        for one in reports
    ]
