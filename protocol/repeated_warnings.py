"""What is told again only after a while: trouble comes up with each try, and nobody reads a log that repeats it.

No clock in here: `now` is seconds of the caller's monotonic one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

AGAIN_S = 10.0
"""How often the same words are told."""
MAX_AT_ONCE = 10
"""Different words that are told in such a while: some hold a number that is never the same."""


@dataclass(slots=True)
class RepeatedWarnings:
    """Which words were told lately."""

    _told: dict[str, float] = field(default_factory=dict)

    def is_news(self, now: float, words: str) -> bool:
        """Whether to tell this now: the same was not told for `AGAIN_S`. It counts as told then."""
        self._told = {said: at for said, at in self._told.items() if now - at < AGAIN_S}
        if words in self._told or len(self._told) >= MAX_AT_ONCE:
            return False
        self._told[words] = now
        return True

    def over(self) -> None:
        """All is well: if it comes again, that is news."""
        self._told.clear()
