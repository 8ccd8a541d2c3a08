"""NamedTuple for values, without ``import typing``: that costs every check 7 % of its run time.

Type checkers see ``typing.NamedTuple``; at run time the class statement makes the same
``collections.namedtuple`` (fields, defaults, methods), and nothing else.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414
else:
    from collections import namedtuple

    class _NamedTupleMeta(type):
        def __new__(mcs, name, bases, namespace):
            fields = list(namespace.get("__annotations__", ()))
            defaults = [namespace.pop(field) for field in fields if field in namespace]
            made = namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])  # noqa: PYI024
            return type(name, (made,), {**namespace, "__slots__": ()})

    NamedTuple = type.__new__(_NamedTupleMeta, "NamedTuple", (), {})
