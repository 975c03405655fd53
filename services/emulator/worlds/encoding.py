"""How the service writes values: compact JSON, times and short codes."""

from __future__ import annotations

import json
import time
from functools import lru_cache

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_DAY_S = 86_400


def dumps(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def base36(number: int) -> str:
    """A number of 0 or more in lower-case base 36."""
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
        if not number:
            return text


def v1_time(second: int) -> bytes:
    """A time, in seconds since 1970, as the v1.1 API writes it: `Wed Aug 27 13:08:45 +0000 2008`."""
    day, of_day = divmod(second, _DAY_S)
    date, year = _day(day)
    return b"%b %02d:%02d:%02d +0000 %b" % (date, of_day // 3600, of_day // 60 % 60, of_day % 60, year)


@lru_cache(maxsize=8192)
def _day(day: int) -> tuple[bytes, bytes]:
    date = time.gmtime(day * _DAY_S)
    return time.strftime("%a %b %d", date).encode(), time.strftime("%Y", date).encode()
