"""Where a request waits for something without letting all others wait: one of a few threads of the server's hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gevent

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
