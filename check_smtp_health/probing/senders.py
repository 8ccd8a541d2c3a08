"""Attaches what was found about sender domains to the reports."""

from __future__ import annotations

from check_smtp_health.report import Host, Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from check_smtp_health.report import PolicyResult


def attached(
    reports: Sequence[Report], results: Mapping[str, Sequence[PolicyResult]], *, has_several: bool
) -> list[Report]:
    """Return the reports with these results, by domain, where each belongs.

    A target that is alone has them all; among several a domain has a report of its own.
    """
    if not has_several:
        (report,) = reports
        found = [
            one if len(results) == 1 else _labelled(one, domain)
            for domain, several in results.items()
            for one in several
        ]
        return [report._replace(policies=(*report.policies, *found))]
    of_domains = {
        report.host.dns_name.lower(): number
        for number, report in enumerate(reports)
        if report.is_domain
    }
    told, new = list(reports), []
    for domain, several in results.items():
        number = of_domains.get(domain)
        if number is None:
            host = Host(domain, domain, "name")
            new.append(
                Report(host, 0, "", None, (), policies=tuple(several), label=domain, is_domain=True)
            )
        else:
            told[number] = told[number]._replace(policies=(*told[number].policies, *several))
    return [*new, *told]


def _labelled(result: PolicyResult, domain: str) -> PolicyResult:
    """Return a result whose metrics name the domain."""
    measures = tuple((f"{domain}::{label}", value) for label, value in result.measures)
    return result._replace(measures=measures)
