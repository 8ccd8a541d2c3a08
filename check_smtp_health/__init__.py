"""Nagios/Icinga plugin: does a mail server do its job, and if not, which stage fails.

The rooms, and who may import whom (downwards only; ``tests/test_rooms.py`` enforces it):

``cli``
    argv in, one status line and an exit code out.
``option_table``, ``options``, ``extra_opts``, ``settings``
    What the user may say, and what it means.
``definitions``
    What the engines have to know, to be printed.
``targets``, ``probe``, ``stages``
    Which servers are asked, the walk through the stages, each stage's dialogue.
``evaluation``, ``summary``
    What happened -> state, and state -> text. The only users of nagiosplugin.
``nagios``, ``later``
    nagiosplugin without what a check never uses.
``observation``, ``errors``, ``text``, ``values``
    Inert values that the others pass around.
``smtp``
    The protocol: bytes and rules. No socket, no clock.
``net``
    The world: sockets, clocks, threads. No SMTP.
"""

__version__ = "0.1.0"
