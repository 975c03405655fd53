"""A line of the dataset as it is sent to a browser."""

from __future__ import annotations

from typing import Any, Final

import orjson

from protocol.errors import DatasetError

EXACT: Final = (1 << 53) - 1
"""Whole numbers beyond this are rounded by a browser."""
DEEPEST: Final = 64
"""Values that are nested deeper are left out."""


def shown(line: bytes) -> dict[str, Any]:
    """The object of a line. Raises DatasetError when the line is not JSON."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DatasetError(f"a line of the dataset is not JSON: {line[:40]!r}") from error
    return dict(exact(value)) if isinstance(value, dict) else {"text": str(value)}


def exact(value: Any, depth: int = 0) -> Any:
    """The same with strings instead of the integers that a browser would round, above all ids."""
    if isinstance(value, int) and abs(value) > EXACT:
        return str(value)
    if not isinstance(value, dict | list):
        return value
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {key: exact(inner, depth + 1) for key, inner in value.items()}
    return [exact(inner, depth + 1) for inner in value]
