"""Numbers in text from outside: an address, a header, a line of a file."""

from __future__ import annotations

from typing import Final

MAX_INT64: Final = (1 << 63) - 1
"""The largest id of an account, a post or an event."""

MAX_PORT: Final = (1 << 16) - 1


def whole_number(text: str | bytes, most: int) -> int | None:
    """The number from 0 to `most` in the text, None where it is none. Only ASCII digits are accepted, at most as many
    as `most` has, so that no text from outside takes long."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(most)):
        return None
    number = int(text)
    return number if number <= most else None
