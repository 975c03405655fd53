"""How often the same thing went wrong, over leases: a grant may be smaller than the patience for a page, and a job
that always began to count anew would never come to an end."""

from __future__ import annotations

import threading
from collections import OrderedDict

REMEMBERED = 10_000
"""Things that are counted; beyond it the one that went wrong longest ago is forgotten."""


class AttemptCounter:
    """Counts by a name, for any thread."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def times(self, name: str) -> int:
        """How often it went wrong so far."""
        return self._times.get(name, 0)

    def again(self, name: str) -> int:
        """It went wrong once more; returns how often by now."""
        with self._lock:
            times = self._times.pop(name, 0) + 1
            self._times[name] = times
            if len(self._times) > REMEMBERED:
                self._times.popitem(last=False)
            return times

    def over(self, name: str) -> None:
        """It went well, or was given up."""
        if name in self._times:
            with self._lock:
                self._times.pop(name, None)
