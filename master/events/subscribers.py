"""The readers of the log of announcements, and the position of each. No clock, no I/O.

Entries that all readers have passed may be trimmed; a reader that vanished for good holds the log only up to its cap.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.messages import Passed
from storage.ledger.ledger import NOBODY
from storage.ledger.transitions import MoveReader

WAITED_FOR_S = 60.0
"""How long a master that has nothing else to do waits for readers that are behind and make no progress."""
ALIVE_S = 10.0
"""A reader that was heard within this time is alive: it is busy, for instance with a large index."""
PATIENCE_S = 3600.0
"""How long it waits for readers that are alive and make no progress."""
UNHEARD_S = 10.0
"""How long it waits for readers that it has not heard since it leads."""
MAX_READERS = 64
"""Readers that are remembered; further ones read without being remembered."""


def is_fit(name: str) -> bool:
    """Whether a reader may have this name: it is shown, and must not control a terminal."""
    return bool(name) and name.isprintable()


class Readers:
    """The readers of one crawl's log, as the ledger knows them."""

    def __init__(self, known: Mapping[str, int]) -> None:
        self.by_name = dict(known)
        self._stood: list[tuple[str, int]] = []
        self._heard: dict[str, float] = {}
        self._stood_since = 0.0

    def heard(self, now: float, word: Passed) -> MoveReader | None:
        """A reader reported its position, or that it left: the transition for the ledger, if any."""
        if len(self._heard) >= MAX_READERS and word.name not in self._heard:
            self._heard.clear()
        self._heard[word.name] = now
        known = self.by_name.get(word.name)
        if word.sequence < 0:
            return None if self.by_name.pop(word.name, None) is None else MoveReader(word.name, -1)
        if known == word.sequence or (known is None and len(self.by_name) >= MAX_READERS) or not is_fit(word.name):
            return None
        self.by_name[word.name] = word.sequence
        return MoveReader(word.name, word.sequence)

    @property
    def passed(self) -> int:
        """The sequence that all readers have passed."""
        return min(self.by_name.values(), default=NOBODY)

    def waited_for(self, now: float, head: int) -> list[str]:
        """The readers that are behind, as long as one of them made progress lately: when the last master ends, they
        cannot read the log until one is started again."""
        behind = sorted((name, sequence) for name, sequence in self.by_name.items() if sequence < head)
        if behind != self._stood:
            self._stood, self._stood_since = behind, now
        last = max((self._heard[name] for name, _ in behind if name in self._heard), default=None)
        patience_s = UNHEARD_S if last is None else PATIENCE_S if now - last < ALIVE_S else WAITED_FOR_S
        return [] if now - self._stood_since >= patience_s else [name for name, _ in behind]

    def lags(self, head: int) -> list[dict[str, str | int]]:
        """Each reader, and how many announcements it is behind."""
        return [
            {"name": name, "sequence": sequence, "lag": max(0, head - sequence)}
            for name, sequence in sorted(self.by_name.items())
        ]
