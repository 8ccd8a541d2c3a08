"""epoll, as the driver uses ``selectors``, in a third of the time: for thousands of sessions."""

from __future__ import annotations

import math
import select
import selectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EVENTS = {selectors.EVENT_READ: 1, selectors.EVENT_WRITE: 4}
"""As epoll has them: EPOLLIN, EPOLLOUT."""


class Poller:
    """Has the methods of a selector that the driver uses.

    Each file is registered once, by who owns it, and is no longer once it is unregistered.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, file: Any, events: int, data: Any = None) -> None:
        """Watch a file for events; ``data`` comes with them."""
        number = file if isinstance(file, int) else file.fileno()
        self._epoll.register(number, _EVENTS[events])
        self._keys[number] = selectors.SelectorKey._make((file, number, events, data))

    def modify(self, file: Any, events: int, data: Any) -> None:
        """Watch it for other events."""
        self._epoll.modify(file.fileno(), _EVENTS[events])

    def unregister(self, file: Any) -> None:
        """Watch it no longer."""
        number = file.fileno()
        del self._keys[number]
        self._epoll.unregister(number)

    def select(self, seconds: float) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what has happened, each with its key, after so many seconds at most."""
        # Rounded up, so that nobody wakes up before the time, to find nothing to do.
        patience = math.ceil(seconds * 1e3) * 1e-3
        ready = self._epoll.poll(patience, len(self._keys))
        return [(self._keys[number], events) for number, events in ready]

    def close(self) -> None:
        """Watch nothing any more."""
        self._epoll.close()
