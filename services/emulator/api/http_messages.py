"""A request as the emulator's calls see it, and what they answer. Nothing here knows of sockets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from services.emulator.worlds.encoding import dumps


class CallRefused(Exception):
    """Ends a call with an error of the service, `{"errors": [{"code", "message"}]}`."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = dumps({"errors": [{"code": code, "message": message}]})


class NotAuthorized(CallRefused):
    """Ends a call on what the caller may not see, in the form that has no code."""

    def __init__(self, path: str) -> None:
        super().__init__(401, 0, "Not authorized.")
        self.body = dumps({"request": path, "error": "Not authorized."})


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `params` holds query and form together; header names are in lower case."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    address: str


class Cut(Enum):
    """How an answer is broken off on its way: by a reset, or by an end before the announced length."""

    RESET = "reset"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """One answer. `wait_s` is how long to hold it back, in seconds; `cut` how it is broken off, if it is."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json;charset=utf-8"
    wait_s: float = 0.0
    cut: Cut | None = None
