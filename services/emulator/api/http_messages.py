"""Requests and responses of the emulator's calls, independent of sockets."""

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
    """Ends a call for data that the caller may not see, with the error format that has no code."""

    def __init__(self, path: str) -> None:
        super().__init__(401, 0, "Not authorized.")
        self.body = dumps({"request": path, "error": "Not authorized."})


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `params` holds query and form together; header names are lower case."""

    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]
    address: str


class Cut(Enum):
    """How a response is cut off in transit: by a reset, or by a close before its Content-Length."""

    RESET = "reset"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """One response. `wait_s` is its delay in seconds; `cut` is how it is cut off, None if it is not."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json;charset=utf-8"
    wait_s: float = 0.0
    cut: Cut | None = None
