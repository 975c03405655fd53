"""Cursors of the id lists: opaque 64-bit numbers that any later process with the same seed can decode.

A cursor contains a position and a checksum of (seed, list, position), so that an invented cursor, or one of another
list, is detected. As in the service, −1 is the beginning, 0 the end, and a negative cursor pages backwards.
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
        """The position that a positive cursor encodes, or None if it is not a cursor of this list."""
        check = cursor >> _POSITION_BITS & _CHECK_MASK
        position = (cursor & _POSITION_MASK) ^ (mix(self._key + check) & _POSITION_MASK)
        return position if cursor == self.at(position) else None
