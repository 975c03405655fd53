"""Waiting for a condition with a deadline: what the tests do instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_S = 0.01


def until(
    condition: Callable[[], T], within_s: float, *, expecting: type[Exception] | tuple[type[Exception], ...] = ()
) -> T:
    """The first true answer of `condition`. Errors that are `expecting` count as not yet.

    Raises AssertionError, with the last error or answer, when there is none within that many seconds.
    """
    deadline = time.monotonic() + within_s
    while True:
        last: object
        try:
            answer = condition()
            if answer:
                return answer
            last = answer
        except expecting as error:
            last = error
        assert time.monotonic() < deadline, f"not within {within_s} s: {condition}; last seen: {last!r}"
        time.sleep(PAUSE_S)
