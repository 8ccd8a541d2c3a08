"""NamedTuple for values at a tenth of the cost, which would be 10 % of a check's time.

Type checkers see ``typing.NamedTuple``. At run time a class statement makes a tuple with named
fields, defaults, ``_make``, ``_replace`` and methods, but without ``import typing`` (7 % of a
check) and without the code that ``collections.namedtuple`` compiles for each class (another 3 %).
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414
else:
    import collections
    from operator import itemgetter

    # What collections.namedtuple reads its fields with takes a third of a property's time. It is
    # private: where it is missing one day, properties do.
    _field = getattr(
        collections, "_tuplegetter", lambda index, doc: property(itemgetter(index), doc=doc)
    )
    _new = tuple.__new__
    _HIDDEN = "__annotate_func__"  # where Python 3.14 keeps annotations until someone asks

    class _Value(tuple):
        """What all values can do; the annotations in a class's body are its fields."""

        __slots__ = ()

        def __new__(cls, *given, **named):
            """Take the fields by position or by name."""
            fields = cls._fields
            missing = len(fields) - len(given)
            if not (named or missing):
                return _new(cls, given)
            defaults = cls._defaults
            if 0 <= missing <= len(defaults):
                # The usual call: what has no default by position, and little else by name.
                values = [*given, *defaults[len(defaults) - missing :]]
                for name, value in named.items():
                    if name not in fields[len(given) :]:
                        break
                    values[fields.index(name)] = value
                else:
                    return _new(cls, values)
            if not given and tuple(named) == fields:
                return _new(cls, named.values())
            values = dict(zip(fields[len(fields) - len(defaults) :], defaults))
            values.update(zip(fields, given))
            values.update(named)
            if missing < 0 or values.keys() != set(fields):
                raise TypeError(f"{cls.__name__} has the fields {', '.join(fields)}")
            return _new(cls, [values[field] for field in fields])

        # For those that are made by the hundred. Unlike typing's, it checks nothing.
        _make = classmethod(_new)

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            pairs = (f"{name}={value!r}" for name, value in zip(self._fields, self))
            return f"{type(self).__name__}({', '.join(pairs)})"

        def _replace(self, **named):
            values = list(self)
            for name, value in named.items():
                values[self._fields.index(name)] = value
            return _new(type(self), values)

    class _Fields(type):
        # The classes it makes are not its instances: isinstance() is slow where a class has a
        # metaclass of its own, and a check asks a hundred times.
        def __new__(mcs, name, bases, namespace):
            annotations = namespace.get("__annotations__", {})
            # Without it Python 3.14 does not tell the fields, and the tuple would be empty.
            is_told = {*map(type, annotations.values())} <= {str}
            if not is_told or "__annotate__" in namespace or _HIDDEN in namespace:
                raise TypeError(f"{name}: its module needs 'from __future__ import annotations'")
            fields = tuple(annotations)
            defaults = tuple(namespace.pop(field) for field in fields if field in namespace)
            namespace.update(__slots__=(), _fields=fields, _defaults=defaults)
            for index, field in enumerate(fields):
                namespace[field] = _field(index, None)
            return type(name, (_Value,), namespace)

    NamedTuple = type.__new__(_Fields, "NamedTuple", (), {})
