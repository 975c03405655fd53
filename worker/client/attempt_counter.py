"""Counts failed tries over leases: a grant may be smaller than the number of tries for a page, and a job whose count
restarted with each lease would never end."""

from __future__ import annotations

import threading
from collections import OrderedDict

REMEMBERED = 10_000
"""Names that are counted; beyond it the one that failed longest ago is dropped."""


class AttemptCounter:
    """Counts by a name, for any thread."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def times(self, name: str) -> int:
        """How often it failed so far."""
        return self._times.get(name, 0)

    def again(self, name: str) -> int:
        """Count one more failure; returns the new count."""
        with self._lock:
            times = self._times.pop(name, 0) + 1
            self._times[name] = times
            if len(self._times) > REMEMBERED:
                self._times.popitem(last=False)
            return times

    def over(self, name: str) -> None:
        """It succeeded, or was given up."""
        if name in self._times:
            with self._lock:
                self._times.pop(name, None)
