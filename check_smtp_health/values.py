"""NamedTuple for values, at a tenth of its price: a check's twenty would cost it 10 % of its time.

Type checkers see ``typing.NamedTuple``. At run time a class statement makes a tuple with named
fields, defaults, ``_replace`` and methods, but without ``import typing`` (7 % of a check) and
without the code that ``collections.namedtuple`` compiles for each class (another 3 %).
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414
else:
    from operator import itemgetter

    class _Fields(type):
        def __new__(mcs, name, bases, namespace):
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = tuple(namespace.pop(field) for field in fields if field in namespace)
            namespace.update(__slots__=(), _fields=fields, _defaults=defaults)
            for index, field in enumerate(fields):
                namespace[field] = property(itemgetter(index))
            return super().__new__(mcs, name, bases, namespace)

    class NamedTuple(tuple, metaclass=_Fields):
        """Base of all values; the annotations in a subclass's body are its fields."""

        def __new__(cls, *given, **named):
            """Take the fields by position or by name."""
            fields, defaults = cls._fields, cls._defaults
            missing = len(fields) - len(given)
            if not (named or missing):
                return tuple.__new__(cls, given)
            if not named and 0 <= missing <= len(defaults):
                return tuple.__new__(cls, given + defaults[len(defaults) - missing :])
            values = dict(zip(fields[len(fields) - len(defaults) :], defaults))
            values.update(zip(fields, given))
            values.update(named)
            if missing < 0 or values.keys() != set(fields):
                raise TypeError(f"{cls.__name__} has the fields {', '.join(fields)}")
            return tuple.__new__(cls, [values[field] for field in fields])

        def __repr__(self):
            pairs = (f"{name}={value!r}" for name, value in zip(self._fields, self))
            return f"{type(self).__name__}({', '.join(pairs)})"

        def _replace(self, **named):
            values = list(self)
            for name, value in named.items():
                values[self._fields.index(name)] = value
            return tuple.__new__(type(self), values)
