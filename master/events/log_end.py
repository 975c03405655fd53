"""The end of the log of announcements. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from protocol.events import Announcement, Heads


@dataclass(slots=True)
class LogEnd:
    """The end of the log, as the leader knows it: the last sequence, and that of each topic."""

    sequence: int = 0
    last: dict[str, int] = field(default_factory=dict)

    def advance(self, events: Sequence[Announcement]) -> Heads:
        """Advance by these events; returns the heads to be published after them."""
        before, changed = self.sequence, {event.topic: event.sequence for event in events}
        self.last |= changed
        self.sequence = max(self.sequence, *(event.sequence for event in events))
        return Heads(before, self.sequence, changed)

    def whole(self) -> Heads:
        """All heads, published from time to time, so that the loss of a last event is noticed."""
        return Heads(0, self.sequence, self.last)
