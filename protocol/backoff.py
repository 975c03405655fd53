"""Exponential back-off: the delay doubles after each failed try, up to a maximum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_DOUBLINGS: Final = 64


def doubled(first: float, times: int, most: float) -> float:
    """`first`, doubled `times` times, and at most `most`."""
    return min(most, first * 2.0 ** min(times, MAX_DOUBLINGS))


def spread(rest: float, chance: float) -> float:
    """Jitter: half to one and a half times the rest, by `chance` in 0 … 1, so that many clients do not retry at
    once."""
    return rest * (0.5 + chance)


@dataclass(slots=True)
class Backoff:
    """The delays after consecutive failed tries."""

    first: float
    most: float
    tries: int = 0

    def next(self) -> float:
        """The delay after one more failed try."""
        rest = doubled(self.first, self.tries, self.most)
        self.tries += 1
        return rest

    def reset(self) -> None:
        """A try succeeded."""
        self.tries = 0
