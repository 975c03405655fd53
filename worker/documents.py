"""JSON from a service: read at the speed of orjson, and kept as the service wrote it.

orjson refuses half a surrogate pair, and makes floats of whole numbers beyond 64 bits; for those documents Python's own
parser is used, which is slower and loses nothing.
"""

from __future__ import annotations

import json
from typing import Any, Never

import orjson

from protocol.errors import MalformedError

_SHAPE = bytes(48 if byte in b"0123456789" else byte if byte == 45 else 0 for byte in range(256))
_LONG, _LONG_NEGATIVE = b"0" * 20, b"-" + b"0" * 19
"""What may be beyond 64 bits, every digit written as 0: to look for that is twenty times cheaper than a pattern."""


def parse(body: bytes) -> Any:
    """The document. Raises MalformedError when it is not JSON."""
    shape = body.translate(_SHAPE)
    if _LONG not in shape and _LONG_NEGATIVE not in shape:
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    try:
        return json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"it is not JSON: {str(error)[:80]}") from error


def line(document: Any) -> bytes:
    """The document on one line, without a newline."""
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:
        return json.dumps(document, separators=(",", ":")).encode("ascii")


def _refuse(word: str) -> Never:
    raise ValueError(f"{word} is no JSON")
