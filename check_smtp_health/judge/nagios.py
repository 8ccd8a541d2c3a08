"""What a check uses of nagiosplugin, and nothing else: the rest would take a fifth of its time.

nagiosplugin itself would load its cookies and log files too, and with them json and tempfile;
traceback is for logging's worst case, numbers for metrics that nagiosplugin formats. Each is
executed as soon as someone does use it.
"""

from __future__ import annotations

import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from typing import Any


class deferred_imports:  # noqa: N801  # used like a function
    """In its block, modules of these names are found now and executed on first use.

    Such a module is in ``sys.modules`` as after any import: found, named and placed by the import
    system. It lacks only its contents, and whoever asks for one of these has them at once. For
    modules that are written in Python, and used by one thread.

    The standard library's ``LazyLoader`` promises the same, but executes a module when it is
    imported once more, a package when one of its submodules is, and its own import costs a third
    of the gain.
    """

    __slots__ = ("_names",)

    def __init__(self, *names: str) -> None:
        self._names = names

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, *exception: object) -> None:
        sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the next finder finds, with this in the place of its loader."""
        if name not in self._names:
            return None
        for finder in sys.meta_path:
            spec: Any = finder.find_spec(name, path, target) if finder is not self else None
            # A folder without code has no loader, and zipimport's of Python 3.9 has no halfway.
            if spec is not None and hasattr(spec.loader, "exec_module"):
                spec.loader_state, spec.loader = spec.loader, self
                return spec  # type: ignore[no-any-return]
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Have the true loader make the module."""
        module: ModuleType | None = spec.loader_state.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave that for later."""
        module.__class__ = _Unused


class _Unused(ModuleType):
    """A module that nobody has asked for anything yet."""

    def __getattr__(self, name: str) -> Any:
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec: Any = self.__spec__
        spec.loader, spec.loader_state = spec.loader_state, None
        self.__loader__ = spec.loader
        spec.loader.exec_module(self)
        return getattr(self, name)


with deferred_imports("nagiosplugin", "numbers", "traceback"):
    from nagiosplugin.check import Check
    from nagiosplugin.context import Context, Contexts
    from nagiosplugin.metric import Metric
    from nagiosplugin.resource import Resource
    from nagiosplugin.result import Result, Results
    from nagiosplugin.state import Critical, Ok, Unknown, Warn
    from nagiosplugin.summary import Summary

__all__ = [
    "Check",
    "Context",
    "Contexts",
    "Critical",
    "Metric",
    "Ok",
    "Resource",
    "Result",
    "Results",
    "Summary",
    "Unknown",
    "Warn",
]
