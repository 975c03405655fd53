"""Follower lists in flat arrays: 4 bytes an entry, whatever the number of accounts."""

from __future__ import annotations

from array import array
from itertools import accumulate


class Lists:
    """One list per account, all in one array: that of account n is from `_starts[n]` up to `_starts[n + 1]`.

    Built from pairs (owner, member), oldest first; lists are newest first, and contain a repeated member once.
    """

    def __init__(self, accounts: int, owners: array[int], members: array[int]) -> None:
        sizes = array("I", bytes(4 * (accounts + 1)))
        for owner in owners:
            sizes[owner + 1] += 1
        self._starts = array("I", accumulate(sizes))
        free = self._starts[:]
        self._members = array("I", bytes(4 * len(members)))
        for owner, member in zip(reversed(owners), reversed(members), strict=True):
            place = free[owner]
            self._members[place] = member
            free[owner] = place + 1
        self._drop_repeated()

    def _drop_repeated(self) -> None:
        starts, kept = array("I", [0]), array("I")
        for owner in range(len(self._starts) - 1):
            kept.extend(dict.fromkeys(self._members[self._starts[owner] : self._starts[owner + 1]]))
            starts.append(len(kept))
        self._starts, self._members = starts, kept

    @property
    def total(self) -> int:
        """Entries in all lists."""
        return len(self._members)

    def length(self, owner: int) -> int:
        """Entries in one list."""
        return self._starts[owner + 1] - self._starts[owner]

    def part(self, owner: int, start: int, count: int) -> array[int]:
        """At most `count` members from position `start` of one list."""
        first, end = self._starts[owner], self._starts[owner + 1]
        return self._members[min(end, first + start) : min(end, first + start + count)]
