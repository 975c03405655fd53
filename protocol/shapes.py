"""What a field of a message may be: each reader takes what msgpack made of it, and gives it back or raises
MalformedError, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol.errors import MalformedError

Reader = Callable[[Any], Any]

MAX_ITEMS = 4096
"""Items in one list, unless said otherwise."""
MAX_NUMBER = 1 << 53


def number(value: Any, low: int = 0, below: int = MAX_NUMBER) -> int:
    """A whole number, and no bool."""
    if type(value) is not int or not low <= value < below:
        raise MalformedError(f"a number is missing, below {low} or not below {below}")
    return value


def text(limit: int, least: int = 0) -> Reader:
    """A text of so many bytes in UTF-8."""

    def read(value: Any) -> str:
        if type(value) is not str or not least <= len(value) <= limit:
            raise MalformedError(f"a text is missing, too short or longer than {limit} bytes")
        if not value.isascii() and len(value.encode()) > limit:
            raise MalformedError(f"a text is longer than {limit} bytes")
        return value

    return read


def list_of(reader: Reader, most: int = MAX_ITEMS) -> Reader:
    """A list of items that are all alike."""

    def read(value: Any) -> list[Any]:
        if type(value) is not list or len(value) > most:
            raise MalformedError(f"a list is missing or longer than {most} items")
        return [reader(item) for item in value]

    return read


def array_of(shape: Callable[..., Any], *readers: Reader) -> Reader:
    """An array of fields in order; more of them, of a later version, are skipped."""
    wanted = len(readers)

    def read(value: Any) -> Any:
        if type(value) is not list or len(value) < wanted:
            raise MalformedError(f"an array of {wanted} fields is missing or too short")
        return shape(*[reader(item) for reader, item in zip(readers, value, strict=False)])

    return read


def one_of(words: frozenset[str]) -> Reader:
    """One of a closed set of words."""

    def read(value: Any) -> str:
        if type(value) is not str or value not in words:
            raise MalformedError(f"a word is not one of {', '.join(sorted(words))}")
        return value

    return read
