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
    _FIELDS = []  # what reads the first field, and so on: the same for all classes
    _new = tuple.__new__
    _HIDDEN = "__annotate_func__"  # where Python 3.14 keeps annotations until someone asks

    def _take(cls, *given, **named):
        """Take the fields by position or by name."""
        fields = cls._fields
        missing = len(fields) - len(given)
        if not (named or missing):
            return _new(cls, given)
        defaults = cls._defaults
        if 0 <= missing <= len(defaults):
            # The usual call: what has no default by position, and little else by name.
            rest = defaults[len(defaults) - missing :]
            if not named:
                return _new(cls, given + rest)
            values = [*given, *rest]
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

    def _arguments(self):
        return tuple(self)

    def _repr(self):
        pairs = (f"{name}={value!r}" for name, value in zip(self._fields, self))
        return f"{type(self).__name__}({', '.join(pairs)})"

    def _replace(self, **named):
        values = list(self)
        for name, value in named.items():
            values[self._fields.index(name)] = value
        return _new(type(self), values)

    # What all values can do. Each class has it itself: with a class of their own above them, each
    # would take a tenth more time to make.
    _OF_ALL = {
        "__slots__": (),
        "__new__": _take,
        "__getnewargs__": _arguments,
        "__repr__": _repr,
        "_make": classmethod(_new),  # for those made by the hundred; unlike typing's, unchecked
        "_replace": _replace,
    }

    class _Fields(type):
        """Makes the class of a class statement; the annotations in its body are the fields.

        It is not its instance: isinstance() is slow where a class has a metaclass of its own, and
        a check asks a hundred times.
        """

        def __new__(mcs, name, bases, namespace):
            annotations = namespace.get("__annotations__", {})
            made = {**_OF_ALL, **namespace, "_fields": tuple(annotations)}
            defaults = []
            more = range(len(_FIELDS), len(annotations))
            _FIELDS.extend(_field(index, None) for index in more)
            # Without it Python 3.14 does not tell the fields, and the tuple would be empty.
            is_told = "__annotate__" not in namespace and _HIDDEN not in namespace
            for reading, (field, annotation) in zip(_FIELDS, annotations.items()):
                is_told = is_told and type(annotation) is str
                if field in namespace:
                    defaults.append(namespace[field])
                made[field] = reading
            if not is_told:
                raise TypeError(f"{name}: its module needs 'from __future__ import annotations'")
            made["_defaults"] = tuple(defaults)
            return type(name, (tuple,), made)

    NamedTuple = type.__new__(_Fields, "NamedTuple", (), {})
