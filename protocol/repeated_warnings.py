"""Rate limit for repeated warnings: the same trouble occurs with each try, and nobody reads a log that repeats it.

No clock in here: `now` is the caller's monotonic time in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

AGAIN_S = 10.0
"""Seconds before the same message is logged again."""
MAX_AT_ONCE = 10
"""Different messages logged in that time: some contain a number that always differs."""


@dataclass(slots=True)
class RepeatedWarnings:
    """The messages that were logged lately."""

    _told: dict[str, float] = field(default_factory=dict)

    def is_news(self, now: float, words: str) -> bool:
        """Whether to log this message: it was not logged for `AGAIN_S`. If so, it counts as logged."""
        self._told = {said: at for said, at in self._told.items() if now - at < AGAIN_S}
        if words in self._told or len(self._told) >= MAX_AT_ONCE:
            return False
        self._told[words] = now
        return True

    def over(self) -> None:
        """The trouble is over: its next occurrence is news."""
        self._told.clear()
