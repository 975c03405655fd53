"""The application that the tests of HTTP serve: an answer of each kind, and everything that can go wrong in one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import bottle  # type: ignore[import-untyped]

from services.http import Answered, Streams, application, blocking, json_answer, json_body


@dataclass
class Trial:
    """Makes the application; keeps what a test wants to hold on to."""

    gate: threading.Event = field(default_factory=threading.Event)
    inside: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    streams: Streams = field(default_factory=lambda: Streams(most=3, backlog=4, heartbeat_s=0.05))

    def app(self) -> Any:
        app = application()

        @app.get("/")  # type: ignore[untyped-decorator]
        def root() -> Answered:
            return json_answer(200, {"all": "well"})

        @app.post("/echo")  # type: ignore[untyped-decorator]
        def echo() -> Answered:
            return json_answer(200, json_body())

        @app.get("/waits")  # type: ignore[untyped-decorator]
        def waits() -> Answered:
            blocking(self._wait)
            return json_answer(200, {})

        @app.get("/raises")  # type: ignore[untyped-decorator]
        def raises() -> Answered:
            return blocking(int, "not a number: 5ecret")

        @app.get("/breaks")  # type: ignore[untyped-decorator]
        def breaks() -> Iterator[bytes]:
            yield b"first"
            raise RuntimeError("in the middle")

        @app.get("/large")  # type: ignore[untyped-decorator]
        def large() -> Iterator[bytes]:
            for _ in range(4096):
                yield bytes(1 << 16)

        @app.get("/own")  # type: ignore[untyped-decorator]
        def own() -> Answered:
            return bottle.HTTPResponse("", 200, {"Content-Security-Policy": "default-src 'none'"})

        @app.get("/events")  # type: ignore[untyped-decorator]
        def events() -> Answered:
            return self.streams.answer([("hello", "line one\nline two")])

        return app

    def _wait(self) -> None:
        self.inside.release()
        assert self.gate.wait(10)
