"""What a field of a message may be: each shape takes what msgpack made of it, and gives it back or raises
MalformedError, whatever it is.

A list of records is checked by columns, not by rows: a master reads some ten thousand records a second, and one look at
a column of whole numbers costs little more than a look at one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from protocol.errors import MalformedError

MAX_ITEMS = 4096
"""Items in one list, unless said otherwise."""
MAX_NUMBER = 1 << 53
FEW = 3
"""Fewer items than these are faster looked at one by one."""
_INT, _STR, _LIST = frozenset((int,)), frozenset((str,)), frozenset((list,))


class Shape(Protocol):
    """One kind of field."""

    def one(self, value: Any) -> Any:
        """The value, if it is one of these."""

    def column(self, values: Sequence[Any]) -> Sequence[Any]:
        """The values, if all of them are. There is at least one."""


class Number:
    """A whole number from `low` on and below `below`, and no bool."""

    def __init__(self, low: int = 0, below: int = MAX_NUMBER) -> None:
        self._low, self._below = low, below

    def one(self, value: Any) -> int:
        if type(value) is not int or not self._low <= value < self._below:
            raise MalformedError(f"a number is missing, below {self._low} or not below {self._below}")
        return value

    def column(self, values: Sequence[Any]) -> Sequence[int]:
        if _INT.issuperset(map(type, values)) and min(values) >= self._low and max(values) < self._below:
            return values
        return [self.one(value) for value in values]


class Text:
    """A text of `least` to `limit` bytes in UTF-8."""

    def __init__(self, limit: int, least: int = 0) -> None:
        self._limit, self._least = limit, least

    def one(self, value: Any) -> str:
        if type(value) is not str or not self._least <= len(value) <= self._limit:
            raise MalformedError(f"a text is missing, too short or longer than {self._limit} bytes")
        if not value.isascii() and len(value.encode()) > self._limit:
            raise MalformedError(f"a text is longer than {self._limit} bytes")
        return value

    def column(self, values: Sequence[Any]) -> Sequence[str]:
        if _STR.issuperset(map(type, values)) and all(map(str.isascii, values)):
            lengths = list(map(len, values))
            if min(lengths) >= self._least and max(lengths) <= self._limit:
                return values
        return [self.one(value) for value in values]


class Bytes:
    """Bytes as they are, at most so many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def one(self, value: Any) -> bytes:
        if type(value) is not bytes or len(value) > self._limit:
            raise MalformedError(f"bytes are missing or more than {self._limit}")
        return value

    def column(self, values: Sequence[Any]) -> Sequence[bytes]:
        return [self.one(value) for value in values]


class OneOf:
    """One of a closed set of words."""

    def __init__(self, words: frozenset[str]) -> None:
        self._words = words

    def one(self, value: Any) -> str:
        if type(value) is not str or value not in self._words:
            raise MalformedError(f"a word is not one of {', '.join(sorted(self._words))}")
        return value

    def column(self, values: Sequence[Any]) -> Sequence[str]:
        if _STR.issuperset(map(type, values)) and self._words.issuperset(values):
            return values
        return [self.one(value) for value in values]


class ListOf:
    """A list of items that are all alike."""

    def __init__(self, item: Shape, most: int = MAX_ITEMS) -> None:
        self._item, self._most = item, most

    def one(self, value: Any) -> Sequence[Any]:
        if type(value) is not list or len(value) > self._most:
            raise MalformedError(f"a list is missing or longer than {self._most} items")
        if len(value) < FEW:
            return [self._item.one(item) for item in value]
        return self._item.column(value)

    def column(self, values: Sequence[Any]) -> Sequence[Any]:
        if _LIST.issuperset(map(type, values)) and not any(values):
            return values
        return [self.one(value) for value in values]


class Known:
    """A list without the items that are not `known`: a peer of a later version has more of them, and is heard."""

    def __init__(self, items: ListOf, known: Callable[[Any], bool]) -> None:
        self._items, self._known = items, known

    def one(self, value: Any) -> list[Any]:
        return [item for item in self._items.one(value) if self._known(item)]

    def column(self, values: Sequence[Any]) -> Sequence[Any]:
        return [self.one(value) for value in values]


class ArrayOf:
    """An array of fields in order; more of them, of a later version, are skipped. The last `optional` ones may be
    missing, and have defaults in the shape."""

    def __init__(self, shape: Callable[..., Any], *fields: Shape, optional: int = 0) -> None:
        self._shape, self._fields, self._wanted = shape, fields, len(fields) - optional
        self._readers = [field.one for field in fields]

    def one(self, value: Any) -> Any:
        if type(value) is not list or len(value) < self._wanted:
            raise self._short()
        return self._shape(*[reader(item) for reader, item in zip(self._readers, value, strict=False)])

    def column(self, values: Sequence[Any]) -> Sequence[Any]:
        if not _LIST.issuperset(map(type, values)) or min(map(len, values)) < len(self._fields):
            return [self.one(value) for value in values]
        columns = [field.column(items) for field, items in zip(self._fields, zip(*values, strict=False), strict=False)]
        return list(map(self._shape, *columns))

    def _short(self) -> MalformedError:
        return MalformedError(f"an array of {self._wanted} fields is missing or too short")
