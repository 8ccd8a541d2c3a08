"""What a check uses of nagiosplugin, and nothing else: the rest would take a fifth of its time.

The package itself would load its cookies and log files too, and with them json and tempfile;
traceback is for logging's worst case. Either is executed as soon as someone does use it.
"""

from check_smtp_health.later import Later

with Later("nagiosplugin", "traceback"):
    from nagiosplugin.check import Check
    from nagiosplugin.context import Context
    from nagiosplugin.metric import Metric
    from nagiosplugin.range import Range
    from nagiosplugin.resource import Resource
    from nagiosplugin.result import Result, Results
    from nagiosplugin.state import Critical, Ok, Unknown, Warn
    from nagiosplugin.summary import Summary

__all__ = [
    "Check",
    "Context",
    "Critical",
    "Metric",
    "Ok",
    "Range",
    "Resource",
    "Result",
    "Results",
    "Summary",
    "Unknown",
    "Warn",
]
