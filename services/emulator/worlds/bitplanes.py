"""Counters for all places of a ring at once, bit-sliced: bit n of every counter is in the n-th of a few big integers.

Incrementing the counters of a set of places takes a few operations on big integers: well below a millisecond for a set
of a million places (a carry-save counter, as in Knuth, The Art of Computer Programming, 7.1.3).
"""

from __future__ import annotations

from array import array
from operator import add

_LANE_BITS = 8
_MAX_PLANES = 3 * _LANE_BITS


class Planes:
    """A count of 0 at each of `places` places."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._mask = (1 << places) - 1
        self._planes: list[int] = []

    def add_turned(self, members: int, step: int) -> None:
        """Add one at every place that is `step` (0 to `places`) after a member. Bit n of `members` is place n."""
        carry = (members << step | members >> (self._places - step)) & self._mask
        for number, plane in enumerate(self._planes):
            self._planes[number], carry = plane ^ carry, plane & carry
            if not carry:
                return
        if carry:
            self._planes.append(carry)

    def totals(self) -> array[int]:
        """The counts, in the order of the places. Raises `OverflowError` beyond 2^24 − 1."""
        if len(self._planes) > _MAX_PLANES:
            raise OverflowError("a count needs more than 24 bits")
        totals = array("i", bytes(4 * self._places))
        for first in range(0, len(self._planes), _LANE_BITS):
            lane = sum(self._spread(number) for number in range(first, min(first + _LANE_BITS, len(self._planes))))
            scale = [value << first for value in range(256)]
            totals = array("i", map(add, totals, map(scale.__getitem__, lane.to_bytes(self._places, "little"))))
        return totals

    def _spread(self, number: int) -> int:
        """A plane with one byte per place, with its bit at its position within the lane."""
        digits = f"{self._planes[number]:0{self._places}b}".encode()
        bit = 1 << number % _LANE_BITS
        return int.from_bytes(digits.translate(bytes.maketrans(b"01", bytes((0, bit)))), "big")
