"""Runs the blocking calls of a request in a small thread pool of the server's hub, so that others need not wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import gevent
from gevent.lock import BoundedSemaphore

from protocol.errors import TmaticError

TURN_S: Final = 5.0
"""How long a call waits for its turn before it is refused."""

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def blocking(function: Callable[Given, Answer], *arguments: Given.args, **named: Given.kwargs) -> Answer:
    """Call a blocking function in a thread other than the server's; return what it returns, or raise what it raises.
    Ten calls run at once (gevent's default); further ones queue."""

    # An error is passed as a value: otherwise gevent would print a traceback before it is raised in the request.
    def call() -> tuple[Answer | None, BaseException | None]:
        try:
            return function(*arguments, **named), None
        except Exception as error:  # noqa: BLE001 - it is raised below, in the request that called
            return None, error

    answer, error = gevent.get_hub().threadpool.apply(call)
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]


class CrowdedError(TmaticError):
    """Too many calls wait for the same backend; a later one may succeed."""


class Turns:
    """`blocking` for calls to one backend that may be slow: at most `at_once` run, so that threads are left for all
    other calls. `busy` names the backend, in words that follow "too many questions wait for"."""

    def __init__(self, at_once: int, busy: str, within_s: float = TURN_S) -> None:
        self._room = BoundedSemaphore(at_once)
        self._busy, self._within_s = busy, within_s

    def blocking(self, function: Callable[Given, Answer], *arguments: Given.args, **named: Given.kwargs) -> Answer:
        """As `blocking`. Raises CrowdedError when its turn does not come within `within_s` seconds."""
        if not self._room.acquire(timeout=self._within_s):
            raise CrowdedError(f"too many questions wait for {self._busy}: try again in a moment")
        try:
            return blocking(function, *arguments, **named)
        finally:
            self._room.release()
