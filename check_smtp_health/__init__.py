"""Nagios/Icinga plugin: does a mail server do its job, and if not, which stage fails.

The rooms, from the top floor down. Imports go down only: ``[tool.importlinter]``, pyproject.toml.

``cli``
    argv in, one answer and an exit code out.
``sweep``
    Every check of a file in one run, and what is said of the whole.
``output``
    The answer in each format.
``judge``
    What happened -> state -> words. The only user of nagiosplugin.
``probing``
    Which servers are probed, and going through the stages with each of them.
``policy``
    What DNS and the web say about a server, or about its domain.
``stages``
    The stages of a session, each a procedure that reads from top to bottom.
``roundtrip``
    The message of a round trip, and the mailboxes in which it is looked for.
``net``, ``smtp``
    The world: sockets, clocks, threads, no SMTP. The protocol: no socket, no clock.
``config``, ``definitions``
    From the user's words to values. What the engines have to know, to be printed.
``report``
    What was observed, as values.
``faults``
    What stops questions beside a plain session, as branches of the tree in ``errors``.
``terminal``
    What only a person at a terminal sees.
``errors``, ``escaping``, ``loading``, ``namedtuple``
    The leaves.
"""

__version__ = "1.0.0"
