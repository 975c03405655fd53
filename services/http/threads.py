"""Where a request waits for something without letting all others wait: one of a few threads of the server's hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import gevent
from gevent.lock import BoundedSemaphore

from protocol.errors import TmaticError

TURN_S: Final = 5.0
"""How long a question waits for its turn before it is told to come again."""

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def blocking(function: Callable[Given, Answer], *arguments: Given.args, **named: Given.kwargs) -> Answer:
    """Call a function that waits, in a thread beside the one that serves, and return what it returns or raise what it
    raises. Ten calls are under way at once (gevent's default); further ones queue."""

    # What it raises travels as a value: else gevent would print a traceback before it is raised in the request.
    def call() -> tuple[Answer | None, BaseException | None]:
        try:
            return function(*arguments, **named), None
        except Exception as error:  # noqa: BLE001 - it is raised below, in the request that asked
            return None, error

    answer, error = gevent.get_hub().threadpool.apply(call)
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]


class CrowdedError(TmaticError):
    """Too many wait for the same thing; later there will be room."""


class Turns:
    """`blocking` for questions to somebody who may be slow for all who ask: so few `at_once` that threads are left for
    all other questions. `busy` is who that is, in words that follow "too many questions wait for"."""

    def __init__(self, at_once: int, busy: str, within_s: float = TURN_S) -> None:
        self._room = BoundedSemaphore(at_once)
        self._busy, self._within_s = busy, within_s

    def blocking(self, function: Callable[Given, Answer], *arguments: Given.args, **named: Given.kwargs) -> Answer:
        """As `blocking`. Raises CrowdedError when its turn does not come within seconds."""
        if not self._room.acquire(timeout=self._within_s):
            raise CrowdedError(f"too many questions wait for {self._busy}: try again in a moment")
        try:
            return blocking(function, *arguments, **named)
        finally:
            self._room.release()
