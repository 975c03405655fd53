"""JSON from a service: parsed by orjson, and stored so that readers of the dataset parse the same.

Values that readers could not parse are repaired on input, and are the same wherever they are used afterwards:

- half of a surrogate pair, which is not text, becomes U+FFFD;
- a number that is too large for a float (`1e400`, or 309 digits) becomes a text of its digits.

orjson refuses those documents, and makes floats of whole numbers beyond 64 bits; for all of them Python's own parser
is used, which is slower and loses nothing.
"""

from __future__ import annotations

import json
import math
from typing import Any, Never

import orjson

from protocol.errors import MalformedError

_SHAPE = bytes(48 if byte in b"0123456789" else byte if byte == 45 else 0 for byte in range(256))
_LONG, _LONG_NEGATIVE = b"0" * 20, b"-" + b"0" * 19
"""A number that may exceed 64 bits, every digit written as 0: this search is twenty times cheaper than a pattern."""

_FLOAT_DIGITS = 308
"""A whole number of that many digits fits into a float."""


def parse(body: bytes) -> Any:
    """The document. Raises MalformedError when it is not JSON."""
    try:
        document = orjson.loads(body)
        shape = body.translate(_SHAPE)
        if _LONG not in shape and _LONG_NEGATIVE not in shape:
            return document
        sound = True
    except orjson.JSONDecodeError:
        sound = False
    try:
        if sound:
            return json.loads(body)
        return _mended(json.loads(body, parse_constant=_refuse, parse_int=_whole_number, parse_float=_number))
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"it is not JSON: {str(error)[:80]}") from error


def line(document: Any) -> bytes:
    """The document on one line, without a newline: valid UTF-8 that orjson parses. Raises MalformedError when it is
    nested too deeply."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        pass
    try:
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        written = _sound(text).encode()
        orjson.loads(written)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"it cannot be kept as a line of JSON: {str(error)[:80]}") from error
    return written


def _mended(value: Any) -> Any:
    """The same without lone surrogates, in texts and in names."""
    if isinstance(value, str):
        return value if value.isascii() else _sound(value)
    if isinstance(value, dict):
        return {_mended(name): _mended(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_mended(one) for one in value]
    return value


def _sound(text: str) -> str:
    """The same text with surrogate pairs as the characters that they encode, and U+FFFD for each lone surrogate."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _whole_number(text: str) -> int | str:
    return int(text) if len(text) <= _FLOAT_DIGITS else text


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _refuse(word: str) -> Never:
    raise ValueError(f"{word} is no JSON")
