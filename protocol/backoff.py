"""Exponential back-off: twice as long a rest after each failed try, up to a most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_DOUBLINGS: Final = 64


def doubled(first: float, times: int, most: float) -> float:
    """`first`, doubled so many times, and no more than `most`."""
    return min(most, first * 2.0 ** min(times, MAX_DOUBLINGS))


def spread(rest: float, chance: float) -> float:
    """From half to one and a half times the rest, as `chance` in 0 … 1 has it, so that many do not come back at
    once."""
    return rest * (0.5 + chance)


@dataclass(slots=True)
class Backoff:
    """The rests after one failed try after another."""

    first: float
    most: float
    tries: int = 0

    def next(self) -> float:
        """The rest after one more failed try."""
        rest = doubled(self.first, self.tries, self.most)
        self.tries += 1
        return rest

    def reset(self) -> None:
        """A try succeeded."""
        self.tries = 0
