"""Cursors of the id lists: opaque 64-bit numbers that any later process with the same seed understands.

A cursor carries a position and a check of (seed, list, position), so that one made up or taken from another list is
told from a real one. As in the service −1 is the beginning, 0 the end, and a negative cursor leads back.
"""

from __future__ import annotations

from services.emulator.worlds.hashing import digest64, mix

BEGINNING = -1
END = 0
_POSITION_BITS = 34
_CHECK_BITS = 27
_POSITION_MASK = (1 << _POSITION_BITS) - 1
_CHECK_MASK = (1 << _CHECK_BITS) - 1
_TOP = 1 << (_POSITION_BITS + _CHECK_BITS)


class Cursors:
    """The cursors of one list."""

    def __init__(self, seed: int, endpoint: str, user: int) -> None:
        self._key = digest64("cursor", seed, endpoint, user)

    def at(self, position: int) -> int:
        """The cursor of a position (0 or more, below 2^34)."""
        check = mix(self._key ^ position) & _CHECK_MASK
        return _TOP | check << _POSITION_BITS | (position ^ (mix(self._key + check) & _POSITION_MASK))

    def position(self, cursor: int) -> int | None:
        """The position that a positive cursor stands for, or None if it is not one of this list."""
        check = cursor >> _POSITION_BITS & _CHECK_MASK
        position = (cursor & _POSITION_MASK) ^ (mix(self._key + check) & _POSITION_MASK)
        return position if cursor == self.at(position) else None
